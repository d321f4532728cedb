"""A worker's settings, from keyword arguments, environment variables that begin with QUORATE_, or a TOML file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from eth_typing import ChecksumAddress
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts import address
from oracle_worker import settings_file
from oracle_worker.chunks import CHUNK_DEPTH
from oracle_worker.settings_file import PREFIX as PREFIX
from oracle_worker.settings_file import BadSettings as BadSettings
from oracle_worker.settings_file import suggestion

OF_COORDINATORS = frozenset(
    {"poll_seconds", "recheck_seconds", "database", "retry_seconds", "turn_seconds", "examine_unseated"}
)
"""Settings that a worker does not have; a file or an environment for all processes of an operator has them too."""
ETHER = 10**18

Listed = NoDecode
"""A setting of several values: in the environment they are separated by commas."""


class OperatorSettings(BaseSettings):
    """What all of an operator's processes must agree on: workers and coordinator."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    rpc_url: str = Field(default="http://127.0.0.1:8545", repr=False)  # a provider's key can be in it
    chain_id: int | None = None
    """None: whatever the deployment file says."""
    confirmations: int = Field(default=5, ge=0, le=1000)
    """Blocks on top of one that counts as final, also of the one that closed the commit phase before a reveal."""
    log_range: int = Field(default=2000, ge=1)
    """Blocks asked for at a time when logs are read; fewer where the node refuses that many."""
    deployment: Path = Path("deployment.json")
    broker_url: str = Field(default="memory://", repr=False)  # its password can be in it
    queue_prefix: str = ""
    """Put before queue names, where several operators share a broker."""
    visibility_timeout: int = Field(default=3600, ge=1)
    """Seconds after which a task of a dead process runs again: longer than the longest task."""
    chunk_depth: int = Field(default=CHUNK_DEPTH, ge=0, le=24)
    """Rows in a chunk are 2^chunk_depth."""
    most_items: int = Field(default=1 << 32, ge=1)
    """Jobs of more are left alone."""
    deliver: bool = False
    """Whether to tell the consumers of jobs that the worker had a seat in how they ended."""
    relay_url: str = Field(default="", repr=False)  # a key can be in it
    """Where signed commitments and openings are handed in, for somebody else to send; empty: they are sent from here."""
    token_jobs: ChecksumAddress | None = None
    """The TokenJobs whose jobs the operator works for, and is paid by in tokens; None: token rewards count for nothing."""
    monitoring_port: int | None = Field(default=None, ge=0, le=65535)
    """Where signer and coordinator tell of themselves, on 127.0.0.1; each process needs its own. 0: any; None: nowhere."""
    worker: ChecksumAddress | None = None
    """The signer's address; a coordinator without one only watches."""

    @field_validator("worker", "token_jobs", mode="before")
    @classmethod
    def _address(cls, given: object) -> object:
        return None if given in (None, "") else address.parse(given)

    @field_validator("queue_prefix")
    @classmethod
    def _prefix(cls, given: str) -> str:
        if given and not given.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ValueError("letters, digits, dots, dashes and underscores only")
        return given

    @field_validator("relay_url")
    @classmethod
    def _relay(cls, given: str) -> str:
        if given and not given.startswith(("http://", "https://")):
            raise ValueError("a relay's URL begins with http:// or https://")
        return given.rstrip("/")


