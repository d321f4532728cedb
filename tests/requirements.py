"""What a test needs beyond Python: skipped with a reason where it is absent, a failure where everything must be there."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(tool: str, how_to_get: str) -> NoReturn:
    """Skip the running test for want of `tool`; fail it if QUORATE_REQUIRE_ALL is set."""
    reason = f"{tool} is missing: {how_to_get}"
    if os.environ.get("QUORATE_REQUIRE_ALL"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)
