"""The command line itself: options, exit codes, amounts, profiles, keys. No chain is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

import coordinator
from contracts import errors, keystore
from coordinator import profiles
from coordinator.cli import amounts
from coordinator.cli.command import GLOBAL, guarded
from coordinator.cli.context import Options
from coordinator.cli.failures import ADVICE, AMOUNTS, ExitCode
from coordinator.cli.main import app
from coordinator.cli.output import Output, Seconds, Time, Wei, plain, shown
from tests.coordinator.cli.conftest import PASSPHRASE, Cli

DOCS = Path(coordinator.__file__).parent.parent / "docs" / "cli.md"
KEY = "11" * 32


def every_command() -> Iterator[tuple[str, Any]]:
    def walk(path: str, group: Any) -> Iterator[tuple[str, Any]]:
        for name, inner in group.commands.items():
            if getattr(inner, "invoke_without_command", False):
                yield f"{path} {name}".strip(), inner
            if hasattr(inner, "commands"):
                yield from walk(f"{path} {name}", inner)
            else:
                yield f"{path} {name}".strip(), inner

    return walk("", typer.main.get_command(app))


COMMANDS = dict(every_command())


def run_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed program, in a process of its own, as a shell would start it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "QUORATE_HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "coordinator.cli.main", *arguments],
        env={**kept, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_commands_are_exactly_those_of_the_documentation() -> None:
    documented = set(re.findall(r"^\| `quorate ([a-z ]+?)(?: [A-Z\[<…-][^`]*)?` \|", DOCS.read_text(), re.MULTILINE))
    assert documented == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_takes_the_global_options_and_says_what_it_does(name: str) -> None:
    command = COMMANDS[name]
    assert {parameter.name for parameter in command.params} >= set(GLOBAL)
    assert command.help and command.help.endswith(".")


def test_exit_codes_are_the_documented_ones() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCS.read_text(), re.MULTILINE)}
    assert documented == {int(code) for code in ExitCode}


def test_advice_is_given_for_errors_that_the_contracts_have() -> None:
    assert set(ADVICE) <= {made.name for made in errors.every()}


def test_amounts_of_refusals_are_named_as_the_contracts_name_them() -> None:
    for name, fields in AMOUNTS.items():
        assert any(made.name == name and set(fields) <= set(made.fields) for made in errors.every()), name


@pytest.mark.parametrize("line", [("--version", "--json"), ("--json", "--version")])
def test_the_version_is_json_too_if_that_is_asked_for(cli: Cli, line: tuple[str, ...]) -> None:
    assert cli("--version").out.startswith("quorate ")
    assert set(cli(*line).data) == {"quorate"}


def test_the_shell_completes_commands(home: Path) -> None:
    done = run_process(_QUORATE_COMPLETE="complete_bash", COMP_WORDS="quorate ver", COMP_CWORD="1")
    assert done.stdout.split() == ["verdict"]


def test_a_usage_error_is_one_line_on_stderr_and_exit_code_2(cli: Cli) -> None:
    for line in (("stake", "deposit"), ("stake", "deposit", "1", "--nonsense"), ("nope",), ("stake", "deposit", "5x")):
        ran = cli(*line)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("error: ") and ran.err.count("\n") == 1 and "--help" in ran.err


@pytest.mark.parametrize("line", [(), ("keys",), ("stake",), ("verdict",)])
def test_a_bare_group_prints_its_help(cli: Cli, line: tuple[str, ...]) -> None:
    ran = cli(*line)
    assert ran.code == 2 and "Usage: quorate" in ran.out and ran.err == ""


def test_with_json_an_error_is_json_on_stderr_and_stdout_stays_empty(cli: Cli) -> None:
    for ran in (cli("keys", "import", "--json"), cli("--json", "keys", "import")):
        assert ran.out == ""
        assert json.loads(ran.err) == {"error": json.loads(ran.err)["error"], "exit": 6}


def test_an_unforeseen_error_is_no_traceback_unless_debugging(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise ZeroDivisionError("boom")

    assert guarded(Options(), broken) == ExitCode.FAILED
    quiet = capsys.readouterr().err
    assert "boom" in quiet and "Traceback" not in quiet
    assert guarded(Options(debug=True), broken) == ExitCode.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_file_is_named(cli: Cli, tmp_path: Path) -> None:
    ran = cli("model", "check", tmp_path / "none.onnx")
    assert ran.code == ExitCode.BAD_INPUT
    assert "none.onnx" in ran.err and "No such file" in ran.err


# ---- Amounts ----


@pytest.mark.parametrize(
    ("text", "wei"),
    [
        ("0", 0),
        ("25000", 25_000),
        ("25000 wei", 25_000),
        ("3 gwei", 3 * 10**9),
        ("0.1 ether", 10**17),
        ("0.1ether", 10**17),
        (" 1.50 ETH ", 15 * 10**17),
        ("0.000000000000000001 ether", 1),
    ],
)
def test_amounts_are_exact(text: str, wei: int) -> None:
    assert amounts.parse(text) == wei


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ether",
        "-1",
        "1e18",
        "1,5 ether",
        "0x10",
        "1.5",
        "0.1 gweis",
        "1.0000000001 gwei",
        "1 2",
        "٣",
        "9" * 90,
        "nan",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|whole number|more than any"):
        amounts.parse(text)


@given(st.integers(0, 2**96 - 1))
def test_an_amount_is_always_shown_with_its_exact_wei(wei: int) -> None:
    assert re.search(rf"(^|\(){wei} wei\)?$", amounts.show(wei))


@given(st.integers(0, 2**96 - 1), st.sampled_from(["gwei", "ether"]))
def test_an_amount_written_in_any_unit_comes_back_to_the_wei(wei: int, unit: str) -> None:
    places = amounts.UNITS[unit]
    assert amounts.parse(f"{wei // 10**places}.{wei % 10**places:0{places}d} {unit}") == wei


# ---- Output ----


def test_text_from_outside_cannot_drive_the_terminal_or_markup(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b]0;owned\x07[red]x[/red]\r\n\u202e"
    Output(False).record({"data_uri": hostile, "rows": [{"x": hostile}]})
    Output(False).line({}, hostile)
    Output(False).note(hostile)
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert "\x1b]" not in text and "\x07" not in text and "\r" not in text and "\u202e" not in text
    assert "[red]x[/red]" in captured.out
    assert plain("a\x00b\nc") == "a?b?c"


def test_json_amounts_are_strings_and_times_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    Output(True).record(
        {"wei": Wei(2**90), "at": Time(5), "for": Seconds(90), "root": b"\x01", "none": None, "ok": True}
    )
    expected = {"wei": str(2**90), "at": 5, "for": 90, "root": "0x01", "none": None, "ok": True}
    assert json.loads(capsys.readouterr().out) == expected


def test_people_are_shown_dates_and_durations() -> None:
    assert shown(Time(0)) == "never"
    assert shown(Time(10**9)) == "2001-09-09 01:46:40 UTC"
    assert shown(Time(2**63)) == f"second {2**63}"
    assert [shown(Seconds(n)) for n in (1, 90, 125, 7200, 90000, 10**6)] == [
        "1 s", "90 s", "2 min 5 s", "2 h", "25 h", "11 d 13 h",
    ]  # fmt: skip


# ---- Network profiles ----


def test_profiles_come_back_as_they_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "networks.toml"
    odd = profiles.Network("a-b_1", 'http://h/"quoted"\\x\x7f', 5, tmp_path / 'od"d é' / "d.json")
    bare = profiles.Network("bare", "http://h")
    profiles.save(path, odd)
    profiles.save(path, bare)
    have = profiles.load(path)
    assert have.networks == {"a-b_1": odd, "bare": bare}
    assert have.choose(None) == odd, "the first profile is the default"
    assert have.choose("bare") == bare


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("not toml", "not TOML"),
        ("networks = 1", "must be tables"),
        ("[networks.x]\nchain_id = 1", "rpc_url"),
        ("[networks.x]\nrpc_url = 'u'\nchain_id = 'one'", "chain_id"),
        ("[networks.x]\nrpc_url = 'u'\nrcp = 1", "unknown key 'rcp'"),
        ("default = 'y'\n[networks.x]\nrpc_url = 'u'", "'y'"),
    ],
)
def test_a_broken_profile_file_is_refused_by_its_key(cli: Cli, home: Path, content: str, complaint: str) -> None:
    home.mkdir()
    (home / profiles.FILE_NAME).write_text(content)
    ran = cli("stake", "show", "0x" + "11" * 20)
    assert ran.code == ExitCode.BAD_INPUT
    assert complaint in ran.err and profiles.FILE_NAME in ran.err


def test_without_any_network_the_error_says_how_to_choose_one(cli: Cli) -> None:
    ran = cli("job", "list")
    assert ran.code == ExitCode.USAGE
    assert "--network" in ran.err and "quorate devnet --deploy" in ran.err


def test_an_unknown_network_is_refused_with_those_there_are(cli: Cli, home: Path) -> None:
    profiles.save(home / profiles.FILE_NAME, profiles.Network("dev", "http://127.0.0.1:1", 1))
    ran = cli("--network", "main", "job", "list")
    assert ran.code == ExitCode.USAGE and "'main'" in ran.err and "dev" in ran.err


def test_options_after_the_command_win_over_those_before_and_over_the_environment(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles.save(home / profiles.FILE_NAME, profiles.Network("dev", "http://127.0.0.1:1", 1))
    monkeypatch.setenv("QUORATE_NETWORK", "of-environment")
    assert "'of-environment'" in cli("job", "list").err
    assert "'before'" in cli("--network", "before", "job", "list").err
    assert "'after'" in cli("--network", "before", "job", "list", "--network", "after").err


def test_a_malformed_chain_id_in_the_environment_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORATE_CHAIN_ID", "one")
    ran = cli("job", "list", "--rpc", "http://127.0.0.1:1")
    assert ran.code == ExitCode.BAD_INPUT and "QUORATE_CHAIN_ID" in ran.err


@pytest.mark.parametrize("content", [None, "not json", "{}", '{"chain_id": 1}', "[1]"])
def test_a_missing_or_broken_deployment_file_is_refused(
    cli: Cli, home: Path, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "deployment.json"
    if content is not None:
        path.write_text(content)
    profiles.save(home / profiles.FILE_NAME, profiles.Network("dev", "http://127.0.0.1:1", None, path))
    ran = cli("stake", "show", "0x" + "11" * 20)
    assert ran.code == ExitCode.BAD_INPUT and str(path) in ran.err


def test_an_unreachable_node_is_exit_code_3_and_no_secret_of_its_url_is_shown(cli: Cli) -> None:
    ran = cli("deploy", "--rpc", "http://user:password@127.0.0.1:1/secret-key")
    assert ran.code == ExitCode.CHAIN and "is the node running" in ran.err
    assert "password" not in ran.err and "secret-key" not in ran.err


# ---- Keys ----


def test_a_new_key_is_encrypted_listed_and_private(cli: Cli, home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE + "\nsecond line\n")
    secret.chmod(0o600)
    made = cli("keys", "new", "--passphrase-file", secret, "--json").data
    path = Path(made["file"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert keystore.unlock(path, PASSPHRASE).address == made["address"]
    assert cli("keys", "list", "--json").data == [made]
    assert made["address"] in cli("keys", "list").out


def test_a_plain_key_is_imported_from_the_environment_only_once(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("QUORATE_PRIVATE_KEY", KEY)
    first = cli("keys", "import")
    assert first.code == 0 and KEY not in first.out + first.err
    again = cli("keys", "import")
    assert again.code == ExitCode.KEY and "already" in again.err
    assert len(list((home / "keys").iterdir())) == 1


def test_a_malformed_plain_key_is_refused_without_being_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORATE_PRIVATE_KEY", KEY[:-1])
    ran = cli("keys", "import")
    assert ran.code == ExitCode.KEY and "QUORATE_PRIVATE_KEY" in ran.err and KEY[:-1] not in ran.err


def test_without_a_passphrase_nothing_is_made(home: Path) -> None:
    done = run_process("keys", "new")
    assert done.returncode == ExitCode.KEY and "--passphrase-file" in done.stderr
    assert not (home / "keys").exists()


@pytest.mark.parametrize("content", ["", "\nsecond\n"])
def test_an_empty_passphrase_file_is_refused(cli: Cli, home: Path, tmp_path: Path, content: str) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text(content)
    secret.chmod(0o600)
    ran = cli("keys", "new", "--passphrase-file", secret)
    assert ran.code == ExitCode.KEY and "first line" in ran.err and not (home / "keys").exists()


def test_a_passphrase_file_that_others_may_read_is_refused_with_what_to_do(
    cli: Cli, home: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE)
    secret.chmod(0o640)
    ran = cli("keys", "new", "--passphrase-file", secret)
    assert ran.code == ExitCode.KEY and f"chmod 600 {secret}" in ran.err and PASSPHRASE not in ran.err
    assert not (home / "keys").exists()


def test_a_version_is_printed() -> None:
    assert re.fullmatch(r"quorate \d+\.\d+\.\d+\n", run_process("--version").stdout)
