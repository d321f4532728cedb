"""The checks must notice a bug: every seeded one is caught, by random play or by a directed scenario."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

import pytest

from contracts.compiler import CompilerMissing
from contracts.errors import Reverted
from tests.contracts import test_dispute_reverts, test_disputes, test_lifecycle, test_money, test_reverts
from tests.contracts.chain import Halted
from tests.contracts.world import NewWorld, World
from tests.invariants.driver import Driver
from tests.invariants.mutants import MUTANTS, Mutant, compile_mutants
from tests.invariants.play import finish, set_up, step
from tests.requirements import missing

EXAMPLES, STEPS = 5, 300
BROKEN = (AssertionError, Reverted, Halted, pytest.fail.Exception, KeyError)


@pytest.fixture(scope="module")
def bytecodes() -> Mapping[str, str]:
    try:
        return compile_mutants()
    except CompilerMissing as error:
        missing("solc", str(error))


def scenarios() -> list[Callable[[NewWorld], None]]:
    """Every directed test that needs a world, with each of its parameters."""
    modules = (test_lifecycle, test_disputes, test_money, test_reverts, test_dispute_reverts)
    tests = [test for module in modules for name, test in vars(module).items() if name.startswith("test_")]
    return [case for test in tests if "new_world" in inspect.signature(test).parameters for case in cases_of(test)]


def cases_of(test: Callable[..., None]) -> list[Callable[[NewWorld], None]]:
    """One for each of the values of its `parametrize` mark, or the test itself."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    if not marks:
        return [test]
    ((names, values),) = (mark.args for mark in marks)
    several = not isinstance(names, str)
    return [partial(test, **dict(zip(names, each, strict=True) if several else [(names, each)])) for each in values]


def play_at_random(code: Mapping[str, str]) -> None:
    for example in range(EXAMPLES):
        driver, rng = Driver(code), Random(example)
        set_up(driver)
        for _ in range(STEPS):
            step(driver, rng.getrandbits(32))
        finish(driver)


def caught_by(code: Mapping[str, str]) -> str:
    """The first check that fails for these contracts: random play, else a scenario; "" if all pass."""
    try:
        play_at_random(code)
    except BROKEN as failure:
        return f"random play: {failure}"
    for scenario in scenarios():
        try:
            scenario(partial(World, code))
        except BROKEN:
            return f"{inspect.unwrap(getattr(scenario, 'func', scenario)).__name__}"
    return ""


def test_the_contracts_themselves_are_not_caught() -> None:
    assert len(scenarios()) > 200
    assert caught_by({}) == ""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_seeded_bug_is_caught(mutant: Mutant, bytecodes: Mapping[str, str]) -> None:
    caught = caught_by({mutant.contract: bytecodes[mutant.name]})
    print(f"{mutant.name}: caught by {caught}")
    assert caught, f"the checks let it pass that {mutant.name}"
