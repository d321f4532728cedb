"""Prints what the random play did, even where nothing failed."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    from tests.invariants.test_random_play import calls_made, distribution

    if calls_made():
        terminalreporter.section("random play")
        for line in distribution():
            terminalreporter.write_line(line)
