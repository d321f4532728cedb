"""The Python clients over the real contracts in one process: what a client makes is sent, what it reads is answered.

    stage = Stage()
    stage.send("ann", stage.oracle.deposit(10**18))

A Round is one job's jury, from the draw to the settlement, whoever its requester is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress
from eth_utils import keccak, to_checksum_address
from web3 import Web3
from web3.providers import BaseProvider
from web3.types import RPCEndpoint, RPCResponse

from contracts import commitment, errors
from contracts.compute_oracle import ComputeOracle, Opening, SeatRef
from contracts.disputes import Disputes
from contracts.endpoint import Call, Endpoint
from contracts.job import Job, JobState, Phase, Terms, data_uri_hash, phase_end
from tests.contracts.chain import Chain, party
from tests.contracts.world import CHAIN_ID, DATA_URI, MODEL, SEED_PROOF, Claim, DataSet, World, address_of


class ChainProvider(BaseProvider):
    """JSON-RPC over a Chain: as much of it as the clients ask."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain = chain
        self.logs: list[dict[str, Any]] = []

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            return {"jsonrpc": "2.0", "id": 1, "result": self._answer(method, params)}
        except errors.Reverted as reverted:
            data = "0x" + bytes(reverted.data).hex()  # type: ignore[attr-defined]
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": 3, "message": "execution reverted", "data": data}}

    def keep_logs(self) -> None:
        """Remember the last call's events."""
        result = self.chain.evm.result
        for log in result.logs if result else []:
            topics, data = log.data
            self.logs.append(
                {
                    "address": to_checksum_address(log.address),
                    "topics": ["0x" + bytes(topic).hex() for topic in topics],
                    "data": "0x" + bytes(data).hex(),
                    "blockNumber": self.chain.number,
                }
            )

    def _answer(self, method: str, params: Any) -> Any:
        if method == "eth_chainId":
            return hex(CHAIN_ID)
        if method == "eth_call":
            return "0x" + self._simulate(params[0]).hex()
        if method == "eth_getCode":
            return "0x" + bytes(self.chain.evm.get_code(params[0]) or b"").hex()
        if method == "eth_getLogs":
            return [log for log in self.logs if _matches(log, params[0])]
        raise NotImplementedError(method)

    def _simulate(self, asked: dict[str, Any]) -> bytes:
        before = self.chain.evm.snapshot()
        try:
            sender, value = to_checksum_address(asked.get("from", party("reader"))), int(asked.get("value", "0x0"), 16)
            return self.chain.call(sender, asked["to"], _bytes(asked["data"]), value)
        finally:
            self.chain.evm.revert(before)


def _bytes(data: Any) -> bytes:
    return bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else bytes(data)


def _matches(log: dict[str, Any], wanted: dict[str, Any]) -> bool:
    first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
    topics: list[str] = wanted["topics"]
    return bool(
        log["address"] == wanted["address"]
        and first <= log["blockNumber"] <= last
        and log["topics"][: len(topics)] == topics
    )


