// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice A contract as a party: it does what it is told, and when it is paid it refuses, or calls back.
contract Payee {
    bool public refuses;
    address public target;
    bytes public callback;
    uint256 public callbacksThatPassed;

    receive() external payable {
        require(!refuses, "no thanks");
        if (target == address(0)) return;
        (bool passed,) = target.call(callback);
        if (passed) callbacksThatPassed += 1;
    }

    function act(address on, bytes calldata input) external payable {
        (bool done, bytes memory output) = on.call{value: msg.value}(input);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(output, 0x20), mload(output))
            }
        }
    }

    function refuse(bool whether) external {
        refuses = whether;
    }

    function callBack(address on, bytes calldata input) external {
        (target, callback) = (on, input);
    }
}
