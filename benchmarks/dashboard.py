"""The dashboard under load: 10,000 jobs and 100 viewers, and what ten times the events cost in memory.

Jobs are written straight into a store, with the events that the oracle would emit. The server is a process of its own. Every
viewer loads the overview now and then and keeps its socket open, as a browser does, and asks the API for it every few seconds,
from an address of its own, while jobs go on: a whole life of one is recorded every two seconds.
"""

from __future__ import annotations

import asyncio
import gc
import re
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

JOBS = 10_000
VIEWERS = 100
OPEN_JOBS = 100
"""Of all, not settled yet."""
STAY = 20.0
"""Seconds that a viewer has the page open before it loads it anew."""
VISITS = 3
PAUSE = 2.0
"""Seconds between a viewer's questions to the API."""
BLOCK = 2.0
"""Seconds between two recordings."""
EVENTS = (10_000, 100_000)
EVENTS_OF_A_JOB = 8.8
"""Of a settled one, on the average: eight, and twelve of every fifth, which is disputed."""
START = 1_800_000_000
ETHER = 10**18
OPERATORS = 50


def measure() -> list[dict[str, Any]]:
    """The rows of the table."""
    with _Server(0) as server:
        few, many = (server.fill(round(events / EVENTS_OF_A_JOB)) for events in EVENTS)
    with _Server(JOBS) as server:
        seen = asyncio.run(_view(server.url))
    rows = [
        _row(f"overview/{name}/p{percent}", round(1000 * _percentile(found, percent), 1), "ms")
        for name, found in (("page", seen.pages), ("api", seen.answers))
        for percent in (50, 95)
    ]
    return [
        *rows,
        _row("overview/sockets_refused", seen.refused, f"of {VIEWERS * VISITS}"),
        _row("overview/updates", round(seen.updates / (VIEWERS * VISITS * STAY), 2), "per viewer and s"),
        _row("memory_10k", few, "MiB"),
        _row("memory_100k", many, "MiB"),
        _row("memory_100k_vs_10k", round(many / few, 3), "ratio"),
    ]


