"""One random job as the players see it: what was promised, what happened, where it therefore stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from contracts import merkle, stake
from contracts.job import HASH_WINDOW, SEED_DELAY, Job, JobState, Phase, phase
from contracts.stake import odds_factor
from tests.contracts.books import JobBook
from tests.contracts.world import MODEL, Claim, DataSet
from tests.invariants.calldata import NodeName, job_words


@cache
def data_of(item_count: int) -> DataSet:
    return DataSet(item_count)


@cache
def truth_of(item_count: int) -> Claim:
    return Claim([MODEL.run(row) for row in data_of(item_count).rows])


@cache
def lie_of(item_count: int, index: int) -> Claim:
    return truth_of(item_count).lie(index)


@dataclass(frozen=True)
class Plan:
    """What a worker sealed. `claim` is None for a root that is no tree's."""

    root: bytes
    salt: bytes
    commitment: bytes
    claim: Claim | None
    wrong: int | None
    """The wrong index of a lie."""
    shows_up: bool


@dataclass
class JobModel:
    """Facts only; the phase is derived."""

    job: Job
    id: bytes
    book: JobBook
    state: JobState
    guarded: bool
    """Somebody honest has the data and acts in time: no honest seat may be lost."""
    totals: list[tuple[int, int]]
    plans: dict[str, Plan] = field(default_factory=dict)
    answer_by: dict[NodeName, int] = field(default_factory=dict)
    published: set[bytes] = field(default_factory=set)
    """Wrong roots whose results the liars published."""
    last_phase: Phase = Phase.DRAWING
    _winners: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.words = job_words(self.job)
        self.terms = self.job.terms
        self.data = data_of(self.terms.item_count)
        self.truth = truth_of(self.terms.item_count)
        self.depth = self.data.depth
        self.last_level = merkle.last_level(self.depth)

    def phase(self, now: int, number: int) -> Phase:
        return phase(self.state, self.terms, now, number)

    def is_drawable(self, number: int) -> bool:
        seed_block = self.state.created_block + SEED_DELAY
        return self.state.drawn_at == 0 and seed_block < number <= seed_block + HASH_WINDOW

    def winners(self, worker: str, owned: int, now: int) -> list[int]:
        """The worker's winning tickets at this second of the commit window."""
        window = self.terms.commit_window
        factor = odds_factor(window, self.state.drawn_at + window - now)
        if (worker, factor) not in self._winners:
            expected = factor * self.terms.seats * self.terms.seat_stake
            won = stake.winning_tickets(self.state.seed, worker, owned, expected, self.state.total_stake)  # type: ignore[arg-type]
            self._winners[worker, factor] = list(won)
        return self._winners[worker, factor]

    def claim_of(self, root: bytes) -> Claim | None:
        """The tree behind a revealed root."""
        return next(plan.claim for plan in self.plans.values() if plan.root == root)

    def wrong_index(self, root: bytes) -> int | None:
        return next(plan.wrong for plan in self.plans.values() if plan.root == root)

    def open_demands(self) -> Iterator[NodeName]:
        """Demands that nobody answered, on roots that nobody refuted."""
        for node, demand in self.book.demands.items():
            if not demand.answerer and not self.book.roots[node[0]].refuter:
                yield node

    def parent(self, node: NodeName) -> NodeName:
        root, level, index = node
        step = merkle.level_depth(level, self.depth) - merkle.level_depth(level - 1, self.depth)
        return (root, level - 1, index >> step)

    def is_demandable(self, node: NodeName, end: int, now: int) -> bool:
        """`end` is that of the challenge window itself."""
        root, level, _ = node
        if node in self.book.demands or self.book.roots[root].refuter:
            return False
        if now >= end + 2 * level * self.terms.response_window:
            return False
        return level == 0 or bool((made := self.book.demands.get(self.parent(node))) and made.answerer)

    def path(self, root: bytes, index: int) -> Iterator[NodeName]:
        """The nodes from the top down to a leaf."""
        for level in range(self.last_level + 1):
            yield (root, level, index >> (self.depth - merkle.level_depth(level, self.depth)))

    def width(self, level: int) -> int:
        return self.terms.item_count if level == self.last_level else merkle.level_width(level, self.depth)

    @property
    def is_released(self) -> bool:
        """Whether settlement left nothing to release."""
        book = self.book
        refuted = {root for root, tally in book.roots.items() if tally.refuter}
        bonds = all(demand.released for demand in book.demands.values())
        return book.released == book.seats.keys() and book.bounties == refuted and bonds
