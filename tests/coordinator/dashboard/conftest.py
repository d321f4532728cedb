"""A real browser on the real command, over a chain on which tests play jobs step by step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from coordinator.devnet import free_port
from models import zoo
from tests.oracle_worker.stage import Operator, Stage, new_stage
from tests.requirements import missing

START_SECONDS = 400.0
PATIENCE = 150_000
"""Milliseconds that the browser waits for the page to show something, on a machine ten times slower too."""


class Dashboard:
    """`quorate dashboard` as a process of its own on a fixed port, which can be stopped and started again."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self.passports = folder / "passports"
        self.passports.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            sys.executable,
            "-m",
            "coordinator.cli",
            "dashboard",
            "--port",
            str(self.port),
            "--confirmations",
            "0",
        ]
        command += ["--data-folder", str(self.stage.folder), "--rate", "1000"]
        command += ["--passport-folder", str(self.passports)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")}
        environment |= {
            "QUORATE_HOME": str(self._folder / "home"),
            "QUORATE_RPC_URL": self.stage.url,
            "QUORATE_DEPLOYMENT": str(self.stage.deployment_file),
            "QUORATE_POLL_SECONDS": "0.3",
        }
        log = (self._folder / "dashboard.log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(self.url, timeout=30).status_code == 200:
                    return
            time.sleep(0.2)
        raise AssertionError((self._folder / "dashboard.log").read_text()[-3000:])

    def stop(self) -> None:
        """End it as Ctrl-C does; by its pid if it does not listen."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@pytest.fixture(scope="session")
def wine() -> NDArray[np.uint8]:
    """The 178 wine analyses, as rows."""
    return zoo.wine_rows()[0]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with new_stage(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture(scope="module")
def honest(stage: Stage) -> list[Operator]:
    """Three operators with a stake of one seat each."""
    return stage.jury(3)


@pytest.fixture(scope="module")
def dashboard(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    made = Dashboard(stage, tmp_path_factory.mktemp("dashboard"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium. Nothing is downloaded."""
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("chromium", "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--headless=new"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, dashboard: Dashboard) -> Iterator[Any]:
    """A tab. What goes wrong in it, or leaves this machine, fails the test."""
    context = browser.new_context(
        base_url=dashboard.url, viewport={"width": 1280, "height": 900}, reduced_motion="reduce"
    )
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: None if _is_ours(request.url, dashboard) else wrong.append(request.url))
    yield tab
    context.close()
    assert not wrong


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    path = Path(__file__).parents[3] / ".tools/node_modules/axe-core/axe.min.js"
    if not path.is_file():
        missing("axe-core", "npm install --prefix .tools axe-core")
    return path.read_text("utf-8")


def faults(tab: Any, *, colours_alone: bool) -> list[str]:
    """The serious and critical accessibility faults of a page that has axe in it, each with where.

    colours_alone: looks at nothing else: that is all in which a theme differs from the other.
    """
    run = {"runOnly": ["color-contrast", "link-in-text-block"]} if colours_alone else {}
    found = tab.evaluate("options => axe.run(options)", run)["violations"]
    return [
        f"{one['id']}: {json.dumps(one['nodes'][0]['html'])[:300]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def _is_ours(url: str, dashboard: Dashboard) -> bool:
    return url.startswith((dashboard.url, dashboard.url.replace("http", "ws", 1), "data:", "blob:"))
