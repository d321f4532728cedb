"""Text that came from the chain, a model card or a node: whoever wrote it may want to mislead whoever reads the page.

The browser never parses it as markup (it is only ever the text of an element), so what is left to do is to bound its
length, to show what would be invisible or turn the line around, and to follow no link but the two kinds that are safe.
"""

from __future__ import annotations

import unicodedata
from urllib.parse import urlsplit

MOST_SHOWN = 400
"""Characters of such a text that a page shows; the rest is counted."""
_MOST_LINK = 2048
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols of Unicode that are drawn as nothing."""


def shown(text: str, most: int = MOST_SHOWN, length: int = 0) -> str:
    """The text on one line, at most `most` characters of it; what cannot be seen is written as U+XXXX between brackets.

    length: of the whole, where `text` is already cut.
    """
    kept = "".join(map(_visible, text[:most]))
    left = max(len(text), length) - most
    return f"{kept}… ({left:,} more characters)" if left > 0 else kept


def _visible(character: str) -> str:
    """Itself where it can be seen. Bidi marks are not printable; a hundred combining marks would cover the lines around."""
    if character.isprintable() and character not in _BLANKS and unicodedata.category(character) not in ("Mn", "Me"):
        return character
    return f"⟨U+{ord(character):04X}⟩"


def link(uri: str) -> str | None:
    """The address to which a link with this text may lead: https and ipfs only. None where there shall be no link.

    Whatever a browser would read otherwise than `urlsplit` does is no link: white space, control and non-ASCII
    characters, a backslash, a user name in the authority.
    """
    if not uri or len(uri) > _MOST_LINK or not uri.isascii() or any(c <= " " or c in '\\"<>`{}|^\x7f' for c in uri):
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("https", "ipfs") or not parts.hostname or "@" in parts.netloc:
        return None
    return uri
