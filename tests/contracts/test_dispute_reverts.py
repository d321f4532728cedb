"""What each dispute refuses, in the order of its guards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts import merkle
from contracts.commitment import DATA_UNAVAILABLE
from contracts.disputes import Gold, InputProof, Node, ResultProof
from contracts.gold import GoldItem, GoldTree
from contracts.job import Phase
from tests.contracts.chain import party
from tests.contracts.raising import raises
from tests.contracts.test_reverts import JURY, challenged
from tests.contracts.world import MODEL, STEPWISE_GAS_LIMIT, Claim, DataSet, NewWorld, Play, gold_of, truth_of

# refute


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.REVEALING, needed=Phase.CHALLENGING)
def test_refuting_before_all_roots_are_open_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    lie = play.truth.lie(3)
    play.commit_all(ann=play.truth, bob=lie, cat=lie)
    play.reveal("bob")
    play.refute("ann", lie, 3)


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLING, needed=Phase.CHALLENGING)
def test_refuting_in_the_second_the_window_ends_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.end_phase()
    play.refute("ann", lie, 3)


@raises("UnknownRoot(bytes32,bytes32)")
def test_refuting_a_root_that_nobody_revealed_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.refute("ann", lie.lie(4), 4)


@raises("AlreadyRefuted(bytes32,bytes32)")
def test_refuting_twice_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.refute("ann", lie, 3)
    play.refute("dan", lie, 3)


@pytest.mark.parametrize("flaw", ["leaf", "index", "sibling", "too short", "too long", "index beyond the tree"])
@raises("BadResultProof(bytes32,uint256)")
def test_a_result_proof_that_does_not_lead_to_the_root_is_refused(new_world: NewWorld, flaw: str) -> None:
    play, lie = challenged(new_world)
    result = lie.proof(3)
    siblings = list(result.siblings)
    flaws: dict[str, dict[str, Any]] = {
        "leaf": {"leaf": bytes(32)},
        "index": {"index": 2},
        "sibling": {"siblings": [bytes(32), *siblings[1:]]},
        "too short": {"siblings": siblings[:-1]},
        "too long": {"siblings": [*siblings, bytes(32)]},
        "index beyond the tree": {"index": 3 + (1 << lie.tree.depth)},
    }
    play.world.send("ann", "refute", play.job, replace(result, **flaws[flaw]), play.data.proof(3))


@pytest.mark.parametrize("flaw", ["other row", "changed row", "no row"])
@raises("BadInputProof(bytes32,uint256)", index=3)
def test_refuting_with_a_row_that_is_not_in_the_data_is_refused(new_world: NewWorld, flaw: str) -> None:
    play, lie = challenged(new_world)
    right = play.data.proof(3)
    changed = replace(right, row=right.row[:-1] + b"\0")
    given = {"other row": play.data.proof(2), "changed row": changed, "no row": InputProof()}[flaw]
    play.world.send("ann", "refute", play.job, lie.proof(3), given)


@raises("BadInputProof(bytes32,uint256)", index=6)
def test_refuting_the_padding_with_a_row_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    lie = play.truth.lie(6)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    play.world.send("ann", "refute", play.job, lie.proof(6), InputProof(b"\0", play.data.tree.proof(6)))


@pytest.mark.parametrize("index", [0, 4, 5, 7])
@raises("LeafIsRight(uint256,bytes32)")
def test_a_right_leaf_refutes_nothing(new_world: NewWorld, index: int) -> None:
    play, _ = challenged(new_world)
    play.refute("bob", play.truth, index)


# demand


def demand(play: Play, root: bytes, level: int, index: int, value: int = 10**18, by: str = "ann") -> None:
    play.world.send(by, "demand", play.job, Node(root, level, index), value=value)


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLING, needed=Phase.CHALLENGING)
def test_demanding_after_the_challenges_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.end_phase()
    demand(play, lie.root, 0, 0)


@raises("UnknownRoot(bytes32,bytes32)")
def test_demanding_below_a_root_that_nobody_revealed_is_refused(new_world: NewWorld) -> None:
    play, _ = challenged(new_world)
    demand(play, bytes(32), 0, 0)


@raises("UnknownRoot(bytes32,bytes32)")
def test_a_word_that_only_begins_like_an_honest_root_cannot_be_demanded(new_world: NewWorld) -> None:
    play, _ = challenged(new_world)
    demand(play, play.truth.root[:27] + bytes(5), 0, 0)


@raises("AlreadyRefuted(bytes32,bytes32)")
def test_demanding_below_a_refuted_root_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.refute("ann", lie, 3)
    demand(play, lie.root, 0, 0)


@pytest.mark.parametrize(("level", "index"), [(3, 0), (0, 1), (1, 16), (2, 17), (2, 31), (2**256 - 1, 0)])
@raises("NoSuchNode(uint256,uint256)")
def test_demanding_a_node_that_the_tree_lacks_is_refused(new_world: NewWorld, level: int, index: int) -> None:
    play, lie = challenged(new_world, item_count=17)
    play.demand("ann", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    play.demand("ann", lie, 1, 15)
    play.answer("bob", lie, 1, 15)
    demand(play, lie.root, level, index)


@raises("AlreadyDemanded(bytes32,uint256,uint256)")
def test_demanding_a_node_twice_is_refused_even_once_answered(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.demand("ann", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    demand(play, lie.root, 0, 0, by="dan")


@raises("DemandTooLate(uint256,uint256)", level=0)
def test_demanding_the_top_when_only_deeper_levels_have_time_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    end = play.end
    play.demand("ann", lie, 0, 0)
    play.world.chain.roll_to(end)
    demand(play, play.truth.root, 0, 0)


@raises("ParentNotAnswered(bytes32,uint256,uint256)")
def test_demanding_below_a_node_that_nobody_demanded_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    demand(play, lie.root, 1, 0)


@raises("ParentNotAnswered(bytes32,uint256,uint256)")
def test_demanding_below_an_open_demand_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.demand("ann", lie, 0, 0)
    demand(play, lie.root, 1, 0)


@raises("ParentNotAnswered(bytes32,uint256,uint256)", level=2, index=2)
def test_another_nodes_answer_opens_no_way_down(new_world: NewWorld) -> None:
    play, lie = challenged(new_world, item_count=17)
    play.demand("ann", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    play.demand("ann", lie, 1, 0)
    play.answer("bob", lie, 1, 0)
    demand(play, lie.root, 2, 2)


@raises("BondTooLow(uint256,uint256)")
def test_a_bond_one_wei_short_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    demand(play, lie.root, 0, 0, value=play.bond(lie, 0, 0) - 1)


# answer


def answer(play: Play, node: Node, nodes: list[bytes], siblings: list[bytes]) -> None:
    play.world.send("bob", "answer", play.job, node, nodes, siblings)


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLING, needed=Phase.CHALLENGING)
def test_answering_after_the_challenges_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.demand("ann", lie, 0, 0)
    play.end_phase()
    play.answer("bob", lie, 0, 0)


@raises("UnknownRoot(bytes32,bytes32)")
def test_answering_for_a_root_that_nobody_revealed_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.answer("bob", lie.lie(4), 0, 0)


@raises("AlreadyRefuted(bytes32,bytes32)")
def test_answering_for_a_refuted_root_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.demand("ann", lie, 0, 0)
    play.refute("ann", lie, 3)
    play.answer("bob", lie, 0, 0)


@pytest.mark.parametrize("level", [1, 2, 2**256 - 1])
@raises("WrongLevel(uint256,uint256)", lastLevel=1)
def test_answering_a_leaf_as_a_node_is_refused(new_world: NewWorld, level: int) -> None:
    play, lie = challenged(new_world)
    answer(play, Node(lie.root, level, 0), [lie.root], [])


@pytest.mark.parametrize("flaw", ["changed", "too few", "too many", "none", "whole", "sibling", "index"])
@raises("BadAnswer(bytes32,uint256,uint256)")
def test_an_answer_that_is_not_the_node_is_refused(new_world: NewWorld, flaw: str) -> None:
    play, lie = challenged(new_world, item_count=178)
    play.demand("ann", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    play.demand("ann", lie, 1, 5)
    nodes, siblings = lie.nodes(1, 5)
    index = 5
    if flaw == "changed":
        nodes[7] = bytes(32)
    elif flaw == "too few":
        nodes = nodes[:8]
    elif flaw == "too many":
        nodes = nodes + nodes
    elif flaw == "none":
        nodes = []
    elif flaw == "whole":
        nodes, siblings = [lie.tree.node(4, 5)], lie.tree.path(4, 5)
    elif flaw == "sibling":
        siblings = siblings[::-1]
    else:
        index = 4
    answer(play, Node(lie.root, 1, index), nodes, siblings)


@raises("NotDemanded(bytes32,uint256,uint256)")
def test_answering_what_nobody_demanded_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.answer("bob", lie, 0, 0)


@raises("NotDemanded(bytes32,uint256,uint256)")
def test_answering_twice_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.demand("ann", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    play.answer("cat", lie, 0, 0)


@raises("AnswerTooLate(uint256)")
def test_an_answer_in_the_second_its_time_is_over_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.demand("ann", lie, 0, 0)
    play.world.chain.roll(play.job.terms.response_window)
    play.answer("bob", lie, 0, 0)


# answerLeaf


def leaf_demanded(new_world: NewWorld) -> tuple[Play, Claim]:
    play, lie = challenged(new_world)
    play.demand("ann", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    play.demand("ann", lie, 1, 3)
    return play, lie


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLING, needed=Phase.CHALLENGING)
def test_answering_with_a_leaf_after_the_challenges_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    play.end_phase()
    play.answer("bob", lie, 1, 3)


@raises("AlreadyRefuted(bytes32,bytes32)")
def test_answering_with_a_leaf_of_a_refuted_root_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    play.refute("ann", lie, 3)
    play.answer("bob", lie, 1, 3)


@raises("BadResultProof(bytes32,uint256)", index=3)
def test_answering_with_another_leaf_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    other = replace(play.truth.proof(3), root=lie.root)
    play.world.send("bob", "answerLeaf", play.job, other, play.data.proof(3))


@raises("BadInputProof(bytes32,uint256)", index=3)
def test_answering_with_another_row_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    play.world.send("bob", "answerLeaf", play.job, lie.proof(3), play.data.proof(2))


@raises("BadInputProof(bytes32,uint256)", index=7)
def test_answering_with_a_padding_leaf_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    play.world.send("bob", "answerLeaf", play.job, lie.proof(7), InputProof())


@raises("NotDemanded(bytes32,uint256,uint256)", level=1, index=2)
def test_answering_with_a_leaf_that_nobody_demanded_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    play.answer("bob", lie, 1, 2)


@raises("AnswerTooLate(uint256)")
def test_a_late_leaf_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    play.world.chain.roll(play.job.terms.response_window)
    play.answer("bob", lie, 1, 3)


# executeJob


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.REVEALING, needed=Phase.CHALLENGING)
def test_executing_every_row_before_the_roots_are_open_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth, cat=play.truth)
    play.execute("dan")


@pytest.mark.parametrize("flaw", ["changed", "swapped", "a byte less", "a byte more", "a row less", "none"])
@raises("BadRows(bytes32)")
def test_executing_other_rows_than_the_jobs_is_refused(new_world: NewWorld, flaw: str) -> None:
    play, _ = challenged(new_world)
    rows = b"".join(play.data.rows)
    length = MODEL.network.row_length
    given = {
        "changed": rows[:-1] + bytes([rows[-1] ^ 1]),
        "swapped": rows[length : 2 * length] + rows[:length] + rows[2 * length :],
        "a byte less": rows[:-1],
        "a byte more": rows + b"\0",
        "a row less": rows[:-length],
        "none": b"",
    }[flaw]
    play.world.send("dan", "executeJob", play.job, given)


@raises("BadRows(bytes32)")
def test_a_job_with_a_row_that_no_model_can_read_cannot_be_executed_whole(new_world: NewWorld) -> None:
    play = new_world().play(JURY, rows={2: b"\1\2"})
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    play.execute("dan")


@raises("BadRows(bytes32)")
def test_a_stepwise_models_job_cannot_be_executed_whole(new_world: NewWorld) -> None:
    play = new_world(execution_gas_limit=STEPWISE_GAS_LIMIT).play(JURY)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    play.execute("dan")


# extendChallenge


def extend(play: Play, result: ResultProof, given: InputProof) -> None:
    play.world.send("ann", "extendChallenge", play.job, result, given)


def stepwise(new_world: NewWorld) -> tuple[Play, Claim]:
    play = new_world(execution_gas_limit=STEPWISE_GAS_LIMIT).play(JURY)
    lie = play.truth.lie(3)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    return play, lie


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLING, needed=Phase.CHALLENGING)
def test_extending_challenges_that_are_over_is_refused(new_world: NewWorld) -> None:
    play, lie = stepwise(new_world)
    play.end_phase()
    extend(play, lie.proof(3), play.data.proof(3))


@pytest.mark.parametrize("root", [bytes(32), DATA_UNAVAILABLE])
@raises("UnknownRoot(bytes32,bytes32)")
def test_extending_for_a_root_that_nobody_revealed_is_refused(new_world: NewWorld, root: bytes) -> None:
    play, lie = stepwise(new_world)
    extend(play, replace(lie.proof(3), root=root), play.data.proof(3))


@raises("AlreadyRefuted(bytes32,bytes32)")
def test_extending_for_a_refuted_root_is_refused(new_world: NewWorld) -> None:
    play, lie = stepwise(new_world)
    play.world.execute_in_steps(play.data.rows[3])
    play.refute("ann", lie, 3)
    extend(play, lie.proof(3), play.data.proof(3))


@raises("AlreadyExtended(bytes32)")
def test_extending_twice_is_refused_whatever_the_item(new_world: NewWorld) -> None:
    play, lie = stepwise(new_world)
    for index in (3, 2):
        extend(play, lie.proof(index), play.data.proof(index))


@raises("ModelNotStepwise(bytes32)", modelId=MODEL.id)
def test_a_model_of_one_transaction_gets_no_more_time(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    extend(play, lie.proof(3), play.data.proof(3))


@raises("BadResultProof(bytes32,uint256)", index=3)
def test_extending_for_another_leaf_is_refused(new_world: NewWorld) -> None:
    play, lie = stepwise(new_world)
    extend(play, replace(lie.proof(3), leaf=bytes(32)), play.data.proof(3))


@pytest.mark.parametrize("index", [2, 5])
@raises("BadInputProof(bytes32,uint256)", index=3)
def test_extending_for_another_row_is_refused(new_world: NewWorld, index: int) -> None:
    play, lie = stepwise(new_world)
    extend(play, lie.proof(3), play.data.proof(index))


@raises("ExecutionUnfinished(bytes32,bytes32)", modelId=MODEL.id)
def test_refuting_before_an_execution_in_steps_is_finished_is_refused(new_world: NewWorld) -> None:
    play, lie = stepwise(new_world)
    play.refute("ann", lie, 3)


@raises("ModelNotMeasured(bytes32)", modelId=MODEL.id)
def test_a_job_for_a_model_whose_gas_nobody_measured_is_refused(new_world: NewWorld) -> None:
    world = new_world(execution_gas_limit=STEPWISE_GAS_LIMIT, measured=False)
    world.create("requester", world.terms(DataSet(5), 3, 2))


# accuse


def audited(new_world: NewWorld) -> tuple[Play, Claim]:
    gold = gold_of(truth_of(DataSet(5)), 0, 2, 3)
    play = new_world().play(JURY, gold=gold, audit_bond=1)
    lie = play.truth.lie(3)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    return play, lie


def accuse(play: Play, gold: Gold, result: ResultProof) -> None:
    play.world.send("requester", "accuse", play.job, gold, result)


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLING, needed=Phase.CHALLENGING)
def test_opening_gold_after_the_challenges_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.end_phase()
    play.accuse(lie, 3)


@pytest.mark.parametrize("root", [bytes(32), DATA_UNAVAILABLE])
@raises("UnknownRoot(bytes32,bytes32)")
def test_accusing_a_root_that_nobody_revealed_is_refused(new_world: NewWorld, root: bytes) -> None:
    play, lie = audited(new_world)
    accuse(play, play.opened(3), replace(lie.proof(3), root=root))


@raises("AlreadyRefuted(bytes32,bytes32)")
def test_accusing_a_refuted_root_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.refute("ann", lie, 3)
    play.accuse(lie, 3)


@raises("GoldTooLate(uint256)")
def test_gold_opened_too_late_to_be_executed_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.world.chain.roll_to(play.end - play.job.terms.response_window)
    play.accuse(lie, 3)


@pytest.mark.parametrize("judged", [False, True])
@raises("AlreadyAccused(bytes32,uint256,bytes32)", position=1)
def test_accusing_a_root_twice_of_one_item_is_refused(new_world: NewWorld, judged: bool) -> None:
    play = new_world().play(JURY, gold=gold_of(truth_of(DataSet(5)), 0, 3, wrong=[3]), audit_bond=1)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    play.accuse(play.truth, 3)
    if judged:
        play.judge("dan", play.truth, 3)
    play.accuse(play.truth, 3)


@pytest.mark.parametrize("flaw", ["output", "salt", "index", "position", "sibling", "too short", "padding", "beyond"])
@raises("BadGold(bytes32,uint256)")
def test_gold_that_the_requester_did_not_commit_to_is_refused(new_world: NewWorld, flaw: str) -> None:
    play, lie = audited(new_world)
    gold = play.opened(3)
    siblings = list(gold.siblings)
    flaws: dict[str, dict[str, Any]] = {
        "output": {"output": gold.output[:-1] + bytes([gold.output[-1] ^ 1])},
        "salt": {"salt": bytes(32)},
        "index": {"index": 2},
        "position": {"position": 1},
        "sibling": {"siblings": [*siblings[:-1], bytes(32)]},
        "too short": {"siblings": siblings[:-1]},
        "padding": {"position": 3},
        "beyond": {"position": 2 + 4},
    }
    accuse(play, replace(gold, **flaws[flaw]), lie.proof(3))


@raises("BadGold(bytes32,uint256)", position=0)
def test_gold_about_an_item_beyond_the_last_is_refused(new_world: NewWorld) -> None:
    gold = GoldTree([GoldItem(5, bytes(8), bytes(32))])
    play = new_world().play(JURY, gold=gold, audit_bond=1)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    accuse(play, gold.opening(0), play.truth.proof(5))


@raises("BadGold(bytes32,uint256)")
def test_a_job_without_a_verification_set_has_no_gold(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    gold = GoldTree([GoldItem(3, play.truth.outputs[3], bytes(32))])
    accuse(play, gold.opening(0), lie.proof(3))


@pytest.mark.parametrize("flaw", ["other item", "leaf", "siblings"])
@raises("BadResultProof(bytes32,uint256)")
def test_accusing_a_leaf_that_the_root_does_not_have_is_refused(new_world: NewWorld, flaw: str) -> None:
    play, lie = audited(new_world)
    right = lie.proof(3)
    flawed = {
        "other item": lie.proof(2),
        "leaf": replace(right, leaf=bytes(32)),
        "siblings": replace(right, siblings=right.siblings[:-1]),
    }[flaw]
    accuse(play, play.opened(3), flawed)


@raises("GoldAgrees(uint256)", index=2)
def test_gold_that_agrees_accuses_nobody(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 2)


# judge


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLING, needed=Phase.CHALLENGING)
def test_judging_after_the_challenges_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    play.end_phase()
    play.judge("dan", lie, 3)


@raises("NotAccused(bytes32,uint256,bytes32)")
def test_judging_what_nobody_opened_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    play.judge("dan", lie, 2)


@raises("NotAccused(bytes32,uint256,bytes32)")
def test_judging_twice_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    for _ in range(2):
        play.judge("dan", lie, 3)


@raises("NotAccused(bytes32,uint256,bytes32)")
def test_judging_another_root_than_the_accused_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    play.judge("dan", play.truth, 3)


@raises("BadGold(bytes32,uint256)")
def test_judging_other_gold_than_was_opened_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    gold = replace(play.opened(3), output=bytes(8))
    play.world.send("dan", "judge", play.job, gold, lie.proof(3), play.data.proof(3))


@raises("BadResultProof(bytes32,uint256)", index=3)
def test_judging_another_leaf_than_was_accused_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    other = replace(play.truth.proof(3), root=lie.root)
    play.world.send("dan", "judge", play.job, play.opened(3), other, play.data.proof(3))


@raises("BadInputProof(bytes32,uint256)", index=3)
def test_judging_by_another_row_is_refused(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    play.world.send("dan", "judge", play.job, play.opened(3), lie.proof(3), play.data.proof(2))


# releaseBounty, releaseBond


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.CHALLENGING, needed=Phase.SETTLED)
def test_a_bounty_before_settlement_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.refute("ann", lie, 3)
    play.release_bounty(lie)


@raises("UnknownRoot(bytes32,bytes32)")
def test_a_bounty_on_a_root_that_nobody_revealed_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.finish(lie)
    play.release_bounty(lie.lie(4))


@raises("NothingToRelease()")
def test_a_bounty_on_a_root_that_nobody_refuted_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.finish(lie)
    play.release_bounty(play.truth)


@raises("NothingToRelease()")
def test_a_bounty_twice_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.refute("ann", lie, 3)
    play.finish(play.truth)
    play.release_bounty(lie)
    play.release_bounty(lie)


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.CHALLENGING, needed=Phase.SETTLED)
def test_a_bond_before_settlement_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    play.release_bond(lie, 0, 0)


@raises("UnknownRoot(bytes32,bytes32)")
def test_a_bond_on_a_root_that_nobody_revealed_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    play.finish()
    play.release_bond(lie.lie(4), 0, 0)


@raises("NothingToRelease()")
def test_a_bond_that_nobody_put_up_is_refused(new_world: NewWorld) -> None:
    play, lie = leaf_demanded(new_world)
    play.finish()
    play.release_bond(lie, 1, 2)


@pytest.mark.parametrize(("level", "index"), [(0, 0), (1, 3)])
@raises("NothingToRelease()")
def test_a_bond_twice_is_refused(new_world: NewWorld, level: int, index: int) -> None:
    play, lie = leaf_demanded(new_world)
    play.finish()
    play.release_bond(lie, level, index)
    play.release_bond(lie, level, index)


# What the views refuse


@pytest.mark.parametrize("view", ["phaseOf", "phaseEnd"])
@raises("UnknownJob(bytes32)")
def test_an_unknown_job_has_no_phase(new_world: NewWorld, view: str) -> None:
    play = new_world().play(JURY)
    unknown = (party("stranger"), *play.job.as_tuple()[1:])
    play.world.oracle.read(view, unknown)


@raises("CountOutOfRange(uint256)", count=0)
def test_no_items_have_no_least_stake(new_world: NewWorld) -> None:
    world = new_world()
    world.oracle.read("minSeatStake", MODEL.id, 0)


def test_levels_are_numbered_from_the_root() -> None:
    assert [merkle.last_level(merkle.depth_of(count)) for count in (1, 2, 16, 17, 178, 257, 300)] == [
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]
