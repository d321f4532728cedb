"""A coordinator's settings, from environment variables that begin with QUORATE_ or from keyword arguments.

Keys that a worker has too (QUORATE_RPC_URL, QUORATE_BROKER_URL, QUORATE_CHUNK_DEPTH …) mean the same to both: one
operator's processes are given the same environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eth_typing import ChecksumAddress
from eth_utils import is_address, to_checksum_address
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from coordinator.scheduler import Rules
from coordinator.watcher import MOST_BLOCKS
from oracle_worker.chunks import CHUNK_DEPTH
from oracle_worker.settings import PREFIX, BadSettings


class CoordinatorSettings(BaseSettings):
    """What one coordinator needs to know. Times in seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    # the chain
    rpc_url: str = "http://127.0.0.1:8545"
    chain_id: int | None = None
    """None: whatever the deployment file says."""
    deployment: Path = Path("deployment.json")
    confirmations: int = Field(default=5, ge=0, le=1000)
    """Blocks on top of the last one that counts as final."""
    log_range: int = Field(default=MOST_BLOCKS, ge=1)
    """Blocks asked for at a time when logs are read; fewer where the node refuses that many."""
    poll_seconds: float = Field(default=1.0, gt=0, le=3600)
    """How long to wait before asking whether there is a new block."""

    # the projection
    database: Path = Path("coordinator.sqlite")

    # the operator; without a worker the coordinator only watches
    worker: ChecksumAddress | None = None
    """The signer's address."""
    broker_url: str = "memory://"
    queue_prefix: str = ""
    """Put before queue names, where several operators share a broker."""
    visibility_timeout: int = Field(default=3600, ge=1)
    """As the workers have it: seconds after which a task of a dead process runs again."""
    chunk_depth: int = Field(default=CHUNK_DEPTH, ge=0, le=24)
    """Rows in a chunk are 2^chunk_depth; the same for all of an operator's processes."""

    # what is done when
    retry_seconds: float = Field(default=30.0, gt=0, le=3600)
    """After this long an action that is still due is dispatched again, then after twice as long, and so on."""
    turn_seconds: int = Field(default=12, ge=1, le=600)
    """How long to leave what several operators may do to the one whose turn it is: about a block."""
    examine_unseated: bool = True
    """Whether to check the roots of jobs in which the worker has no seat."""

    @field_validator("worker", mode="before")
    @classmethod
    def _address(cls, given: object) -> object:
        if given in (None, ""):
            return None
        if not isinstance(given, str) or not is_address(given):
            raise ValueError("this must be an address: 0x and 40 hex digits")
        return to_checksum_address(given)

    @property
    def rules(self) -> Rules:
        """The scheduler's part."""
        return Rules(self.turn_seconds, self.examine_unseated)


def load(**given: Any) -> CoordinatorSettings:
    """Settings from the environment, `given` before it. Raises BadSettings, which names the keys and never shows values."""
    if unknown := sorted(set(given) - set(CoordinatorSettings.model_fields)):
        raise BadSettings(f"there is no setting {', '.join(unknown)}")
    try:
        return CoordinatorSettings(**given)
    except ValidationError as error:
        lines = (f"{PREFIX}{'.'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors())
        raise BadSettings("; ".join(lines)) from None
