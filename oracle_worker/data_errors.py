"""What keeps a job's data from being used, and how a URI is shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from oracle_worker.result import WorkerError


class DataError(WorkerError):
    """A job's data cannot be used."""


class DataMismatch(DataError):
    """The Merkle root of the data, or of a chunk of it, is not the one that it should be."""

    def __init__(self, expected: bytes, got: bytes) -> None:
        super().__init__(f"the data's root is 0x{got.hex()}, the job says 0x{expected.hex()}: it is other data")
        self.expected = expected
        self.got = got


class DataSizeMismatch(DataError):
    """The data has another size than the job's items make (bytes; `got` is what was read before stopping)."""

    def __init__(self, expected: int, got: int) -> None:
        shown = f"more than {expected}" if got > expected else str(got)
        super().__init__(f"the data has {shown} bytes, the job's items make {expected}: it is other data")
        self.expected = expected
        self.got = got


class DataUnavailable(DataError):
    """The data could not be had; another try may succeed."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"{shown_uri(uri)}: {reason}")
        self.reason = reason


class DataNotHere(DataError):
    """The data is not in this machine's cache: it must be fetched first."""

    def __init__(self, data_root: bytes) -> None:
        super().__init__(f"the data of root 0x{data_root.hex()} is not in the cache")
        self.data_root = data_root


class DataRefused(DataError):
    """The operator's settings or disk do not let the data be fetched."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"{shown_uri(uri)}: {reason}")
        self.reason = reason


def shown_uri(uri: str) -> str:
    """The URI for one line of text: escaped, cut, and without the user, password and query that it may hold."""
    try:
        parts = urlsplit(uri)
        uri = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        pass
    return ascii(uri[:200])[1:-1]
