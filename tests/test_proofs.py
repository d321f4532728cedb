"""The contracts' solvency is proved (all of it by `make proofs`), and what the proofs lean on is held against words."""

from __future__ import annotations

import re
import subprocess

import pytest

from contracts.compiler import SOURCES, CompilerMissing, read_sources
from tests.analysis.proofs import HERE, PROOFS, ProverMissing, find_halmos, prove
from tests.requirements import missing

QUICK = "(xpired|withdraw|nothingIsEverBurned|aRefutation)"
OPERATIONS = ("add", "complement", "multiply", "concatenate", "extract", "divide", "remainder", "unite")


def formulas_refused(*arguments: str) -> str:
    """What is refused over whole numbers though words satisfy it; skips without the prover."""
    try:
        python = find_halmos().with_name("python")
    except ProverMissing as error:
        missing("halmos", str(error))
    done = subprocess.run([python, HERE / "soundness.py", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_an_expired_job_and_a_withdrawal_leave_the_books_even_and_a_burn_is_found() -> None:
    try:
        results = prove(read_sources(SOURCES, PROOFS), QUICK)
    except ProverMissing as error:
        missing("halmos", str(error))
    except CompilerMissing as error:
        missing("solc", str(error))
    assert len(results) == 4
    assert all(each.holds for each in results), results


def test_no_claim_is_proved_for_want_of_a_counterexample_that_words_have() -> None:
    assert formulas_refused("80") == ""


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_wrong_operation_over_whole_numbers_is_noticed(operation: str) -> None:
    assert formulas_refused("300", operation).startswith("formula")


def test_every_operation_over_whole_numbers_is_tried() -> None:
    table = (HERE / "integers.py").read_text().partition("OPERATIONS: dict")[2].partition("}")[0]
    assert set(re.findall(r": (\w+),", table)) == set(OPERATIONS)
