"""`quorate token`: jobs whose reward is an ERC-20 token. The oracle judges them like any other; TokenJobs holds the reward.

Amounts of a token are in its smallest unit: what its decimals mean is the token's own word.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts import errors, token_jobs
from contracts.compute_oracle import SeatRef
from contracts.token_jobs import NATIVE, Reward, Token, TokenJobs
from contracts.transactor import Receipt
from coordinator.cli import companions, model_source, terms
from coordinator.cli.command import command
from coordinator.cli.companions import Companion
from coordinator.cli.context import Setup, parse_address, parse_hash, receipt_facts
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.job import Named, Quorum, Scaling, Seats, SeatStake, Window
from coordinator.cli.job_log import read_job
from coordinator.cli.offering import offer
from coordinator.cli.output import Seconds, Time
from coordinator.cli.published import Places, Uris

if TYPE_CHECKING:
    from eth_typing import ChecksumAddress

app = typer.Typer(help="Jobs that pay a token: submit, allot, claim, close, withdraw, show.", no_args_is_help=True)

Contract = Annotated[
    str | None,
    typer.Option(
        "--token-jobs", metavar="ADDRESS", help="TokenJobs; else $QUORATE_TOKEN_JOBS, else the one deployed from here."
    ),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
_MOST = 2**128 - 1


@command(app, "deploy")
def deploy(
    setup: Setup,
    claim_period: Annotated[
        int, typer.Option(min=1, help="Seconds that workers have to claim, from the allotment on.")
    ] = token_jobs.CLAIM_PERIOD,
) -> None:
    """Deploy TokenJobs for this deployment's oracle. Nobody owns it; its address is kept beside the deployment file."""
    facts = companions.deploy(setup, Companion.TOKEN_JOBS, token_jobs.creation(setup.deployment.oracle, claim_period))
    setup.out.record({**facts, "claim_period": Seconds(claim_period)})


@command(app, "submit")
def submit(
    setup: Setup,
    named: Named,
    data: Annotated[Path, typer.Option(help="Data file: .csv, .npy or .bin.")],
    token: Annotated[str, typer.Option(metavar="ADDRESS", help="The ERC-20 token that it pays.")],
    amount: Annotated[int, typer.Option(min=1, max=_MOST, help="Shared by the agreeing seats, in the smallest unit.")],
    publish_to: Places = None,
    data_uris: Uris = None,
    scaling: Scaling = None,
    seats: Seats = 5,
    quorum: Quorum = None,
    seat_stake: SeatStake = None,
    commit_window: Window = None,
    reveal_window: Window = None,
    challenge_window: Window = None,
    response_window: Window = None,
    call_out_fee: Annotated[
        int, typer.Option(min=0, help="Of the amount, to all seats together if they work in vain; at most a tenth.")
    ] = 0,
    nonce: Annotated[int | None, typer.Option(min=0, help="Number of the job, for one that is not random.")] = None,
    contract: Contract = None,
) -> None:
    """Create a job that pays a token, and approve what it takes. Final: there is no cancel."""
    if call_out_fee > amount // 10:
        raise Refusal(ExitCode.USAGE, f"--call-out-fee is at most a tenth of --amount: {amount // 10}")
    jobs = _jobs(setup, contract)
    paid_in = parse_address(token)
    model = model_source.find(named)
    offered = offer(setup, model, data, scaling, publish_to, data_uris)
    wish = terms.Wish(0, seats, quorum, seat_stake, commit_window, reveal_window, challenge_window, response_window)
    wanted = terms.make(wish, setup.contracts, model.model_id, offered.root, offered.announced.uri, offered.count)
    offered.check(setup, wanted)
    funder = setup.account.address
    number = secrets.randbits(64) if nonce is None else nonce
    job = jobs.job(funder, number, wanted)
    job_id = job.id(setup.deployment.chain_id, setup.deployment.oracle)
    # what the oracle would refuse is found before anything is approved
    setup.endpoint.simulate(setup.contracts.oracle.create_job(job.nonce, wanted, offered.announced.uri), jobs.address)
    approvals = _approve(setup, Token(setup.endpoint, paid_in), jobs.address, amount) if paid_in != NATIVE else []
    setup.out.note(f"creating job 0x{job_id.hex()}")  # known before it is sent, so that nothing can lose it
    receipt = setup.send(
        jobs.create_job(paid_in, amount, number, wanted, offered.announced.uri, call_out_fee), "creating the job"
    )
    judged = {
        name: value
        for name, value in terms.facts(wanted).items()
        if name not in ("reward", "reward_per_item", "call_out_fee", "call_out_fee_of_a_seat")
    }
    setup.out.record(
        {
            "job_id": job_id,
            "model": model.model_id,
            "data_root": offered.root,
            "data_uri": offered.announced.uri,
            "token": paid_in,
            "amount": str(amount),
            "call_out_fee": str(call_out_fee),
            **judged,
            **receipt_facts(receipt),
            "approvals": [bytes(one["transactionHash"]) for one in approvals],
            "published": offered.announced.published,
        },
        title="Job created",
    )
    setup.out.note(f"Follow it with `quorate job watch 0x{job_id.hex()}`; once it is settled, `quorate token allot`.")


