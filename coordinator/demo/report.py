"""What the demo prints: its steps as they happen, then who did what, who earned and lost what, and the gas of it all."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from contracts.job import NOBODY

if TYPE_CHECKING:
    from coordinator.demo.ledger import Books
    from coordinator.demo.stage import Stage

ETHER = 10**18


class Report:
    """Steps go to standard error, results to standard output."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.books: Books | None = None
        self._log = Console(stderr=True, quiet=quiet, highlight=False)
        self._steps: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step of the play, timed."""
        began = time.monotonic()
        self._log.print(f"[bold]▸ {name}[/bold]")
        yield
        self._steps[name] = round(time.monotonic() - began, 1)
        self._log.print(f"  done in {self._steps[name]} s", style="dim")

    def say(self, line: str) -> None:
        """A line below the current step."""
        self._log.print(f"  {line}", style="dim")

    def show(self, stage: Stage, findings: list[str], *, as_json: bool) -> None:
        """Everything, as tables or as one JSON object."""
        facts = self._facts(stage, findings)
        if as_json:
            sys.stdout.write(json.dumps(facts, indent=1) + "\n")
            return
        out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        for job in facts["jobs"]:
            out.print(_table(f"Job {job['number']}: {job['outcome']}", job["seats"]))
            for line in job["disputes"]:
                out.print(f"  {line}")
        out.print(_table("Who earned and lost what", [line for one in facts["accounts"] for line in _entries(one)]))
        out.print(_table("Gas of each step", facts["gas"]))
        out.print(f"burned: {facts['burned']} wei; the supplier was paid for {facts['bottles_paid']} bottles")
        if findings:
            out.print("[bold red]It does not add up:[/bold red]")
            for finding in findings:
                out.print(f"  - {finding}")
        else:
            out.print("[bold green]Every balance adds up, to the wei.[/bold green]")

    def _facts(self, stage: Stage, findings: list[str]) -> dict[str, Any]:
        from coordinator.demo.sale import PRICE

        assert self.books is not None
        supplier = self.books.accounts[stage.supplier.sender]
        return {
            "adds_up": not findings,
            "findings": findings,
            "seconds": self._steps,
            "jobs": [_job_facts(stage, number) for number in range(len(stage.jobs))],
            "accounts": [
                {
                    "who": account.name,
                    "rewards": account.rewards,
                    "bounties": account.bounties,
                    "bonds": account.bonds,
                    "forfeited": -account.forfeited,
                    "traded": account.traded,
                    "gas": -account.gas,
                    "net": account.should_hold - _start(),
                    "off by": account.holds - account.should_hold,
                }
                for account in self.books.accounts.values()
            ],
            "burned": self.books.burned,
            "bottles_paid": supplier.traded // PRICE,
            "gas": [
                {"step": name, "calls": gas.calls, "gas each": gas.used // gas.calls, "gas": gas.used}
                for name, gas in sorted(self.books.gas.items())
            ],
        }


def _start() -> int:
    from coordinator.devnet import DEV_BALANCE

    return DEV_BALANCE


def _job_facts(stage: Stage, number: int) -> dict[str, Any]:
    view = stage.view(stage.jobs[number])
    names = {operator.address: operator.character for operator in stage.operators}
    disputes = [
        f"{names[demand.demander].name} demanded node {node.index} of level {node.level} under {_short(node.root)}: "
        + (f"{names[demand.answerer].name} answered" if demand.answered else "nobody answered")
        for node, demand in view.demands.items()
    ]
    disputes += [
        f"{names[refuter].name} refuted {_short(root)}, the root of {tally.seats} seats, by execution"
        for root, tally in view.roots.items()
        if (refuter := view.refuter(root)) != NOBODY
    ]
    return {
        "number": number + 1,
        "id": "0x" + view.job_id.hex(),
        "outcome": view.state.outcome.name.capitalize(),
        "root": "0x" + view.state.root.hex(),
        "disputes": disputes,
        "seats": [
            {
                "operator": names[worker].name,
                "part": names[worker].part,
                "seats": seat.count,
                "root": _short(seat.root) if seat.root else "never revealed",
                "paid": seat.paid,
                "forfeited": seat.forfeited,
            }
            for worker, seat in view.seats.items()
        ],
    }


def _entries(account: dict[str, Any]) -> list[dict[str, Any]]:
    """An account's lines that are not zero, its net at the end."""
    items = {name: wei for name, wei in account.items() if name not in ("who", "net", "off by") and wei}
    lines = [{"who": "", "what": name, "wei": wei} for name, wei in items.items()]
    lines.append({"who": "", "what": "net", "wei": account["net"]})
    if account["off by"]:
        lines.append({"who": "", "what": "off by", "wei": account["off by"]})
    return [{**lines[0], "who": account["who"]}, *lines[1:]]


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="right" if isinstance(rows[0][name], int) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    return table


def _short(value: bytes) -> str:
    return f"0x{value.hex()[:8]}…"
