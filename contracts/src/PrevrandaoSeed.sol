// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ISeedSource} from "./interfaces/ISeedSource.sol";
import {BlockHeader} from "./libraries/BlockHeader.sol";

/// @notice A past block's prevrandao, shown by the block's header. The proposers of the blocks before it decide the value:
/// whoever proposes the last of them, or the block itself, may skip that block to reject one value (one bit of influence,
/// at the price of the block); several of those blocks in one hand are known to it together.
contract PrevrandaoSeed is ISeedSource {
    /// The header does not hash to the block's hash, or the block is not among the last 256.
    error HeaderMismatch(uint256 blockNumber, bytes32 blockHash, bytes32 headerHash);

    /// @inheritdoc ISeedSource
    /// @param proof The block's header, RLP-encoded.
    function randomness(uint256 blockNumber, bytes calldata proof) external view returns (bytes32) {
        bytes32 blockHash = blockhash(blockNumber);
        bytes32 headerHash = keccak256(proof);
        if (headerHash != blockHash) revert HeaderMismatch(blockNumber, blockHash, headerHash);
        return BlockHeader.prevrandao(proof);
    }
}
