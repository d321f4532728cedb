"""The oracle's events: raw logs, as a node gives them, to plain data and back from the database.

A log's text is chosen by whoever made the job, so nothing in it can stop the reading: a dataUri that is no UTF-8 is kept
in a printable form, which then does not hash to the job's terms, and nobody works on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from eth_abi import decode as abi_decode
from eth_typing import ABIEvent
from eth_utils import keccak, to_checksum_address
from eth_utils.abi import abi_to_signature, get_abi_input_types
from hexbytes import HexBytes

from contracts.abi import artifact

_ACTORS = (
    "worker",
    "workers",
    "requester",
    "payee",
    "refuter",
    "demander",
    "answerer",
    "executor",
    "challenger",
    "consumer",
)
"""The arguments that name who acted, or whom it is about. Drawn, Accused and Settled name nobody."""
_LEFT_OUT = {"LeafAnswered": {"row", "siblings"}, "Accused": {"gold", "siblings"}}
"""Arguments that stay on the chain: a row is up to 96 KiB, an accusation whatever a transaction holds, and the projection has
no use for them."""


@dataclass(frozen=True, slots=True)
class Block:
    """What the projection needs of a block."""

    number: int
    hash: bytes
    parent: bytes
    """The parent's hash."""
    time: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the oracle, at one place in the chain."""

    name: str
    block: int
    log_index: int
    time: int
    """The block's, in unix seconds."""
    transaction: bytes
    """Its hash, 32 bytes."""
    args: Mapping[str, Any]
    """Values by parameter name: bytes, int, bool, checksummed addresses; structs and arrays as tuples."""

    @property
    def job_id(self) -> bytes | None:
        """The job it belongs to, 32 bytes; None for stake alone."""
        return self.args.get("jobId")

    @property
    def actors(self) -> tuple[str, ...]:
        """The addresses that acted, or that it is about; one event can tell of many workers."""
        named = next((self.args[name] for name in _ACTORS if name in self.args), ())
        return (named,) if isinstance(named, str) else tuple(named)


@dataclass(frozen=True, slots=True)
class _Signature:
    name: str
    indexed: tuple[tuple[str, str], ...]
    plain: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, entry: Any) -> _Signature:
        # text is read as bytes: a strict decoder would refuse what any requester may write
        types = ["bytes" if kind == "string" else kind for kind in get_abi_input_types(entry)]
        named = [(given["name"], kind, given["indexed"]) for given, kind in zip(entry["inputs"], types, strict=True)]
        return cls(
            entry["name"],
            tuple((name, kind) for name, kind, indexed in named if indexed),
            tuple((name, kind) for name, kind, indexed in named if not indexed),
        )


_SIGNATURES = {
    keccak(text=abi_to_signature(cast(ABIEvent, entry))): _Signature.of(entry)
    for contract in ("ComputeOracle", "Disputes")
    for entry in artifact(contract).abi
    if entry["type"] == "event"
}


def is_known(log: Mapping[str, Any]) -> bool:
    """Whether a log, as eth_getLogs gives it, is an event of the oracle's."""
    return bool(log["topics"]) and bytes(HexBytes(log["topics"][0])) in _SIGNATURES


def decode(log: Mapping[str, Any], time: int) -> Event | None:
    """The event in a log as eth_getLogs gives it (hex strings); None if it is none of the oracle's.

    time: its block's, unix seconds. Raises ValueError, KeyError or TypeError for what no node should answer.
    """
    topics = [bytes(HexBytes(topic)) for topic in log["topics"]]
    signature = _SIGNATURES.get(topics[0]) if topics else None
    if signature is None:
        return None
    values = [_of_topic(kind, topic) for (_, kind), topic in zip(signature.indexed, topics[1:], strict=True)]
    values += abi_decode([kind for _, kind in signature.plain], bytes(HexBytes(log["data"])))
    named = list(zip((*signature.indexed, *signature.plain), values, strict=True))
    left_out = _LEFT_OUT.get(signature.name, set())
    args = {name: _plain(name, kind, value) for (name, kind), value in named if name not in left_out}
    if signature.name == "Accused":
        args["position"], args["index"], *_ = next(value for (name, _), value in named if name == "gold")
    return Event(
        name=signature.name,
        block=int(log["blockNumber"], 16),
        log_index=int(log["logIndex"], 16),
        time=time,
        transaction=bytes(HexBytes(log["transactionHash"])),
        args=args,
    )


def args_to_json(args: Mapping[str, Any]) -> str:
    """An event's arguments as the database keeps them."""
    return json.dumps(args, default=_bytes_to_json, separators=(",", ":"))


def args_from_json(text: str) -> dict[str, Any]:
    """The inverse of args_to_json."""
    decoded = json.loads(text, object_hook=lambda made: bytes.fromhex(made["hex"]) if made.keys() == {"hex"} else made)
    return {name: _tuples(value) for name, value in decoded.items()}


def _of_topic(kind: str, topic: bytes) -> Any:
    """An indexed argument. Those of most events by hand: a chain's whole past is read when a database is new."""
    if len(topic) != 32:
        raise ValueError(f"a topic has 32 bytes, not {len(topic)}")
    if kind == "bytes32":
        return topic
    return abi_decode([kind], topic)[0] if kind != "address" else _checksummed("0x" + topic[12:].hex())


_checksummed = lru_cache(maxsize=4096)(to_checksum_address)
"""The same few addresses act again and again."""


def _plain(name: str, kind: str, value: Any) -> Any:
    if kind == "address":
        return _checksummed(value)
    if kind == "address[]":
        return tuple(map(_checksummed, value))
    if name == "dataUri":
        return bytes(value).decode("utf-8", "backslashreplace")
    if kind.startswith("("):
        return tuple(_checksummed(v) if isinstance(v, str) else v for v in value)
    return value


def _bytes_to_json(value: Any) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} is no event argument")
    return {"hex": value.hex()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value
