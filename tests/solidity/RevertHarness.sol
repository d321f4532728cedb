// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Reverts in every way a contract can, and does a little work that transactions can be recognised by.
contract RevertHarness {
    struct Window {
        uint64 opens;
        uint64 closes;
    }

    error HarnessPlain();
    error HarnessLate(uint64 deadline, uint64 now_);
    error HarnessWho(address who, bytes32 root, bytes tail);
    error HarnessWindow(Window window, uint256[] seats);
    error HarnessUnnamed(uint256, bool);
    error HarnessCounted(uint256 expected, uint256 got);

    event Bumped(address indexed by, uint256 to, uint256 value);

    uint256 public count;
    uint256 public opensAt;

    function plain() external pure {
        revert HarnessPlain();
    }

    function late(uint64 deadline) external view {
        revert HarnessLate(deadline, uint64(block.timestamp));
    }

    function who(bytes32 root, bytes calldata tail) external view {
        revert HarnessWho(msg.sender, root, tail);
    }

    function window(uint64 opens, uint64 closes, uint256[] calldata seats) external pure {
        revert HarnessWindow(Window(opens, closes), seats);
    }

    function unnamed(uint256 number) external pure {
        revert HarnessUnnamed(number, true);
    }

    function reason(string calldata text) external pure {
        revert(text);
    }

    /// @notice Reverts with exactly these bytes: what a hostile contract can do.
    function raw(bytes calldata data) external pure {
        bytes memory copied = data;
        assembly ("memory-safe") {
            revert(add(copied, 32), mload(copied))
        }
    }

    function divide(uint256 by) external pure returns (uint256) {
        return 1 / by;
    }

    /// @notice Succeeds any number of times.
    function bump() public payable returns (uint256) {
        unchecked {
            ++count;
        }
        emit Bumped(msg.sender, count, msg.value);
        return count;
    }

    /// @notice Succeeds for the first caller who expects this count; the next finds another.
    function bumpFrom(uint256 expected) external payable returns (uint256) {
        if (count != expected) revert HarnessCounted(expected, count);
        return bump();
    }

    /// @notice Needs far more gas once `count` is odd, so that an estimate made before is too low.
    function work() external {
        if (count % 2 == 1) {
            for (uint256 i; i < 4000; ++i) {
                opensAt = uint256(keccak256(abi.encode(opensAt, i)));
            }
        } else {
            opensAt = 1;
        }
    }
}
