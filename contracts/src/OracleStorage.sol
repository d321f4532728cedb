// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Audit, Demand} from "./interfaces/IDisputes.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IOracleErrors} from "./interfaces/IOracleErrors.sol";
import {PackedSeat} from "./libraries/Commitment.sol";
import {Job, JobLibrary, JobState, Phase} from "./libraries/Job.sol";
import {Account, Checkpoint} from "./libraries/Stake.sol";
import {Tally} from "./libraries/Tally.sol";

/// @notice All that the oracle stores, and the guards and entries in the books that its two halves share. Both halves
/// inherit nothing else that stores, so that they see the same layout.
abstract contract OracleStorage is IOracleErrors {
    using JobLibrary for Job;
    using JobLibrary for JobState;

    IModelRegistry internal immutable REGISTRY;
    uint256 internal immutable REFERENCE_PRICE;

    Account internal _total;
    Checkpoint[] internal _totalHistory;
    mapping(address party => Account) internal _accounts;
    mapping(address worker => Checkpoint[]) internal _histories;
    mapping(address worker => Unbonding) internal _unbonding;
    mapping(address worker => mapping(uint256 lane => PackedSeat)) internal _seats;

    mapping(bytes32 jobId => JobState) internal _jobs;
    mapping(bytes32 jobId => mapping(bytes32 root => Tally)) internal _tallies;
    mapping(bytes32 jobId => bool) internal _delivered;
    mapping(bytes32 jobId => address) internal _executors;
    mapping(bytes32 jobId => Audit) internal _audits;
    mapping(bytes32 accusationId => Accusation) internal _accusations;
    mapping(bytes32 nodeId => Demand) internal _demands;

    enum Accusation {
        None,
        Open,
        Judged
    }

    /// Stake on its way out, in wei, and the second from which it can be withdrawn.
    struct Unbonding {
        uint96 amount;
        uint40 readyAt;
    }

    constructor(IModelRegistry registry_, uint256 referencePrice_) {
        REGISTRY = registry_;
        REFERENCE_PRICE = referencePrice_;
    }

    /// The job's id and state, if it is in the phase the caller needs.
    function _inPhase(Job calldata job, Phase needed) internal view returns (bytes32 jobId, JobState storage state) {
        (jobId, state) = _known(job);
        Phase current = state.phase(job.terms);
        if (current != needed) revert WrongPhase(jobId, current, needed);
    }

    /// The job's id and state, if it exists.
    function _known(Job calldata job) internal view returns (bytes32 jobId, JobState storage state) {
        jobId = job.id();
        state = _jobs[jobId];
        if (state.createdBlock == 0) revert UnknownJob(jobId);
    }

    function _credit(address payee, uint256 amount) internal {
        if (amount != 0) _accounts[payee] = _accounts[payee].owe(amount);
    }

    /// Burned wei leave for the zero address, so that nobody has an interest in them.
    function _burn(uint256 amount) internal {
        if (amount != 0) _pay(payable(address(0)), amount);
    }

    function _pay(address payable to, uint256 amount) internal {
        (bool paid,) = to.call{value: amount}("");
        if (!paid) revert PaymentRefused(to, amount);
    }
}
