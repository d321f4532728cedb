"""What every command that runs until it is told to stop does the same way."""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

COLLECT_AFTER = 50_000
"""New objects: a chain's past is read a fifth faster so."""


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


def collect_rarely() -> None:
    """Call it once everything is loaded: modules and models stay, and the garbage collector, for which everything waits, need
    not look at them again, nor at what is new each time that 700 objects were made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
