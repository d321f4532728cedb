"""The job's data, at the requester's server. Once nothing is computed from it any more, the operator's copy is lost with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from typing import Any

from tests.chaos.data_server import Manner
from tests.chaos.fault import fault, lasting
from tests.chaos.phases import EARLY
from tests.chaos.stage import Stage

DATA = "data"


def _served(manner: Manner) -> Any:
    def harm(at: Stage, chance: Random) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(at.data.serving(manner))
            if at.has_seat():
                at.running("compute").kill()
                at.operator.wipe("compute")
                at.operator.start("compute")
            yield from lasting()

    return harm


for _name, _manner in (
    ("data slow", "slowly"),
    ("data truncated", "truncated"),
    ("data corrupt", "corrupt"),
    ("data gone", "gone"),
    ("the data's server hanging", "hanging"),
):
    fault(_name, DATA)(_served(_manner))  # type: ignore[arg-type]
fault("data gone for ever", DATA, seconds=None, phases=EARLY)(_served("gone"))
