"""The specification itself: whole lives of jobs, with every amount worked out by hand."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts import abi, specification
from contracts.commitment import DATA_UNAVAILABLE, compute
from contracts.compute_oracle import Bounds, Opening, SeatRef
from contracts.disputes import InputProof, Node, ResultProof
from contracts.gold import GoldItem, GoldTree
from contracts.job import NOBODY, Job, Outcome, Phase, Terms, data_uri_hash
from contracts.signed_commit import SignedCommit
from contracts.specification import (
    Deployment,
    Environment,
    Refused,
    RegisteredModel,
    State,
    accuse,
    answer,
    answer_leaf,
    commit,
    commit_for,
    create_job,
    deliver,
    demand,
    deploy,
    deposit,
    draw,
    execute_job,
    extend_challenge,
    is_verdict,
    judge,
    multicall,
    refute,
    release,
    release_bond,
    release_bounty,
    reveal,
    settle,
    transact,
    unbond,
    withdraw,
)
from contracts.specification.books import accounted, free, total_stake
from contracts.specification.disputes import bond_for
from contracts.specification.phases import challenge_end, commit_end, demand_end, phase, reveal_end
from contracts.specification.settlement import message_for_consumer
from contracts.specification.terms import min_seat_stake
from tests.contracts.chain import party
from tests.contracts.world import MODEL, Claim, DataSet

GWEI = 10**9
BOUNDS = Bounds(min_window=8, max_window=3600, unbonding_period=4000, block_time=1, max_item_count=2**20, max_seats=64)
URI = "ipfs://rows"
ORACLE = party("oracle")
REWARD = 10**15 + 1
FEE = 9 * GWEI
BOND = 7 * GWEI + 1
SALT = b"salt".ljust(32, b"\0")


class Registry:
    """The tests' small model, as one that a single transaction executes, or as one whose stepwise executions are never done."""

    def __init__(self, stepwise: bool = False) -> None:
        self.known = RegisteredModel(MODEL.network.row_length, 20_000, stepwise)

    def model(self, model_id: bytes) -> RegisteredModel:
        if model_id != MODEL.id:
            raise Refused("UnknownModel", model_id)
        return self.known

    def execute(self, model_id: bytes, row: bytes) -> bytes:
        return MODEL.run(row)

    def output_of(self, model_id: bytes, row_leaf: bytes) -> bytes:
        raise Refused("ExecutionUnfinished", model_id, row_leaf)


