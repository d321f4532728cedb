// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

uint256 constant BLOCK = 34; // inputs whose weights, digits of seven bits, make one number
uint256 constant BLOCK_BYTES = 30; // of that number
uint256 constant LANES_BYTES = 96; // of a block's activations: three words
uint256 constant PREAMBLE = 5; // of a channel's record before its weights: bias and binary places

/// @title How long a channel's record is, and what its inputs take as lanes (docs/program.md)
/// @dev The twin of models/weight_blocks.py.
library WeightBlocks {
    function recordLength(uint256 inputs) internal pure returns (uint256) {
        unchecked {
            return PREAMBLE + inputs / BLOCK * BLOCK_BYTES + (inputs % BLOCK * 7 + 7) / 8;
        }
    }

    /// @notice Bytes of memory for the lanes of so many activations and the word behind them.
    function lanesLength(uint256 inputs) internal pure returns (uint256) {
        unchecked {
            return (inputs + BLOCK - 1) / BLOCK * LANES_BYTES + 32;
        }
    }
}
