"""The checks must notice a bug: random play catches every seeded one."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

import pytest

from contracts.compiler import CompilerMissing
from tests.invariants.examples import find_failure, picks_of
from tests.invariants.mutants import MUTANTS, Mutant, compile_mutants, mutated_sources
from tests.requirements import missing

EXAMPLES = 250


@pytest.fixture(scope="module")
def bytecodes() -> Mapping[str, Future[Mapping[str, str]]]:
    try:
        return compile_mutants()
    except CompilerMissing as error:
        missing("solc", str(error))


def caught_by(code: Mapping[str, str], examples: int) -> str:
    """What is noticed first about these contracts; "" if nothing is."""
    for seed in range(examples):
        if failure := find_failure(picks_of(seed), code):
            return f"example {seed}: {type(failure).__name__}: {failure}"
    return ""


def test_every_mutant_changes_what_is_there() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 60
    for mutant in MUTANTS:
        assert mutated_sources(mutant)


def test_the_contracts_themselves_are_not_caught() -> None:
    assert caught_by({}, 10) == ""


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_seeded_bug_is_caught(mutant: Mutant, bytecodes: Mapping[str, Future[Mapping[str, str]]]) -> None:
    caught = caught_by({mutant.contract: bytecodes[mutant.name].result()[mutant.name]}, EXAMPLES)
    print(f"{mutant.name}: {caught}")
    assert caught, f"random play lets it pass that {mutant.name}"
