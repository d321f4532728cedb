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

/// A Seat as storage holds it: its fields from the highest bit down, read once and written once.
type PackedSeat is uint256;

using CommitmentLibrary for PackedSeat global;

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

    // ---- Seats ----

    function seal(bytes27 digest, bytes3 jobTag, uint256 seats) internal pure returns (PackedSeat) {
        uint256 names = uint256(bytes32(digest)) | uint256(bytes32(jobTag)) >> 216;
        return PackedSeat.wrap(names | seats << 8 | uint256(SeatStatus.Sealed));
    }

    /// A sealed seat, opened.
    function open(PackedSeat seat, bytes27 rootDigest) internal pure returns (PackedSeat) {
        uint256 rest = PackedSeat.unwrap(seat) & 0xffffffff00; // tag and count
        return PackedSeat.wrap(uint256(bytes32(rootDigest)) | rest | uint256(SeatStatus.Revealed));
    }

    function holds(PackedSeat seat, bytes27 digest) internal pure returns (bool) {
        return bytes27(bytes32(PackedSeat.unwrap(seat))) == digest;
    }

    function tag(PackedSeat seat) internal pure returns (bytes3) {
        return bytes3(bytes32(PackedSeat.unwrap(seat) << 216));
    }

    function count(PackedSeat seat) internal pure returns (uint256) {
        return uint8(PackedSeat.unwrap(seat) >> 8);
    }

    function status(PackedSeat seat) internal pure returns (SeatStatus) {
        return SeatStatus(uint8(PackedSeat.unwrap(seat)));
    }

    function unpack(PackedSeat seat) internal pure returns (Seat memory) {
        return Seat(bytes27(bytes32(PackedSeat.unwrap(seat))), tag(seat), uint8(count(seat)), status(seat));
    }
}
