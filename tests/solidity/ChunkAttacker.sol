// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "../../contracts/src/interfaces/IModelRegistry.sol";

/// @notice Stores a piece of program and calls the chunk in the transaction that made it, the only one in which a
/// contract can still destroy itself; and does the same to code of its own making, to show that the attack is real.
contract ChunkAttacker {
    address public unprotected;

    function attack(IModelRegistry registry, bytes calldata piece, address chunk, bytes memory creationCode) external {
        registry.storeChunk(piece);
        address made;
        assembly ("memory-safe") {
            made := create(0, add(creationCode, 32), mload(creationCode))
        }
        unprotected = made;
        require(made.code.length != 0 && chunk.code.length != 0, "nothing to attack");
        (bool called,) = made.call("");
        (bool calledToo,) = chunk.call("");
        require(called && calledToo, "a call failed");
    }
}
