// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// Where a job stands. Derived from facts and clock by JobLibrary.phase, never stored.
enum Phase {
    Drawing, // waiting for the seed
    Committing, // winning tickets become seats, each with a sealed root
    Revealing, // sealed roots are opened
    Challenging, // wrong roots are refuted
    Settling, // every window is over: anyone may call settle
    Settled // the outcome is recorded
}

/// How a job ended. `Open` until `settle` records another.
enum Outcome {
    Open,
    Accepted, // a result root won
    Unavailable, // a quorum could not get the data, and no result root stands
    Hung, // no root won
    Expired // no seed or no quorum of seats in time
}

/// How far the chain itself has executed a job's rows, beyond single items.
enum Execution {
    None,
    Extended, // a resumable execution was opened: Challenging lasts one response window longer
    Whole // every row was executed: the true root is known
}

/// What a requester asks for, fixed at creation. Amounts in wei, windows in seconds.
struct Terms {
    bytes32 modelId;
    bytes32 dataRoot;
    bytes32 dataUriHash;
    uint64 itemCount;
    uint16 seats;
    uint16 quorum;
    uint96 seatStake;
    uint96 reward;
    uint96 callOutFee;
    bytes32 goldRoot;
    uint32 goldCount;
    uint96 auditBond;
    uint32 commitWindow;
    uint32 revealWindow;
    uint32 challengeWindow;
    uint32 responseWindow;
    address consumer;
    uint32 callbackGas;
}

/// A job as it travels in calldata: everything its id commits to.
struct Job {
    address requester;
    uint256 nonce;
    Terms terms;
}

/// What changes about a job, all that storage holds of it: two slots. Counts are of seats, of which a job has 255 at most.
struct JobState {
    uint32 createdBlock; // 0 = no such job
    uint40 startedAt; // see commitEnd; 0 = not drawn
    bytes8 seed;
    uint8 grantedSeats;
    uint8 sealedSeats; // committed and not yet revealed
    uint8 abstainedSeats; // revealed that the data is unavailable
    uint8 rootSeats; // on `root`
    uint8 standingSeats; // on roots neither refuted nor with an open demand
    uint8 standingRoots; // how many such roots
    uint8 refutedSeats; // on roots refuted by execution
    bool quorumStands; // a standing root has a quorum
    uint8 demandedLevels; // 1 + the deepest level demanded; 0 = none
    Execution execution;
    Outcome outcome;
    uint32 itemCount; // written by settle if Accepted, so that a verdict is read without the terms
    bytes32 root; // the first root revealed; once every row was executed, or the job was Accepted, the right one
}

/// @notice Ids and phases. Twin: contracts/job.py.
library JobLibrary {
    /// Blocks after the creation whose prevrandao seeds the draw: no one knows it at creation, unless one party proposes
    /// both the creation's block and the next.
    uint256 internal constant SEED_DELAY = 2;
    /// Blocks for which the EVM can still read a block's hash.
    uint256 internal constant HASH_WINDOW = 256;

    /// @return The job's id on this chain and contract.
    function id(Job calldata job) internal view returns (bytes32) {
        return idOf(job.requester, job.nonce, job.terms);
    }

    /// @return The id of a job that `requester` makes on this chain and contract.
    function idOf(address requester, uint256 nonce, Terms calldata terms) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), requester, nonce, hashOf(terms)));
    }

    /// @return digest keccak256(abi.encode(terms)), without the check of every field that the compiler would make: terms with
    /// a bit too many have a hash that no job has.
    function hashOf(Terms calldata terms) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            let place := mload(0x40)
            calldatacopy(place, terms, 576) // 18 words
            digest := keccak256(place, 576)
        }
    }

    /// @return The block whose prevrandao seeds the draw.
    function seedBlock(JobState storage state) internal view returns (uint256) {
        return state.createdBlock + SEED_DELAY;
    }

    /// @return Whether the seed can no longer be read: the draw never came.
    function isUndrawable(JobState storage state) internal view returns (bool) {
        return state.startedAt == 0 && block.number > seedBlock(state) + HASH_WINDOW;
    }

    /// @notice Every window has a fixed place after `startedAt`, the second of the draw. A phase that ends early moves
    /// `startedAt` back by what was left of its window, so that the next one begins at once.
    /// @return Seconds at which the commit phase ends or ended.
    function commitEnd(JobState storage state, Terms calldata terms) internal view returns (uint256) {
        return uint256(state.startedAt) + terms.commitWindow;
    }

    /// @return Seconds at which the reveal phase ends or ended.
    function revealEnd(JobState storage state, Terms calldata terms) internal view returns (uint256) {
        return commitEnd(state, terms) + terms.revealWindow;
    }

    /// @return Seconds until which level `level` may be demanded: each level has 2W more than the one above it.
    function demandEnd(JobState storage state, Terms calldata terms, uint256 level) internal view returns (uint256) {
        return revealEnd(state, terms) + terms.challengeWindow + 2 * level * terms.responseWindow;
    }

    /// @return Seconds at which Challenging ends: after the last possible answer there is time to refute.
    function challengeEnd(JobState storage state, Terms calldata terms) internal view returns (uint256) {
        uint256 extension = state.execution == Execution.Extended ? terms.responseWindow : 0;
        return demandEnd(state, terms, state.demandedLevels) + extension;
    }

    /// A phase ends now instead of at `end`.
    function endEarly(JobState storage state, uint256 end) internal {
        state.startedAt = uint40(state.startedAt + block.timestamp - end);
    }

    /// @return Where the job stands at this block. The job must exist.
    function phase(JobState storage state, Terms calldata terms) internal view returns (Phase) {
        if (state.outcome != Outcome.Open) return Phase.Settled;
        if (state.startedAt == 0) return isUndrawable(state) ? Phase.Settling : Phase.Drawing;
        if (block.timestamp < commitEnd(state, terms)) return Phase.Committing;
        if (state.grantedSeats < terms.quorum || state.execution == Execution.Whole) return Phase.Settling;
        if (block.timestamp < revealEnd(state, terms)) return Phase.Revealing;
        if (block.timestamp < challengeEnd(state, terms)) return Phase.Challenging;
        return Phase.Settling;
    }
}
