"""Every page, light and dark, desktop and phone: no accessibility fault, nothing cut off, nothing hostile that acts.

The pictures are left in the folder that QUORATE_SCREENSHOTS names, else with the test's temporary files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.fees import GWEI
from coordinator.dashboard.event_table import SHOWN
from models import zoo
from oracle_worker import settlement
from oracle_worker.inference import OnnxInference
from oracle_worker.model_store import Model
from oracle_worker.passport import PassportStore
from tests.coordinator.dashboard.conftest import Dashboard, faults
from tests.oracle_worker.stage import Liar, Operator, Posted, Stage
from tests.oracle_worker.test_challenges import challenged, finish, names

Rows = NDArray[np.uint8]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
HOSTILE = (
    'javascript:document.title="owned"//<img src=x onerror="document.title=1"><script>document.title=2</script>'
    "\u202egnp.exe\u2066 &lt;b&gt; ${1} `x` {{7*7}} </textarea>" + "A" * 10_000
)


@dataclass(frozen=True)
class Played:
    """The jobs that the pages are looked at with."""

    accepted: Posted
    disputed: Posted
    hostile: Posted
    operator: str

    def path(self, name: str) -> str:
        """The address of a page."""
        accepted, disputed = f"0x{self.accepted.id.hex()}", f"0x{self.disputed.id.hex()}"
        return {
            "overview": "/",
            "jobs": "/jobs",
            "job": f"/jobs/{accepted}",
            "dispute": f"/disputes/{disputed}",
            "operators": "/operators",
            "operator": f"/operators/{self.operator}",
            "models": "/models",
            "model": f"/models/0x{self.accepted.job.terms.model_id.hex()}",
            "submit": "/submit",
            "nothing": "/search?q=0x00",
        }[name]


PAGES = ("overview", "jobs", "job", "dispute", "operators", "operator", "models", "model", "submit", "nothing")


@pytest.fixture(scope="module")
def played(stage: Stage, dashboard: Dashboard, honest: list[Operator], wine: Rows) -> Iterator[Played]:
    """An accepted job, one in dispute that is not over, one whose text is hostile, and an operator's passport."""
    sign_passport(stage, honest[0], dashboard.passports)
    accepted = challenged(stage, wine, honest)
    finish(stage, accepted, honest[0])
    for one in honest:
        settlement.release(one.roles.signer, accepted.job)
    liars = stage.jury(2, [Liar(100, 150), Liar(100, 150)])
    disputed = challenged(stage, wine, [*liars, *honest], quorum=3, response_window=3000)
    judge = honest[0]
    names(judge, disputed)
    while "refute" not in names(judge, disputed):
        for one in liars:
            names(one, disputed)
    hostile = stage.post(wine[:20], 3, data_uri=HOSTILE, name="hostile")
    yield Played(accepted, disputed, hostile, judge.account.address)


def sign_passport(stage: Stage, operator: Operator, folder: Path) -> None:
    """As `quorate worker passport --sign --output` does."""
    store = PassportStore(operator.folder / "passports")
    stamp = OnnxInference(1, store).stamp(Model(stage.model_id, stage.network, Path("wine.onnx")))
    assert stamp is not None
    signed = store.passport([stamp]).signed(operator.account, 1_800_000_000)
    (folder / "passport.json").write_text(json.dumps(signed.to_json()))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("QUORATE_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_serious_accessibility_fault_and_fits(
    name: str, page: Any, played: Played, pictures: Path, axe: str
) -> None:
    page.goto(played.path(name))
    page.locator("#content h1").wait_for()
    if name == "job":
        page.get_by_role("button", name="Show proof").click()
        page.get_by_role("button", name="Check in this page").click()
        page.locator("#proof-checked", has_text="Checked here").wait_for()
    if name == "dispute":
        page.locator(".evidence .logit").first.wait_for()
    if name == "operator":
        page.locator(".badge", has_text="equal the specification").wait_for()
    page.evaluate(axe)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
            page.set_viewport_size(size)
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            page.screenshot(path=pictures / f"{name}-{theme}-{device}.png", full_page=True)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert faults(page, colours_alone=theme == "dark") == []


def test_hostile_text_is_shown_and_does_nothing(page: Any, played: Played) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(f"/jobs/0x{played.hostile.id.hex()}")
    shown = page.locator(".fact", has=page.locator(".foreign")).locator("ul")
    shown.wait_for()
    words = " ".join(shown.inner_text().split())
    assert 'javascript:document.title="owned"//<img src=x' in words
    assert "⟨U+202E⟩gnp.exe⟨U+2066⟩" in words
    assert "{{7*7}}" in words
    assert len(words) < 1000
    assert "\u202e" not in page.locator("#content").inner_text()
    assert page.locator("a[href^='javascript' i], #content img, #content script").count() == 0
    assert page.locator("#content").evaluate("one => one.scrollWidth <= one.clientWidth + 1")
    assert "Quorate" in page.title()
    assert not dialogs


