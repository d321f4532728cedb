"""Places for a projection: tests that ask for `places` run on a file and on a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from coordinator.database import Place, PostgresUrl
from coordinator.devnet import free_port
from tests.postgres_server import Server, postgres_server

Places = Callable[[str], Place]
_numbers = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server for all tests of this process."""
    with postgres_server(free_port()) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    """The place of this name: the same one each time within a test."""
    if request.param == "sqlite":
        return lambda name: tmp_path / f"{name}.sqlite"
    server: Server = request.getfixturevalue("postgres")
    number = next(_numbers)
    return lambda name: PostgresUrl.parse(server.url(f"test_{number}_{name}"))


def as_text(where: Place) -> str:
    """As QUORATE_DATABASE says it."""
    return str(where) if isinstance(where, Path) else f"{where.conninfo}?schema={where.schema}"
