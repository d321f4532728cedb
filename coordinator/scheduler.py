"""What an operator should do next about a job: pure, from the job's view and the chain's clock.

Every kind of action has its guards, one a line with its reason; an action is due when all of its guards hold. Nothing is
remembered: asked again, it gives the same answer until the chain has moved. Doing an action twice is harmless, since the
signer rereads the chain before it signs; so wherever several operators may do the same, they take turns, and who comes too
late finds it done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from itertools import islice

from eth_hash.auto import keccak
from eth_typing import ChecksumAddress
from eth_utils import to_canonical_address

from contracts.job import HASH_WINDOW, Execution, Phase, challenge_end, commit_end, phase, reveal_end, seed_block
from contracts.stake import odds_factor, winning_tickets
from coordinator.clock import Clock
from coordinator.job_view import JobSeat, JobView

MOST_TURNS = 8
"""Who is further back in the order waits no longer than this many turns."""
RELAY_TURNS = 2
"""How many a relay has before the first operator: it ends the jobs that it worked for."""


class ActionKind(StrEnum):
    """What can be due. All but INFER and EXAMINE name what the signer is asked to do."""

    DRAW = "draw"
    INFER = "infer"
    COMMIT = "commit"
    ABSTAIN = "abstain"
    REVEAL = "reveal"
    EXAMINE = "examine"
    SETTLE = "settle"
    DELIVER = "deliver"
    CLAIM = "claim"
    RELEASE = "release"
    RELEASE_BOUNTY = "release_bounty"
    RELEASE_BOND = "release_bond"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do about one job. `progress` changes when the same kind is due for a new reason."""

    kind: ActionKind
    job_id: bytes
    progress: int = 0
    left: int | None = None
    """Seconds of the chain's clock until it is too late; None where being late costs nothing."""
    ends_in: int | None = None
    """Seconds until it can no longer be done, though nothing is lost by that; None where it always can."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The worker we act for, and what it has at stake as the confirmed blocks tell it."""

    address: ChecksumAddress
    bonded: int
    """Wei at the end of the block before the job's creation: what draws tickets."""
    free: int
    """Wei bonded and not locked now: what seats can be taken with."""
    has_lane: bool = True
    """Whether one of its lanes is free for another job."""
    unclaimed: Collection[bytes] = ()
    """The jobs whose reward in tokens it has not claimed."""
    stakers: Collection[str] = ()
    """Every address with stake, for the order of turns."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How an operator behaves where the protocol leaves a choice."""

    turn_seconds: int = 12
    """How long the next in the order waits for the one before: about a block."""
    examine_unseated: bool = True
    """Whether to check the roots of jobs in which the operator has no seat."""
    relayed: bool = False
    """Whether a relay sends for the operator."""
    deliver: bool = False
    """Whether to tell the consumers of jobs in which the operator had a seat: nobody pays for it."""
    most_items: int = 1 << 26
    """Jobs of more items are left alone: the requester chooses how many there are, and we send a message for each chunk."""


