"""Plays the oracle at random and checks it after every call.

What holds after each call, whoever made it:
- accounted = balance: stake + unbonding + escrowed rewards + held bonds + owed to refuters + credits is what the oracle
  holds, to the wei; what is burned is at the zero address; every account touched says what the books say;
- a move that the rules allow succeeds and one that they forbid reverts (the rules being those of tests.contracts.books and
  contracts.job, not the contracts' own);
- nobody is paid twice, and what is paid is what the books say is owed (tests.contracts.books);
- a job's phase is the one that its facts imply, and never goes back;
- no honest seat of a guarded job is forfeited: one that committed to the true root and revealed, while somebody who has the
  data answered demands and refuted wrong roots in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from eth_utils import keccak

from contracts.errors import Reverted
from contracts.job import Job, JobState, Outcome, Phase, Terms, reveal_end
from contracts.stake import bonded_before, seed_of
from tests.contracts.chain import NOBODY, Event, Halted, checksummed, party
from tests.contracts.world import World
from tests.invariants import calldata
from tests.invariants.job_model import JobModel

WORKERS = tuple(party(f"worker {number}") for number in range(6))
REQUESTERS = tuple(party(f"requester {number}") for number in range(2))
CHALLENGERS = tuple(party(f"challenger {number}") for number in range(2))
EVERYBODY = WORKERS + REQUESTERS + CHALLENGERS
MOST_JOBS = 4


@dataclass(frozen=True, slots=True)
class Move:
    """One call. `legal` says whether the rules allow it now."""

    name: str
    sender: str
    data: bytes
    value: int = 0
    legal: bool = True


class Driver:
    """A world and all that its players know. `code` replaces contracts' bytecode by name."""

    def __init__(self, code: Mapping[str, str] | None = None, counts: Counter[str] | None = None) -> None:
        self.world = World(code)
        self.chain = self.world.chain
        self.books = self.world.books
        self.address = self.world.oracle.address
        self.jobs: dict[bytes, JobModel] = {}
        self.nonce = 0
        self.histories: dict[str, list[tuple[int, int]]] = {someone: [] for someone in (*EVERYBODY, "total")}
        self.ready_at: dict[str, int] = {}
        self.counts: Counter[str] = Counter() if counts is None else counts

    # One call

    def play(self, move: Move) -> bool:
        """Make the call and check everything; whether it succeeded. AssertionError where a rule is broken."""
        try:
            self.chain.call(move.sender, self.address, move.data, move.value)
        except (Reverted, Halted) as refusal:
            self.counts[f"{move.name} refused"] += 1
            assert not move.legal, f"{move.name} was refused though the rules allow it: {refusal}"
            self._check_money()
            return False
        self.counts[move.name] += 1
        assert move.legal, f"{move.name} succeeded though the rules forbid it"
        events = self.world.oracle.decode_logs()
        self.books.apply(events, move.value)
        for event in events:
            self._learn(event)
        self._check_money()
        return True

    def _check_money(self) -> None:
        books, chain = self.books, self.chain
        assert chain.balance(self.address) == books.accounted, "the oracle does not hold what it owes"
        assert chain.balance(NOBODY) == books.burned, "burned wei did not leave"
        for someone in books.touched:
            account = self._read("accountOf", calldata.address_word(someone))
            bonded, locked, _, unbonding, ready_at = (int.from_bytes(account[at : at + 32]) for at in range(0, 160, 32))
            assert (bonded, locked) == (books.bonded[someone], books.locked(someone)), f"{someone}'s stake"
            assert unbonding == books.unbonding[someone] and (not unbonding or ready_at == self.ready_at[someone])
            assert int.from_bytes(self._read("creditOf", calldata.address_word(someone))) == books.credits[someone]
        if books.touched:
            assert int.from_bytes(self._read("totalStake")) == books.total_stake
            books.touched.clear()

    def _read(self, name: str, *words: bytes) -> bytes:
        return self.chain.call(party("reader"), self.address, calldata.plain(name, *words), static=True)

    # What the players learn from events

    def _learn(self, event: Event) -> None:
        args, now = event.args, self.chain.time
        if event.name == "StakeUnbonded":
            self.ready_at[args["worker"]] = now + self.world.bounds.unbonding_period
        elif event.name == "Drawn":
            seed = seed_of(keccak(calldata.word(self.jobs[args["jobId"]].state.created_block + 2)), args["jobId"])
            assert args["seed"] == seed
            self._note(args["jobId"], drawn_at=now, seed=seed)
        elif event.name == "Committed":
            job = self.jobs[args["jobId"]]
            if job.book.granted == job.terms.seats:
                self._note(job.id, commit_ended_at=now)
            self._note(job.id, granted_seats=job.book.granted)
        elif event.name == "Revealed":
            job = self.jobs[args["jobId"]]
            if job.book.revealed.keys() == job.book.seats.keys():
                self._note(job.id, reveal_ended_at=now)
        elif event.name == "Demanded":
            job = self.jobs[args["jobId"]]
            job.answer_by[args["root"], args["level"], args["index"]] = now + job.terms.response_window
            self._note(job.id, demanded_levels=max(job.state.demanded_levels, args["level"] + 1))
        elif event.name == "Settled":
            self._note(args["jobId"], outcome=Outcome(args["outcome"]))
            self._count_outcome(self.jobs[args["jobId"]])
        elif event.name == "SeatReleased":
            job = self.jobs[args["jobId"]]
            honest = job.plans[args["worker"]].root == job.truth.root and args["worker"] in job.book.revealed
            if job.guarded and honest:
                assert not args["forfeited"], "an honest seat was forfeited"
                self.counts["honest seats kept beside a lie" if len(job.book.roots) > 1 else "honest seats kept"] += 1
        if event.name in ("StakeDeposited", "StakeUnbonded", "Settled", "SeatReleased"):
            self._keep_history(args.get("worker"))

    def _note(self, job_id: bytes, **facts: object) -> None:
        job = self.jobs[job_id]
        job.state = replace(job.state, **facts)  # type: ignore[arg-type]

    def _count_outcome(self, job: JobModel) -> None:
        outcome = job.state.outcome
        how = outcome.name
        if outcome == Outcome.EXPIRED:
            how += " undrawn" if not job.state.drawn_at else " with too few seats"
        elif any(tally.refuter for tally in job.book.roots.values()):
            how += " after a refutation"
        elif any(tally.open_demands for tally in job.book.roots.values()):
            how += " after a silence"
        self.counts[f"outcome {how}"] += 1

    def _keep_history(self, worker: str | None) -> None:
        for someone, bonded in (
            (worker, self.books.bonded[worker] if worker else 0),
            ("total", self.books.total_stake),
        ):
            if someone:
                history = self.histories[someone]
                if history and history[-1][0] == self.chain.number:
                    history.pop()
                history.append((self.chain.number, bonded))

    # Jobs

    def created(self, requester: str, nonce: int, terms: Terms, guarded: bool) -> JobModel:
        """What everybody knows of a job that was just created."""
        job = Job(checksummed(bytes.fromhex(requester[2:])), nonce, terms)
        job_id = job.id(1, checksummed(bytes.fromhex(self.address[2:])))
        staked = bonded_before(self.histories["total"], self.chain.number)
        state = JobState(created_at=self.chain.time, created_block=self.chain.number, total_stake=staked)
        made = JobModel(job, job_id, self.books.jobs[job_id], state, guarded, list(self.histories["total"]))
        self.jobs[job_id] = made
        return made

    def tickets_of(self, job: JobModel, worker: str) -> int:
        """How many tickets the worker's stake before the creation was."""
        return bonded_before(self.histories[worker], job.state.created_block) // job.terms.seat_stake

    def free(self, worker: str) -> int:
        return self.books.bonded[worker] - self.books.locked(worker)

    def phase(self, job: JobModel) -> Phase:
        return job.phase(self.chain.time, self.chain.number)

    def challenge_end(self, job: JobModel) -> int:
        """Seconds at which the challenge window itself ends."""
        return reveal_end(job.state, job.terms) + job.terms.challenge_window

    def forget_finished(self) -> None:
        """Jobs from which nothing is left to release need no more watching."""
        for job in list(self.jobs.values()):
            if job.state.outcome != Outcome.OPEN and job.is_released:
                self.counts["jobs finished"] += 1
                del self.jobs[job.id], self.books.jobs[job.id]

    # Time

    def pass_time(self, seconds: int, blocks: int = 1) -> None:
        """Begin a later block. Every job's phase is checked and must not go back."""
        self.chain.roll(seconds, blocks)
        self.check_phases()

    def check_phases(self) -> None:
        for job in self.jobs.values():
            current = self.phase(job)
            answer = self.chain.call(party("reader"), self.address, calldata.plain("phaseOf", job.words), static=True)
            assert int.from_bytes(answer) == current, f"the phase should be {current.name}"
            assert current >= job.last_phase, f"from {job.last_phase.name} back to {current.name}"
            job.last_phase = current

    @property
    def is_guard_needed(self) -> bool:
        """Whether some guarded job has a window open in which somebody honest must act."""
        return any(
            job.guarded and Phase.COMMITTING <= self.phase(job) <= Phase.CHALLENGING for job in self.jobs.values()
        )
