"""The moments of a job at which faults are injected, as the operator under fault sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eth_typing import ChecksumAddress

from contracts.job import Outcome, Phase
from coordinator.job_view import JobView


@dataclass(frozen=True)
class Moment:
    """The job now, and the two parties that decide whether a moment has come."""

    view: JobView
    phase: Phase
    operator: ChecksumAddress
    lie: bytes
    """The liars' root."""

    @property
    def is_seated(self) -> bool:
        """Whether the operator has committed."""
        return self.view.seat(self.operator) is not None

    @property
    def is_sealed(self) -> bool:
        """Whether it has committed and not revealed."""
        seat = self.view.seat(self.operator)
        return seat is not None and seat.is_sealed

    @property
    def has_abstained(self) -> bool:
        """Whether it revealed that it could not get the data."""
        seat = self.view.seat(self.operator)
        return seat is not None and not seat.is_sealed and not seat.has_result

    @property
    def is_refuted(self) -> bool:
        """Whether the chain has executed what shows the lie."""
        tally = self.view.roots.get(self.lie)
        return tally is not None and (tally.refuted or bool(self.view.state.execution))


Reached = Callable[[Moment], bool]

PHASES: dict[str, Reached] = {
    "before the draw": lambda at: at.phase == Phase.DRAWING,
    "before its commit": lambda at: at.phase == Phase.COMMITTING and not at.is_seated,
    "after its commit": lambda at: at.phase == Phase.COMMITTING and at.is_sealed,
    "before its reveal": lambda at: at.phase == Phase.REVEALING and at.is_sealed,
    "after its reveal": lambda at: at.phase == Phase.REVEALING and at.is_seated and not at.is_sealed,
    "before the refutation": lambda at: at.phase == Phase.CHALLENGING and not at.is_refuted,
    "after the refutation": lambda at: at.is_refuted and at.view.state.outcome == Outcome.OPEN,
    "after the settlement": lambda at: at.view.state.outcome != Outcome.OPEN,
}
"""In the order in which they come. While the fault lasts, the liars hold back what would end `after its commit` and `after
its reveal`."""
COMMIT_HELD = "after its commit"
REVEAL_HELD = "after its reveal"
EARLY = ("before the draw", "before its commit")
"""Before anything is at stake."""
