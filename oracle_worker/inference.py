"""Chunks of rows to chunks of results: logits on disk, and the root of the subtree over them."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from contracts.merkle import HASH_BYTES, MerkleTree
from models.runtime import Runtime
from oracle_worker import disk
from oracle_worker.chunks import ChunkPlan
from oracle_worker.data import Rows
from oracle_worker.data_file import BLOCK_BYTES
from oracle_worker.leaves import result_leaves
from oracle_worker.model_store import Model
from oracle_worker.passport import PassportStore, Stamp
from oracle_worker.result_tree import ResultTree

log = logging.getLogger(__name__)

MAGIC = b"QRES\x02"
CHECK_BYTES = 8
SESSIONS = 4
"""Models kept ready."""
TRIAL_SECONDS = 0.02


class Inference(Protocol):
    """Runs a model on rows."""

    def run(self, model: Model, rows: NDArray[np.uint8], first: int) -> NDArray[np.int32]:
        """Logits int32 (n, output_length) of rows uint8 (n, row_length); `first` is the item index of the first row."""


class OnnxInference:
    """The honest inference: ONNX Runtime, bit-equal to the chain.

    passports: shows that before a model is first run; without one nothing is shown. runtime: what runs a network.
    """

    def __init__(
        self, threads: int = 1, passports: PassportStore | None = None, runtime: type[Runtime] = Runtime
    ) -> None:
        self.threads = threads
        self.passports = passports
        self._runtime = runtime
        self._ready: OrderedDict[bytes, Runtime] = OrderedDict()

    def run(self, model: Model, rows: NDArray[np.uint8], first: int) -> NDArray[np.int32]:  # noqa: ARG002
        """As Inference says. Raises PassportRefused where this machine is not exact."""
        return self._prepared(model).run(rows)

    def stamp(self, model: Model) -> Stamp | None:
        """What this machine's passport says of the model. No runtime stays: a process may fork afterwards.

        Raises PassportRefused.
        """
        if self.passports is None:
            return None
        return self.passports.need(model, partial(self._runtime, model.network, self.threads))

    def _prepared(self, model: Model) -> Runtime:
        runtime = self._ready.pop(model.id, None)
        if runtime is None:
            runtime = made = self._runtime(model.network, self.threads)
            if self.passports is not None:
                self.passports.need(model, lambda: made)
        self._ready[model.id] = runtime
        if len(self._ready) > SESSIONS:
            self._ready.popitem(last=False)
        return runtime


@dataclass(frozen=True)
class ChunkResult:
    """One chunk's outputs (int32 logits, big endian, item after item) and the subtree over them."""

    outputs: bytes
    tree: MerkleTree


class ResultStore:
    """Results on disk by job and chunk; what does not hash to its own root any more counts as absent.

    A file begins with its chunk's root, and that with a checksum of its own: what only asks for roots need not hash again
    what they are of.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes

    def path(self, job_id: bytes, chunk: int) -> Path:
        """Where a chunk's results are."""
        return self.folder / job_id.hex() / f"{chunk}.result"

    def save(self, job_id: bytes, cut: ChunkPlan, chunk: int, outputs: bytes) -> ChunkResult:
        """Store a chunk's outputs, whole or not at all."""
        result = ChunkResult(outputs, _tree(outputs, cut, chunk))
        path = self.path(job_id, chunk)
        disk.write(path, _head(job_id, chunk, result.tree.root) + outputs)
        disk.evict(self.folder, self.most_bytes, frozenset((path,)))
        return result

    def root(self, job_id: bytes, cut: ChunkPlan, chunk: int, output_length: int) -> bytes | None:
        """The root of a chunk's results, or None where there are none; `load` finds out if the results themselves changed."""
        path = self.path(job_id, chunk)
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
                size = os.fstat(file.fileno()).st_size
        except OSError:
            return None
        root = head[len(MAGIC) : len(MAGIC) + HASH_BYTES]
        whole = size == _HEAD_BYTES + 4 * output_length * len(cut.items(chunk))
        return root if whole and head == _head(job_id, chunk, root) else None

    def load(self, job_id: bytes, cut: ChunkPlan, chunk: int, output_length: int) -> ChunkResult | None:
        """A chunk's results, or None where there are none that can be trusted."""
        path = self.path(job_id, chunk)
        root = self.root(job_id, cut, chunk, output_length)
        try:
            outputs = path.read_bytes()[_HEAD_BYTES:]
        except OSError:
            return None
        if root is not None and outputs:
            result = ChunkResult(outputs, _tree(outputs, cut, chunk))
            if result.tree.root == root:
                disk.touch(path)
                return result
        log.warning("%s was changed on disk: computing it again", path)
        path.unlink(missing_ok=True)
        return None


