"""Refutations, demands and answers: who wins, when each may happen, and where every wei goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts import errors, gas_budget, merkle
from contracts.disputes import InputProof, Node, ResultProof
from contracts.job import Outcome, Phase
from tests.contracts.chain import NOBODY, party
from tests.contracts.test_reverts import JURY, challenged
from tests.contracts.world import GWEI, MODEL, Claim, NewWorld, Play

# Refuting


def test_an_honest_minority_wins_once_the_lying_majority_is_refuted(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.refute("ann", lie, 3)
    play.finish(play.truth)
    assert play.state.outcome == Outcome.ACCEPTED and play.state.root == play.truth.root
    assert play.credit_of("ann") == play.job.terms.reward
    assert [play.stake_of(worker) for worker in JURY] == [play.job.terms.seat_stake, 0, 0]


def test_half_of_what_a_refuted_root_forfeits_is_the_refuters_and_half_is_burned(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.refute("dan", lie, 3)
    play.finish(play.truth)
    play.release_bounty(lie)
    assert play.credit_of("dan") == play.job.terms.seat_stake  # half of two seats
    assert play.world.burned == play.job.terms.seat_stake
    play.world.send("dan", "withdraw", party("dan"))


def test_an_odd_gwei_of_each_seat_is_shared_to_the_wei(new_world: NewWorld) -> None:
    odd = new_world().least_stake // GWEI | 1
    play = new_world().play({"ann": 2, "bob": 3}, seat_stake=odd * GWEI)
    lie = play.truth.lie(3)
    play.vote(ann=play.truth, bob=lie)
    play.refute("dan", lie, 3)
    play.finish(play.truth)
    play.release_bounty(lie)
    assert play.credit_of("dan") == play.world.burned == 3 * odd * GWEI // 2


@pytest.mark.parametrize(("item_count", "index"), [(5, 5), (5, 7), (17, 17), (17, 31), (178, 200), (300, 511)])
def test_a_leaf_in_the_padding_is_refuted_without_a_row(new_world: NewWorld, item_count: int, index: int) -> None:
    play = new_world().play(JURY, item_count=item_count)
    lie = play.truth.lie(index)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    play.refute("ann", lie, index)
    play.finish(play.truth)
    assert play.state.root == play.truth.root and play.stake_of("bob") == 0


def test_a_root_of_one_item_is_refuted(new_world: NewWorld) -> None:
    play, lie = challenged(new_world, item_count=1)
    play.refute("ann", lie, 0)
    assert play.tally(lie).refuter == party("ann").lower()


MALFORMED = [b"", b"\1\2", b"\1\2\3\4", bytes(64)]  # the model's rows have three bytes


@pytest.mark.parametrize("row", MALFORMED)
def test_a_majority_cannot_make_up_a_verdict_on_a_row_that_no_model_can_read(new_world: NewWorld, row: bytes) -> None:
    play = new_world().play(JURY, rows={2: row})
    lie = play.truth.lie(2)
    play.vote(ann=lie, bob=lie, cat=lie)
    play.refute("dan", lie, 2)
    play.finish()
    assert play.state.outcome == Outcome.HUNG and play.tally(lie).refuted
    assert [play.stake_of(worker) for worker in JURY] == [0, 0, 0]


@pytest.mark.parametrize("row", MALFORMED)
def test_a_row_that_no_model_can_read_has_the_empty_leaf_and_no_verdict(new_world: NewWorld, row: bytes) -> None:
    play = new_world().play(JURY, rows={2: row})
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    with pytest.raises(errors.OracleRevert, match="LeafIsRight"):
        play.refute("dan", play.truth, 2)
    play.finish(play.truth)
    assert play.verdict(1, play.truth.outputs[1], play.truth.tree.proof(1))
    assert not play.verdict(2, b"", play.truth.tree.proof(2))


def test_a_stranger_to_the_data_refutes_with_what_the_answers_events_hold(new_world: NewWorld) -> None:
    play = new_world().play(JURY, item_count=17)
    lie = play.truth.lie(16)
    play.vote(ann=lie, bob=lie, cat=lie)
    job, shown = play.job, []
    for level, index in ((0, 0), (1, 8)):
        play.demand("dan", lie, level, index)
        shown += play.world.send("bob", "answer", job, Node(lie.root, level, index), *lie.nodes(level, index))
    play.demand("dan", lie, 2, 16)
    shown += play.world.send("bob", "answerLeaf", job, lie.proof(16), play.data.proof(16))
    top, pair, leaf = (event.args for event in shown)
    siblings = [pair["nodes"][1], *merkle.MerkleTree(list(top["nodes"])).proof(8)]
    result = ResultProof(lie.root, leaf["index"], leaf["leaf"], siblings)
    play.world.send("dan", "refute", job, result, InputProof(leaf["row"], leaf["siblings"]))
    assert play.tally(lie).refuted


def test_an_output_that_differs_in_one_bit_is_refuted(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    outputs = list(play.truth.outputs)
    outputs[2] = outputs[2][:-1] + bytes([outputs[2][-1] ^ 1])
    lie = Claim(outputs)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    play.refute("ann", lie, 2)
    assert play.tally(lie).refuted


def test_every_wrong_root_is_refuted_and_not_only_the_leading_one(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 1, "bob": 1, "cat": 1, "dan": 1, "eve": 1}, quorum=3)
    lies = [play.truth.lie(0), play.truth.lie(1)]
    play.vote(ann=play.truth, bob=lies[0], cat=lies[0], dan=lies[1], eve=lies[1])
    play.refute("ann", lies[0], 0)
    play.refute("ann", lies[1], 1)
    play.finish(play.truth)
    assert play.state.root_seats == 1 and play.state.outcome == Outcome.ACCEPTED


def test_all_roots_refuted_hangs_the_job(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    lie = play.truth.lie(0)
    play.vote(ann=lie, bob=lie, cat=lie)
    play.refute("dan", lie, 0)
    play.finish()
    play.release_bounty(lie)
    assert play.state.outcome == Outcome.HUNG and play.credit_of("requester") == play.job.terms.reward
    assert play.world.burned == 3 * play.job.terms.seat_stake - play.credit_of("dan")


def test_a_survivor_without_a_quorum_of_refuted_seats_beside_it_does_not_win(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 1, "bob": 1, "cat": 1, "dan": 2}, quorum=3)
    lie = play.truth.lie(0)
    play.commit_all(ann=play.truth, bob=lie, cat=play.truth, dan=play.truth)
    play.reveal_all("ann", "bob")
    play.end_phase()
    play.refute("ann", lie, 0)
    play.finish()
    assert play.state.outcome == Outcome.HUNG and play.stake_of("ann") == play.job.terms.seat_stake


# Silence


def test_an_unanswered_demand_silences_the_root(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    bond = play.demand("dan", lie, 0, 0)
    assert not play.tally(lie).stands and not play.state.quorum_stands
    play.finish()
    play.release_bond(lie, 0, 0)
    assert play.state.outcome == Outcome.HUNG  # silence proves nothing: one seat is no quorum
    assert play.credit_of("dan") == bond  # a lone demander is whole
    assert [play.stake_of(worker) for worker in JURY] == [play.job.terms.seat_stake, 0, 0]
    assert play.world.burned == 2 * play.job.terms.seat_stake  # nobody gains by silencing anyone


def test_silenced_seats_do_not_count_towards_the_survivor(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 1, "bob": 1, "cat": 3}, quorum=3)
    decoy, hidden = play.truth.lie(0), play.truth.lie(1)
    play.vote(ann=decoy, bob=hidden, cat=play.truth)
    play.refute("dan", decoy, 0)
    play.demand("dan", play.truth, 0, 0)  # a decoy of one refuted seat and a silenced rival do not make a winner
    play.finish()
    assert play.state.outcome == Outcome.HUNG


def test_an_answered_root_stands_again(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth.lie(0))
    bond = play.demand("eve", play.truth, 0, 0)
    play.answer("dan", play.truth, 0, 0)
    assert play.tally(play.truth).stands and play.state.quorum_stands
    assert play.credit_of("dan") == 0  # the bond is held until settlement
    play.finish(play.truth)
    play.release_bond(play.truth, 0, 0)
    assert play.credit_of("dan") == bond and play.credit_of("eve") == 0


def test_a_root_with_two_open_demands_stands_again_only_after_the_second_answer(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.demand("dan", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    play.demand("dan", lie, 1, 0)
    play.demand("dan", lie, 1, 1)
    play.answer("bob", lie, 1, 0)
    assert not play.tally(lie).stands
    play.answer("bob", lie, 1, 1)
    assert play.tally(lie).stands and play.state.standing_roots == 2


def test_a_flood_of_demands_burns_all_but_one_bond(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.demand("eve", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    bonds = [play.demand("eve", lie, 1, index) for index in range(5)]
    play.finish()
    burned = play.world.burned
    for index, bond in enumerate(bonds):
        before = play.credit_of("eve")
        play.release_bond(lie, 1, index)
        assert play.credit_of("eve") - before == bond // 5
    assert play.world.burned - burned == sum(bonds) - play.credit_of("eve")
    assert play.world.chain.balance(NOBODY) == play.world.burned


# Bonds


@pytest.mark.parametrize("item_count", [1, 16, 17, 178, 300])
def test_a_bond_is_four_answers_and_grows_with_the_open_demands(new_world: NewWorld, item_count: int) -> None:
    play, lie = challenged(new_world, item_count=item_count)
    depth, row_length = play.data.depth, MODEL.network.row_length
    last = merkle.last_level(depth)
    for level in range(last + 1):
        assert play.demand("dan", lie, level, 0) == gas_budget.bond(level, depth, row_length, GWEI, 0)
        play.answer("bob", lie, level, 0)
    children = 1 << (depth - merkle.level_depth(max(last - 1, 0), depth))
    for opened in range(1, min(children, 6)):
        expected = gas_budget.bond(last, depth, row_length, GWEI, opened - 1)
        assert play.demand("dan", lie, last, opened) == expected


def test_an_overpaid_bond_is_credited_back(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    bond = play.demand("dan", lie, 0, 0, extra=12_345)
    assert play.credit_of("dan") == 12_345 and play.demand_of(lie, 0, 0).bond == bond


def test_a_liar_that_makes_a_demand_dearer_just_before_it_stops_only_an_exact_payment(new_world: NewWorld) -> None:
    play = new_world().play(JURY, item_count=300)
    lie = play.truth.lie(7)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    play.demand("ann", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    bond = play.bond(lie, 1, 0)
    play.demand("bob", lie, 1, 1)
    node = play.node(lie, 1, 0)
    with pytest.raises(errors.BondTooLow):
        play.world.send("ann", "demand", play.job, node, value=bond)
    play.world.send("ann", "demand", play.job, node, value=3 * bond)
    assert play.credit_of("ann") == bond


def test_bonds_on_a_refuted_root_all_come_back_and_its_answers_earn_nothing(new_world: NewWorld) -> None:
    play, lie = challenged(new_world, item_count=17)
    bonds = {}
    for level, index in [(0, 0), (1, 1)]:
        bonds[level, index] = play.demand("dan", lie, level, index)
        play.answer("bob", lie, level, index)
    bonds[2, 3] = play.demand("dan", lie, 2, 3)
    bonds[1, 9] = play.demand("dan", lie, 1, 9)
    play.refute("ann", lie, 3)
    play.finish(play.truth)
    for level, index in bonds:
        play.release_bond(lie, level, index)
    assert play.credit_of("dan") == sum(bonds.values()) and play.credit_of("bob") == 0


def test_a_liar_that_demands_of_itself_saves_nothing_of_its_stake(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    spent = [play.demand("bob", lie, 0, 0)]
    play.answer("cat", lie, 0, 0)
    spent += [play.demand("bob", lie, 1, index) for index in range(5)]  # bonds far above its stake's
    for index in range(5):
        play.answer("cat", lie, 1, index)
    play.refute("ann", lie, 3)
    play.finish(play.truth)
    play.release_bounty(lie)
    for level, index in [(0, 0), *((1, index) for index in range(5))]:
        play.release_bond(lie, level, index)
    assert play.credit_of("bob") + play.credit_of("cat") == sum(spent)  # its own money, and no more
    assert play.stake_of("bob") + play.stake_of("cat") == 0
    assert play.credit_of("ann") == play.job.terms.reward + play.job.terms.seat_stake


# Down the tree, and the clock


def way_down(play: Play, index: int) -> Iterator[tuple[int, int]]:
    depth = play.data.depth
    for level in range(merkle.last_level(depth) + 1):
        yield level, index >> (depth - merkle.level_depth(level, depth))


@pytest.mark.parametrize("item_count", [1, 16, 17, 178, 300])
def test_a_withheld_lie_is_found_by_demanding_down_and_refuted(new_world: NewWorld, item_count: int) -> None:
    play = new_world().play(JURY, item_count=item_count)
    wrong = item_count - 1
    lie = play.truth.lie(wrong)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    for level, index in way_down(play, wrong):
        play.demand("ann", lie, level, index)
        play.answer("bob", lie, level, index)
    play.refute("ann", lie, wrong)
    play.finish(play.truth)
    assert play.state.root == play.truth.root
    for level, index in way_down(play, wrong):
        play.release_bond(lie, level, index)


@pytest.mark.parametrize("item_count", [1, 16, 17, 178, 300])
def test_every_level_has_its_last_second_and_time_to_refute_after_it(new_world: NewWorld, item_count: int) -> None:
    play = new_world().play(JURY, item_count=item_count)
    lie = play.truth.lie(0)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    chain, window, end = play.world.chain, play.job.terms.response_window, play.end
    for level, index in way_down(play, 0):
        assert play.end == end + 2 * level * window
        chain.roll_to(end + 2 * level * window - 1)  # the last second of this level
        play.demand("ann", lie, level, index)
        assert play.demand_of(lie, level, index).answer_by == chain.time + window
        assert play.end == end + 2 * (level + 1) * window
        chain.roll_to(chain.time + window - 1)  # the last second of the answer
        play.answer("bob", lie, level, index)
    last = merkle.last_level(play.data.depth)
    assert play.end == end + (2 * last + 2) * window  # never more is added
    chain.roll_to(play.end - 1)
    play.refute("ann", lie, 0)
    chain.roll()
    assert play.phase() == Phase.SETTLING


def test_a_level_may_not_be_demanded_in_the_second_its_time_is_over(new_world: NewWorld) -> None:
    play = new_world().play(JURY, item_count=300)
    lie = play.truth.lie(0)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    chain, window, end = play.world.chain, play.job.terms.response_window, play.end
    for level, index in way_down(play, 0):
        play.demand("ann", lie, level, index)
        play.answer("bob", lie, level, index)
    for level in (1, 2, 3):
        chain.roll_to(end + 2 * level * window)
        with pytest.raises(errors.DemandTooLate):
            play.demand("ann", lie, level, 1)


def test_an_honest_root_survives_a_demand_in_every_last_second(new_world: NewWorld) -> None:
    play = new_world().play(JURY, item_count=17)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth.lie(0))
    chain = play.world.chain
    for level, index in way_down(play, 16):
        chain.roll_to(play.end - 1)
        play.demand("eve", play.truth, level, index)
        chain.roll(play.job.terms.response_window - 1)
        play.answer("ann", play.truth, level, index)
    play.finish(play.truth)
    assert play.state.root == play.truth.root and play.stake_of("ann") == play.job.terms.seat_stake


def test_demands_on_one_root_do_not_touch_another(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.demand("dan", lie, 0, 0)
    assert play.tally(play.truth).stands and play.tally(play.truth).open_demands == 0
    assert play.bond(play.truth, 0, 0) < play.bond(lie, 0, 0)


def test_padding_inside_the_tree_can_be_demanded_and_answered(new_world: NewWorld) -> None:
    play, lie = challenged(new_world, item_count=17)
    play.demand("dan", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    play.demand("dan", lie, 1, 15)
    play.answer("bob", lie, 1, 15)
    assert play.tally(lie).stands
