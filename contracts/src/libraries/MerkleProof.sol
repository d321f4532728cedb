// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Merkle trees of inputs and results
/// @notice SHA-256 over perfect trees: leaves are padded with 32 zero bytes up to the next power of two, a node is
/// sha256(left ‖ right), siblings are listed from the leaf upwards. Twin of contracts/merkle.py.
/// @dev Position is part of every proof: the depth follows from the item count and the bits of the index say left or
/// right, so one leaf cannot be shown at two places. Nothing marks leaves apart from nodes, because nothing needs to: a
/// proof has exactly `depth` siblings, so a 64-byte row cannot pass for a node or a node for a row. The depth must
/// therefore come from the job's terms (depthOf, levelDepth), never from whoever brings the proof.
library MerkleProof {
    /// @notice A tree has 1 to 2^64 items: an index is eight bytes in a result leaf.
    error CountOutOfRange(uint256 count);
    /// @notice A result leaf's index must be below 2^64; it would be cut off silently otherwise.
    error IndexOutOfRange(uint256 index);
    /// @notice Only 1, 2, 4, 8 … nodes have a root.
    error NotPowerOfTwo(uint256 count);

    /// @dev A dispute descends this many binary levels with each answer: 16 nodes.
    uint256 internal constant ARITY_BITS = 4;

    /// @notice Depth of the tree over `count` items: the least d with 2^d ≥ count.
    function depthOf(uint256 count) internal pure returns (uint256 depth) {
        if (count == 0 || count > 1 << 64) revert CountOutOfRange(count);
        unchecked {
            uint256 rest = count - 1;
            for (uint256 bits = 32; bits != 0; bits >>= 1) {
                if (rest >> bits != 0) {
                    rest >>= bits;
                    depth += bits;
                }
            }
            depth += rest; // what is left of count - 1 is its top bit, or nothing if count was 1
        }
    }

    /// @notice Binary depth of dispute level `level` in a tree of `depth`: min(4 · level, depth).
    function levelDepth(uint256 level, uint256 depth) internal pure returns (uint256) {
        // Compared before multiplied: no level is so large that it wraps round to a small one.
        return level < lastLevel(depth) ? level * ARITY_BITS : depth;
    }

    /// @notice The dispute level of the leaves: ⌈depth / 4⌉.
    function lastLevel(uint256 depth) internal pure returns (uint256) {
        return (depth + ARITY_BITS - 1) / ARITY_BITS;
    }

    /// @notice Leaf of an input row: sha256(row).
    function inputLeaf(bytes calldata row) internal pure returns (bytes32) {
        return sha256(row);
    }

    /// @notice Leaf of a result: sha256(index as 8 bytes, big endian ‖ output).
    function resultLeaf(uint256 index, bytes memory output) internal pure returns (bytes32) {
        if (index > type(uint64).max) revert IndexOutOfRange(index);
        return sha256(abi.encodePacked(uint64(index), output));
    }

    /// @notice Leaf of a verification set: sha256(index as 8 bytes, big endian ‖ output ‖ salt).
    function goldLeaf(uint256 index, bytes calldata output, bytes32 salt) internal pure returns (bytes32) {
        if (index > type(uint64).max) revert IndexOutOfRange(index);
        return sha256(abi.encodePacked(uint64(index), output, salt));
    }

    /// @notice Whether `leaf` stands at `index` of the tree of `depth` under `root`. The same function proves an inner
    /// node: give its own depth and its index within that depth.
    /// @param siblings the other child at each step, from the leaf's sibling to the root's child
    /// @return whether it does; false, too, unless there are exactly `depth` siblings and index < 2^depth
    /// @dev The padding's zero leaves can be proved like any other: whoever needs index < itemCount checks that.
    function verify(bytes32 root, uint256 depth, uint256 index, bytes32 leaf, bytes32[] calldata siblings)
        internal
        view
        returns (bool)
    {
        if (siblings.length != depth || index >> depth != 0) return false;
        bytes32 node;
        // Each pair is laid out in the 64 bytes of scratch space, so no memory is allocated or expanded. A node goes to
        // 0x00 or 0x20 by arithmetic on its index bit and its sibling to the other place: no branch, so a proof's gas
        // depends on its depth and not on its index. The precompile writes each hash where the next pair wants it
        // (after the last sibling no bit of the index is left: 0x00). Success is gathered and looked at once: a call
        // fails only for want of gas, and then not even an error could be encoded. Where address 2 has no precompile
        // the calls "succeed" and return nothing, which would leave nodes in place as hashes: so the answer's size is
        // checked too.
        assembly ("memory-safe") {
            let hashed := 1
            let place := shl(5, and(index, 1))
            mstore(place, leaf)
            let end := add(siblings.offset, shl(5, depth))
            for { let at := siblings.offset } lt(at, end) { at := add(at, 0x20) } {
                mstore(xor(place, 0x20), calldataload(at))
                index := shr(1, index)
                place := shl(5, and(index, 1))
                hashed := and(staticcall(gas(), 2, 0x00, 0x40, place, 0x20), hashed)
            }
            if iszero(and(hashed, or(iszero(depth), eq(returndatasize(), 0x20)))) { revert(0, 0) }
            node := mload(0x00)
        }
        return node == root;
    }

    /// @notice Root of the perfect tree that has exactly `nodes` as its lowest level.
    /// @dev Reverts with NotPowerOfTwo for 0, 3, 5 … nodes: padding here would let two lists share one root.
    function rootOf(bytes32[] calldata nodes) internal view returns (bytes32 root) {
        uint256 count = nodes.length;
        if (count == 0 || count & (count - 1) != 0) revert NotPowerOfTwo(count);
        // Level after level is hashed in place, in memory above the free pointer that nobody holds: pair i (64 bytes)
        // is read whole before its hash is written at node i (32 bytes), which is never above the pair.
        assembly ("memory-safe") {
            let level := mload(0x40)
            calldatacopy(level, nodes.offset, shl(5, count))
            let hashed := 1
            for { } gt(count, 1) { } {
                count := shr(1, count)
                for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                    let node := add(level, shl(5, i))
                    hashed := and(staticcall(gas(), 2, add(node, shl(5, i)), 0x40, node, 0x20), hashed)
                }
            }
            if iszero(and(hashed, or(eq(nodes.length, 1), eq(returndatasize(), 0x20)))) { revert(0, 0) }
            root := mload(level)
        }
    }

    /// @notice Root of the perfect tree over `level`, a power of two of nodes, which is used up.
    function foldIn(bytes32[] memory level) internal pure returns (bytes32) {
        for (uint256 count = level.length / 2; count != 0; count /= 2) {
            for (uint256 i = 0; i < count; i++) {
                level[i] = sha256(abi.encode(level[2 * i], level[2 * i + 1]));
            }
        }
        return level[0];
    }
}
