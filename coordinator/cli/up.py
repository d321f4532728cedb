"""`quorate up`: the processes of docker-compose.yml without Docker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.context import Setup
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.networks import ChainKind
from coordinator.cli.serving import log_progress, until_stopped


def up(
    setup: Setup,
    folder: Annotated[
        Path | None, typer.Option(help="Where logs, secrets and databases are; below QUORATE_HOME by default.")
    ] = None,
    operators: Annotated[int, typer.Option(min=1, max=5, help="How many, of ada, ben, cyd, dan, eve.")] = 5,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The chain's; 0 takes a free one.")] = 8545,
    chain: Annotated[ChainKind, typer.Option(help="auto takes anvil if it is there.")] = ChainKind.PY_EVM,
) -> None:
    """Run a development chain, the dashboard and operators with four processes each, until Ctrl-C.

    The same as docker-compose.yml, as plain processes on 127.0.0.1. Their keys are those of the development chain.
    """
    from coordinator import topology

    log_progress()
    with until_stopped() as stop:
        try:
            made = topology.Topology.at(
                (folder or setup.home / "up").absolute(), topology.OPERATORS[:operators], port, chain=chain.value
            )
            with topology.running(made) as running:
                setup.out.record(
                    {
                        "rpc_url": made.rpc_url,
                        "deployment": made.deployment,
                        "data_folder": made.folder / "data",
                        "logs": made.folder / "logs",
                        "processes": [
                            {"process": name, "pid": pid, "port": made.ports.get(name)}
                            for name, pid in running.pids.items()
                        ],
                    }
                )
                setup.out.note(
                    f"Stake with `quorate stake deposit`: --key {made.secret(made.operators[0], 'keystore.json')} "
                    f"--passphrase-file {made.secret(made.operators[0], 'passphrase')} --rpc {made.rpc_url}, and "
                    f"QUORATE_DEPLOYMENT={made.deployment}"
                )
                running.watch(stop)
        except FileNotFoundError as error:
            raise Refusal(ExitCode.BAD_INPUT, str(error)) from error
        except topology.NotStarted as error:
            raise Refusal(ExitCode.FAILED, str(error)) from error
