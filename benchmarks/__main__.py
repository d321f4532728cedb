"""Measure, print, and keep: python -m benchmarks [accuracy|gas|inference|merkle|pipeline|dashboard|zk …] [--json|--write …]."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
from pathlib import Path
from typing import Any

TABLES = ("accuracy", "gas", "inference", "merkle", "pipeline", "dashboard", "zk")
SNAPSHOT = Path(__file__).parent / "gas_snapshot.json"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"which of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--json", action="store_true", help='print a list of {"name", "value", "unit"}')
    parser.add_argument("--write", type=Path, help="write the tables to this Markdown file as well")
    parser.add_argument("--snapshot", action="store_true", help=f"write the gas figures to {SNAPSHOT.name}")
    options = parser.parse_args()
    if unknown := set(options.tables) - set(TABLES):
        parser.error(f"no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    rows: list[dict[str, Any]] = []
    for table in options.tables or TABLES:
        rows += importlib.import_module(f"benchmarks.{table}").measure()
    print(json.dumps(rows, indent=1) if options.json else _markdown(rows))
    if options.write:
        options.write.write_text(_markdown(rows))
    if options.snapshot:
        gas = {row["name"]: row["value"] for row in rows if row["unit"] == "gas"}
        SNAPSHOT.write_text(json.dumps(gas, indent=1) + "\n")


def _markdown(rows: list[dict[str, Any]]) -> str:
    """The tables as Markdown, with the machine they were measured on."""
    lines = [
        "# Results of `make bench`",
        "",
        f"{platform.machine()}, Python {platform.python_version()}.",
        "Rates vary by ±30 % on shared machines; gas and ratios do not.",
        "",
        "| name | value | unit |",
        "|---|---:|---|",
    ]
    lines += [f"| {row['name']} | {row['value']:,} | {row['unit']} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
