"""`quorate relay`: post many workers' commitments and openings in one transaction, at this key's expense."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli import amounts
from coordinator.cli.context import Setup, parse_address
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.serving import log_progress, until_stopped

GWEI = 10**9


def relay(
    setup: Setup,
    host: Annotated[
        str, typer.Option(help="Address to listen on; for others than this machine, behind a proxy with TLS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8650,
    workers: Annotated[
        list[str] | None, typer.Option("--worker", help="Work for this address only; may be repeated.")
    ] = None,
    settles: Annotated[
        bool, typer.Option("--settle/--no-settle", help="Also settle and release the jobs it worked for.")
    ] = True,
    rate: Annotated[float, typer.Option(min=1, max=10_000, help="Most requests a second.")] = 100.0,
    fee_ceiling: Annotated[
        int, typer.Option(parser=amounts.option, metavar="AMOUNT", help="Most for a unit of gas.")
    ] = 500 * GWEI,
    database: Annotated[Path | None, typer.Option(help="SQLite file; deletable, it is rebuilt.")] = None,
) -> None:
    """Collect workers' signed commitments and openings, and post many in one transaction. Until Ctrl-C."""
    from contracts.fees import Fees
    from contracts.transactor import Transactor
    from coordinator.database import StoreDamaged
    from coordinator.job_store import JobStore, Source
    from coordinator.relay import SEND_SECONDS, Relay
    from coordinator.relay_desk import Desk
    from coordinator.relay_server import Limits, RelayServer

    served = [parse_address(one) for one in workers or []]
    contracts, deployment = setup.contracts, setup.deployment
    block_time = contracts.oracle.bounds().block_time  # a dead node is found before a passphrase is asked for
    transactor = Transactor(setup.endpoint, setup.account, fees=Fees(ceiling=fee_ceiling), patience=SEND_SECONDS)
    path = database or setup.home / "relay" / f"{setup.network.name or deployment.chain_id}.sqlite"
    log_progress()
    source = Source(deployment.chain_id, deployment.oracle, deployment.block)
    with JobStore(path, source) as store, until_stopped() as stop:
        desk = Desk(deployment.chain_id, deployment.oracle, store, block_time=block_time, served=served)
        try:
            server = RelayServer(desk, host, port, Limits(rate=rate))
        except OSError as error:
            raise Refusal(
                ExitCode.USAGE, f"it cannot listen on {host}, port {port}: {error.strerror or error}"
            ) from error
        with server:
            setup.out.record(
                {
                    "relay_url": server.url,
                    "oracle": deployment.oracle,
                    "pays": transactor.sender,
                    "works_for": served or "all",
                }
            )
            if not _is_loopback(host):
                setup.out.note(
                    "It listens beyond this machine: put a proxy with TLS and limits of its own in front of it."
                )
            try:
                Relay(contracts, transactor, store, desk, settles=settles).run(stop)
            except StoreDamaged as error:
                raise Refusal(ExitCode.FAILED, f"{error}: start it again") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
