"""One random step, and the way to the end of everything."""

from __future__ import annotations

from random import Random

from contracts import specification as spec
from contracts.job import Phase
from contracts.specification.books import free
from tests.invariants import arena, moves
from tests.invariants.arena import BOUNDS, EVERYBODY, GWEI, WORKERS
from tests.invariants.driver import MOST_JOBS, Driver, Move
from tests.invariants.spoils import spoil

CAREFUL = 3  # seconds: how much time may pass at once while somebody honest must act
LONG = 40


def set_up(driver: Driver) -> None:
    """Give every worker some stake, so that jobs can be made from the next block on."""
    unit = driver.arena.least_stake(arena.SMALL)
    for number, worker in enumerate(WORKERS):
        driver.play(Move(spec.deposit, worker, (), (2 + number % 4) * unit + number * GWEI))
    driver.pass_time(1)


def step(driver: Driver, pick: int) -> None:
    """What `pick` stands for: one move of somebody, or a little time (if nothing honest is left to do first)."""
    rng = Random(pick)
    roll = rng.random()
    schemes = list(driver.jobs.values())
    scheme = rng.choice(schemes) if schemes else None
    if roll < 0.08:
        driver.play(moves.move_stake(driver, rng))
    elif roll < 0.34:
        if odd := spoil(driver, scheme, rng):
            driver.play(odd)
    elif len(schemes) < MOST_JOBS and roll < 0.42:
        moves.create(driver, rng)
    elif scheme and roll < 0.92 and (move := moves.move_job(driver, scheme, rng)):
        driver.play(move)
        driver.forget_finished()
    else:
        wait(driver, rng)


def wait(driver: Driver, rng: Random) -> None:
    """Let time pass, unless an honest guard has something to do first."""
    for scheme in driver.jobs.values():
        if scheme.guarded and (move := moves.duty(driver, scheme)):
            driver.play(move)
            return
        is_committing = driver.phase(scheme) == Phase.COMMITTING
        if is_committing and rng.random() < 0.6 and (move := moves.commit(driver, scheme, rng)):
            driver.play(move)
            return
    if driver.is_guard_needed:
        driver.pass_time(rng.randint(0, CAREFUL), rng.randint(1, 2))
    else:
        driver.pass_time(rng.randint(0, LONG), rng.choice((1, 2, 3, 3, 100)))


def finish(driver: Driver, seed: int = 0) -> None:
    """Play every job to its end and pay everybody out: then the oracle must hold nothing at all."""
    rng = Random(seed)
    for _ in range(5_000):
        driver.forget_finished()
        if not driver.jobs:
            break
        scheme = rng.choice(list(driver.jobs.values()))
        if rng.random() < 0.6 and (move := moves.move_job(driver, scheme, rng)):
            driver.play(move)
        else:
            wait(driver, rng)
    assert not driver.jobs, "a job never ends"
    for worker in WORKERS:
        if available := free(driver.state, worker):
            driver.play(Move(spec.unbond, worker, (available,)))
    driver.pass_time(BOUNDS.unbonding_period)
    for someone in EVERYBODY:
        if driver.withdrawable(someone):
            driver.play(Move(spec.withdraw, someone, (someone,)))
    driver.lockstep.compare_everything()
    assert driver.state.balance == 0 == driver.chain.balance(driver.arena.oracle), "somebody's wei are left behind"
