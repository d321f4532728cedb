"""`quorate worker | coordinator`: an operator's processes, or a coordinator that only watches."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from contracts.keystore import KeystoreError
from coordinator.cli import companions
from coordinator.cli.companions import Companion
from coordinator.cli.context import Setup, parse_address
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.serving import collect_rarely, log_progress, until_stopped

if TYPE_CHECKING:
    from coordinator.settings import CoordinatorSettings
    from oracle_worker.settings import WorkerSettings

app = typer.Typer(help="Work as an operator, in one process or one role of it; and see how it does.")

_SETTING = "Settings (also QUORATE_… in the environment)"
Broker = Annotated[
    str | None, typer.Option("--broker", help="Celery broker; memory:// by default.", rich_help_panel=_SETTING)
]
Confirmations = Annotated[
    int | None,
    typer.Option(min=0, max=1000, help="Blocks on top of one that counts as final.", rich_help_panel=_SETTING),
]

DATABASE_HELP = "SQLite file, or postgresql://user@host/database; deletable, it is rebuilt."


class Role(StrEnum):
    """Which part of an operator a process is."""

    ALL = "all"
    SIGNER = "signer"
    COMPUTE = "compute"


def worker(
    setup: Setup,
    role: Annotated[
        Role, typer.Option(help="all: coordinator, signer and compute in this process; else one part of an operator.")
    ] = Role.ALL,
    work_folder: Annotated[
        Path | None, typer.Option(help="Where results, data and the message secret are.", rich_help_panel=_SETTING)
    ] = None,
    model_folder: Annotated[
        list[Path] | None, typer.Option(help="Folder of ONNX files; may be repeated.", rich_help_panel=_SETTING)
    ] = None,
    data_folder: Annotated[
        list[Path] | None,
        typer.Option(help="Folder below which file: URIs may lead; may be repeated.", rich_help_panel=_SETTING),
    ] = None,
    broker: Broker = None,
    confirmations: Confirmations = None,
) -> int:
    """Work as an operator: run the models of jobs, stake on the results, refute wrong ones. Until Ctrl-C."""
    for folder in (*(model_folder or ()), *(data_folder or ())):
        if not folder.is_dir():
            raise Refusal(
                ExitCode.BAD_INPUT, f"{folder} is no folder: make it, or correct --model-folder or --data-folder"
            )
    given = shared_settings(setup, broker, confirmations)
    if work_folder is not None:
        given["work_folder"] = work_folder
    if model_folder:
        given["model_folders"] = tuple(model_folder)
    if data_folder:
        given["data_folders"] = tuple(data_folder)
    log_progress()
    if role is Role.ALL:
        _run_all(setup, given)
        return ExitCode.OK
    return _run_role(setup, role, given)


def coordinator(
    setup: Setup,
    operator: Annotated[
        str | None, typer.Option("--worker", help="The operator's address; without it this only watches.")
    ] = None,
    database: Annotated[str | None, typer.Option(help=DATABASE_HELP, rich_help_panel=_SETTING)] = None,
    broker: Broker = None,
    confirmations: Confirmations = None,
    once: Annotated[bool, typer.Option("--once", help="Catch up, dispatch what is due, and end.")] = False,
) -> None:
    """Follow the chain and dispatch an operator's duties to its workers, or only watch. Until Ctrl-C."""
    from coordinator.daemon import Daemon
    from oracle_worker.monitoring import monitoring

    settings = coordinator_settings(
        setup, parse_address(operator) if operator else None, database, broker, confirmations
    )
    log_progress()
    _ = setup.endpoint.chain_id  # a wrong URL is said now, not retried for ever
    daemon = Daemon(settings)
    collect_rarely()
    try:
        if once:
            daemon.cycle()
            setup.out.record(daemon.health.as_json())
            return
        monitored = monitoring(settings.monitoring_port, [daemon.metrics.registry], daemon.report)
        with until_stopped() as stop, monitored:
            watching = {"watching": setup.deployment.oracle, "worker": settings.worker}
            setup.out.record({**watching, "database": str(settings.database)})
            daemon.run(stop)
    finally:
        daemon.close()


