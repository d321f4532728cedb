"""The fault campaign: python -m tests.chaos [--fault NAME …] [--phase NAME …] [--seed N …] [--lanes N] [--write FILE].

Every kind of fault at every moment of a job, on real anvil, Redis and processes. Each result is kept in the folder of results
as soon as it is known; what is there and went well is not run again, so an interrupted campaign goes on where it stopped. One
run is replayed by naming its fault, phase and seed, with --again. The exit code is 1 if a run went badly, 2 if something is
missing here.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.between_marks import write_between_marks
from tests.chaos import campaign
from tests.chaos.campaign import every_run, lanes
from tests.chaos.fault import FAULTS
from tests.chaos.phases import PHASES
from tests.chaos.play import Record, Run
from tests.chaos.table import markdown

PROJECT = Path(__file__).parents[2]
RESULTS = PROJECT / ".tools" / "chaos"


def main() -> int:
    """The command line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: every process of every stage is ended
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--fault", action="append", metavar="NAME", help="this kind alone; may be repeated")
    parser.add_argument("--phase", action="append", choices=PHASES, help="at this moment alone; may be repeated")
    parser.add_argument("--seed", action="append", type=int, help="0 unless given; may be repeated")
    parser.add_argument("--lanes", type=int, default=2, help="stages at a time (2)")
    parser.add_argument("--most", type=int, help="no more runs than this, this time")
    parser.add_argument("--again", action="store_true", help="also what is in the results and went well")
    parser.add_argument("--list", action="store_true", help="print the kinds of fault and the moments")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results (.tools/chaos)")
    parser.add_argument("--write", type=Path, help="write the table to this Markdown file, between its marks")
    options = parser.parse_args()
    if options.list:
        print("\n".join([*FAULTS, "", *PHASES]))
        return 0
    if unknown := set(options.fault or ()) - FAULTS.keys():
        parser.error(f"there is no fault {sorted(unknown)[0]!r}: --list prints them")
    runs = list(every_run(options.fault or list(FAULTS), options.phase or list(PHASES), options.seed or [0]))
    absent = {name: why for name in {run.fault for run in runs} if (why := FAULTS[name].needs())}
    runs = [run for run in runs if run.fault not in absent]
    file = options.results / "results.jsonl"
    done = {} if options.again else _known(file)
    due = [run for run in runs if run.name not in done or not done[run.name].is_good]
    due.sort(key=lambda run: _rank(run.fault))  # whatever there is time for is of all families, and whole kinds
    _play(due[: options.most], options.lanes, options.results, file)
    return _tell([record for name, record in _known(file).items()], options.write, set(absent.values()))


def _rank(name: str) -> int:
    """How many kinds of its family come before it."""
    family = [fault.name for fault in FAULTS.values() if fault.family == FAULTS[name].family]
    return family.index(name)


def _play(due: list[Run], count: int, folder: Path, file: Path) -> None:
    """Play what is due, and keep each result at once."""
    folder.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True)
    for number, (run, record) in enumerate(lanes(due, count, folder / "lanes"), 1):
        with file.open("a") as results:
            print(json.dumps({**record.as_json(), "commit": commit.stdout.strip()}), file=results)
        print(f"{number}/{len(due)} {run.name}: {campaign.told(record)}", flush=True)


def _tell(records: list[Record], write: Path | None, lacking: set[str]) -> int:
    text = markdown(records)
    print(text)
    for why in sorted(lacking):
        print(why, file=sys.stderr)
    if write:
        write_between_marks(write, "make chaos", text)
    return 1 if any(not record.is_good for record in records) else 2 if lacking else 0


def _known(file: Path) -> dict[str, Record]:
    """The latest result of each run."""
    return {Run(one.fault, one.phase, one.seed).name: one for one in _records(file) if one.fault in FAULTS}


def _records(file: Path) -> Iterator[Record]:
    if file.exists():
        for line in file.read_text().splitlines():
            given = json.loads(line)
            given.pop("commit", None)
            yield Record(**given)


if __name__ == "__main__":
    sys.exit(main())
