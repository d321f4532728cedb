"""What each dispute refuses, in the order of its guards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts import merkle
from contracts.disputes import InputProof, Node
from contracts.job import Phase
from tests.contracts.chain import party
from tests.contracts.raising import raises
from tests.contracts.test_reverts import JURY, challenged
from tests.contracts.world import MODEL, Claim, NewWorld, Play

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
