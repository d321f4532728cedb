// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Bytes in memory: words and numbers of them, and whole byte strings
library Memory {
    function byteAt(uint256 place) internal pure returns (uint256) {
        return word(place) >> 248;
    }

    function number(uint256 place) internal pure returns (uint256) {
        return word(place) >> 224;
    }

    function word(uint256 place) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(place)
        }
    }

    /// @dev `count` bytes from `source` on, each `stride` behind the one before.
    function pick(uint256 source, uint256 stride, uint256 to, uint256 count) internal pure {
        assembly ("memory-safe") {
            for { let end := add(to, count) } lt(to, end) { to := add(to, 1) } {
                mstore8(to, byte(0, mload(source)))
                source := add(source, stride)
            }
        }
    }

    /// @dev Up to 31 bytes behind are written too.
    function fill(uint256 to, uint256 count, uint256 value) internal pure {
        assembly ("memory-safe") {
            value := mul(value, div(not(0), 255))
            for { let end := add(to, count) } lt(to, end) { to := add(to, 32) } { mstore(to, value) }
        }
    }

    function move(uint256 from, uint256 to, uint256 length) internal pure {
        assembly ("memory-safe") {
            mcopy(to, from, length)
        }
    }

    function zero(uint256 place, uint256 length) internal pure {
        assembly ("memory-safe") {
            calldatacopy(place, calldatasize(), length)
        }
    }

    function clear(uint256 place) internal pure {
        assembly ("memory-safe") {
            mstore(place, 0)
        }
    }

    function storeByte(uint256 place, uint256 value) internal pure {
        assembly ("memory-safe") {
            mstore8(place, value)
        }
    }

    /// @dev `count` bytes from `source` on, to places that are `apart` from each other.
    function scatter(uint256 source, uint256 count, uint256 to, uint256 apart) internal pure {
        assembly ("memory-safe") {
            for { let end := add(source, count) } lt(source, end) { source := add(source, 1) } {
                mstore8(to, byte(0, mload(source)))
                to := add(to, apart)
            }
        }
    }

    function largest(uint256 place, uint256 count) internal pure returns (uint256 most) {
        assembly ("memory-safe") {
            for { let end := add(place, count) } lt(place, end) { place := add(place, 1) } {
                let value := byte(0, mload(place))
                most := xor(most, mul(xor(most, value), gt(value, most)))
            }
        }
    }

    /// @dev round_half_even(Σ / count)
    function mean(uint256 place, uint256 count) internal pure returns (uint256 quotient) {
        uint256 total = sum(place, count);
        assembly ("memory-safe") {
            quotient := div(total, count)
            let twice := shl(1, mod(total, count))
            quotient := add(quotient, or(gt(twice, count), and(eq(twice, count), and(quotient, 1))))
        }
    }

    /// @dev Σx of up to 98,304 bytes. Zeros are written behind the last one.
    function sum(uint256 x, uint256 count) internal pure returns (uint256 total) {
        assembly ("memory-safe") {
            mstore(add(x, count), 0)
            let pairs := div(not(0), 257)
            for { let end := add(x, count) } lt(x, end) { x := add(x, 32) } {
                let each := mload(x)
                // Pairs of at most 510 add up to their sum modulo 2^16 − 1.
                total := add(total, mod(add(and(each, pairs), and(shr(8, each), pairs)), 0xffff))
            }
        }
    }
}
