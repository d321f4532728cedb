"""The results of the matrix as Markdown."""

from __future__ import annotations

from collections import defaultdict

GROUPS = {
    "zoo-": "models of the zoo",
    "graph-": "random models of every operator",
    "dense-": "random models of dense layers",
    "ordinary-int8-": "ordinary static int8",
    "ordinary-float32-": "ordinary float32",
}


def markdown(lines: list[dict]) -> str:
    """Exact models: what was compared and what differed; ordinary ones: how many rows differ from the native processor's."""
    exact = [line for line in lines if not line["case"].startswith("ordinary")]
    ordinary = [line for line in lines if line["case"].startswith("ordinary")]
    return "\n".join([*_exact(exact), "", *_ordinary(ordinary), ""])


def _exact(lines: list[dict]) -> list[str]:
    table = [
        "| platform | models | each at | rows each | logits compared | that differ |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for platform, of in _by_platform(lines).items():
        rows = min(line["rows"] for line in of)
        runs = min(line["runs"] for line in of)
        values = sum(line["values"] for line in of)
        wrong = sum(sum(line["different"].values()) for line in of)
        table.append(f"| {platform} | {len(of)} | {runs} settings | {rows:,} | {values:,} | **{wrong}** |")
    return table


def _ordinary(lines: list[dict]) -> list[str]:
    platforms = [name for name in _by_platform(lines) if name != "native"]
    table = ["| rows whose output differs from the native processor's | " + " | ".join(platforms) + " |"]
    table.append("|---|" + "---:|" * len(platforms))
    by_case: dict[str, dict[str, str]] = defaultdict(dict)
    for line in lines:
        most = max(line["different"].values(), default=0)
        by_case[line["case"]][line["platform"]] = f"{most} of {line['rows']}"
    for case, at in by_case.items():
        prefix = next(each for each in GROUPS if case.startswith(each))
        cells = " | ".join(at.get(platform, "–") for platform in platforms)
        table.append(f"| {GROUPS[prefix]}, {case.removeprefix(prefix)} | {cells} |")
    return table


def _by_platform(lines: list[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = defaultdict(list)
    for line in lines:
        found[line["platform"]].append(line)
    return found
