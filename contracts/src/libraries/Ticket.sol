// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice The draw: every whole seatStake of a worker's stake is a ticket, and each ticket wins on its own, so that
/// splitting a stake over addresses changes nothing. Twin: contracts/stake.py.
library TicketLibrary {
    /// @return The seed of a job's draw.
    /// @dev Eight bytes are as unpredictable as the draw needs, and spare it a storage slot.
    function seedOf(bytes32 randomness, bytes32 jobId) internal pure returns (bytes8) {
        return bytes8(keccak256(abi.encode(randomness, jobId)));
    }

    /// @notice How much the odds have grown: doubled at 1/2, 3/4, 7/8 … of the commit window, so that absent stake does
    /// not kill the job.
    /// @param window Length of the commit window, in seconds.
    /// @param remaining Seconds of it that are left, 0 < remaining <= window.
    /// @return factor The largest power of two not above window / remaining.
    function oddsFactor(uint256 window, uint256 remaining) internal pure returns (uint256 factor) {
        factor = 1;
        while (2 * factor * remaining <= window) factor *= 2;
    }

    /// @param expectedStake factor · seats · seatStake, in wei: what the jury is expected to hold.
    /// @param totalStake Wei of all stake, < 2^96.
    /// @return Whether the worker's ticket number `ticket` wins.
    function wins(bytes8 seed, address worker, uint256 ticket, uint256 expectedStake, uint256 totalStake)
        internal
        pure
        returns (bool)
    {
        if (expectedStake >= totalStake) return true;
        return (uint256(keccak256(abi.encode(seed, worker, ticket))) >> 128) * totalStake < expectedStake << 128;
    }
}
