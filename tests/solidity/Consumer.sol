// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IVerdictConsumer} from "../../contracts/src/interfaces/IVerdictConsumer.sol";
import {Outcome} from "../../contracts/src/libraries/Job.sol";

/// @notice A consumer that does with its callback what it is told: note it, refuse it, return or revert with very much,
/// never end, spend all but a little of its gas, or call somebody.
contract Consumer is IVerdictConsumer {
    enum Manner {
        Note,
        Refuse,
        RefuseWithMuch,
        ReturnMuch,
        NeverEnd,
        SpendNearlyAll,
        CallBack
    }

    /// Gas that SpendNearlyAll leaves, to end on.
    uint256 private constant SPARE = 200;

    Manner public manner;
    address public target;
    bytes public callback;

    uint256 public told;
    uint256 public callbacksThatPassed;
    uint256 public gasAtEntry;
    address public teller;
    bytes32 public jobId;
    Outcome public outcome;
    bytes32 public root;

    function behave(Manner manner_) external {
        manner = manner_;
    }

    function callBack(address on, bytes calldata input) external {
        (manner, target, callback) = (Manner.CallBack, on, input);
    }

    function onSettled(bytes32 jobId_, Outcome outcome_, bytes32 root_) external {
        uint256 gas = gasleft();
        Manner how = manner;
        if (how == Manner.Note) {
            (gasAtEntry, teller, jobId, outcome, root) = (gas, msg.sender, jobId_, outcome_, root_);
            told += 1;
        } else if (how == Manner.CallBack) {
            told += 1;
            (bool passed,) = target.call(callback);
            if (passed) callbacksThatPassed += 1;
        } else if (how == Manner.SpendNearlyAll) {
            while (gasleft() > SPARE) {}
        } else if (how == Manner.NeverEnd) {
            while (true) {}
        } else {
            uint256 length = how == Manner.Refuse ? 0 : 100_000;
            assembly {
                if eq(how, 3) { return(0, length) }
                revert(0, length)
            }
        }
    }
}
