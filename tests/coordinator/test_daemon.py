"""The daemon on a real chain: what it dispatches as a job goes by, and what does not stop it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.deployment import BadDeployment
from contracts.endpoint import WrongChain
from coordinator.daemon import Daemon, run
from coordinator.database import StoreInUse
from coordinator.dispatcher import BrokerUnreachable, Message
from coordinator.scheduler import next_actions
from coordinator.settings import CoordinatorSettings, load
from oracle_worker.settings import BadSettings
from tests.contracts.faulty_node import FaultyNode, faulty_node
from tests.coordinator.oracle_chain import OracleChain, oracle_chain
from tests.postgres_server import PASSWORD, Server


@pytest.fixture
def chain() -> Iterator[OracleChain]:
    with oracle_chain() as made:
        yield made


@pytest.fixture
def node(chain: OracleChain) -> Iterator[FaultyNode]:
    with faulty_node(chain.url) as between:
        yield between


def configured(chain: OracleChain, folder: Path, **more: Any) -> CoordinatorSettings:
    chain.deployment.save(folder / "deployment.json")
    given: dict[str, Any] = {
        "rpc_url": chain.url,
        "deployment": folder / "deployment.json",
        "database": folder / "jobs.sqlite",
        "confirmations": 1,
        "poll_seconds": 0.02,
        "worker": chain.workers[0].account.address,
    }
    return load(**{**given, **more})


class Sent(list[Message]):
    """Takes the daemon's messages."""

    def tasks_of(self) -> list[str]:
        return [str(message.args[1]) if message.task == "quorate.act" else message.task for message in self]


@contextmanager
def running(settings: CoordinatorSettings, publish: Callable[[Message], None]) -> Iterator[Daemon]:
    daemon, stop = Daemon(settings, publish), threading.Event()
    thread = threading.Thread(target=daemon.run, args=(stop,))
    thread.start()
    try:
        yield daemon
    finally:
        stop.set()
        thread.join()
        daemon.close()


