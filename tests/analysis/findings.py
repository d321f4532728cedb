"""Static analysis: slither over contracts/src, held against the answers in docs/security.md.

    python -m tests.analysis.findings       exit 1 if a finding is unanswered or an answer has no finding

Everything that slither ranks above informational needs a row in the table below the heading "What static analysis finds":
detector, contract and function, answer. Comments that silence slither in the sources are refused: one place says why.
slither pins libraries of its own, so it lives in .tools/slither (`make analysis` puts it there).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.compiler import PROJECT, SOURCES, CompilerMissing, find_solc, read_sources, standard_input

HEADING = "## What static analysis finds"
ANSWERS = PROJECT / "docs" / "security.md"
SILENCER = "slither-disable"
OUTPUTS = ["abi", "userdoc", "devdoc", "evm.bytecode", "evm.deployedBytecode"]


class AnalyserMissing(Exception):
    """slither is not where it should be."""


class AnalysisFailed(Exception):
    """slither ended without a result, or was told to look away."""


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """A detector and where it struck: `ComputeOracle.settle`, or a contract's bare name."""

    detector: str
    place: str


def find_slither() -> Path:
    """The slither executable. Raises AnalyserMissing, saying what to do."""
    slither = PROJECT / ".tools" / "slither" / "bin" / "slither"
    if not slither.exists():
        raise AnalyserMissing("run `make analysis`, which installs slither under .tools")
    return slither


def analyse(sources: dict[str, str]) -> dict[Finding, str]:
    """What slither finds in {path: source}, with its own description.

    Raises AnalyserMissing, CompilerMissing, AnalysisFailed.
    """
    silenced = sorted(path for path, text in sources.items() if SILENCER in text)
    if silenced:
        raise AnalysisFailed(f"{SILENCER} in {', '.join(silenced)}: findings are answered in {ANSWERS.name}")
    slither, solc = find_slither(), find_solc()
    with tempfile.TemporaryDirectory() as folder:
        request = standard_input(sources, OUTPUTS)
        request["settings"]["outputSelection"]["*"][""] = ["ast"]
        Path(folder, "input.json").write_text(json.dumps(request))
        for path, source in request["sources"].items():  # slither shows lines of the files
            Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, path).write_text(source["content"])
        command = [str(slither), "input.json", "--compile-force-framework", "solc-json", "--solc", str(solc)]
        command += ["--json", "out.json", "--exclude-informational", "--exclude-optimization", "--filter-paths", "^@"]
        environment = {**os.environ, "PATH": f"{slither.parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        output = Path(folder, "out.json")
        result: dict[str, Any] = (
            json.loads(output.read_text()) if output.exists() else {"success": False, "error": done.stderr}
        )
    if not result["success"]:
        raise AnalysisFailed(result["error"])
    return {_finding(each): each["description"].strip() for each in result["results"].get("detectors", [])}


def _finding(result: dict[str, Any]) -> Finding:
    element = result["elements"][0]
    names = [element["name"]]
    while parent := element.get("type_specific_fields", {}).get("parent"):
        element = parent
        if element["type"] in ("contract", "function"):
            names.insert(0, element["name"])
    return Finding(result["check"], ".".join(names[:2]))


def answered(document: str) -> dict[Finding, str]:
    """The rows of the document's table: {finding: answer}. A row may answer for several places, not without an answer."""
    _, _, section = document.partition(f"{HEADING}\n")
    section = re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `([\w-]+)` \| ((?:`[\w.]+`(?:, )?)+) \| (\S.*?) \|$", section, re.MULTILINE)
    return {
        Finding(detector, place): answer for detector, places, answer in rows for place in places[1:-1].split("`, `")
    }


def complaints(found: dict[Finding, str], answers: dict[Finding, str]) -> list[str]:
    """One line for each finding without an answer and each answer without a finding."""
    return [
        *(
            f"unanswered: {each.detector} in {each.place}\n{found[each]}"
            for each in sorted(found.keys() - answers.keys())
        ),
        *(f"not found any more: {each.detector} in {each.place}" for each in sorted(answers.keys() - found.keys())),
    ]


def main() -> int:
    """Exit status: 0, 1 if the table is not true, 2 without slither or a compiler."""
    try:
        found = analyse(read_sources(SOURCES))
    except (AnalyserMissing, CompilerMissing) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    problems = complaints(found, answered(ANSWERS.read_text("utf-8")))
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    sys.stdout.write(f"{len(found)} findings above informational, {len(problems)} not settled in {ANSWERS.name}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
