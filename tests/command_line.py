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
        rest = [*context._protected_args, *context.args] if hasattr(command, "resolve_command") else []
        if not hasattr(command, "resolve_command") or (command.invoke_without_command and not rest):
            return
        _, command, left = command.resolve_command(context, rest)
