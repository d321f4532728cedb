"""What the players of one random job are up to: who votes for what, and what they know that the chain does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from eth_typing import ChecksumAddress

from contracts import merkle, stake
from contracts.compute_oracle import Opening
from contracts.gold import GoldTree
from contracts.job import Job, Phase, Terms
from contracts.specification.state import JobRecord, NodeKey
from contracts.stake import odds_factor
from tests.contracts.world import Claim, DataSet
from tests.invariants.arena import Model


@dataclass(frozen=True)
class Plan:
    """What a worker sealed. `claim` is None for a root that is no tree's."""

    root: bytes
    salt: bytes
    commitment: bytes
    lane: int
    claim: Claim | None
    wrong: int | None
    """The wrong index of a lie."""
    shows_up: bool


@dataclass
class Scheme:
    """One job, as its players see it."""

    job: Job
    id: bytes
    model: Model
    data: DataSet
    truth: Claim
    is_malformed: bool
    """Some row is not of the model's length."""
    gold: GoldTree | None
    is_gold_right: bool
    is_dry: bool
    """The data is nowhere to be had: hardly anybody has it."""
    guarded: bool
    """Somebody honest has the data and acts in time: no honest seat may be lost, no honest requester's bond."""
    plans: dict[ChecksumAddress, Plan] = field(default_factory=dict)
    published: set[bytes] = field(default_factory=set)
    """Wrong roots whose results the liars published."""
    last_phase: Phase = Phase.DRAWING
    _winners: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    @property
    def terms(self) -> Terms:
        return self.job.terms

    @property
    def depth(self) -> int:
        return self.data.depth

    @property
    def last_level(self) -> int:
        return merkle.last_level(self.depth)

    def winners(self, record: JobRecord, worker: ChecksumAddress, owned: int, now: int) -> list[int]:
        """The worker's winning tickets at this second of the commit window."""
        assert record.drawn_at is not None
        factor = odds_factor(self.terms.commit_window, record.drawn_at + self.terms.commit_window - now)
        if (worker, factor) not in self._winners:
            expected = factor * self.terms.seats * self.terms.seat_stake
            won = stake.winning_tickets(record.seed, worker, owned, expected, record.total_stake)
            self._winners[worker, factor] = list(won)
        return self._winners[worker, factor]

    def claim_of(self, root: bytes) -> Claim | None:
        """The tree behind a root that somebody sealed."""
        if root == self.truth.root:
            return self.truth
        return next((plan.claim for plan in self.plans.values() if plan.root == root), None)

    def wrong_index(self, root: bytes) -> int | None:
        return next((plan.wrong for plan in self.plans.values() if plan.root == root), None)

    def opening(self, worker: ChecksumAddress) -> Opening:
        return Opening(worker, self.plans[worker].lane, self.plans[worker].salt)

    def path(self, root: bytes, index: int) -> Iterator[NodeKey]:
        """The nodes from the top down to a leaf."""
        for level in range(self.last_level + 1):
            yield (root, level, index >> (self.depth - merkle.level_depth(level, self.depth)))

    def width(self, level: int) -> int:
        """How many nodes of the level can be demanded."""
        return self.terms.item_count if level == self.last_level else merkle.level_width(level, self.depth)
