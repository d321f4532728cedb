"""Marks a test as one that raises a certain custom error, so that another can tell which error no test raises."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

from contracts import errors

RAISED: dict[str, list[str]] = {}
"""Error signature → the tests that raise it."""


def raises(signature: str, **expected: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The test passes if it ends with exactly this error, and with these of its arguments."""

    def mark(body: Callable[..., None]) -> Callable[..., None]:
        RAISED.setdefault(signature, []).append(body.__name__)

        @wraps(body)
        def test(*args: Any, **kwargs: Any) -> None:
            with pytest.raises(errors.OracleRevert) as caught:
                body(*args, **kwargs)
            assert caught.value.signature == signature
            given = caught.value.args_by_name
            assert {name: given[name] for name in expected} == expected

        return test

    return mark
