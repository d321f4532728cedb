"""A Markdown page of which a command writes one part, and people the rest."""

from __future__ import annotations

from pathlib import Path


def write_between_marks(path: Path, command: str, text: str) -> None:
    """Put text between `<!-- begin: COMMAND -->` and `<!-- end -->`; the rest of the page stays."""
    begin, end = f"<!-- begin: {command} -->", "<!-- end -->"
    before, _, rest = path.read_text("utf-8").partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{text}{end}{after}", "utf-8")
