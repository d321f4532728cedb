"""The determinism passport: a machine shows that it gives what the specification says, before it works on a model.

For each model the rows that provoke every known hazard (models.probe) are run as the worker runs them and by the specification.
A machine on which the two differ by one bit is refused: it would commit to roots that anybody can refute. What passed is kept
on disk until processor, runtime or number of threads change. An operator can sign what passed and show it to others, who hold
it against the specification themselves.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from eth_account import Account
from eth_account.messages import SignableMessage, encode_defunct
from eth_account.signers.local import LocalAccount
from eth_keys.exceptions import BadSignature
from eth_typing import ChecksumAddress
from eth_utils.exceptions import ValidationError
from numpy.typing import NDArray

from contracts import address
from models import interpreter
from models.probe import Probe, make_probe
from oracle_worker import disk
from oracle_worker.machine import Machine, this_machine
from oracle_worker.model_store import Model
from oracle_worker.result import WorkerError

log = logging.getLogger(__name__)

VERSION = 1
MOST_BYTES = 1 << 20
MOST_BRACKETS = 1 << 12  # of some five hundred models; far below what nested would fill the parser's stack
_BATCHES = (None, 64, 7, 1)  # rows at a time; None: all
_ROWS_ONE_BY_ONE = 32


class PassportRefused(WorkerError):
    """This machine's results differ from the specification: it must not stake."""

    def __init__(self, model_id: bytes, what: str) -> None:
        super().__init__(
            f"this machine computes model 0x{model_id.hex()} otherwise than the specification ({what}): it must not stake, its "
            "results would be refuted. Run compute on another machine or with another release of onnxruntime, and report "
            "processor and release"
        )
        self.model_id = model_id


class BadPassport(WorkerError):
    """A passport that is not what it should be; the text says in what."""


