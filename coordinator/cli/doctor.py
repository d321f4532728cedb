"""`quorate doctor`: what is wrong with this set-up, and what to do about it."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eth_typing import ChecksumAddress

from contracts import compiler, keystore
from contracts.deployment import BadDeployment
from contracts.endpoint import ChainError
from contracts.keystore import KeystoreError
from coordinator import profiles
from coordinator.cli import amounts
from coordinator.cli.context import Setup
from coordinator.cli.failures import ExitCode, explain
from coordinator.cli.output import duration

if TYPE_CHECKING:
    from oracle_worker.settings import WorkerSettings

REVEAL_GAS = 75_000
SLOW_ANSWER = 1.0
STALE_HEAD = 120
SKEW = 30
LEAST_FREE_BYTES = 1 << 30


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome; `advice` is what to do where it is not ok."""

    check: str
    state: State
    detail: str
    advice: str = ""


def doctor(setup: Setup) -> int:
    """Check Python, packages, node, deployment, key, money, broker, folders and clock. Exit code 1 if there is a problem."""
    findings: list[Finding] = []
    for check in _CHECKS:
        try:
            with setup.out.progress(check.__name__.removeprefix("_check_").replace("_", " ")):
                findings += check(setup)
        except Exception as error:  # a check that breaks is itself a finding, and the others still run
            failure = explain(error)
            name = check.__name__.removeprefix("_check_").replace("_", " ")
            detail = failure.message if failure else f"{type(error).__name__}: {error}"
            findings.append(Finding(name, State.PROBLEM, detail))
    rows = [
        {"check": one.check, "state": one.state.value, "detail": one.detail, "advice": one.advice} for one in findings
    ]
    problems = sum(one.state is State.PROBLEM for one in findings)
    if setup.options.json:
        setup.out.document({"problems": problems, "checks": rows})
    else:
        setup.out.rows(rows)
        setup.out.note("No problems." if not problems else f"{problems} problem(s); see the advice above.")
    return ExitCode.FAILED if problems else ExitCode.OK


def _check_python(_: Setup) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding(
        "python", State.OK if good else State.PROBLEM, version, "" if good else "install Python 3.11 or newer"
    )


def _check_packages(_: Setup) -> Iterator[Finding]:
    missing = []
    for requirement in metadata.requires("quorate") or []:
        name = requirement.split(";")[0].strip()
        if "extra ==" in requirement:
            continue
        for cut in "<>=!~[ ":
            name = name.split(cut)[0]
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding("packages", State.PROBLEM, f"missing: {', '.join(missing)}", "pip install quorate again")
    else:
        yield Finding("packages", State.OK, f"quorate {metadata.version('quorate')} and all it needs")


def _check_runtime(_: Setup) -> Iterator[Finding]:
    from models import zoo
    from models.runtime import Runtime

    model = zoo.load("wine-grading")
    rows, logits = model.read_vectors()
    if np.array_equal(Runtime(model.network).run(rows), logits):
        yield Finding("onnx runtime", State.OK, f"equals the specification on {len(rows)} rows")
    else:
        advice = "do not stake with this machine: its results would be refuted"
        yield Finding("onnx runtime", State.PROBLEM, "differs from the specification", advice)


def _check_profile(setup: Setup) -> Iterator[Finding]:
    try:
        network = setup.network
    except (profiles.UnknownNetwork, profiles.BadProfile) as error:
        yield Finding("network profile", State.PROBLEM, str(error), "run `quorate devnet --deploy`, or write a profile")
        return
    detail = (
        f"{network.name or 'no profile'}: chain {network.chain_id or 'any'}, deployment {network.deployment or 'none'}"
    )
    yield Finding("network profile", State.OK, detail)