@pytest.mark.parametrize(
    "path",
    ["/search?q={}", "/jobs/{}", "/operators/{}", "/models/{}", "/disputes/{}", "/jobs?cursor={}", "/jobs?model={}"],
)
def test_a_hostile_address_gets_a_page_that_says_what_to_do(page: Any, played: Played, path: str) -> None:
    page.goto(path.format("%3Cimg%20src=x%20onerror=document.title=1%3E%E2%80%AE"))
    page.locator(".empty").first.wait_for()
    assert page.locator("h1").count() == 1  # no page that was begun before this one
    assert page.locator("#content img").count() == 0
    assert "Quorate" in page.title()


def test_the_keyboard_reaches_the_content_first_and_search_goes_to_what_was_found(page: Any, played: Played) -> None:
    page.goto("/")
    page.locator("#content h1").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.get_by_role("searchbox").fill(f"0x{played.accepted.id.hex()}")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/jobs/0x{played.accepted.id.hex()}")
    page.locator("#content h1").wait_for()


def test_the_chosen_theme_stays(page: Any, played: Played) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/models")
    page.get_by_role("button", name="Theme: as the system").click()
    page.get_by_role("button", name="Theme: light").click()
    page.get_by_role("button", name="Theme: dark").wait_for()
    page.goto("/operators")
    page.locator("#content h1").wait_for()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_an_amount_is_exact_on_hover(page: Any, played: Played) -> None:
    page.goto(f"/jobs/0x{played.accepted.id.hex()}")
    stake = page.locator(".figure", has_text="Stake of a seat").locator("data")
    stake.wait_for()
    wei = played.accepted.job.terms.seat_stake
    assert stake.get_attribute("value") == str(wei)
    assert stake.get_attribute("title") == f"{wei:,} wei".replace(",", "\u202f")


def test_nothing_that_a_request_says_becomes_a_script_of_the_page(dashboard: Dashboard, played: Played) -> None:
    """Whatever were taken for a script of the template would get the page's nonce."""
    evil = '"/><script>alert(1)</script>'
    plain = httpx.get(dashboard.url, timeout=60).text.count("<script")
    for path in ("/search", "/jobs", "/submit"):
        answer = httpx.get(
            dashboard.url + path,
            params={"q": evil, "state": evil, "cursor": evil, "model": "", evil: evil},
            headers={"X-Forwarded-Prefix": evil, "User-Agent": evil, "Referer": evil, "Accept-Language": evil},
            timeout=60,
        )
        assert answer.text.count("<script") == answer.text.count("<script nonce=") == plain, path
        assert "alert(1)</script>" not in answer.text


def test_every_page_is_under_a_strict_policy(dashboard: Dashboard, played: Played) -> None:
    for name in PAGES:
        answer = httpx.get(dashboard.url + played.path(name), timeout=60)
        scripts = answer.headers["content-security-policy"].split("script-src ")[1].split(";")[0]
        assert "'unsafe-inline'" not in scripts
        assert "http" not in scripts
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_model_of_the_zoo_is_shown_with_its_card(page: Any, played: Played) -> None:
    page.goto(played.path("model"))
    page.locator(".figure", has_text="Gas to dispute").locator("dd", has_text=",").wait_for()
    card = zoo.load("wine-grading").card
    assert page.locator("h1").inner_text() == card.title
    assert all(page.get_by_text(one).count() for one in card.classes[:1])


def test_a_long_list_of_events_goes_on_page_by_page(page: Any, stage: Stage, played: Played) -> None:
    busy = stage.operator()
    for _ in range(SHOWN + 2):
        busy.deposit(GWEI)
    path = f"/operators/{busy.account.address}"
    rows = page.locator("section", has=page.locator("#events")).locator("tbody tr")
    page.goto(path)
    page.locator("section", has_text="What it did").get_by_role("link", name="Next").click()
    page.wait_for_url(f"**{path}?events=*#events")
    page.locator("h1").wait_for()
    page.locator("section", has_text="What it did").get_by_role("link", name="First").wait_for()
    assert rows.count() == 2
    page.goto(f"{path}?events=nonsense")
    page.locator(".empty", has_text="cursor").wait_for()
    assert page.locator("h1").count() == 1
