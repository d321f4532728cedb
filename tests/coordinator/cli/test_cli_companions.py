"""Token jobs and standing orders through the command line, on a real chain with real contracts."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_typing import ChecksumAddress

from contracts import token_jobs
from contracts.endpoint import Call
from contracts.token_jobs import Token
from coordinator.cli.failures import ExitCode
from tests.contracts.chain import load
from tests.coordinator.cli.conftest import Chain, Cli, Ran, keep_key, write_wine
from tests.coordinator.cli.lives import SHORT, WORKER, Life, stake_everything, true_root, wine_rows

AMOUNT = 1001
REWARD = 10**16
TIP = 10**14
ONE_SEAT = ("--model", "wine-grading", "--seats", 1, "--quorum", 1, *SHORT, "--json")


@pytest.fixture(scope="module")
def staked(chain: Chain) -> int:
    """One worker has all the stake there is, in wei."""
    stake_everything(chain, 10**18)
    return 10**18


@pytest.fixture
def network(network: Chain) -> Chain:
    """Its deployment has no companions yet."""
    network.deployment_file.with_suffix(".companions.json").unlink(missing_ok=True)
    return network


@pytest.fixture
def worker(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return keep_key(home, monkeypatch, WORKER)


def make_token(chain: Chain, holder: str, amount: int) -> Token:
    """A new token of which the holder has so much."""
    made = load("GoodToken")
    minter = chain.transactor(18)
    receipt = minter.send(Call(None, bytes.fromhex(made["bytecode"][2:])))
    address = receipt["contractAddress"]
    assert address is not None
    contract = minter.web3.eth.contract(address=address, abi=made["abi"])
    minter.send(contract.functions.mint(holder, amount))
    return Token(minter.endpoint, address)


def ran_well(cli: Cli, *arguments: object) -> dict[str, object]:
    ran = cli(*arguments, "--json")
    assert ran.code == 0, ran.err
    facts: dict[str, object] = ran.data
    return facts


def settle(cli: Cli, chain: Chain, job: str, requester: str) -> str:
    chain.pass_time(301)
    return str(ran_well(cli, "job", "settle", job, "--key", requester)["outcome"])


def test_a_token_job_is_paid_to_its_worker_and_what_is_not_claimed_to_its_funder(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, worker: str, tmp_path: Path
) -> None:
    token = make_token(network, requester, 2 * AMOUNT)
    mine, theirs = ("--key", requester), ("--key", worker)
    data = ("--data", write_wine(tmp_path / "wine.csv", 20), "--publish", tmp_path / "data")
    order = ("token", "submit", *ONE_SEAT, "--seat-stake", staked, *data, "--token", token.address, *mine)
    nowhere = cli(*order, "--amount", AMOUNT)
    assert nowhere.code == ExitCode.USAGE and "`quorate token deploy`" in nowhere.err
    jobs = ran_well(cli, "token", "deploy", "--claim-period", 1000, *mine)["contract"]
    again = cli("token", "deploy", *mine)
    assert again.code == ExitCode.USAGE and str(jobs) in again.err

    before = network.nonce(0)
    poor = cli(*order, "--amount", 2 * AMOUNT + 1)
    assert poor.code == ExitCode.FUNDS and f"has {2 * AMOUNT}" in poor.err
    fee = cli(*order, "--amount", AMOUNT, "--call-out-fee", 101)
    assert fee.code == ExitCode.USAGE and "at most a tenth of --amount: 100" in fee.err
    greedy = cli(*order, "--amount", AMOUNT, "--seat-stake", 99 * staked)
    assert greedy.code == ExitCode.REFUSED and "TotalStakeTooLow" in greedy.err
    assert network.nonce(0) == before, "nothing was approved for a job that is refused"

    made = ran_well(cli, *order, "--amount", AMOUNT)
    job, life = str(made["job_id"]), Life(network, bytes.fromhex(str(made["job_id"])[2:]))
    assert (token.balance(holder(requester)), len(made["approvals"])) == (AMOUNT, 1)  # type: ignore[arg-type]
    early = cli("token", "allot", job, *mine)
    assert early.code == ExitCode.REFUSED and "NotSettled" in early.err
    life.reveal(true_root(wine_rows(20)))
    assert settle(cli, network, job, requester) == "accepted"
    none = cli("token", "claim", job, *mine)
    assert none.code == ExitCode.REFUSED and requester in none.err
    claimed = ran_well(cli, "token", "claim", job, *theirs)
    assert (claimed["workers"], claimed["left"]) == ([{"worker": worker, "credited": str(AMOUNT)}], "0")
    twice = cli("token", "claim", job, "--all", *mine)
    assert twice.code == ExitCode.REFUSED and "no seat of this job" in twice.err
    paid = ran_well(cli, "token", "withdraw", token.address, *theirs)
    assert (paid["credit"], token.balance(holder(worker))) == (str(AMOUNT), AMOUNT)
    life.release()

    job = str(ran_well(cli, *order, "--amount", AMOUNT)["job_id"])
    life = Life(network, bytes.fromhex(job[2:]))
    life.reveal(true_root(wine_rows(20)))
    assert settle(cli, network, job, requester) == "accepted"
    assert ran_well(cli, "token", "allot", job, *mine)["share_of_a_seat"] == str(AMOUNT)
    open_ = cli("token", "close", job, *mine)
    assert open_.code == ExitCode.REFUSED and "ClaimsOpen" in open_.err
    network.pass_time(1001)
    assert ran_well(cli, "token", "close", job, *mine)["credited"] == str(AMOUNT)
    life.release()
    shown = ran_well(cli, "token", "show", job, "--token", token.address, *mine)
    assert shown["workers"] == [{"worker": worker, "seats": 1, "claimed": False}]
    assert shown["credits"] == [{"token": token.address, "credit": str(AMOUNT), "held_for_all": str(AMOUNT)}]
    ran_well(cli, "token", "withdraw", token.address, *mine)
    assert token.balance(holder(requester)) == AMOUNT


def holder(address: str) -> ChecksumAddress:
    return ChecksumAddress(address)  # type: ignore[arg-type]


def test_a_standing_order_runs_twice_on_its_feeders_data_and_its_money_comes_back(
    cli: Cli,
    network: Chain,
    wine_id: bytes,
    staked: int,
    requester: str,
    worker: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    feeder, passer_by = keep_key(home, monkeypatch, 1), keep_key(home, monkeypatch, 2)
    owner, feeds, triggers = ("--key", requester), ("--key", feeder), ("--key", passer_by)
    ran_well(cli, "order", "deploy", *owner)
    terms = (*ONE_SEAT, "--seat-stake", staked, "--reward", REWARD, "--items", 20)
    schedule = ("--interval", 1000, "--runs", 2, "--tip", TIP, "--feeder", feeder)
    made = ran_well(cli, "order", "create", *terms, *schedule, "--funds", REWARD + TIP, *owner)
    order = str(made["order"])

    def announce(count: int, *key: object) -> Ran:
        data = ("--data", write_wine(tmp_path / f"{count}.csv", count), "--publish", tmp_path / "data")
        return cli("order", "announce", order, *data, *key, "--json")

    unsaid = cli("order", "trigger", order, *triggers)
    assert unsaid.code == ExitCode.UNFINISHED and feeder in unsaid.err
    stranger = announce(20, *owner)
    assert stranger.code == ExitCode.REFUSED and "NotTheFeeder" in stranger.err
    assert announce(19, *feeds).code == 0
    assert announce(20, *feeds).code == 0
    first = ran_well(cli, "order", "trigger", order, *triggers)
    assert Life(network, bytes.fromhex(str(first["job_id"])[2:])).view().terms.item_count == 20, "the later one counts"

    assert announce(3, *feeds).code == 0
    early = cli("order", "trigger", order, *triggers)
    assert early.code == ExitCode.REFUSED and "NotDue" in early.err
    network.pass_time(1000)
    unpaid = cli("order", "trigger", order, *triggers)
    assert unpaid.code == ExitCode.REFUSED and "NotFunded" in unpaid.err
    assert ran_well(cli, "order", "fund", order, REWARD + TIP, *triggers)["runs_paid_for"] == 1
    second = ran_well(cli, "order", "trigger", order, *triggers)
    assert (first["run"], second["run"]) == (0, 1) and first["job_id"] != second["job_id"]
    shown = ran_well(cli, "order", "show", order, *owner)
    assert (shown["runs_made"], shown["has_ended"], shown["balance"]) == (2, True, "0")

    job = str(second["job_id"])
    Life(network, bytes.fromhex(job[2:])).draw()
    assert settle(cli, network, job, requester) == "expired"
    thief = cli("order", "withdraw", order, *triggers)
    assert thief.code == ExitCode.REFUSED and "NotTheOwner" in thief.err
    assert ran_well(cli, "order", "collect", order, *triggers)["balance"] == str(REWARD)
    sink = "0x" + "78" * 20
    assert ran_well(cli, "order", "withdraw", order, "--to", sink, *owner)["withdrawn"] == str(REWARD)
    assert int(network.contracts.endpoint.ask("eth_getBalance", sink, "latest"), 16) == REWARD
    ended = cli("order", "cancel", order, *owner)
    assert ended.code == ExitCode.REFUSED and "OrderEnded" in ended.err


def test_money_goes_to_no_order_that_was_not_made_here(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str
) -> None:
    ran_well(cli, "order", "deploy")
    ran_well(
        cli, "order", "create", *ONE_SEAT, "--items", 20, "--reward", REWARD, "--interval", 1000, "--funds", REWARD
    )
    before = network.nonce(0)
    for address in ("0x" + "79" * 20, network.deployment.oracle):
        ran = cli("order", "fund", address, "1 ether")
        assert ran.code == ExitCode.NOT_FOUND and f"{address} is no order" in ran.err
    assert network.nonce(0) == before


def test_a_contract_for_another_oracle_is_refused(
    cli: Cli, network: Chain, requester: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = network.transactor(18).send(token_jobs.creation(network.deployment.registry))["contractAddress"]
    named = cli("token", "show", "--token-jobs", foreign)
    assert named.code == ExitCode.BAD_INPUT and f"is for the oracle {network.deployment.registry}" in named.err
    monkeypatch.setenv("QUORATE_TOKEN_JOBS", str(foreign))
    assert cli("token", "show").code == ExitCode.BAD_INPUT
    monkeypatch.setenv("QUORATE_TOKEN_JOBS", network.deployment.registry)
    nothing = cli("token", "show")
    assert nothing.code == ExitCode.CHAIN and "is no TokenJobs" in nothing.err
    monkeypatch.delenv("QUORATE_TOKEN_JOBS")
    ran_well(cli, "token", "deploy")
    missing = cli("token", "show", "0x" + "ab" * 32)
    assert missing.code == ExitCode.NOT_FOUND and "is no job of the TokenJobs" in missing.err
    network.deployment_file.with_suffix(".companions.json").write_text("[]")
    assert cli("token", "show").code == ExitCode.BAD_INPUT