@dataclass(frozen=True)
class Situation:
    """Everything that the guards look at."""

    view: JobView
    me: Operator
    clock: Clock
    rules: Rules

    @cached_property
    def phase(self) -> Phase:
        """By the confirmed facts and the head's clock."""
        return phase(self.view.state, self.view.terms, self.clock.now, self.clock.block_number)

    @cached_property
    def seat(self) -> JobSeat | None:
        """The operator's own seats."""
        return self.view.seat(self.me.address)

    @property
    def tickets(self) -> int:
        """How many tickets the operator has in the draw."""
        return self.me.bonded // self.view.terms.seat_stake

    @cached_property
    def odds(self) -> int:
        """How much the odds have grown. While Committing only."""
        terms = self.view.terms
        remaining = commit_end(self.view.state, terms) - self.clock.now
        # the clock can be behind the block that drew: the window has not begun to run, then
        return odds_factor(terms.commit_window, min(remaining, terms.commit_window))

    @cached_property
    def won(self) -> int:
        """How many of them win by now, counted no further than there are seats. While Committing only."""
        terms, me = self.view.terms, self.me
        expected = self.odds * terms.seats * terms.seat_stake
        total = self.view.total_stake
        return _count_won(self.view.state.seed, me.address, self.tickets, expected, total, terms.seats)

    @property
    def held(self) -> int:
        """How many seats the operator holds."""
        return self.seat.count if self.seat else 0

    @property
    def result(self) -> bytes | None:
        """The result root that the operator revealed, if it did."""
        return self.seat.root if self.seat and self.seat.has_result else None

    @property
    def is_half_of_reveal_over(self) -> bool:
        """While Revealing only."""
        state, terms = self.view.state, self.view.terms
        return 2 * self.clock.now >= commit_end(state, terms) + reveal_end(state, terms)

    def is_my_turn(self, among: Collection[str], waited: int) -> bool:
        """Whether the operator's place in the job's order has come after `waited` turns."""
        return waited >= _place(self.view.job_id, self.me.address, tuple(among))

    def is_my_turn_after_relay(self, among: Collection[str], waited: int) -> bool:
        """The same, where a relay that works for the operator comes first."""
        return self.is_my_turn(among, waited - (RELAY_TURNS if self.rules.relayed else 0))

    @property
    def blocks_quiet(self) -> int:
        """Blocks since something last happened to the job; turns since roots can be disputed, if those are fewer."""
        quiet = self.clock.confirmed_block - self.view.block
        return min(quiet, self.turns_since(reveal_end(self.view.state, self.view.terms)))

    @property
    def open_answers(self) -> list[int]:
        """Until when each demand that may be ours to answer can be, in seconds of the chain's clock."""
        mine = self.result
        return [
            demand.answer_by
            for node, demand in self.view.demands.items()
            if not demand.answered and self.clock.now < demand.answer_by
            if (node.root == mine if mine else not self.view.roots[node.root].refuted)
        ]

    @property
    def is_late(self) -> bool:
        """Whether a quarter of the time for an answer or a refutation is over: then nobody waits for a turn.

        An event starts the turns anew, so that whoever makes events could make us wait on and on; this it cannot move.
        """
        state, terms, now = self.view.state, self.view.terms, self.clock.now
        window = terms.response_window if state.demanded_levels else terms.challenge_window
        ends = [(end, terms.response_window) for end in self.open_answers]
        return any(4 * (end - now) <= 3 * of for end, of in [*ends, (challenge_end(state, terms), window)])

    def turns_since(self, time: int) -> int:
        """Turns passed since a second of the chain's clock."""
        return (self.clock.now - time) // max(1, self.rules.turn_seconds)


Guard = tuple[bool, str]


def next_actions(view: JobView, me: Operator, clock: Clock, rules: Rules | None = None) -> list[Action]:
    """What is due now, in the order of a job's life."""
    at = Situation(view, me, clock, rules or Rules())
    due = [kind for kind, guards in _GUARDS.items() if all(holds for holds, _ in guards(at))]
    return [Action(kind, view.job_id, _progress(kind, at), _left(kind, at), _ends_in(kind, at)) for kind in due]


def reasons(view: JobView, me: Operator, clock: Clock, rules: Rules | None = None) -> dict[ActionKind, str]:
    """Why each kind of action that is not due is not: the first guard that does not hold."""
    at = Situation(view, me, clock, rules or Rules())
    failed = {kind: next((why for holds, why in guards(at) if not holds), None) for kind, guards in _GUARDS.items()}
    return {kind: why for kind, why in failed.items() if why is not None}


# ---- Guards: evaluated in order, no further than the first that fails ----


def _draw(at: Situation) -> Iterator[Guard]:
    state = at.view.state
    yield at.phase == Phase.DRAWING, "the jury is drawn, or can no longer be"
    yield at.view.is_workable, "the data cannot be followed from its URI"
    yield at.tickets > 0, "without a ticket, the draw is no concern of ours"
    yield at.view.terms.item_count <= at.rules.most_items, "more items than most_items, or than chunks are counted"
    yield at.clock.block_number > seed_block(state), "the seed's block must be in the past"
    # where blocks come faster than turns, whoever is first has a turn's time all the same
    waited = min(at.clock.block_number - seed_block(state) - 1, at.turns_since(at.view.created_at))
    yield at.is_my_turn(at.me.stakers, waited), "another operator's turn"


