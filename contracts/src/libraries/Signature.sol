// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SignedCommit} from "../interfaces/IComputeOracle.sol";

/// @notice EIP-712 signatures of commitments that others post. Twin: contracts/signed_commit.py.
library SignatureLibrary {
    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant COMMIT_TYPE = keccak256(
        "Commit(bytes32 jobId,uint8 lane,bytes32 commitment,bytes32 sealedRoot,uint256[] tickets,uint256 deadline)"
    );

    /// @return The domain separator of this contract on this chain.
    function domain() internal view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPE, keccak256("Quorate"), keccak256("1"), block.chainid, address(this))
        );
    }

    /// @return What the worker signs.
    function hashOf(bytes32 separator, bytes32 jobId, SignedCommit calldata one) internal pure returns (bytes32) {
        bytes32 content = keccak256(
            abi.encode(
                COMMIT_TYPE,
                jobId,
                one.lane,
                one.commitment,
                one.sealedRoot,
                keccak256(abi.encodePacked(one.tickets)),
                one.deadline
            )
        );
        return keccak256(abi.encodePacked(hex"1901", separator, content));
    }

    /// @return Whether the worker signed it. The signature is EIP-2098's: the top bit of vs is v − 27, the rest s.
    function isSigned(bytes32 separator, bytes32 jobId, SignedCommit calldata one) internal pure returns (bool) {
        uint8 v = uint8(uint256(one.vs) >> 255) + 27;
        address signer = ecrecover(hashOf(separator, jobId, one), v, one.r, one.vs << 1 >> 1);
        return signer != address(0) && signer == one.worker;
    }
}
