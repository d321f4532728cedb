"""Measure, print, and keep: python -m benchmarks [TABLE …] [--json|--write …]."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLES = ("accuracy", "gas", "inference", "merkle", "pipeline", "operators", "load", "catch_up", "dashboard", "zk")
SNAPSHOT = Path(__file__).parent / "gas_snapshot.json"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"which of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--json", action="store_true", help='print a list of {"name", "value", "unit"}')
    parser.add_argument(
        "--write", type=Path, help="put the tables into this Markdown file, each as soon as it is measured"
    )
    parser.add_argument("--snapshot", action="store_true", help=f"write the gas figures to {SNAPSHOT.name}")
    options = parser.parse_args()
    if unknown := set(options.tables) - set(TABLES):
        parser.error(f"no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    measured: dict[str, list[dict[str, Any]]] = {}
    for table in options.tables or TABLES:
        measured[table] = importlib.import_module(f"benchmarks.{table}").measure()
        if options.write:  # at once: what comes next may take long, and be stopped
            keep(options.write, table, measured[table])
    rows = [row for each in measured.values() for row in each]
    print(json.dumps(rows, indent=1) if options.json else "\n\n".join(map(markdown, measured.values())))
    if options.snapshot:
        gas = {row["name"]: row["value"] for row in rows if row["unit"] == "gas"}
        SNAPSHOT.write_text(json.dumps(gas, indent=1) + "\n")


def keep(path: Path, table: str, rows: list[dict[str, Any]]) -> None:
    """Put a table into a Markdown file of all tables, whose others stay as they are. None where nothing was measured."""
    if not rows:
        return
    sections = dict(_sections(path.read_text("utf-8"))) if path.exists() else {}
    sections[table] = markdown(rows)
    machine = f"{platform.machine()}, Python {platform.python_version()}."
    lines = ["# Results of `make bench`", "", machine, "Rates vary by ±30 % on shared machines; gas and ratios do not."]
    for name in TABLES:
        if name in sections:
            lines += ["", f"## {name}", "", sections[name]]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """(table, its Markdown) of what `keep` wrote."""
    for part in text.split("\n## ")[1:]:
        name, _, body = part.partition("\n")
        yield name, body.strip()


def markdown(rows: list[dict[str, Any]]) -> str:
    """One table."""
    lines = ["| name | value | unit |", "|---|---:|---|"]
    lines += [f"| {row['name']} | {row['value']:,} | {row['unit']} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
