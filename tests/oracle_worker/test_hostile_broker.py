"""What strangers put into a broker neither ends a worker nor holds it up, and asks nothing of Celery."""

from __future__ import annotations

import base64
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from contracts import keystore
from contracts.commitment import SeatStatus
from contracts.job import Phase
from oracle_worker import broker, settings
from oracle_worker.broker import NotOurs, checked
from oracle_worker.job_codec import job_to_json
from oracle_worker.queues import ACT, COLLECT, EXAMINE, INFER, make_sender, queue_of
from oracle_worker.tasks import fetch_queue
from oracle_worker.worker import embedded
from tests.oracle_worker.stage import Operator, Posted, Stage
from tests.oracle_worker.test_tasks import broker as redis_broker  # noqa: F401
from tests.oracle_worker.test_tasks import environment, has_seat, operator, process, until  # noqa: F401

Rows = NDArray[np.uint8]


def message(task: str = ACT, arguments: Any = (), **changes: Any) -> dict[str, Any]:
    """As our senders write it, but for the changes; "headers.x" and "properties.x" name what is inside."""
    made: dict[str, Any] = {
        "body": encoded([list(arguments), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": "1-2-3", "expires": None, "timelimit": [None, None]},
        "properties": {
            "delivery_tag": f"tag-{time.monotonic_ns()}",
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "x"},
        },
    }
    for name, value in changes.items():
        place, _, inner = name.partition("__")
        if inner:
            made[place][inner] = value
        else:
            made[place.replace("content_", "content-")] = value
    return made


def encoded(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.b64encode(content).decode()


DEEP = b"[" * 200_000
SIGNATURE: dict[str, Any] = {
    "task": ACT,
    "args": [],
    "kwargs": {},
    "options": {},
    "subtask_type": None,
    "immutable": False,
}
ENVELOPES: list[Any] = [
    None,
    [],
    {},
    "text",
    7,
    {"headers": {}},
    {"headers": [], "properties": []},
    message(headers=None),
    message(properties=None),
    message(body=None),
    message(body="no base64!"),
    message(body=encoded(b"not json")),
    message(body=encoded(b"\xff\xfe")),
    message(body=encoded(DEEP)),
    message(body=encoded(b'{"a":' * 100_000)),
    message(body=encoded({})),
    message(body=encoded([[], {"job": 1}, {}])),
    message(body=encoded([])),
    message(body="A" * (broker.LONGEST_BODY + 4)),
    message(content_type="application/x-python-serialize"),
    message(content_type="application/x-yaml"),
    message(content_encoding="binary"),
    message(headers__task=[ACT]),
    message(headers__task={"a": 1}),
    message(headers__task="celery.backend_cleanup"),
    message(headers__task=""),
    message(headers__id=None),
    message(headers__id={}),
    message(headers__expires="yesterday"),
    message(headers__expires={}),
    message(properties__delivery_tag={}),
    message(properties__delivery_tag=None),
    message(properties__body_encoding="rot13"),
]
RAW = [
    b"",
    b"garbage",
    b"\x00\xff\xfe",
    DEEP,
    b'{"a":' * 200_000,
    b'"' + b"x" * 1_000_000 + b'"',
    b"NaN",
    b"1e999",
    *(json.dumps(one).encode() for one in ENVELOPES),
]


@pytest.fixture(autouse=True)
def recursion_limit() -> Iterator[None]:
    """What a library of ours sets it to: parsing what is nested as deep as that ends the process."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("number", range(len(ENVELOPES)))
def test_what_our_senders_do_not_write_is_none_of_ours(number: int) -> None:
    sys.setrecursionlimit(broker.MOST_RECURSION)  # as whoever takes messages has it
    with pytest.raises(NotOurs):
        checked(ENVELOPES[number], "compute")


def test_of_a_message_only_what_our_senders_put_there_is_kept() -> None:
    hostile = message(
        EXAMINE,
        ["job"],
        body=encoded(
            [["job"], {}, {"callbacks": [SIGNATURE], "errbacks": [SIGNATURE], "chain": [SIGNATURE], "chord": SIGNATURE}]
        ),
        headers__eta="2999-01-01T00:00:00+00:00",
        headers__timelimit=[0.001, 0.001],
        headers__retries=10**9,
        headers__compression="bzip2",
        headers__group="g",
        headers__reply_to="elsewhere",
        headers__ignore_result=False,
        properties__reply_to="elsewhere",
        properties__priority=9,
        more={},
    )
    kept = checked(hostile, "examine")
    text = json.dumps({**kept, "body": json.loads(base64.b64decode(kept["body"]))})
    for word in ("elsewhere", "2999", "0.001", "bzip2", '"g"', "SIGNATURE", ACT, "1000000000"):
        assert word not in text
    assert json.loads(base64.b64decode(kept["body"]))[0] == ["job"]
    assert kept["headers"]["task"] == EXAMINE


def test_what_our_senders_write_passes() -> None:
    app = make_sender(settings.load(queue_prefix="passing."))
    app.send_task(INFER, args=({"job": 1}, 5), expires=30.0)
    app.send_task(COLLECT, [{"body": {"text": "ü" * 1000}, "mac": "00"}])
    with app.connection() as connection:
        for queue, arguments in (("passing.compute", [{"job": 1}, 5]), ("passing.signer", None)):
            sent = connection.default_channel._get(queue)
            kept = checked(sent, queue)
            assert arguments in (None, json.loads(base64.b64decode(kept["body"]))[0])
            assert kept["properties"]["delivery_tag"] == sent["properties"]["delivery_tag"]
            assert kept["headers"]["expires"] == sent["headers"]["expires"]
    app.close()


def every_queue(one: Operator) -> list[str]:
    given = one.roles.settings
    return [*(queue_of(given, role) for role in ("compute", "examine", "signer")), fetch_queue(one.roles.compute)]


def goes_on(stage: Stage, posted: Posted, one: Operator, app: Any) -> None:
    """A job goes its way through all of the operator's queues."""
    job = job_to_json(posted.job, posted.data_uri)
    app.send_task(ACT, [job, "draw"])
    until(lambda: stage.phase(posted) == Phase.COMMITTING)
    for chunk in range(3):
        app.send_task(INFER, [job, chunk])
    until(lambda: has_seat(posted, one, SeatStatus.SEALED))
    app.send_task(ACT, [job, "reveal"])
    until(lambda: stage.phase(posted) == Phase.CHALLENGING)
    app.send_task(EXAMINE, [job])


def test_an_embedded_worker_drops_hostile_messages(
    stage: Stage,
    operator: Operator,  # noqa: F811
    wine: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    posted = stage.post(wine, 1)
    caplog.set_level(logging.WARNING)
    with embedded(operator.roles) as app:
        with app.connection() as connection:
            for queue in every_queue(operator):
                for one in ENVELOPES:
                    connection.default_channel._put(queue, one)
        goes_on(stage, posted, operator, app)
    dropped = [record for record in caplog.records if record.name == "oracle_worker.broker"]
    assert len(dropped) == 4 * len(ENVELOPES)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_worker_on_redis_drops_hostile_bytes(
    stage: Stage,
    operator: Operator,  # noqa: F811
    redis_broker: str,  # noqa: F811
    wine: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    posted = stage.post(wine, 1)
    operator.given["broker_url"] = redis_broker
    operator.restart()
    caplog.set_level(logging.WARNING)
    with redis.Redis(port=urlsplit(redis_broker).port or 0) as client, embedded(operator.roles) as app:
        poison(client, every_queue(operator))
        goes_on(stage, posted, operator, app)
        until(lambda: sum(client.llen(queue) for queue in every_queue(operator)) == 0)
    dropped = [record for record in caplog.records if record.name == "oracle_worker.broker"]
    assert len(dropped) >= 4 * len(RAW)


def poison(client: Any, queues: list[str]) -> None:
    for queue in queues:
        for content in RAW:
            client.lpush(queue, content)
    client.hset("unacked", mapping={"a": b"garbage", "b": DEEP, "c": b"[1]"})
    client.zadd("unacked_index", {"a": 1, "b": 1, "c": 1, "d": 1})


def test_processes_on_redis_drop_hostile_bytes_and_go_on(
    stage: Stage,
    operator: Operator,  # noqa: F811
    redis_broker: str,  # noqa: F811
    wine: Rows,
    tmp_path: Path,
) -> None:
    posted = stage.post(wine, 1)
    operator.given |= {"broker_url": redis_broker, "queue_prefix": ""}
    operator.restart()
    given = environment(stage, operator, redis_broker)
    signing = {**given, keystore.ENVIRONMENT_KEY: operator.account.key.hex()}
    app, log = make_sender(operator.roles.settings), tmp_path / "worker.log"
    with redis.Redis(port=urlsplit(redis_broker).port or 0) as client:
        poison(client, every_queue(operator))
        with process("signer", signing, log) as signer, process("compute", given, log) as compute:
            goes_on(stage, posted, operator, app)
            poison(client, every_queue(operator))
            until(lambda: sum(client.llen(queue) for queue in every_queue(operator)) == 0)
            assert signer.poll() is None
            assert compute.poll() is None
    app.close()
    assert "Traceback" not in log.read_text()
