"""Typed client of the model registry. Reads return plain data; writes return a Call for contracts.transactor to send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_typing import ChecksumAddress

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
    """Gas of one execution, measured at registration."""
    program_length: int
    """Bytes in the program."""


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

    def model(self, model_id: bytes) -> Model:
        """What is known of a model. Raises errors.UnknownModel."""
        return Model(*self.endpoint.read(self.contract.functions.model(model_id)))

    def execute(self, model_id: bytes, row: bytes) -> bytes:
        """The output of the model for one row, as the chain computes it: 4 bytes a logit, big endian."""
        return bytes(self.endpoint.read(self.contract.functions.execute(model_id, row)))


def chunks_of(program: bytes) -> tuple[list[bytes], bytes]:
    """A program as (full chunks to store first, the rest that goes with the registration)."""
    full = (len(program) - 1) // CHUNK_BYTES
    pieces = [program[i * CHUNK_BYTES : (i + 1) * CHUNK_BYTES] for i in range(full)]
    return pieces, program[full * CHUNK_BYTES :]