class Runs(Protocol):
    """Runs one model: a runtime."""

    def run(self, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Logits int32 (n, output_length) of rows uint8 (n, row_length)."""


@dataclass(frozen=True)
class Stamp:
    """One model that passed. outputs_hash: SHA-256 of the logits of all probe rows, int32 in big endian.

    provoked: for each hazard in how many of how many channels the rows have it.
    """

    model_id: bytes
    rows: int
    rows_hash: bytes
    outputs_hash: bytes
    provoked: Mapping[str, tuple[int, int]]

    def to_json(self) -> dict[str, Any]:
        """Bytes in hex."""
        hexed = {name: "0x" + value.hex() for name, value in asdict(self).items() if isinstance(value, bytes)}
        return {"rows": self.rows, **hexed, "provoked": {name: list(of) for name, of in self.provoked.items()}}

    @classmethod
    def from_json(cls, given: Any) -> Stamp:
        """Raises BadPassport."""
        try:
            hashes = [
                bytes.fromhex(given[name].removeprefix("0x")) for name in ("model_id", "rows_hash", "outputs_hash")
            ]
            provoked = {str(name): (int(one), int(all_)) for name, (one, all_) in given["provoked"].items()}
            rows = int(given["rows"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BadPassport(f"an entry lacks or garbles {error}") from error
        if any(len(each) != 32 for each in hashes):
            raise BadPassport("an entry's hashes are not of 32 bytes")
        return cls(hashes[0], rows, hashes[1], hashes[2], provoked)


@dataclass(frozen=True)
class Passport:
    """What one machine passed, for whom, when (unix seconds); signature: the worker's, 65 bytes (EIP-191), or nobody's."""

    machine: Machine
    stamps: tuple[Stamp, ...]
    worker: ChecksumAddress | None = None
    issued_at: int = 0
    signature: bytes = b""

    def to_json(self) -> dict[str, Any]:
        """Everything; what is signed is the same without the signature."""
        return {**self._body(), "signature": "0x" + self.signature.hex() if self.signature else None}

    def signed(self, account: LocalAccount, now: int) -> Passport:
        """By a worker's key, as that worker's."""
        mine = replace(self, worker=account.address, issued_at=now)
        return replace(mine, signature=bytes(account.sign_message(mine._message()).signature))

    def check_signature(self) -> None:
        """Raises BadPassport unless the worker that it names has signed exactly this."""
        if self.worker is None or not self.signature:
            raise BadPassport("it is not signed: it says nothing about whose machine that is")
        try:
            signer = Account.recover_message(self._message(), signature=self.signature)
        except (ValueError, BadSignature, ValidationError) as error:
            raise BadPassport("its signature is none") from error
        if signer != self.worker:
            raise BadPassport(f"it was changed, or signed by another than {self.worker}")

    def _body(self) -> dict[str, Any]:
        stamps = [stamp.to_json() for stamp in self.stamps]
        return {
            "determinism_passport": VERSION,
            "worker": self.worker,
            "issued_at": self.issued_at,
            "machine": self.machine.to_json(),
            "models": stamps,
        }

    def _message(self) -> SignableMessage:
        return encode_defunct(text=json.dumps(self._body(), sort_keys=True, separators=(",", ":")))

    @classmethod
    def from_json(cls, given: Any) -> Passport:
        """Raises BadPassport."""
        try:
            if given["determinism_passport"] != VERSION:
                raise BadPassport(f"it is of version {given['determinism_passport']!r}, known is {VERSION}")
            machine = dict(given["machine"])
            machine["features"] = tuple(map(str, machine["features"]))
            worker = None if given["worker"] is None else address.parse(given["worker"])
            signature = bytes.fromhex((given["signature"] or "").removeprefix("0x"))
            stamps = tuple(Stamp.from_json(one) for one in given["models"])
            return cls(Machine(**machine), stamps, worker, int(given["issued_at"]), signature)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, address.BadAddress) as error:
            raise BadPassport(f"it lacks or garbles {error}") from error


def read(path: Path) -> Passport:
    """A passport from its file. Raises BadPassport, OSError."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES or content.count(b"[") + content.count(b"{") > MOST_BRACKETS:
        raise BadPassport(f"{path}: more than {MOST_BYTES} bytes, or nested too deep: it is no passport")
    try:
        return Passport.from_json(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise BadPassport(f"{path} is no passport: not JSON") from error
    except BadPassport as error:
        raise BadPassport(f"{path} is no passport: {error}") from error


def examine(model: Model, runtime: Runs) -> Stamp:
    """Run the probe by the runtime in batches of several sizes and by the specification. Raises PassportRefused."""
    probe = make_probe(model.network)
    expected = interpreter.run(model.network, probe.rows)
    for batch in _BATCHES:
        rows = probe.rows[: _ROWS_ONE_BY_ONE if batch == 1 else None]
        size = batch or len(rows)
        for start in range(0, len(rows), size):
            _compare(model, runtime.run(rows[start : start + size]), expected[start : start + size], start)
    return _stamp(model, probe, expected)


def expected_stamp(model: Model) -> Stamp:
    """What the specification says that every machine's stamp of a model is."""
    probe = make_probe(model.network)
    return _stamp(model, probe, interpreter.run(model.network, probe.rows))


def _stamp(model: Model, probe: Probe, logits: NDArray[np.int32]) -> Stamp:
    rows_hash = sha256(probe.rows.tobytes()).digest()
    return Stamp(model.id, len(probe.rows), rows_hash, sha256(logits.astype(">i4").tobytes()).digest(), probe.provoked)


def _compare(model: Model, given: NDArray[np.int32], expected: NDArray[np.int32], first: int) -> None:
    if given.shape != expected.shape or given.dtype != expected.dtype:
        raise PassportRefused(model.id, f"{given.dtype} {given.shape} instead of {expected.dtype} {expected.shape}")
    wrong = np.argwhere(given != expected)
    if len(wrong):
        row, logit = wrong[0]
        what = f"probe row {first + row}, logit {logit}: {given[row, logit]} instead of {expected[row, logit]}"
        raise PassportRefused(model.id, what)


class PassportStore:
    """What this machine passed, one file a model; made anew where the machine, its runtime or its threads are others."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.folder = folder
        self.machine = this_machine(threads)
        self._refused: dict[bytes, PassportRefused] = {}

    def need(self, model: Model, make_runtime: Callable[[], Runs]) -> Stamp:
        """The model's stamp, examined now unless it is on disk. Raises PassportRefused."""
        if model.id in self._refused:
            raise self._refused[model.id]
        path = self.folder / f"{model.id.hex()}.json"
        kept = self._kept(path, model.id)
        if kept is not None:
            return kept
        try:
            stamp = examine(model, make_runtime())
        except PassportRefused as refused:
            path.unlink(missing_ok=True)
            self._refused[model.id] = refused
            log.critical("%s", refused)
            raise
        disk.write(path, json.dumps(Passport(self.machine, (stamp,)).to_json()).encode())
        return stamp

    def passport(self, stamps: Iterable[Stamp]) -> Passport:
        """This machine's, unsigned."""
        return Passport(self.machine, tuple(stamps))

    def _kept(self, path: Path, model_id: bytes) -> Stamp | None:
        try:
            kept = read(path)
        except FileNotFoundError:
            return None
        except (BadPassport, OSError) as error:
            log.warning("%s: examining the model again", error)
            return None
        fits = kept.machine == self.machine and len(kept.stamps) == 1 and kept.stamps[0].model_id == model_id
        return kept.stamps[0] if fits else None
