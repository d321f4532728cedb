"""One result on every platform: the whole matrix, resumable. python -m tests.determinism [--platform NAME …] [--write FILE].

Each case is run natively and under each emulated processor, at every optimisation level, with 1 and 2 threads, in batches of 1,
7, 64 and all rows, and held against the specification. What was done already is in the folder of results and is not done again
as long as the case and ONNX Runtime are the same. The exit code is 1 if anything differs, 2 if a platform is missing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from tests.between_marks import write_between_marks
from tests.determinism.cases import Case, exact_cases, ordinary_cases
from tests.determinism.platforms import PLATFORMS, PROJECT, NoPlatform, Platform
from tests.determinism.table import markdown

SWEEP = Path(__file__).parent / "sweep.py"
EMULATED_ROWS = 200
RESULTS = PROJECT / ".tools" / "determinism"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.determinism", description=__doc__)
    names = [platform.name for platform in PLATFORMS]
    parser.add_argument("--platform", action="append", choices=names, help="one of them alone; may be repeated")
    parser.add_argument("--write", type=Path, help="write the table to this Markdown file, between its marks")
    options = parser.parse_args()
    cases = [*exact_cases(), *ordinary_cases()]
    for case in cases:
        case.write(RESULTS / "cases")
    lines, missing = [], []
    for platform in PLATFORMS:
        if options.platform and platform.name not in (
            *options.platform,
            "native",
        ):  # ordinary models need native's outputs
            continue
        try:
            lines += run_all(platform, cases, RESULTS)
        except NoPlatform as error:
            missing.append(platform.name)
            print(f"{platform.name}: {error}", file=sys.stderr)
    text = markdown(lines)
    print(text)
    if options.write:
        write_between_marks(options.write, "make determinism", text)
    wrong = [line for line in lines if line["different"] and not line["case"].startswith("ordinary")]
    return 1 if wrong else 2 if missing else 0


def run_all(platform: Platform, cases: list[Case], folder: Path) -> Iterator[dict]:
    """The line of each case on a platform, each from the results or run now. Raises NoPlatform."""
    command = platform.command()
    for case in cases:
        where = folder / "results" / platform.name / f"{case.name}.json"
        stamp = _stamp(case)
        if where.exists() and (line := json.loads(where.read_text()))["stamp"] == stamp:
            yield line
            continue
        line = {"platform": platform.name, "stamp": stamp, **run_one(platform, command, folder, case)}
        print(f"{platform.name} {case.name}: {line['different'] or 'equal'}, {line['seconds']} s", file=sys.stderr)
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(json.dumps(line))
        yield line


def run_one(platform: Platform, command: list[str], folder: Path, case: Case) -> dict:
    """sweep.py on one case. An ordinary model is run at one level, natively first: its outputs there are what others are
    held against."""
    where = folder / "cases" / case.name
    options = [] if platform.cpu is None else [f"--rows={EMULATED_ROWS}"]
    if case.network is None:
        options += ["--levels=all"]
        if platform.cpu is None:
            (where / "logits.npy").unlink(missing_ok=True)
            options += [f"--keep={where}"]
    done = subprocess.run([*command, f"{SWEEP}", f"{where}", *options], capture_output=True, text=True)
    if done.returncode:
        raise NoPlatform(f"{case.name}: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout)


def _stamp(case: Case) -> str:
    import numpy
    import onnxruntime

    versions = f"{onnxruntime.__version__} {numpy.__version__}".encode()
    return sha256(b"\0".join([SWEEP.read_bytes(), versions, case.model, case.rows.tobytes()])).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
