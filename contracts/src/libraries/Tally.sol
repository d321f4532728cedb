// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Execution, JobState} from "./Job.sol";

/// What is known of one revealed root. Its seats are counted in JobState.rootSeats while it is JobState.root.
struct Tally {
    address refuter; // who refuted it by executing one item; 0 = nobody
    uint8 seats;
    uint32 openDemands; // demanded and not answered
    bool bountyReleased;
}

/// @notice Counts the vote in O(1). A root *stands* while it is neither refuted by execution nor has an open demand; the
/// job's state keeps the sums over standing roots, so that no loop over roots is ever needed. More than half of the seats
/// make a quorum, so at most one root has it.
library TallyLibrary {
    /// @return Whether a revealed root is neither refuted nor has an open demand.
    function stands(Tally storage tally) internal view returns (bool) {
        return tally.refuter == address(0) && tally.openDemands == 0;
    }

    /// @return Seats on `root`, whose tally this is; 0 if nobody revealed it.
    function seatsOf(JobState storage state, Tally storage tally, bytes32 root) internal view returns (uint8) {
        return root == state.root ? state.rootSeats : tally.seats;
    }

    /// @return Wei of a refuted root's forfeited stake that its refuter earns: half of every seat; the rest is burned.
    function bounty(uint256 seats, uint256 seatStake) internal pure returns (uint256) {
        return seats * (seatStake / 2);
    }

    /// A revealed root gains seats. No demand exists before the reveals are over.
    function addSeats(
        JobState storage state,
        mapping(bytes32 root => Tally) storage tallies,
        bytes32 root,
        uint8 seats,
        uint16 quorum
    ) internal {
        if (state.standingRoots == 0) state.root = root; // the first: its seats take no slot of their own
        uint8 held;
        if (root == state.root) {
            held = state.rootSeats;
            state.rootSeats = held + seats;
        } else {
            held = tallies[root].seats;
            tallies[root].seats = held + seats;
        }
        if (held == 0) state.standingRoots += 1;
        state.standingSeats += seats;
        if (held + seats >= quorum) state.quorumStands = true;
    }

    /// `root` takes the place of the one whose seats the state counts.
    function enthrone(
        JobState storage state,
        mapping(bytes32 root => Tally) storage tallies,
        bytes32 root
    ) internal {
        if (root == state.root) return;
        tallies[state.root].seats = state.rootSeats;
        (state.root, state.rootSeats) = (root, tallies[root].seats);
    }

    /// A standing root of so many seats stands no more.
    function fall(JobState storage state, uint8 seats, uint16 quorum) internal {
        state.standingRoots -= 1;
        state.standingSeats -= seats;
        if (seats >= quorum) state.quorumStands = false;
    }

    /// A fallen root stands again: its last open demand was answered.
    function rise(JobState storage state, uint8 seats, uint16 quorum) internal {
        state.standingRoots += 1;
        state.standingSeats += seats;
        if (seats >= quorum) state.quorumStands = true;
    }

    /// @return Whether some root wins: the true one if every row was executed; else one with a quorum, or the only one
    /// left standing if it would have a quorum together with the seats refuted by execution. (Seats refuted by silence do
    /// not count: silence proves nothing false.)
    function hasWinner(JobState storage state, uint16 quorum) internal view returns (bool) {
        if (state.execution == Execution.Whole || state.quorumStands) return true;
        return state.standingRoots == 1 && uint256(state.standingSeats) + state.refutedSeats >= quorum;
    }

    /// @return Whether `root`, whose tally this is, is the winner.
    function isWinner(JobState storage state, Tally storage tally, bytes32 root, uint16 quorum)
        internal
        view
        returns (bool)
    {
        if (state.execution == Execution.Whole) return root == state.root;
        uint8 seats = seatsOf(state, tally, root);
        bool disputed = state.demandedLevels != 0 || state.refutedSeats != 0; // else every root stands
        if (seats == 0 || (disputed && !stands(tally))) return false;
        return seats >= quorum || (state.standingRoots == 1 && hasWinner(state, quorum));
    }
}
