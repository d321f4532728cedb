"""Proves one inference with ezkl and prints what that took, as JSON. Needs ezkl and nothing else: it has a virtual environment
of its own, in which this file is run as a program.

    python zk_prover.py FOLDER    FOLDER has network.onnx (one row, float32) and input.json; what ezkl writes goes there too
"""

from __future__ import annotations

import asyncio
import inspect
import json
import resource
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import process_time
from typing import Any

import ezkl  # type: ignore[import-not-found]


async def main(folder: Path) -> None:
    """Every step, in order; the structured reference string is made here, since this machine may have no network."""

    def at(name: str) -> str:
        return str(folder / name)

    seconds: dict[str, float] = {}

    async def step(name: str, work: Callable[..., Any], **given: Any) -> Any:
        began = process_time()
        made = work(**given)
        made = await made if inspect.isawaitable(made) else made
        seconds[name] = round(process_time() - began, 3)
        return made

    arguments = ezkl.PyRunArgs()
    arguments.input_visibility, arguments.output_visibility, arguments.param_visibility = "public", "public", "fixed"
    model, settings, circuit, srs = at("network.onnx"), at("settings.json"), at("circuit.ezkl"), at("kzg.srs")
    keys = {"vk_path": at("vk.key"), "pk_path": at("pk.key")}
    await step("settings", ezkl.gen_settings, model=model, output=settings, py_run_args=arguments)
    await step(
        "calibrate", ezkl.calibrate_settings, data=at("input.json"), model=model, settings=settings, target="resources"
    )
    rows = json.loads(Path(settings).read_text())["run_args"]["logrows"]
    await step("srs", ezkl.gen_srs, srs_path=srs, logrows=rows)
    await step("compile", ezkl.compile_circuit, model=model, compiled_circuit=circuit, settings_path=settings)
    await step("setup", ezkl.setup, model=circuit, srs_path=srs, **keys)
    await step("witness", ezkl.gen_witness, data=at("input.json"), model=circuit, output=at("witness.json"))
    await step(
        "prove", ezkl.prove, witness=at("witness.json"), model=circuit, pk_path=keys["pk_path"],
        proof_path=at("proof.json"), srs_path=srs,
    )  # fmt: skip
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    verified = await step(
        "verify",
        ezkl.verify,
        proof_path=at("proof.json"),
        settings_path=settings,
        vk_path=keys["vk_path"],
        srs_path=srs,
    )
    try:
        await step(
            "verifier", ezkl.create_evm_verifier, vk_path=keys["vk_path"], settings_path=settings,
            sol_code_path=at("verifier.sol"), abi_path=at("verifier.abi"), srs_path=srs,
        )  # fmt: skip
    except RuntimeError:  # the source is written; then it wants to download a compiler of its own, for the ABI
        if not (folder / "verifier.sol").exists():
            raise
    await step("calldata", ezkl.encode_evm_calldata, proof=at("proof.json"), calldata=at("calldata.bin"))
    told = {
        "version": version("ezkl"), "logrows": rows, "cpu_seconds": seconds, "verified": bool(verified),
        "memory": memory * 1024, "proving_key": Path(keys["pk_path"]).stat().st_size,
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
