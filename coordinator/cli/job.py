"""`quorate job estimate | submit | settle | release | deliver`: ask for verdicts, and end what was asked."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts import errors, transactor
from contracts.compute_oracle import ComputeOracle, SeatRef
from contracts.deployment import Contracts
from contracts.endpoint import NOWHERE, Call
from contracts.job import NOBODY, Job, Outcome, Terms
from contracts.keystore import KeystoreError
from contracts.transactor import Receipt
from coordinator.cli import amounts, model_source, rows, terms
from coordinator.cli.audit import gold_path
from coordinator.cli.command import command
from coordinator.cli.context import Setup, parse_address, parse_hash, receipt_facts
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.gold import GoldSet, choose
from coordinator.cli.job_log import read_job
from coordinator.cli.output import Wei
from coordinator.cli.published import Places, Uris, announce, need_somewhere
from coordinator.job_view import JobView

if TYPE_CHECKING:
    import numpy as np
    from eth_typing import ChecksumAddress
    from numpy.typing import NDArray

    from coordinator.cli.model_source import Model

app = typer.Typer(help="Jobs: estimate, submit, show, list, watch, settle.", no_args_is_help=True)

_TERMS = "Terms"
Named = Annotated[str, typer.Option("--model", help="Zoo name, ONNX file, or 0x… id of a registered model.")]
Scaling = Annotated[Path | None, typer.Option(help="Model card whose scaling turns features into bytes.")]
Reward = Annotated[
    int,
    typer.Option(parser=amounts.option, metavar="AMOUNT", help="Shared by the agreeing seats.", rich_help_panel=_TERMS),
]
Seats = Annotated[int, typer.Option(min=1, max=65535, help="Expected jury.", rich_help_panel=_TERMS)]
Quorum = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Seats that must agree; more than half by default.", rich_help_panel=_TERMS),
]
SeatStake = Annotated[
    int | None,
    typer.Option(
        parser=amounts.option,
        metavar="AMOUNT",
        help="Locked for each seat; by default the least that the contract asks, and a quarter more.",
        rich_help_panel=_TERMS,
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        min=1, max=2**32 - 1, help="Seconds; by default 20 (response: 10) least windows.", rich_help_panel=_TERMS
    ),
]


@command(app, "estimate")
def estimate(
    setup: Setup,
    named: Named,
    data: Annotated[Path | None, typer.Option(help="Data file: .csv, .npy or .bin.")] = None,
    items: Annotated[int | None, typer.Option(min=1, help="How many items, instead of --data.")] = None,
    scaling: Scaling = None,
    reward: Reward = 0,
    seats: Seats = 5,
    quorum: Quorum = None,
    seat_stake: SeatStake = None,
    commit_window: Window = None,
    reveal_window: Window = None,
    challenge_window: Window = None,
    response_window: Window = None,
) -> None:
    """What a job would cost, how long it would take, what jury it would draw, and what corrupting it would cost."""
    if (data is None) == (items is None):
        raise Refusal(ExitCode.USAGE, "give either --data FILE or --items N")
    model = model_source.find(named)
    if data is not None:
        items = len(_read(setup, model, data, scaling))
    assert items is not None  # one of the two was given
    wish = terms.Wish(
        reward, seats, quorum, seat_stake, commit_window, reveal_window, challenge_window, response_window
    )
    contracts = setup.contracts
    wanted = terms.make(wish, contracts, model.model_id, bytes(32), "", items)
    with setup.out.progress("reading who has staked"):
        workers = terms.read_workers(contracts)
    jury = terms.jury_facts(wanted, workers, contracts.oracle.total_stake())
    setup.out.record(
        {
            "model": model.model_id,
            **terms.facts(wanted),
            **_gas_facts(setup, wanted, bool(jury["stake_suffices"])),
            **terms.duration_facts(wanted, contracts.oracle.bounds()),
            **jury,
        },
        title="Estimate",
    )


@command(app, "submit")
def submit(
    setup: Setup,
    named: Named,
    data: Annotated[Path, typer.Option(help="Data file: .csv, .npy or .bin.")],
    reward: Reward,
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
        int,
        typer.Option(
            parser=amounts.option,
            metavar="AMOUNT",
            help="Of the reward, to all seats together if they work in vain; at most a tenth.",
            rich_help_panel=_TERMS,
        ),
    ] = 0,
    gold: Annotated[
        int,
        typer.Option(min=0, help="Compute so many random items here, to check the workers by.", rich_help_panel=_TERMS),
    ] = 0,
    audit_bond: Annotated[
        int | None,
        typer.Option(
            parser=amounts.option,
            metavar="AMOUNT",
            help="What backs them: lost if one is wrong; by default two seat stakes.",
            rich_help_panel=_TERMS,
        ),
    ] = None,
    gold_file: Annotated[
        Path | None, typer.Option(help="Where to keep them until `job audit`; by default in $QUORATE_HOME/gold.")
    ] = None,
    consumer: Annotated[
        str | None, typer.Option(help="Contract to be told how the job ended.", rich_help_panel=_TERMS)
    ] = None,
    callback_gas: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Gas that it is told with.", rich_help_panel=_TERMS)
    ] = 0,
    nonce: Annotated[int | None, typer.Option(min=0, help="Number of the job, for one that is not random.")] = None,
    check: Annotated[bool, typer.Option(help="Fetch --data-uri and check it against the data.")] = True,
) -> None:
    """Create a job and pay its reward. Final: there is no cancel. Everything that can be checked is, before it is paid."""
    if (audit_bond is not None or gold_file is not None) and not gold:
        raise Refusal(ExitCode.USAGE, "--audit-bond and --gold-file are of a verification set: give --gold N")
    need_somewhere(publish_to, data_uris)
    model = model_source.find(named)
    values = _read(setup, model, data, scaling)
    with setup.out.progress("hashing rows", len(values)) as tick:
        inputs = rows.input_tree(values, tick)
    root = inputs.root
    announced = announce(setup, publish_to, data_uris, inputs, values)
    contracts = setup.contracts
    wish = terms.Wish(
        reward,
        seats,
        quorum,
        seat_stake,
        commit_window,
        reveal_window,
        challenge_window,
        response_window,
        call_out_fee,
        parse_address(consumer) if consumer else NOBODY,
        callback_gas,
    )
    wanted = terms.make(wish, contracts, model.model_id, root, announced.uri, len(values))
    verification_set = None
    if gold:
        with setup.out.progress(f"computing {gold} items to check the workers by"):
            verification_set = choose(model.need_network(), values, inputs, gold)
        wanted = _backed(wanted, verification_set, audit_bond)
    announced.check(setup, wanted, values.shape[1], given=check)
    requester = setup.account.address
    job = Job(requester, secrets.randbits(64) if nonce is None else nonce, wanted)
    job_id = job.id(setup.deployment.chain_id, setup.deployment.oracle)
    setup.out.note(f"creating job 0x{job_id.hex()}")  # known before it is sent, so that nothing can lose it
    kept_at = None
    if verification_set is not None:
        kept_at = gold_file or gold_path(setup, job_id)
        verification_set.save(kept_at, job_id)  # before it is sent: without it the audit bond backs nothing
    receipt = _create(setup, job, announced.uri, kept_at)
    setup.out.record(
        {
            "job_id": job_id,
            "model": model.model_id,
            "data_root": root,
            "data_uri": announced.uri,
            **terms.facts(wanted),
            **receipt_facts(receipt),
            "published": announced.published,
            "verification_set": kept_at,
        },
        title="Job created",
    )
    if kept_at is not None:
        setup.out.note(f"Whoever reads {kept_at} knows which items are checked. `quorate job audit` opens it in time.")
    setup.out.note(f"Follow it with `quorate job watch 0x{job_id.hex()}`.")


def _backed(wanted: Terms, verification_set: GoldSet, audit_bond: int | None) -> Terms:
    """The terms with a verification set, which there must be time to open. Raises Refusal."""
    backed = terms.with_gold(wanted, verification_set, audit_bond)
    if backed.challenge_window <= backed.response_window:
        raise Refusal(
            ExitCode.USAGE,
            "a verification set is opened a response window before the challenge window ends: with these windows it could "
            "never be. Lengthen --challenge-window, or shorten --response-window",
        )
    return backed


def _create(setup: Setup, job: Job, data_uri: str, kept_at: Path | None) -> Receipt:
    """Send the creation. kept_at: the file of a verification set, which goes again where nothing was created."""
    call = setup.contracts.oracle.create_job(job.nonce, job.terms, data_uri)
    try:
        return setup.send(call, "creating the job")
    except (errors.Reverted, transactor.NotEnoughFunds):
        if kept_at is not None:
            kept_at.unlink()
        raise


@command(app, "deliver")
def deliver(setup: Setup, job: Annotated[str, typer.Argument(help="The job's id.")]) -> None:
    """Tell a settled job's consumer how it ended. Anyone may, until it has succeeded once."""
    job_id = parse_hash(job, "job id")
    with setup.out.progress("reading the job"):
        view, _ = read_job(setup.contracts, job_id)
    receipt = setup.send(setup.contracts.oracle.deliver(view.job), "telling the consumer")
    told = {"consumer": view.terms.consumer, "outcome": view.state.outcome, "callback_gas": view.terms.callback_gas}
    setup.out.record({"job_id": job_id, **told, **receipt_facts(receipt)})


