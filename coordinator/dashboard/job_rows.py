"""Jobs as lines of a table, and the words and colours of their states."""

from __future__ import annotations

from collections.abc import Iterable

from coordinator.dashboard import wording
from coordinator.dashboard.parts import (
    Element,
    Node,
    Tag,
    amount,
    badge,
    cell,
    countdown,
    identifier,
    link,
    moment,
    table,
    text,
)
from coordinator.explorer.read_model import JobRow, Standing, State

STATES: dict[State, tuple[str, str]] = {
    State.DRAWING: ("Drawing", "live"),
    State.COMMITTING: ("Committing", "live"),
    State.REVEALING: ("Revealing", "live"),
    State.CHALLENGING: ("Challenging", "live"),
    State.SETTLING: ("Settling", "live"),
    State.ACCEPTED: ("Accepted", "good"),
    State.UNAVAILABLE: ("Unavailable", "warn"),
    State.HUNG: ("Hung", "bad"),
    State.EXPIRED: ("Expired", "warn"),
}
STANDINGS: dict[Standing, tuple[str, str]] = {
    Standing.STANDS: ("stands", ""),
    Standing.QUESTIONED: ("a demand is open", "warn"),
    Standing.SILENCED: ("silenced: never answered", "bad"),
    Standing.REFUTED: ("refuted by execution", "bad"),
    Standing.EXECUTED: ("right: every row executed", "good"),
}


def job_path(job_id: bytes) -> str:
    """The job's page."""
    return f"/jobs/{wording.hex_(job_id)}"


def dispute_path(job_id: bytes) -> str:
    """The job's dispute."""
    return f"/disputes/{wording.hex_(job_id)}"


def state_badge(state: State) -> Element | Node:
    """Where a job stands."""
    words, kind = STATES[state]
    return badge(words, kind)


def model_link(model_id: bytes, name: str | None) -> None:
    """A model by its name, or by the ends of its id."""
    identifier(wording.hex_(model_id), f"/models/{wording.hex_(model_id)}", "model", name)


def job_table(rows: Iterable[JobRow], caption: str, now: int) -> None:
    """One job a line."""
    columns = ("Job", "State", "Model", "Items", "Jury", "Reward", "Created", "Phase ends in")
    with table(caption, columns, numbers=("Items", "Jury", "Reward", "Phase ends in")):
        for row in rows:
            with Tag("tr"):
                with cell():
                    identifier(wording.hex_(row.job_id), job_path(row.job_id), "job")
                with cell(), Tag("span", classes="row"):
                    state_badge(row.state)
                    if row.is_disputed:
                        link("disputed", dispute_path(row.job_id), key=f"disputed {row.job_id.hex()}")
                with cell():
                    model_link(row.model_id, row.model_name)
                with cell(number=True):
                    text(f"{row.item_count:,}")
                with cell(number=True):
                    text(f"{row.granted_seats} of {row.seats}")
                with cell(number=True):
                    amount(row.reward)
                with cell():
                    moment(row.created_at)
                with cell(number=True):
                    if row.phase_ends_at and not row.state.is_over:
                        countdown(row.phase_ends_at, now)
                    else:
                        text("–", "quiet")
