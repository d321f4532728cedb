"""JSON-RPC's own forms: quantities, bytes, addresses, block references, and errors with geth's codes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
EXECUTION_REVERTED = 3

TAGS = ("earliest", "latest", "safe", "finalized", "pending")

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}\Z")
_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})*\Z")


class RpcError(Exception):
    """What a JSON-RPC error object carries: code, message, and data (hex text) where there is some."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_json(self) -> dict[str, Any]:
        """The error object of a JSON-RPC answer."""
        shown: dict[str, Any] = {"code": self.code, "message": self.message}
        return shown if self.data is None else {**shown, "data": self.data}


def invalid(what: str) -> RpcError:
    """A -32602 that says what is wrong with the parameters."""
    return RpcError(INVALID_PARAMS, what)


def shown(value: Any) -> str:
    """A value from outside for an error message: short, printable ASCII."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def to_hex(value: int | bytes) -> str:
    """A quantity or bytes as JSON-RPC writes them."""
    return hex(value) if isinstance(value, int) else "0x" + value.hex()


def quantity(value: Any, name: str = "value") -> int:
    """A non-negative number below 2^256 from "0x…" (or from a JSON integer). Raises RpcError."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 256:
        return value
    if isinstance(value, str) and _QUANTITY.match(value):
        return int(value, 16)
    raise invalid(f"{name}: {shown(value)} is no quantity; write it as hex, for example 0x10")


def data(value: Any, name: str = "data", length: int | None = None) -> bytes:
    """Bytes from "0x…", of `length` bytes if given. Raises RpcError."""
    if not isinstance(value, str) or not _BYTES.match(value):
        raise invalid(f"{name}: {shown(value)} is no hex data; write it as 0x and an even number of hex digits")
    found = bytes.fromhex(value[2:])
    if length is not None and len(found) != length:
        raise invalid(f"{name}: {len(found)} bytes where {length} are needed")
    return found


def address(value: Any, name: str = "address") -> bytes:
    """20 bytes. Raises RpcError."""
    return data(value, name, 20)


def hash32(value: Any, name: str = "hash") -> bytes:
    """32 bytes. Raises RpcError."""
    return data(value, name, 32)


def slot(value: Any) -> int:
    """A storage slot: a quantity, or 32 bytes with leading zeros. Raises RpcError."""
    return quantity(value, "storage slot")


def fields(value: Any, name: str, known: set[str]) -> dict[str, Any]:
    """A JSON object that holds only `known` names; nulls are left out. Raises RpcError."""
    if not isinstance(value, dict):
        raise invalid(f"{name}: {shown(value)} is no object")
    if unknown := set(value) - known:
        raise invalid(f"{name}: unknown field {shown(sorted(unknown)[0])}; known are {', '.join(sorted(known))}")
    return {key: given for key, given in value.items() if given is not None}


@dataclass(frozen=True, slots=True)
class BlockRef:
    """Which block is meant: exactly one of a tag, a number and a hash."""

    tag: str | None = None
    number: int | None = None
    hash: bytes | None = None


def block_ref(value: Any, *, hashes: bool = True) -> BlockRef:
    """A block reference from a tag, a number, a hash or an EIP-1898 object; null is "latest". Raises RpcError."""
    if value is None:
        return BlockRef(tag="latest")
    if isinstance(value, dict):
        named = fields(value, "block", {"blockNumber", "blockHash", "requireCanonical"})
        if "blockHash" in named:
            return BlockRef(hash=hash32(named["blockHash"], "blockHash"))
        return block_ref(named.get("blockNumber"), hashes=False)
    if isinstance(value, str) and value in TAGS:
        return BlockRef(tag=value)
    if hashes and isinstance(value, str) and len(value) == 66:
        return BlockRef(hash=hash32(value, "block"))
    return BlockRef(number=quantity(value, "block"))