def _infer(at: Situation) -> Iterator[Guard]:
    view, terms = at.view, at.view.terms
    yield at.phase == Phase.COMMITTING, "seats are taken while Committing"
    yield view.is_workable, "the data cannot be followed from its URI"
    yield terms.item_count <= at.rules.most_items, "more items than most_items, or than chunks are counted"
    yield at.seat is None or at.seat.is_sealed, "our commitment is opened"
    yield view.state.granted_seats < terms.seats, "no seat is left"
    yield at.won > at.held, "no ticket wins that does not already have its seat"
    yield at.seat is not None or at.me.has_lane, "every lane of ours holds seats of another job"
    yield at.me.free >= terms.seat_stake, "no free stake for a seat"
    # a phase that is over before we hear of it would cost the seats of whoever may not miss it
    yield 2 * at.clock.delay < terms.reveal_window, "the reveal window is too short for our confirmations"


def _commit(at: Situation) -> Iterator[Guard]:
    yield from _infer(at)
    # by then a relay that took it has had its time, and computing again would only cost more of it
    yield at.odds > 1, "until half of the window, computing leads to it"


def _abstain(at: Situation) -> Iterator[Guard]:
    yield from _commit(at)
    # whether the data can be had, the signer knows: it was told of every try that failed
    yield at.seat is None, "we have a result"


def _reveal(at: Situation) -> Iterator[Guard]:
    yield at.seat is not None and at.seat.is_sealed, "nothing of ours is sealed"
    yield at.phase == Phase.REVEALING, "roots are opened while Revealing"
    # a root opened before the commit phase is final could be copied by whoever commits after a reorganisation; but a seat
    # unopened is forfeited whole, so from half of the window on we open whatever the depth
    is_deep = at.clock.confirmed_time >= commit_end(at.view.state, at.view.terms)
    yield is_deep or at.is_half_of_reveal_over, "the end of the commit phase is not yet too deep to be reorganised away"


def _examine(at: Situation) -> Iterator[Guard]:
    view = at.view
    yield at.phase == Phase.CHALLENGING, "roots are disputed while Challenging"
    yield view.is_workable, "the data cannot be followed from its URI"
    yield at.result is not None or at.rules.examine_unseated, "we opened no result here"
    alive = {root: tally for root, tally in view.roots.items() if not tally.refuted}
    is_contested = bool(alive.keys() - {at.result}) or any(tally.open_demands for tally in alive.values())
    is_accused = view.audit.open_accusations > 0
    yield is_contested or is_accused, "nobody says otherwise, nobody asks"
    among = sorted({*view.seats, *at.me.stakers})
    yield at.is_late or at.is_my_turn(among, at.blocks_quiet), "another operator's turn"


def _settle(at: Situation) -> Iterator[Guard]:
    yield at.phase == Phase.SETTLING, "a window is still open, or it is settled"
    yield _is_interested(at), "nothing of ours depends on it"
    waited = at.turns_since(_windows_end(at.view))
    yield at.is_my_turn_after_relay(at.view.seats, waited), "another operator's turn, or the relay's"


def _deliver(at: Situation) -> Iterator[Guard]:
    yield at.rules.deliver, "we tell no consumers"
    yield at.phase == Phase.SETTLED, "the consumer is told once the job is settled"
    yield at.view.awaits_delivery, "there is nobody to tell, or it was told"
    yield at.seat is not None, "we had no seat in it"
    waited = at.clock.confirmed_block - at.view.block
    yield at.is_my_turn(at.view.seats, waited), "another operator's turn"


def _claim(at: Situation) -> Iterator[Guard]:
    yield at.phase == Phase.SETTLED, "rewards are claimed once the job is settled"
    yield at.view.job_id in at.me.unclaimed, "no token reward of ours is unclaimed"


def _release(at: Situation) -> Iterator[Guard]:
    yield at.phase == Phase.SETTLED, "seats are released once the job is settled"
    yield at.seat is not None and at.seat.is_held, "no seat of ours is held"
    waited = at.clock.confirmed_block - at.view.block
    yield at.is_my_turn_after_relay(at.view.seats, waited), "another operator's turn, or the relay's"