@command(app, "allot")
def allot(setup: Setup, job: JobId, contract: Contract = None) -> None:
    """Read a settled job's outcome: what no seat earns is the funder's, and the claim period begins. Anyone may."""
    jobs, job_id = _jobs(setup, contract), parse_hash(job, "job id")
    receipt = setup.send(jobs.allot(job_id), "allotting")
    setup.out.record({"job_id": job_id, **_reward_facts(jobs.reward(job_id)), **receipt_facts(receipt)})


@command(app, "claim")
def claim(
    setup: Setup,
    job: JobId,
    everyone: Annotated[bool, typer.Option("--all", help="Credit all workers of the job, not only this key.")] = False,
    contract: Contract = None,
) -> None:
    """Credit workers with what their seats earned. Claim before you commit again: a later commit in the lane loses it."""
    jobs, job_id = _jobs(setup, contract), parse_hash(job, "job id")
    paid_in = _known(jobs, job_id).token
    with setup.out.progress("reading the job"):
        view, _ = read_job(setup.contracts, job_id)
    by_word: dict[bytes, list[SeatRef]] = {}
    for worker, seat in view.seats.items():
        if (everyone or worker == setup.address) and not jobs.is_claimed(job_id, worker):
            by_word.setdefault(seat.word, []).append(SeatRef(worker, seat.lane))
    receipts = []
    for word, seats in by_word.items():
        try:
            receipts.append(setup.send(jobs.claim(job_id, word, seats), "claiming"))
        except errors.OracleRevert as refused:
            if refused.name != "NothingToClaim":  # seats of this word earn nothing
                raise
    if not receipts:
        whose = "of this job" if everyone else f"of {setup.address} in this job"
        raise Refusal(ExitCode.REFUSED, f"no seat {whose} has anything (more) to claim: nothing was sent")
    workers = [ref.worker for refs in by_word.values() for ref in refs]
    reward = jobs.reward(job_id)
    credited = [
        {"worker": worker, "credited": str(view.seats[worker].count * reward.share)}
        for worker in workers
        if jobs.is_claimed(job_id, worker)
    ]
    facts = {**_reward_facts(reward), "transactions": [bytes(one["transactionHash"]) for one in receipts]}
    setup.out.record({"job_id": job_id, "token": paid_in, **facts, "workers": credited})
    setup.out.note(f"`quorate token withdraw {paid_in}` pays it out.")


@command(app, "close")
def close(setup: Setup, job: JobId, contract: Contract = None) -> None:
    """After the claim period, credit the funder with what nobody has claimed. Anyone may."""
    jobs, job_id = _jobs(setup, contract), parse_hash(job, "job id")
    left = _known(jobs, job_id)
    receipt = setup.send(jobs.close(job_id), "closing")
    setup.out.record({"job_id": job_id, "funder": left.funder, "credited": str(left.left), **receipt_facts(receipt)})


