"""What commands print. Results go to stdout (tables, or one JSON document), everything else to stderr.

In JSON, amounts are decimal strings of wei (a double cannot hold them), times are unix seconds, bytes are 0x-hex.
Text that comes from the chain or from files is printed without markup and without control characters.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from coordinator.cli import amounts

_PIPE_WIDTH = 220


class Wei(int):
    """An amount: a decimal string in JSON, ether and exact wei for people."""


class Time(int):
    """Unix seconds: a number in JSON, a date in UTC for people; 0 is never."""


class Seconds(int):
    """A duration: a number in JSON, "90 s" or "2 h 5 min" for people."""


class Tick:
    """Told how far a long job has come."""

    def __init__(self, progress: Progress | None, task: Any) -> None:
        self._progress = progress
        self._task = task

    def __call__(self, done: int, total: int | None = None) -> None:
        """`done` of `total` steps."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)


class Output:
    """One command's output."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._stdout = Console(file=sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=True)
        # a file or a pipe has no width: ids must not be folded there
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        self._wide = Console(file=sys.stdout, markup=False, highlight=False, emoji=False, width=width)
        self._stderr = Console(file=sys.stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def record(self, values: Mapping[str, Any], title: str = "") -> None:
        """One thing's facts, a line each. A value that is a list of mappings becomes a table below."""
        if self.as_json:
            self.document(values)
            return
        table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        below = {name: value for name, value in values.items() if _is_table(value)}
        for name, value in values.items():
            if name not in below and value is not None:
                table.add_row(_label(name), Text(shown(value)))
        if title:
            self._stdout.print(Text(plain(title), style="bold underline"))
        self._wide.print(table)
        for name, rows in below.items():
            self._stdout.print()
            self._table(rows, _label(name))

    def rows(self, rows: Sequence[Mapping[str, Any]], title: str = "", empty: str = "nothing") -> None:
        """Things of one kind, one a row."""
        if self.as_json:
            self.document(rows)
        elif rows:
            self._table(rows, title)
        else:
            self._stdout.print(Text(empty))

    def document(self, value: Any) -> None:
        """One JSON document on stdout."""
        sys.stdout.write(json.dumps(jsonable(value), indent=1) + "\n")
        sys.stdout.flush()

    def line(self, value: Mapping[str, Any], text: str) -> None:
        """One event of a stream: a JSON document on one line, or its text."""
        if self.as_json:
            sys.stdout.write(json.dumps(jsonable(value)) + "\n")
            sys.stdout.flush()
        else:
            self._stdout.print(Text(plain(text)))

    def text(self, text: str) -> None:
        """Text for people as it is, line by line; nothing in JSON mode."""
        if not self.as_json:
            for line in text.splitlines():
                self._stdout.print(Text(plain(line)))

    def note(self, text: str) -> None:
        """Something a person should know, on stderr."""
        self._stderr.print(Text(plain(text), style="dim"))

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Tick]:
        """A bar or spinner on stderr while something takes its time, where a person is watching."""
        if not self._stderr.is_terminal:
            yield Tick(None, None)
            return
        columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
        if total is None:
            columns = columns[:2]
        with Progress(*columns, TimeElapsedColumn(), console=self._stderr, transient=True) as progress:
            yield Tick(progress, progress.add_task(plain(what), total=total))

    def _table(self, rows: Sequence[Mapping[str, Any]], title: str) -> None:
        table = Table(title=Text(plain(title), style="bold") if title else None, title_justify="left")
        for name in rows[0]:
            table.add_column(_label(name), overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(row.get(name))) for name in rows[0]))
        self._wide.print(table)


def shown(value: Any) -> str:
    """A value for people."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Wei):
        return amounts.show(value)
    if isinstance(value, Time):
        return "never" if value == 0 else moment(value)
    if isinstance(value, Seconds):
        return duration(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value) or "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(name)} {shown(one)}" for name, one in value.items())
    return plain(str(value))


def jsonable(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(one) for one in value]
    if isinstance(value, Wei):
        return str(int(value))
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return value


def plain(text: str) -> str:
    """Text without characters that a terminal would act on."""
    return "".join(character if character.isprintable() else "?" for character in text)


def moment(seconds: int) -> str:
    """A date in UTC."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"


def duration(seconds: int) -> str:
    """Seconds for people, in at most two units."""
    for size, unit, below in ((86400, "d", (3600, "h")), (3600, "h", (60, "min")), (60, "min", (1, "s"))):
        if seconds >= 2 * size:
            rest = seconds % size // below[0]
            return f"{seconds // size} {unit}" + (f" {rest} {below[1]}" if rest else "")
    return f"{seconds} s"


def _label(name: str) -> str:
    return plain(name.replace("_", " "))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
