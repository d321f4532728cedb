"""Settings from arguments, environment and a file: what is wrong is named, and no value is shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator import profiles
from coordinator import settings as of_coordinator
from coordinator.settings import CoordinatorSettings
from oracle_worker import settings, settings_file
from oracle_worker.settings import OF_COORDINATORS, BadSettings, WorkerSettings

SECRET = "hunter2hunter2hunter2"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("QUORATE_")]:
        monkeypatch.delenv(name)


def file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


Use = Callable[..., Path]


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Writes the file and names it in the environment."""

    def write(text: str, mode: int = 0o600) -> Path:
        path = file(tmp_path, text, mode)
        monkeypatch.setenv("QUORATE_SETTINGS", str(path))
        return path

    return write


def test_a_file_serves_all_of_an_operators_processes(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    use(
        'rpc_url = "http://node:8545"\ndata_folders = ["/a", "/b"]\nfee_ceiling = 300_000_000_000\n'
        "poll_seconds = 2.5\ndeliver = true\nconfirmations = 7\n"
    )
    worker, coordinator = settings.load(), of_coordinator.load()
    assert worker.rpc_url == coordinator.rpc_url == "http://node:8545"
    assert (worker.data_folders, worker.fee_ceiling) == ((Path("/a"), Path("/b")), 300 * 10**9)
    assert (coordinator.poll_seconds, coordinator.deliver, coordinator.confirmations) == (2.5, True, 7)
    monkeypatch.setenv("QUORATE_CONFIRMATIONS", "9")
    assert settings.load().confirmations == 9  # the environment goes before the file
    assert settings.load(confirmations=3).confirmations == 3  # and what is given before both


def test_the_coordinators_own_settings_are_known_to_the_worker() -> None:
    assert set(CoordinatorSettings.model_fields) - set(WorkerSettings.model_fields) == OF_COORDINATORS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("confirmation = 5", "there is no setting 'confirmation': do you mean confirmations?"),
        ("wholly_unknown_thing = 5", "there is no setting 'wholly_unknown_thing'"),
        ('"\\u001b[2J" = 5', r"there is no setting '\\x1b\[2J'"),
        ("[rpc_url]\nx = 1", "settings.toml: rpc_url: Input should be a valid string"),
        ('confirmations = "many"', "settings.toml: confirmations: Input should be a valid integer"),
        ("fee_ceiling = -1", "settings.toml: fee_ceiling: Input should be greater than"),
        ("a = ", "is not TOML"),
        (f'private_key = "{SECRET}"', "no key and no passphrase belongs here"),
        (f'passphrase = "{SECRET}"', "no key and no passphrase belongs here"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(use: Use, text: str, says: str) -> None:
    use(text)
    with pytest.raises(BadSettings, match=says) as caught:
        settings.load()
    assert SECRET not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORATE_SETTINGS", str(tmp_path / "none.toml"))
    with pytest.raises(BadSettings, match=r"none\.toml cannot be read: No such file"):
        settings.load()


@pytest.mark.parametrize(
    "line",
    [
        f'broker_url = "redis://:{SECRET}@10.0.0.2:6379/0"',
        f'rpc_url = "https://node.example/v3/{SECRET}"',
        f'rpc_url = "http://127.0.0.1:8545,https://u:{SECRET}@node.example"',
        f'relay_url = "https://relay.example/?key={SECRET}"',
    ],
)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_secret_in_a_file_that_others_may_read_is_refused(use: Use, line: str, mode: int) -> None:
    path = use(line, mode)
    with pytest.raises(
        BadSettings, match=r"others may read it, and .*_url may hold a password or a key: chmod 600"
    ) as caught:
        settings.load()
    assert SECRET not in str(caught.value)
    path.chmod(0o600)
    assert SECRET not in repr(settings.load())


def test_a_file_without_secrets_may_be_read_by_all(use: Use) -> None:
    use('broker_url = "redis://127.0.0.1:6379/0"\nrpc_url = "http://127.0.0.1:8545"', 0o644)
    assert settings.load().broker_url == "redis://127.0.0.1:6379/0"


@pytest.mark.parametrize("load", [settings.load, of_coordinator.load])
def test_a_mistyped_variable_is_refused_with_the_name_that_was_meant(
    load: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_FEE_CEILNG", "5")
    with pytest.raises(BadSettings, match="no setting QUORATE_FEE_CEILNG: do you mean QUORATE_FEE_CEILING"):
        load()


def test_variables_that_are_no_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*settings_file.OF_NO_SETTING - {"SETTINGS"}, "SOMETHING_ELSE", "POLL_SECONDS"):
        monkeypatch.setenv(f"QUORATE_{name}", "1")
    settings.load()
    of_coordinator.load()


def test_an_unknown_argument_names_the_nearest() -> None:
    with pytest.raises(BadSettings, match="there is no setting work_foldr: do you mean work_folder"):
        settings.load(work_foldr="x")


def test_the_command_line_takes_node_and_deployment_from_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, 'rpc_url = "http://127.0.0.1:1"\nchain_id = 5\ndeployment = "/nowhere/d.json"\n')
    from_file = {"QUORATE_SETTINGS": str(path), "QUORATE_CHAIN_ID": "6"}
    network = profiles.overridden(profiles.Network("", "http://x"), settings_file.variables(from_file))
    assert network == profiles.Network("", "http://127.0.0.1:1", 6, Path("/nowhere/d.json"))
