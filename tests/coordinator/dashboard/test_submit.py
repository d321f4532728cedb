"""A job is submitted from the page: the file is quantised there, and nothing is sent but what the wallet signed."""

from __future__ import annotations

import shlex
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.merkle import MerkleTree, input_leaf
from models import zoo
from tests.coordinator.dashboard.conftest import Dashboard
from tests.coordinator.dashboard.wallet import Wallet
from tests.oracle_worker.stage import ETHER, Operator, Stage

Rows = NDArray[np.uint8]


def csv_of(rows: Rows) -> str:
    """The rows as raw features, with columns in another order than the model's and one that it does not read."""
    scaling = zoo.load("wine-grading").card.scaling
    names = [*reversed(scaling.features), "remark"]
    lines = [[*(repr(float(value)) for value in reversed(row)), "dry"] for row in scaling.to_features(rows)]
    return "\n".join(",".join(cells) for cells in [names, *lines]) + "\n"


def drop(page: Any, text: str, name: str = "wine.csv") -> None:
    """Let a file fall on the page."""
    transfer = page.evaluate_handle(
        """([text, name]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], name, { type: "text/csv" }));
            return transfer;
        }""",
        [text, name],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def fill_in(page: Any, stage: Stage, rows: Rows) -> None:
    """Drop the rows, save the file that the page offers where workers find it, and choose terms that three can meet."""
    page.goto("/submit?model=wine-grading")
    drop(page, csv_of(rows))
    page.locator("#file-said", has_text=f"{len(rows)} rows of 13 bytes").wait_for()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save the rows file").click()
    place = stage.folder / "dropped.rows"
    saved.value.save_as(place)
    page.fill("#data_uri", place.as_uri())
    page.fill("#seats", "3")
    page.fill("#seat_stake", f"{stage.seat_stake(len(rows))} wei")


def test_a_dropped_file_is_quantised_and_the_wallets_signature_makes_the_job(
    page: Any, stage: Stage, honest: list[Operator], wine: Rows
) -> None:
    wallet = Wallet(stage, chain_id=1)
    wallet.put_into(page)
    rows = wine[:20]
    fill_in(page, stage, rows)
    assert (stage.folder / "dropped.rows").read_bytes() == rows.tobytes()
    root = MerkleTree([input_leaf(row.tobytes()) for row in rows]).root
    assert page.input_value("#data_root") == "0x" + root.hex()
    assert page.input_value("#item_count") == "20"
    shown = page.locator("#preview tbody tr").first.locator("td").all_inner_texts()
    assert shown == ["0", *(str(byte) for byte in rows[0])]
    before = wallet.balance()
    page.get_by_role("button", name="Connect wallet and sign").click()
    page.locator("#sign-said", has_text="Sent as 0x").wait_for()
    assert wallet.asked == [
        "eth_requestAccounts",
        "eth_chainId",
        "wallet_switchEthereumChain",
        "eth_sendTransaction",
    ]
    page.get_by_role("link", name="Follow the job").click()
    page.locator("#state", has_text="Drawing").wait_for()
    job_id = bytes.fromhex(page.url.rpartition("/0x")[2])
    assert stage.contracts.oracle.job_state(job_id).created_block
    assert page.locator(".figure", has_text="Items").locator("dd").inner_text() == "20"
    assert page.locator(f"a[href='/jobs?requester={wallet.address}']").count() == 1
    assert before - wallet.balance() >= ETHER // 10


def test_the_wallet_can_decline_and_then_nothing_is_sent(
    page: Any, stage: Stage, honest: list[Operator], wine: Rows
) -> None:
    wallet = Wallet(stage)
    wallet.declines = True
    wallet.put_into(page)
    fill_in(page, stage, wine[:20])
    before = wallet.balance()
    page.get_by_role("button", name="Connect wallet and sign").click()
    page.locator("#sign-said", has_text="You declined in the wallet: nothing was sent.").wait_for()
    assert wallet.asked[-1] == "eth_sendTransaction"
    assert wallet.balance() == before
    assert page.locator("#sign-button").is_enabled()


def test_without_a_wallet_the_page_shows_the_command_line(page: Any, dashboard: Dashboard, wine: Rows) -> None:
    page.goto("/submit?model=wine-grading")
    drop(page, csv_of(wine[:3]), "my wine's.csv")
    page.locator("#file-said", has_text="3 rows").wait_for()
    page.fill("#data_uri", "https://example.org/rows")
    page.fill("#reward", "0.2 ether")
    page.locator("#sign-button").click()
    page.locator("#sign-said", has_text="This browser has no wallet").wait_for()
    words = shlex.split(page.locator("#line").inner_text())
    assert words[:3] == ["quorate", "job", "submit"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given["--data"] == "my wine's.csv"
    assert (given["--data-uri"], given["--reward"], given["--seats"]) == ("https://example.org/rows", "0.2 ether", "5")


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
