// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleProof} from "../../contracts/src/libraries/MerkleProof.sol";

/// @title Opens MerkleProof to the tests, beside the same functions written without assembly
contract MerkleProofHarness {
    function depthOf(uint256 count) external pure returns (uint256) {
        return MerkleProof.depthOf(count);
    }

    function levelDepth(uint256 level, uint256 depth) external pure returns (uint256) {
        return MerkleProof.levelDepth(level, depth);
    }

    function lastLevel(uint256 depth) external pure returns (uint256) {
        return MerkleProof.lastLevel(depth);
    }

    function inputLeaf(bytes calldata row) external pure returns (bytes32) {
        return MerkleProof.inputLeaf(row);
    }

    function resultLeaf(uint256 index, bytes memory output) external pure returns (bytes32) {
        return MerkleProof.resultLeaf(index, output);
    }

    function verify(bytes32 root, uint256 depth, uint256 index, bytes32 leaf, bytes32[] calldata siblings)
        external
        view
        returns (bool)
    {
        return MerkleProof.verify(root, depth, index, leaf, siblings);
    }

    function rootOf(bytes32[] calldata nodes) external view returns (bytes32) {
        return MerkleProof.rootOf(nodes);
    }

    /// @return used gas of MerkleProof.verify alone, without calldata or dispatch
    function gasOfVerify(bytes32 root, uint256 depth, uint256 index, bytes32 leaf, bytes32[] calldata siblings)
        external
        view
        returns (uint256 used)
    {
        uint256 before = gasleft();
        bool proved = MerkleProof.verify(root, depth, index, leaf, siblings);
        used = before - gasleft();
        require(proved, "the proof does not hold");
    }

    /// @return used gas of MerkleProof.rootOf alone
    function gasOfRootOf(bytes32[] calldata nodes) external view returns (uint256 used) {
        uint256 before = gasleft();
        bytes32 root = MerkleProof.rootOf(nodes);
        used = before - gasleft();
        require(root != 0, "no list of nodes has the root zero");
    }

    /// @return intact whether memory that Solidity had allocated, its zero slot and its free pointer survive both loops
    function memorySurvives(bytes32[] calldata nodes) external view returns (bool intact) {
        bytes memory kept = abi.encode(nodes);
        bytes32 before = keccak256(kept);
        MerkleProof.verify(0, nodes.length, 0, 0, nodes);
        MerkleProof.rootOf(nodes);
        bytes memory later = abi.encode(nodes);
        bytes memory none;
        return keccak256(kept) == before && keccak256(later) == before && none.length == 0;
    }

    function naiveDepthOf(uint256 count) external pure returns (uint256 depth) {
        if (count == 0 || count > 2 ** 64) revert MerkleProof.CountOutOfRange(count);
        while (2 ** depth < count) depth++;
    }

    function naiveVerify(bytes32 root, uint256 depth, uint256 index, bytes32 leaf, bytes32[] calldata siblings)
        external
        pure
        returns (bool)
    {
        if (siblings.length != depth) return false;
        for (uint256 i = 0; i < siblings.length; i++) {
            bool right = index % 2 == 1;
            leaf = right ? sha256(abi.encode(siblings[i], leaf)) : sha256(abi.encode(leaf, siblings[i]));
            index /= 2;
        }
        return index == 0 && leaf == root;
    }

    function naiveRootOf(bytes32[] calldata nodes) external pure returns (bytes32) {
        bytes32[] memory level = nodes;
        while (level.length > 1) {
            if (level.length % 2 == 1) revert MerkleProof.NotPowerOfTwo(nodes.length);
            bytes32[] memory above = new bytes32[](level.length / 2);
            for (uint256 i = 0; i < above.length; i++) {
                above[i] = sha256(abi.encode(level[2 * i], level[2 * i + 1]));
            }
            level = above;
        }
        if (level.length == 0) revert MerkleProof.NotPowerOfTwo(0);
        return level[0];
    }
}
