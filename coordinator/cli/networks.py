"""`quorate devnet | deploy | demo`: chains and the contracts on them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from contracts import deployment as deployments
from contracts.compute_oracle import DEV_BOUNDS, Bounds
from contracts.deployment import Deployment
from contracts.transactor import Transactor
from coordinator import profiles
from coordinator.cli import amounts
from coordinator.cli.context import Setup
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.output import Wei
from coordinator.cli.serving import until_stopped

_DEFAULTS = Bounds()


class ChainKind(StrEnum):
    """Which development chain."""

    AUTO = "auto"
    PY_EVM = "py-evm"
    ANVIL = "anvil"


def devnet(
    setup: Setup,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but 127.0.0.1 is open to others.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8545,
    chain: Annotated[ChainKind, typer.Option(help="auto takes anvil if it is there.")] = ChainKind.PY_EVM,
    chain_id: Annotated[int, typer.Option(min=1)] = 31_337,
    block_time: Annotated[float, typer.Option(min=1, help="Seconds between blocks.")] = 1.0,
    allow_host: Annotated[list[str] | None, typer.Option(help="Further host name that it may be reached by.")] = None,
    deploy: Annotated[bool, typer.Option("--deploy", help="Deploy the contracts and write a network profile.")] = False,
    name: Annotated[str, typer.Option(help="Name of that profile.")] = "dev",
    deployment_file: Annotated[Path | None, typer.Option(help="Where --deploy writes the deployment.")] = None,
    show_keys: Annotated[
        bool, typer.Option("--show-keys", help="Print the funded keys: everybody knows them.")
    ] = False,
) -> None:
    """Serve a development chain until Ctrl-C. Its accounts' keys are public: nothing on it is worth anything."""
    from coordinator import devnet as chains

    with until_stopped() as stop:
        if host == "127.0.0.1" and not allow_host:
            running = chains.running_chain(chain.value, port=port, chain_id=chain_id, block_time=block_time)
            with _listening(host, port), running as url:
                _serve(setup, url, stop, deploy, name, deployment_file, show_keys)
        else:
            if chain is ChainKind.ANVIL:
                raise Refusal(ExitCode.USAGE, "anvil is only started on 127.0.0.1: leave --host and --allow-host out")
            with (
                _listening(host, port),
                chains.serve(chains.DevChain(chain_id, None, block_time), host, port, names=allow_host or []) as server,
            ):
                _serve(setup, f"http://127.0.0.1:{server.port}", stop, deploy, name, deployment_file, show_keys)


def deploy(
    setup: Setup,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Deployment file to write.")] = None,
    name: Annotated[str | None, typer.Option(help="Also write a network profile of this name.")] = None,
    dev: Annotated[bool, typer.Option("--dev", help="Bounds for a dev chain: windows of seconds.")] = False,
    min_window: Annotated[int, typer.Option(min=1, help="Least window, seconds.")] = _DEFAULTS.min_window,
    max_window: Annotated[int, typer.Option(min=1, help="Most window, seconds.")] = _DEFAULTS.max_window,
    unbonding_period: Annotated[int, typer.Option(min=1, help="Seconds.")] = _DEFAULTS.unbonding_period,
    block_time: Annotated[
        int, typer.Option(min=1, help="Longest usual time between blocks, s.")
    ] = _DEFAULTS.block_time,
    max_item_count: Annotated[int, typer.Option(min=1, help="Most items of a job.")] = _DEFAULTS.max_item_count,
    max_seats: Annotated[int, typer.Option(min=1, help="Most seats of a jury.")] = _DEFAULTS.max_seats,
    reference_price: Annotated[
        int, typer.Option(parser=amounts.option, metavar="AMOUNT", help="Floor of gas prices, wei a gas.")
    ] = _DEFAULTS.reference_price,
    execution_gas_limit: Annotated[
        int, typer.Option(min=1, help="Most gas of one execution of a model.")
    ] = deployments.EXECUTION_GAS_LIMIT,
) -> None:
    """Deploy the contracts. Nobody owns them, and no bound can be changed afterwards."""
    bounds = Bounds(min_window, max_window, unbonding_period, block_time, max_item_count, max_seats, reference_price)
    path = (output or setup.home / "deployments" / f"{name or setup.endpoint.chain_id}.json").absolute()
    if path.exists():
        raise Refusal(
            ExitCode.USAGE, f"{path} exists: give another --output, or move it away (it names live contracts)"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    _ = setup.endpoint.chain_id  # before a passphrase is asked for
    sender = setup.transactor
    with setup.out.progress("deploying four contracts"):
        made = deployments.deploy(sender, DEV_BOUNDS if dev else bounds, execution_gas_limit)
    made.save(path)
    if name:
        profiles.save(setup.profiles_path, profiles.Network(name, setup.network.rpc_url, made.chain_id, path))
    setup.out.record({**_addresses(made), "file": path, "profile": name})


def demo(
    setup: Setup,
    chain: Annotated[ChainKind, typer.Option(help="auto takes anvil if it is there.")] = ChainKind.AUTO,
) -> int:
    """The main job on a dev chain of its own: five operators, a lying majority refuted, a supplier paid."""
    from coordinator.demo import main as run_demo

    return run_demo(json=setup.options.json, chain=chain.value)


def _serve(
    setup: Setup, url: str, stop: threading.Event, deploys: bool, name: str, file: Path | None, show_keys: bool
) -> None:
    from eth_account import Account

    from coordinator.devnet import DEV_BALANCE, dev_keys

    keys = dev_keys(10)
    facts: dict[str, object] = {"url": url, "chain_id": Transactor(url).endpoint.chain_id}
    if deploys:
        path = (file or setup.home / "deployments" / f"{name}.json").absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        with setup.out.progress("deploying the contracts"):
            made = deployments.deploy(Transactor(url, dev_keys(20)[-1]), DEV_BOUNDS)
        made.save(path)
        profiles.save(setup.profiles_path, profiles.Network(name, url, made.chain_id, path))
        facts |= {**_addresses(made), "file": path, "profile": name}
    accounts = []
    for key in keys:
        row: dict[str, object] = {"account": Account.from_key(key).address}
        accounts.append({**row, "key": key} if show_keys else row)
    facts |= {"balance_of_each": Wei(DEV_BALANCE), "accounts": accounts}
    setup.out.record(facts, title="Development chain")
    setup.out.note("Ctrl-C stops it, and everything on it is gone.")
    sys.stdout.flush()
    stop.wait()


def _addresses(made: Deployment) -> dict[str, object]:
    return {
        "oracle": made.oracle,
        "disputes": made.disputes,
        "registry": made.registry,
        "seed_source": made.seed_source,
        "deployed_in_block": made.block,
    }


@contextmanager
def _listening(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is None and error.strerror:
            raise Refusal(ExitCode.USAGE, f"cannot listen on {host}:{port}: {error.strerror}; choose --port") from error
        raise
