"""Which texts of strangers may become links."""

from __future__ import annotations

from urllib.parse import urlsplit

from coordinator.explorer.field_types import LONGEST_TEXT

_FORBIDDEN = frozenset("\\\"'<>`{}|^\x7f")


def link_of(uri: str) -> str | None:
    """The address to which a link with this text may lead: https and ipfs only. None where there shall be no link.

    Whatever a browser would read otherwise than `urlsplit` does is no link: white space, control and non-ASCII
    characters, a backslash, a user name in the authority.
    """
    if not uri or len(uri) > LONGEST_TEXT or not uri.isascii() or any(c <= " " or c in _FORBIDDEN for c in uri):
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("https", "ipfs") or not parts.hostname or "@" in parts.netloc:
        return None
    return uri
