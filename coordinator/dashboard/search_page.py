"""Lists of jobs, and what a search found."""

from __future__ import annotations

from eth_typing import ChecksumAddress
from starlette.responses import RedirectResponse

from coordinator.dashboard import chain_text, wording
from coordinator.dashboard.frame import Live, follow, frame
from coordinator.dashboard.job_rows import STATES, job_path, job_table
from coordinator.dashboard.paging import address, pages
from coordinator.dashboard.parts import Tag, empty, link, section, text
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.read_model import Found, JobRow, Kind, Page, State

MOST_QUERY = 200
"""Characters of a search."""


def jobs_page(
    explorer: Explorer,
    state: str | None,
    requester: ChecksumAddress | None,
    model_id: bytes | None,
    cursor: str | None,
) -> None:
    """The jobs, newest first; those of one state, requester or model. Raises BadCursor."""
    wanted = State(state) if state in set(State) else None
    whose = {"requester": requester or "", "model": wording.hex_(model_id) if model_id else ""}
    whose = {name: value for name, value in whose.items() if value}

    def jobs() -> Page[JobRow]:
        return explorer.jobs(state=wanted, requester=requester, model_id=model_id, cursor=cursor)

    jobs()
    title = f"{STATES[wanted][0]} jobs" if wanted else "Jobs"
    lead = "Of " + " and ".join(f"{name} {value}" for name, value in whose.items()) if whose else ""
    with frame(explorer, title, "/", lead) as clock:
        with Tag("nav", classes="row", aria_label="States"):
            link("All", address("/jobs", whose), "button small")
            for one, (words, _) in STATES.items():
                to = address("/jobs", {**whose, "state": one.value})
                link(words, to, "button small", current=one is wanted)

        def build() -> None:
            page, query = jobs(), {**whose, "state": wanted.value} if wanted else whose
            with section(title, "jobs"):
                if page.items:
                    job_table(page.items, title, explorer.standing().head_time)
                    pages("/jobs", query, cursor, page.next)
                else:
                    empty("There is no such job.", "Choose another state, or submit a job.")

        follow(clock, Live(jobs, build))


def path_of(found: Found) -> str:
    """The page of what was found."""
    if found.job_id is not None:
        return job_path(found.job_id)
    return {
        Kind.JOB: f"/jobs/{found.id}",
        Kind.OPERATOR: f"/operators/{found.id}",
        Kind.REQUESTER: f"/jobs?requester={found.id}",
        Kind.MODEL: f"/models/{found.id}",
        Kind.TRANSACTION: "/jobs",
    }[found.kind]


def search_page(explorer: Explorer, query: str) -> RedirectResponse | None:
    """What was found; a single find is gone to at once."""
    found = explorer.search(query[:MOST_QUERY]).found if query.strip() else ()
    if len(found) == 1:
        return RedirectResponse(path_of(found[0]), 303)
    with frame(explorer, "Search", "/", f"For “{chain_text.shown(query, 80)}”") as clock:
        with section("Found", "found"):
            if not found:
                empty(
                    "Nothing with this id or address.",
                    "Give a job's, model's or transaction's id (0x and 64 digits), an address (0x and 40), their first digits, "
                    "or a model's name.",
                )
            else:
                with Tag("ul", classes="found"):
                    for one in found:
                        with Tag("li"):
                            text(f"{one.kind.value.capitalize()} ", "quiet")
                            link(chain_text.shown(one.label, 120), path_of(one), title=wording.short(one.id))
        follow(clock)
    return None
