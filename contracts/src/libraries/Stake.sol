// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// A worker's stake, or the sum of all (whose `locked` stays 0). Amounts in wei.
struct Account {
    uint96 bonded; // draws tickets; includes what is locked
    uint96 locked; // held by seats of unreleased jobs
    uint40 since; // block from whose end `bonded` holds
}

/// What `bonded` was from the end of block `since` until the next checkpoint.
struct Checkpoint {
    uint40 since;
    uint96 bonded;
}

/// @notice Stake with its history. Twin: contracts/stake.py.
library StakeLibrary {
    /// @return Wei that can be locked or unbonded.
    function free(Account storage account) internal view returns (uint256) {
        return account.bonded - account.locked;
    }

    /// Sets `bonded`, keeping what it was for draws of jobs created before the end of this block.
    function setBonded(Account storage account, Checkpoint[] storage history, uint256 bonded) internal {
        if (account.since != block.number) {
            if (account.since != 0) history.push(Checkpoint(account.since, account.bonded));
            account.since = uint40(block.number);
        }
        account.bonded = uint96(bonded);
    }

    /// @return Wei bonded at the end of the block before `blockNumber`.
    function bondedBefore(Account storage account, Checkpoint[] storage history, uint256 blockNumber)
        internal
        view
        returns (uint256)
    {
        if (account.since < blockNumber) return account.bonded;
        // The last checkpoint with since < blockNumber; `low` counts those.
        uint256 low = 0;
        uint256 high = history.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (history[middle].since < blockNumber) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? 0 : history[low - 1].bonded;
    }
}
