"""The tests that the documents name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
DEFINED = {
    name
    for path in PROJECT.glob("tests/**/*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("document", ["docs/security.md", "docs/protocol.md"])
def test_every_test_that_a_document_names_exists(document: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (PROJECT / document).read_text()))
    assert len(named) > 10
    assert not named - DEFINED
