"""The oracle's books, kept a second time: from its events alone, by the rules of docs/protocol.md and none of its code.

Every call's events go through `Books.apply`, which judges by itself who won, who forfeits and who is owed what, and objects
where the oracle decided otherwise or paid anything twice. `Books.accounted` is then what the oracle must hold, to the wei.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from contracts.job import Outcome, Terms
from contracts.merkle import depth_of, last_level
from tests.contracts.chain import Event


@dataclass(slots=True)
class RootBook:
    """A revealed root, as the events tell of it."""

    seats: int = 0
    refuter: str = ""
    open_demands: int = 0

    @property
    def stands(self) -> bool:
        """Neither refuted nor with an unanswered demand."""
        return not self.refuter and not self.open_demands


@dataclass(slots=True)
class DemandBook:
    """A demand and its bond, in wei."""

    demander: str
    bond: int
    answerer: str = ""
    released: bool = False


@dataclass(slots=True)
class JobBook:
    """A job, as the events tell of it."""

    requester: str
    terms: Terms
    drawn: bool = False
    seats: dict[str, int] = field(default_factory=dict)
    revealed: dict[str, bytes] = field(default_factory=dict)
    roots: dict[bytes, RootBook] = field(default_factory=dict)
    demands: dict[tuple[bytes, int, int], DemandBook] = field(default_factory=dict)
    outcome: Outcome = Outcome.OPEN
    root: bytes = bytes(32)
    released: set[str] = field(default_factory=set)
    bounties: set[bytes] = field(default_factory=set)

    @property
    def granted(self) -> int:
        return sum(self.seats.values())

    def judge(self) -> tuple[Outcome, bytes | None]:
        """The outcome if it settled now, and the root that wins."""
        quorum = self.terms.quorum
        if not self.drawn or self.granted < quorum:
            return Outcome.EXPIRED, None
        standing = {root: book.seats for root, book in self.roots.items() if book.stands}
        for root, seats in standing.items():
            if seats >= quorum:
                return Outcome.ACCEPTED, root
        refuted = sum(book.seats for book in self.roots.values() if book.refuter)
        if len(standing) == 1:
            ((root, seats),) = standing.items()
            if seats + refuted >= quorum:
                return Outcome.ACCEPTED, root
        return Outcome.HUNG, None

    def keeps_stake(self, worker: str) -> bool:
        """Whether the settled job leaves this worker its seats' stake."""
        root = self.revealed.get(worker)
        if self.outcome == Outcome.EXPIRED:
            return True
        if self.outcome == Outcome.ACCEPTED:
            return root == self.root
        return root is not None and self.roots[root].stands

    def bounty(self, root: bytes) -> int:
        """Wei that the refuter of `root` is owed."""
        return self.roots[root].seats * (self.terms.seat_stake // 2)


class Books:
    """All amounts are wei."""

    def __init__(self) -> None:
        self.bonded: defaultdict[str, int] = defaultdict(int)
        self.unbonding: defaultdict[str, int] = defaultdict(int)
        self.credits: defaultdict[str, int] = defaultdict(int)
        self.jobs: dict[bytes, JobBook] = {}
        self.total_stake = 0
        self.total_unbonding = 0
        self.total_credits = 0
        self.escrowed = 0
        self.bonds = 0
        self.owed_to_refuters = 0
        self.burned = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.touched: set[str] = set()

    @property
    def accounted(self) -> int:
        """What the oracle must hold."""
        held = self.total_stake + self.total_unbonding + self.escrowed + self.bonds
        return held + self.owed_to_refuters + self.total_credits

    def apply(self, events: Iterable[Event], value: int = 0) -> None:
        """Enter one call's events; `value` is the wei that came with it. AssertionError if they break a rule."""
        for event in events:
            getattr(self, "_" + event.name, _ignore)(event.args, value)

    def locked(self, worker: str) -> int:
        """Wei held by the worker's seats in unreleased jobs."""
        return sum(
            job.seats[worker] * job.terms.seat_stake
            for job in self.jobs.values()
            if worker in job.seats and worker not in job.released
        )

    def _credit(self, payee: str, amount: int) -> None:
        self.credits[payee] += amount
        self.total_credits += amount
        self.touched.add(payee)

    # Event by event (the names are the events')

    def _StakeDeposited(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        assert value == args["amount"]
        self.bonded[args["worker"]] += value
        self.total_stake += value
        self.touched.add(args["worker"])

    def _StakeUnbonded(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        worker, amount = args["worker"], args["amount"]
        self.bonded[worker] -= amount
        self.unbonding[worker] += amount
        self.total_stake -= amount
        self.total_unbonding += amount
        self.touched.add(worker)

    def _Withdrawn(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        payee, amount = args["payee"], args["amount"]
        credit, unbonding = self.credits[payee], self.unbonding[payee]
        assert amount in (credit, credit + unbonding), "withdrew something that was not owed"
        self.total_credits -= credit
        self.credits[payee] = 0
        self.total_unbonding -= amount - credit
        self.unbonding[payee] -= amount - credit
        self.touched.add(payee)

    def _JobCreated(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        terms = Terms.of_tuple(args["terms"])
        assert args["jobId"] not in self.jobs and value == terms.reward
        self.jobs[args["jobId"]] = JobBook(args["requester"], terms)
        self.escrowed += value

    def _Drawn(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        job = self.jobs[args["jobId"]]
        assert not job.drawn, "drawn twice"
        job.drawn = True

    def _Committed(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        job, worker = self.jobs[args["jobId"]], args["worker"]
        assert args["seats"] > job.seats.get(worker, 0), "no seat was added"
        job.seats[worker] = args["seats"]
        assert job.granted <= job.terms.seats, "more seats than the job has"
        assert self.locked(worker) <= self.bonded[worker], "a seat without stake"
        self.touched.add(worker)

    def _Revealed(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        job, worker, root = self.jobs[args["jobId"]], args["worker"], args["root"]
        assert worker not in job.revealed and args["seats"] == job.seats[worker]
        job.revealed[worker] = root
        job.roots.setdefault(root, RootBook()).seats += job.seats[worker]

    def _Refuted(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        job, root = self.jobs[args["jobId"]], args["root"]
        assert not job.roots[root].refuter and args["leaf"] != args["rightLeaf"]
        job.roots[root].refuter = args["refuter"]

    def _Demanded(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        job, node = self.jobs[args["jobId"]], (args["root"], args["level"], args["index"])
        assert node not in job.demands, "demanded twice"
        job.demands[node] = DemandBook(args["demander"], args["bond"])
        job.roots[args["root"]].open_demands += 1
        self.bonds += args["bond"]
        self._credit(args["demander"], value - args["bond"])

    def _Answered(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        self._close(args, args["level"])

    def _LeafAnswered(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        self._close(args, last_level(depth_of(self.jobs[args["jobId"]].terms.item_count)))

    def _close(self, args: dict[str, Any], level: int) -> None:
        job = self.jobs[args["jobId"]]
        demand = job.demands[args["root"], level, args["index"]]
        assert not demand.answerer, "answered twice"
        demand.answerer = args["answerer"]
        job.roots[args["root"]].open_demands -= 1

    def _Settled(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        job = self.jobs[args["jobId"]]
        assert job.outcome == Outcome.OPEN, "settled twice"
        job.outcome, winner = job.judge()
        job.root = winner or bytes(32)
        assert (args["outcome"], args["root"]) == (job.outcome, job.root), f"should be {job.outcome.name}"
        winning = job.roots[winner].seats if winner else 0
        assert args["winningSeats"] == winning
        lost = sum(seats for worker, seats in job.seats.items() if not job.keeps_stake(worker)) * job.terms.seat_stake
        bounties = sum(job.bounty(root) for root, book in job.roots.items() if book.refuter)
        assert args["burned"] == lost - bounties, f"burned {args['burned']}, should be {lost - bounties}"
        remainder = job.terms.reward % winning if winning else job.terms.reward
        self.total_stake -= lost
        self.owed_to_refuters += bounties
        self.burned += args["burned"]
        self.escrowed -= remainder
        self._credit(job.requester, remainder)
        self.outcomes[job.outcome] += 1

    def _SeatReleased(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        job, worker = self.jobs[args["jobId"]], args["worker"]
        assert worker not in job.released, "released twice"
        job.released.add(worker)
        keeps, seats = job.keeps_stake(worker), job.seats[worker]
        wins = keeps and job.outcome == Outcome.ACCEPTED
        share = job.terms.reward // job.roots[job.root].seats if wins else 0
        expected = (0 if keeps else seats * job.terms.seat_stake, seats * share)
        assert (args["forfeited"], args["paid"]) == expected, f"{worker} should forfeit and be paid {expected}"
        self.bonded[worker] -= args["forfeited"]
        self.escrowed -= args["paid"]
        self._credit(worker, args["paid"])

    def _BountyReleased(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        job, root, amount = self.jobs[args["jobId"]], args["root"], args["amount"]
        assert root not in job.bounties, "a bounty paid twice"
        job.bounties.add(root)
        assert (args["refuter"], amount) == (job.roots[root].refuter, job.bounty(root))
        self.owed_to_refuters -= amount
        self._credit(args["refuter"], amount)

    def _BondReleased(self, args: dict[str, Any], value: int) -> None:  # noqa: N802
        job = self.jobs[args["jobId"]]
        demand = job.demands[args["root"], args["level"], args["index"]]
        assert not demand.released, "a bond paid twice"
        demand.released = True
        root = job.roots[args["root"]]
        expected = (demand.demander, demand.bond)
        if not root.refuter:
            share = demand.bond // max(root.open_demands, 1)
            expected = (demand.answerer, demand.bond) if demand.answerer else (demand.demander, share)
        assert (args["payee"], args["amount"]) == expected, f"the bond should go to {expected}"
        self.bonds -= demand.bond
        self.burned += demand.bond - args["amount"]
        self._credit(args["payee"], args["amount"])


def _ignore(args: dict[str, Any], value: int) -> None:
    """An event without money."""
