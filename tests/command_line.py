"""The command line as its parser sees it: what can be typed, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.main import get_command

from coordinator.cli.main import app


def parse(arguments: Sequence[str]) -> None:
    """Parse what follows `quorate`. Raises typer's exceptions for what it refuses."""
    command: Any = get_command(app)
    context, left = None, list(arguments)
    while True:
        context = command.make_context("quorate", left, parent=context)
        if not hasattr(command, "resolve_command"):
            return
        _, command, left = command.resolve_command(context, [*context._protected_args, *context.args])
