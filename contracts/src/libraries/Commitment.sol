// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// How far a worker's seats in one job have come.
enum SeatStatus {
    None,
    Sealed, // committed, not revealed
    Revealed,
    Released
}

/// A worker's seats in one job, one storage slot. `digest` is the commitment while sealed and the root once revealed, cut
/// to 29 bytes: finding two openings of one digest still takes 2^116 hashes within one commit window.
struct Seat {
    bytes29 digest;
    uint16 count;
    SeatStatus status;
}

/// @notice Salted commitments, bound to chain, contract and job (through the id) and to the worker: a copy is worthless.
/// Twin: contracts/commitment.py.
library CommitmentLibrary {
    function compute(bytes32 jobId, address worker, bytes32 root, bytes32 salt) internal pure returns (bytes32) {
        return keccak256(abi.encode(jobId, worker, root, salt));
    }
}
