"""`quorate dashboard`: a coordinator that only watches, and what it sees as JSON API and pages."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.context import Setup
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.operate import DATABASE_HELP, Confirmations, coordinator_settings, shared_settings
from coordinator.cli.serving import collect_rarely, log_progress, until_stopped

if TYPE_CHECKING:
    import socket

    from coordinator.daemon import Daemon
    from coordinator.explorer.explorer import Explorer

_NEEDED = ("fastapi", "uvicorn", "nicegui")
_SERVER = "Server"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def dashboard(
    setup: Setup,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; anything but loopback is open to others.", rich_help_panel=_SERVER),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.", rich_help_panel=_SERVER)] = 8080,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Further host name that it is reached by; may be repeated.", rich_help_panel=_SERVER),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose pages may read the API; may be repeated.", rich_help_panel=_SERVER),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0.1, help="Requests a second from one address.", rich_help_panel=_SERVER)
    ] = 20.0,
    proxy: Annotated[
        str | None,
        typer.Option(help="Address of a reverse proxy whose X-Forwarded-For is true.", rich_help_panel=_SERVER),
    ] = None,
    data_folder: Annotated[
        list[Path] | None, typer.Option(help="Folder below which file: URIs may lead; for proofs. May be repeated.")
    ] = None,
    passport_folder: Annotated[
        Path | None, typer.Option(help="Folder of passports (JSON) that operators signed; shown on their pages.")
    ] = None,
    database: Annotated[str | None, typer.Option(help=DATABASE_HELP)] = None,
    confirmations: Confirmations = None,
) -> None:
    """Follow the chain and show what happens on it: JSON API, event stream, pages. Until Ctrl-C."""
    _require_folders(data_folder, passport_folder)
    _require_packages()
    from coordinator.api.app import create_app
    from coordinator.api.feed import Feed
    from coordinator.api.guard import RateLimit
    from coordinator.api.server import serving
    from coordinator.dashboard.site import attach

    log_progress()
    hosts = {*_LOOPBACK, host, *(allow_host or ())} if host in _LOOPBACK or allow_host else None
    with (
        _listening(host, port) as listening,
        until_stopped() as stop,
        _following(setup, database, confirmations, data_folder, passport_folder) as (daemon, explorer),
    ):
        feed, limit = Feed(explorer), RateLimit(rate, 5 * rate)
        app = create_app(
            explorer,
            lambda: daemon.health,
            feed=feed,
            hosts=hosts,
            origins=allow_origin or (),
            limit=limit,
        )
        attach(app, explorer, explorer.witness.contracts, hosts, limit)
        with serving(app, feed, listening, proxies=proxy, on_failure=stop.set) as url:
            watching = {"oracle": setup.deployment.oracle, "database": str(daemon.settings.database)}
            setup.out.record({"url": url, "api": f"{url}/api/v1/overview", **watching})
            sys.stdout.flush()
            collect_rarely()
            daemon.run(stop)


def _require_folders(data: list[Path] | None, passports: Path | None) -> None:
    for folder in (*(data or ()), *((passports,) if passports else ())):
        if not folder.is_dir():
            raise Refusal(
                ExitCode.BAD_INPUT, f"{folder} is no folder: make it, or correct --data-folder or --passport-folder"
            )


def _require_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Refusal(
            ExitCode.USAGE, f"{' and '.join(missing)} is not installed: pip install 'quorate[dashboard]' brings it"
        )


@contextmanager
def _following(
    setup: Setup,
    database: str | None,
    confirmations: int | None,
    data_folders: list[Path] | None,
    passport_folder: Path | None,
) -> Iterator[tuple[Daemon, Explorer]]:
    """An observing coordinator, and the explorer of what it records."""
    from contracts.deployment import Contracts
    from contracts.endpoint import Endpoint
    from coordinator.daemon import Daemon
    from coordinator.explorer.explorer import Explorer
    from coordinator.explorer.passports import Passports
    from coordinator.explorer.witness import Witness
    from oracle_worker import settings as worker_settings

    _ = setup.endpoint.chain_id  # a wrong URL is said now, not retried for ever
    own = setup.home / "dashboard" / f"{setup.network.name or setup.deployment.chain_id}.sqlite"
    if database is None and not os.environ.get("QUORATE_DATABASE"):
        database = str(own)  # an operator's coordinator may be running beside it, with a file of its own
    settings = coordinator_settings(setup, None, database, None, confirmations)
    settings = settings.model_copy(update={"worker": None})  # whoever is shown around dispatches nothing
    given: dict[str, Any] = shared_settings(setup, None, None)
    if data_folders:
        given["data_folders"] = tuple(data_folders)
    daemon = Daemon(settings)
    endpoint = Endpoint(settings.rpc_url, chain_id=daemon.deployment.chain_id)  # its own: it is used from other threads
    beside = settings.database if isinstance(settings.database, Path) else own
    recomputed = beside.with_name(beside.name + ".recomputed")
    witness = Witness(Contracts(endpoint, daemon.deployment), worker_settings.load(**given), recomputed)
    _ = witness.zoo  # read now: the first reader shall not wait for it
    passports = Passports(passport_folder, witness.models)
    try:
        with passports.kept_current():
            yield daemon, Explorer(lambda: daemon.store, lambda: daemon.clock, daemon.source, witness, passports)
    finally:
        daemon.close()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    from coordinator.api.server import bind

    try:
        listening = bind(host, port)
    except OSError as error:
        raise Refusal(ExitCode.USAGE, f"cannot listen on {host}:{port}: {error.strerror}; choose --port") from error
    try:
        yield listening
    finally:
        listening.close()
