"""Which files come first, and what the random play did, even where nothing failed and whichever process played."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

SECTION = "random play"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first: a process that begins one of them last lets the others wait. Which they are,
    their time limits and the mark `slow` say, and then how many tests they have."""
    ranks: dict[Path, tuple[float, int, int]] = {}
    counts = Counter(item.path for item in items)
    for item in items:
        limit = item.get_closest_marker("timeout")
        longest, slow, _ = ranks.get(item.path, (0, 0, 0))
        longest = max(longest, limit.args[0] if limit else 0)
        slow = max(slow, int(item.get_closest_marker("slow") is not None))
        ranks[item.path] = longest, slow, counts[item.path]
    items.sort(key=lambda item: ranks[item.path], reverse=True)  # stable: within a file their order stays


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, lines in report.user_properties:
            if name == SECTION:
                terminalreporter.section(SECTION)
                for line in lines:
                    terminalreporter.write_line(line)
