// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {JobState} from "./Job.sol";

/// What is known of one revealed root.
struct Tally {
    address refuter; // who refuted it by execution; 0 = not refuted
    uint16 seats;
    uint32 openDemands; // demanded and not answered
    bool bountyReleased;
}

/// @notice Counts the vote in O(1). A root *stands* while it is neither refuted by execution nor has an open demand; the
/// job's state keeps the sums over standing roots, so that no loop over roots is ever needed. More than half of the seats
/// make a quorum, so at most one root has it.
library TallyLibrary {
    function stands(Tally storage tally) internal view returns (bool) {
        return tally.seats != 0 && tally.refuter == address(0) && tally.openDemands == 0;
    }

    /// @return Wei of a refuted root's forfeited stake that its refuter earns: half of every seat; the rest is burned.
    function bounty(uint256 seats, uint256 seatStake) internal pure returns (uint256) {
        return seats * (seatStake / 2);
    }

    /// A revealed root gains seats. No demand exists before the reveals are over.
    function addSeats(Tally storage tally, JobState storage state, uint16 seats, uint16 quorum) internal {
        if (tally.seats == 0) state.standingRoots += 1;
        tally.seats += seats;
        state.standingSeats += seats;
        state.revealedSeats += seats;
        if (tally.seats >= quorum) state.quorumStands = true;
    }

    /// A standing root stops standing.
    function fall(Tally storage tally, JobState storage state, uint16 quorum) internal {
        state.standingRoots -= 1;
        state.standingSeats -= tally.seats;
        if (tally.seats >= quorum) state.quorumStands = false;
    }

    /// A fallen root stands again: its last open demand was answered.
    function rise(Tally storage tally, JobState storage state, uint16 quorum) internal {
        state.standingRoots += 1;
        state.standingSeats += tally.seats;
        if (tally.seats >= quorum) state.quorumStands = true;
    }

    /// @return Whether some root wins: one with a quorum, or the only one left standing if it would have a quorum together
    /// with the seats refuted by execution. (Seats refuted by silence do not count: silence proves nothing false.)
    function hasWinner(JobState storage state, uint16 quorum) internal view returns (bool) {
        return state.quorumStands || (state.standingRoots == 1 && state.standingSeats + state.refutedSeats >= quorum);
    }

    /// @return Whether this root is the winner.
    function isWinner(Tally storage tally, JobState storage state, uint16 quorum) internal view returns (bool) {
        return stands(tally) && (tally.seats >= quorum || (state.standingRoots == 1 && hasWinner(state, quorum)));
    }
}
