"""Redis, and the messages in it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import redis

from oracle_worker.queues import lists_of
from tests.chaos.chain_faults import Ask, behaving
from tests.chaos.fault import fault, lasting, working
from tests.chaos.stage import VISIBILITY_SECONDS, Stage
from tests.contracts.faulty_node import Answer

REDIS, MESSAGES = "Redis", "messages"


def _client(at: Stage) -> redis.Redis:
    return redis.Redis.from_url(at.operator.broker.url)


def _bytes(given: str | bytes) -> bytes:
    return given.encode() if isinstance(given, str) else given


def _queues(client: redis.Redis) -> list[bytes]:
    """The lists that have messages in them, and those that usually have."""
    known = [name.encode() for queue in ("signer", "compute", "examine") for name in lists_of(queue)]
    return [*known, *map(_bytes, client.keys("fetch.*"))]


@fault("Redis flushed", REDIS, seconds=(0, 0))
def flushed(at: Stage, chance: Random) -> Iterator[None]:
    with _client(at) as client:
        client.flushall()
    yield


@fault("Redis flushed again and again", REDIS)
def flushed_often(at: Stage, chance: Random) -> Iterator[None]:
    with _client(at) as client:
        while True:
            client.flushall()
            yield


@fault("Redis stopped", REDIS)
def stopped(at: Stage, chance: Random) -> Iterator[None]:
    """It comes back empty."""
    at.operator.broker.kill()
    try:
        yield from lasting()
    finally:
        at.operator.open_broker()


@fault("Redis hanging", REDIS)
def hanging(at: Stage, chance: Random) -> Iterator[None]:
    broker = at.operator.broker
    broker.pause()
    try:
        yield from lasting()
    finally:
        broker.resume()


@fault("messages lost", MESSAGES)
def lost(at: Stage, chance: Random) -> Iterator[None]:
    """Somebody else takes messages from the queues, and drops them."""

    def take(ended: threading.Event) -> None:
        with _client(at) as client:
            while not ended.is_set():
                client.brpop(_queues(client), timeout=1)

    yield from working(take, hands=3)


@fault("messages repeated", MESSAGES)
def repeated(at: Stage, chance: Random) -> Iterator[None]:
    """Every message three times, and older ones again at any moment."""
    seen: list[tuple[bytes, bytes]] = []

    def repeat(ended: threading.Event) -> None:
        with _client(at) as client:
            while not ended.is_set():
                for key, message in _sent(client, seen):
                    for _ in range(2):
                        client.lpush(key, message)
                if seen:
                    client.lpush(*chance.choice(seen))
                ended.wait(0.2)

    yield from working(repeat)


def _sent(client: redis.Redis, seen: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Messages that nobody saw before: those in the queues, and those at work."""
    fresh = [(key, _bytes(message)) for key in _queues(client) for message in client.lrange(key, 0, -1)]
    for held in client.hvals("unacked"):
        message, _, routing = json.loads(held)
        fresh.append((routing.encode(), json.dumps(message).encode()))
    for one in fresh:
        if one not in seen:
            seen.append(one)
            yield one


@fault("messages reordered", MESSAGES)
def reordered(at: Stage, chance: Random) -> Iterator[None]:
    """They gather while nobody takes them, and are shuffled."""
    roles = [at.running("signer"), at.running("compute")]
    with _client(at) as client:
        try:
            while True:
                for service in roles:
                    service.pause()
                for _ in range(6):
                    yield
                for key in _queues(client):
                    _shuffle(client, key, chance)
                for service in roles:
                    service.resume()
                for _ in range(3):
                    yield
        finally:
            for service in roles:
                service.resume()


def _shuffle(client: redis.Redis, key: bytes, chance: Random) -> None:
    messages = client.lrange(key, 0, -1)
    chance.shuffle(messages)
    with client.pipeline() as pipe:
        pipe.delete(key)
        if messages:
            pipe.rpush(key, *messages)
        pipe.execute()


@fault("tasks longer than the visibility timeout", MESSAGES, seconds=(14.0, 18.0))
def long_tasks(at: Stage, chance: Random) -> Iterator[None]:
    """Each question to a node takes so long that a task is delivered again while it is at work."""
    delay = VISIBILITY_SECONDS / 8

    def slow(method: str, given: list[Any], ask: Ask) -> Answer:
        time.sleep(delay)
        return ask()

    with behaving(at.nodes, slow):
        yield from lasting()