def _run_all(setup: Setup, given: dict[str, Any]) -> None:
    """A whole operator in this process."""
    from coordinator.daemon import Daemon
    from oracle_worker.monitoring import monitoring
    from oracle_worker.worker import RoleContexts, embedded

    _ = setup.endpoint.chain_id  # a dead node is found before a passphrase is asked for
    account = setup.account
    settings = _worker_settings(setup, given)
    contexts = RoleContexts(settings, account=account)
    _ = contexts.compute, contexts.signer  # what is wrong with the settings is said before anything starts
    with setup.out.progress("checking that this machine is exact"):
        contexts.check_passports()
    database = None if os.environ.get("QUORATE_DATABASE") else settings.work_folder / "coordinator.sqlite"
    daemon = Daemon(
        coordinator_settings(setup, account.address, database, given.get("broker_url"), given.get("confirmations"))
    )
    try:
        registries = [daemon.metrics.registry, contexts.signer.metrics.registry]
        monitored = monitoring(settings.monitoring_port, registries, daemon.report)
        with until_stopped() as stop, embedded(contexts), monitored:
            setup.out.record(
                {
                    "worker": account.address,
                    "oracle": setup.deployment.oracle,
                    "work_folder": settings.work_folder,
                    "relay": _where(settings.relay_url),
                    "tells_consumers": settings.deliver,
                }
            )
            if settings.relay_url:
                setup.out.note("What the relay has not sent by half of a window is sent from here.")
            if not setup.contracts.oracle.account(account.address).bonded:
                setup.out.note("Nothing is staked: this checks others and takes no seat until `quorate stake deposit`.")
            daemon.run(stop)
    finally:
        daemon.close()


def _where(url: str) -> str | None:
    """A relay's host and port, without what may be secret in its URL."""
    return urlsplit(url).netloc.rpartition("@")[2] or None


def _run_role(setup: Setup, role: Role, given: dict[str, Any]) -> int:
    """One role on a broker that the operator's other processes reach too."""
    from oracle_worker.worker import run

    if role is Role.SIGNER:
        given["worker"] = setup.address
        given["keystore"] = setup.keystore_path()
        if setup.options.passphrase_file is not None:
            given["passphrase_file"] = setup.options.passphrase_file
        run_as = _worker_settings(setup, given)
        _need_broker(run_as.broker_url)
        return run("signer", run_as)
    run_as = _worker_settings(setup, given)
    _need_broker(run_as.broker_url)
    return run("compute", run_as)


def _need_broker(url: str) -> None:
    if url.startswith("memory:"):
        raise Refusal(
            ExitCode.USAGE,
            "one role alone needs a broker that the others reach: give --broker redis://…, or use --role all",
        )


def shared_settings(setup: Setup, broker: str | None, confirmations: int | None) -> dict[str, Any]:
    """Settings that a worker and a coordinator take alike; what is not given is the environment's, or the default."""
    given: dict[str, Any] = {"rpc_url": setup.network.rpc_url, "chain_id": setup.deployment.chain_id}
    given["deployment"] = setup.network.deployment
    if broker is not None:
        given["broker_url"] = broker
    if confirmations is not None:
        given["confirmations"] = confirmations
    if (named := companions.kept(setup, Companion.TOKEN_JOBS)) and Companion.TOKEN_JOBS.variable not in os.environ:
        given["token_jobs"] = named
    return given


def _worker_settings(setup: Setup, given: dict[str, Any]) -> WorkerSettings:
    from oracle_worker import settings

    made = settings.load(**given)
    if "work_folder" in made.model_fields_set:
        return made
    return settings.load(**given, work_folder=setup.home / "work" / _whose(setup, made))


def _whose(setup: Setup, settings: WorkerSettings) -> str:
    if settings.worker is not None:
        return settings.worker
    try:
        return setup.address
    except KeystoreError as error:
        raise Refusal(
            ExitCode.USAGE,
            "it is not clear which worker this is, and its processes must share a folder's secret: set QUORATE_WORKER to "
            f"the signer's address, or give --work-folder ({error})",
        ) from error


def coordinator_settings(
    setup: Setup, operator: str | None, database: str | Path | None, broker: str | None, confirmations: int | None
) -> CoordinatorSettings:
    """A coordinator's settings from what was given, the environment and the network. Raises BadSettings, BadDeployment."""
    from coordinator import settings

    given = shared_settings(setup, broker, confirmations)
    if operator is not None:
        given["worker"] = operator
    if database is not None:
        given["database"] = database
    made = settings.load(**given)
    if "database" in made.model_fields_set:
        return made
    name = f"{setup.network.name or made.chain_id}.sqlite"
    return settings.load(**given, database=setup.home / "coordinator" / name)
