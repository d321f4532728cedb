"""Where a projection is kept: a file of SQLite, or a schema on a PostgreSQL server. One process at a time writes it.

Either is deletable: what cannot be used is moved aside under another name, never deleted, and the chain is read again. A schema
that holds another application's tables is left alone.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, DBAPIError

from coordinator.store_tables import metadata

SCHEMA = "quorate"
"""Of PostgreSQL, unless the URL names another: two coordinators of one database need one each."""
SCHEMES = ("postgresql", "postgres")
STATEMENT_SECONDS = 60
"""After which PostgreSQL gives a statement up: a cycle of the coordinator waits for it."""
SILENCE_SECONDS = 90.0
"""After which a call is given up whose server says nothing at all, and the connection with it."""
LOCK_SECONDS = 40
"""For which the writer's lock is waited for: until the server has noticed that a machine before this one lost its power."""
PATIENCE: Mapping[str, Any] = {
    "connect_timeout": 10,
    "tcp_user_timeout": 20_000,  # milliseconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "application_name": "quorate",
}
"""What libpq is told unless the URL says otherwise: a server that has gone is noticed."""

_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}", re.ASCII)
_DAMAGED_FILE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA}
_DAMAGED_SCHEMA = {"XX001", "XX002", "42P01", "42703"}  # corrupted data or index, no such table, no such column


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A schema on a PostgreSQL server. As text it has no password and no parameters."""

    conninfo: str = field(repr=False)
    """What libpq connects to."""
    schema: str
    shown: str

    def __str__(self) -> str:
        return self.shown

    @classmethod
    def parse(cls, text: str) -> PostgresUrl:
        """postgresql://user@host:port/database, with libpq's parameters and perhaps `schema`. Raises ValueError, which shows
        nothing of the URL: a password can be in it."""
        try:
            parts = urlsplit(text)
            parameters = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            _ = parts.port
        except ValueError:
            raise ValueError("it is no URL: within a user or a password / : @ ? # % are written %2F %3A …") from None
        if parts.scheme not in SCHEMES:
            raise ValueError("it is neither a file's path nor postgresql://user@host:port/database")
        if parts.netloc.count("@") > 1:
            raise ValueError("its user or password has an @, which is written %40")
        schema = parameters.pop("schema", SCHEMA)
        if not _SCHEMA_NAME.fullmatch(schema):
            raise ValueError("its schema must be a name of at most 40 lower case letters, digits and underscores")
        conninfo = parts._replace(scheme="postgresql", query=urlencode(parameters)).geturl()
        shown = f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}, schema {schema}"
        return cls(conninfo, schema, shown)


Place = Path | PostgresUrl


def place(given: object) -> Place:
    """Where a setting or an option says that the projection is. Raises ValueError."""
    if isinstance(given, Path | PostgresUrl):
        return given
    if not isinstance(given, str):
        raise ValueError("it is neither a file's path nor a URL")
    return PostgresUrl.parse(given) if re.match(r"\w+://", given) else Path(given)


# ---- What can go wrong ----


class StoreInUse(Exception):
    """Another process writes this projection."""

    def __init__(self, where: Place) -> None:
        other = "schema (?schema=…)" if isinstance(where, PostgresUrl) else "file"
        super().__init__(f"another coordinator uses {where}: stop it, or set QUORATE_DATABASE to another {other}")


class StoreUnusable(Exception):
    """It cannot be written or read for a reason outside it: folder, permissions, space, a server that is not there."""

    def __init__(self, where: Place, reason: str) -> None:
        is_file = isinstance(where, Path)
        check = (
            "folder, permissions and free space" if is_file else "the server, the user's rights and QUORATE_DATABASE"
        )
        super().__init__(f"cannot use {where} as database ({reason}): check {check}")


class StoreLost(StoreUnusable):
    """The connection to the server is gone, and with it the right to write. Opening it again gets both back."""

    def __init__(self, where: Place) -> None:
        super().__init__(where, "the connection was lost")


class StoreDamaged(Exception):
    """The content is broken. Opening it again moves it aside and starts anew."""

    def __init__(self, where: Place, reason: str) -> None:
        super().__init__(f"{where} is damaged ({reason}): it will be rebuilt from the chain")
        self.reason = reason


# ---- The two kinds ----


class Database(ABC):
    """One place that this process alone may write to, from its making until `close`."""

    engine: sql.Engine

    def __init__(self, where: Place) -> None:
        self.where = where

    @abstractmethod
    def verdict(self, connection: sql.Connection) -> str | None:
        """What the database itself finds wrong with its content, or None."""

    @abstractmethod
    def set_aside(self) -> str | None:
        """Give what is there another name, and return it; None where there is nothing."""

    @abstractmethod
    def close(self) -> None:
        """Let others write. Once more does nothing."""

    @abstractmethod
    def _is_damage(self, cause: BaseException | None) -> bool:
        """Whether what the driver says is about the content."""

    @contextmanager
    def translating(self) -> Iterator[None]:
        """What drivers say becomes StoreDamaged, StoreLost and StoreUnusable."""
        try:
            yield
        except (DatabaseError, sqlite3.DatabaseError) as error:  # the second from what runs on a new connection
            cause = error.orig if isinstance(error, DatabaseError) else error
            reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise StoreLost(self.where) from error
            if self._is_damage(cause):
                raise StoreDamaged(self.where, reason) from error
            raise StoreUnusable(self.where, reason) from error
        except OSError as error:
            raise StoreUnusable(self.where, error.strerror or str(error)) from error


def claim(where: Place) -> Database:
    """Become the one writer. Raises StoreInUse, StoreUnusable."""
    return _PostgresSchema(where) if isinstance(where, PostgresUrl) else _SqliteFile(where)


class _SqliteFile(Database):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path
        self._writer: int | None = _lock_file(path)
        self.engine = sql.create_engine(f"sqlite:///{path}")
        sql.event.listen(self.engine, "connect", _prepare)

    def close(self) -> None:
        self.engine.dispose()
        if self._writer is not None:
            os.close(self._writer)
        self._writer = None

    def verdict(self, connection: sql.Connection) -> str | None:
        verdict = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        return None if verdict == "ok" else f"it is damaged ({verdict.splitlines()[0]})"

    def set_aside(self) -> str | None:
        """Of the journal files too."""
        self.engine.dispose()
        if not self._path.exists():
            return None
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.aside-{number}")).exists():
            number += 1
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return str(aside)

    def _is_damage(self, cause: BaseException | None) -> bool:
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return code in _DAMAGED_FILE or "no such table" in str(cause) or "no such column" in str(cause)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # a crash may cost the last ranges: they are read again
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA busy_timeout=5000")


def _lock_file(path: Path) -> int:
    """A descriptor that holds the writer's lock until it is closed or the process dies. Raises StoreInUse, StoreUnusable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreUnusable(path, error.strerror or str(error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreInUse(path) from error
    return descriptor


