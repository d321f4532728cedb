"""A whole job by the worker's own path: data fetched and verified, chunks inferred, results hashed and combined.

bare: what nobody can leave out, on the same rows: a SHA-256 call for each leaf and each node of the two trees, and ONNX
Runtime. The two are measured in turns, in processor time of one process, because other work on the machine stretches the wall
clock of both; the wall clock decides for two processes against one, also in turns. Memory is a process's peak, of its own.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from statistics import median
from struct import iter_unpack
from typing import Any, TypeVar

import numpy as np

from benchmarks import memory
from contracts.job import Terms
from contracts.merkle import MerkleTree
from models import zoo
from models.network import IntegerNetwork
from models.program import compile_network, model_id
from models.runtime import Runtime
from oracle_worker import settings
from oracle_worker.collection import Collection
from oracle_worker.data import DataStore
from oracle_worker.data_file import DataSet
from oracle_worker.inference import JobInference, OnnxInference, ResultStore
from oracle_worker.leaves import input_leaves
from oracle_worker.model_store import Model

SIZES = {"1M": 1_000_000, "10M": 10_000_000}
ROUNDS = 3
"""Of the smaller size; the larger is measured once."""
PROCESS_ROUNDS = 3
BLOCK = 1 << 16
JOB = bytes(32)
_Found = TypeVar("_Found")


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table. Takes some two minutes on a machine that does nothing else."""
    made, peaks = [], {}
    with tempfile.TemporaryDirectory() as name:
        for size, count in SIZES.items():
            folder = Path(name) / size
            terms = _publish(folder, count)
            rounds = [_round(folder, terms) for _ in range(ROUNDS if size == "1M" else 1)]
            seconds = min(ours for ours, _, _ in rounds)
            peaks[size] = max(peak for _, _, peak in rounds)
            made += [
                _row(f"{size}/rows", round(count / seconds), "rows/s"),
                _row(f"{size}/vs_bare", round(median(ours / bare for ours, bare, _ in rounds), 2), "ratio"),
                _row(f"{size}/memory", round(peaks[size] / 1e6), "MB"),
            ]
        made.append(_row("10M/memory_vs_1M", round(peaks["10M"] / peaks["1M"], 2), "ratio"))
        made.append(_row("two_processes_vs_one", _two_against_one(Path(name) / "1M"), "ratio"))
    return made


def _row(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": f"pipeline/{name}", "value": value, "unit": unit}


# ---- The job ----


def _network() -> IntegerNetwork:
    return zoo.load("wine-grading").network


def _publish(folder: Path, count: int) -> Terms:
    """Write that many rows to a file, block by block; the job over them."""
    folder.mkdir()
    row_length, generator, leaves = _network().row_length, np.random.default_rng(7), bytearray()
    with (folder / "rows.bin").open("wb") as file:
        for start in range(0, count, BLOCK):
            rows = generator.integers(0, 256, (min(BLOCK, count - start), row_length), np.uint8).tobytes()
            file.write(rows)
            leaves += input_leaves(rows, row_length)
    (folder / "root").write_bytes(MerkleTree(leaves).root)
    return _terms_of(folder)


def _terms_of(folder: Path) -> Terms:
    windows = dict.fromkeys(("commit_window", "reveal_window", "challenge_window", "response_window"), 600)
    count = (folder / "rows.bin").stat().st_size // _network().row_length
    root = (folder / "root").read_bytes()
    known = {"model_id": model_id(compile_network(_network())), "data_root": root, "data_uri_hash": bytes(32)}
    return Terms(**known, item_count=count, seats=1, quorum=1, seat_stake=1, reward=0, **windows)  # type: ignore[arg-type]


def _fetch(folder: Path, terms: Terms, work: Path) -> DataSet:
    given = settings.load(data_folders=(folder,))
    return DataStore(work / "data", given).fetch(terms, (folder / "rows.bin").as_uri(), _network().row_length)


def _inference(data: DataSet, terms: Terms, work: Path) -> JobInference:
    model = Model(terms.model_id, _network(), work)
    return JobInference(JOB, model, data, OnnxInference(), ResultStore(work / "results", 1 << 40))


def _work(folder: Path, terms: Terms, work: Path) -> bytes:
    """Everything that a worker does until it knows the root that it commits to."""
    inference = _inference(_fetch(folder, terms, work), terms, work)
    collected = Collection(work / "collected")
    cut = inference.data.plan
    for chunk in range(cut.count):
        collected.add(JOB, cut, chunk, inference.chunk(chunk).tree.root)
    root = collected.root(JOB, cut)
    assert root is not None
    return root


# ---- Against what nobody can leave out ----


def _round(folder: Path, terms: Terms) -> tuple[float, float, int]:
    """Processor seconds of the worker's path and of the bare calls, taken in turns, and the path's peak memory in bytes."""
    first = _apart(_bare, folder, terms)
    ours, peak = _apart(_measured_work, folder, terms)
    return ours, (first + _apart(_bare, folder, terms)) / 2, peak


def _measured_work(folder: Path, terms: Terms) -> tuple[float, int]:
    with tempfile.TemporaryDirectory(dir=folder) as work:
        before = time.process_time()
        _work(folder, terms, Path(work))
        seconds = time.process_time() - before
    return seconds, memory.peak()


def _bare(folder: Path, terms: Terms) -> float:
    before = time.process_time()
    network = _network()
    runtime = Runtime(network)
    row_length, output = network.row_length, bytes(8 + 4 * network.output_length)
    with (folder / "rows.bin").open("rb") as file:
        while content := file.read(BLOCK * row_length):
            for (row,) in iter_unpack(f"{row_length}s", content):
                sha256(row).digest()
            runtime.run(np.frombuffer(content, np.uint8).reshape(-1, row_length))
    pair = bytes(64)
    for _ in range(terms.item_count):
        sha256(output).digest()
        sha256(pair).digest()
        sha256(pair).digest()
    return time.process_time() - before


def _apart(work: Callable[[Path, Terms], _Found], folder: Path, terms: Terms) -> _Found:
    """What it gives in a new process, so that nothing that was measured before is in its memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (folder, terms))


# ---- Two processes against one ----


def _two_against_one(folder: Path) -> float:
    """How many times as fast two processes infer all chunks as one does, by the wall clock, in turns."""
    ratios = []
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        chunks = _fetch(folder, _terms_of(folder), Path(work)).plan.count
        with spawn.Pool(1, _prepare, (folder, Path(work))) as one, spawn.Pool(2, _prepare, (folder, Path(work))) as two:
            (
                _seconds_of(one, chunks),
                _seconds_of(two, chunks),
            )  # what a process's first chunk costs is not what is asked
            for _ in range(PROCESS_ROUNDS):
                ratios.append(_seconds_of(one, chunks) / _seconds_of(two, chunks))
    return round(median(ratios), 2)


def _seconds_of(pool: Any, chunks: int) -> float:
    began = time.perf_counter()
    pool.map(_infer_anew, range(chunks), 1)
    return time.perf_counter() - began


_ready: list[JobInference] = []


def _prepare(folder: Path, work: Path) -> None:
    terms = _terms_of(folder)
    _ready.append(_inference(_fetch(folder, terms, work), terms, work))


def _infer_anew(chunk: int) -> None:
    inference = _ready[0]
    inference.results.path(JOB, chunk).unlink(missing_ok=True)
    inference.chunk(chunk)
