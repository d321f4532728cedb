"""Messages that only the holder of the operator's message secret can write: HMAC-SHA256 over canonical JSON.

Whoever can write to the broker can replay a message and can lose it, and nothing else: duties are idempotent, and the
coordinator dispatches anew what did not reach the chain.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_typing import ChecksumAddress

from oracle_worker.result import WorkerError

SECRET_BYTES = 32
LONGEST_MESSAGE = 1 << 20
"""Bytes of a message's JSON."""
DEEPEST_MESSAGE = 8
"""Objects and lists within each other."""


class ForgedMessage(WorkerError):
    """A message that was not written with this operator's secret for this task, chain and oracle, or was altered."""


class BadSecret(WorkerError):
    """The message secret's file cannot be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a message holds: one chain, one oracle."""

    chain_id: int
    oracle: ChecksumAddress

    def describe(self, task: str) -> dict[str, Any]:
        """What is authenticated beside the body."""
        return {"scheme": "quorate.message.1", "chain_id": self.chain_id, "oracle": self.oracle, "task": task}


@dataclass(frozen=True, slots=True, repr=False)
class Seal:
    """Writes and reads the messages of one operator on one deployment."""

    secret: bytes
    domain: Domain

    def close(self, task: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The message for a task: the body with its HMAC. Raises ValueError for a body that is not plain JSON."""
        return {"body": dict(body), "mac": self._mac(task, body).hex()}

    def open(self, task: str, message: object) -> dict[str, Any]:
        """The body of an authentic message. Raises ForgedMessage."""
        if not isinstance(message, dict) or set(message) != {"body", "mac"}:
            raise ForgedMessage(f"a message for {task} has a body and a mac, and nothing else")
        body, mac = message["body"], message["mac"]
        if not isinstance(body, dict) or not isinstance(mac, str):
            raise ForgedMessage(f"a message for {task} has an object as its body and text as its mac")
        try:
            right = self._mac(task, body).hex()
        except ValueError as error:
            raise ForgedMessage(
                f"a message for {task} is not plain, shallow JSON of at most {LONGEST_MESSAGE} bytes"
            ) from error
        if not hmac.compare_digest(right.encode(), mac.encode("utf-8", "replace")):
            raise ForgedMessage(
                f"a message for {task} was not written with this operator's secret, or was altered on its way: "
                "do compute and signer use the same secret file, chain and deployment?"
            )
        return body

    def _mac(self, task: str, body: Mapping[str, Any]) -> bytes:
        content = _canonical({**self.domain.describe(task), "body": body})
        if len(content) > LONGEST_MESSAGE:
            raise ValueError(f"a message of {len(content)} bytes: at most {LONGEST_MESSAGE}")
        return hmac.digest(self.secret, content, sha256)


def _canonical(value: object) -> bytes:
    _check_plain(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _check_plain(value: object) -> None:
    """ValueError unless it is plain JSON, without fractions, and shallow: deep nesting crashes the encoder, not just fails."""
    level = [value]
    for _ in range(DEEPEST_MESSAGE):
        below: list[object] = []
        for one in level:
            if isinstance(one, dict):
                if not all(isinstance(name, str) for name in one):
                    raise ValueError("names must be text")
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif not isinstance(one, str | int | None):
                raise ValueError(f"a {type(one).__name__} is not taken")
        level = below
    if level:
        raise ValueError(f"nested more than {DEEPEST_MESSAGE} deep")


def load_secret(path: Path) -> bytes:
    """The secret in a file of 64 hex digits that nobody else may read; made on first use. Raises BadSecret."""
    try:
        if not path.exists():
            _create(path)
        if path.stat().st_mode & 0o077:
            raise BadSecret(f"others may read {path}: run chmod 600 on it, and make a new one if they may have")
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSecret(f"the message secret {path} cannot be read: {type(error).__name__}") from None
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise BadSecret(f"{path} must hold {2 * SECRET_BYTES} hex digits; delete it and a new one is made")
    return secret


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # fails where another process was first: then theirs is used
    except FileExistsError:
        return
    finally:
        draft.unlink()
