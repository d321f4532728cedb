"""The job's data, at the requester's server. Where the operator has its copy already, that is lost too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from random import Random

from tests.chaos.data_server import Manner
from tests.chaos.fault import Harm, fault, lasting
from tests.chaos.phases import EARLY
from tests.chaos.stage import Stage

DATA = "data"


def _served(manner: Manner) -> Harm:
    def harm(at: Stage, chance: Random) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(at.data.serving(manner))
            if at.has_seat():
                at.running("compute").kill()
                at.operator.wipe("compute")
                at.operator.start("compute")
            yield from lasting()

    return harm


fault("data slow", DATA)(_served("slowly"))
fault("data truncated", DATA)(_served("truncated"))
fault("data corrupt", DATA)(_served("corrupt"))
fault("data gone", DATA)(_served("gone"))
fault("the data's server hanging", DATA)(_served("hanging"))
fault("data gone for ever", DATA, seconds=None, phases=EARLY)(_served("gone"))
