"""docker-compose.yml and the image, held to what the programs accept and to what an operator relies on.

There need be no Docker: the file is read as Compose reads it, its commands are parsed by the real command line, its settings
loaded by the real classes, its health checks run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from contracts import keystore
from contracts.compute_oracle import DEV_BOUNDS
from contracts.deployment import deploy
from contracts.transactor import Transactor
from coordinator import settings as coordinator_settings
from coordinator.devnet import dev_keys, running_chain, secret_files
from coordinator.settings import CoordinatorSettings
from coordinator.topology import Topology
from oracle_worker import settings as worker_settings
from oracle_worker.messages import load_secret
from oracle_worker.monitoring import monitoring
from oracle_worker.settings import WorkerSettings
from tests.command_line import parse
from tests.end_to_end.services import RedisServer
from tests.requirements import missing

try:
    import yaml
except ImportError:
    missing("PyYAML", "pip install PyYAML")

ROOT = Path(__file__).resolve().parents[1]
OPERATORS = ("ada", "ben", "cyd", "dan", "eve")
ROLES = ("coordinator", "signer", "compute")
OF_THE_COMMAND_LINE = {"QUORATE_HOME", "QUORATE_KEY"}
"""Variables that only the command line reads."""
SECRET_VARIABLES = {"QUORATE_PRIVATE_KEY", "QUORATE_PASSPHRASE"}
WEAK_SCRYPT = 4096

Compose = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Compose:
    """The file with its variables at their defaults."""
    content: Compose = interpolated(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))
    return content


SCHEMA = ROOT / ".tools" / "compose" / "compose_spec.json"


def faults_by_schema(content: Compose) -> list[str]:
    """What the schema of Compose files says against one. It is of 1.29, which did not know a project's name yet."""
    if not SCHEMA.exists():
        missing("the schema of Compose files", "make compose-schema")
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    known = {key: value for key, value in content.items() if key != "name"}
    return [f"{fault.instance_path}: {fault.message}" for fault in validator.iter_errors(known)]


def test_the_file_meets_the_schema_of_compose_files() -> None:
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert faults_by_schema(content) == []


def test_the_schema_finds_a_mistyped_key_and_a_value_of_another_kind() -> None:
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    service = next(iter(content["services"].values()))
    service["helthcheck"] = service.pop("healthcheck", {"test": "true"})
    assert any("helthcheck" in fault for fault in faults_by_schema(content))
    del service["helthcheck"]
    service["read_only"] = "always"
    assert any("always" in fault for fault in faults_by_schema(content))


def interpolated(node: Any) -> Any:
    """What Compose makes of ${NAME:-default}: it puts variables into the parsed strings, and what it gives is text."""
    if isinstance(node, dict):
        return {key: interpolated(value) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value) for value in node]
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", node) if isinstance(node, str) else node


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """None of the surroundings' QUORATE_ variables."""
    for name in [name for name in os.environ if name.startswith("QUORATE_")]:
        monkeypatch.delenv(name)
    return monkeypatch


def services(compose: Compose, *, staying: bool = False) -> Iterator[tuple[str, Compose]]:
    """All services, or those that stay up."""
    for name, service in compose["services"].items():
        if not (staying and service["restart"] == "no"):
            yield name, service


def of_quorate(compose: Compose) -> Iterator[tuple[str, Compose]]:
    """The services whose entry point is `quorate`."""
    for name, service in services(compose):
        if service["image"].startswith("quorate:") and "entrypoint" not in service:
            yield name, service


def health_script(service: Compose) -> str:
    kind, program, flag, script = service["healthcheck"]["test"]
    assert (kind, program, flag) == ("CMD", "python", "-c")
    return str(script)


def exit_code(script: str, **environment: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, timeout=60, check=False
    ).returncode


def test_there_is_a_chain_and_five_operators_of_four_processes(compose: Compose) -> None:
    expected = {f"{name}-{role}" for name in OPERATORS for role in ("redis", *ROLES)}
    assert {name for name, _ in services(compose, staying=True)} == expected | {"chain", "dashboard"}


def test_every_process_is_confined(compose: Compose) -> None:
    for name, service in services(compose):
        assert service["user"].split(":")[0].isdigit(), name
        assert service["user"].split(":")[0] != "0", name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert not service.get("privileged"), name


def test_every_process_that_stays_is_restarted_and_watched(compose: Compose) -> None:
    for name, service in services(compose, staying=True):
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert {"interval", "timeout"} <= set(service["healthcheck"]), name


def test_whatever_is_named_is_declared(compose: Compose) -> None:
    for name, service in services(compose):
        assert set(service.get("networks", [])) <= set(compose["networks"]), name
        assert set(service.get("secrets", [])) <= set(compose["secrets"]), name
        mounted = {volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith(".")}
        assert mounted <= set(compose["volumes"]), name
        for other, needs in service.get("depends_on", {}).items():
            assert needs == {"condition": "service_healthy"}, name
            assert "healthcheck" in compose["services"][other], name


