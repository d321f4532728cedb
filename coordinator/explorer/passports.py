"""Determinism passports that operators signed, from a folder: whose they are and what they say is checked here.

    passports = Passports(folder, models)
    with passports.kept_current():
        passports.of(worker)

Only what a worker's own key has signed is shown, under that worker's address: so whoever can write to the folder can show old
passports, or none, but invent nothing. What a passport says of a model is held against the specification, which this machine
runs itself, once a model; it stays the claim of an operator about a machine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from eth_typing import ChecksumAddress

from coordinator.explorer.field_types import Hash, Text

if TYPE_CHECKING:
    from oracle_worker.model_store import Model
    from oracle_worker.passport import Passport, Stamp

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""How often the folder is looked at."""
MOST_FILES = 1_000
MOST_STAMPS = 100
"""Models of one passport that are shown."""
LONGEST_NAME = 200
"""Characters of what a passport calls its processor or a release."""

_LATEST = 2**53 - 1
"""What JavaScript's numbers hold."""

Models = Callable[[], Iterable["Model"]]
_Files = tuple[tuple[Path, int, int], ...]


class StampState(StrEnum):
    """What a passport says that a machine computed of a model."""

    EQUAL = "equal"
    """Exactly what the specification says."""
    DIFFERS = "differs"
    UNKNOWN = "unknown"
    """Of a model that there is no file of here."""


@dataclass(frozen=True, slots=True)
class PassportStamp:
    """One model of a passport."""

    model_id: Hash
    state: StampState


@dataclass(frozen=True, slots=True)
class SignedPassport:
    """What an operator's key signed of the machine that it says it computes on."""

    issued_at: int
    """Unix seconds, as the signer says."""
    architecture: Text
    cpu: Text
    onnxruntime: Text
    numpy: Text
    stamps: tuple[PassportStamp, ...]
    """At most 100."""


class Passports:
    """For several threads. Of a worker's passports the one of the latest `issued_at` is shown."""

    def __init__(self, folder: Path | None = None, models: Models = tuple) -> None:
        """folder: of JSON files as `quorate worker passport --sign --output` writes them; None for no passports at all.

        models: those whose networks are here.
        """
        self._folder = folder
        self._models = models
        self._expected: dict[bytes, Stamp] = {}
        self._seen: _Files = ()
        self._found: Mapping[ChecksumAddress, SignedPassport] = {}

    def of(self, worker: ChecksumAddress) -> SignedPassport | None:
        """What is known of a worker's machine."""
        return self._found.get(worker)

    def look(self) -> None:
        """Read the folder anew if its files changed. Files that are no signed passports are logged and passed over."""
        if self._folder is None or (files := _files(self._folder)) == self._seen:
            return
        latest: dict[ChecksumAddress, Passport] = {}
        for path, _, _ in files:
            signed = _read(path)
            if signed is None or signed.worker is None:
                continue
            if signed.worker not in latest or latest[signed.worker].issued_at < signed.issued_at:
                latest[signed.worker] = signed
        self._expect({stamp.model_id for signed in latest.values() for stamp in signed.stamps[:MOST_STAMPS]})
        self._found = {worker: self._shown(signed) for worker, signed in latest.items()}
        self._seen = files

    @contextmanager
    def kept_current(self) -> Iterator[None]:
        """Look at the folder every LOOK_SECONDS, in a thread of its own, as long as this lasts."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.is_set():
                try:
                    self.look()
                except Exception:  # what is shown stays as it was
                    log.exception("the passports in %s could not be read", self._folder)
                ended.wait(LOOK_SECONDS)

        if self._folder is not None:
            threading.Thread(target=watch, name="passports", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _expect(self, wanted: set[bytes]) -> None:
        """Run the specification on each of these models that is here and was not run yet: some seconds a model."""
        from oracle_worker.passport import expected_stamp

        if wanted <= self._expected.keys():
            return
        for model in self._models():
            if model.id in wanted and model.id not in self._expected:
                self._expected[model.id] = expected_stamp(model)

    def _shown(self, signed: Passport) -> SignedPassport:
        machine = signed.machine
        return SignedPassport(
            issued_at=min(max(signed.issued_at, 0), _LATEST),
            architecture=_text(machine.architecture),
            cpu=_text(machine.cpu),
            onnxruntime=_text(machine.onnxruntime),
            numpy=_text(machine.numpy),
            stamps=tuple(PassportStamp(one.model_id, self._state(one)) for one in signed.stamps[:MOST_STAMPS]),
        )

    def _state(self, stamp: Stamp) -> StampState:
        if (expected := self._expected.get(stamp.model_id)) is None:
            return StampState.UNKNOWN
        return StampState.EQUAL if stamp == expected else StampState.DIFFERS


def _files(folder: Path) -> _Files:
    """The JSON files right in the folder, with time and size; nothing that would be waited for, such as a pipe."""
    found = sorted(path for path in folder.glob("*.json") if path.is_file())
    if len(found) > MOST_FILES:
        log.warning("%s has %d passports: the first %d are read", folder, len(found), MOST_FILES)
    status = [(path, path.stat()) for path in found[:MOST_FILES]]
    return tuple((path, one.st_mtime_ns, one.st_size) for path, one in status)


def _read(path: Path) -> Passport | None:
    from oracle_worker.passport import BadPassport, read

    try:
        signed = read(path)
        signed.check_signature()
    except (BadPassport, OSError) as error:
        log.warning("the passport %s is not shown: %s", path, error)
        return None
    return signed


def _text(given: object) -> str:
    """Whatever the signer put there, as text that can be encoded."""
    return str(given)[:LONGEST_NAME].encode("utf-8", "replace").decode("utf-8")
