"""An explorer over a toy chain's store, and its API asked without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, cast

import httpx
from fastapi import FastAPI

from contracts.deployment import Contracts
from contracts.errors import Reverted
from coordinator.api.app import create_app
from coordinator.api.guard import RateLimit
from coordinator.clock import Clock
from coordinator.daemon import Health
from coordinator.database import Place
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.witness import Witness
from coordinator.job_store import JobStore
from oracle_worker import settings
from tests.coordinator.lives import Lives
from tests.coordinator.toy_chain import SOURCE, ToyChain


class _NoRegistry:
    """A chain on which no model is registered."""

    def model(self, model_id: bytes) -> Any:
        raise Reverted(f"no model {model_id.hex()}")


class _NoContracts:
    registry = _NoRegistry()


@dataclass
class Scene:
    """The store of a toy chain, and what is shown of it."""

    chain: ToyChain
    store: JobStore
    explorer: Explorer

    def fill(self) -> None:
        """Record what the chain has beyond the store's cursor."""
        cursor = self.store.cursor()
        blocks = [block for block in self.chain.blocks if cursor is None or block.number > cursor.number]
        numbers = {block.number for block in blocks}
        self.store.record(blocks, [event for event in self.chain.events if event.block in numbers])

    def app(self, **more: Any) -> FastAPI:
        """The API; asks without a limit unless one is given."""
        healthy = Health(started_at=1.0, last_success_at=2.0**40)
        return create_app(self.explorer, lambda: healthy, **{"limit": RateLimit(1e6, 1e6), **more})


@contextmanager
def scene(folder: Path, chain: ToyChain, where: Place | None = None) -> Iterator[Scene]:
    with JobStore(where or folder / "scene.sqlite", SOURCE) as store:
        witness = Witness(cast(Contracts, _NoContracts()), settings.load(), folder / "recomputed")
        made = Scene(chain, store, Explorer(lambda: store, lambda: clock_of(chain), SOURCE, witness))
        made.fill()
        yield made


def clock_of(chain: ToyChain) -> Clock:
    return chain.clock(0)


@cache
def lived(seed: int) -> Lives:
    """A job's life, played to its end or nearly; not to be changed."""
    return live(seed)


def live(seed: int, **more: Any) -> Lives:
    """As `lived`, for whoever goes on with it."""
    lives = Lives(Random(seed), **more)
    lives.play(troubled_blocks=30, quiet_blocks=700)
    return lives


def ask(app: FastAPI, path: str, method: str = "GET", *, client: str = "127.0.0.1", **headers: str) -> httpx.Response:
    """One request to the app, from that address."""

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 1), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as session:
            return await session.request(method, path, headers=headers)

    return asyncio.run(request())
