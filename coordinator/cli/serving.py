"""What every command that runs until it is told to stop does the same way."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that both end a service in order and with exit code 0."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def log_progress() -> None:
    """Log what a service does, not only what goes wrong."""
    for floor in ("coordinator", "oracle_worker", "contracts"):
        log = logging.getLogger(floor)
        if not log.isEnabledFor(logging.INFO):
            log.setLevel(logging.INFO)
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        # what it warns of for memory:// is that no host was named: there is none, and a broker's failures are raised
        logging.getLogger("kombu.connection").setLevel(logging.ERROR)
