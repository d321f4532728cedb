// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleProof} from "./MerkleProof.sol";

/// @notice What disputes cost at most, in gas, from public facts alone: bonds and minimum stakes are computed from it, never
/// chosen. Bytes are priced at 40 gas, the calldata floor of EIP-7623. Twin: contracts/gas_budget.py.
library GasBudget {
    uint256 internal constant GAS_PER_BYTE = 40;
    /// A transaction's base, storage and logs of a refutation or an answer, beyond its bytes and the execution.
    uint256 internal constant FIXED_GAS = 100_000;
    /// Job, positions and array headers in calldata, in bytes.
    uint256 internal constant FIXED_BYTES = 1_024;
    /// How much more than its cost a bond or a bounty must be worth.
    uint256 internal constant MARGIN = 4;

    /// @param depth Of the job's trees.
    /// @return Gas of an answer at `level`.
    function answer(uint256 level, uint256 depth, uint256 rowLength) internal pure returns (uint256) {
        uint256 nodeDepth = MerkleProof.levelDepth(level, depth);
        uint256 length = level == MerkleProof.lastLevel(depth)
            ? rowLength + 64 * depth
            : 32 * (nodeDepth + (1 << (MerkleProof.levelDepth(level + 1, depth) - nodeDepth)));
        return FIXED_GAS + GAS_PER_BYTE * (FIXED_BYTES + length);
    }

    /// @param executionGas What the model took at registration.
    /// @return Gas of a refutation.
    function refutation(uint256 executionGas, uint256 depth, uint256 rowLength) internal pure returns (uint256) {
        return FIXED_GAS + executionGas + GAS_PER_BYTE * (FIXED_BYTES + rowLength + 64 * depth);
    }

    /// @return Gas of a refutation and of the answers that lead to its leaf.
    function dispute(uint256 executionGas, uint256 depth, uint256 rowLength) internal pure returns (uint256) {
        uint256 total = refutation(executionGas, depth, rowLength);
        uint256 last = MerkleProof.lastLevel(depth);
        for (uint256 level = 0; level <= last; level++) {
            total += answer(level, depth, rowLength);
        }
        return total;
    }
}