@command(app, "release")
def release(setup: Setup, job: Annotated[str, typer.Argument(help="The job's id.")]) -> None:
    """Release what a settled job owes this key: seats, bounties and bonds. Workers do it by themselves."""
    job_id = parse_hash(job, "job id")
    with setup.out.progress("reading the job"):
        view, _ = read_job(setup.contracts, job_id)
    calls = list(_owed(setup.contracts, view, setup.address))
    if view.state.outcome is Outcome.OPEN or not calls:
        why = "is not settled" if view.state.outcome is Outcome.OPEN else "owes this key nothing (more)"
        raise Refusal(ExitCode.REFUSED, f"the job {why}: nothing was sent")
    before = setup.contracts.oracle.credit(setup.address)
    receipt = setup.send(setup.contracts.oracle.multicall(calls), "releasing")
    credited = setup.contracts.oracle.credit(setup.address) - before
    setup.out.record({"job_id": job_id, "released": len(calls), "credited": Wei(credited), **receipt_facts(receipt)})
    setup.out.note("`quorate stake withdraw` pays it out.")


@command(app, "settle")
def settle(setup: Setup, job: Annotated[str, typer.Argument(help="The job's id.")]) -> None:
    """Record a job's outcome once every window is over. Anyone may; workers usually do."""
    job_id = parse_hash(job, "job id")
    with setup.out.progress("reading the job"):
        view, _ = read_job(setup.contracts, job_id)
    call = setup.contracts.oracle.settle(view.job, view.winner or bytes(32))
    receipt = setup.send(call, "settling")
    state = setup.contracts.oracle.job_state(job_id)
    root = state.root if state.outcome is Outcome.ACCEPTED else None
    setup.out.record({"job_id": job_id, "outcome": state.outcome, "root": root, **receipt_facts(receipt)})
    if root is None:
        setup.out.note("The whole reward is the requester's again: `quorate stake withdraw` with that key pays it out.")


