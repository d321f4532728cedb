"""Fixtures of the contracts' tests."""

from __future__ import annotations

import pytest

from tests.contracts.world import NewWorld, World


@pytest.fixture
def new_world() -> NewWorld:
    """Makes a deployment of its own for the test: `new_world(bounds=…, seed_source=…)`."""
    return World
