"""Prints what the random play did, even where nothing failed and whichever process played."""

from __future__ import annotations

from typing import Any

SECTION = "random play"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, lines in report.user_properties:
            if name == SECTION:
                terminalreporter.section(SECTION)
                for line in lines:
                    terminalreporter.write_line(line)
