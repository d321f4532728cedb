"""The ONNX file of a model id: local folders first, then the models that ship with Quorate."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from models import zoo
from models.canonical import from_onnx
from models.form import NotCanonical
from models.network import IntegerNetwork
from models.program import compile_network, model_id
from oracle_worker.result import WorkerError

log = logging.getLogger(__name__)


class WrongModel(WorkerError):
    """A file named after one model id holds another model, or none in canonical form."""

    def __init__(self, path: Path, expected: bytes, found: str) -> None:
        super().__init__(f"{path} is named after model {expected.hex()} but {found}: replace or remove it")
        self.path = path
        self.expected = expected


class ModelNotFound(WorkerError):
    """No file here compiles to this model id."""

    def __init__(self, wanted: bytes, folders: tuple[Path, ...]) -> None:
        where = ", ".join(map(str, folders)) or "no folder of your own (QUORATE_MODEL_FOLDERS)"
        super().__init__(f"no ONNX file compiles to model {wanted.hex()}; looked in {where}, and in the zoo")
        self.wanted = wanted


@dataclass(frozen=True, eq=False)
class Model:
    """A network whose program is the one that the chain would judge by."""

    id: bytes
    network: IntegerNetwork
    path: Path


class ModelStore:
    """Finds models by id. Files are compiled once, and again when they change."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self.folders = folders
        self._seen: dict[Path, tuple[tuple[int, int, int], Model | None]] = {}

    def find(self, wanted: bytes) -> Model:
        """The model of an id (32 bytes). Raises WrongModel, ModelNotFound."""
        for folder in self.folders:
            path = folder / f"{wanted.hex()}.onnx"
            if path.is_file():
                return self._named(path, wanted)
        for path in self._files():
            model = self._compile(path)
            if model is not None and model.id == wanted:
                return model
        raise ModelNotFound(wanted, self.folders)

    def served(self, allowed: Collection[str] = ()) -> Iterator[Model]:
        """Every model that there is a file for, of the allowed ids (hex digits) alone where any are given."""
        seen: set[bytes] = set()
        for path in self._files():
            model = self._compile(path)
            if model is not None and model.id not in seen and (not allowed or model.id.hex() in allowed):
                seen.add(model.id)
                yield model

    def _named(self, path: Path, wanted: bytes) -> Model:
        try:
            model = compile_file(path)
        except (NotCanonical, OSError) as error:
            raise WrongModel(path, wanted, f"cannot be used ({error})") from error
        if model.id != wanted:
            raise WrongModel(path, wanted, f"holds {model.id.hex()}")
        return model

    def _files(self) -> Iterator[Path]:
        for folder in self.folders:
            yield from sorted(folder.glob("*.onnx"))
        for name in zoo.names():
            yield Path(zoo.__file__).parent / name / "model.onnx"

    def _compile(self, path: Path) -> Model | None:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if path not in self._seen or self._seen[path][0] != stamp:
                self._seen[path] = (stamp, compile_file(path))
        except NotCanonical as error:
            log.warning("%s is passed over: %s", path, error)
            self._seen[path] = (stamp, None)
        except OSError as error:
            log.warning("%s cannot be read: %s", path, error)
            return None
        return self._seen[path][1]


def compile_file(path: Path) -> Model:
    """The model in an ONNX file. Raises NotCanonical, OSError."""
    network = from_onnx(path)
    return Model(model_id(compile_network(network)), network, path)