class JobInference:
    """Everything that computing one job's results takes."""

    def __init__(self, job_id: bytes, model: Model, data: Rows, inference: Inference, results: ResultStore) -> None:
        self.job_id = job_id
        self.model = model
        self.data = data
        self.inference = inference
        self.results = results

    def chunk(self, chunk: int) -> ChunkResult:
        """A chunk's results, from disk or computed now. Raises DataError where they must be and the rows cannot be had."""
        cut = self.data.plan
        stored = self.results.load(self.job_id, cut, chunk, self.model.network.output_length)
        if stored is not None:
            return stored
        return self.results.save(self.job_id, cut, chunk, self._run(chunk))

    def tree(self) -> ResultTree:
        """The whole result tree; computes what is not on disk, and hashes again only what is looked at. Raises DataError."""
        roots = [self._root(chunk) for chunk in range(self.data.plan.count)]
        return ResultTree(self.data.plan, roots, lambda chunk: self.chunk(chunk).tree)

    def _root(self, chunk: int) -> bytes:
        length = self.model.network.output_length
        return self.results.root(self.job_id, self.data.plan, chunk, length) or self.chunk(chunk).tree.root

    def output(self, index: int) -> bytes:
        """One item's output."""
        chunk, within = divmod(index, 1 << self.data.plan.depth)
        length = 4 * self.model.network.output_length
        return self.chunk(chunk).outputs[within * length : (within + 1) * length]

    def _run(self, chunk: int) -> bytes:
        first = self.data.plan.items(chunk).start
        outputs = bytearray()
        for rows in self.data.blocks(chunk):
            outputs += self.inference.run(self.model, rows, first).astype(">i4").tobytes()
            first += len(rows)
        return bytes(outputs)


def check_passports(inference: Inference, models: Iterable[Model]) -> None:
    """Have honest inference show that it is exact on each of the models. Raises PassportRefused."""
    if isinstance(inference, OnnxInference):
        for model in models:
            inference.stamp(model)


def measure_speed(model: Model, inference: Inference) -> float:
    """Rows a second that this machine manages, from a short trial."""
    count = 1  # of a large model one row may take seconds
    inference.run(model, np.zeros((1, model.network.row_length), np.uint8), 0)  # what the first run alone costs
    while True:
        rows = np.zeros((count, model.network.row_length), np.uint8)
        began = time.perf_counter()
        inference.run(model, rows, 0)
        seconds = time.perf_counter() - began
        if seconds >= TRIAL_SECONDS or count * model.network.row_length >= BLOCK_BYTES:
            return count / max(seconds, 1e-9)
        count *= 4


_HEAD_BYTES = len(MAGIC) + HASH_BYTES + CHECK_BYTES


def _head(job_id: bytes, chunk: int, root: bytes) -> bytes:
    check = sha256(MAGIC + job_id + chunk.to_bytes(8, "big") + root).digest()[:CHECK_BYTES]
    return MAGIC + root + check


def _tree(outputs: bytes, cut: ChunkPlan, chunk: int) -> MerkleTree:
    items = cut.items(chunk)
    return MerkleTree(result_leaves(items.start, outputs, len(outputs) // len(items)), depth=cut.depth)
