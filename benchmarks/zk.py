"""A zero-knowledge proof of the same small network, beside a verdict here and its refutation.

ezkl proves one inference of the wine-grading network's layers (13-32-16-3), in a fixed point of its own. `make zk` installs it
in .tools/ezkl; without it this table is empty. Times are CPU seconds, since others may use the machine. Nothing is downloaded:
the structured reference string is made here, and the verifier compiled with the project's solc, since ezkl would fetch one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

import onnx

from benchmarks.ordinary_int8 import to_float
from contracts.compiler import PROJECT, find_solc
from contracts.endpoint import Call
from contracts.transactor import Transactor
from coordinator.devnet import dev_accounts, dev_keys, running_chain
from models import zoo
from models.runtime import Runtime

PYTHON = PROJECT / ".tools" / "ezkl" / "bin" / "python"
PROVER = Path(__file__).parent / "zk_prover.py"
SNAPSHOT = Path(__file__).parent / "gas_snapshot.json"
MODEL = "wine-grading"
SHAPE = "13-32-16-3"
CALLS = 2000


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table; none where ezkl is not installed. Takes about a minute."""
    if not PYTHON.exists():
        sys.stderr.write("zk: ezkl is not installed, make zk does that\n")
        return []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = _prove(folder)
        verifying = _gas_of_verifying(folder)
    gas = json.loads(SNAPSHOT.read_text())
    rows = [
        ("ezkl/prove", told["cpu_seconds"]["prove"], "CPU s"),
        ("ezkl/setup", told["cpu_seconds"]["setup"], "CPU s"),
        ("ezkl/memory", round(told["memory"] / 1e6), "MB"),
        ("ezkl/proving_key", round(told["proving_key"] / 1e6, 1), "MB"),
        ("ezkl/verify/gas", verifying, "gas"),
        ("quorate/verdict", _seconds_a_verdict(), "CPU s"),
        ("quorate/refute/gas", gas[f"refute/{SHAPE}/1000"], "gas"),
    ]
    return [{"name": f"zk/{SHAPE}/{name}", "value": value, "unit": unit} for name, value, unit in rows]


def _prove(folder: Path) -> dict[str, Any]:
    """What the prover says of one row, having written proof and verifier to the folder."""
    model = zoo.load(MODEL)
    network = onnx.load_from_string(to_float(model.network))
    for value in (*network.graph.input, *network.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    (folder / "network.onnx").write_bytes(network.SerializeToString())
    rows, _ = model.read_vectors()
    (folder / "input.json").write_text(json.dumps({"input_data": [rows[0].astype(float).tolist()]}))
    command = [f"{PYTHON}", f"{PROVER}", f"{folder}"]
    environment = {"PATH": os.environ["PATH"], "HOME": f"{folder}"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["verified"]
    return told


def _gas_of_verifying(folder: Path) -> int:
    """Of the whole transaction, calldata and all, as a refutation's figure is."""
    import solcx

    request = {
        "language": "Solidity",
        "sources": {"verifier.sol": {"content": (folder / "verifier.sol").read_text()}},
        "settings": {
            "evmVersion": "cancun",
            "optimizer": {"enabled": True, "runs": 1},
            "outputSelection": {"*": {"*": ["evm.bytecode.object"]}},
        },
    }
    compiled = solcx.compile_standard(request, solc_binary=find_solc())["contracts"]["verifier.sol"]["Halo2Verifier"]
    with running_chain("py-evm", accounts=dev_accounts(1)) as url:
        sender = Transactor(url, dev_keys(1)[0])
        deployed = sender.send(Call(None, bytes.fromhex(compiled["evm"]["bytecode"]["object"])))
        verified = sender.send(Call(deployed["contractAddress"], (folder / "calldata.bin").read_bytes()))
    return int(verified["gasUsed"])


def _seconds_a_verdict() -> float:
    """One row through the runtime."""
    model = zoo.load(MODEL)
    rows, _ = model.read_vectors()
    runtime = Runtime(model.network)
    runtime.run(rows[:1])
    began = process_time()
    for _ in range(CALLS):
        runtime.run(rows[:1])
    return round((process_time() - began) / CALLS, 7)
