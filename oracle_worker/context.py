"""What a role's duties work with. Compute has no key, so nothing in it can send; the signer has no models or data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress

from contracts.deployment import Contracts
from contracts.job import Job
from contracts.token_jobs import TokenJobs
from contracts.transactor import Transactor
from oracle_worker.chain_view import ChainView
from oracle_worker.chunks import ChunkPlan, plan
from oracle_worker.collection import Collection
from oracle_worker.data import DataStore
from oracle_worker.fetching import Fetching
from oracle_worker.inference import Inference, ResultStore
from oracle_worker.messages import Seal
from oracle_worker.model_store import ModelStore
from oracle_worker.monitoring import SignerMetrics
from oracle_worker.pace import Pace
from oracle_worker.relay import Relay
from oracle_worker.settings import WorkerSettings
from oracle_worker.tries import TryLog


@dataclass(frozen=True)
class Context:
    """Shared by both roles."""

    settings: WorkerSettings
    contracts: Contracts
    view: ChainView
    seal: Seal

    @cached_property
    def tokens(self) -> TokenJobs | None:
        """The contract whose jobs pay tokens, if the operator works for such."""
        named = self.settings.token_jobs
        return None if named is None else TokenJobs(self.contracts.endpoint, named)

    def plan(self, job: Job) -> ChunkPlan:
        """How this operator cuts the job."""
        return plan(job.terms.item_count, self.settings.chunk_depth)


@dataclass(frozen=True)
class ComputeContext(Context):
    """Runs models. `worker` is whose seats the results are for, if known."""

    models: ModelStore
    data: DataStore
    results: ResultStore
    inference: Inference
    worker: ChecksumAddress | None = None
    speeds: dict[bytes, float] = field(default_factory=dict)
    """Rows a second by model id, measured once in each process."""
    fetching: Fetching = field(default_factory=Fetching)
    """What this process fetches now."""


@dataclass(frozen=True)
class SignerContext(Context):
    """Holds the key. `secret` is what its salts are derived from; `relay` is None where everything is sent from here."""

    transactor: Transactor
    account: LocalAccount = field(repr=False)
    secret: bytes = field(repr=False)
    collection: Collection
    tries: TryLog
    relay: Relay | None = None
    metrics: SignerMetrics = field(default_factory=SignerMetrics)
    pace: Pace = field(default_factory=Pace)
    lane_jobs: dict[int, bytes] = field(default_factory=dict)
    """The last job of each lane that was ever used; empty until it is asked for."""
    undelivered: set[bytes] = field(default_factory=set)
    """Jobs whose consumer took gas and failed, as this process saw it: not told again, since each time costs as much."""

    @property
    def worker(self) -> ChecksumAddress:
        """The worker's address."""
        return self.transactor.sender
