"""The systemd units name commands, settings and files that exist, and confine what they start."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from coordinator.settings import CoordinatorSettings
from oracle_worker.settings import PREFIX, WorkerSettings
from tests.command_line import parse

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
OF_QUORATE = [unit for unit in UNITS if "redis" not in unit.name]
OF_THE_COMMAND_LINE = {"HOME", "KEY", "SETTINGS", "LOG_FORMAT"}


def entries(unit: Path) -> list[tuple[str, str]]:
    """(key, value) of every line that is one."""
    lines = [line for line in unit.read_text().splitlines() if line and line[0] not in "#["]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def values(unit: Path, key: str) -> list[str]:
    return [value for name, value in entries(unit) if name == key]


def environment(unit: Path) -> dict[str, str]:
    return dict(one.split("=", 1) for one in values(unit, "Environment"))


def test_there_is_a_unit_for_each_of_an_operators_processes() -> None:
    roles = ("compute", "coordinator", "redis", "signer")
    assert [unit.name for unit in UNITS] == [f"quorate-{role}@.service" for role in roles]


@pytest.mark.parametrize("unit", OF_QUORATE, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_the_command_line_takes_with_settings_that_exist(unit: Path) -> None:
    (command,) = values(unit, "ExecStart")
    program, *arguments = shlex.split(command)
    assert program == "/opt/quorate/bin/quorate"
    parse(arguments)
    kind = CoordinatorSettings if arguments[0] == "coordinator" else WorkerSettings
    known = {name.upper() for name in kind.model_fields} | OF_THE_COMMAND_LINE
    assert {name.removeprefix(PREFIX) for name in environment(unit)} <= known
    assert environment(unit)["QUORATE_BROKER_URL"] == "redis+socket:///run/quorate-%i/redis.sock"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_confines_what_it_starts_and_starts_it_again(unit: Path) -> None:
    said = dict(entries(unit))
    assert said["User"] == "quorate"
    assert said["Restart"] == "always"
    assert (said["NoNewPrivileges"], said["ProtectSystem"], said["ProtectHome"]) == ("yes", "strict", "yes")
    assert said["CapabilityBoundingSet"] == ""


def test_only_the_signer_gets_the_key_and_no_environment_holds_a_secret() -> None:
    given = {unit.name: {one.split(":")[0] for one in values(unit, "LoadCredential")} for unit in UNITS}
    assert given["quorate-signer@.service"] == {"keystore", "passphrase", "message"}
    assert given["quorate-compute@.service"] == {"message"}
    assert given["quorate-coordinator@.service"] == given["quorate-redis@.service"] == set()
    for unit in OF_QUORATE:
        assert not {"QUORATE_PRIVATE_KEY", "QUORATE_PASSPHRASE"} & set(environment(unit))
        named = {value.removeprefix("%d/") for value in environment(unit).values() if value.startswith("%d/")}
        assert named == given[unit.name]


def test_what_a_unit_writes_to_is_its_own_folder() -> None:
    for unit in OF_QUORATE:
        (folder,) = values(unit, "StateDirectory")
        for key in ("QUORATE_HOME", "QUORATE_WORK_FOLDER", "QUORATE_DATABASE"):
            if value := environment(unit).get(key):
                assert value.startswith(f"/var/lib/{folder}"), unit.name


def test_the_guide_installs_these_units_and_their_ports_are_the_scraped_ones() -> None:
    guide = (FOLDER.parents[1] / "docs" / "operators.md").read_text("utf-8")
    assert set(re.findall(r"quorate-(\w+)@ada", guide)) >= {"redis", "coordinator", "signer", "compute"}
    scraped = (FOLDER.parent / "monitoring" / "prometheus.yml").read_text()
    ports = {environment(unit).get("QUORATE_MONITORING_PORT") for unit in OF_QUORATE} - {None}
    assert {f"127.0.0.1:{port}" for port in ports} == set(re.findall(r"127\.0\.0\.1:\d+", scraped))
