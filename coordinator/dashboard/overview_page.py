"""The first page: what is disputed, what runs, what is at stake."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from coordinator.dashboard import wording
from coordinator.dashboard.charts import Chart, Drawing
from coordinator.dashboard.frame import Live, Part, Shared, follow, frame
from coordinator.dashboard.job_rows import STATES, dispute_path, job_table, state_badge
from coordinator.dashboard.parts import (
    Tag,
    big_amount,
    cell,
    countdown,
    empty,
    figure,
    identifier,
    link,
    section,
    table,
    text,
)
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.read_model import Bucket, DisputeRow, Overview


def overview_page(explorer: Explorer, shared: Shared) -> None:
    """Everything at once, kept current. shared: by all who look at it."""

    def live(name: str, version: Callable[[Overview], object], build: Callable[[Overview], None]) -> Live:
        return Live(lambda: version(explorer.overview()), lambda: build(explorer.overview()), shared, name)

    with frame(explorer, "Overview", "/", "Jobs, disputes and stake of this oracle, as the chain has them.") as clock:
        parts: list[Part] = [
            live("figures", lambda overview: (overview.totals, len(overview.disputes)), _figures),
            live("disputes", lambda overview: (overview.disputes, overview.totals.disputes), _disputes),
            live("states", lambda overview: overview.states, _states),
            live("newest", lambda overview: overview.newest, _newest),
            *_charts(explorer, shared),
        ]
        follow(clock, *parts)


def _figures(overview: Overview) -> None:
    totals = overview.totals
    with Tag("dl", classes="figures", style="--n:4"):
        with figure("Open disputes"):
            text(f"{len(overview.disputes):,}")
        with figure("Jobs"):
            text(f"{totals.jobs:,}")
        with figure("Items decided"):
            text(f"{totals.items:,}")
        with figure("Seats held"):
            text(f"{totals.seats_held:,}")
        with figure("Stake"):
            big_amount(totals.bonded)
        with figure("Paid to seats"):
            big_amount(totals.paid)
        with figure("Paid to refuters"):
            big_amount(totals.bounties)
        with figure("Burned"):
            big_amount(totals.burned)


def _disputes(overview: Overview) -> None:
    note = "A root that is demanded, accused or refuted, in a job that is not settled yet. The most urgent first."
    with section("Disputes", "disputes", note) as made:
        if not overview.disputes:
            empty(
                "Nothing is disputed right now.",
                f"{wording.count(overview.totals.disputes, 'job')} so far had a dispute; "
                f"{wording.count(overview.totals.refutations, 'root')} were shown wrong by the chain itself.",
            )
            return
        made.classes("alarm")
        columns = ("Job", "State", "Roots", "Open demands", "Answer due in", "(Link)")
        with table("Open disputes", columns, numbers=("Roots", "Open demands", "Answer due in")):
            for row in overview.disputes:
                _dispute(row, overview.standing.head_time)


def _dispute(row: DisputeRow, now: int) -> None:
    with Tag("tr"):
        with cell():
            identifier(wording.hex_(row.job.job_id), dispute_path(row.job.job_id), "disputed job")
        with cell():
            state_badge(row.job.state)
        with cell(number=True):
            text(f"{row.roots}")
        with cell(number=True):
            text(f"{row.open_demands}")
        with cell(number=True):
            if row.next_deadline:
                countdown(row.next_deadline, now)
            else:
                text("nothing is open", "quiet")
        with cell():
            link("Watch", dispute_path(row.job.job_id), "button small", key=f"watch {row.job.job_id.hex()}")


def _states(overview: Overview) -> None:
    with section("Jobs by state", "states"), Tag("ul", classes="row"):
        for state in STATES:
            number = overview.states.get(state, 0)
            with (
                Tag("li"),
                Tag("a", classes="state-link", href=f"/jobs?state={state.value}", data_key=f"state {state}"),
            ):
                state_badge(state)
                text(f" {number:,}", "number" if number else "number quiet")


def _newest(overview: Overview) -> None:
    with section("Newest jobs", "newest") as made:
        if not overview.newest:
            empty("No job was created here yet.", "Submit one from the page above, or with `quorate job submit`.")
            return
        job_table(overview.newest, "Newest jobs", overview.standing.head_time)
    with made, Tag("p", classes="more"):
        link("All jobs", "/jobs")


def _charts(explorer: Explorer, shared: Shared) -> list[Chart]:
    def draw(name: str, make: Callable[[Overview], Drawing]) -> Callable[[], Drawing]:
        def drawing() -> Drawing:
            overview = explorer.overview()
            return shared.of(name, overview.series, lambda: make(overview))

        return drawing

    with Tag("div", classes="columns"):
        with section("Throughput", "throughput"):
            throughput = Chart(draw("throughput", _throughput), kind="bar")
        with section("Time to settle", "settlement"):
            settlement = Chart(draw("settlement", _settlement), unit="s")
    return [throughput, settlement]


def _throughput(overview: Overview) -> Drawing:
    series, each = overview.series, wording.duration(overview.bucket_seconds)
    created, settled = sum(b.created for b in series), sum(b.settled for b in series)
    return Drawing(
        f"Throughput: {created:,} jobs created and {settled:,} settled, in intervals of {each}.",
        _labels(overview),
        {"created": [b.created for b in series], "settled": [b.settled for b in series]},
        f"jobs in each {each}" if series else "No job was created here yet.",
    )


def _settlement(overview: Overview) -> Drawing:
    series = overview.series
    times = [b.mean_settlement for b in series if b.mean_settlement is not None]
    average = f"between {min(times):,} and {max(times):,} seconds" if times else "nothing was settled"
    return Drawing(
        f"Mean and longest time from a job's creation to its settlement: the mean is {average}.",
        _labels(overview),
        {"mean": [b.mean_settlement for b in series], "longest": [b.longest_settlement for b in series]},
        "from creation, in seconds" if series else "No job was created here yet.",
    )


def _labels(overview: Overview) -> list[str]:
    return [_label(bucket, overview.bucket_seconds) for bucket in overview.series]


def _label(bucket: Bucket, seconds: int) -> str:
    """A bucket's time, as fine as its width asks for."""
    made = datetime.datetime.fromtimestamp(bucket.since, datetime.UTC)
    return made.strftime("%-d %b" if seconds >= 86_400 else "%H:%M" if seconds >= 60 else "%H:%M:%S")
