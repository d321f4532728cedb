// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Reads prevrandao from an RLP-encoded block header whose keccak256 the caller has checked: the shape of a true
/// header is fixed, so only the lengths that vary are walked. https://eips.ethereum.org/EIPS/eip-4399
library BlockHeader {
    /// prevrandao's place among the header's fields.
    uint256 private constant PREVRANDAO_FIELD = 13;

    error MalformedHeader(uint256 offset);

    function prevrandao(bytes calldata header) internal pure returns (bytes32) {
        uint256 offset = _contentOffset(header);
        for (uint256 field = 0; field < PREVRANDAO_FIELD; field++) {
            offset = _skip(header, offset);
        }
        if (offset + 33 > header.length || header[offset] != 0xa0) revert MalformedHeader(offset);
        return bytes32(header[offset + 1:offset + 33]);
    }

    /// A header is a list longer than 55 bytes: one byte 0xf7 + length of length, then the length.
    function _contentOffset(bytes calldata header) private pure returns (uint256) {
        if (header.length == 0 || uint8(header[0]) <= 0xf7) revert MalformedHeader(0);
        return 1 + uint8(header[0]) - 0xf7;
    }

    /// The offset past the string that starts at `offset`.
    function _skip(bytes calldata header, uint256 offset) private pure returns (uint256) {
        if (offset >= header.length) revert MalformedHeader(offset);
        uint256 prefix = uint8(header[offset]);
        if (prefix < 0x80) return offset + 1;
        if (prefix < 0xb8) return offset + 1 + prefix - 0x80;
        if (prefix >= 0xc0) revert MalformedHeader(offset);
        uint256 lengthBytes = prefix - 0xb7;
        if (offset + 1 + lengthBytes > header.length) revert MalformedHeader(offset);
        uint256 length = 0;
        for (uint256 i = 0; i < lengthBytes; i++) {
            length = (length << 8) | uint8(header[offset + 1 + i]);
        }
        // A length near 2^64 must not wrap: it is compared with what is there at the next field.
        return offset + 1 + lengthBytes + length;
    }
}
