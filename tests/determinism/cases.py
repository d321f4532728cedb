"""What is run on every platform: models with the rows that provoke their hazards, and what the specification says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from onnxruntime.quantization.quant_utils import QuantType

from benchmarks.ordinary_int8 import NoFloatForm, to_float, to_int8
from models import zoo
from models.canonical import to_onnx
from models.interpreter import run
from models.network import IntegerNetwork
from models.probe import make_probe
from tests.models.random_graphs import OPERATORS, STYLES, graph_rows, random_graph
from tests.models.random_networks import hazard_rows, random_networks

ROWS = 1000
GRAPHS = 15  # of every style three, each with every operator
NETWORKS = 10  # of every style two, one with rows of 240 bytes or more


@dataclass(frozen=True)
class Case:
    """A folder for sweep.py. network: what the outputs are held against; None for one that promises nothing."""

    name: str
    model: bytes
    rows: np.ndarray
    network: IntegerNetwork | None = None

    def write(self, folder: Path) -> Path:
        """The case's own folder below it."""
        where = folder / self.name
        where.mkdir(parents=True, exist_ok=True)
        _put(where / "model.onnx", self.model)
        _put(where / "rows.npy", _stored(self.rows))
        if self.network is not None:
            _put(where / "logits.npy", _stored(run(self.network, self.rows.astype(np.uint8))))
        return where


def exact_cases() -> Iterator[Case]:
    """The zoo's models, and random ones at every bound of the canonical form."""
    for name in zoo.names():
        yield exact(f"zoo-{name}", zoo.load(name).network)
    for seed in range(GRAPHS):
        style = STYLES[seed % len(STYLES)]
        wanted = [str(name) for name in np.random.default_rng(seed).permutation(OPERATORS)]
        yield exact(f"graph-{style}-{seed}", random_graph(seed, style, wanted))
    for index, network in enumerate(random_networks(seed=11, count=NETWORKS)):
        yield exact(f"dense-{STYLES[index % len(STYLES)]}-{index}", network)


def exact(name: str, network: IntegerNetwork, count: int = ROWS) -> Case:
    """A canonical model with `count` rows: of the first 200, which is all that slow platforms see, 160 are the probe's."""
    probe = make_probe(network, max(16, count * 4 // 5)).rows
    generator = np.random.default_rng(1)
    if network.is_dense:
        more = hazard_rows(network, count - len(probe), generator)
    else:
        more = graph_rows(network, count - len(probe), generator)
    rows = np.concatenate([probe[:160], more[:40], probe[160:], more[40:]])
    return Case(name, to_onnx(network).SerializeToString(), rows, network)


def ordinary_cases() -> Iterator[Case]:
    """The same layers as people usually deploy them: float32, and ONNX Runtime's static int8 with bytes as activations."""
    for name in zoo.names():
        network = zoo.load(name).network
        rows = np.random.default_rng(2).integers(0, 256, (ROWS, network.row_length), dtype=np.uint8)
        try:
            models = {"float32": to_float(network), "int8": to_int8(network, rows, QuantType.QUInt8)}
        except NoFloatForm:
            continue
        for kind, model in models.items():
            yield Case(f"ordinary-{kind}-{name}", model, rows.astype(np.float32))


def _stored(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _put(path: Path, content: bytes) -> None:
    """Leaves a file alone that is right already: another run of the matrix may be reading it."""
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
