"""The ways to a job's data: the URIs that the requester announced, then what the operator added to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from oracle_worker.data_errors import DataRefused
from oracle_worker.settings import WorkerSettings

MOST_ANNOUNCED = 8
"""URIs of one job that are followed."""
_CID = re.compile(r"[A-Za-z0-9]{32,128}")


@dataclass(frozen=True, slots=True)
class Route:
    """Where data may be found."""

    uri: str
    """file:, http(s): or another scheme that is read directly; never ipfs:."""
    is_operators: bool = False
    """Whether the operator named the server: then it may be on a private network."""

    def roots_route(self) -> Route | None:
        """Where the roots of the data's pieces may lie beside it; None if nothing can lie there."""
        return None if "?" in self.uri or "#" in self.uri else Route(f"{self.uri}.roots", self.is_operators)


def routes(data_uri: str, data_root: bytes, settings: WorkerSettings) -> list[Route]:
    """Every way there is, in the order to try them. Several announced URIs are separated by spaces; an ipfs: URI leads to
    each of the operator's gateways; a mirror has the data under the hex digits of its root.

    Raises DataRefused for an ipfs: URI that is none, or without a gateway.
    """
    announced = data_uri.split(" ") if data_uri else []
    if not announced or len(announced) > MOST_ANNOUNCED:
        raise DataRefused(data_uri, f"it announces {len(announced)} URIs: 1 to {MOST_ANNOUNCED} are followed")
    found = [way for uri in announced for way in _ways(uri, settings)]
    return [*found, *(Route(f"{mirror.rstrip('/')}/{data_root.hex()}", True) for mirror in settings.data_mirrors)]


def _ways(uri: str, settings: WorkerSettings) -> list[Route]:
    if uri.partition(":")[0].lower() != "ipfs":
        return [Route(uri)]
    path = ipfs_path(uri)
    if not settings.data_ipfs_gateways:
        raise DataRefused(uri, "it needs a gateway, and there is none (QUORATE_DATA_IPFS_GATEWAYS)")
    return [Route(f"{gateway.rstrip('/')}/ipfs/{path}", True) for gateway in settings.data_ipfs_gateways]


def ipfs_path(uri: str) -> str:
    """What stands after /ipfs/ in a gateway's URL. Raises DataRefused."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise DataRefused(uri, "it is not a URI") from error
    names = [unquote(name) for name in parts.path.split("/")[1:]]
    is_plain = all(name not in ("", ".", "..") and "/" not in name and "\\" not in name for name in names)
    if not _CID.fullmatch(parts.netloc) or parts.query or parts.fragment or not is_plain:
        raise DataRefused(uri, "an ipfs: URI is ipfs://CID or ipfs://CID/NAME")
    return f"{parts.netloc}{parts.path}"
