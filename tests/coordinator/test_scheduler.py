"""What is due when: a table of situations, and whole lives under lost messages, absences and reorganisations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from eth_typing import ChecksumAddress
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.commitment import DATA_UNAVAILABLE
from contracts.disputes import Audit, Demand, Node
from contracts.job import NOBODY, Execution, Job, JobState, Outcome, end_early
from contracts.tally import Tally
from coordinator.clock import Clock
from coordinator.job_view import JobSeat, JobView
from coordinator.scheduler import MOST_TURNS, RELAY_TURNS, ActionKind, Operator, Rules, next_actions, reasons
from coordinator.settings import load
from tests.coordinator.lives import Lives
from tests.coordinator.toy_chain import (
    ORACLE,
    REQUESTER,
    RIGHT,
    SEAT_STAKE,
    SOURCE,
    URI,
    WRONG,
    terms,
    worker_address,
)

ME, OTHER = worker_address(0), worker_address(1)
JOB = Job(REQUESTER, 1, terms())
T = 1_000_000
NEW = JobState(created_block=100)
DRAWN = replace(NEW, started_at=T, seed=b"\x07" * 8)
TAKEN = replace(DRAWN, granted_seats=5, sealed_seats=2)
FULL = end_early(TAKEN, T + 120, T + 50)
OPENED = replace(end_early(FULL, T + 170, T + 80), sealed_seats=0, standing_seats=5)
WHOLE = replace(OPENED, execution=Execution.WHOLE, root=RIGHT)
MY_SEAT = JobSeat(0, bytes(32), bytes(32), 2)
OPENED_SEAT = replace(MY_SEAT, root=RIGHT)
K = ActionKind


def view(state: JobState, **more: object) -> JobView:
    made = JobView(JOB.id(SOURCE.chain_id, ORACLE), JOB, URI, 5 * SEAT_STAKE, state, block=110, time=T)
    return replace(made, **more)  # type: ignore[arg-type]


def clock(now: int, confirmed_time: int | None = None, number: int = 120, confirmed: int = 115) -> Clock:
    return Clock(now, number, now - 5 if confirmed_time is None else confirmed_time, confirmed)


def me(**more: object) -> Operator:
    return replace(Operator(ME, 5 * SEAT_STAKE, 5 * SEAT_STAKE, stakers=(ME,)), **more)  # type: ignore[arg-type]


def due(made: JobView, at: Clock, who: Operator | None = None, rules: Rules | None = None) -> set[ActionKind]:
    return {action.kind for action in next_actions(made, who or me(), at, rules)}


def opened(**roots: Tally) -> JobView:
    named = {"right": RIGHT, "wrong": WRONG}
    return view(OPENED, seats={ME: OPENED_SEAT}, roots={named[name]: tally for name, tally in roots.items()})


def settled(**more: object) -> JobView:
    return view(replace(OPENED, outcome=Outcome.ACCEPTED), **more)


def telling(**more: object) -> JobView:
    """Settled, everything of ours released, with a consumer to tell."""
    released = replace(OPENED_SEAT, is_released=True)
    return replace(settled(seats={ME: released}), job=Job(REQUESTER, 1, terms(consumer=OTHER)), **more)  # type: ignore[arg-type]


DELIVERING = Rules(deliver=True)
DEMANDED = {Node(RIGHT, 0, 0): Demand(ME, T + 200, False, 10, NOBODY)}
ANSWERED = {Node(RIGHT, 0, 0): Demand(OTHER, T + 200, False, 10, ME)}

TABLE: list[tuple[str, Callable[[], set[ActionKind]], set[ActionKind]]] = [
    ("the seed's block is the head", lambda: due(view(NEW), clock(T, number=102)), set()),
    ("the seed's block is past", lambda: due(view(NEW), clock(T, number=103)), {K.DRAW}),
    ("no ticket in the draw", lambda: due(view(NEW), clock(T, number=103), me(bonded=SEAT_STAKE - 1)), set()),
    ("the last block to draw in", lambda: due(view(NEW), clock(T, number=358)), {K.DRAW}),
    ("undrawable, and nothing of ours in it", lambda: due(view(NEW), clock(T, number=359)), set()),
    ("a URI that is not the terms'", lambda: due(view(NEW, data_uri="file:x"), clock(T, number=103)), set()),
    ("drawn with tickets", lambda: due(view(DRAWN), clock(T)), {K.INFER}),
    ("half of the commit window is over", lambda: due(view(DRAWN), clock(T + 60)), {K.INFER, K.COMMIT, K.ABSTAIN}),
    ("drawn, the last second", lambda: due(view(DRAWN), clock(T + 119)), {K.INFER, K.COMMIT, K.ABSTAIN}),
    ("commit window over without quorum", lambda: due(view(DRAWN), clock(T + 120)), set()),
    ("no stake in the draw", lambda: due(view(DRAWN), clock(T), me(bonded=0)), set()),
    ("all stake locked elsewhere", lambda: due(view(DRAWN), clock(T), me(free=SEAT_STAKE - 1)), set()),
    (
        "half of the commit window is over, with a seat of ours",
        lambda: due(view(DRAWN, seats={ME: MY_SEAT}), clock(T + 60)),
        {K.INFER, K.COMMIT},
    ),
    ("every lane of ours taken", lambda: due(view(DRAWN), clock(T + 60), me(has_lane=False)), set()),
    (
        "every lane taken, one of them by this job",
        lambda: due(view(DRAWN, seats={ME: MY_SEAT}), clock(T), me(has_lane=False)),
        {K.INFER},
    ),
    ("no seat left", lambda: due(view(replace(DRAWN, granted_seats=5)), clock(T)), set()),
    ("every ticket has its seat", lambda: due(view(DRAWN, seats={ME: replace(MY_SEAT, count=5)}), clock(T)), set()),
    ("more tickets than seats held", lambda: due(view(DRAWN, seats={ME: MY_SEAT}), clock(T)), {K.INFER}),
    ("confirmations eat the reveal window", lambda: due(view(DRAWN), clock(T, confirmed_time=T - 60)), set()),
    ("commit phase closed, deep", lambda: due(view(FULL, seats={ME: MY_SEAT}), clock(T + 56)), {K.REVEAL}),
    (
        "closed by the clock, not deep",
        lambda: due(view(TAKEN, seats={ME: MY_SEAT}), clock(T + 121, confirmed_time=T + 119)),
        set(),
    ),
    (
        "closed by the clock, deep",
        lambda: due(view(TAKEN, seats={ME: MY_SEAT}), clock(T + 125, confirmed_time=T + 120)),
        {K.REVEAL},
    ),
    (
        "not deep at half of the reveal window",
        lambda: due(view(TAKEN, seats={ME: MY_SEAT}), clock(T + 180, confirmed_time=T + 119)),
        {K.REVEAL},
    ),
    ("nothing of ours to open", lambda: due(view(FULL), clock(T + 56)), set()),
    ("already opened", lambda: due(opened(right=Tally(seats=5)), clock(T + 79)), set()),
    ("only our root, nobody asks", lambda: due(opened(right=Tally(seats=5)), clock(T + 90)), set()),
    (
        "only our root, somebody asks",
        lambda: due(opened(right=Tally(seats=5, open_demands=1)), clock(T + 90)),
        {K.EXAMINE},
    ),
    (
        "another root",
        lambda: due(opened(right=Tally(seats=2), wrong=Tally(seats=3)), clock(T + 90)),
        {K.EXAMINE},
    ),
    (
        "only our root, and the requester's gold says otherwise",
        lambda: due(replace(opened(right=Tally(seats=5)), audit=Audit(NOBODY, 1)), clock(T + 90)),
        {K.EXAMINE},
    ),
    (
        "we abstained, and somebody has a result",
        lambda: due(
            view(OPENED, seats={ME: replace(MY_SEAT, root=DATA_UNAVAILABLE)}, roots={WRONG: Tally(seats=3)}),
            clock(T + 90),
        ),
        {K.EXAMINE},
    ),
    (
        "we abstained, and mind our own business",
        lambda: due(
            view(OPENED, seats={ME: replace(MY_SEAT, root=DATA_UNAVAILABLE)}, roots={WRONG: Tally(seats=3)}),
            clock(T + 90),
            rules=Rules(examine_unseated=False),
        ),
        set(),
    ),
    (
        "the other root is refuted",
        lambda: due(opened(right=Tally(seats=2), wrong=Tally(refuter=OTHER, seats=3)), clock(T + 90)),
        set(),
    ),
    ("unseated, a root", lambda: due(view(OPENED, roots={WRONG: Tally(seats=5)}), clock(T + 90)), {K.EXAMINE}),
    (
        "unseated, and told to mind its own business",
        lambda: due(view(OPENED, roots={WRONG: Tally(seats=5)}), clock(T + 90), rules=Rules(examine_unseated=False)),
        set(),
    ),
    ("challenge window over", lambda: due(opened(right=Tally(seats=5)), clock(T + 200)), {K.SETTLE}),
    ("challenge window over, nothing of ours", lambda: due(view(OPENED), clock(T + 200)), set()),
    (
        "a bond of ours alone",
        lambda: due(view(OPENED, roots={RIGHT: Tally(seats=5, open_demands=1)}, demands=DEMANDED), clock(T + 400)),
        {K.SETTLE},
    ),
    (
        "expired with a seat of ours",
        lambda: due(view(replace(DRAWN, granted_seats=2), seats={ME: MY_SEAT}), clock(T + 120)),
        {K.SETTLE},
    ),
    ("executed whole", lambda: due(view(WHOLE, seats={ME: OPENED_SEAT}), clock(T + 90)), {K.SETTLE}),
    ("executed whole by us alone", lambda: due(view(WHOLE, executor=ME), clock(T + 90)), {K.SETTLE}),
    (
        "we showed that the gold was wrong",
        lambda: due(view(OPENED, audit=Audit(ME)), clock(T + 200)),
        {K.SETTLE},
    ),
    ("settled, a seat held", lambda: due(settled(seats={ME: MY_SEAT}), clock(T + 200)), {K.RELEASE}),
    (
        "settled, our seat released",
        lambda: due(settled(seats={ME: replace(OPENED_SEAT, is_released=True)}), clock(T + 200)),
        set(),
    ),
    (
        "settled, our bounty",
        lambda: due(settled(roots={WRONG: Tally(refuter=ME, seats=1)}), clock(T + 200)),
        {K.RELEASE_BOUNTY},
    ),
    (
        "settled, a bounty for executing everything",
        lambda: due(
            view(
                replace(WHOLE, outcome=Outcome.ACCEPTED),
                roots={WRONG: Tally(seats=1), RIGHT: Tally(seats=2)},
                executor=ME,
            ),
            clock(T + 200),
        ),
        {K.RELEASE_BOUNTY},
    ),
    (
        "settled, another's bounty",
        lambda: due(settled(roots={WRONG: Tally(refuter=OTHER, seats=1)}), clock(T + 200)),
        set(),
    ),
    (
        "settled, our bond in a silenced root",
        lambda: due(settled(roots={RIGHT: Tally(seats=1, open_demands=1)}, demands=DEMANDED), clock(T + 200)),
        {K.RELEASE_BOND},
    ),
    (
        "settled, a bond for our answer",
        lambda: due(settled(roots={RIGHT: Tally(seats=1)}, demands=ANSWERED), clock(T + 200)),
        {K.RELEASE_BOND},
    ),
    (
        "settled, our answer was for a root then refuted",
        lambda: due(settled(roots={RIGHT: Tally(refuter=OTHER, seats=1)}, demands=ANSWERED), clock(T + 200)),
        set(),
    ),
    ("settled, a consumer to tell", lambda: due(telling(), clock(T + 200), rules=DELIVERING), {K.DELIVER}),
    ("settled, a consumer told", lambda: due(telling(is_delivered=True), clock(T + 200), rules=DELIVERING), set()),
    ("settled, a consumer we had no seat for", lambda: due(telling(seats={}), clock(T + 200), rules=DELIVERING), set()),
    ("settled, a consumer that nobody pays us for telling", lambda: due(telling(), clock(T + 200)), set()),
    (
        "not settled, a consumer",
        lambda: due(telling(state=replace(OPENED, standing_roots=1)), clock(T + 90), rules=DELIVERING),
        set(),
    ),
]


@pytest.mark.parametrize(("situation", "got", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_what_is_due(situation: str, got: Callable[[], set[ActionKind]], expected: set[ActionKind]) -> None:
    assert got() == expected, situation


def test_every_kind_that_is_not_due_has_its_reason() -> None:
    given_reasons = reasons(view(DRAWN), me(), clock(T))
    assert set(given_reasons) == set(ActionKind) - {ActionKind.INFER}
    assert given_reasons[ActionKind.REVEAL] == "nothing of ours is sealed"


def test_operators_take_turns_and_nobody_waits_for_ever() -> None:
    workers = [worker_address(number) for number in range(40)]

    def first_block(worker: ChecksumAddress) -> int:
        who = me(address=worker, stakers=workers)
        return next(number for number in range(103, 200) if K.DRAW in due(view(NEW), clock(T, number=number), who))

    waits = sorted(first_block(worker) - 103 for worker in workers)
    assert waits[:MOST_TURNS] == list(range(MOST_TURNS))
    assert set(waits[MOST_TURNS:]) == {MOST_TURNS}


def disputed(**more: object) -> JobView:
    roots = {RIGHT: Tally(seats=2), WRONG: Tally(seats=3)}
    return replace(view(OPENED, roots=roots), **more)  # type: ignore[arg-type]


def first_to_examine(
    made: JobView, workers: list[ChecksumAddress], end: int, *, quiet: int = 0
) -> dict[ChecksumAddress, int]:
    """The second after T at which each worker examines; `quiet` blocks without an event until T + 80, one a second after."""
    found = {}
    for worker in workers:
        who = me(address=worker, stakers=workers)
        for now in range(T + 80, end):
            at = clock(now, number=200, confirmed=made.block + quiet + now - T - 80)
            if K.EXAMINE in due(made, at, who, Rules(turn_seconds=1)):
                found[worker] = now - T
                break
    return found


def test_operators_take_turns_at_disputes_so_that_not_all_of_them_pay_for_one_refutation() -> None:
    workers = [worker_address(number) for number in range(5)]
    found = first_to_examine(disputed(), workers, T + 200)
    assert sorted(found.values()) == [80, 81, 82, 83, 84]


def test_no_turn_outlasts_a_quarter_of_the_window_though_events_start_them_anew_for_ever() -> None:
    workers = [worker_address(number) for number in range(20)]
    window = JOB.terms.challenge_window
    found = first_to_examine(disputed(), workers, T + 80 + window, quiet=-10_000)
    assert len(found) == len(workers)
    assert max(found.values()) <= 80 + -(-window // 4)


def test_a_demand_on_the_right_root_waits_for_nobodys_turn_after_a_quarter_of_its_window() -> None:
    workers = [worker_address(number) for number in range(20)]
    response = JOB.terms.response_window
    asked = disputed(
        state=replace(OPENED, demanded_levels=1),
        roots={RIGHT: Tally(seats=5, open_demands=1)},
        demands={Node(RIGHT, 0, 0): Demand(OTHER, T + 80 + response, False, 10, NOBODY)},
    )
    found = first_to_examine(asked, workers, T + 80 + response, quiet=-10_000)
    assert len(found) == len(workers)
    assert max(found.values()) <= 80 + -(-response // 4)


def test_a_token_reward_is_claimed_once_the_job_is_settled_as_long_as_it_is_unclaimed() -> None:
    released = settled(seats={ME: replace(OPENED_SEAT, is_released=True)})
    assert K.CLAIM not in due(released, clock(T + 1000))
    assert due(released, clock(T + 1000), me(unclaimed={released.job_id})) == {K.CLAIM}
    assert K.CLAIM not in due(view(OPENED, seats={ME: OPENED_SEAT}), clock(T + 200), me(unclaimed={released.job_id}))


def test_what_is_urgent_says_how_long_it_can_wait() -> None:
    sealed = view(TAKEN, seats={ME: MY_SEAT})
    (reveal,) = next_actions(sealed, me(), clock(T + 185, confirmed_time=T + 130))
    assert (reveal.kind, reveal.left) == (K.REVEAL, JOB.terms.commit_window + JOB.terms.reveal_window - 185)
    demand = Demand(OTHER, T + 95, False, 10, NOBODY)
    asked = opened(right=Tally(seats=5, open_demands=1))
    (examine,) = next_actions(replace(asked, demands={Node(RIGHT, 0, 0): demand}), me(), clock(T + 90))
    assert (examine.kind, examine.left) == (K.EXAMINE, 5)
    (infer,) = next_actions(view(DRAWN), me(), clock(T))
    assert infer.left is None


def test_a_draw_says_how_long_the_chain_still_has_its_seed_as_fast_as_blocks_come() -> None:
    new = view(NEW)
    for number, seconds in ((103, 36), (103, 3), (358, 3000)):
        (draw,) = next_actions(new, me(), clock(new.created_at + seconds, number=number))
        assert (draw.kind, draw.left) == (K.DRAW, (358 - number) * seconds // (number - 100))


def test_a_job_of_more_items_than_can_be_counted_is_left_alone() -> None:
    endless = Job(REQUESTER, 1, terms(item_count=(1 << 40) - 1))
    rules = load(most_items=1 << 50, chunk_depth=4).rules
    made = replace(view(DRAWN), job=endless)
    assert due(made, clock(T), rules=rules) == set()
    assert due(view(DRAWN), clock(T), rules=rules) == {K.INFER}
    assert due(replace(view(NEW), job=endless), clock(T, number=103), rules=rules) == set()


def test_the_order_of_turns_differs_from_job_to_job() -> None:
    workers = [worker_address(number) for number in range(5)]

    def first(nonce: int) -> ChecksumAddress:
        job = Job(REQUESTER, nonce, terms())
        made = replace(view(NEW), job=job, job_id=job.id(SOURCE.chain_id, ORACLE))
        at = clock(T, number=103)
        return next(worker for worker in workers if due(made, at, me(address=worker, stakers=workers)))

    assert len({first(nonce) for nonce in range(40)}) == 5


def test_more_odds_and_more_answers_are_new_reasons_to_act() -> None:
    many = view(DRAWN, total_stake=60 * SEAT_STAKE)
    who = me(bonded=30 * SEAT_STAKE)
    early, late = (next_actions(many, who, clock(T + after)) for after in (0, 119))
    assert [action.kind for action in late] == [K.INFER, K.COMMIT, K.ABSTAIN]
    assert early == [] or early[0].progress < late[0].progress
    asked = opened(right=Tally(seats=5, open_demands=1))
    before = next_actions(asked, me(), clock(T + 90))
    after = next_actions(replace(asked, block=112), me(), clock(T + 90))
    assert before != after


def test_what_was_left_to_a_relay_is_asked_for_again_at_half_of_each_window() -> None:
    taking = view(DRAWN, total_stake=5 * SEAT_STAKE)
    before, after = (next_actions(taking, me(), clock(T + at)) for at in (59, 60))
    assert [action.kind for action in before] == [K.INFER]
    assert [action.kind for action in after] == [K.INFER, K.COMMIT, K.ABSTAIN]
    assert before[0].progress != after[0].progress  # compute's part is sent again, whatever it waits for
    sealed = view(TAKEN, seats={ME: MY_SEAT})
    (before,), (after,) = (next_actions(sealed, me(), clock(T + at, confirmed_time=T + 130)) for at in (179, 180))
    assert (before.kind, after.kind) == (K.REVEAL, K.REVEAL) and before.progress != after.progress


def test_a_whole_execution_is_settled_in_turns_though_its_windows_are_not_over() -> None:
    workers = [worker_address(number) for number in range(4)]
    made = view(WHOLE, seats=dict.fromkeys(workers, OPENED_SEAT), time=T + 85)
    at = [clock(T + 85 + waited) for waited in range(4)]
    turns = {
        next(
            now for now, when in enumerate(at) if K.SETTLE in due(made, when, me(address=worker), Rules(turn_seconds=1))
        )
        for worker in workers
    }
    assert turns == {0, 1, 2, 3}


def test_a_relay_ends_a_job_before_the_first_operator_does() -> None:
    over = opened(right=Tally(seats=5))
    ends = {
        relayed: next(
            now
            for now in range(200, 240)
            if K.SETTLE in due(over, clock(T + now), rules=Rules(turn_seconds=5, relayed=relayed))
        )
        for relayed in (False, True)
    }
    assert ends == {False: 200, True: 200 + 5 * RELAY_TURNS}
    done = settled(seats={ME: OPENED_SEAT})
    at = [clock(T + 200, confirmed=done.block + waited) for waited in (0, RELAY_TURNS - 1, RELAY_TURNS)]
    assert [due(done, one, rules=Rules(relayed=True)) for one in at] == [set(), set(), {K.RELEASE}]


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_every_life_ends_nobody_commits_twice_and_no_root_is_public_while_seats_can_be_taken(seed: int) -> None:
    lives = Lives(Random(seed))
    lives.play(troubled_blocks=150, quiet_blocks=700)
    assert all(len(commitments) <= 1 for commitments in lives.told.values())
    last = lives.life.view
    # a job in which nobody has anything is nobody's to settle but its requester's
    assert last.is_closed or not last.seats, reasons_of_all(lives)


def test_the_lives_played_end_in_every_way() -> None:
    ends = set()
    for seed in range(60):
        lives = Lives(Random(seed))
        lives.play(troubled_blocks=150, quiet_blocks=700)
        ends.add(lives.life.view.state.outcome)
    assert ends >= {Outcome.ACCEPTED, Outcome.UNAVAILABLE, Outcome.HUNG, Outcome.EXPIRED}


def reasons_of_all(lives: Lives) -> object:
    seen = lives.chain.view(lives.life.id, lives.confirmations)
    assert seen is not None
    at = lives.chain.clock(lives.confirmations)
    return [reasons(seen, Operator(worker, 0, 0, stakers=lives.workers), at) for worker in lives.workers]