def _percentile(seconds: list[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100)[percent - 1]


def _row(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": f"dashboard/{name}", "value": value, "unit": unit}


# ---- The server, a process of its own ----


def serve(folder: Path, jobs: int) -> None:
    """Fill a store, serve its pages and API, say where and with how much memory.

    Then do as stdin says, until it ends: a line with a number fills the store up to so many jobs; without lines blocks go on.
    """
    from contracts.job import NOBODY
    from coordinator.api.app import create_app
    from coordinator.api.feed import Feed
    from coordinator.api.server import bind, serving
    from coordinator.clock import Clock
    from coordinator.daemon import Health
    from coordinator.dashboard.site import attach
    from coordinator.explorer.explorer import Explorer
    from coordinator.explorer.witness import Witness
    from coordinator.job_store import JobStore, Source
    from oracle_worker import settings

    source = Source(31_337, NOBODY, 1)
    with JobStore(folder / "jobs.sqlite", source) as store:
        recorder = _Recorder(store)
        witness = Witness(None, settings.load(), folder / "recomputed")  # type: ignore[arg-type]  # nothing asks the chain
        _ = witness.zoo
        clock = [recorder.clock(Clock)]
        explorer = Explorer(lambda: store, lambda: clock[0], source, witness)
        feed = Feed(explorer)
        app = create_app(explorer, lambda: Health(0.0, last_success_at=2.0**40), feed=feed)
        attach(app, explorer, None, None)  # type: ignore[arg-type]  # nobody submits

        def fill(count: int) -> None:
            recorder.play(count, OPEN_JOBS)
            clock[0] = recorder.clock(Clock)
            for _ in range(3):
                explorer.overview(), explorer.operators(), explorer.disputes(), explorer.jobs()
            gc.collect()

        fill(jobs)
        with serving(app, feed, bind("127.0.0.1", 0)) as url:
            print(url, flush=True)
            gc.freeze()  # as `quorate dashboard` does
            while True:
                if select.select([sys.stdin], [], [], BLOCK)[0]:
                    if not (line := sys.stdin.readline()):
                        return
                    fill(int(line))
                    print(_resident(), flush=True)
                elif jobs:
                    recorder.job()
                    recorder.record()
                    clock[0] = recorder.clock(Clock)


def _resident() -> int:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


class _Recorder:
    """Writes jobs' lives into a store, a block for each of their events."""

    def __init__(self, store: Any) -> None:
        from coordinator.event_log import Block, Event

        self._store, self._block, self._event = store, Block, Event
        self._number, self._time, self._jobs = 0, START, 0
        self._pending: list[tuple[Any, list[Any]]] = []
        self._workers = [address(number) for number in range(OPERATORS)]
        self._mine([("StakeDeposited", {"worker": worker, "amount": 100 * ETHER}) for worker in self._workers])

    def play(self, jobs: int, open_jobs: int) -> None:
        """Up to so many jobs, of which the first are not settled."""
        while self._jobs < jobs:
            self.job(is_open=self._jobs < open_jobs)
        self.record()

    def clock(self, kind: Any) -> Any:
        """Where the chain stands."""
        return kind(self._time, self._number, self._time, self._number)

    def job(self, *, is_open: bool = False) -> None:
        """One job's life: every fifth is disputed and refuted."""
        number, self._jobs = self._jobs, self._jobs + 1
        for event in life(number, self._workers, is_open):
            self._mine([event])
        if len(self._pending) >= 500:  # as the watcher reads a chain that it catches up with
            self.record()

    def _mine(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        self._number, self._time = self._number + 1, self._time + 12
        digest = sha256(b"%d" % self._number).digest()
        block = self._block(self._number, digest, sha256(b"%d" % (self._number - 1)).digest(), self._time)
        made = [self._event(name, self._number, i, self._time, digest, args) for i, (name, args) in enumerate(events)]
        self._pending.append((block, made))

    def record(self) -> None:
        """Write what was mined."""
        blocks, events = [block for block, _ in self._pending], [one for _, made in self._pending for one in made]
        self._store.record(blocks, events)
        self._pending.clear()


def life(number: int, workers: list[str], is_open: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a job with a jury of three."""
    from contracts.job import Outcome, Terms, data_uri_hash

    job_id, uri = sha256(b"job %d" % number).digest(), f"https://data.example/{number}"
    terms = Terms(
        model_id=sha256(b"model %d" % (number % 7)).digest(),
        data_root=sha256(b"data %d" % number).digest(),
        data_uri_hash=data_uri_hash(uri),
        item_count=1000,
        seats=3,
        quorum=2,
        seat_stake=ETHER,
        reward=3 * ETHER // 100,
        commit_window=600,
        reveal_window=600,
        challenge_window=1_000_000 if is_open else 600,
        response_window=60,
    )
    of = {"jobId": job_id}
    created = {"requester": address(10_000 + number % 100), "nonce": number, "terms": terms.as_tuple()}
    yield "JobCreated", {**of, **created, "totalStake": OPERATORS * 100 * ETHER, "dataUri": uri}
    yield "Drawn", {**of, "seed": job_id[:8]}
    jury = [workers[(3 * number + place) % OPERATORS] for place in range(3)]
    for worker in jury:
        sealed = {"commitment": sha256(job_id + worker.encode()).digest(), "sealedRoot": bytes(32)}
        yield "Committed", {**of, "worker": worker, "lane": number % 24, **sealed, "seats": 1}
    right, wrong = sha256(b"right" + job_id).digest(), sha256(b"wrong" + job_id).digest()
    is_disputed = number % 5 == 0
    honest = jury[:2] if is_disputed else jury
    yield "Revealed", {**of, "root": right, "workers": tuple(honest)}
    if is_disputed:
        yield "Revealed", {**of, "root": wrong, "workers": (jury[2],)}
    if is_open:
        return
    if is_disputed:
        leaves = {"index": 5, "leaf": bytes(32), "rightLeaf": b"\x01" * 32}
        yield "Refuted", {**of, "root": wrong, **leaves, "refuter": jury[0]}
    ended = {"outcome": int(Outcome.ACCEPTED), "root": right, "winningSeats": len(honest), "burned": 0}
    yield "Settled", {**of, **ended}
    share = terms.reward // len(honest)
    yield "SeatsReleased", {**of, "word": right, "forfeited": 0, "paid": share, "workers": tuple(honest)}
    if is_disputed:
        yield "SeatsReleased", {**of, "word": wrong, "forfeited": ETHER, "paid": 0, "workers": (jury[2],)}
        yield "BountyReleased", {**of, "root": wrong, "refuter": jury[0], "amount": ETHER // 2}


def address(number: int) -> str:
    from eth_utils.address import to_checksum_address

    return to_checksum_address(sha256(b"address %d" % number).digest()[:20])


# ---- The viewers ----


class _Server:
    """The server's process."""

    def __init__(self, jobs: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="quorate-bench-")
        code = "import sys; from benchmarks.dashboard import serve; from pathlib import Path; "
        call = f"serve(Path({self._folder.name!r}), {jobs})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code + call], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> _Server:
        self.url = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._folder.cleanup()

    def fill(self, jobs: int) -> int:
        """MiB that it holds with so many jobs."""
        assert self._process.stdin is not None
        print(jobs, file=self._process.stdin, flush=True)
        return int(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass
class _Seen:
    """What all viewers saw: seconds of each load of the page and each answer of the API; updates; sockets refused."""

    pages: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    updates: int = 0
    refused: int = 0

    def update(self, _: object) -> None:
        """One came."""
        self.updates += 1


async def _view(url: str) -> _Seen:
    seen = _Seen()
    await asyncio.gather(*(_viewer(url, number, seen) for number in range(VIEWERS)))
    return seen


async def _viewer(url: str, number: int, seen: _Seen) -> None:
    import httpx

    await asyncio.sleep(STAY * number / VIEWERS)
    transport = httpx.AsyncHTTPTransport(local_address=f"127.0.1.{number + 1}")
    async with httpx.AsyncClient(base_url=url, transport=transport, timeout=60) as client:
        for _ in range(VISITS):
            async with _opened(client, url, seen):
                leave = time.monotonic() + STAY
                while time.monotonic() < leave:
                    await _get(client, "/api/v1/overview", seen.answers)
                    await asyncio.sleep(PAUSE)


@asynccontextmanager
async def _opened(client: Any, url: str, seen: _Seen) -> AsyncIterator[None]:
    """The page with its socket. Where the socket is refused, the page is loaded anew, as browsers do."""
    from socketio.exceptions import ConnectionError as SocketRefused

    async with AsyncExitStack() as opened:
        while True:
            page = await _get(client, "/", seen.pages)
            try:
                await opened.enter_async_context(_socket(url, page, seen))
            except SocketRefused:
                seen.refused += 1
            else:
                break
        yield


async def _get(client: Any, path: str, seconds: list[float]) -> str:
    before = time.perf_counter()
    answer = await client.get(path)
    seconds.append(time.perf_counter() - before)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


@asynccontextmanager
async def _socket(url: str, page: str, seen: _Seen) -> AsyncIterator[None]:
    """The page's socket, as NiceGUI's script opens it."""
    import socketio

    (client_id,) = re.findall(r"[\"']client_id[\"']: *[\"']([0-9a-f-]{36})", page)
    query = {"client_id": client_id, "tab_id": client_id, "document_id": client_id, "next_message_id": 0}
    opened: Any = socketio.AsyncClient()  # type: ignore[no-untyped-call]
    opened.on("update", seen.update)
    asked = urlencode({**query, "implicit_handshake": "true"})
    await opened.connect(f"{url}?{asked}", socketio_path="/_nicegui_ws/socket.io", transports=["websocket"])
    try:
        yield
    finally:
        await opened.disconnect()
