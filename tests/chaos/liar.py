"""The majority that lies in unison: one address with as many seats as the quorum, played by the stage itself so that it can be
told when to commit and when to reveal."""

from __future__ import annotations

from contracts.commitment import compute, seal
from contracts.compute_oracle import Opening
from contracts.deployment import Contracts
from contracts.disputes import InputProof, ResultProof
from contracts.job import Phase
from contracts.merkle import MerkleTree, input_leaf, result_leaf
from coordinator.job_view import JobView
from oracle_worker.disputes import LeafAnswer, answer
from tests.chaos.hand import Hand

SALT = b"salt".ljust(32)
SECRET = b"secret".ljust(32)


class Liar:
    """Commits to a root that is wrong in one item, reveals it, and answers for it."""

    def __init__(self, contracts: Contracts, hand: Hand, seats: int) -> None:
        self._contracts = contracts
        self._hand = hand
        self._seats = seats
        self.address = hand.address

    def prepare(self, rows: list[bytes], outputs: list[bytes], wrong: int) -> None:
        """Another job: its rows, its true outputs, and the item to lie about."""
        self._hand.forget()
        self._rows = MerkleTree([input_leaf(row) for row in rows])
        self._given = rows
        told = [*outputs[:wrong], outputs[wrong][:-1] + bytes([outputs[wrong][-1] ^ 1]), *outputs[wrong + 1 :]]
        self._tree = MerkleTree([result_leaf(index, output) for index, output in enumerate(told)])

    @property
    def root(self) -> bytes:
        """What it says."""
        return self._tree.root

    def act(self, view: JobView, phase: Phase, *, may_commit: bool, may_reveal: bool) -> None:
        """Whatever it has to do now."""
        seat = view.seat(self.address)
        if phase == Phase.COMMITTING and seat is None and may_commit:
            self._commit(view)
        elif phase == Phase.REVEALING and seat is not None and seat.is_sealed and may_reveal:
            opening = Opening(self.address, seat.lane, SALT)
            self._hand.send("reveal", self._contracts.oracle.reveal(view.job, self.root, [opening]))
        elif phase == Phase.CHALLENGING:
            self._answer(view)

    def _commit(self, view: JobView) -> None:
        lane = next(self._contracts.oracle.account(self.address).free_lanes())
        commitment = compute(view.job_id, self.address, self.root, SALT)
        sealed = seal(self.root, SECRET, commitment)
        tickets = list(range(self._seats))
        self._hand.send("commit", self._contracts.oracle.commit(view.job, lane, commitment, sealed, tickets))

    def _answer(self, view: JobView) -> None:
        for node, demand in view.demands.items():
            if node.root != self.root or demand.answered:
                continue
            given = answer(self._tree, node.level, node.index)
            disputes = self._contracts.disputes
            if isinstance(given, LeafAnswer):
                result = ResultProof(node.root, node.index, given.leaf, given.siblings)
                row = InputProof(self._given[node.index], tuple(self._rows.proof(node.index)))
                self._hand.send(node, disputes.answer_leaf(view.job, result, row))
            else:
                self._hand.send(node, disputes.answer(view.job, node, given.nodes, given.siblings))
