// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Where the draw's randomness comes from. Fixed at deployment, so that other chains and tests can have another.
interface ISeedSource {
    /// @param blockNumber The one block whose randomness counts.
    /// @param proof What shows it; its form is the source's own.
    /// @return The block's randomness: the same for every caller and every valid proof. Reverts if the proof is not valid.
    function randomness(uint256 blockNumber, bytes calldata proof) external view returns (bytes32);
}