class Stage:
    """A deployment, its clients, and senders by name."""

    def __init__(self, world: World | None = None) -> None:
        world = world or World()
        self.chain = world.chain
        self.provider = ChainProvider(self.chain)
        self.endpoint = Endpoint(Web3(self.provider))
        self.oracle = ComputeOracle(self.endpoint, to_checksum_address(world.oracle.address))
        self.disputes = Disputes(self.endpoint, self.oracle.address)
        self.seat_stake = -(-self.oracle.min_seat_stake(MODEL.id, 300) // 10**9) * 10**9

    def send(self, sender: str, call: Call, gas: int | None = None) -> bytes:
        """Send what a client made, as somebody (a name or an address); what it returns. Raises its typed error."""
        assert call.to is not None
        answer = self.chain.call(address_of(sender), call.to, call.data, call.value, gas=gas)
        self.provider.keep_logs()
        return answer

    def create(self, call: Call) -> ChecksumAddress:
        """Create a contract by its creation code. Raises its typed error."""
        return to_checksum_address(self.chain.deploy(call.data.hex()))

    def terms(self, data: DataSet, seats: int, quorum: int | None = None, **changes: Any) -> Terms:
        """Terms of a job over `data`; windows of 96, 48, 96 and 16 s and the least seat stake, unless changed."""
        given: dict[str, Any] = {
            "model_id": MODEL.id,
            "data_root": data.tree.root,
            "data_uri_hash": data_uri_hash(DATA_URI),
            "item_count": len(data.rows),
            "seats": seats,
            "quorum": quorum if quorum is not None else seats // 2 + 1,
            "seat_stake": self.seat_stake,
            "reward": 0,
            "commit_window": 96,
            "reveal_window": 48,
            "challenge_window": 96,
            "response_window": 16,
        }
        return Terms(**{**given, **changes})

    def stake(self, jobs: int = 1, **seats: int) -> None:
        """Each worker bonds the stake of its seats in so many jobs, before the next block."""
        for worker, count in seats.items():
            self.send(worker, self.oracle.deposit(jobs * count * self.seat_stake))
        self.chain.roll()


@dataclass(frozen=True)
class Sealed:
    """A worker's commitment and where it is."""

    root: bytes
    salt: bytes
    commitment: bytes
    lane: int


class Round:
    """One job's jury. Whoever is named by a test takes the job's seats by name and number."""

    def __init__(self, stage: Stage, job: Job) -> None:
        self.stage = stage
        self.job = job
        self.id = job.id(CHAIN_ID, stage.oracle.address)
        self.sealed: dict[str, Sealed] = {}

    # Moves

    def draw(self) -> None:
        """Once the seed's block is past."""
        self.stage.chain.roll(seconds=3, blocks=3)
        self.stage.send("keeper", self.stage.oracle.draw(self.id, SEED_PROOF))

    def commit(self, worker: str, root: bytes, seats: int, salt: bytes = b"") -> None:
        """Seal a root with the worker's first tickets, in its first free lane."""
        lane = next(self.stage.oracle.account(party(worker)).free_lanes())
        salt = salt or keccak(text=worker)
        word = commitment.compute(self.id, party(worker), root, salt)
        self.stage.send(worker, self.stage.oracle.commit(self.job, lane, word, bytes(32), list(range(seats))))
        self.sealed[worker] = Sealed(root, salt, word, lane)

    def reveal(self, *workers: str) -> None:
        for worker in workers:
            sealed = self.sealed[worker]
            opening = Opening(party(worker), sealed.lane, sealed.salt)
            self.stage.send(worker, self.stage.oracle.reveal(self.job, sealed.root, [opening]))

    def vote(self, votes: Mapping[str, tuple[int, bytes]], silent: Sequence[str] = ()) -> None:
        """Draw, commit as {worker: (seats, root)} in the commit window's last second, when every ticket wins, and reveal
        but for the silent; it is Challenging then, or Settling if too few had seats."""
        self.draw()
        self.stage.chain.roll(self.job.terms.commit_window - 1)
        for worker, (seats, root) in votes.items():
            self.commit(worker, root, seats)
        self.end_phase(Phase.COMMITTING)
        if self.phase() == Phase.REVEALING:
            self.reveal(*[worker for worker in votes if worker not in silent])
            self.end_phase(Phase.REVEALING)

    def refute(self, by: str, claim: Claim, index: int, data: DataSet) -> None:
        self.stage.send(by, self.stage.disputes.refute(self.job, claim.proof(index), data.proof(index)))

    def settle(self, root: bytes = bytes(32)) -> None:
        """Once what is left of Challenging has passed."""
        self.end_phase(Phase.CHALLENGING)
        self.stage.send("keeper", self.stage.oracle.settle(self.job, root))

    def release(self, *workers: str) -> None:
        """Every seat of these workers, by what it revealed or sealed."""
        for worker in workers:
            self.stage.send("keeper", self.stage.oracle.release(self.job, self.word(worker), [self.ref(worker)]))

    def end_phase(self, phase: Phase) -> None:
        """Let what is left of this phase pass, if it is the current one."""
        if self.phase() == phase:
            chain = self.stage.chain
            chain.roll_to(phase_end(self.state, self.job.terms, chain.time, chain.number))

    # Reading

    def phase(self) -> Phase:
        return self.stage.oracle.phase(self.job)

    @property
    def state(self) -> JobState:
        return self.stage.oracle.job_state(self.id)

    def ref(self, worker: str) -> SeatRef:
        """Where the worker's seats are."""
        return SeatRef(party(worker), self.sealed[worker].lane)

    def word(self, worker: str) -> bytes:
        """What the worker's lane is found by: its root, or its commitment if it never revealed."""
        sealed = self.sealed[worker]
        seat = self.stage.oracle.seat_at(party(worker), sealed.lane)
        return sealed.root if seat.holds(self.id, sealed.root) else sealed.commitment
