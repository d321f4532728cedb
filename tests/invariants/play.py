"""One random step, and the way to the end of everything."""

from __future__ import annotations

from random import Random

from contracts.job import Phase
from tests.contracts.world import BOUNDS
from tests.invariants import calldata, moves
from tests.invariants.calldata import address_word, word
from tests.invariants.driver import EVERYBODY, MOST_JOBS, WORKERS, Driver, Move
from tests.invariants.spoils import spoil

CAREFUL = 3  # seconds: how much time may pass at once while somebody honest must act
LONG = 40


def set_up(driver: Driver) -> None:
    """Give every worker some stake, so that jobs can be made from the next block on."""
    for number, worker in enumerate(WORKERS):
        stake = (2 + number % 4) * driver.world.least_stake + number
        driver.play(Move("deposit", worker, calldata.plain("deposit"), stake))
    driver.pass_time(1)


def step(driver: Driver, pick: int) -> None:
    """What `pick` stands for: one move of somebody, or a little time (if nothing honest is left to do first)."""
    rng = Random(pick)
    roll = rng.random()
    jobs = list(driver.jobs.values())
    job = rng.choice(jobs) if jobs else None
    if roll < 0.08:
        driver.play(moves.stake_move(driver, rng))
    elif roll < 0.28:
        if forbidden := spoil(driver, job, rng):
            driver.play(forbidden)
    elif len(jobs) < MOST_JOBS and roll < 0.38:
        moves.create(driver, rng)
    elif job and roll < 0.90 and (move := moves.job_move(driver, job, rng)):
        driver.play(move)
        driver.forget_finished()
    else:
        wait(driver, rng)


def wait(driver: Driver, rng: Random) -> None:
    """Let time pass, unless an honest guard has something to do first."""
    for job in driver.jobs.values():
        if job.guarded and (move := moves.duty(driver, job)):
            driver.play(move)
            return
        if driver.phase(job) == Phase.COMMITTING and rng.random() < 0.6 and (move := moves.commit(driver, job, rng)):
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
        job = rng.choice(list(driver.jobs.values()))
        if rng.random() < 0.6 and (move := moves.job_move(driver, job, rng)):
            driver.play(move)
        else:
            wait(driver, rng)
    assert not driver.jobs, "a job never ends"
    for worker in WORKERS:
        if free := driver.free(worker):
            driver.play(Move("unbond", worker, calldata.plain("unbond", word(free))))
    driver.pass_time(BOUNDS.unbonding_period)
    for someone in EVERYBODY:
        if moves.withdrawable(driver, someone):
            driver.play(Move("withdraw", someone, calldata.plain("withdraw", address_word(someone))))
    assert driver.books.accounted == 0 == driver.chain.balance(driver.address), "somebody's wei are left behind"
