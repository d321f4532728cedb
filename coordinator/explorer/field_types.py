"""What the fields of the read model are, in Python and in JSON.

In Python amounts are int wei and hashes bytes; in JSON amounts are decimal strings and hashes 0x and hex digits. Text that
anybody on the chain can choose is cut at LONGEST_TEXT characters.
"""

from __future__ import annotations

from typing import Annotated

from eth_typing import ChecksumAddress
from pydantic import PlainSerializer, WithJsonSchema

from contracts.job import Phase

LONGEST_TEXT = 2_048
"""Characters of a text from the chain that are shown."""


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


Wei = Annotated[
    int, PlainSerializer(str, return_type=str), WithJsonSchema({"type": "string", "pattern": "^-?[0-9]{1,78}$"})
]
"""An amount; in JSON a decimal string."""
Hash = Annotated[
    bytes, PlainSerializer(_hex, return_type=str), WithJsonSchema({"type": "string", "pattern": "^0x[0-9a-f]{64}$"})
]
"""32 bytes: the id of a job or a model, a root, a leaf, a transaction."""
Octets = Annotated[
    bytes, PlainSerializer(_hex, return_type=str), WithJsonSchema({"type": "string", "pattern": "^0x([0-9a-f]{2})*$"})
]
"""Bytes of any number."""
Address = Annotated[
    ChecksumAddress,
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}),
]
"""An account, with its checksum."""
Text = Annotated[str, WithJsonSchema({"type": "string", "maxLength": LONGEST_TEXT})]
"""Text that a stranger chose: show it as text, never as markup or as a link to follow unasked."""
PhaseName = Annotated[
    Phase,
    PlainSerializer(lambda phase: phase.name.lower(), return_type=str),
    WithJsonSchema({"type": "string", "enum": [phase.name.lower() for phase in Phase]}),
]
"""A phase; in JSON its name."""
