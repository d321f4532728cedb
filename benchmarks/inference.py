"""Rows a second of the zoo's models through ONNX Runtime, one thread, beside two others that could do the work.

vs_interpreter: the slow specification. canonical_vs_ort_int8: the runtime's own static int8 quantisation (QDQ) of the
same layers, which is what those take who do not need one result on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ordinary_int8 import to_int8
from models import zoo
from models.interpreter import run
from models.network import IntegerNetwork
from models.runtime import Runtime, onnxruntime

BATCHES = (1, 256, 4096)
SECONDS = 0.5
ROUNDS = 161  # odd, so that the median is a round's
ROUND_SECONDS = 0.005  # short, so that what disturbs one side of a round disturbs the other too


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table. Takes some thirty seconds."""
    made = []
    for name in zoo.names():
        network = zoo.load(name).network
        runtime = Runtime(network)
        ordinary = _ordinary(network)
        for batch in BATCHES:
            rows = np.random.default_rng(0).integers(0, 256, (batch, network.row_length), dtype=np.uint8)
            rate = _rate(runtime, rows)
            made.append({"name": f"inference/{name}/batch{batch}", "value": round(rate), "unit": "rows/s"})
            features = {"features": rows.astype(np.float32)}
            ratio = _compare(partial(runtime.run, rows), partial(ordinary.run, None, features))
            title = f"inference/{name}/batch{batch}/canonical_vs_ort_int8"
            made.append({"name": title, "value": round(ratio, 2), "unit": "ratio"})
        start = perf_counter()
        run(network, rows)
        slow = len(rows) / (perf_counter() - start)
        made.append({"name": f"inference/{name}/vs_interpreter", "value": round(rate / slow, 1), "unit": "ratio"})
    return made


def _rate(runtime: Runtime, rows: NDArray[np.uint8]) -> float:
    runtime.run(rows)
    done, start = 0, perf_counter()
    while perf_counter() - start < SECONDS:
        runtime.run(rows)
        done += len(rows)
    return done / (perf_counter() - start)


def _compare(ours: Callable[[], object], theirs: Callable[[], object]) -> float:
    """How many times as fast ours is: the median of rounds in which both run, turn about, for some milliseconds."""
    calls = [_calls_in_a_round(each) for each in (ours, theirs)]
    ratios = []
    for number in range(ROUNDS):
        order = ((ours, calls[0]), (theirs, calls[1]))
        seconds = [_seconds_a_call(*each) for each in (order if number % 2 else order[::-1])]
        ratios.append(seconds[1] / seconds[0] if number % 2 else seconds[0] / seconds[1])
    return median(ratios)


def _calls_in_a_round(work: Callable[[], object]) -> int:
    _seconds_a_call(work, 10)
    return max(1, int(ROUND_SECONDS / _seconds_a_call(work, 10)))


def _seconds_a_call(work: Callable[[], object], calls: int) -> float:
    start = perf_counter()
    for _ in range(calls):
        work()
    return (perf_counter() - start) / calls


def _ordinary(network: IntegerNetwork) -> Any:
    """A session of the same layers as floats, after the runtime's static quantisation with its default settings."""
    rows = np.random.default_rng(1).integers(0, 256, (256, network.row_length), dtype=np.uint8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(to_int8(network, rows), options, providers=["CPUExecutionProvider"])
