"""Named network profiles: which node, which chain, which deployment. One TOML file, $QUORATE_HOME/networks.toml.

    default = "dev"

    [networks.dev]
    rpc_url = "http://127.0.0.1:8545"
    chain_id = 31337
    deployment = "deployments/dev.json"     # relative to the file's folder

QUORATE_RPC_URL, QUORATE_CHAIN_ID and QUORATE_DEPLOYMENT override whatever profile is chosen, field by field.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FILE_NAME = "networks.toml"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class BadProfile(Exception):
    """A profile file or an overriding variable that cannot be read; the message names the key."""


class UnknownNetwork(Exception):
    """No profile has that name, or none was chosen."""


@dataclass(frozen=True, slots=True)
class Network:
    """One profile. `chain_id` None accepts any chain; `deployment` None knows no contracts yet."""

    name: str
    rpc_url: str
    chain_id: int | None = None
    deployment: Path | None = None


@dataclass(frozen=True, slots=True)
class Profiles:
    """All profiles of one file."""

    path: Path
    networks: Mapping[str, Network] = field(default_factory=dict)
    default: str | None = None

    def choose(self, name: str | None) -> Network:
        """The profile of that name or, without one, the default. Raises UnknownNetwork naming those there are."""
        wanted = name or self.default
        have = ", ".join(sorted(self.networks)) or "none yet; `quorate devnet --deploy` makes one"
        if wanted is None:
            raise UnknownNetwork(
                f"no network is chosen: give --network NAME or --rpc URL (profiles in {self.path}: {have})"
            )
        if wanted not in self.networks:
            raise UnknownNetwork(f"no network profile is called {wanted!r} in {self.path}; there are: {have}")
        return self.networks[wanted]


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """Where profiles, keys and deployments are kept: $QUORATE_HOME, else ~/.config/quorate."""
    if named := environment.get("QUORATE_HOME"):
        return Path(named).expanduser().absolute()
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "quorate"


def load(path: Path) -> Profiles:
    """The profiles of a file; none where the file does not exist. Raises BadProfile."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Profiles(path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadProfile(f"{path} is not TOML: {error}") from error
    tables = content.get("networks", {})
    if not isinstance(tables, dict):
        raise BadProfile(f"{path}: `networks` must be tables: [networks.NAME]")
    networks = {name: _network(path, name, table) for name, table in tables.items()}
    default = content.get("default")
    if default is None and len(networks) == 1:
        default = next(iter(networks))
    if default is not None and default not in networks:
        raise BadProfile(f"{path}: the default network {default!r} has no table [networks.{default}]")
    return Profiles(path, networks, default)


def save(path: Path, network: Network) -> None:
    """Add a profile, or replace the one of its name; the first becomes the default. Raises BadProfile."""
    if not _NAME.fullmatch(network.name):
        raise BadProfile(f"{network.name!r} cannot name a network: use letters, digits, - and _")
    have = load(path)
    networks = {**have.networks, network.name: network}
    lines = [f"default = {_quoted(have.default or network.name)}"]
    for one in networks.values():
        lines += ["", f"[networks.{_quoted(one.name)}]", f"rpc_url = {_quoted(one.rpc_url)}"]
        if one.chain_id is not None:
            lines.append(f"chain_id = {one.chain_id}")
        if one.deployment is not None:
            lines.append(f"deployment = {_quoted(str(one.deployment))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text("\n".join(lines) + "\n", "utf-8")
    draft.replace(path)  # whole or not at all


def overridden(network: Network, environment: Mapping[str, str] = os.environ) -> Network:
    """The profile with QUORATE_RPC_URL, QUORATE_CHAIN_ID and QUORATE_DEPLOYMENT put in. Raises BadProfile."""
    if url := environment.get("QUORATE_RPC_URL"):
        network = replace(network, rpc_url=url)
    if text := environment.get("QUORATE_CHAIN_ID"):
        if not (text.isascii() and text.isdigit()):
            raise BadProfile(f"QUORATE_CHAIN_ID must be a number, not {text!r}")
        network = replace(network, chain_id=int(text))
    if named := environment.get("QUORATE_DEPLOYMENT"):
        network = replace(network, deployment=Path(named).expanduser())
    return network


def _network(path: Path, name: str, table: Any) -> Network:
    where = f"{path}, [networks.{name}]"
    if not isinstance(table, dict):
        raise BadProfile(f"{where} must be a table")
    if unknown := sorted(set(table) - {"rpc_url", "chain_id", "deployment"}):
        raise BadProfile(f"{where}: unknown key {unknown[0]!r}; there are rpc_url, chain_id and deployment")
    url, chain_id, deployment = table.get("rpc_url"), table.get("chain_id"), table.get("deployment")
    if not isinstance(url, str):
        raise BadProfile(f"{where}: rpc_url must be the URL of a node, as text")
    if chain_id is not None and (not isinstance(chain_id, int) or isinstance(chain_id, bool) or chain_id < 1):
        raise BadProfile(f"{where}: chain_id must be a positive number")
    if deployment is not None and not isinstance(deployment, str):
        raise BadProfile(f"{where}: deployment must be the path of a deployment file, as text")
    at = None if deployment is None else path.parent / Path(deployment).expanduser()
    return Network(name, url, chain_id, at)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON strings are TOML strings, but for DEL
