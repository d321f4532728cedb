"""Addresses as people and files write them: the one rule for which are taken."""

from __future__ import annotations

from eth_typing import ChecksumAddress
from eth_utils.address import is_checksum_address, is_hex_address, to_checksum_address


class BadAddress(ValueError):
    """Text that is no address, or one with a typing error in it."""

    def __init__(self) -> None:
        super().__init__("0x and 40 hexadecimal digits; in mixed case they hold a checksum, and this one may be wrong")


def parse(text: object) -> ChecksumAddress:
    """The address that a text means; digits in mixed case are a checksum and must be right. Raises BadAddress."""
    if not isinstance(text, str) or not is_hex_address(text):
        raise BadAddress
    digits = text[-40:]
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address("0x" + digits):
        raise BadAddress
    return to_checksum_address(text)


def is_address(text: object) -> bool:
    """Whether `parse` takes it."""
    try:
        parse(text)
    except BadAddress:
        return False
    return True
