"""A job is submitted from the page: the file is quantised there, and nothing is sent but what the wallet signed."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.coordinator.dashboard.conftest import Dashboard
from tests.oracle_worker.stage import Operator, Stage

Rows = NDArray[np.uint8]


def test_without_a_wallet_the_page_names_the_other_way(page: Any, dashboard: Dashboard) -> None:
    page.goto("/submit")
    page.locator("#sign-button").click()
    page.locator("#sign-said", has_text="This browser has no wallet").wait_for()


def test_what_the_contract_would_refuse_is_never_put_before_the_wallet(
    dashboard: Dashboard, stage: Stage, honest: list[Operator]
) -> None:
    wanted = {
        "requester": stage.owner.sender,
        "model_id": "0x" + stage.model_id.hex(),
        "data_root": "0x" + "11" * 32,
        "item_count": 10,
        "data_uri": "https://example.org/rows",
        "reward": "0.1 ether",
        "seats": 3,
        "seat_stake": f"{stage.seat_stake()} wei",
        "quorum": 1,
    }
    answer = httpx.post(f"{dashboard.url}/dashboard/transaction", json=wanted, timeout=60)
    assert answer.status_code == 422
    assert "the contract would refuse this job" in answer.text
    for change in ({"reward": "lots"}, {"requester": "0x12"}, {"surplus": 1}, {"item_count": 0}, {"data_root": "0x1"}):
        answer = httpx.post(f"{dashboard.url}/dashboard/transaction", json=wanted | change, timeout=60)
        assert answer.status_code == 422, change


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no rows"),
        (b"\xff\xfe\x00", "not a CSV"),
        (b"a,b\n1,2\n", "no column"),
        (b"1,2,3\n", "columns where the model reads"),
        (b"x" * (4 << 20) + b"yz", "larger than 4 MiB"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_to_do(dashboard: Dashboard, body: bytes, words: str) -> None:
    answer = httpx.post(f"{dashboard.url}/dashboard/rows/wine-grading", content=body, timeout=60)
    assert answer.status_code in (413, 422)
    assert words in answer.text
    assert "quorate-rows" not in answer.text


def test_another_sites_page_can_have_nothing_computed(dashboard: Dashboard) -> None:
    evil = {"origin": "https://evil.example"}
    for path in ("/dashboard/rows/wine-grading", "/dashboard/transaction"):
        assert httpx.post(dashboard.url + path, content=b"1", headers=evil, timeout=60).status_code == 403
