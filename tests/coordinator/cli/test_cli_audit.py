"""A hidden verification set through the command line: kept secret, held against what was revealed, executed by the chain."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from contracts.disputes import Node
from contracts.merkle import MerkleTree
from coordinator.cli.failures import ExitCode
from tests.coordinator.cli.conftest import Chain, Cli, Ran, write_wine
from tests.coordinator.cli.lives import (
    WORKER,
    Life,
    outputs_of,
    result_tree,
    stake_everything,
    submit,
    true_root,
    wine_rows,
)

ITEMS = 20
WINDOW = ("--response-window", 100)


@pytest.fixture(scope="module")
def staked(chain: Chain) -> int:
    amount = 10**18
    stake_everything(chain, amount)
    return amount


def lies(count: int) -> list[bytes]:
    """Outputs of which the first `count` are wrong."""
    outputs = outputs_of(wine_rows(ITEMS))
    return [bytes([output[0] ^ 1]) + output[1:] if index < count else output for index, output in enumerate(outputs)]


def published(path: Path, outputs: list[bytes]) -> Path:
    path.write_bytes(b"".join(outputs))
    return path


class Audited:
    """A job over twenty wines with a verification set, its worker's reveal, and what `job audit` makes of it."""

    def __init__(
        self, cli: Cli, chain: Chain, stake: int, folder: Path, outputs: list[bytes], gold: int = ITEMS
    ) -> None:
        self.cli, self.chain, self.folder = cli, chain, folder
        data = write_wine(folder / "wine.csv", ITEMS)
        self.job_id = submit(cli, data, folder / "data", stake, "--gold", gold, "--audit-bond", "0.001 ether", *WINDOW)
        self.tree = result_tree(outputs)
        self.life = Life(chain, self.job_id)
        self.life.reveal(self.tree.root)

    @property
    def kept(self) -> Path:
        (path,) = [path for path in self.folder.glob("home/gold/*") if path.stem == self.job_id.hex()]
        return path

    def audit(self, *more: object) -> Ran:
        return self.cli("job", "audit", "0x" + self.job_id.hex(), *more, "--json")

    def answer_demands(self) -> None:
        """Somebody demands the root's nodes down to the first leaves; somebody answers."""
        disputes, job, transactor = self.chain.contracts.disputes, self.life.view().job, self.chain.transactor(WORKER)
        for level, nodes in ((0, self.tree.nodes(4, 0, 16)), (1, self.tree.nodes(5, 0, 2))):
            node = Node(self.tree.root, level, 0)
            transactor.send(disputes.demand(job, node, disputes.bond_for(job, node)))
            transactor.send(disputes.answer(job, node, nodes, self.tree.path(4 * level, 0)))

    def settle(self) -> None:
        self.chain.pass_time(1000)
        assert self.cli("job", "settle", "0x" + self.job_id.hex()).code == 0

    def end(self) -> None:
        """The worker's stake is free for the next job."""
        self.settle()
        self.life.release()


@pytest.fixture
def home_of(home: Path, tmp_path: Path) -> Path:
    assert home == tmp_path / "home"
    return tmp_path


def test_a_verification_set_is_secret_and_holds_random_items_that_the_specification_computed(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, home_of: Path
) -> None:
    made = Audited(cli, network, staked, home_of, outputs_of(wine_rows(ITEMS)), gold=8)
    assert stat.S_IMODE(made.kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.kept.parent.stat().st_mode) == 0o700
    items = json.loads(made.kept.read_text())["items"]
    indices = [item["index"] for item in items]
    assert len(set(indices)) == 8 and indices != sorted(indices), "the order of the draw says nothing"
    assert len({item["salt"] for item in items}) == 8
    outputs = outputs_of(wine_rows(ITEMS))
    assert all(item["output"] == "0x" + outputs[item["index"]].hex() for item in items)
    terms = made.life.view().terms
    assert (terms.gold_count, terms.audit_bond) == (8, 10**15) and terms.gold_root != bytes(32)
    made.end()


