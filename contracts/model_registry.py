"""Typed client of the model registry. Reads return plain data; writes return a Call for contracts.transactor to send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_abi.abi import decode
from eth_typing import ChecksumAddress
from eth_utils.abi import event_abi_to_log_topic
from hexbytes import HexBytes

from contracts.abi import artifact
from contracts.endpoint import Call, Endpoint, call_of

CHUNK_BYTES = 24_575
"""Bytes of a program that one stored chunk holds."""


@dataclass(frozen=True, slots=True)
class Model:
    """What the chain knows of a model, in the order of the Solidity struct."""

    row_length: int
    """Bytes in an input row."""
    output_length: int
    """Logits in an output."""
    execution_gas: int
    """Gas of one execution, measured; 0 while a stepwise model has not been executed to the end."""
    program_length: int
    """Bytes in the program."""
    stepwise: bool
    """One execution takes more than one call may: it is carried out in steps."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an execution in steps has come, in the order of the Solidity struct."""

    begun: bool
    finished: bool
    executed: int
    """Values, of the whole network, made before the furthest state reached."""
    state_hash: bytes
    """keccak256 of that state."""


class ModelRegistry:
    """Models as programs in contract code."""

    def __init__(self, endpoint: Endpoint, address: ChecksumAddress) -> None:
        self.endpoint = endpoint
        self.address = address
        self.contract = endpoint.web3.eth.contract(address=address, abi=artifact("ModelRegistry").abi)

    def store_chunk(self, piece: bytes) -> Call:
        """Store one full chunk of a program; simulating it returns the chunk's id."""
        return call_of(self.contract.functions.storeChunk(piece))

    def register(self, stored: Sequence[bytes], last: bytes) -> Call:
        """Register the program made of the stored chunks (ids) and `last`."""
        return call_of(self.contract.functions.register(list(stored), last))

    def announce_uri(self, model_id: bytes, uri: str) -> Call:
        """Tell where a registered model's file can be found."""
        return call_of(self.contract.functions.announceUri(model_id, uri))

    def begin(self, model_id: bytes, row: bytes) -> Call:
        """Open the execution of a row in steps."""
        return call_of(self.contract.functions.begin(model_id, row))

    def advance(self, model_id: bytes, row_hash: bytes, state: bytes, values: int) -> Call:
        """Make so many values more from a state that was reached, or all that are left. models.stepwise has plans."""
        return call_of(self.contract.functions.advance(model_id, row_hash, state, values))

    def model(self, model_id: bytes) -> Model:
        """What is known of a model. Raises errors.UnknownModel."""
        return Model(*self.endpoint.read(self.contract.functions.model(model_id)))

    def execute(self, model_id: bytes, row: bytes) -> bytes:
        """The output of the model for one row, as the chain computes it: 4 bytes a logit, big endian."""
        return bytes(self.endpoint.read(self.contract.functions.execute(model_id, row)))

    def progress(self, model_id: bytes, row_hash: bytes) -> Progress:
        """How far the execution of the row with this sha256 has come."""
        return Progress(*self.endpoint.read(self.contract.functions.progressOf(model_id, row_hash)))

    def output_of(self, model_id: bytes, row_hash: bytes) -> bytes:
        """The output of an execution in steps. Raises errors.ExecutionUnfinished."""
        return bytes(self.endpoint.read(self.contract.functions.outputOf(model_id, row_hash)))

    def reached(self, model_id: bytes, row_hash: bytes, first: int, last: int) -> list[bytes]:
        """The states that the execution reached in these blocks, in order: whoever has the model can go on from any."""
        event = self.contract.events.StateReached()
        wanted = {
            "address": self.address,
            "topics": ["0x" + topic.hex() for topic in (event_abi_to_log_topic(event.abi), model_id, row_hash)],
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        logs = self.endpoint.ask("eth_getLogs", wanted)
        return [bytes(decode(["bytes"], HexBytes(log["data"]))[0]) for log in logs]


def chunks_of(program: bytes) -> tuple[list[bytes], bytes]:
    """A program as (full chunks to store first, the rest that goes with the registration)."""
    full = (len(program) - 1) // CHUNK_BYTES
    pieces = [program[i * CHUNK_BYTES : (i + 1) * CHUNK_BYTES] for i in range(full)]
    return pieces, program[full * CHUNK_BYTES :]
