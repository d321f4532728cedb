"""No custom error of any contract goes without a test that raises it."""

from __future__ import annotations

from typing import cast

from eth_typing import ABIError
from eth_utils.abi import abi_to_signature

from contracts import abi, errors
from tests.contracts import (
    test_delivery,
    test_dispute_reverts,
    test_other_reverts,
    test_reverts,
    test_standing_orders,
    test_token_jobs,
)
from tests.contracts.raising import RAISED


def declared() -> set[str]:
    """The signatures of every error in the project's own ABIs (the tests' contracts may declare more)."""
    entries = [entry for name in abi.names() for entry in abi.artifact(name).abi if entry["type"] == "error"]
    return {abi_to_signature(cast(ABIError, entry)) for entry in entries}


def test_every_custom_error_is_raised_by_a_test() -> None:
    directed = (test_reverts, test_dispute_reverts, test_delivery, test_other_reverts)
    modules = (*directed, test_standing_orders, test_token_jobs)
    assert all(any(hasattr(module, test) for module in modules) for tests in RAISED.values() for test in tests)
    raised = RAISED.keys() | test_other_reverts.PROGRAM_ERRORS.keys()
    missing = declared() - raised
    assert not missing, f"no test raises {sorted(missing)}"


def test_every_error_that_a_test_raises_is_declared() -> None:
    assert RAISED.keys() <= {error.signature for error in errors.every()}
