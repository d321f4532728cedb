// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// A party's entry in the books, one word of storage that is read once and written once; also the sum of all stake (whose
/// other fields stay 0). From the lowest bit:
///
///     56  bonded: gwei of stake; draws tickets; includes what is locked
///     56  locked: gwei held by seats of unreleased jobs
///     32  since: block from whose end `bonded` holds
///     24  lanes: bit i says that lane i holds seats of an unreleased job
///     88  credit: wei that can be withdrawn at once
///
/// Stake comes in whole gwei; 2^56 of them are 72 million coins.
type Account is uint256;

using StakeLibrary for Account global;

/// What `bonded` was, in gwei, from the end of block `since` until the next checkpoint.
struct Checkpoint {
    uint32 since;
    uint56 bonded;
}

/// @notice Stake with its history, lanes and credits. Amounts in and out are wei. Twin: contracts/stake.py.
library StakeLibrary {
    /// How many jobs a worker can have seats in at a time.
    uint256 internal constant LANES = 24;

    uint256 private constant LOCKED = 56; // first bits of the fields
    uint256 private constant SINCE = 112;
    uint256 private constant LANE = 144;
    uint256 private constant CREDIT = 168;

    /// More than 2^88 − 1 wei would be owed to one party: 309 million coins.
    error CreditTooLarge(uint256 credit);

    /// @return Wei bonded.
    function bonded(Account account) internal pure returns (uint256) {
        return uint256(uint56(Account.unwrap(account))) * 1 gwei;
    }

    /// @return Wei held by seats.
    function locked(Account account) internal pure returns (uint256) {
        return uint256(uint56(Account.unwrap(account) >> LOCKED)) * 1 gwei;
    }

    /// @return Wei that can be locked or unbonded.
    function free(Account account) internal pure returns (uint256) {
        return bonded(account) - locked(account);
    }

    /// @return Bit i: lane i is taken.
    function lanes(Account account) internal pure returns (uint256) {
        return uint24(Account.unwrap(account) >> LANE);
    }

    /// @return Wei that can be withdrawn at once.
    function credit(Account account) internal pure returns (uint256) {
        return Account.unwrap(account) >> CREDIT;
    }

    /// Locks `amount` wei, at most what is free, for seats in a lane.
    function lock(Account account, uint256 lane, uint256 amount) internal pure returns (Account) {
        return Account.wrap((Account.unwrap(account) + (amount / 1 gwei << LOCKED)) | 1 << LANE + lane);
    }

    /// Unlocks `amount` wei, which is locked, and frees the lane, which is taken.
    function unlock(Account account, uint256 lane, uint256 amount) internal pure returns (Account) {
        return Account.wrap(Account.unwrap(account) - (amount / 1 gwei << LOCKED) - (1 << LANE + lane));
    }

    function owe(Account account, uint256 amount) internal pure returns (Account) {
        uint256 sum = credit(account) + amount;
        if (sum > type(uint88).max) revert CreditTooLarge(sum);
        return Account.wrap(Account.unwrap(account) + (amount << CREDIT));
    }

    /// Takes out all of the credit.
    function clear(Account account) internal pure returns (Account) {
        return Account.wrap(uint168(Account.unwrap(account)));
    }

    /// Sets the stake to `amount` wei, whole gwei below 2^56, keeping in the history what it was for draws of jobs created
    /// before the end of this block.
    function bond(Account account, Checkpoint[] storage history, uint256 amount) internal returns (Account) {
        uint256 word = Account.unwrap(account);
        uint32 since = uint32(word >> SINCE);
        if (since != block.number && since != 0) history.push(Checkpoint(since, uint56(word)));
        uint256 rest = word & ~(uint256(type(uint32).max) << SINCE | type(uint56).max);
        return Account.wrap(rest | block.number << SINCE | amount / 1 gwei);
    }

    /// @return Wei bonded at the end of the block before `blockNumber`.
    function bondedBefore(Account account, Checkpoint[] storage history, uint256 blockNumber)
        internal
        view
        returns (uint256)
    {
        if (uint32(Account.unwrap(account) >> SINCE) < blockNumber) return bonded(account);
        // The last checkpoint with since < blockNumber; `low` counts those. It is among the latest as a rule, so the
        // steps back double until it is passed.
        uint256 high = history.length;
        uint256 low = high;
        for (uint256 step = 1; low != 0; step *= 2) {
            low = low > step ? low - step : 0;
            if (history[low].since < blockNumber) break;
            high = low;
        }
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (history[middle].since < blockNumber) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? 0 : uint256(history[low - 1].bonded) * 1 gwei;
    }
}
