"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.fault import FAULTS
from tests.chaos.phases import PHASES
from tests.chaos.play import Record


def markdown(records: Sequence[Record]) -> str:
    """A line for each kind of fault: a sign for each moment, and what the runs of that kind came to."""
    lines = [*_totals([record for record in records if not record.control]), ""]
    lines.append("| fault | " + " | ".join(PHASES) + " | earned | failed transactions | lasted, s |")
    lines.append("|---|" + ":---:|" * len(PHASES) + "---:|---:|---:|")
    families = dict.fromkeys(fault.family for fault in FAULTS.values())
    for family in families:
        lines.append(f"| **{family}** |" + " |" * (len(PHASES) + 3))
        for name, fault in FAULTS.items():
            of = [record for record in records if record.fault == name]
            if fault.family == family and of:
                lines.append(_line(name, of))
    return "\n".join([*lines, ""])


def _totals(records: Sequence[Record]) -> list[str]:
    lost = sum(record.lost for record in records)
    twice = sum(len(record.twice) for record in records)
    sent = sum(record.sent for record in records)
    reverted = sum(len(record.reverted) for record in records)
    wasted = sum(record.wasted for record in records)
    restarts = sum(len(record.restarts) for record in records)
    kinds = len({record.fault for record in records})
    seconds = sorted(record.seconds for record in records) or [0.0]
    return [
        f"**{len(records)} runs of {kinds} kinds of fault: {lost} wei of honest stake lost, {twice} duties paid for twice.**",
        f"{sent:,} transactions of the operator under fault; {reverted} of it and its peer failed in their block because "
        f"another was first, which cost {wasted:,} wei of gas. {restarts} processes ended by themselves and were started "
        f"again. Half of the runs took up to {seconds[len(seconds) // 2]:.0f} s, the longest {seconds[-1]:.0f} s.",
    ]


def _line(name: str, of: Sequence[Record]) -> str:
    cells = [_cell([record for record in of if record.phase == phase]) for phase in PHASES]
    earned = sum(record.paid > 0 for record in of)
    reverted = sum(len(record.reverted) for record in of)
    lasted = [record.lasted for record in of]
    times = "–" if max(lasted) < 1 else f"{min(lasted):.0f}–{max(lasted):.0f}"
    return f"| {name} | {' | '.join(cells)} | {earned}/{len(of)} | {reverted} | {times} |"


def _cell(of: Sequence[Record]) -> str:
    if not of:
        return ""
    if any(record.lost for record in of):
        return "**lost**"
    if any(record.twice for record in of):
        return "**twice**"
    return "✓" if all(record.is_good for record in of) else "**bad**"