def _check_node(setup: Setup) -> Iterator[Finding]:
    if not _has_network(setup):
        yield Finding("node", State.SKIPPED, "no network is chosen")
        return
    began = time.monotonic()
    try:
        chain_id = setup.endpoint.chain_id
    except (ChainError, BadDeployment) as error:
        yield Finding("node", State.PROBLEM, str(error), "start the node, or correct rpc_url in the profile")
        return
    waited = time.monotonic() - began
    slow = waited > SLOW_ANSWER
    yield Finding("node", State.WARNING if slow else State.OK, f"chain {chain_id}, answers in {1000 * waited:.0f} ms")
    block = setup.endpoint.ask("eth_getBlockByNumber", "latest", False)
    age = int(time.time()) - int(block["timestamp"], 16)
    if age < -SKEW:
        advice = "set this machine's clock (NTP): the chain's is ahead of it"
        yield Finding("clock", State.WARNING, f"the newest block is {duration(-age)} in the future", advice)
    elif age > STALE_HEAD:
        advice = "the node is not in sync, the chain stands still, or this machine's clock is ahead"
        yield Finding("clock", State.WARNING, f"the newest block is {duration(age)} old", advice)
    else:
        yield Finding(
            "clock", State.OK, f"the newest block, {int(block['number'], 16)}, is {duration(max(age, 0))} old"
        )


def _check_deployment(setup: Setup) -> Iterator[Finding]:
    if not _answers(setup):
        yield Finding("deployment", State.SKIPPED, "no node answers")
        return
    try:
        deployment = setup.deployment
    except BadDeployment as error:
        yield Finding("deployment", State.PROBLEM, str(error), "run `quorate deploy`, or correct the profile")
        return
    named = {"oracle": deployment.oracle, "registry": deployment.registry, "seed source": deployment.seed_source}
    empty = [name for name, at in named.items() if len(setup.endpoint.ask("eth_getCode", at, "latest")) <= 2]
    if empty:
        advice = "the chain was reset, or the file is another chain's: deploy again"
        yield Finding("deployment", State.PROBLEM, f"no code at {', '.join(empty)}", advice)
    elif setup.contracts.oracle.registry() != deployment.registry:
        yield Finding(
            "deployment", State.PROBLEM, "the oracle uses another registry than the file says", "correct the file"
        )
    else:
        yield Finding("deployment", State.OK, f"oracle {deployment.oracle}, registry {deployment.registry}")


def _check_key(setup: Setup) -> Iterator[Finding]:
    try:
        address = setup.address
    except KeystoreError as error:
        yield Finding("key", State.PROBLEM, str(error), "make one with `quorate keys new`, or choose one with --key")
        return
    path = setup.keystore_path()
    if path is None:
        advice = "`quorate keys import` keeps it encrypted"
        yield Finding("key", State.WARNING, f"{address}, plain in {keystore.ENVIRONMENT_KEY}", advice)
    elif path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("key", State.WARNING, f"{address}: others can read {path}", f"chmod 600 {path}")
    else:
        yield Finding("key", State.OK, f"{address} in {path}")
    if _has_deployment(setup):
        yield from _check_money(setup, address)
    else:
        yield Finding("balance", State.SKIPPED, "no deployment answers")


def _check_money(setup: Setup, address: ChecksumAddress) -> Iterator[Finding]:
    balance = int(setup.endpoint.ask("eth_getBalance", address, "latest"), 16)
    price = int(setup.endpoint.ask("eth_gasPrice"), 16)
    needs = 4 * REVEAL_GAS * price
    if balance >= needs:
        yield Finding("balance", State.OK, amounts.show(balance))
    else:
        advice = (
            f"send it {amounts.show(needs - balance)} at least: a worker that cannot pay for its reveal is forfeited"
        )
        yield Finding("balance", State.PROBLEM, amounts.show(balance), advice)
    account = setup.contracts.oracle.account(address)
    detail = (
        f"bonded {amounts.show(account.bonded)}, locked {amounts.show(account.locked)}, "
        f"unbonding {amounts.show(account.unbonding)}"
    )
    if account.bonded:
        yield Finding("stake", State.OK, detail)
    else:
        yield Finding(
            "stake", State.WARNING, detail, "to work, bond some: `quorate stake deposit`; a requester needs none"
        )


