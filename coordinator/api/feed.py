"""What happens, as it happens, to any number of readers: each has a place in the chain's events, and nothing is queued.

A reader that is slow falls behind and reads on from its place; one that was away comes back with the last id it saw.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from anyio import to_thread
from pydantic import TypeAdapter

from coordinator.explorer.explorer import Explorer
from coordinator.explorer.read_model import ChainStanding, RecordedEvent

PERIOD = 0.25
"""Seconds between looks at whether anything changed."""
QUIET_SECONDS = 15.0
"""After so long a silence a comment is sent, so that neither side nor anything between gives up."""
AT_ONCE = 200
"""Events read at a time."""
MOST_READERS = 256
MOST_PER_CLIENT = 32


class Kind(StrEnum):
    """What a message is about; the `event` field of the stream."""

    RECORDED = "recorded"
    """An event of the oracle."""
    BLOCK = "block"
    """The head or the confirmed block moved on."""
    REORGANISED = "reorganised"
    """What was told of blocks after `back_to` never happened; without it, read everything anew."""


@dataclass(frozen=True, slots=True)
class Reorganised:
    """How far the chain went back."""

    back_to: int | None
    standing: ChainStanding


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    kind: Kind
    data: RecordedEvent | ChainStanding | Reorganised
    id: str
    """Where the reader stands after it: a block moves nobody."""

    def encode(self) -> bytes:
        """As the stream has it."""
        data = _ADAPTERS[self.kind].dump_json(self.data).decode()  # JSON has no line breaks
        return f"id: {self.id}\nevent: {self.kind}\ndata: {data}\n\n".encode()


_ADAPTERS: dict[Kind, TypeAdapter[Any]] = {
    Kind.RECORDED: TypeAdapter(RecordedEvent),
    Kind.BLOCK: TypeAdapter(ChainStanding),
    Kind.REORGANISED: TypeAdapter(Reorganised),
}


class TooManyReaders(Exception):
    """No further reader is let in; the text says why."""


class Feed:
    """The stream of one explorer. Belongs to one event loop."""

    def __init__(
        self, explorer: Explorer, *, most_readers: int = MOST_READERS, most_per_client: int = MOST_PER_CLIENT
    ) -> None:
        self._explorer = explorer
        self._most_readers = most_readers
        self._most_per_client = most_per_client
        self._readers: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._is_closed = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look for changes, and tell the readers, within."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            self.close()

    def close(self) -> None:
        """Let every reader come to its end."""
        self._is_closed = True
        self._wake()

    @contextmanager
    def reader(self, client: str) -> Iterator[None]:
        """Count a reader in. Raises TooManyReaders where it would be one too many."""
        if self._readers.total() >= self._most_readers:
            raise TooManyReaders(f"{self._most_readers} readers follow the stream already: try again later")
        if self._readers[client] >= self._most_per_client:
            raise TooManyReaders(f"{self._most_per_client} readers of your address follow it already: close one")
        self._readers[client] += 1
        try:
            yield
        finally:
            self._readers[client] -= 1
            self._readers += Counter()  # forget whoever has none left

    async def messages(self, last_id: str | None = None) -> AsyncIterator[Message | None]:
        """What happens from now on, or after the event of that id; None after every silence. Raises BadPlace."""
        place, revision, shown = last_id, 0, None
        while not self._is_closed:
            changed = self._changed
            found, standing = await to_thread.run_sync(self._explorer.follow, place, revision, AT_ONCE)
            if found.is_reorganised:
                yield Message(Kind.REORGANISED, Reorganised(found.back_to, standing), found.since)
            for event in found.events:
                yield Message(Kind.RECORDED, event, event.id)
            place, revision = found.place, found.revision
            if len(found.events) == AT_ONCE:
                continue
            if standing != shown:
                shown = standing
                yield Message(Kind.BLOCK, standing, place)
            try:
                await asyncio.wait_for(changed.wait(), QUIET_SECONDS)
            except TimeoutError:
                yield None

    async def _watch(self) -> None:
        seen = None
        while True:
            state = self._explorer.state
            if state != seen:
                seen = state
                self._wake()
            await asyncio.sleep(PERIOD)

    def _wake(self) -> None:
        before, self._changed = self._changed, asyncio.Event()
        before.set()
