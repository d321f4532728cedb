// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Phase} from "../libraries/Job.sol";

/// @notice What both halves of the oracle, ComputeOracle and Disputes, revert with.
interface IOracleErrors {
    /// No job has this id: the job given is not exactly one that was created here.
    error UnknownJob(bytes32 jobId);
    /// The entry point is for another phase.
    error WrongPhase(bytes32 jobId, Phase current, Phase needed);
    /// The payee refused the payment.
    error PaymentRefused(address payee, uint256 amount);
    /// There is nothing (left) to release.
    error NothingToRelease();
}
