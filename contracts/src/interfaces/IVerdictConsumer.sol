// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Outcome} from "../libraries/Job.sol";

/// @notice A contract that is told how a job ended. The call carries exactly the job's callbackGas, comes from the oracle, and
/// may come at any time after settlement; a revert leaves it to be told again. Anyone can create a job that names any
/// consumer: act only on a jobId that you created or whose full terms you recomputed.
interface IVerdictConsumer {
    /// @param root Of the results if Accepted, else 0. Single verdicts are proved under it by IComputeOracle.verdict.
    function onSettled(bytes32 jobId, Outcome outcome, bytes32 root) external;
}