def test_results_that_are_right_agree_and_the_bond_comes_back(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, home_of: Path
) -> None:
    made = Audited(cli, network, staked, home_of, outputs_of(wine_rows(ITEMS)), gold=5)
    unknown = made.audit()
    (row,) = unknown.data["roots"]
    assert (row["known_items"], row["finding"]) == (0, "unknown")
    assert "--results" in unknown.err
    (row,) = made.audit("--recompute").data["roots"]
    assert (row["known_items"], row["finding"]) == (5, "agrees")
    results = published(home_of / "results.bin", outputs_of(wine_rows(ITEMS)))
    assert made.audit("--results", results).data["roots"][0]["finding"] == "agrees"
    before = network.contracts.oracle.credit(requester)  # type: ignore[arg-type]
    made.settle()
    assert network.contracts.oracle.credit(requester) - before == 10**15  # type: ignore[arg-type]
    assert (
        cli("job", "show", "0x" + made.job_id.hex(), "--json").data["audit"] == "nothing of it was held against a root"
    )
    late = made.audit("--recompute")
    assert late.code == ExitCode.REFUSED and "too late" in late.err
    made.life.release()


@pytest.mark.parametrize("source", ["results", "answers"])
def test_a_lie_is_accused_and_refuted_in_one_transaction_and_its_bounty_is_the_requester_s(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, home_of: Path, source: str
) -> None:
    outputs = lies(2)
    made = Audited(cli, network, staked, home_of, outputs)
    if source == "answers":
        made.answer_demands()
        more: tuple[object, ...] = ()
    else:
        more = ("--results", published(home_of / "results.bin", outputs))
    before = network.nonce(0)
    ran = made.audit(*more)
    assert ran.code == 0, ran.err
    (row,) = ran.data["roots"]
    assert row["item"] in (0, 1) and row["finding"] == "refuted" and "its bounty is yours" in row["meaning"]
    assert row["known_items"] == (2 if source == "answers" else ITEMS)
    assert ran.data["audit_bond_at_stake"] is False and network.nonce(0) == before + 1
    view = made.life.view()
    assert view.roots[made.tree.root].refuter == requester and view.audit.open_accusations == 0
    assert made.audit(*more).data["roots"][0]["finding"] == "already_refuted"
    shown = cli("job", "show", "0x" + made.job_id.hex(), "--json").data
    assert shown["audit"] == "every item that was held against a root was right"
    assert shown["accusations"][0]["judged"] == "the root was wrong"
    made.settle()
    owed = cli("job", "release", "0x" + made.job_id.hex(), "--json")
    assert owed.code == 0 and owed.data["credited"] == str(staked // 2), owed.err
    again = cli("job", "release", "0x" + made.job_id.hex())
    assert again.code == ExitCode.REFUSED and "nothing (more)" in again.err
    made.life.release()
    stake_everything(network, staked)  # the liar's was forfeited


def test_an_accusation_alone_leaves_the_execution_to_others(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, home_of: Path
) -> None:
    outputs = lies(ITEMS)
    made = Audited(cli, network, staked, home_of, outputs, gold=1)
    results = published(home_of / "results.bin", outputs)
    ran = made.audit("--results", results, "--no-judge")
    assert ran.data["roots"][0]["finding"] == "accused"
    assert ran.data["audit_bond_at_stake"] is True
    assert made.life.view().audit.open_accusations == 1
    assert made.audit("--results", results).data["roots"][0]["finding"] == "already_accused"
    made.end()


def test_a_set_that_the_chain_contradicts_accuses_nobody(
    cli: Cli,
    network: Chain,
    wine_id: bytes,
    staked: int,
    requester: str,
    home_of: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken_machine(network_: object, rows: object) -> object:
        return run(network_, rows) + 1  # type: ignore[operator]

    from models.interpreter import run

    with monkeypatch.context() as patch:
        patch.setattr("models.interpreter.run", broken_machine)
        made = Audited(cli, network, staked, home_of, outputs_of(wine_rows(ITEMS)), gold=2)
    before = network.nonce(0)
    ran = made.audit("--recompute")
    assert ran.code == ExitCode.FAILED
    assert ran.data["roots"][0]["finding"] == "gold_wrong"
    assert network.nonce(0) == before
    made.end()


def test_what_is_no_set_of_this_job_and_results_of_nobody_are_refused(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, home_of: Path
) -> None:
    made = Audited(cli, network, staked, home_of, outputs_of(wine_rows(ITEMS)), gold=3)
    for content, complaint in (
        ("", "is no verification set"),
        ('{"items": [{"index": 1}]}', "is no verification set"),
        ('{"items": []}', "is no verification set"),
        ('{"items": ' * 2000, "is no verification set"),
        (json.dumps({"items": json.loads(made.kept.read_text())["items"][:2]}), "another job's verification set"),
    ):
        other = home_of / "other.json"
        other.write_text(content)
        ran = made.audit("--gold-file", other)
        assert ran.code == ExitCode.BAD_INPUT and complaint in ran.err, ran.err
    assert made.audit("--gold-file", home_of / "none.json").code == ExitCode.BAD_INPUT
    short = made.audit("--results", published(home_of / "short.bin", lies(0)[:-1]))
    assert short.code == ExitCode.BAD_INPUT and "are not the results of 20 items" in short.err
    foreign = made.audit("--results", published(home_of / "foreign.bin", lies(3)))
    assert foreign.code == ExitCode.BAD_INPUT and "a root that nobody revealed" in foreign.err
    made.end()


def test_a_job_without_a_set_and_one_before_its_reveals_cannot_be_audited(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, tmp_path: Path
) -> None:
    data = write_wine(tmp_path / "wine.csv", ITEMS)
    plain = submit(cli, data, tmp_path / "data", staked)
    ran = cli("job", "audit", "0x" + plain.hex())
    assert ran.code == ExitCode.USAGE and "without a verification set" in ran.err
    early = submit(cli, data, tmp_path / "data", staked, "--gold", 1)
    ran = cli("job", "audit", "0x" + early.hex())
    assert ran.code == ExitCode.UNFINISHED and "the job is drawing" in ran.err


def test_a_consumer_is_told_once_how_a_job_ended(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, tmp_path: Path
) -> None:
    consumer = network.transactor(8).sender
    data = write_wine(tmp_path / "wine.csv", ITEMS)
    given = ("--consumer", consumer, "--callback-gas", 30_000, "--call-out-fee", "0.001 ether")
    job_id = submit(cli, data, tmp_path / "data", staked, *given)
    job = "0x" + job_id.hex()
    facts = cli("job", "show", job, "--json").data
    assert (facts["consumer"], facts["callback_gas"], facts["consumer_told"]) == (consumer, 30_000, False)
    assert facts["call_out_fee_of_a_seat"] == str(10**15)
    early = cli("job", "deliver", job)
    assert early.code == ExitCode.REFUSED and "WrongPhase" in early.err
    life = Life(network, job_id)
    life.reveal(true_root(wine_rows(ITEMS)))
    network.pass_time(301)
    assert cli("job", "settle", job).code == 0
    assert cli("job", "deliver", job, "--json").data["outcome"] == "accepted"
    assert cli("job", "show", job, "--json").data["consumer_told"] is True
    again = cli("job", "deliver", job)
    assert again.code == ExitCode.REFUSED and "AlreadyDelivered" in again.err
    life.release()


def test_ether_goes_from_one_key_to_another(cli: Cli, network: Chain, requester: str) -> None:
    other = network.transactor(7).sender
    before = int(cli("account", "show", other, "--json").data["wallet"])
    ran = cli("account", "send", other, "0.25 ether", "--json")
    assert ran.code == 0, ran.err
    assert (ran.data["sent"], ran.data["from"], ran.data["to"]) == (str(25 * 10**16), requester, other)
    assert int(cli("account", "show", other, "--json").data["wallet"]) == before + 25 * 10**16
    assert cli("account", "show", "--json").data["wallet"] == ran.data["left"]
    assert cli("account", "send", "0x12", "1").code == ExitCode.USAGE


def test_a_tree_of_one_item_is_its_own_leaf() -> None:
    from coordinator.cli.audit import _from_answers

    root = MerkleTree([b"\x01" * 32]).root
    assert _from_answers(root, 1, 0, {}).leaf == root
