"""Operators with schedulers of their own, playing a job's life on a toy chain."""

from __future__ import annotations

from random import Random

from eth_typing import ChecksumAddress

from contracts.commitment import DATA_UNAVAILABLE
from contracts.job import NOBODY, Job, Phase, commit_end
from coordinator.scheduler import Action, ActionKind, Operator, Rules, next_actions
from tests.coordinator.toy_chain import (
    REQUESTER,
    RIGHT,
    SEAT_STAKE,
    WRONG,
    Life,
    Refused,
    ToyChain,
    terms,
    worker_address,
)


class Lives:
    """Operators with schedulers of their own, on one toy chain, over lost messages, absences and reorganisations."""

    def __init__(self, random: Random, *, final_after_confirmations: bool = True) -> None:
        """final_after_confirmations: the chain keeps what is confirmed, so that an early opening can be held against it."""
        self.final_after_confirmations = final_after_confirmations
        self.random = random
        self.confirmations = random.choice([0, 1, 3, 5])
        self.chain = ToyChain()
        self.workers = [worker_address(number) for number in range(random.randint(3, 7))]
        kinds = random.choice(
            [[RIGHT, RIGHT, WRONG], [RIGHT, RIGHT, WRONG], [DATA_UNAVAILABLE, DATA_UNAVAILABLE, WRONG]]
        )
        self.roots = {worker: random.choice(kinds) for worker in self.workers}
        self.executes_whole = random.random() < 0.3
        self.absent = {worker for worker in self.workers if random.random() < 0.2}
        self.slow = {worker for worker in self.workers if random.random() < 0.4}
        self.idle = {worker for worker in self.workers if random.random() < 0.3}
        self.chain.bonded = {worker: random.randint(1, 4) * SEAT_STAKE for worker in self.workers}
        deposits = [("StakeDeposited", {"worker": w, "amount": wei}) for w, wei in self.chain.bonded.items()]
        self.chain.mine(1, deposits)
        for _ in range(8):
            self.chain.mine(1)
        # as many seats as there are tickets, often: then the clock closes the commit phase, not the last seat
        tickets = sum(self.chain.bonded.values()) // SEAT_STAKE
        seats = random.choice([3, tickets, tickets])
        consumer = random.choice([NOBODY, REQUESTER])
        self.life = Life(self.chain, Job(REQUESTER, 1, terms(seats=seats, quorum=seats // 2 + 1, consumer=consumer)))
        self.chain.mine(1, [self.life.create()])
        for _ in range(self.confirmations + 1):
            self.chain.mine(1)  # the creation is final: the chain's own reorganisations stay above it
        self.told: dict[ChecksumAddress, set[bytes]] = {worker: set() for worker in self.workers}
        self.opened_early = False

    def play(self, troubled_blocks: int, quiet_blocks: int) -> None:
        final = self.chain.head.number
        for step in range(troubled_blocks + quiet_blocks):
            troubled = step < troubled_blocks
            final = max(final, self.chain.head.number - self.confirmations)
            depth = self.random.randint(0, self.chain.head.number - final)
            if troubled and self.random.random() < (0.7 if self.opened_early else 0.1):
                self.chain.reorganise(depth)
            self.step(0.5 if troubled else 0.0)
            if not troubled and self.life.view.is_closed:
                return

    def step(self, loss: float) -> None:
        emitted = []
        for worker in self.workers:
            for action in self.actions_of(worker):
                if self.random.random() >= loss:
                    emitted.append((worker, action))
        self.chain.mine(self.random.randint(1, 3))
        for worker, action in emitted:  # a block each, so that every transaction sees the one before
            try:
                made = self.do(worker, action)
            except Refused:
                continue
            self.chain.mine(1, made)

    def actions_of(self, worker: ChecksumAddress) -> list[Action]:
        seen = self.chain.view(self.life.id, self.confirmations)
        if seen is None or (worker in self.absent and self.life.phase() == Phase.REVEALING):
            return []
        bonded = self.chain.bonded[worker]
        operator = Operator(worker, bonded, bonded, stakers=self.workers)
        rules = Rules(turn_seconds=2, deliver=True)
        return next_actions(seen, operator, self.chain.clock(self.confirmations), rules)

    def do(self, worker: ChecksumAddress, action: Action) -> list[tuple[str, dict[str, object]]]:
        life, root = self.life, self.roots[worker]
        if action.kind == ActionKind.DRAW:
            return [life.draw()]
        if action.kind == ActionKind.ABSTAIN and root != DATA_UNAVAILABLE:
            raise Refused("it has the data")
        if action.kind in (ActionKind.INFER, ActionKind.COMMIT, ActionKind.ABSTAIN):
            left = commit_end(life.view.state, life.job.terms) - self.chain.head.time
            if worker in self.idle or (worker in self.slow and left > 6):
                raise Refused("its compute is down, or not done")
            made = life.commit(worker, root)
            assert not (self.opened_early and self.final_after_confirmations), (
                "a seat was taken after a root was public"
            )
            self.told[worker].add(made[1]["commitment"])
            return [made]
        if action.kind == ActionKind.REVEAL:
            self.note_opening()
            return [life.reveal(worker, root)]
        if action.kind == ActionKind.EXAMINE:
            if root != RIGHT:
                return []
            return [life.execute(worker) if self.executes_whole else life.refute(worker, WRONG)]
        if action.kind == ActionKind.SETTLE:
            return [life.settle()]
        if action.kind == ActionKind.RELEASE:
            return life.release()
        if action.kind == ActionKind.DELIVER:
            return [life.deliver()]
        assert action.kind == ActionKind.RELEASE_BOUNTY
        return [life.release_bounty(worker)]

    def note_opening(self) -> None:
        """A reveal is public from now on, in whatever fork: unless the window forced it, no commit may follow any more."""
        ended = commit_end(self.life.view.state, self.life.job.terms)
        if self.chain.head.time < ended + self.life.job.terms.reveal_window // 2:
            self.opened_early = True
