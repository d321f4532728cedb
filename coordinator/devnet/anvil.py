"""anvil as the development chain, where it is installed: started bounded, funded alike, stopped by its own pid."""

from __future__ import annotations

import atexit
import json
import os
import platform
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from coordinator.devnet.accounts import dev_accounts
from coordinator.devnet.block import BLOCK_GAS_LIMIT
from coordinator.devnet.header import COINBASE
from coordinator.devnet.wire import to_hex

START_SECONDS = 20.0
STOP_SECONDS = 5.0
STATES_KEPT = 2_048
LOCAL = Path(__file__).resolve().parents[2] / ".tools" / "node_modules" / "@foundry-rs"
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def find_anvil() -> Path | None:
    """The anvil to use: QUORATE_ANVIL, else the project's own .tools, else PATH; None if there is none.

    Raises FileNotFoundError if QUORATE_ANVIL names something that cannot be run.
    """
    if named := os.environ.get("QUORATE_ANVIL"):
        if (path := Path(named)).is_file() and os.access(path, os.X_OK):
            return path
        raise FileNotFoundError(f"QUORATE_ANVIL names no executable file: {named}; correct it or unset it")
    machine = MACHINES.get(platform.machine().lower())
    if machine and platform.system() == "Linux":
        path = LOCAL / f"anvil-linux-{machine}" / "bin" / "anvil"
        if path.is_file() and os.access(path, os.X_OK):
            return path
    found = shutil.which("anvil")
    return Path(found) if found else None


def need_anvil() -> Path:
    """As find_anvil. Raises FileNotFoundError, which says what to do, where there is none."""
    if (found := find_anvil()) is None:
        raise FileNotFoundError("no anvil: install it (npm install @foundry-rs/anvil), or use the py-evm chain")
    return found


class AnvilProcess:
    """A running anvil; a context manager that ends it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process = process
        self.url = url
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def close(self) -> None:
        """Ask it to end, then make it end. May be called again."""
        atexit.unregister(self.close)
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def __enter__(self) -> AnvilProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def await_answer(self) -> None:
        """Wait until it answers. Raises RuntimeError if it ends first, TimeoutError after 20 s."""
        until = time.monotonic() + START_SECONDS
        while True:
            if (code := self._process.poll()) is not None:
                raise RuntimeError(f"anvil ended at once with status {code}: is the port of {self.url} taken?")
            try:
                self.ask("eth_chainId")
            except (urllib.error.URLError, OSError):
                if time.monotonic() > until:
                    raise TimeoutError(f"anvil does not answer at {self.url} after {START_SECONDS:g} s") from None
                time.sleep(0.02)
            else:
                return

    def ask(self, method: str, *params: Any) -> Any:
        """The result of one request. Raises RuntimeError for a JSON-RPC error, OSError if nothing answers."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=START_SECONDS) as response:  # noqa: S310
            answer = json.load(response)
        if "error" in answer:
            raise RuntimeError(f"anvil refused {method}: {answer['error'].get('message')}")
        return answer["result"]


def start_anvil(
    port: int,
    chain_id: int = 31_337,
    block_time: float | None = 1.0,
    accounts: Mapping[bytes, int] | None = None,
    *,
    executable: Path | None = None,
    gas_limit: int = BLOCK_GAS_LIMIT,
) -> AnvilProcess:
    """anvil on 127.0.0.1 with Prague rules, `accounts` (address → wei) funded; None as `block_time` mines on demand.

    Raises FileNotFoundError if there is no anvil, RuntimeError or TimeoutError if it does not start.
    """
    executable = executable or need_anvil()
    mining = ["--no-mining"] if block_time is None else ["--block-time", f"{block_time:g}"]
    process = subprocess.Popen(
        [
            str(executable),
            *("--host", "127.0.0.1", "--port", str(port), "--chain-id", str(chain_id), "--quiet"),
            *("--hardfork", "prague", "--enable-tx-gas-limit", "--gas-limit", str(gas_limit)),
            *("--accounts", "0", "--prune-history", str(STATES_KEPT), "--no-cors", *mining),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    anvil = AnvilProcess(process, f"http://127.0.0.1:{port}")
    try:
        anvil.await_answer()
        anvil.ask("anvil_setCoinbase", to_hex(COINBASE))  # else tips go to the zero address, as burned wei do
        for address, wei in (dev_accounts() if accounts is None else accounts).items():
            anvil.ask("anvil_setBalance", to_hex(address), to_hex(wei))
    except BaseException:
        anvil.close()
        raise
    return anvil
