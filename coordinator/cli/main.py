"""`quorate`: the command line, put together."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from coordinator.cli import (
    account,
    audit,
    dashboard,
    doctor,
    job,
    job_show,
    keys,
    ledger,
    model,
    networks,
    operate,
    order,
    passport,
    relaying,
    stake,
    token,
    up,
    verdict,
)
from coordinator.cli.command import Debug, Json, Key, Network, PassphraseFile, Rpc, command, command_of_group, report
from coordinator.cli.context import Options
from coordinator.cli.failures import ExitCode, Failure

app = typer.Typer(
    name="quorate",
    help="A verifiable off-chain compute oracle: staked operators run exact integer networks, the chain is the judge.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
command(app, "demo")(networks.demo)
command(app, "devnet")(networks.devnet)
command(app, "deploy")(networks.deploy)
app.add_typer(keys.app, name="keys")
app.add_typer(account.app, name="account")
app.add_typer(model.app, name="model")
app.add_typer(stake.app, name="stake")
for name, function in (("show", job_show.show), ("list", job_show.list_), ("watch", job_show.watch)):
    command(job.app, name)(function)
command(job.app, "audit")(audit.audit)
app.add_typer(job.app, name="job")
app.add_typer(token.app, name="token")
app.add_typer(order.app, name="order")
app.add_typer(verdict.app, name="verdict")
command_of_group(operate.app)(operate.worker)
command(operate.app, "ledger")(ledger.ledger)
command(operate.app, "status")(ledger.status)
command(operate.app, "passport")(passport.passport)
app.add_typer(operate.app, name="worker")
command(app, "coordinator")(operate.coordinator)
command(app, "relay")(relaying.relay)
command(app, "dashboard")(dashboard.dashboard)
command(app, "up")(up.up)
command(app, "doctor")(doctor.doctor)


def _version(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        shown = {"quorate": version("quorate")}
        as_json = "--json" in ctx.obj  # this runs before the other options are read
        sys.stdout.write((json.dumps(shown) if as_json else f"quorate {shown['quorate']}") + "\n")
        raise typer.Exit


@app.callback()
def before(
    ctx: typer.Context,
    network: Network = None,
    rpc: Rpc = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
    debug: Debug = False,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Global options may stand here or after the command."""
    ctx.obj = Options(network, rpc, key, passphrase_file, as_json, debug)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own); its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given, prog_name="quorate", standalone_mode=False, obj=given)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except typer.TyperException as usage:
        if not usage.format_message():  # a bare group: its help was printed
            return ExitCode.USAGE
        place = getattr(usage, "ctx", None)
        hint = f" (see `{place.command_path} --help`)" if place else ""
        report(Failure(ExitCode.USAGE, usage.format_message().rstrip(".") + hint), as_json="--json" in given)
        return ExitCode.USAGE
    return code if isinstance(code, int) else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
