"""A development chain for as long as a `with` block lasts, whichever kind there is."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias

from coordinator.devnet.anvil import find_anvil, start_anvil
from coordinator.devnet.chain import DevChain
from coordinator.devnet.server import serve

ChainKind: TypeAlias = Literal["auto", "py-evm", "anvil"]


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_chain(
    kind: ChainKind = "auto",
    *,
    port: int = 0,
    chain_id: int = 31_337,
    block_time: float | None = 1.0,
    accounts: Mapping[bytes, int] | None = None,
) -> Iterator[str]:
    """The URL of a chain of its own on 127.0.0.1: anvil if it is there ("auto"), else the Python EVM in this process.

    Port 0 takes a free one; `block_time` in seconds, None to mine on demand; `accounts` (address → wei), the dev
    accounts by default. Raises FileNotFoundError for "anvil" where there is none.
    """
    if kind not in ("auto", "py-evm", "anvil"):
        raise ValueError(f"unknown kind of chain {kind!r}: use auto, py-evm or anvil")
    if kind == "anvil" or (kind == "auto" and find_anvil() is not None):
        with start_anvil(port or free_port(), chain_id, block_time, accounts) as anvil:
            yield anvil.url
    else:
        with serve(DevChain(chain_id, accounts, block_time), port=port) as server:
            yield server.url
