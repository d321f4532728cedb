"""Text that came from the chain, a model card or a node: whoever wrote it may want to mislead whoever reads the page.

The browser never parses it as markup (it is only ever the text of an element), so what is left to do is to bound its
length, and to show what would be invisible or turn the line around. What may be a link, explorer/links.py decides.
"""

from __future__ import annotations

import unicodedata

MOST_SHOWN = 400
"""Characters of such a text that a page shows; the rest is counted."""
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
