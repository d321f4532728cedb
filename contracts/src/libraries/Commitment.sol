// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// How far a worker's seats in one job have come.
enum SeatStatus {
    None,
    Sealed, // committed, not revealed
    Revealed,
    Released
}

/// A worker's seats in one job, one storage slot. `digest` is the commitment while sealed, cut to 29 bytes, and the root's
/// digest (digestOf) once revealed: finding two openings of one digest still takes 2^116 hashes.
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

    /// What names a root in 29 bytes. Hashed before it is cut: a root's first bytes alone would name every word that begins
    /// like it, and one that nobody can answer for would pass for one that won.
    function digestOf(bytes32 root) internal pure returns (bytes29) {
        return bytes29(keccak256(abi.encode(root)));
    }
}