def test_only_loopback_is_published(compose: Compose) -> None:
    published = {name: service["ports"] for name, service in services(compose) if "ports" in service}
    assert published == {"chain": ["127.0.0.1:8545:8545"], "dashboard": ["127.0.0.1:8080:8080"]}


def test_no_environment_holds_a_secret(compose: Compose) -> None:
    for name, service in services(compose):
        environment = service.get("environment", {})
        assert not SECRET_VARIABLES & set(environment), name
        for key, value in environment.items():
            assert not re.fullmatch(r"(0x)?[0-9a-fA-F]{64}", value), f"{name}: {key}"
            if key in ("QUORATE_KEY", "QUORATE_PASSPHRASE_FILE", "QUORATE_MESSAGE_SECRET"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {key}"


def test_only_signers_get_keys_and_each_its_own(compose: Compose) -> None:
    for operator in OPERATORS:
        own = {role: set(compose["services"][f"{operator}-{role}"].get("secrets", [])) for role in ROLES}
        assert own["coordinator"] == set()
        assert own["compute"] == {f"{operator}-message"}
        assert own["signer"] == {f"{operator}-message", f"{operator}-keystore", f"{operator}-passphrase"}


def test_operators_are_islands(compose: Compose) -> None:
    for operator in OPERATORS:
        assert compose["networks"][operator] == {"internal": True}
        assert compose["services"][f"{operator}-redis"]["networks"] == [operator]
        for role in ROLES:
            service = compose["services"][f"{operator}-{role}"]
            assert set(service["networks"]) == {"chain", operator}
            assert service["environment"]["QUORATE_BROKER_URL"] == f"redis://{operator}-redis:6379/0"
    inhabitants = {name for name, service in services(compose) if set(service.get("networks", [])) & set(OPERATORS)}
    assert inhabitants == {f"{operator}-{role}" for operator in OPERATORS for role in ("redis", *ROLES)}


def test_every_command_is_one_that_the_command_line_takes(compose: Compose) -> None:
    for _, service in of_quorate(compose):
        parse([str(word) for word in service["command"]])


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    for wrong in (["worker", "--role", "boss"], ["coordinator", "--wrong"], ["nothing"], ["devnet", "--port", "x"]):
        with pytest.raises(Exception, match=r"."):
            parse(wrong)


def test_every_variable_is_a_setting_of_its_process(compose: Compose) -> None:
    of_worker = {worker_settings.PREFIX + name.upper() for name in WorkerSettings.model_fields}
    of_coordinator = {worker_settings.PREFIX + name.upper() for name in CoordinatorSettings.model_fields}
    for name, service in of_quorate(compose):
        known = {"coordinator": of_coordinator, "dashboard": of_coordinator | of_worker}.get(
            service["command"][0], of_worker
        )
        assert set(service.get("environment", {})) <= known | OF_THE_COMMAND_LINE, name


def test_the_settings_can_be_loaded(compose: Compose, bare_environment: pytest.MonkeyPatch) -> None:
    for _, service in of_quorate(compose):
        with bare_environment.context() as patch:
            for key, value in service.get("environment", {}).items():
                patch.setenv(key, value)
            name = service["command"][0]
            loads = {"coordinator": [coordinator_settings.load]}.get(name, [worker_settings.load])
            if name == "dashboard":  # it fetches data as a worker does
                loads = [worker_settings.load, coordinator_settings.load]
            made = [load() for load in loads][-1]
        if "QUORATE_BROKER_URL" in service.get("environment", {}):
            assert made.broker_url.startswith("redis://")


def test_what_a_process_writes_to_is_a_volume_or_tmpfs(compose: Compose) -> None:
    for name, service in of_quorate(compose):
        writable = [volume.split(":")[1] for volume in service.get("volumes", []) if not volume.endswith(":ro")]
        writable += service["tmpfs"]
        for key in ("QUORATE_HOME", "QUORATE_WORK_FOLDER", "QUORATE_DATABASE"):
            if value := service.get("environment", {}).get(key):
                assert any(Path(value).is_relative_to(place) for place in writable), f"{name}: {key}"


def test_the_keys_service_makes_every_secret_that_the_others_need(compose: Compose, tmp_path: Path) -> None:
    folder, *names = compose["services"]["keys"]["command"]
    assert compose["services"]["keys"]["entrypoint"] == ["python", "-m", "coordinator.devnet.secret_files"]
    assert compose["services"]["keys"]["volumes"] == [f"./secrets:{folder}"]
    written = secret_files.write(tmp_path / "secrets", names, iterations=WEAK_SCRYPT)
    assert secret_files.write(tmp_path / "secrets", names, iterations=WEAK_SCRYPT) == []
    for name, secret in compose["secrets"].items():
        path = tmp_path / secret["file"]
        assert path in written, name
        assert path.stat().st_mode & 0o077 == 0, name
    for operator in OPERATORS:
        base = tmp_path / "secrets" / operator
        passphrase = base.with_suffix(".passphrase").read_text().rstrip("\n")
        account = keystore.unlock(base.with_suffix(".keystore.json"), passphrase)
        assert compose["services"][f"{operator}-compute"]["environment"]["QUORATE_WORKER"] == account.address
        assert compose["services"][f"{operator}-coordinator"]["environment"]["QUORATE_WORKER"] == account.address
        assert len(load_secret(base.with_suffix(".message"))) == 32


def test_an_operators_own_key_is_never_replaced(tmp_path: Path) -> None:
    own = tmp_path / "ada.keystore.json"
    own.write_text("mine")
    with pytest.raises(ValueError, match="passphrase"):
        secret_files.write(tmp_path, ["ada"], iterations=WEAK_SCRYPT)
    (tmp_path / "ada.passphrase").write_text("known to me alone\n")
    assert secret_files.write(tmp_path, ["ada"], iterations=WEAK_SCRYPT) == [tmp_path / "ada.message"]
    assert own.read_text() == "mine"


def test_a_worker_without_its_broker_is_unhealthy(compose: Compose, tmp_path: Path) -> None:
    import redis

    script = health_script(compose["services"]["ada-signer"])
    with RedisServer(tmp_path / "redis") as server:
        broker = {"QUORATE_BROKER_URL": server.url}
        assert exit_code(script, **broker) == 1  # the check's own connection does not count
        with redis.Redis.from_url(server.url) as worker:
            worker.ping()
            assert exit_code(script, **broker) == 0
    assert exit_code(script, **broker) == 1


@pytest.mark.parametrize("is_well", [True, False])
def test_a_coordinator_that_says_it_is_unwell_is_unhealthy(compose: Compose, is_well: bool) -> None:
    script = health_script(compose["services"]["ada-coordinator"])
    with monitoring(0, [], lambda: (is_well, {})) as port:
        assert exit_code(script, QUORATE_MONITORING_PORT=str(port)) == (0 if is_well else 1)
    assert exit_code(script, QUORATE_MONITORING_PORT=str(port)) == 1  # it has ended


def test_the_same_processes_run_without_docker(compose: Compose, tmp_path: Path) -> None:
    """`quorate up` starts these commands with these variables; only paths, hosts and ports are others."""
    if shutil.which("redis-server") is None:
        missing("redis-server", "install Debian's redis-server")
    topology = Topology.at(tmp_path)
    topology.prepare()
    plain = {process.name: process for process in topology.processes()}
    assert set(plain) == {name for name, _ in services(compose, staying=True)}
    for name, process in plain.items():
        service = compose["services"][name]
        if name.endswith("-redis"):
            own = ["--bind", "127.0.0.1", "--port", str(topology.ports[name]), "--dir", process.command[6]]
            assert process.command == [topology.redis_server, *own, *service["command"][1:]], name
        elif name == "chain":
            own = ["--port", str(topology.chain_port), "--deploy", "--deployment-file", str(topology.deployment)]
            assert process.command[-6:] == ["devnet", *own]
            assert (service["command"][0], service["command"][-3:-1]) == ("devnet", ["--deploy", "--deployment-file"])
        elif name == "dashboard":
            assert process.command[-3:] == ["dashboard", "--port", str(topology.ports[name])]
            assert set(process.environment) == set(service["environment"])
        else:
            assert list(process.command[-len(service["command"]) :]) == service["command"], name
            assert process.command[-len(service["command"]) - 1] == "coordinator.cli.main", name
            assert set(process.environment) == set(service["environment"]), name
            same = ("QUORATE_WORKER", "QUORATE_CONFIRMATIONS")
            for key in same:
                assert process.environment.get(key) == service["environment"].get(key), name


def test_a_chain_without_the_contracts_is_unhealthy(compose: Compose, tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    script = health_script(compose["services"]["chain"])
    assert "http://127.0.0.1:8545" in script
    assert "/deployment/deployment.json" in script
    with running_chain("py-evm", block_time=None) as url:
        here = script.replace("http://127.0.0.1:8545", url).replace("/deployment/deployment.json", str(file))
        assert exit_code(here) == 1
    with running_chain("py-evm") as url:
        here = script.replace("http://127.0.0.1:8545", url).replace("/deployment/deployment.json", str(file))
        deploy(Transactor(url, dev_keys(1)[0]), DEV_BOUNDS).save(file)
        assert exit_code(here) == 0
    with running_chain("py-evm", block_time=None) as url:  # the chain began anew, the file is the old one's
        here = script.replace("http://127.0.0.1:8545", url).replace("/deployment/deployment.json", str(file))
        assert exit_code(here) == 1


def test_the_image_is_built_from_what_the_wheel_needs_and_from_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert let_in == packages | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= let_in


def test_the_image_runs_quorate_as_a_user_of_the_given_id() -> None:
    steps = (ROOT / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert steps.index("ARG UID") < steps.index("useradd") < steps.index("USER quorate") < steps.index("ENTRYPOINT")
    assert 'ENTRYPOINT ["quorate"]' in steps
    assert "COPY . ." not in steps  # only the installed environment, not the sources