class WorkerSettings(OperatorSettings):
    """What one operator's compute and signer need to know. Amounts in wei, times in seconds, sizes in bytes."""

    # the operator's own machines
    work_folder: Path = Path("quorate-worker")
    message_secret: Path | None = None
    """The file of the secret that compute and signer share; work_folder/message.secret unless given."""
    compute_processes: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    """Cores for one inference."""

    # the key: only the signer has it; a plain key comes from QUORATE_PRIVATE_KEY and from nowhere else
    keystore: Path | None = None
    passphrase_file: Path | None = None

    # models and data
    model_folders: Annotated[tuple[Path, ...], Listed] = ()
    data_folders: Annotated[tuple[Path, ...], Listed] = ()
    """Folders below which file: URIs may lead; none, unless given."""
    data_private_addresses: bool = False
    """Whether http(s): URIs may lead to loopback and private networks."""
    data_ipfs_gateways: Annotated[tuple[str, ...], Listed] = ("https://ipfs.io", "https://dweb.link")
    """Web servers that have what ipfs: URIs name below /ipfs/, tried one after the other."""
    data_stores: Annotated[tuple[str, ...], Listed] = ("s3",)
    """Schemes that fsspec reads, as its own configuration says: s3, gs, abfs and whatever else of that kind is installed."""
    data_store_credentials: bool = False
    """Whether to read them with the credentials of that configuration, instead of as anybody."""
    data_mirrors: Annotated[tuple[str, ...], Listed] = ()
    """URIs of folders where data may be found under the hex digits of its root, tried after the job's own URI."""
    data_seconds: float = Field(default=600.0, gt=0)
    """Most seconds for fetching a job's data from one place."""
    data_downloads: int = Field(default=4, ge=1, le=64)
    """Downloads at a time: one that drips holds up no other."""
    data_cache_bytes: int = Field(default=16 << 30, ge=0)
    results_cache_bytes: int = Field(default=16 << 30, ge=0)

    # policy: which jobs to stake on
    allowed_models: Annotated[tuple[str, ...], Listed] = ()
    """Model ids; any that there is a file for, unless given."""
    least_reward_per_item: int = Field(default=0, ge=0)
    """Wei for one seat and one item."""
    least_reward_per_gigamac: int = Field(default=0, ge=0)
    """Wei for one seat and 10^9 multiplications."""
    least_gain: float = Field(default=1.0, ge=0)
    """How many times the gas of commit and reveal at today's price a job's seats must earn; 0: whatever they earn."""
    token_prices: Annotated[tuple[str, ...], Listed] = ()
    """TOKEN=WEI: what one whole token is worth. Tokens that are not named are worth nothing."""
    most_bytes: int = Field(default=16 << 30, ge=1)
    most_macs: int = Field(default=10**16, ge=1)
    speed_margin: float = Field(default=2.0, ge=1)
    """How many times the measured duration must be left in the commit window."""

    # data that cannot be had
    abstain: bool = True
    """Whether to commit to DATA_UNAVAILABLE when a job's data could not be had."""
    least_call_out_fee: int = Field(default=0, ge=0)
    """Wei for one seat, below which that is not worth it."""
    data_tries: int = Field(default=3, ge=1)
    """How often fetching must have failed before that, over at least half of the commit window."""

    # relay
    relay_seconds: float = Field(default=5.0, gt=0, le=60)
    """Most seconds that handing one in may take."""

    # money
    fee_ceiling: int = Field(default=500 * 10**9, ge=1)
    """Most wei for a unit of gas."""
    urgent_fee_ceiling: int | None = Field(default=None, ge=1)
    """The same where the stake depends on it: reveals, answers, refutations. None: twice the fee ceiling."""
    reveals_in_reserve: int = Field(default=4, ge=1)
    """Reveals that the wallet must be able to pay for after a commit."""
    most_bond: int = Field(default=ETHER, ge=0)
    """Most wei for one demand's bond."""
    most_bonds_per_job: int = Field(default=5 * ETHER, ge=0)
    """Most wei for all of a job's bonds."""
    release_batch: int = Field(default=50, ge=1, le=200)
    """Workers released in one transaction."""

    @field_validator(
        "model_folders",
        "data_folders",
        "data_ipfs_gateways",
        "data_stores",
        "data_mirrors",
        "allowed_models",
        "token_prices",
        mode="before",
    )
    @classmethod
    def _split(cls, given: object) -> object:
        return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given

    @field_validator("data_ipfs_gateways")
    @classmethod
    def _gateways(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for one in given:
            if not one.startswith(("http://", "https://")):
                raise ValueError("a gateway's URL begins with http:// or https://")
        return given

    @field_validator("data_stores")
    @classmethod
    def _stores(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for one in given:
            if one in ("file", "local", "http", "https", "ipfs") or not one.isalnum() or one != one.lower():
                raise ValueError("schemes such as s3, gs or abfs; file, http, https and ipfs are followed in any case")
        return given

    @field_validator("allowed_models")
    @classmethod
    def _model_ids(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        ids = tuple(one.lower().removeprefix("0x") for one in given)
        for one in ids:
            if len(one) != 64 or set(one) - set("0123456789abcdef"):
                raise ValueError(f"{one!r} is no model id: 64 hex digits, see `quorate model show`")
        return ids

    @field_validator("token_prices")
    @classmethod
    def _token_prices(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for one in given:
            token, _, price = one.partition("=")
            if not (address.is_address(token.strip()) and price.strip().isascii() and price.strip().isdigit()):
                raise ValueError(
                    f"{one!r} is no TOKEN=WEI: a token's address and the wei that one whole token is worth"
                )
            address.parse(token.strip())
        return given

    @property
    def prices(self) -> dict[ChecksumAddress, int]:
        """Wei for one whole token, by the token's address."""
        named = (one.partition("=") for one in self.token_prices)
        return {address.parse(token.strip()): int(price) for token, _, price in named}

    @property
    def secret_path(self) -> Path:
        """Where the message secret is."""
        return self.message_secret or self.work_folder / "message.secret"

    @property
    def passport_folder(self) -> Path:
        """Where it is kept on which models this machine was found exact."""
        return self.work_folder / "passports"


_Kind = TypeVar("_Kind", bound=OperatorSettings)


def load(**given: Any) -> WorkerSettings:
    """Settings: `given` before the environment before the file. Raises BadSettings, which names keys and shows no values."""
    return load_as(WorkerSettings, given)


def load_as(kind: type[_Kind], given: dict[str, Any], environment: Mapping[str, str] | None = None) -> _Kind:
    """Settings of one kind, as `load`. Raises BadSettings."""
    surroundings = os.environ if environment is None else environment
    known = known_keys(kind)
    if unknown := sorted(set(given) - set(kind.model_fields)):
        raise BadSettings("; ".join(f"there is no setting {key}{suggestion(key, known)}" for key in unknown))
    settings_file.check_variables(surroundings, known)
    file = surroundings.get(settings_file.VARIABLE)
    said = settings_file.read(Path(file).expanduser(), known) if file else {}
    from_file = {
        key: value
        for key, value in said.items()
        if key in kind.model_fields and key not in given and PREFIX + key.upper() not in surroundings
    }
    try:
        return kind(**from_file, **given)
    except ValidationError as error:
        lines = []
        for one in error.errors():
            key = str(one["loc"][0]) if one["loc"] else "settings"
            where = f"{file}: {key}" if key in from_file else f"{PREFIX}{'.'.join(map(str, one['loc'])).upper()}"
            lines.append(f"{where}: {one['msg']}")
        raise BadSettings("; ".join(lines)) from None


def known_keys(kind: type[OperatorSettings]) -> frozenset[str]:
    """The settings of all of an operator's processes."""
    return frozenset(kind.model_fields) | frozenset(WorkerSettings.model_fields) | OF_COORDINATORS