def eventually(holds: Callable[[], object]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_a_worker_is_told_each_step_of_a_jobs_life(chain: OracleChain, tmp_path: Path) -> None:
    sent, right, wrong = Sent(), chain.results(), chain.results([0])
    with running(configured(chain, tmp_path, turn_seconds=1, deliver=True), sent.append) as daemon:
        job = chain.create(nonce=1, consumer=chain.address(3), callback_gas=20_000)
        chain.mine(12)
        chain.advance(60)  # everybody's turn has come
        eventually(lambda: sent.tasks_of() == ["draw"])
        chain.draw(job)
        chain.mine(1)
        eventually(lambda: "quorate.infer" in sent.tasks_of())
        assert "reveal" not in sent.tasks_of()
        for worker, tree, tickets in ((0, right, (0, 1)), (1, wrong, (0,)), (2, right, (0,)), (3, right, (0,))):
            chain.commit(job, worker, tree.root, tickets)
        chain.mine(1)
        eventually(lambda: "reveal" in sent.tasks_of())
        for worker, tree in ((0, right), (1, wrong), (2, right), (3, right)):
            chain.reveal(job, worker, tree.root)
        chain.advance(10)
        chain.mine(12)  # whoever's turn it is, ours has come
        eventually(lambda: "quorate.examine" in sent.tasks_of())
        result, given = chain.proofs(wrong, 0)
        chain.send(0, chain.contracts.disputes.refute(job, result, given))
        chain.advance(620)
        chain.mine(1)
        eventually(lambda: "settle" in sent.tasks_of())
        chain.send(0, chain.contracts.oracle.settle(job, right.root))
        chain.mine(12)
        eventually(lambda: {"release", "release_bounty", "deliver"} <= set(sent.tasks_of()))
        chain.release(job, 0, right.root, [0, 2, 3])
        chain.release(job, 0, wrong.root, [1])
        chain.send(0, chain.contracts.disputes.release_bounty(job, wrong.root))
        chain.send(0, chain.contracts.oracle.deliver(job))
        chain.mine(1)
        eventually(lambda: daemon.health.open_jobs == 0)
    order = ["draw", "quorate.infer", "reveal", "quorate.examine", "settle", "deliver", "release", "release_bounty"]
    told = list(dict.fromkeys(sent.tasks_of()))
    assert told[:5] == order[:5] and set(told) == set(order)  # seats and consumers have turns, bounties have none
    assert daemon.health.dispatched >= len(order) and daemon.health.last_error is None


def test_an_observer_only_watches(chain: OracleChain, tmp_path: Path) -> None:
    sent = Sent()
    job = chain.create(nonce=2)
    chain.mine(5)
    with running(configured(chain, tmp_path, worker=None), sent.append) as daemon:
        eventually(lambda: daemon.health.open_jobs == 1)
        assert daemon.store.view(chain.job_id(job)) is not None
    assert sent == []
    told = daemon.health.as_json()
    assert told["head"] == told["confirmed"] + 1 and told["last_success_at"] >= told["started_at"]


def test_a_node_that_fails_for_a_while_costs_cycles_and_nothing_else(
    chain: OracleChain, node: FaultyNode, tmp_path: Path
) -> None:
    node.faults["eth_getBlockByNumber"] = lambda *_: 502
    with running(configured(chain, tmp_path, rpc_url=node.url, worker=None), Sent().append) as daemon:
        eventually(lambda: daemon.health.failures_in_a_row >= 2)
        assert daemon.health.last_error is not None and "HTTP status 502" in daemon.health.last_error
        node.faults.clear()
        chain.create(nonce=3)
        chain.mine(2)
        eventually(lambda: daemon.health.failures_in_a_row == 0 and daemon.health.open_jobs)
        assert daemon.health.last_error is None


def test_a_broker_that_is_down_is_tried_again(chain: OracleChain, tmp_path: Path) -> None:
    sent, is_down = Sent(), threading.Event()
    is_down.set()

    def publish(message: Message) -> None:
        if is_down.is_set():
            raise BrokerUnreachable("down")
        sent.append(message)

    chain.create(nonce=4)
    chain.mine(12)
    chain.advance(60)  # everybody's turn has come
    with running(configured(chain, tmp_path), publish) as daemon:
        eventually(lambda: daemon.health.failures_in_a_row >= 2)
        is_down.clear()
        eventually(lambda: "draw" in sent.tasks_of())


def test_a_database_damaged_while_running_is_rebuilt_from_the_chain(chain: OracleChain, tmp_path: Path) -> None:
    job = chain.create(nonce=5)
    chain.mine(2)
    settings = configured(chain, tmp_path, worker=None)
    with running(settings, Sent().append) as daemon:
        eventually(lambda: daemon.health.open_jobs)
        with sqlite3.connect(settings.database) as raw:
            raw.execute("DROP TABLE jobs")
        raw.close()
        eventually(lambda: (tmp_path / "jobs.sqlite.aside-1").exists() and daemon.health.failures_in_a_row == 0)
        eventually(lambda: daemon.store.view(chain.job_id(job)) is not None)


def test_a_database_server_that_is_away_for_a_while_costs_that_while(
    chain: OracleChain, tmp_path: Path, postgres: Server
) -> None:
    job = chain.create(nonce=8)
    chain.mine(2)
    settings = configured(chain, tmp_path, worker=None, database=postgres.url("daemon"))
    with running(settings, Sent().append) as daemon:
        eventually(lambda: daemon.health.open_jobs)
        postgres.stop()
        eventually(lambda: daemon.health.failures_in_a_row >= 2)
        assert PASSWORD not in str(daemon.health.last_error)
        postgres.start()
        eventually(lambda: daemon.health.failures_in_a_row == 0)
        assert daemon.store.view(chain.job_id(job)) is not None
    assert postgres.execute("SELECT to_regnamespace('daemon_aside_1')") == [(None,)]


def test_a_database_that_cannot_be_opened_again_is_tried_until_it_can(chain: OracleChain, tmp_path: Path) -> None:
    chain.create(nonce=9)
    chain.mine(2)
    settings = configured(chain, tmp_path, worker=None)
    with running(settings, Sent().append) as daemon:
        eventually(lambda: daemon.health.open_jobs)
        lock = tmp_path / "jobs.sqlite.lock"
        lock.unlink()
        lock.mkdir()  # nothing can be opened now
        with sqlite3.connect(tmp_path / "jobs.sqlite") as raw:
            raw.execute("DROP TABLE jobs")
        raw.close()
        eventually(lambda: daemon.health.failures_in_a_row >= 3)
        lock.rmdir()
        eventually(lambda: daemon.health.failures_in_a_row == 0 and daemon.health.open_jobs)


def test_a_job_nobody_can_judge_does_not_keep_the_others_from_their_due(
    chain: OracleChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = chain.create(nonce=6), chain.create(nonce=7)
    chain.mine(12)
    chain.advance(60)  # everybody's turn has come

    def choke(view: Any, *rest: Any) -> Any:
        if view.job_id == chain.job_id(bad):
            raise ZeroDivisionError
        return next_actions(view, *rest)

    monkeypatch.setattr("coordinator.daemon.next_actions", choke)
    sent = Sent()
    with running(configured(chain, tmp_path), sent.append):
        eventually(lambda: any(message.args[0]["nonce"] == str(good.nonce) for message in sent))
    assert f"0x{chain.job_id(bad).hex()} is passed over" in caplog.text
    assert not any(message.args[0]["nonce"] == str(bad.nonce) for message in sent)


def test_another_chain_than_the_deployments_ends_it_with_the_reason(
    chain: OracleChain, node: FaultyNode, tmp_path: Path
) -> None:
    node.faults["eth_chainId"] = lambda *_: {"result": "0x1"}
    with pytest.raises(WrongChain, match="expected chain id 31337, the endpoint serves 1"):
        run(configured(chain, tmp_path, rpc_url=node.url), threading.Event())


def test_a_stopped_daemon_gives_the_database_back(chain: OracleChain, tmp_path: Path) -> None:
    settings, stop = configured(chain, tmp_path), threading.Event()
    first = Daemon(settings, Sent().append)
    with pytest.raises(StoreInUse):
        Daemon(settings)
    first.close()
    stop.set()
    run(settings, stop)
    run(settings, stop)


def test_deployment_files_that_do_not_fit_are_refused(chain: OracleChain, tmp_path: Path) -> None:
    with pytest.raises(BadDeployment, match="QUORATE_CHAIN_ID is 5"):
        Daemon(configured(chain, tmp_path, chain_id=5))
    with pytest.raises(BadDeployment, match="does not exist"):
        Daemon(configured(chain, tmp_path, deployment=tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("QUORATE_WORKER", "0x12"),
        ("QUORATE_CONFIRMATIONS", "-1"),
        ("QUORATE_POLL_SECONDS", "soon"),
        ("QUORATE_RETRY_SECONDS", "0"),
        ("QUORATE_CHUNK_DEPTH", "99"),
        ("QUORATE_CHAIN_ID", "main"),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(key, value)
    with pytest.raises(BadSettings, match=key):
        load()


def test_settings_come_from_the_environment_and_unknown_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORATE_WORKER", "0x" + "ab" * 20)
    monkeypatch.setenv("QUORATE_CONFIRMATIONS", "7")
    settings = load(retry_seconds=5)
    assert (settings.confirmations, settings.retry_seconds) == (7, 5)
    assert settings.worker is not None and settings.worker.lower() == "0x" + "ab" * 20
    with pytest.raises(BadSettings, match="no setting rpc"):
        load(rpc="x")