def _check_broker(_: Setup) -> Iterator[Finding]:
    from celery import Celery

    url = _settings().broker_url
    if url.startswith("memory:"):
        yield Finding("broker", State.OK, "none: coordinator, signer and compute share one process (`--role all`)")
        return
    app = Celery("doctor", broker=url, broker_connection_timeout=3)  # type: ignore[no-untyped-call]
    with app.connection_for_write() as connection:  # type: ignore[no-untyped-call]
        shown = connection.as_uri(include_password=False)
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
        except Exception as error:  # each transport has errors of its own
            advice = "start it, or correct QUORATE_BROKER_URL"
            yield Finding("broker", State.PROBLEM, f"{shown} does not answer ({type(error).__name__})", advice)
            return
    yield Finding("broker", State.OK, f"{shown} answers")


def _check_folders(setup: Setup) -> Iterator[Finding]:
    settings = _settings()
    for folder in (*settings.model_folders, *settings.data_folders):
        if not folder.is_dir():
            yield Finding(
                "folders", State.PROBLEM, f"{folder} is no folder", "correct QUORATE_MODEL_FOLDERS or _DATA_FOLDERS"
            )
    for folder in settings.model_folders:
        yield from _check_models(folder)
    home = setup.home
    while not home.exists():
        home = home.parent
    if not os.access(home, os.W_OK):
        yield Finding("home", State.PROBLEM, f"{home} is not writable", "set QUORATE_HOME to a folder that is")
    free = shutil.disk_usage(home).free
    enough = free >= LEAST_FREE_BYTES
    detail = f"{setup.home}, {free / 2**30:.1f} GiB free"
    yield Finding("home", State.OK if enough else State.WARNING, detail, "" if enough else "make room")


def _check_models(folder: Path) -> Iterator[Finding]:
    from models.form import RefusedModel
    from oracle_worker.model_store import compile_file

    count = 0
    for path in sorted(folder.glob("*.onnx")):
        try:
            compile_file(path)
            count += 1
        except (RefusedModel, OSError) as error:
            yield Finding("models", State.WARNING, f"{path}: {error}", "workers pass it over: quantise it or remove it")
    yield Finding("models", State.OK, f"{folder}: {count} usable models")


def _check_compiler(_: Setup) -> Iterator[Finding]:
    npm = compiler.PROJECT / ".tools" / "node_modules" / "solc"
    if os.environ.get("QUORATE_SOLC") or (npm.is_dir() and shutil.which("node")):
        yield Finding("solidity compiler", State.OK, f"solc {compiler.SOLC_VERSION} is there")
        return
    detail = "not looked for further; only changing the contracts needs it, running does not"
    yield Finding("solidity compiler", State.SKIPPED, detail)


def _settings() -> WorkerSettings:
    from oracle_worker import settings

    return settings.load()


def _has_network(setup: Setup) -> bool:
    try:
        return bool(setup.network)
    except (profiles.UnknownNetwork, profiles.BadProfile):
        return False


def _answers(setup: Setup) -> bool:
    try:
        return _has_network(setup) and bool(setup.endpoint.chain_id)
    except (ChainError, BadDeployment):
        return False


def _has_deployment(setup: Setup) -> bool:
    try:
        return _answers(setup) and bool(setup.contracts.oracle.bounds())
    except (ChainError, BadDeployment):
        return False


_CHECKS: tuple[Callable[[Setup], Iterator[Finding]], ...] = (
    _check_python,
    _check_packages,
    _check_runtime,
    _check_profile,
    _check_node,
    _check_deployment,
    _check_key,
    _check_broker,
    _check_folders,
    _check_compiler,
)
