"""How a function becomes a command: the global options are added, failures become exit codes.

    @command(app, "show")
    def show(setup: Setup, job: Annotated[str, typer.Argument()]) -> None: ...

The global options may stand before or after the command's name; those after it win.
"""

from __future__ import annotations

import errno
import functools
import inspect
import json
import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from coordinator.cli.context import Options, Setup
from coordinator.cli.failures import ExitCode, Failure, explain
from coordinator.cli.output import plain
from oracle_worker import json_log

_PANEL = "Global options"
Network = Annotated[
    str | None,
    typer.Option(help="Network profile of networks.toml; else $QUORATE_NETWORK.", rich_help_panel=_PANEL),
]
Rpc = Annotated[str | None, typer.Option(help="URL of the node, instead of the profile's.", rich_help_panel=_PANEL)]
Key = Annotated[
    str | None,
    typer.Option(help="Address or keystore file of the key; else $QUORATE_KEY.", rich_help_panel=_PANEL),
]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="File whose first line is the key's passphrase.", rich_help_panel=_PANEL)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.", rich_help_panel=_PANEL)]
Debug = Annotated[bool, typer.Option("--debug", help="Log what happens; show tracebacks.", rich_help_panel=_PANEL)]
GLOBAL: dict[str, Any] = {
    "network": Network,
    "rpc": Rpc,
    "key": Key,
    "passphrase_file": PassphraseFile,
    "json": Json,
    "debug": Debug,
}

Function = TypeVar("Function", bound=Callable[..., int | None])


def command(app: typer.Typer, name: str) -> Callable[[Function], Function]:
    """Make a function `(setup, …) -> exit code or None` the command `name` of `app`."""

    return _adder(app.command(name))


def command_of_group(app: typer.Typer) -> Callable[[Function], Function]:
    """Make a function what the group `app` does where no command of it is named."""
    return _adder(app.callback(invoke_without_command=True))


def _adder(register: Callable[[Any], Any]) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        @functools.wraps(function)
        def run(ctx: typer.Context, **given: Any) -> None:
            options = _base(ctx).over(Options(**{one: given.pop(one) for one in GLOBAL}))
            if ctx.invoked_subcommand is not None:
                ctx.obj = options
                return
            code = guarded(options, lambda: function(Setup(options), **given))
            if code:
                raise typer.Exit(code)

        parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        parameters += [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        parameters += [_keyword(name, annotation) for name, annotation in GLOBAL.items()]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__  # inspect would look through to the bare function
        register(run)
        return function

    return add


def guarded(options: Options, work: Callable[[], int | None]) -> int:
    """Run a command's work; a failure is printed and becomes its exit code."""
    try:
        _log(options.debug)
        return int(work() or 0)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            sys.stderr.close()  # whoever read us has gone: say nothing
            return ExitCode.FAILED
        if options.debug:
            traceback.print_exc()
        failure = explain(error) or Failure(
            ExitCode.FAILED,
            f"{type(error).__name__}: {error} (not foreseen: please report it with the output of --debug)",
        )
        report(failure, as_json=options.json)
        return failure.code


def report(failure: Failure, *, as_json: bool) -> None:
    """Print a failure on stderr."""
    if as_json:
        sys.stderr.write(json.dumps({"error": failure.message, "exit": int(failure.code)}) + "\n")
    else:
        sys.stderr.write(f"error: {plain(failure.message)}\n")
    sys.stderr.flush()


def _base(ctx: typer.Context) -> Options:
    """The options given before the command's name."""
    return ctx.obj if isinstance(ctx.obj, Options) else Options()


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    default = False if name in ("json", "debug") else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _log(debug: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    if json_log.is_wanted():
        for handler in logging.getLogger().handlers:
            handler.setFormatter(json_log.JsonLines())
    for noisy in ("urllib3", "web3", "asyncio", "amqp", "kombu"):
        logging.getLogger(noisy).setLevel(logging.INFO if debug else logging.WARNING)
