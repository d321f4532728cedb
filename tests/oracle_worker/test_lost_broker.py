"""Redis that goes away while a task is at work, and comes back empty."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from oracle_worker.queues import ACT, make_sender
from tests.end_to_end.services import RedisServer, Service
from tests.oracle_worker.waiting_worker import Broker

SECONDS = 60.0

pytestmark = pytest.mark.slow


@pytest.fixture(params=["solo", "prefork"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Service, RedisServer]]:
    """A worker with the signer's pool, or with compute's, and its Redis."""
    with ExitStack() as stack:
        broker = stack.enter_context(RedisServer(tmp_path / "redis"))
        command = [sys.executable, "-m", "tests.oracle_worker.waiting_worker", broker.url, str(tmp_path), request.param]
        yield stack.enter_context(Service("worker", command, tmp_path / "worker.log", os.environ)), broker


def await_file(path: Path, worker: Service) -> None:
    end = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < end, f"no {path.name}:\n{worker.tail(40)}"
        time.sleep(0.05)


def test_a_worker_whose_task_could_not_be_acknowledged_takes_the_next_one(
    worker: tuple[Service, RedisServer], tmp_path: Path
) -> None:
    service, broker = worker
    sender = make_sender(Broker(broker.url))
    sender.send_task(ACT, ["first"])
    await_file(tmp_path / "first.begun", service)
    broker.kill()
    (tmp_path / "first.go").touch()
    service.wait_until(lambda: "Couldn't ack" in service.tail(200))
    with RedisServer(tmp_path / "redis", broker.port):
        make_sender(Broker(broker.url)).send_task(ACT, ["second"])
        await_file(tmp_path / "second.begun", service)
        (tmp_path / "second.go").touch()
