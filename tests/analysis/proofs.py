"""Symbolic proofs: halmos over the Solidity of tests/analysis/proofs, run in the oracle's own bytecode.

    python -m tests.analysis.proofs [REGEX]     prove all, or what matches; exit 1 unless everything holds

Functions named check_… must hold for every value of their parameters. Functions named find_… claim that something never
happens which does: there the prover must find the counterexample, so that no check holds only because nothing gets that far.
halmos pins libraries of its own, so it lives in .tools/halmos (`make proofs` puts it there); it asks forge to build, which
is not needed: the artifacts that it reads are written here, from the one compiler.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.compiler import PROJECT, SOURCES, CompilerMissing, read_sources, run_solc, standard_input

HERE = Path(__file__).parent
PROOFS = HERE / "proofs"
OUTPUTS = ["abi", "metadata", "evm.bytecode", "evm.deployedBytecode", "evm.methodIdentifiers"]
PASSED, FAILED = 0, 1  # halmos' exit codes for a proof and a counterexample


class ProverMissing(Exception):
    """halmos is not where it should be."""


class ProofsNotRun(Exception):
    """halmos ended without a result."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one claim."""

    name: str
    holds: bool
    seconds: float
    paths: int


def find_halmos() -> Path:
    """The halmos executable. Raises ProverMissing, saying what to do."""
    halmos = PROJECT / ".tools" / "halmos" / "bin" / "halmos"
    if not halmos.exists():
        raise ProverMissing("run `make analysers`, which installs halmos under .tools")
    return halmos


def write_artifacts(sources: dict[str, str], folder: Path) -> None:
    """Compile {path: source} and write what forge would: folder/FILE.sol/CONTRACT.json. Raises what run_solc raises."""
    ours = f"{PROOFS.relative_to(PROJECT).as_posix()}/"
    for under_proof in (True, False):
        request = standard_input(sources, [])
        wanted = [path for path in sources if path.startswith(ours) != under_proof]
        request["settings"]["outputSelection"] = {path: {"*": OUTPUTS, "": ["ast"]} for path in wanted}
        if not under_proof:
            request["settings"]["optimizer"]["runs"] = 1  # long code is no fault in a proof, but a warning
        output = run_solc(request)
        for path, contracts in output.get("contracts", {}).items():
            for name, made in contracts.items():
                target = folder / Path(path).name / f"{name}.json"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(json.dumps(_artifact(made, output["sources"][path])))


def _artifact(made: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    evm = made["evm"]
    code = {kind: {**evm[kind], "object": "0x" + evm[kind]["object"]} for kind in ("bytecode", "deployedBytecode")}
    return {
        "abi": made["abi"],
        **code,
        "methodIdentifiers": evm["methodIdentifiers"],
        "metadata": json.loads(made["metadata"]),
        "ast": source["ast"],
        "id": source["id"],
    }


def prove(sources: dict[str, str], regex: str = "", seconds: float = 3600) -> list[Result]:
    """Try every claim of {path: source} that matches. Raises ProverMissing, CompilerMissing, ProofsNotRun and as run_solc."""
    halmos = find_halmos()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_artifacts(sources, root / "out")
        forge = root / "bin" / "forge"
        forge.parent.mkdir()
        forge.write_text("#!/bin/sh\n")
        forge.chmod(0o755)
        python = str(halmos.with_name("python"))
        command = [
            python,
            str(HERE / "prover.py"),
            "--root",
            folder,
            "--match-test",
            f"^(check|find)_.*{regex}",
            "--no-status",
        ]
        command += ["--loop", "300", "--solver-timeout-assertion", "0", "--json-output", "results.json"]
        command += ["--solver-command", f"{python} {HERE / 'solver.py'}"]
        environment = {**os.environ, "PATH": f"{forge.parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=seconds
        )
        results = root / "results.json"
        if not results.exists():
            raise ProofsNotRun(done.stdout + done.stderr)
        report = json.loads(results.read_text())
    return [_result(each) for tests in report["test_results"].values() for each in tests]


def _result(test: dict[str, Any]) -> Result:
    expected = FAILED if test["name"].startswith("find_") else PASSED
    return Result(test["name"], test["exitcode"] == expected, sum(test["time"]), test["num_paths"][0])


def main() -> int:
    """Exit status: 0, 1 if a claim does not hold, 2 without halmos or a compiler."""
    try:
        results = prove(read_sources(SOURCES, PROOFS), *sys.argv[1:2])
    except (ProverMissing, CompilerMissing) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for each in results:
        sys.stdout.write(f"{'holds' if each.holds else 'DOES NOT HOLD'} {each.name} ({each.seconds:.0f} s)\n")
    return 0 if results and all(each.holds for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
