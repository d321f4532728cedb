"""The guides for operators and requesters say what is so: every setting with its default, commands that can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from coordinator.settings import CoordinatorSettings
from oracle_worker.settings import PREFIX, WorkerSettings, load_as
from tests.command_line import parse

DOCS = Path(__file__).resolve().parents[1] / "docs"
GUIDES = ("operators.md", "requesters.md")
OF_THE_COMMAND_LINE = {"HOME", "NETWORK", "KEY", "PRIVATE_KEY", "SETTINGS", "LOG_FORMAT"}


def read(guide: str) -> str:
    return (DOCS / guide).read_text("utf-8")


def shown(default: object) -> str:
    """A default as the table writes it."""
    if default in (None, "", ()):
        return "–"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return str(default).lower() if isinstance(default, bool) else f"`{default}`"


def commands(guide: str) -> list[list[str]]:
    """Every `$ quorate …` of the guide's console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", read(guide), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ quorate ")]


def test_the_operators_guide_lists_every_setting_with_its_default() -> None:
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| ([WC ]+) \| (.+?) \|", read("operators.md"), re.MULTILINE)
    classes = {"W": WorkerSettings.model_fields, "C": CoordinatorSettings.model_fields}
    expected = {
        (name.upper(), letter, shown(field.default)) for letter, own in classes.items() for name, field in own.items()
    }
    assert {(name, letter, default) for name, letters, default in rows for letter in letters.split()} == expected
    assert len(rows) == len({name for name, _, _ in expected})


@pytest.mark.parametrize("guide", GUIDES)
def test_every_variable_that_a_guide_names_exists(guide: str) -> None:
    known = {name.upper() for name in (*WorkerSettings.model_fields, *CoordinatorSettings.model_fields)}
    of_compose = {"UID"}
    named = set(re.findall(rf"\b{PREFIX}([A-Z_]+[A-Z])\b", read(guide)))
    assert named <= known | OF_THE_COMMAND_LINE | of_compose


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_of_a_guide_is_one_that_the_command_line_takes(guide: str) -> None:
    found = commands(guide)
    assert len(found) >= 8
    for arguments in found:
        parse(arguments)


def test_the_settings_file_of_the_guide_can_be_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n# /etc/quorate.*?\n(.*?)```", read("operators.md"), re.DOTALL)
    (tmp_path / "ada.toml").write_text(text)
    settings = load_as(WorkerSettings, {}, {"QUORATE_SETTINGS": str(tmp_path / "ada.toml")})
    assert settings.fee_ceiling == 300 * 10**9


@pytest.mark.parametrize("guide", GUIDES)
def test_every_link_of_a_guide_leads_somewhere(guide: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", read(guide)):
        assert (DOCS / target).is_file(), target
