// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// How far a worker's seats in one job have come.
enum SeatStatus {
    None,
    Sealed, // committed, not revealed
    Revealed
}

/// A worker's seats in one job, one storage slot: a *lane* of the worker's. A lane is taken by a commit and free again once
/// its seats are released (Account.lanes says which are taken); what it held stays until the next job overwrites it, since
/// writing a slot that is not zero costs a quarter of a new one.
struct Seat {
    bytes27 digest; // of the job and the commitment; once revealed, of the job and the root
    bytes3 tag; // of the job's seed: tells a worker's jobs apart
    uint8 count;
    SeatStatus status;
}

/// A Seat as storage holds it: packed by hand, so that it is read once and written once.
type PackedSeat is uint256;

using {unpackSeat} for PackedSeat global;

function unpackSeat(PackedSeat packed) pure returns (Seat memory) {
    uint256 word = PackedSeat.unwrap(packed);
    return Seat(bytes27(bytes32(word)), bytes3(bytes32(word << 216)), uint8(word >> 8), SeatStatus(uint8(word)));
}

function packSeat(Seat memory seat) pure returns (PackedSeat) {
    uint256 names = uint256(bytes32(seat.digest)) | uint256(bytes32(seat.tag)) >> 216;
    return PackedSeat.wrap(names | uint256(seat.count) << 8 | uint8(seat.status));
}

/// @notice Salted commitments, bound to chain, contract and job (through the id) and to the worker: a copy is worthless.
/// Twin: contracts/commitment.py.
library CommitmentLibrary {
    /// What a worker reveals as its root if it cannot get data that matches dataRoot.
    bytes32 internal constant DATA_UNAVAILABLE = keccak256("DATA_UNAVAILABLE");

    function compute(bytes32 jobId, address worker, bytes32 root, bytes32 salt) internal pure returns (bytes32) {
        return keccak256(abi.encode(jobId, worker, root, salt));
    }

    /// What a lane holds of a job's commitment, or of a job's root: finding two openings takes 2^108 hashes, and whoever
    /// shows the word shows which job the lane is for.
    function digestOf(bytes32 jobId, bytes32 word) internal pure returns (bytes27) {
        return bytes27(keccak256(abi.encode(jobId, word)));
    }
}
