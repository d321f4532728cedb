"""One run: a job from its creation to its last release, with one fault at one moment, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from contracts.endpoint import ChainError
from contracts.job import Outcome, Phase, challenge_end, commit_end, phase, phase_end
from coordinator.clock import Clock
from coordinator.job_view import JobView
from tests.chaos import books
from tests.chaos.fault import FAULTS, OUTAGE, Fault
from tests.chaos.phases import COMMIT_HELD, PHASES, REVEAL_HELD, Moment
from tests.chaos.stage import SEATS, Stage

TICK_SECONDS = 0.2
HURRY_SECONDS = 0.5
LEFT_SECONDS = 30
"""In half of the runs the clock moves on as soon as the fault is over and every process works again, so that no more of the
window is left."""
MOST_SECONDS = 300.0
"""A run that takes longer is ended by the stage, as any keeper could."""
KEEP_SECONDS = 60.0
ITEMS = (1, 3, 12)
"""Sizes of jobs whose lie is refuted at once, by executing all rows, and after a round of demands."""


@dataclass(frozen=True)
class Run:
    """Which fault at which moment; `seed` decides everything else."""

    fault: str
    phase: str
    seed: int

    @property
    def name(self) -> str:
        """What a result is found again by."""
        return f"{self.fault} · {self.phase} · {self.seed}"


@dataclass
class Record:
    """What a run came to. Amounts in wei, times in seconds."""

    fault: str
    phase: str
    seed: int
    items: int
    peer_awake: bool
    reached: bool = False
    """Whether the moment came at which the fault was to be injected."""
    lasted: float = 0.0
    squeezed: bool = False
    outcome: str = ""
    seated: bool = False
    lost: int = 0
    """Of the stakes of the operator under fault and of its honest peer."""
    paid: int = 0
    """Reward of the operator's seat."""
    twice: list[str] = field(default_factory=list)
    reverted: list[str] = field(default_factory=list)
    wasted: int = 0
    sent: int = 0
    restarts: list[str] = field(default_factory=list)
    """Processes that ended by themselves."""
    left_over: bool = False
    """Whether the stage had to settle or release, because nobody did within MOST_SECONDS."""
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Nothing lost, nothing paid for twice, the fault injected, and the job brought to its end by the operators; of a
        control, that it shows what it must."""
        if self.control:
            return self.reached and bool(getattr(self, self.control))
        return self.reached and not self.lost and not self.twice and not self.left_over

    @property
    def control(self) -> str | None:
        """What must be seen of it, if it is beyond what is promised."""
        return FAULTS[self.fault].control

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Play:
    """A run on a stage."""

    def __init__(self, stage: Stage, run: Run) -> None:
        self._stage = stage
        self._fault: Fault = FAULTS[run.fault]
        self._phase = run.phase
        self._chance = Random(f"{run.name}")
        items, awake = self._chance.choice(ITEMS), self._chance.random() < 0.5
        self.record = Record(run.fault, run.phase, run.seed, items, awake)
        self._lasts = self._chance.uniform(*self._fault.seconds) if self._fault.seconds else None
        self._squeeze = self._chance.random() < 0.5 and bool(self._lasts)
        """Whether the clock is still to be moved on once the fault is over."""
        self._harm: Iterator[None] | None = None
        self._began_harm = 0.0
        self._is_over = False
        self._is_recovering = False
        """Whether the phase in which the fault was is still that of now."""
        self._block, self._block_since = 0, 0.0

    def play(self) -> Record:
        """Play it. Raises what the stage's own parts raise: that is a fault of the campaign."""
        self._stage.prepare(self.record.items, self._chance.getrandbits(32))
        began, first = time.monotonic(), self._stage.block_number()
        self._stage.restarts.clear()
        if not self.record.peer_awake:
            self._stage.peer.pause()
        try:
            self._follow(began)
        finally:
            self._end_harm()
            self._stage.peer.resume()
        view, _ = self._stage.look()
        self.record.left_over = view is None or not self._stage.is_ended(view)
        self.record.seconds = round(time.monotonic() - began, 1)
        self._keep()
        self._balance(first)
        return self.record

    # ---- Following the job ----

    def _follow(self, began: float) -> None:
        while time.monotonic() - began < MOST_SECONDS:
            self._stage.supervise()
            try:
                view, clock = self._stage.look()
            except ChainError:  # the chain is being reorganised under the observer
                time.sleep(TICK_SECONDS)
                continue
            if view is None:
                self._stage.create()
            else:
                self._step(view, clock)
                if self._harm is None and self._stage.is_ended(view):
                    return
            if self._harm is not None:
                self._tick(view)
            elif self._squeeze and self._is_over and view is not None:
                self._leave_little(view, clock)
            else:
                self._hurry(clock)
            time.sleep(TICK_SECONDS)

    def _hurry(self, clock: Clock) -> None:
        """Where no fault is at work and none was in this phase, blocks come twice as fast."""
        if clock.block_number != self._block:
            self._block, self._block_since = clock.block_number, time.monotonic()
        elif not self._is_recovering and time.monotonic() - self._block_since > HURRY_SECONDS:
            self._stage.endpoint.ask("evm_mine")

    def _step(self, view: JobView, clock: Clock) -> None:
        stage = self._stage
        now = phase(view.state, view.terms, clock.now, clock.block_number)
        moment = Moment(view, now, stage.operator.address, stage.liar.root)
        is_there = PHASES[self._phase](moment)
        if self._harm is None and not self._is_over and is_there:
            self._begin_harm()
        self._is_recovering = self._is_over and is_there
        held = self._is_holding
        stage.liar.act(
            view,
            now,
            may_commit=not (held and self._phase == COMMIT_HELD),
            may_reveal=not (held and self._phase == REVEAL_HELD),
        )
        if self._harm is None or self._lasts is None:
            self._skip(moment, clock)

    @property
    def _is_holding(self) -> bool:
        """Whether the liar still waits: until the fault is over, or was at work for a while."""
        is_begun = self._harm is not None and self._lasts is None
        return not self._is_over and not (is_begun and time.monotonic() - self._began_harm > OUTAGE[0])

    def _skip(self, at: Moment, clock: Clock) -> None:
        """Nobody has anything left to do in this phase: move the clock on."""
        view = at.view
        if at.phase == Phase.COMMITTING and not self.record.peer_awake:
            is_done = at.is_seated and view.state.granted_seats == SEATS - 1
            end = commit_end(view.state, view.terms) if is_done else 0
        elif at.phase == Phase.CHALLENGING and (at.is_refuted or at.has_abstained):
            end = challenge_end(view.state, view.terms)
        else:
            return
        self._stage.pass_time(end - clock.now)

    # ---- The fault ----

    def _begin_harm(self) -> None:
        self.record.reached = True
        self._began_harm = time.monotonic()
        self._harm = self._fault.harm(self._stage, self._chance)
        next(self._harm)

    def _tick(self, view: JobView | None) -> None:
        assert self._harm is not None
        if self._lasts is None:
            if view is not None and self._stage.is_ended(view):
                self._end_harm()
            else:
                next(self._harm)
        elif time.monotonic() - self._began_harm < self._lasts:
            next(self._harm)
        else:
            self._end_harm()

    def _end_harm(self) -> None:
        if self._harm is not None:
            self._harm.close()  # type: ignore[attr-defined]
            self.record.lasted = round(time.monotonic() - self._began_harm, 1)
            self._harm, self._is_over = None, True

    def _leave_little(self, view: JobView, clock: Clock) -> None:
        """Once, as soon as whatever was started again works."""
        if not self._stage.is_ready:
            return
        self._squeeze = False
        end = phase_end(view.state, view.terms, clock.now, clock.block_number)
        if end and end - clock.now > LEFT_SECONDS:
            self.record.squeezed = True
            self._stage.pass_time(end - clock.now - LEFT_SECONDS)

    # ---- The end ----

    def _keep(self) -> None:
        """Settle and release what nobody did, the liars' seats at least, so that the run can be accounted for."""
        end = time.monotonic() + KEEP_SECONDS
        while time.monotonic() < end:
            view, clock = self._stage.look()
            if view is None or view.is_closed:
                return
            self._stage.keep(view, clock)
            time.sleep(TICK_SECONDS)

    def _balance(self, first: int) -> None:
        stage, record = self._stage, self.record
        view, _ = stage.look()
        record.restarts = list(stage.restarts)
        if view is None:
            return
        record.outcome = Outcome(view.state.outcome).name.lower()
        seats = [view.seat(stage.operator.address), view.seat(stage.peer_address)]
        record.lost = sum(seat.forfeited for seat in seats if seat is not None)
        record.seated = seats[0] is not None
        record.paid = seats[0].paid if seats[0] is not None else 0
        sent = list(books.transactions(stage.endpoint, first, stage.block_number()))
        bills = [books.bill(sent, one) for one in (stage.operator.address, stage.peer_address)]
        record.twice = [duty for one in bills for duty in one.twice]
        record.reverted = [duty for one in bills for duty in one.reverted]
        record.wasted = sum(one.wasted for one in bills)
        record.sent = bills[0].sent
