"""Settings in a TOML file that QUORATE_SETTINGS names: the keys are the variables' names, without QUORATE_ and in lower case.

    rpc_url = "http://127.0.0.1:8545"
    data_folders = ["/srv/quorate/published"]
    fee_ceiling = 300_000_000_000

One file serves all of an operator's processes. What the environment says goes before it.
"""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oracle_worker.result import WorkerError

PREFIX = "QUORATE_"
VARIABLE = f"{PREFIX}SETTINGS"
OF_NO_SETTING = frozenset(
    {"HOME", "NETWORK", "KEY", "PRIVATE_KEY", "PASSPHRASE", "STANDING_ORDERS", "SETTINGS", "UID"}
    | {"ANVIL", "SOLC", "DATA", "REQUIRE_ALL", "TEST_SEED", "CALLS", "LOG_FORMAT", "COMPLETE"}
)
"""Variables that begin like a setting's and are none."""
KEY_MATERIAL = frozenset({"private_key", "passphrase", "key", "mnemonic", "secret"})
MOST_BYTES = 1 << 20


class BadSettings(WorkerError):
    """Settings that cannot be used; the text names each key and what is wrong with it, and never shows a value."""


def read(path: Path, known: Collection[str]) -> dict[str, Any]:
    """What the file says, by key. Raises BadSettings."""
    content, mode = _parse(path)
    wrong = []
    for key in content:
        if key in KEY_MATERIAL:
            wrong.append(f"{key}: no key and no passphrase belongs here: keystore and passphrase_file name files")
        elif key not in known:
            wrong.append(f"there is no setting {key!a}{suggestion(key, known)}")
    if wrong:
        raise BadSettings(f"{path}: " + "; ".join(wrong))
    if open_to_others(mode) and (secret := [key for key, value in content.items() if holds_secret(key, value)]):
        raise BadSettings(
            f"{path}: others may read it, and {', '.join(secret)} may hold a password or a key: chmod 600 {path}"
        )
    return content


def _parse(path: Path) -> tuple[dict[str, Any], int]:
    """What a file says, and its mode."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = tomllib.loads(file.read(MOST_BYTES).decode())
    except OSError as error:
        raise BadSettings(f"{VARIABLE}: {path} cannot be read: {error.strerror or type(error).__name__}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = getattr(error, "lineno", None)
        raise BadSettings(f"{path} is not TOML" + (f" (line {where})" if where else "")) from None
    return content, mode


def variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment, and what the file says of single values beside it. Raises BadSettings where it cannot be read."""
    surroundings = dict(os.environ if environment is None else environment)
    if not (file := surroundings.get(VARIABLE)):
        return surroundings
    said = _parse(Path(file).expanduser())[0]
    single = {PREFIX + key.upper(): str(value) for key, value in said.items() if isinstance(value, str | int)}
    return {**single, **surroundings}


def check_variables(environment: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse variables that are no settings and look like one: a typing error would leave a default in force.

    Raises BadSettings.
    """
    wrong = []
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if variable == name or name in OF_NO_SETTING or name.lower() in known:
            continue
        if hint := suggestion(name.lower(), known, upper=True):
            wrong.append(f"there is no setting {variable}{hint}")
    if wrong:
        raise BadSettings("; ".join(wrong))


def suggestion(key: str, known: Collection[str], *, upper: bool = False) -> str:
    """What was perhaps meant, as the end of a sentence; empty where nothing is near."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if not near:
        return ""
    return f": do you mean {PREFIX + near[0].upper() if upper else near[0]}?"


def open_to_others(mode: int) -> bool:
    """Whether anybody but its owner may read a file of this mode."""
    return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def holds_secret(key: str, value: Any) -> bool:
    """Whether a value may be secret: a URL with a password, or with a path or query that a provider's key may be."""
    if not isinstance(value, str) or not (key.endswith("_url") or (key == "database" and "://" in value)):
        return False
    for one in value.split(","):
        try:
            parts = urlsplit(one.strip())
            has_password = bool(parts.username or parts.password)
        except ValueError:
            return True
        if has_password or parts.query or (key not in ("broker_url", "database") and len(parts.path.strip("/")) >= 16):
            return True
    return False