class _PostgresSchema(Database):
    """On a single connection, which holds the writer's lock: once it is gone another may have written, so that there is no
    second one, and everything says StoreLost until the store is opened again."""

    def __init__(self, url: PostgresUrl) -> None:
        super().__init__(url)
        self._url = url
        self._is_connected = False
        self._watch = _Watch()
        try:
            self.engine = sql.create_engine(
                "postgresql+psycopg://", creator=self._connect, pool_size=1, max_overflow=0, pool_timeout=0
            )
        except ImportError as error:
            raise StoreUnusable(url, "its driver is not installed: pip install 'quorate[postgres]'") from error
        try:
            with self.translating(), self.engine.connect():
                pass
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.engine.dispose()
        self._watch.end()

    @contextmanager
    def translating(self) -> Iterator[None]:
        with super().translating(), self._watch.call():
            yield

    def verdict(self, connection: sql.Connection) -> str | None:  # noqa: ARG002
        return None  # the server looks after its pages itself, and says so when they are read

    def set_aside(self) -> str | None:
        with self.engine.begin() as connection:
            there = sql.inspect(connection).get_table_names(self._url.schema)
            if not there:
                return None
            if foreign := set(there) - metadata.tables.keys():  # another application would miss them
                which = (
                    f"the schema has a table {sorted(foreign)[0]!a}, which is none of ours: name another by ?schema=…"
                )
                raise StoreUnusable(self._url, which)
            taken = set(sql.inspect(connection).get_schema_names())
            number = 1
            while (aside := f"{self._url.schema}_aside_{number}") in taken:
                number += 1
            connection.execute(sql.text(f'ALTER SCHEMA "{self._url.schema}" RENAME TO "{aside}"'))
            connection.execute(sql.text(f'CREATE SCHEMA "{self._url.schema}"'))
        return f"schema {aside}"

    def _is_damage(self, cause: BaseException | None) -> bool:
        return getattr(cause, "sqlstate", None) in _DAMAGED_SCHEMA

    def _connect(self) -> Any:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        if self._is_connected:
            raise StoreLost(self._url)
        connection = psycopg.connect(**{**PATIENCE, **conninfo_to_dict(self._url.conninfo)}, autocommit=True)
        self._watch.begin(connection.fileno())
        try:
            for name, value in self._session_settings():
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            lock = int.from_bytes(sha256(f"quorate {self._url.schema}".encode()).digest()[:8], "big", signed=True)
            try:
                connection.execute("SELECT pg_advisory_lock(%s::bigint)", (lock,))
            except psycopg.errors.LockNotAvailable:
                raise StoreInUse(self._url) from None
            if connection.execute("SELECT to_regnamespace(%s)", (self._url.schema,)).fetchone() == (None,):
                connection.execute(f'CREATE SCHEMA "{self._url.schema}"'.encode())
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        self._is_connected = True
        return connection

    def _session_settings(self) -> Iterator[tuple[str, str]]:
        yield "search_path", f'"{self._url.schema}"'
        yield "statement_timeout", f"{STATEMENT_SECONDS}s"
        yield "lock_timeout", f"{LOCK_SECONDS}s"
        # as PATIENCE, of the other side: else a machine that lost its power would hold the lock for hours
        yield from {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}.items()
        yield "tcp_user_timeout", "20s"


class _Watch:
    """Breaks a connection whose server is silent for too long: libpq itself would wait for ever, and its caller with it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._deadline: float | None = None
        self._ended = threading.Event()

    def begin(self, descriptor: int) -> None:
        """Look after a connection from now on."""
        self._socket = socket.socket(fileno=os.dup(descriptor))
        threading.Thread(target=self._run, name="quorate-database-watch", daemon=True).start()

    @contextmanager
    def call(self) -> Iterator[None]:
        """What is called within shall not take longer; the outermost of several counts."""
        if self._deadline is not None:
            yield
            return
        self._deadline = time.monotonic() + SILENCE_SECONDS
        try:
            yield
        finally:
            self._deadline = None

    def end(self) -> None:
        """Look after nothing any more."""
        self._ended.set()

    def _run(self) -> None:
        assert self._socket is not None  # begin
        with self._socket as watched:
            while not self._ended.wait(min(1.0, SILENCE_SECONDS)):
                deadline = self._deadline
                if deadline is not None and time.monotonic() > deadline:
                    with suppress(OSError):
                        watched.shutdown(socket.SHUT_RDWR)
                    return


def insert_new(connection: sql.Connection, table: sql.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those rows whose key is not there yet."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(table).on_conflict_do_nothing(), rows)
