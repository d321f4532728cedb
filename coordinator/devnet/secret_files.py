"""The secret files of operators on a development chain, under the names that docker-compose.yml gives them.

    python -m coordinator.devnet.secret_files FOLDER NAME…

For each name, in the order of the funded accounts: NAME.keystore.json with that account's key, NAME.passphrase, and
NAME.message, which the operator's compute and signer share. Files that exist are left alone, so that an operator with a
key of its own puts it there first.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from contracts import keystore
from coordinator.devnet.accounts import dev_keys


def write(folder: Path, names: Sequence[str], *, iterations: int | None = None) -> list[Path]:
    """Write what is missing, readable by the owner only; the paths written. `iterations`: scrypt's work factor.

    Raises ValueError for a keystore without its passphrase: nobody could open it; OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")  # a folder of secrets inside a checkout is never committed
    written = []
    for name, key in zip(names, dev_keys(len(names)), strict=True):
        kept, passphrase, message = (folder / f"{name}.{kind}" for kind in ("keystore.json", "passphrase", "message"))
        if kept.exists() and not passphrase.exists():
            raise ValueError(f"{kept} is there, {passphrase} is not: write its passphrase into it, or move both away")
        for path in (passphrase, message):
            if not path.exists():
                written.append(_keep(path, secrets.token_hex(32) + "\n"))
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=folder) as draft:
                word = passphrase.read_text().splitlines()[0]
                keystore.import_key(Path(draft), key, word, iterations=iterations).path.rename(kept)
            written.append(kept)
    return written


def _keep(path: Path, text: str) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


if __name__ == "__main__":
    for path in write(Path(sys.argv[1]), sys.argv[2:]):
        sys.stdout.write(f"{path}\n")
