"""Many runs, on several stages at a time: a stage is a process of its own that is opened for its first run and kept."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing.util import Finalize
from pathlib import Path
from time import monotonic

from tests.chaos import chain_faults, controls, data_faults, message_faults, process_faults
from tests.chaos.fault import FAULTS
from tests.chaos.play import Play, Record, Run
from tests.chaos.stage import Stage

REGISTERED = (process_faults, message_faults, chain_faults, data_faults, controls)
"""The modules whose import puts the kinds of fault into the register."""


def every_run(faults: Sequence[str], phases: Sequence[str], seeds: Sequence[int]) -> Iterator[Run]:
    """Each kind at each moment that it has a meaning in, with each seed."""
    for name in faults:
        for phase in phases:
            if phase in FAULTS[name].phases:
                for seed in seeds:
                    yield Run(name, phase, seed)


def lanes(runs: Sequence[Run], count: int, folder: Path) -> Iterator[tuple[Run, Record]]:
    """Play the runs on so many stages, each run on the first that is free; results as they come."""
    if not runs:
        return
    shutil.rmtree(folder, ignore_errors=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, spawn, initializer=_enter, initargs=(folder,)) as pool:
        waiting = {pool.submit(_play, run): run for run in runs}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for lane in multiprocessing.active_children():
                lane.terminate()
            raise


class _Lane:
    """This process's stage, opened anew when a run broke it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / multiprocessing.current_process().name
        self._stack = ExitStack()
        self._stage: Stage | None = None
        self._opened = 0

    def play(self, run: Run) -> Record:
        """Raises nothing: a run that breaks the stage is a bad one."""
        began = monotonic()
        try:
            if self._stage is None:
                self._opened += 1
                self._stage = Stage(self._folder / f"{self._opened}", self._stack)
            return Play(self._stage, run).play()
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            self.close()
            broken = Record(run.fault, run.phase, run.seed, 0, False)
            broken.outcome = f"the stage broke: {type(error).__name__}: {str(error)[:200]}"
            broken.left_over, broken.seconds = True, round(monotonic() - began, 1)
            return broken

    def close(self) -> None:
        """End everything on the stage."""
        self._stage = None
        self._stack.close()


def _enter(folder: Path) -> None:
    global _lane
    _lane = _Lane(folder)
    Finalize(None, _lane.close, exitpriority=10)  # a process of a pool ends without what atexit knows
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells everybody; who started this says when to end


def _end(*_: object) -> None:
    """At once: the run at hand is lost, no process is left behind."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _lane.close()
    os._exit(1)


def _play(run: Run) -> Record:
    return _lane.play(run)


_lane: _Lane


def told(record: Record) -> str:
    """One line of what a run came to."""
    if not record.reached:
        return f"the moment never came ({record.outcome}), {record.seconds:.0f} s"
    parts = [record.outcome, f"lost {record.lost} wei", f"{record.seconds:.0f} s, the fault {record.lasted:.0f} s"]
    parts += [f"paid twice: {', '.join(record.twice)}"] if record.twice else []
    parts += [f"reverted: {', '.join(record.reverted)}"] if record.reverted else []
    parts += [f"ended by themselves: {'; '.join(record.restarts)}"] if record.restarts else []
    parts += ["not brought to its end by the operators"] if record.left_over else []
    return ", ".join(parts)
