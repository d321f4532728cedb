"""The pure rules of a dispute, played against a chain that checks every answer: no lie in any tree stays hidden."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import merkle
from contracts.merkle import MerkleTree
from oracle_worker import disputes
from oracle_worker.chunks import plan
from oracle_worker.disputes import Answer, Demand, InconsistentAnswer, LeafAnswer, Position, Refute, Wait
from oracle_worker.result_tree import ResultTree


def tree(count: int, lies: tuple[int, ...] = ()) -> MerkleTree:
    """Leaves of `count` items; a lie at an index beyond them stands in the padding."""
    leaves = [sha256(b"leaf %d" % index).digest() for index in range(count)]
    leaves += [merkle.EMPTY_LEAF] * ((1 << merkle.depth_of(count)) - count)
    for index in lies:
        leaves[index] = sha256(b"lie %d" % index).digest()
    return MerkleTree(leaves)


class Duel:
    """An honest tree against a withheld one, whose owner answers what is demanded, as the chain accepts it."""

    def __init__(self, own: disputes.Tree, foreign: MerkleTree) -> None:
        self.own = own
        self.foreign = foreign
        self.answers: dict[Position, tuple[bytes, ...]] = {}
        self.demanded: set[Position] = set()

    def step(self) -> Demand | Wait | Refute | None:
        return disputes.next_step(self.own, self.foreign.root, self.answers, self.demanded)

    def demand(self, level: int, index: int) -> None:
        assert (level, index) not in self.demanded, "a node is demanded once ever"
        if level:
            step = merkle.level_depth(level, self.own.depth) - merkle.level_depth(level - 1, self.own.depth)
            assert (level - 1, index >> step) in self.answers, "the node above is answered first"
        self.demanded.add((level, index))

    def answer(self, level: int, index: int) -> None:
        given = disputes.answer(self.foreign, level, index)
        assert isinstance(given, Answer)
        node = MerkleTree(given.nodes).root
        for place, sibling in enumerate(given.siblings):
            node = sha256(sibling + node if index >> place & 1 else node + sibling).digest()
        assert node == self.foreign.root, "the chain takes only nodes that lead to the root"
        self.answers[(level, index)] = given.nodes

    def play(self) -> Refute:
        """Until there is something to refute; every demand is answered."""
        for _ in range(2 * merkle.last_level(self.own.depth) + 2):
            match self.step():
                case Demand(level, index):
                    self.demand(level, index)
                    self.answer(level, index)
                case Refute() as found:
                    return found
                case other:
                    raise AssertionError(other)
        raise AssertionError("the duel does not end")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_lie_is_led_down_to_a_leaf_that_can_be_refuted(data: st.DataObject) -> None:
    count = data.draw(st.sampled_from([1, 2, 3, 15, 16, 17, 31, 100, 178, 256, 257, 300]))
    width = 1 << merkle.depth_of(count)
    lies = data.draw(st.sets(st.integers(0, width - 1), min_size=1, max_size=4))
    own, foreign = tree(count), tree(count, tuple(lies))
    duel = Duel(own, foreign)
    found = duel.play()
    assert found.index in lies
    assert found.leaf == foreign.node(foreign.depth, found.index) != own.node(own.depth, found.index)
    assert merkle.verify(foreign.root, count, found.index, found.leaf, found.siblings)
    assert len(duel.demanded) == merkle.last_level(own.depth)


@pytest.mark.parametrize("count", [178, 300])
@pytest.mark.parametrize("chunk_depth", [0, 1, 3, 4, 5, 8])
def test_a_tree_kept_in_chunks_leads_to_the_same_leaf(count: int, chunk_depth: int) -> None:
    whole = tree(count)
    own = chunked(whole, count, chunk_depth)
    assert own.root == whole.root
    foreign = tree(count, (count - 1,))
    assert Duel(own, foreign).play().index == count - 1
    for depth in range(whole.depth + 1):
        assert own.nodes(depth, 0, 1 << depth) == whole.nodes(depth, 0, 1 << depth)
        assert own.path(depth, (1 << depth) - 1) == whole.path(depth, (1 << depth) - 1)


def chunked(whole: MerkleTree, count: int, chunk_depth: int) -> ResultTree:
    cut = plan(count, chunk_depth)

    def load(chunk: int) -> MerkleTree:
        items = cut.items(chunk)
        return MerkleTree(whole.nodes(whole.depth, items.start, items.stop), depth=cut.depth)

    return ResultTree(cut, [load(chunk).root for chunk in range(cut.count)], load)


def test_nothing_is_due_against_ones_own_root() -> None:
    assert Duel(tree(178), tree(178)).step() is None


def test_an_awaited_answer_is_waited_for_before_another_path_is_opened() -> None:
    duel = Duel(tree(178), tree(178, (5, 150)))
    assert duel.step() == Demand(0, 0)
    duel.demand(0, 0)
    assert duel.step() == Wait(0, 0)
    duel.answer(0, 0)
    duel.demand(1, 9)  # a peer's choice, not ours
    assert duel.step() == Wait(1, 9)
    duel.answer(1, 9)
    found = duel.step()
    assert isinstance(found, Refute)
    assert found.index == 150


def test_a_demand_of_a_node_that_agrees_does_not_hold_anybody_up() -> None:
    duel = Duel(tree(178), tree(178, (5,)))
    duel.demand(0, 0)
    duel.answer(0, 0)
    duel.demand(1, 9)  # leads to nothing wrong
    assert duel.step() == Demand(1, 0)


def test_answers_that_do_not_hash_to_what_they_answer_are_noticed() -> None:
    duel = Duel(tree(178), tree(178, (5,)))
    duel.demand(0, 0)
    for forged in (tree(178, (6,)).nodes(4, 0, 16), tree(178, (5,)).nodes(4, 0, 8), tree(178, (5,)).nodes(5, 0, 32)):
        duel.answers[(0, 0)] = tuple(forged)
        with pytest.raises(InconsistentAnswer, match="RPC node"):
            duel.step()


def test_answers_of_every_level_lead_to_the_root() -> None:
    own = tree(178)
    for level in range(3):
        for index in (0, merkle.level_width(level, own.depth) - 1):
            given = disputes.answer(own, level, index)
            node = MerkleTree(given.nodes).root if isinstance(given, Answer) else given.leaf
            for place, sibling in enumerate(given.siblings):
                node = sha256(sibling + node if index >> place & 1 else node + sibling).digest()
            assert node == own.root
            assert isinstance(given, LeafAnswer) == (level == 2)
    for level, index in ((3, 0), (-1, 0), (1, 16), (2, 256)):
        with pytest.raises(IndexError):
            disputes.answer(own, level, index)
