// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Bytes kept as contract code, behind a STOP: nobody can run or destroy them
library CodeStorage {
    uint256 internal constant CHUNK = 24_575; // bytes in a contract of 24,576, the first being STOP

    /// @notice What creates a contract of STOP and `length` bytes if these follow: ten bytes that return what is behind
    /// them, and STOP. Behind STOP no code can run, so nobody can make such a contract destroy itself.
    /// @param length at most CHUNK
    function creationPrefix(uint256 length) internal pure returns (bytes11) {
        // PUSH2 length, DUP1, PUSH1 10, RETURNDATASIZE, CODECOPY, RETURNDATASIZE, RETURN, STOP
        return bytes11(uint88(0x61000080600a3d393df300 | (length + 1) << 64));
    }

    /// @notice Create a contract at the address that `code` and `salt` determine; zero if that fails.
    function create(bytes memory code, bytes32 salt) internal returns (address made) {
        assembly ("memory-safe") {
            made := create2(0, add(code, 32), mload(code), salt)
        }
    }

    /// @notice What lies behind the STOP of such a contract.
    function read(address made) internal view returns (bytes memory content) {
        uint256 length = made.code.length - 1;
        content = allocateBytes(length);
        assembly ("memory-safe") {
            extcodecopy(made, add(content, 32), 1, length)
        }
    }

    /// @notice Full chunks and `last` in one piece.
    function assemble(address[] memory chunks, bytes calldata last) internal view returns (bytes memory whole) {
        unchecked {
            uint256 stored = chunks.length * CHUNK;
            whole = allocateBytes(stored + last.length);
            uint256 place;
            assembly ("memory-safe") {
                place := add(whole, 32)
                calldatacopy(add(place, stored), last.offset, last.length)
            }
            copy(chunks, 0, stored, place);
        }
    }

    /// @notice Copy bytes `position` … `position + length` of what lies in these chunks into memory at `to`.
    function copy(address[] memory chunks, uint256 position, uint256 length, uint256 to) internal view {
        unchecked {
            if (position + length <= CHUNK && length != 0) {
                address only = chunks[0];
                assembly ("memory-safe") {
                    extcodecopy(only, to, add(position, 1), length)
                }
                return;
            }
            uint256 index = position / CHUNK;
            uint256 within = position % CHUNK;
            while (length != 0) {
                uint256 part = CHUNK - within;
                if (part > length) part = length;
                address chunk = chunks[index];
                assembly ("memory-safe") {
                    extcodecopy(chunk, to, add(within, 1), part)
                }
                to += part;
                length -= part;
                within = 0;
                ++index;
            }
        }
    }

    /// @notice Memory for `length` bytes and a word beyond, since readers and writers of whole words reach past the end.
    function allocate(uint256 length) internal pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := mload(0x40)
            mstore(0x40, add(place, and(add(length, 95), not(31))))
        }
    }

    function allocateBytes(uint256 length) internal pure returns (bytes memory made) {
        uint256 place = allocate(length + 32);
        assembly ("memory-safe") {
            made := place
            mstore(made, length)
        }
    }
}
