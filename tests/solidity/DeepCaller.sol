// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Makes a call from so deep in the stack of calls that what it calls has few or none left to make.
contract DeepCaller {
    function dive(uint256 depth, address target, bytes calldata data) external returns (bytes memory answer) {
        bool succeeded;
        (succeeded, answer) =
            depth == 0 ? target.call(data) : address(this).call(abi.encodeCall(this.dive, (depth - 1, target, data)));
        if (!succeeded) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        if (depth != 0) answer = abi.decode(answer, (bytes));
    }
}
