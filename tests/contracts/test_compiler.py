"""What compiling needs besides the project's own sources: the library that they import, in its one version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts import compiler
from contracts.compiler import LIBRARY, NODE_MODULES, SOURCES, CompilerMissing, read_sources, with_library
from tests.requirements import missing

NAME, _, VERSION = LIBRARY.rpartition("@")
ASKED = f'import {{X}} from "{NAME}/a/X.sol";\n'


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library of its own: X imports Y by its place, Y imports Z by its name, and nothing imports W."""
    monkeypatch.setattr(compiler, "NODE_MODULES", tmp_path)
    root = tmp_path / NAME
    for name, text in {
        "package.json": json.dumps({"version": VERSION}),
        "a/X.sol": 'import {\n    Y\n} from "../b/Y.sol";\n',
        "b/Y.sol": f'import "{NAME}/Z.sol";\n// import "{NAME}/W.sol";\n',
        "Z.sol": "",
        "W.sol": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_sources_come_with_all_of_the_library_that_they_reach_and_no_more(library: Path) -> None:
    own = {"contracts/src/A.sol": 'import {B} from "./B.sol";\n' + ASKED, "contracts/src/B.sol": ""}
    closed = with_library(own)
    assert closed.keys() - own.keys() == {f"{NAME}/a/X.sol", f"{NAME}/b/Y.sol", f"{NAME}/Z.sol"}
    assert closed[f"{NAME}/a/X.sol"] == (library / "a/X.sol").read_text()


@pytest.mark.parametrize("harm", ["absent", "another version"])
def test_without_the_library_it_says_what_to_install(library: Path, harm: str) -> None:
    if harm == "absent":
        (library / "a" / "X.sol").unlink()
    else:
        (library / "package.json").write_text('{"version": "5.0.0"}')
    with pytest.raises(CompilerMissing, match=f"npm install --prefix .tools {LIBRARY}"):
        with_library({"contracts/src/A.sol": ASKED})


def test_the_projects_sources_reach_the_library_for_safe_transfers() -> None:
    if not (NODE_MODULES / NAME).is_dir():
        missing(LIBRARY, f"npm install --prefix .tools {LIBRARY}")
    reached = {path for path in with_library(read_sources(SOURCES)) if path.startswith("@")}
    assert f"{NAME}/token/ERC20/utils/SafeERC20.sol" in reached


def test_the_ci_installs_the_version_that_compiling_asks_for() -> None:
    assert f" {LIBRARY}\n" in (compiler.PROJECT / ".ci" / "run").read_text()
