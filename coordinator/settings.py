"""A coordinator's settings, from keyword arguments, environment variables that begin with QUORATE_, or a TOML file.

Keys that a worker has too (QUORATE_RPC_URL, QUORATE_BROKER_URL, QUORATE_CHUNK_DEPTH …) mean the same to both: one
operator's processes are given the same environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, InstanceOf

from coordinator.database import PostgresUrl, place
from coordinator.scheduler import Rules
from coordinator.watcher import RECHECK_SECONDS
from oracle_worker.chunks import MOST_CHUNKS
from oracle_worker.settings import OperatorSettings, load_as


class CoordinatorSettings(OperatorSettings):
    """What one coordinator needs to know. Times in seconds."""

    poll_seconds: float = Field(default=1.0, gt=0, le=3600)
    """How long to wait before asking whether there is a new block."""
    recheck_seconds: float = Field(default=RECHECK_SECONDS, gt=0, le=3600)
    """How often the events of the recent past are read anew, for those that a node left out."""

    # the projection
    database: Annotated[Path | InstanceOf[PostgresUrl], BeforeValidator(place)] = Path("coordinator.sqlite")
    """A file of SQLite, or postgresql://user@host/database."""

    # what is done when
    retry_seconds: float = Field(default=30.0, gt=0, le=3600)
    """After this long an action that is still due is dispatched again, then after twice as long, and so on."""
    turn_seconds: int = Field(default=12, ge=1, le=600)
    """How long to leave what several operators may do to the one whose turn it is: about a block."""
    examine_unseated: bool = True
    """Whether to check the roots of jobs in which the worker has no seat."""

    @property
    def rules(self) -> Rules:
        """The scheduler's part."""
        return Rules(
            turn_seconds=self.turn_seconds,
            examine_unseated=self.examine_unseated,
            relayed=bool(self.relay_url),
            deliver=self.deliver,
            most_items=min(self.most_items, MOST_CHUNKS << self.chunk_depth),
        )


def load(**given: Any) -> CoordinatorSettings:
    """Settings, as oracle_worker.settings.load. Raises BadSettings, which names keys and shows no values."""
    return load_as(CoordinatorSettings, given)
