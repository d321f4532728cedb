"""What an operator's processes take from their broker: messages as our own senders write them, and nothing else.

Whoever can write to the broker can put anything there: what is no JSON, or nested a hundred thousand deep, or a task message
whose headers ask for callbacks, time limits or a later time. Such a thing is dropped before Celery sees it; of what is left
only the task's name, its id, its arguments and when it expires are kept.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import sys
from datetime import datetime
from queue import Empty
from typing import Any

from kombu.transport import memory, redis, virtual
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

LONGEST_BODY = 3 << 20
"""Characters of a message's body: more than a sealed message in base64 has."""
LONGEST_TEXT = 255
TASK_PREFIX = "quorate."
MOST_RECURSION = 10_240
"""Python's limit while messages are taken. A library that is imported here raises it so far that JSON nested deeply enough
ends the process instead of being refused."""
_UNREACHABLE = (RedisError, OSError, Empty)


class NotOurs(ValueError):
    """A message that none of our senders wrote."""


class _Sieve:
    """A transport that delivers only what our senders wrote."""

    def establish_connection(self) -> Any:
        """As kombu calls it, before anything is taken."""
        sys.setrecursionlimit(min(sys.getrecursionlimit(), MOST_RECURSION))
        return super().establish_connection()  # type: ignore[misc]

    def _deliver(self, message: object, queue: str) -> None:
        try:
            kept = checked(message, queue)
        except NotOurs as why:
            log.warning("a message in the queue %s is dropped: %s", queue, why)
            return
        super()._deliver(kept, queue)  # type: ignore[misc]


class MemoryTransport(_Sieve, memory.Transport):
    """Within this process."""


class _RedisQoS(redis.QoS):
    """What stands among the messages at work and is none is dropped, instead of ending every worker that looks there.

    And a message that cannot be acknowledged, because Redis went away while its task was at work, does not count as at work any
    more. With as many of those as a worker may have it would take no further message, so that it would not notice that its
    connection is gone, nor make another: it would live on and do nothing. Redis delivers such a message again, if it has it.
    """

    def ack(self, delivery_tag: Any) -> None:
        """As kombu calls it, which logs what this raises."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except _UNREACHABLE:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
            raise

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """As kombu calls it."""
        try:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]
        except _UNREACHABLE:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
            raise

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """As kombu calls it."""
        try:
            super().restore_by_tag(tag, client, leftmost)  # type: ignore[no-untyped-call]
        except _UNREACHABLE:
            raise
        except Exception as error:  # as below
            log.warning("what stood among the messages at work is dropped: %s", type(error).__name__)
            self._remove_from_indices(tag).execute()  # type: ignore[no-untyped-call]


class _RedisChannel(redis.Channel):
    """What is no JSON is taken from the queue and dropped, instead of ending the worker."""

    QoS = _RedisQoS

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except _UNREACHABLE:
            raise
        except Exception as error:  # whatever a stranger's bytes do to a parser
            log.warning("what came from the broker is dropped: %s", type(error).__name__)
            return True


class RedisTransport(_Sieve, redis.Transport):
    """By a Redis."""

    Channel = _RedisChannel


TRANSPORTS = {
    "memory": f"{__name__}:MemoryTransport",
    "redis": f"{__name__}:RedisTransport",
    "rediss": f"{__name__}:RedisTransport",
}
"""By the scheme of a broker's URL."""


def checked(message: object, queue: str) -> dict[str, Any]:
    """The message with nothing in it but what our senders put there. Raises NotOurs."""
    headers, properties = _object(message, "headers"), _object(message, "properties")
    assert isinstance(message, dict)  # or it had no headers
    task, name = _text(headers, "task"), _text(headers, "id")
    if not task.startswith(TASK_PREFIX):
        raise NotOurs("no task of ours")
    if message.get("content-type") != "application/json" or message.get("content-encoding") != "utf-8":
        raise NotOurs("no JSON")
    arguments = json.dumps([_arguments(message.get("body"), properties), {}, _NOTHING_AFTER])
    return {
        "body": base64.b64encode(arguments.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {**_HEADERS, "task": task, "id": name, "root_id": name, "expires": _expiry(headers)},
        "properties": {
            "correlation_id": name,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": _text(properties, "delivery_tag"),
        },
    }


_NOTHING_AFTER = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_HEADERS = {
    "lang": "py",
    "shadow": None,
    "eta": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "parent_id": None,
    "argsrepr": "",
    "kwargsrepr": "",
    "origin": "",
    "ignore_result": True,
}


def _object(given: object, name: str) -> dict[str, Any]:
    found = given.get(name) if isinstance(given, dict) else None
    if not isinstance(found, dict):
        raise NotOurs(f"without {name}")
    return found


def _text(given: dict[str, Any], name: str) -> str:
    found = given.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST_TEXT:
        raise NotOurs(f"without {name}")
    return found


def _arguments(body: object, properties: dict[str, Any]) -> list[Any]:
    if not isinstance(body, str) or len(body) > LONGEST_BODY or properties.get("body_encoding") != "base64":
        raise NotOurs("without a body of a possible size")
    try:
        given = json.loads(base64.b64decode(body, validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise NotOurs("a body that is no JSON") from error
    if not isinstance(given, list) or len(given) != 3 or not isinstance(given[0], list) or given[1] != {}:
        raise NotOurs("arguments that none of our tasks takes")
    return list(given[0])


def _expiry(headers: dict[str, Any]) -> str | None:
    found = headers.get("expires")
    if found is None:
        return None
    try:
        datetime.fromisoformat(_text(headers, "expires"))
    except ValueError as error:
        raise NotOurs("an expiry that is no time") from error
    return str(found)
