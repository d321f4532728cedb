"""Runs cases on the processor at hand, real or emulated, at every setting of ONNX Runtime, and counts what differs.

A program of its own that needs ONNX Runtime and numpy alone, since under emulation every import takes seconds:

    python sweep.py CASE… → a line of JSON for each case

A case is a folder: model.onnx, rows.npy, and logits.npy, which is what every setting must give to the last bit. Where that is
absent, what the first setting gives is what the others are held against; `--keep FOLDER` writes it there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime

LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
THREADS = (1, 2)
BATCHES = (
    0,
    64,
    7,
    1,
)  # 0: all rows at once; one by one is slow, so each setting has its share of the rows, all have all


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, help="the first so many alone")
    parser.add_argument("--keep", type=Path, help="folder for the outputs of cases that have no logits.npy")
    parser.add_argument("--levels", default=",".join(reversed(LEVELS)))
    options = parser.parse_args()
    for case in options.cases:
        line = sweep(case, options.rows, options.keep, options.levels.split(","))
        print(json.dumps(line), flush=True)


def sweep(case: Path, most: int | None, keep: Path | None, levels: list[str]) -> dict:
    """{case, rows, runs, values, different: {setting: rows that differ}, seconds}."""
    began = time.perf_counter()
    model = (case / "model.onnx").read_bytes()
    rows = np.load(case / "rows.npy")[:most]
    expected = np.load(case / "logits.npy")[: len(rows)] if (case / "logits.npy").exists() else None
    runs = values = 0
    different = {}
    sessions = [(level, threads) for level in levels for threads in THREADS]
    for place, (level, threads) in enumerate(sessions):
        session = open_session(model, level, threads)
        for batch in BATCHES:
            part = slice(place, None, len(sessions)) if batch == 1 else slice(None)
            given = run(session, rows[part], batch or len(rows))
            if expected is None:
                expected = given
                if keep is not None:
                    np.save(keep / "logits.npy", given)
            runs += 1
            values += given.size
            wrong = count_different(given, expected[part])
            if wrong:
                different[f"{level}, {threads} threads, batch {batch or 'all'}"] = wrong
    seconds = round(time.perf_counter() - began, 1)
    line = {"case": case.name, "rows": len(rows), "runs": runs, "values": values, "different": different}
    return {**line, "seconds": seconds, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}


def count_different(given: np.ndarray, expected: np.ndarray) -> int:
    """Rows that differ in any bit; all, where the shape or the type does."""
    if given.shape != expected.shape or given.dtype != expected.dtype:
        return len(expected)
    return int((given != expected).reshape(len(given), -1).any(axis=1).sum())


def open_session(model: bytes, level: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, rows: np.ndarray, batch: int) -> np.ndarray:
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: rows[start : start + batch]})[0] for start in range(0, len(rows), batch)]
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