def _release_bounty(at: Situation) -> Iterator[Guard]:
    yield at.phase == Phase.SETTLED, "bounties are released once the job is settled"
    yield any(refuter == at.me.address for _, refuter in at.view.bounties_due()), "no bounty of ours is due"


def _release_bond(at: Situation) -> Iterator[Guard]:
    yield at.phase == Phase.SETTLED, "bonds are released once the job is settled"
    due = (at.view.bond_due(node) for node in at.view.demands)
    yield any(payee == at.me.address and amount for payee, amount in due), "no bond of ours is due"


_GUARDS: dict[ActionKind, Callable[[Situation], Iterator[Guard]]] = {
    ActionKind.DRAW: _draw,
    ActionKind.INFER: _infer,
    ActionKind.COMMIT: _commit,
    ActionKind.ABSTAIN: _abstain,
    ActionKind.REVEAL: _reveal,
    ActionKind.EXAMINE: _examine,
    ActionKind.SETTLE: _settle,
    ActionKind.DELIVER: _deliver,
    ActionKind.CLAIM: _claim,
    ActionKind.RELEASE: _release,
    ActionKind.RELEASE_BOUNTY: _release_bounty,
    ActionKind.RELEASE_BOND: _release_bond,
}


def _progress(kind: ActionKind, at: Situation) -> int:
    if kind in (ActionKind.INFER, ActionKind.COMMIT, ActionKind.ABSTAIN):
        return at.odds  # doubled: more seats for the same commitment, or another try for data that could not be had
    if kind == ActionKind.REVEAL:
        return int(at.is_half_of_reveal_over)  # from then on nobody is left to do it for us
    if kind == ActionKind.EXAMINE:
        return at.view.block  # an answer, a demand or an accusation came: look at once
    return 0


def _left(kind: ActionKind, at: Situation) -> int | None:
    state, terms, now = at.view.state, at.view.terms, at.clock.now
    if kind == ActionKind.REVEAL:
        return reveal_end(state, terms) - now
    if kind == ActionKind.EXAMINE:
        return min([*at.open_answers, challenge_end(state, terms)]) - now
    if kind == ActionKind.DRAW:
        return _left_to_draw(at)
    return None


def _left_to_draw(at: Situation) -> int:
    """Seconds until the chain forgets the hash of the seed's block, were blocks to come as they did since the job's."""
    passed, seconds = at.clock.block_number - at.view.state.created_block, at.clock.now - at.view.created_at
    blocks = seed_block(at.view.state) + HASH_WINDOW - at.clock.block_number
    return blocks * seconds // max(1, passed)


def _ends_in(kind: ActionKind, at: Situation) -> int | None:
    if kind in (ActionKind.INFER, ActionKind.COMMIT, ActionKind.ABSTAIN):
        return commit_end(at.view.state, at.view.terms) - at.clock.now
    return None


def _windows_end(view: JobView) -> int:
    """When the last window of a job that can be settled was over."""
    if view.state.execution == Execution.WHOLE:
        return view.time  # the execution ended it, and nothing came after
    if view.state.granted_seats < view.terms.quorum:
        return commit_end(view.state, view.terms)
    return challenge_end(view.state, view.terms)


def _is_interested(at: Situation) -> bool:
    """Whether the operator has a seat, a bounty, a bond or a share of the audit bond in the job."""
    view, me = at.view, at.me.address
    return (
        at.seat is not None
        or me in (view.executor, view.audit.executor)
        or any(tally.refuter == me for tally in view.roots.values())
        or any(me in (demand.demander, demand.answerer) for demand in view.demands.values())
    )


@lru_cache(maxsize=4096)
def _count_won(seed: bytes, worker: ChecksumAddress, tickets: int, expected: int, total: int, most: int) -> int:
    return sum(1 for _ in islice(winning_tickets(seed, worker, tickets, expected, total), most))


@lru_cache(maxsize=4096)
def _place(job_id: bytes, worker: str, among: tuple[str, ...]) -> int:
    """How many of `among` come before the worker in this job's order: another order for each job, the same for all."""
    mine = _lot(job_id, worker)
    return min(MOST_TURNS, sum(1 for other in among if _lot(job_id, other) < mine))


def _lot(job_id: bytes, worker: str) -> bytes:
    return keccak(job_id + to_canonical_address(worker))
