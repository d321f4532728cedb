"""Compiles contracts/src with py-solc-x and keeps the committed artifacts (ABI + bytecode) true.

    python -m contracts.compiler            recompile into contracts/artifacts
    python -m contracts.compiler --check    exit 1 if a committed artifact is stale

The compiler is the native solc that py-solc-x installs; where its download host cannot be reached, point QUORATE_SOLC at a
solc executable, or put npm's `solc` package under .tools/node_modules and it is run through contracts/solc.js. The library
that sources import by an @ name comes from npm too: see LIBRARY.
"""

from __future__ import annotations

import argparse
import json
import os
import posixpath
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

SOLC_VERSION = "0.8.37"
EVM_VERSION = "cancun"
PACKAGE = Path(__file__).parent
SOURCES = PACKAGE / "src"
ARTIFACTS = PACKAGE / "artifacts"
PROJECT = PACKAGE.parent
LIBRARY = "@openzeppelin/contracts@5.7.0"
"""What `npm install --prefix .tools` must have put there; only compiling needs it."""
NODE_MODULES = PROJECT / ".tools" / "node_modules"
IMPORT = re.compile(r'^import\b[^;"]*"([^"]+)";', re.MULTILINE)


class CompilerMissing(Exception):
    """No solc of SOLC_VERSION could be found or installed, or not the LIBRARY that a source imports."""


def find_solc() -> Path:
    """The solc executable to use. Raises CompilerMissing, saying what to do."""
    if named := os.environ.get("QUORATE_SOLC"):
        return Path(named)
    module = PROJECT / ".tools" / "node_modules" / "solc"
    if module.is_dir() and shutil.which("node"):
        wrapper = PROJECT / ".tools" / "solc"
        if not wrapper.exists():
            wrapper.write_text(f'#!/bin/sh\nexec node "{PACKAGE / "solc.js"}" "{module}" "$@"\n')
            wrapper.chmod(wrapper.stat().st_mode | stat.S_IEXEC)
        return wrapper
    import solcx

    try:
        return Path(solcx.install.get_executable(SOLC_VERSION))
    except solcx.exceptions.SolcNotInstalled:
        pass
    try:
        solcx.install_solc(SOLC_VERSION)
    except Exception as error:
        raise CompilerMissing(
            f"solc {SOLC_VERSION} is not installed and could not be downloaded ({error}); "
            f"run `npm install --prefix .tools solc@{SOLC_VERSION}` or set QUORATE_SOLC"
        ) from error
    return Path(solcx.install.get_executable(SOLC_VERSION))


def with_library(sources: dict[str, str]) -> dict[str, str]:
    """{path: source} and, under their import names, the library's files that they import, those import, and so on.

    Raises CompilerMissing if the library is not there, or in another version.
    """
    closed = dict(sources)
    waiting = list(sources)
    while waiting:
        importer = waiting.pop()
        for name in IMPORT.findall(closed[importer]):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(importer), name)) if name[0] == "." else name
            if path.startswith("@") and path not in closed:
                closed[path] = _library_file(path)
                waiting.append(path)
    return closed


def _library_file(path: str) -> str:
    name, _, version = LIBRARY.rpartition("@")
    manifest, file = NODE_MODULES / name / "package.json", NODE_MODULES / path
    if not file.is_file() or json.loads(manifest.read_text())["version"] != version:
        raise CompilerMissing(f"{path} of {LIBRARY} is missing: run `npm install --prefix .tools {LIBRARY}`")
    return file.read_text()


def standard_input(sources: dict[str, str], outputs: list[str], *, optimise: bool = True) -> dict[str, Any]:
    """What solc is asked: {path: source} in our settings, with what they import, and the `outputs` wanted of every contract.

    Raises CompilerMissing as with_library does.
    """
    return {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in with_library(sources).items()},
        "settings": {
            "evmVersion": EVM_VERSION,
            "optimizer": {"enabled": optimise, "runs": 10_000},
            "viaIR": True,
            "metadata": {"bytecodeHash": "none", "appendCBOR": False},
            "outputSelection": {"*": {"*": outputs}},
        },
    }


def run_solc(request: dict[str, Any]) -> dict[str, Any]:
    """solc's answer to a standard input. Raises solcx.exceptions.SolcError with its own message; a warning is an error too."""
    import solcx

    output: dict[str, Any] = solcx.compile_standard(request, solc_binary=find_solc())
    problems = [e["formattedMessage"] for e in output.get("errors", []) if e["severity"] in ("error", "warning")]
    if problems:
        raise solcx.exceptions.SolcError("\n".join(problems))
    return output


def compile_sources(sources: dict[str, str], *, optimise: bool = True) -> dict[str, dict[str, Any]]:
    """Compile {path: source}; returns {path: {contract name: {"abi", "bytecode", "deployed_bytes", "storage"}}}.

    Raises what run_solc raises.
    """
    outputs = ["abi", "storageLayout", "evm.bytecode.object", "evm.deployedBytecode.object"]
    output = run_solc(standard_input(sources, outputs, optimise=optimise))
    return {
        path: {
            name: {
                "abi": made["abi"],
                "bytecode": "0x" + made["evm"]["bytecode"]["object"],
                "deployed_bytes": len(made["evm"]["deployedBytecode"]["object"]) // 2,
                "storage": _storage(made.get("storageLayout") or {}),
            }
            for name, made in contracts.items()
        }
        for path, contracts in output["contracts"].items()
    }


def _storage(layout: dict[str, Any]) -> list[str]:
    """One line a variable: slot, offset in bytes, name and type, without the compiler's own numbering of types."""
    return [
        f"{each['slot']}+{each['offset']} {each['label']}: {re.sub(r'[)][0-9]+', ')', each['type'])}"
        for each in layout.get("storage", [])
    ]


def read_sources(*roots: Path) -> dict[str, str]:
    """{path relative to the project: text} of every .sol file below the roots."""
    return {
        path.relative_to(PROJECT).as_posix(): path.read_text() for root in roots for path in sorted(root.rglob("*.sol"))
    }


def build(sources: dict[str, str], below: str) -> dict[str, str]:
    """{artifact file name: its text} for everything with an ABI whose source path begins with `below`."""
    made = {}
    for path, contracts in compile_sources(sources).items():
        for name, artifact in contracts.items():
            if artifact["abi"] and path.startswith(below):
                text = json.dumps({"contract": name, "source": path, **artifact}, indent=1, sort_keys=True)
                made[f"{name}.json"] = text + "\n"
    return made


def main(sources: dict[str, str], artifacts: Path, below: str) -> int:
    """Compile into `artifacts`, or check them. Exit status: 0, 1 if stale, 2 without a compiler."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if an artifact is stale")
    options = parser.parse_args()
    try:
        made = build(sources, below)
    except CompilerMissing as error:
        sys.stderr.write(f"{error}\n")
        return 2
    have = {path.name: path.read_text() for path in artifacts.glob("*.json")}
    stale = sorted(name for name in made.keys() | have.keys() if made.get(name) != have.get(name))
    if options.check:
        if stale:
            sys.stderr.write(f"stale artifacts: {', '.join(stale)}; run `make artifacts`\n")
        return 1 if stale else 0
    artifacts.mkdir(exist_ok=True)
    for name in have.keys() - made.keys():
        (artifacts / name).unlink()
    for name, text in made.items():
        (artifacts / name).write_text(text)
    sys.stdout.write(f"{len(made)} artifacts, {len(stale)} changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(read_sources(SOURCES), ARTIFACTS, below="contracts/src/"))
