"""Processes, machines, disks and clocks."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

from tests.chaos.fault import Harm, fault, lasting
from tests.chaos.stage import Stage
from tests.end_to_end.island import ROLES, Role

SKEW = 3600
PROCESSES, DISKS, CLOCKS = "processes", "disk", "clock"


@contextmanager
def _down(at: Stage, roles: Sequence[Role], *, redis: bool = False) -> Iterator[None]:
    """kill -9, and started again at the end."""
    for role in roles:
        at.running(role).kill()
    if redis:
        at.operator.broker.kill()
    try:
        yield
    finally:
        if redis:
            at.operator.open_broker()
        for role in roles:
            at.operator.start(role)


def _killed(*roles: Role, redis: bool = False) -> Harm:
    def harm(at: Stage, chance: Random) -> Iterator[None]:
        with _down(at, roles, redis=redis):
            yield from lasting()

    return harm


for _role in ROLES:
    fault(f"{_role} killed", PROCESSES)(_killed(_role))
fault("all processes killed", PROCESSES)(_killed(*ROLES))
fault("the machine lost power, Redis with it", PROCESSES)(_killed(*ROLES, redis=True))


@fault("one of compute's children killed", PROCESSES, seconds=(0, 0))
def child_killed(at: Stage, chance: Random) -> Iterator[None]:
    """As the kernel does when memory runs out."""
    children = _descendants(at.running("compute").pid)
    if children:
        os.kill(chance.choice(children), signal.SIGKILL)
    yield


@fault("the machine asleep", PROCESSES)
def asleep(at: Stage, chance: Random) -> Iterator[None]:
    """Everything stands still and then goes on as if nothing had been."""
    services = [*(at.running(role) for role in ROLES), at.operator.broker]
    with ExitStack() as stack:
        for service in services:
            service.pause()
            stack.callback(service.resume)
        yield from lasting()


@fault("signer hanging", PROCESSES)
def signer_hanging(at: Stage, chance: Random) -> Iterator[None]:
    """It has its task and does not go on."""
    service = at.running("signer")
    service.pause()
    try:
        yield from lasting()
    finally:
        service.resume()


# ---- Disk ----

SECONDS_TO_START = 60
"""Within which a coordinator has made its database."""


@fault("the database deleted", DISKS)
def database_deleted(at: Stage, chance: Random) -> Iterator[None]:
    """Under the running coordinator, which is killed and started again without it."""
    for path in (at.operator.folder / "coordinator").glob("coordinator.sqlite*"):
        path.unlink()
    with _down(at, ["coordinator"]):
        yield from lasting()


@fault("the database overwritten", DISKS, seconds=(0, 0))
def database_overwritten(at: Stage, chance: Random) -> Iterator[None]:
    """Under the running coordinator."""
    path = at.operator.folder / "coordinator" / "coordinator.sqlite"
    end = time.monotonic() + SECONDS_TO_START
    while not (path.exists() and path.stat().st_size) and time.monotonic() < end:
        time.sleep(0.1)  # the coordinator is starting
    with path.open("r+b") as file:
        for _ in range(max(1, path.stat().st_size // 4096)):
            file.write(chance.randbytes(4096))
    yield


@fault("the disk wiped, the keystore kept", DISKS)
def disk_wiped(at: Stage, chance: Random) -> Iterator[None]:
    """Database, data, results, collected roots and journal are gone, on all machines."""
    with _down(at, ROLES):
        for role in ROLES:
            at.operator.wipe(role)
        yield from lasting()


@fault("the disk full", DISKS)
def disk_full(at: Stage, chance: Random) -> Iterator[None]:
    """No process can write a byte more to any file; logs included."""
    everyone = [pid for role in ROLES for pid in _family(at.running(role).pid)]
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in everyone}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield from lasting()
    finally:
        for pid in {pid for role in ROLES for pid in _family(at.running(role).pid)} & limits.keys():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits[pid])


# ---- Clock ----


def _libfaketime() -> Path | None:
    return next(iter(sorted(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"))), None)


def _no_faketime() -> str | None:
    return None if _libfaketime() else "libfaketime is missing: apt-get install faketime"


def _skewed(seconds: int, *roles: Role) -> Harm:
    def harm(at: Stage, chance: Random) -> Iterator[None]:
        at.operator.environment = {
            "LD_PRELOAD": str(_libfaketime()),
            "FAKETIME": f"{seconds:+d}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with _down(at, roles):
            yield
        at.operator.environment = {}
        try:
            yield from lasting()
        finally:
            with _down(at, roles):
                pass

    return harm


fault("the machine's clock an hour ahead", CLOCKS, seconds=None, needs=_no_faketime)(_skewed(SKEW, *ROLES))
fault("the machine's clock an hour behind", CLOCKS, seconds=None, needs=_no_faketime)(_skewed(-SKEW, *ROLES))
# until it is set it takes what is not urgent for outdated: the operator then neither stakes nor settles
fault("the signer's clock alone an hour ahead", CLOCKS, needs=_no_faketime)(_skewed(SKEW, "signer"))


def _family(pid: int) -> list[int]:
    return [pid, *_descendants(pid)]


def _descendants(pid: int) -> list[int]:
    """Processes that it forked, and what those forked."""
    found: list[int] = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return found
    for child in map(int, children):
        found += [child, *_descendants(child)]
    return found
