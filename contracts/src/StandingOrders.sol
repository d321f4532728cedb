// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Schedule, StandingOrder} from "./StandingOrder.sol";
import {IComputeOracle} from "./interfaces/IComputeOracle.sol";
import {Terms} from "./libraries/Job.sol";

/// @notice Makes standing orders, each a contract of its own with the same code, and tells of them. It holds nothing and has no
/// power over them. An order's address follows from its owner and everything it says, so that after a reorganisation no
/// ether sent to it can have become somebody else's.
contract StandingOrders {
    event OrderCreated(
        address indexed order, address indexed owner, address indexed feeder, Schedule schedule, uint256 tip, Terms terms
    );

    IComputeOracle public immutable ORACLE;

    constructor(IComputeOracle oracle) {
        ORACLE = oracle;
    }

    /// @notice Makes an order of the caller's; the payment is for its runs, and more can be sent to it. A second one that is the
    /// same in everything needs another nonce.
    /// @param feeder Who announces the data; the caller itself, or a key that is nearer to it.
    /// @param tip Wei for whoever triggers a run, at most a tenth of the reward.
    /// @param terms Of every run, without its feed (dataRoot, dataUriHash, itemCount, goldRoot and goldCount are 0).
    function create(uint256 nonce, address feeder, Schedule calldata schedule, uint96 tip, Terms calldata terms)
        external
        payable
        returns (StandingOrder order)
    {
        order = new StandingOrder{salt: bytes32(nonce), value: msg.value}(
            ORACLE, msg.sender, feeder, schedule, tip, terms
        );
        emit OrderCreated(address(order), msg.sender, feeder, schedule, tip, terms);
    }
}
