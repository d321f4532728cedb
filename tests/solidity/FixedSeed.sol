// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ISeedSource} from "../../contracts/src/interfaces/ISeedSource.sol";

/// @notice A seed source whose randomness is known beforehand: the tests' own, since an EVM without a chain has no headers.
contract FixedSeed is ISeedSource {
    /// The proof is not the word "proof".
    error WrongProof(bytes proof);

    /// @inheritdoc ISeedSource
    function randomness(uint256 blockNumber, bytes calldata proof) external pure returns (bytes32) {
        if (keccak256(proof) != keccak256("proof")) revert WrongProof(proof);
        return keccak256(abi.encode(blockNumber));
    }
}
