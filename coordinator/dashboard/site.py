"""The pages on an app that serves the JSON API as well: routes, static files, and what guards them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from eth_typing import ChecksumAddress
from fastapi import FastAPI, HTTPException
from nicegui import core, ui
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from contracts import address as addresses
from contracts.deployment import Contracts
from contracts.endpoint import ChainError
from contracts.job import NOBODY
from coordinator.api.guard import RateLimit
from coordinator.dashboard import chain_text, frame, quantising, submitting
from coordinator.dashboard.dispute_page import dispute_page
from coordinator.dashboard.job_page import job_page
from coordinator.dashboard.model_pages import model_page, models_page
from coordinator.dashboard.operator_pages import operator_page, operators_page
from coordinator.dashboard.overview_page import overview_page
from coordinator.dashboard.parts import empty, link, paragraph, section
from coordinator.dashboard.search_page import jobs_page, search_page
from coordinator.dashboard.security import LOOPBACK_HOSTS, Guard
from coordinator.dashboard.submit_page import submit_page
from coordinator.explorer.explorer import Explorer, NotFound
from coordinator.explorer.rows import BadCursor

RECONNECT_SECONDS = 20.0
"""A page whose connection is back by then goes on where it was; a phone may be in a tunnel."""


def attach(
    app: FastAPI,
    explorer: Explorer,
    contracts: Contracts,
    hosts: Collection[str] | None = LOOPBACK_HOSTS,
    limit: RateLimit | None = None,
) -> None:
    """Put the pages on `app`, below every route that it already has. Once a process: NiceGUI keeps its pages globally.

    hosts: the names that the server is reached by, None for any. limit: of what one address may ask, None for none.
    """
    app.add_api_route("/api/{rest:path}", _no_such_call, include_in_schema=False)  # else it would be a page's address
    app.include_router(quantising.router())
    app.include_router(submitting.router(contracts))
    app.mount(frame.STATIC_URL, StaticFiles(directory=frame.STATIC))
    _routes(explorer)
    frame.head()
    ui.run_with(
        app,
        title="Quorate",
        favicon=frame.STATIC / "favicon.svg",
        language="en-US",
        tailwind=False,
        gzip_middleware_factory=None,
        show_welcome_message=False,
        message_history_length=100,
        reconnect_timeout=RECONNECT_SECONDS,
    )
    core.sio.eio.cors_allowed_origins = None  # NiceGUI's is any origin; None is the page's own
    app.add_middleware(Guard, hosts=hosts, limit=limit)


def _no_such_call(rest: str) -> None:
    raise HTTPException(404, f"the API has no /api/{chain_text.shown(rest, 80)}: /api/v1/openapi.json says what it has")


def _routes(explorer: Explorer) -> None:
    shared = frame.Shared()

    @ui.page("/")
    def overview() -> None:
        overview_page(explorer, shared)

    @ui.page("/jobs")
    def jobs(
        state: str | None = None, requester: str | None = None, model: str | None = None, cursor: str | None = None
    ) -> None:
        with _absent(explorer, "page of jobs", cursor or ""):
            model_id = _hash(model) if model else None
            jobs_page(explorer, state, _address(requester or ""), model_id, cursor)

    @ui.page("/jobs/{job_id}")
    def job(job_id: str, events: str | None = None) -> None:
        with _absent(explorer, "job", job_id):
            job_page(explorer, explorer.job(_hash(job_id)).row.job_id, events)

    @ui.page("/disputes/{job_id}")
    def dispute(job_id: str) -> None:
        with _absent(explorer, "job", job_id):
            dispute_page(explorer, explorer.job(_hash(job_id)).row.job_id)

    @ui.page("/operators")
    def operators(cursor: str | None = None) -> None:
        with _absent(explorer, "page of operators", cursor or ""):
            operators_page(explorer, cursor)

    @ui.page("/operators/{address}")
    def operator(address: str, events: str | None = None) -> None:
        with _absent(explorer, "operator", address):
            operator_page(explorer, _address(address) or NOBODY, events)

    @ui.page("/models")
    def models(cursor: str | None = None) -> None:
        with _absent(explorer, "page of models", cursor or ""):
            models_page(explorer, cursor)

    @ui.page("/models/{model_id}")
    async def model(model_id: str) -> None:
        with _absent(explorer, "model", model_id):
            found = await asyncio.to_thread(explorer.model, _hash(model_id))
            model_page(explorer, found)

    @ui.page("/submit")
    def submit(model: str | None = None) -> None:
        submit_page(explorer, model)

    @ui.page("/search")
    def search(q: str = "") -> Response | None:
        return search_page(explorer, q)


@contextmanager
def _absent(explorer: Explorer, what: str, given: str) -> Iterator[None]:
    """In place of a page of what is not there, one that says so and what to do."""
    try:
        yield
    except (NotFound, BadCursor) as missing:
        words = chain_text.shown(str(missing))
    except ChainError as error:
        words = f"The node does not answer: {chain_text.shown(str(error))}"
    else:
        return
    with frame.frame(explorer, f"No such {what}", "/") as clock:
        with section("What now", "absent"):
            empty(
                words, f"You asked for {chain_text.shown(given, 80)}. Check it, or search for its first digits above."
            )
            link("To the overview", "/")
        frame.follow(clock)
        if what == "job" and _is_hash(given):
            paragraph(
                "A job that was just created appears when its block is confirmed: this page looks for it.", "quiet"
            )
            ui.timer(frame.POLL_SECONDS, lambda: _arrive(explorer, _hash(given)))


def _arrive(explorer: Explorer, job_id: bytes) -> None:
    """Load the page anew once the job is there."""
    with suppress(NotFound):
        explorer.job(job_id)
        ui.navigate.reload()


def _is_hash(text: str) -> bool:
    digits = text.removeprefix("0x")
    return len(digits) == 64 and all(c in "0123456789abcdefABCDEF" for c in digits)


def _hash(text: str) -> bytes:
    """Raises NotFound."""
    if not _is_hash(text):
        raise NotFound("An id is 0x and 64 hexadecimal digits.")
    return bytes.fromhex(text.removeprefix("0x"))


def _address(text: str) -> ChecksumAddress | None:
    try:
        return addresses.parse(text)
    except addresses.BadAddress:
        return None
