"""One exception class for each custom error of the contracts, built from their ABIs when this module is imported.

    try:
        transactor.send(oracle.functions.reveal(...))
    except errors.TooLate as late:
        late.args_by_name["deadline"]

`decode` turns revert data into one of them. What reverts may be any contract at all, so its data is hostile:
whatever does not decode becomes a RawRevert, and text from the chain is escaped before it reaches a terminal or a
log.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_typing import ABIError
from eth_utils.abi import abi_to_signature, function_signature_to_4byte_selector, get_abi_input_types
from eth_utils.address import to_checksum_address
from web3.types import TxReceipt

from contracts import abi

LONGEST_TEXT = 300
"""Characters of a revert's own text or data that a message quotes."""

_REASON = function_signature_to_4byte_selector("Error(string)")
_PANIC = function_signature_to_4byte_selector("Panic(uint256)")
_PANICS = {
    0x01: "a failed assertion",
    0x11: "an arithmetic overflow or underflow",
    0x12: "a division by zero",
    0x21: "a value outside its enum",
    0x22: "a badly encoded storage array",
    0x31: "a pop from an empty array",
    0x32: "an index out of bounds",
    0x41: "too much memory",
    0x51: "a call of an uninitialised function",
}


class Reverted(Exception):
    """A call was undone by the contract. `receipt` is set when that happened in a block and cost gas."""

    receipt: TxReceipt | None = None


class RawRevert(Reverted):
    """A revert that is none of our custom errors; `data` is what it returned, `reason` that in words."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(data)
        self.data = data
        self.reason = _reason_of(data)

    def __str__(self) -> str:
        return f"reverted: {self.reason}"


class OracleRevert(Reverted):
    """A custom error of the contracts; there is a subclass for each. `args` are its values in order."""

    name: ClassVar[str]
    signature: ClassVar[str]
    """Canonical, for example "TooLate(uint64,uint64)"."""
    selector: ClassVar[bytes]
    """The 4 bytes that open the revert data."""
    fields: ClassVar[tuple[str, ...]]
    types: ClassVar[tuple[str, ...]]

    def __init__(self, *values: Any) -> None:
        if len(values) != len(self.fields):
            raise TypeError(f"{self.signature} takes {len(self.fields)} values, not {len(values)}")
        super().__init__(*values)

    @property
    def args_by_name(self) -> dict[str, Any]:
        """The error's values by parameter name; amounts in wei, times in unix seconds, bytes as bytes."""
        return dict(zip(self.fields, self.args, strict=True))

    @property
    def data(self) -> bytes:
        """The revert data this error is encoded as."""
        return self.selector + abi_encode(self.types, self.args)

    def __str__(self) -> str:
        shown = ", ".join(f"{field}={_shown(value)}" for field, value in self.args_by_name.items())
        return f"{self.name}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return decode, (self.data,)  # by data, so that it crosses between processes whatever else is registered there


class SelectorClash(ValueError):
    """Two different custom errors share their first four bytes: decoding could not tell them apart."""


_by_selector: dict[bytes, type[OracleRevert]] = {}
_by_name: dict[str, list[type[OracleRevert]]] = {}


def register(contract_abi: Sequence[Mapping[str, Any]]) -> None:
    """Add the custom errors of one more contract's ABI; a second time changes nothing. Raises SelectorClash."""
    for entry in contract_abi:
        if entry.get("type") != "error":
            continue
        made = _error_class(cast(ABIError, entry))
        have = _by_selector.setdefault(made.selector, made)
        if have.signature != made.signature:
            raise SelectorClash(f"{made.signature} and {have.signature} share the selector 0x{made.selector.hex()}")
        if have is made:
            _by_name.setdefault(made.name, []).append(made)


def every() -> tuple[type[OracleRevert], ...]:
    """The class of every registered custom error, by signature."""
    return tuple(sorted(_by_selector.values(), key=lambda made: made.signature))


def decode(data: bytes) -> OracleRevert | RawRevert:
    """The exception (not raised) that revert data stands for; never fails, whatever the data."""
    made = _by_selector.get(bytes(data[:4]))
    if made is None:
        return RawRevert(bytes(data))
    try:
        values = abi_decode(made.types, bytes(data[4:]))
    except Exception:  # data comes from any contract: however it breaks the decoder, it is a revert we cannot name
        return RawRevert(bytes(data))
    checked = (to_checksum_address(v) if t == "address" else v for t, v in zip(made.types, values, strict=True))
    return made(*checked)


def _error_class(entry: ABIError) -> type[OracleRevert]:
    signature = abi_to_signature(entry)
    fields = tuple(given.get("name") or f"arg{i}" for i, given in enumerate(entry.get("inputs", ())))
    body = {
        "__module__": __name__,
        "__doc__": f"The contracts' custom error {signature}.",
        "name": entry["name"],
        "signature": signature,
        "selector": function_signature_to_4byte_selector(signature),
        "fields": fields,
        "types": tuple(get_abi_input_types(entry)),
    }
    return type(entry["name"], (OracleRevert,), body)


def _reason_of(data: bytes) -> str:
    if not data:
        return "without a reason"
    try:
        if data[:4] == _REASON:
            return _shown(abi_decode(["string"], data[4:])[0])
        if data[:4] == _PANIC:
            (code,) = abi_decode(["uint256"], data[4:])
            return _PANICS.get(code, f"panic {code:#x}")
    except Exception:  # as in decode: shown as bytes below
        return _shown(data)
    return _shown(data)


def _shown(value: Any) -> str:
    """A value for one line of text: bytes as hex, control characters escaped, cut at LONGEST_TEXT."""
    if isinstance(value, bytes):
        head = value[: LONGEST_TEXT // 2].hex()
        return f"0x{head}" + (f"… ({len(value)} bytes)" if len(value) > LONGEST_TEXT // 2 else "")
    if isinstance(value, (tuple, list)):
        return _cut("[" + ", ".join(_shown(item) for item in value[:LONGEST_TEXT]) + "]")
    if isinstance(value, str) and not (value.startswith("0x") and value.isalnum()):
        return _cut(ascii(value[: LONGEST_TEXT + 1]))
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def __getattr__(name: str) -> type[OracleRevert]:
    made = [] if name.startswith("__") else _by_name.get(name, [])
    if len(made) == 1:
        return made[0]
    if made:
        choices = " and ".join(one.signature for one in made)
        raise AttributeError(f"{name} is ambiguous ({choices}): tell them apart by .signature")
    near = difflib.get_close_matches(name, _by_name, n=3)
    hint = f"; near it: {', '.join(near)}" if near else ""
    raise AttributeError(f"no contract declares the custom error {name!r}{hint}")


def __dir__() -> Iterable[str]:
    return [*globals(), *_by_name]


for _name in abi.names():
    register(abi.artifact(_name).abi)
