// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// A party's entry in the books, one storage slot; also the sum of all stake (whose other fields stay 0). Stake comes in
/// whole gwei: 2^56 gwei are 72 million coins.
struct Account {
    uint56 bonded; // gwei; draws tickets; includes what is locked
    uint56 locked; // gwei; held by seats of unreleased jobs
    uint32 since; // block from whose end `bonded` holds
    uint24 lanes; // bit i: lane i holds seats of an unreleased job
    uint88 credit; // wei that can be withdrawn at once
}

/// An Account as storage holds it: packed by hand, so that it is read once and written once.
type PackedAccount is uint256;

using {unpack} for PackedAccount global;

function unpack(PackedAccount packed) pure returns (Account memory) {
    uint256 word = PackedAccount.unwrap(packed);
    return Account(uint56(word), uint56(word >> 56), uint32(word >> 112), uint24(word >> 144), uint88(word >> 168));
}

function pack(Account memory account) pure returns (PackedAccount) {
    return PackedAccount.wrap(
        account.bonded | uint256(account.locked) << 56 | uint256(account.since) << 112 | uint256(account.lanes) << 144
            | uint256(account.credit) << 168
    );
}

/// What `bonded` was, in gwei, from the end of block `since` until the next checkpoint.
struct Checkpoint {
    uint32 since;
    uint56 bonded;
}

/// @notice Stake with its history, and credits. Amounts in and out are wei. Twin: contracts/stake.py.
library StakeLibrary {
    /// How many jobs a worker can have seats in at a time.
    uint256 internal constant LANES = 24;

    /// More than 2^88 − 1 wei would be owed to one party: 309 million coins.
    error CreditTooLarge(uint256 credit);

    /// @return Wei that can be locked or unbonded.
    function free(Account memory account) internal pure returns (uint256) {
        return uint256(account.bonded - account.locked) * 1 gwei;
    }

    /// @return Wei bonded.
    function stake(Account memory account) internal pure returns (uint256) {
        return uint256(account.bonded) * 1 gwei;
    }

    function owe(Account memory account, uint256 amount) internal pure {
        uint256 credit = account.credit + amount;
        if (credit > type(uint88).max) revert CreditTooLarge(credit);
        account.credit = uint88(credit);
    }

    /// Sets the stake to `amount` wei, whole gwei below 2^56, keeping what it was for draws of jobs created before the end
    /// of this block.
    function setStake(Account memory account, Checkpoint[] storage history, uint256 amount) internal {
        if (account.since != block.number) {
            if (account.since != 0) history.push(Checkpoint(account.since, account.bonded));
            account.since = uint32(block.number);
        }
        account.bonded = uint56(amount / 1 gwei);
    }

    /// @return Wei bonded at the end of the block before `blockNumber`.
    function stakeBefore(Account memory account, Checkpoint[] storage history, uint256 blockNumber)
        internal
        view
        returns (uint256)
    {
        if (account.since < blockNumber) return stake(account);
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
