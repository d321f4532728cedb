"""Results are kept table by table: measuring one again leaves the others as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.__main__ import TABLES, keep, markdown


def rows(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": 12_345, "unit": "gas"} for name in names]


def test_a_table_takes_the_place_of_its_older_self_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    keep(path, "merkle", rows("merkle/build"))
    keep(path, "gas", rows("stake", "unbond"))
    before = path.read_text()
    assert before.index("## gas") < before.index("## merkle")  # in the order of all tables
    keep(path, "gas", rows("stake"))
    after = path.read_text()
    assert "unbond" not in after and after.count("## gas") == 1
    assert markdown(rows("merkle/build")) in after and "| stake | 12,345 | gas |" in after
    keep(path, "gas", rows("stake", "unbond"))
    assert path.read_text() == before


def test_a_table_that_could_not_be_measured_leaves_its_older_self(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    keep(path, "zk", rows("zk/prove"))
    before = path.read_text()
    keep(path, "zk", [])
    assert path.read_text() == before and "zk" in TABLES