class Life:
    """One job from the deployment on; who does what is given by name."""

    def __init__(self, item_count: int = 3, stepwise: bool = False, **changes: Any) -> None:
        self.registry = Registry(stepwise)
        deployment = Deployment(1, ORACLE, BOUNDS, self.registry, lambda number, proof: bytes(32), signer_named)
        self.state = deploy(deployment)
        self.now, self.number = 1_000_000, 100
        self.data = DataSet(item_count)
        self.truth = Claim([MODEL.run(row) for row in self.data.rows])
        self.stake = -(-min_seat_stake(deployment, MODEL.id, item_count) // GWEI) * GWEI
        self.terms = Terms(
            model_id=MODEL.id,
            data_root=self.data.tree.root,
            data_uri_hash=data_uri_hash(URI),
            item_count=item_count,
            seats=3,
            quorum=2,
            seat_stake=self.stake,
            reward=REWARD,
            call_out_fee=FEE,
            commit_window=96,
            reveal_window=48,
            challenge_window=96,
            response_window=16,
        )
        self.terms = replace(self.terms, **changes)
        self.job = Job(party("requester"), 0, self.terms)
        self.id = self.job.id(1, ORACLE)

    def do(self, who: str, entry_point: Any, *arguments: Any, value: int = 0) -> None:
        """One transaction; what the oracle holds is always what it owes."""
        self.state = transact(self.state, self.env(who, value), entry_point, *arguments)
        assert self.state.balance == accounted(self.state)

    def env(self, who: str = "anyone", value: int = 0) -> Environment:
        return Environment(party(who), self.now, self.number, value)

    def wait(self, seconds: int, blocks: int = 1) -> None:
        self.now, self.number = self.now + seconds, self.number + blocks

    # The usual beginning

    def draw_three(self) -> Life:
        """Ann, bob and cat have one seat's stake each, the job is created, and they are the jury."""
        for worker in ("ann", "bob", "cat"):
            self.do(worker, deposit, value=self.stake)
        self.wait(12)
        self.do("requester", create_job, 0, self.terms, URI, value=self.terms.reward + self.terms.audit_bond)
        self.wait(36, blocks=3)
        self.do("anyone", draw, self.id, b"")
        return self

    def commit(self, worker: str, root: bytes, lane: int = 0) -> None:
        sealed = compute(self.id, party(worker), root, SALT)
        self.do(worker, commit, self.job, lane, sealed, bytes(32), [0])

    def reveal(self, root: bytes, *workers: str) -> None:
        self.do("anyone", reveal, self.job, root, [Opening(party(worker), 0, SALT) for worker in workers])

    def vote(self, **roots: bytes) -> Life:
        """Everyone commits and reveals; the job is Challenging, and all windows after the draw ended early."""
        self.draw_three()
        for worker, root in roots.items():
            self.commit(worker, root)
        for worker, root in roots.items():
            self.reveal(root, worker)
        assert self.phase() == Phase.CHALLENGING
        return self

    def finish(self, root: bytes = bytes(32)) -> None:
        """Settle after the last window, and release all seats."""
        self.now = challenge_end(self.record)
        self.do("anyone", settle, self.job, root)
        for worker, seats in self.record.seats.items():
            self.do("anyone", release, self.job, seats.root or seats.commitment, [SeatRef(worker, seats.lane)])

    # Looking

    @property
    def record(self) -> Any:
        return self.state.jobs[self.id]

    def phase(self) -> Phase:
        return phase(self.record, self.env())

    def credit(self, who: str) -> int:
        return self.state.parties[party(who)].credit

    def bonded(self, who: str) -> int:
        return self.state.parties[party(who)].bonded

    def input(self, index: int) -> InputProof:
        return self.data.proof(index)

    def refusal(self, who: str, entry_point: Any, *arguments: Any, value: int = 0) -> tuple[Any, ...]:
        """What the transaction is refused with; the state is what it was."""
        before = (dict(self.state.parties), dict(self.state.jobs), self.state.balance, self.state.totals)
        with pytest.raises(Refused) as caught:
            transact(self.state, self.env(who, value), entry_point, *arguments)
        assert before == (self.state.parties, self.state.jobs, self.state.balance, self.state.totals)
        return caught.value.args


def result(claim: Claim, index: int) -> ResultProof:
    return claim.proof(index)


def signer_named(signed: SignedCommit, job_id: bytes) -> Any:
    """In these tests a signature is whose address its first half holds."""
    return signed.worker if signed.r[12:] == bytes.fromhex(signed.worker[2:]) else None


def refusals() -> dict[str, set[int | None]]:
    """The name of every error that the specification refuses with → how many values it gives (None: a list's)."""
    found: dict[str, set[int | None]] = {}
    for path in Path(specification.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place = {"require": 1, "refuse": 0}.get(node.func.id)
            if place is None or not isinstance(node.args[place], ast.Constant):
                continue
            values = node.args[place + 1 :]
            is_list = any(isinstance(value, ast.Starred) for value in values)
            found.setdefault(str(node.args[place].value), set()).add(None if is_list else len(values))  # type: ignore[attr-defined]
    return found


# ---- The contracts' errors


def declared(*names: str) -> dict[str, int]:
    """The errors in these contracts' ABIs → how many values they have."""
    entries = [entry for name in names for entry in abi.artifact(name).abi if entry["type"] == "error"]
    return {entry["name"]: len(entry["inputs"]) for entry in entries}


def test_every_refusal_is_an_error_of_the_contracts_with_all_its_values() -> None:
    known = declared("ComputeOracle", "Disputes", "ModelRegistry", "MerkleProof", "StakeLibrary")
    for name, counts in refusals().items():
        assert counts <= {known[name], None}, name


def test_every_error_of_the_oracle_is_a_refusal() -> None:
    elsewhere = {
        "PaymentWithoutCall",
        "CountOutOfRange",
        "NotPowerOfTwo",
    }  # no entry point's; no job's and no answer's tree
    foreign = set(declared("IModelRegistry"))
    assert set(declared("ComputeOracle", "Disputes")) - foreign - elsewhere <= set(refusals())


# ---- Outcomes


def test_accepted_pays_the_winners_equally_and_burns_the_outvoted() -> None:
    life = Life()
    lie = life.truth.lie(0)
    life.vote(ann=life.truth.root, bob=life.truth.root, cat=lie.root)
    life.finish(life.truth.root)
    # (10^15 + 1) / 2 each, and the one wei that is left to the requester; cat's stake is burned, for nobody refuted it.
    assert life.credit("ann") == life.credit("bob") == 5 * 10**14
    assert life.credit("requester") == 1
    assert (life.bonded("ann"), life.bonded("cat"), life.state.burned) == (life.stake, 0, life.stake)
    assert total_stake(life.state) == 2 * life.stake == free(life.state, party("ann")) + free(life.state, party("bob"))
    assert is_verdict(life.state, life.id, 1, life.truth.outputs[1], life.truth.tree.proof(1))
    assert not is_verdict(life.state, life.id, 0, life.truth.outputs[1], life.truth.tree.proof(1))


def test_a_lying_majority_is_refuted_and_the_refuter_earns_half() -> None:
    life = Life()
    lie = life.truth.lie(1)
    life.vote(ann=lie.root, bob=lie.root, cat=life.truth.root)
    assert life.refusal("dan", refute, life.job, result(life.truth, 1), life.input(1))[0] == "LeafIsRight"
    life.do("dan", refute, life.job, result(lie, 1), life.input(1))
    life.finish(life.truth.root)
    life.do("anyone", release_bounty, life.job, lie.root)
    assert life.credit("dan") == 2 * (life.stake // 2)
    assert life.state.burned == 2 * life.stake - 2 * (life.stake // 2)
    assert life.credit("cat") == REWARD
    assert life.credit("requester") == 0
    assert life.refusal("anyone", release_bounty, life.job, lie.root) == ("NothingToRelease",)


def test_hung_pays_the_call_out_fee_to_who_may_be_right() -> None:
    life = Life()
    life.vote(ann=life.truth.root, bob=life.truth.lie(0).root, cat=DATA_UNAVAILABLE)
    life.finish()
    # 9 gwei over three seats: three each to the two results; the abstention keeps its stake and gets nothing.
    assert life.record.outcome == Outcome.HUNG
    assert [life.credit(worker) for worker in ("ann", "bob", "cat")] == [3 * GWEI, 3 * GWEI, 0]
    assert life.credit("requester") == REWARD - 6 * GWEI
    assert total_stake(life.state) == 3 * life.stake and life.state.burned == 0


def test_unavailable_pays_the_abstainers_and_only_them() -> None:
    life = Life()
    life.vote(ann=DATA_UNAVAILABLE, bob=DATA_UNAVAILABLE, cat=life.truth.lie(0).root)
    root = life.truth.lie(0).root
    life.do("dan", refute, life.job, result(life.truth.lie(0), 0), life.input(0))
    life.finish()
    assert life.record.outcome == Outcome.UNAVAILABLE
    assert [life.credit(worker) for worker in ("ann", "bob", "cat")] == [3 * GWEI, 3 * GWEI, 0]
    assert (life.bonded("ann"), life.bonded("cat")) == (life.stake, 0)
    life.do("anyone", release_bounty, life.job, root)
    assert life.credit("dan") == life.stake // 2
    assert life.refusal("eve", demand, life.job, Node(DATA_UNAVAILABLE, 0, 0), value=1)[0] == "WrongPhase"


def test_a_result_that_stands_keeps_a_job_from_being_unavailable() -> None:
    life = Life()
    life.vote(ann=DATA_UNAVAILABLE, bob=DATA_UNAVAILABLE, cat=life.truth.root)
    unknown = ("UnknownRoot", life.id, DATA_UNAVAILABLE)
    assert life.refusal("eve", demand, life.job, Node(DATA_UNAVAILABLE, 0, 0), value=10**18) == unknown
    life.finish()
    assert life.record.outcome == Outcome.HUNG
    assert [life.credit(worker) for worker in ("ann", "bob", "cat")] == [0, 0, 3 * GWEI]


def test_expired_for_want_of_seats_pays_those_who_came() -> None:
    life = Life().draw_three()
    life.commit("ann", life.truth.root)
    life.now = commit_end(life.record)
    assert life.phase() == Phase.SETTLING
    life.do("anyone", settle, life.job, bytes(32), [SeatRef(party("ann"), 0)])
    sealed = life.record.seats[party("ann")].commitment
    assert life.refusal("anyone", release, life.job, bytes(32), [SeatRef(party("ann"), 0)]) == ("NothingToRelease",)
    life.do("anyone", release, life.job, sealed, [SeatRef(party("ann"), 0)])
    assert (life.credit("ann"), life.credit("requester")) == (3 * GWEI, REWARD - 3 * GWEI)


def test_expired_for_want_of_a_draw_gives_everything_back() -> None:
    life = Life()
    for worker in ("ann", "bob", "cat"):
        life.do(worker, deposit, value=life.stake)
    life.wait(12)
    life.do("requester", create_job, 0, life.terms, URI, value=REWARD)
    assert life.refusal("anyone", draw, life.id, b"") == ("SeedNotReady", life.number + 2, life.number)
    life.wait(0, blocks=2 + 256)
    assert life.phase() == Phase.DRAWING
    life.wait(0)
    assert life.phase() == Phase.SETTLING
    life.do("anyone", settle, life.job, bytes(32))
    assert life.credit("requester") == REWARD


def test_a_no_show_forfeits_everything() -> None:
    life = Life().draw_three()
    for worker in ("ann", "bob", "cat"):
        life.commit(worker, life.truth.root)
    life.reveal(life.truth.root, "ann", "bob")
    life.now = reveal_end(life.record)
    life.finish(life.truth.root)
    assert (life.bonded("cat"), life.state.burned) == (0, life.stake)


# ---- Disputes


def test_a_silent_lie_loses_and_its_lone_demander_is_made_whole() -> None:
    life = Life()
    lie = life.truth.lie(0)
    life.vote(ann=lie.root, bob=lie.root, cat=life.truth.root)
    bond = bond_for(life.state, life.env(), life.record, lie.root, 0)
    assert life.refusal("dan", demand, life.job, Node(lie.root, 0, 0), value=bond - 1) == ("BondTooLow", bond, bond - 1)
    life.do("dan", demand, life.job, Node(lie.root, 0, 0), value=bond + 5)
    assert life.credit("dan") == 5
    assert challenge_end(life.record) == demand_end(life.record, 0) + 2 * 16
    life.finish()
    # One true seat is no quorum, and silence proves nothing: Hung. The liars are burned whole, the demander gets its bond.
    assert life.record.outcome == Outcome.HUNG
    assert life.state.burned == 2 * life.stake
    life.do("anyone", release_bond, life.job, Node(lie.root, 0, 0))
    assert (life.credit("dan"), life.credit("cat")) == (5 + bond, 3 * GWEI)


def test_an_answer_earns_the_bond_unless_the_root_is_refuted_after_all() -> None:
    life = Life(item_count=1)
    lie = life.truth.lie(0)
    life.vote(ann=life.truth.root, bob=life.truth.root, cat=lie.root)
    honest = bond_for(life.state, life.env(), life.record, life.truth.root, 0)
    for claim in (life.truth, lie):
        life.do("dan", demand, life.job, Node(claim.root, 0, 0), value=honest)
        life.do("eve", answer_leaf, life.job, result(claim, 0), life.input(0))
    life.do("dan", refute, life.job, result(lie, 0), life.input(0))
    life.finish(life.truth.root)
    for claim in (life.truth, lie):
        life.do("anyone", release_bond, life.job, Node(claim.root, 0, 0))
    assert (life.credit("eve"), life.credit("dan")) == (honest, honest)


def test_a_flood_of_demands_gets_one_bond_back_between_them() -> None:
    life = Life()
    lie = life.truth.lie(0)
    life.vote(ann=lie.root, bob=lie.root, cat=lie.root)
    first = bond_for(life.state, life.env(), life.record, lie.root, 0)
    assert life.refusal("eve", demand, life.job, Node(lie.root, 1, 0), value=10**18)[0] == "ParentNotAnswered"
    life.do("dan", demand, life.job, Node(lie.root, 0, 0), value=first)
    life.do("cat", answer, life.job, Node(lie.root, 0, 0), *lie.nodes(0, 0))
    bonds = []
    for index in range(3):
        bonds.append(bond_for(life.state, life.env(), life.record, lie.root, 1))
        life.do("eve", demand, life.job, Node(lie.root, 1, index), value=bonds[-1])
    assert bonds == [bonds[0], 2 * bonds[0], 3 * bonds[0]]
    assert life.refusal("eve", demand, life.job, Node(lie.root, 1, 3), value=10**18) == ("NoSuchNode", 1, 3)
    life.finish()
    for level, index in ((0, 0), (1, 0), (1, 1), (1, 2)):
        life.do("anyone", release_bond, life.job, Node(lie.root, level, index))
    # The answer earned its bond. Of 6 bonds' worth, a third of each of 1, 2 and 3 comes back; the rest is burned.
    assert life.credit("cat") == first
    back = sum(bond // 3 for bond in bonds)
    assert (life.credit("eve"), life.state.burned) == (back, 3 * life.stake + sum(bonds) - back)


def test_executing_the_whole_job_beats_any_vote() -> None:
    life = Life()
    lie, other = life.truth.lie(0), life.truth.lie(1)
    life.vote(ann=lie.root, bob=other.root, cat=DATA_UNAVAILABLE)
    bond = bond_for(life.state, life.env(), life.record, lie.root, 0)
    life.do("dan", demand, life.job, Node(lie.root, 0, 0), value=bond)
    life.do("fay", refute, life.job, result(other, 1), life.input(1))
    rows = b"".join(life.data.rows)
    assert life.refusal("eve", execute_job, life.job, rows[1:]) == ("BadRows", life.terms.data_root)
    assert life.refusal("eve", execute_job, life.job, rows[::-1]) == ("BadRows", life.terms.data_root)
    life.do("eve", execute_job, life.job, rows)
    assert life.phase() == Phase.SETTLING
    life.do("anyone", settle, life.job, life.truth.root)
    # Nobody revealed the true root: the abstention gets its fee, the requester the rest; both liars' bounties are owed.
    assert life.record.outcome == Outcome.ACCEPTED
    assert life.credit("requester") == REWARD - 3 * GWEI
    for claim in (lie, other):
        life.do("anyone", release_bounty, life.job, claim.root)
    life.do("anyone", release_bond, life.job, Node(lie.root, 0, 0))
    assert [life.credit(who) for who in ("eve", "fay", "dan")] == [life.stake // 2, life.stake // 2, bond]
    life.do("anyone", release, life.job, DATA_UNAVAILABLE, [SeatRef(party("cat"), 0)])
    assert (life.credit("cat"), life.bonded("cat")) == (3 * GWEI, life.stake)


def test_a_demand_on_the_true_root_is_void_once_everything_was_executed() -> None:
    life = Life()
    life.vote(ann=life.truth.root, bob=life.truth.root, cat=life.truth.root)
    bonds = []
    for index in range(1):
        bonds.append(bond_for(life.state, life.env(), life.record, life.truth.root, 0))
        life.do("dan", demand, life.job, Node(life.truth.root, 0, index), value=bonds[-1])
    life.do("eve", execute_job, life.job, b"".join(life.data.rows))
    life.finish(life.truth.root)
    life.do("anyone", release_bond, life.job, Node(life.truth.root, 0, 0))
    assert life.credit("dan") == sum(bonds) and life.state.burned == 0


def test_a_stepwise_execution_lengthens_the_challenge_once() -> None:
    life = Life(stepwise=True)
    lie = life.truth.lie(0)
    life.vote(ann=lie.root, bob=lie.root, cat=lie.root)
    before = challenge_end(life.record)
    life.do("dan", extend_challenge, life.job, result(lie, 0), life.input(0))
    assert challenge_end(life.record) == before + 16
    assert life.refusal("dan", extend_challenge, life.job, result(lie, 1), life.input(1))[0] == "AlreadyExtended"
    assert life.refusal("dan", refute, life.job, result(lie, 0), life.input(0))[0] == "ExecutionUnfinished"
    assert life.refusal("dan", execute_job, life.job, b"".join(life.data.rows))[0] == "BadRows"


# ---- Audit


def gold_of(outputs: list[bytes]) -> GoldTree:
    return GoldTree([GoldItem(index, output, SALT) for index, output in enumerate(outputs)])


def life_with(gold: GoldTree) -> Life:
    return Life(gold_root=gold.root, gold_count=gold.count, audit_bond=BOND)


def test_right_gold_refutes_and_its_bond_goes_back() -> None:
    truth = Claim([MODEL.run(row) for row in DataSet(3).rows])
    gold = gold_of(truth.outputs[:2])
    life, lie = life_with(gold), truth.lie(1)
    life.vote(ann=lie.root, bob=lie.root, cat=truth.root)
    assert life.refusal("requester", accuse, life.job, gold.opening(0), result(lie, 0)) == ("GoldAgrees", 0)
    life.do("requester", accuse, life.job, gold.opening(1), result(lie, 1))
    life.do("dan", judge, life.job, gold.opening(1), result(lie, 1), life.input(1))
    life.finish(truth.root)
    assert life.credit("requester") == BOND
    life.do("anyone", release_bounty, life.job, lie.root)
    assert life.credit("dan") == 2 * (life.stake // 2)


def test_wrong_gold_costs_the_bond_half_of_it_burned() -> None:
    truth = Claim([MODEL.run(row) for row in DataSet(3).rows])
    gold = gold_of([bytes(8), *truth.outputs[1:]])
    life = life_with(gold).vote(ann=truth.root, bob=truth.root, cat=truth.root)
    life.do("anyone", accuse, life.job, gold.opening(0), result(truth, 0))
    life.do("dan", judge, life.job, gold.opening(0), result(truth, 0), life.input(0))
    again = (gold.opening(0), result(truth, 0), life.input(0))
    assert life.refusal("eve", judge, life.job, *again) == ("NotAccused", life.id, 0, truth.root)
    life.finish(truth.root)
    # 7 gwei and a wei: half, rounded down, to dan; the rest is burned. The reward is 10^15 + 1: 2 wei over three seats' third.
    assert (life.credit("dan"), life.state.burned) == (BOND // 2, BOND - BOND // 2)
    assert life.credit("requester") == REWARD % 3


def test_an_accusation_that_nobody_executes_costs_the_whole_bond() -> None:
    truth = Claim([MODEL.run(row) for row in DataSet(3).rows])
    gold = gold_of([bytes(8)])
    life = life_with(gold).vote(ann=truth.root, bob=truth.root, cat=truth.root)
    life.now = demand_end(life.record, 0) - 16 - 1
    life.do("anyone", accuse, life.job, gold.opening(0), result(truth, 0))
    life.now += 1
    assert life.refusal("anyone", accuse, life.job, gold.opening(0), result(truth, 0)) == ("GoldTooLate", life.now)
    life.finish(truth.root)
    assert (life.credit("requester"), life.state.burned) == (REWARD % 3, BOND)


def test_executing_the_whole_job_executes_what_was_accused() -> None:
    truth = Claim([MODEL.run(row) for row in DataSet(3).rows])
    gold = gold_of(truth.outputs[:1])
    life, lie = life_with(gold), truth.lie(0)
    life.vote(ann=lie.root, bob=lie.root, cat=truth.root)
    life.do("requester", accuse, life.job, gold.opening(0), result(lie, 0))
    life.do("eve", execute_job, life.job, b"".join(life.data.rows))
    assert life.refusal("dan", judge, life.job, gold.opening(0), result(lie, 0), life.input(0))[0] == "WrongPhase"
    life.finish(truth.root)
    assert life.credit("requester") == BOND


# ---- Transactions


def test_relayed_commits_are_granted_or_skipped_one_by_one() -> None:
    life = Life().draw_three()
    signed = []
    for worker, lane, tickets in (("ann", 0, (0,)), ("bob", 24, (0,)), ("cat", 0, (0, 0))):
        sealed = compute(life.id, party(worker), life.truth.root, SALT)
        signature = bytes(12) + bytes.fromhex(party(worker)[2:])
        made = SignedCommit(party(worker), lane, sealed, bytes(32), tickets, life.now + 1, signature, bytes(32))
        signed.append(made)
    forged = replace(signed[1], lane=0, r=bytes(32))
    life.do("relay", commit_for, life.job, [*signed, forged])
    said = [(event.name, event.args.get("reason", b"")) for event in life.state.events]
    assert [name for name, _ in said] == ["Committed", "CommitSkipped", "CommitSkipped", "CommitSkipped"]
    assert len({reason for _, reason in said}) == 4 and said[-1][1] == bytes(4)
    life.now += 1
    late = (life.job, [replace(signed[1], lane=0)])
    assert life.refusal("relay", commit_for, *late) == ("NothingCommitted", life.id)


def test_a_batch_is_all_or_nothing() -> None:
    life = Life()
    life.do("ann", deposit, value=life.stake)
    calls = [(unbond, [GWEI]), (unbond, [life.stake])]
    assert life.refusal("ann", multicall, calls)[0] == "NotEnoughFreeStake"
    life.do("ann", multicall, [(unbond, [GWEI]), (multicall, [[(unbond, [2 * GWEI])]])])
    assert life.state.parties[party("ann")].unbonding == 3 * GWEI
    assert life.refusal("ann", multicall, [(deposit, [])]) == ("ZeroAmount",)
    assert life.refusal("ann", unbond, GWEI, value=1) == ("",)


def test_unbonding_takes_its_time_and_starts_again() -> None:
    life = Life()
    life.do("ann", deposit, value=3 * GWEI)
    life.do("ann", unbond, GWEI)
    life.wait(3999)
    life.do("ann", unbond, GWEI)
    life.wait(1)
    refused = ("NothingToWithdraw", party("ann"), 2 * GWEI, life.now + 3999)
    assert life.refusal("ann", withdraw, party("bob")) == refused
    life.wait(3999)
    assert life.refusal("ann", withdraw, party("bob"), False) == ("PaymentRefused", party("bob"), 2 * GWEI)
    life.do("ann", withdraw, party("bob"))
    assert (life.state.balance, life.bonded("ann")) == (GWEI, GWEI)


def test_the_consumer_is_told_until_it_listens() -> None:
    life = Life(consumer=party("sale"), callback_gas=50_000)
    life.vote(ann=life.truth.root, bob=life.truth.root, cat=life.truth.root)
    life.finish(life.truth.root)
    assert life.refusal("anyone", deliver, life.job, False) == ("DeliveryFailed", party("sale"))
    short = life.refusal("anyone", deliver, life.job, True, 49_999)
    assert short == ("NotEnoughGasToDeliver", 49_999, 50_000)
    life.do("anyone", deliver, life.job)
    assert message_for_consumer(life.record) == (Outcome.ACCEPTED, life.truth.root)
    assert life.refusal("anyone", deliver, life.job) == ("AlreadyDelivered", life.id)


def test_a_job_without_a_consumer_tells_nobody() -> None:
    life = Life(consumer=NOBODY)
    life.vote(ann=life.truth.root, bob=life.truth.root, cat=life.truth.root)
    life.finish(life.truth.root)
    assert life.refusal("anyone", deliver, life.job) == ("NoConsumer", life.id)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("minWindow", {"min_window": 0}),
        ("maxWindow", {"max_window": 7}),
        ("unbondingPeriod", {"unbonding_period": 3600 + 258}),
        ("blockTime", {"block_time": 0}),
        ("maxItemCount", {"max_item_count": 0}),
        ("maxSeats", {"max_seats": 0}),
        ("referencePrice", {"reference_price": 0}),
    ],
)
def test_bounds_that_make_no_sense_are_refused(name: str, bounds: dict[str, int]) -> None:
    bad = replace(BOUNDS, **bounds)
    with pytest.raises(Refused) as caught:
        deploy(Deployment(1, ORACLE, bad, Registry(), lambda number, proof: bytes(32), signer_named))
    assert caught.value.args == ("BadBound", name.encode().ljust(32, b"\0"))


def test_a_refused_job_is_unknown() -> None:
    life = Life()
    state: State = life.state
    assert life.refusal("anyone", settle, life.job, bytes(32)) == ("UnknownJob", life.id)
    assert life.refusal("requester", create_job, 0, life.terms, URI, value=REWARD)[0] == "TotalStakeTooLow"
    assert life.state is state and not state.jobs