@command(app, "withdraw")
def withdraw(
    setup: Setup,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token's address.")],
    to: Annotated[str | None, typer.Option(help="Who is paid; the key's own address by default.")] = None,
    least: Annotated[
        int | None, typer.Option(min=0, help="Refuse to be paid less, should the token have shrunk; all by default.")
    ] = None,
    contract: Contract = None,
) -> None:
    """Pay out what this key is credited with in a token."""
    jobs, paid_in = _jobs(setup, contract), parse_address(token)
    payee = parse_address(to) if to else setup.address
    credit = jobs.credit(paid_in, setup.address)
    receipt = setup.send(jobs.withdraw(paid_in, payee, credit if least is None else least), "withdrawing")
    setup.out.record({"token": paid_in, "credit": str(credit), "to": payee, **receipt_facts(receipt)})


@command(app, "show")
def show(
    setup: Setup,
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="The job's id.")] = None,
    token: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Show the credit in this token; again for more.")
    ] = None,
    of: Annotated[str | None, typer.Option(help="Whose credit; the key's own address by default.")] = None,
    contract: Contract = None,
) -> None:
    """What a job pays and to whom, what an address can withdraw, or, with neither, the contract itself."""
    jobs = _jobs(setup, contract)
    facts: dict[str, Any] = {"contract": jobs.address, "claim_period": Seconds(jobs.claim_period())}
    if job is not None:
        facts |= _job_facts(setup, jobs, parse_hash(job, "job id"))
    if token:
        payee = parse_address(of) if of else setup.address
        facts |= {"credit_of": payee, "credits": [_credit(jobs, parse_address(one), payee) for one in token]}
    setup.out.record(facts)


def _jobs(setup: Setup, contract: str | None) -> TokenJobs:
    return companions.find(setup, Companion.TOKEN_JOBS, contract, TokenJobs)


def _known(jobs: TokenJobs, job_id: bytes) -> Reward:
    """The job's reward. Raises Refusal where it was not created through this contract."""
    reward = jobs.reward(job_id)
    if not reward.exists:
        raise Refusal(
            ExitCode.NOT_FOUND,
            f"0x{job_id.hex()} is no job of the TokenJobs at {jobs.address}: check the job id, or name another --token-jobs",
        )
    return reward


def _approve(setup: Setup, token: Token, spender: ChecksumAddress, amount: int) -> Sequence[Receipt]:
    """Let the spender take the amount. Raises Refusal where the key has less."""
    owner = setup.address
    balance, allowed = token.balance(owner), token.allowance(owner, spender)
    if balance < amount:
        raise Refusal(ExitCode.FUNDS, f"{owner} has {balance} of the token {token.address} and needs {amount}")
    if allowed >= amount:
        return []
    steps = [0, amount] if allowed else [amount]  # some tokens change an approval only from or to nothing
    return [setup.send(token.approve(spender, one), "approving the token") for one in steps]


def _reward_facts(reward: Reward) -> dict[str, Any]:
    return {
        "share_of_a_seat": str(reward.share) if reward.claim_end else None,
        "seats_to_claim": reward.seats,
        "left": str(reward.left),
        "claims_end": Time(reward.claim_end),
    }


def _job_facts(setup: Setup, jobs: TokenJobs, job_id: bytes) -> dict[str, Any]:
    reward = _known(jobs, job_id)
    with setup.out.progress("reading the job"):
        view, _ = read_job(setup.contracts, job_id)
    workers = [
        {"worker": worker, "seats": seat.count, "claimed": jobs.is_claimed(job_id, worker)}
        for worker, seat in view.seats.items()
    ]
    return {
        "job_id": job_id,
        "outcome": view.state.outcome,
        "funder": reward.funder,
        "token": reward.token,
        **_reward_facts(reward),
        "workers": workers,
    }


def _credit(jobs: TokenJobs, token: ChecksumAddress, payee: ChecksumAddress) -> dict[str, Any]:
    return {"token": token, "credit": str(jobs.credit(token, payee)), "held_for_all": str(jobs.held(token))}