def _owed(contracts: Contracts, view: JobView, party: ChecksumAddress) -> Iterator[Call]:
    """What releases the party's part of a settled job."""
    seat = view.seat(party)
    if seat is not None and seat.is_held:
        yield contracts.oracle.release(view.job, seat.word, [SeatRef(party, seat.lane)])
    for root, refuter in view.bounties_due():
        if refuter == party:
            yield contracts.disputes.release_bounty(view.job, root)
    for node in view.demands:
        payee, amount = view.bond_due(node)
        if payee == party and amount:
            yield contracts.disputes.release_bond(view.job, node)


def _read(setup: Setup, model: Model, data: Path, card: Path | None) -> NDArray[np.uint8]:
    """The rows of a data file for this model."""
    scaling = model_source.read_card(card).scaling if card else model.card.scaling if model.card else None
    if model.network is not None:
        row_length = model.network.row_length
    else:
        row_length = setup.contracts.registry.model(model.model_id).row_length
    with setup.out.progress(f"reading {data.name}"):
        return rows.read_rows(data, row_length, scaling)


def _gas_facts(setup: Setup, wanted: Terms, stake_suffices: bool) -> dict[str, Any]:
    """Gas of creating the job. Estimated without the reward, so that the estimate needs no funds."""
    if not stake_suffices:  # the contract would refuse: the facts below say so
        return {"gas": None}
    try:
        sender = setup.address
    except KeystoreError:
        sender = NOWHERE
    oracle: ComputeOracle = setup.contracts.oracle
    try:
        gas = setup.endpoint.estimate_gas(oracle.create_job(0, replace(wanted, reward=0), ""), sender)
    except errors.OracleRevert as refusal:
        if refusal.name != "TotalStakeTooLow":
            raise
        setup.out.note("Gas cannot be estimated yet: the stake of the newest block counts only from the next one on.")
        return {"gas": None}
    price = int(setup.endpoint.ask("eth_gasPrice"), 16)
    return {"gas": gas, "gas_cost": Wei(gas * price), "total_cost": Wei(gas * price + wanted.reward)}
