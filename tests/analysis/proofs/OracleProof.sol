// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Bounds} from "../../../contracts/src/interfaces/IComputeOracle.sol";
import {IModelRegistry} from "../../../contracts/src/interfaces/IModelRegistry.sol";
import {Entry, Scribe} from "./Scribe.sol";

/// What the prover offers at a fixed address.
interface Vm {
    function assume(bool condition) external;
    function prank(address sender) external;
    function deal(address party, uint256 balance) external;
    function warp(uint256 timestamp) external;
    function roll(uint256 blockNumber) external;
    function etch(address target, bytes calldata code) external;
    function getCode(string calldata artifact) external view returns (bytes memory);
}

/// @notice An oracle under proof, with its storage open. Every amount, address and time that a check takes as a parameter is
/// *every* value of its type that the assumptions leave.
abstract contract OracleProof {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    uint256 internal constant NOW = 1_800_000_000;
    uint256 internal constant BLOCK = 1_000;
    uint96 internal constant PRICE = 1 gwei;
    /// More than all coins there are, and small enough for sums not to wrap.
    uint256 internal constant MOST_COINS = 1 << 88;

    address internal oracle;
    address internal disputes;
    IModelRegistry internal registry;
    address private _original; // an oracle that is never called: its code
    address private _scribe;

    function _deploy(IModelRegistry registry_) internal {
        vm.warp(NOW);
        vm.roll(BLOCK);
        registry = registry_;
        Bounds memory bounds = Bounds({
            minWindow: 60,
            maxWindow: 3600,
            unbondingPeriod: 7200,
            blockTime: 12,
            maxItemCount: type(uint32).max,
            maxSeats: 255,
            referencePrice: PRICE
        });
        disputes = _create("Disputes", abi.encode(registry_, PRICE));
        bytes memory arguments = abi.encode(registry_, address(this), disputes, bounds);
        (oracle, _original) = (_create("ComputeOracle", arguments), _create("ComputeOracle", arguments));
        _scribe = _create("Scribe", abi.encode(registry_, PRICE));
    }

    function _create(string memory name, bytes memory arguments) internal returns (address created) {
        bytes memory code = bytes.concat(vm.getCode(string.concat(name, ".sol:", name)), arguments);
        assembly ("memory-safe") {
            created := create(0, add(code, 0x20), mload(code))
        }
        assert(created != address(0));
    }

    /// The oracle's storage, until _play.
    function _open() internal returns (Scribe) {
        vm.etch(oracle, _scribe.code);
        return Scribe(oracle);
    }

    /// The oracle again.
    function _play() internal {
        vm.etch(oracle, _original.code);
    }

    /// Wei that the oracle owes a party beside its stake.
    function _owed(address party) internal view returns (uint256) {
        return Scribe(oracle).unbondingOf(party).amount + Scribe(oracle).entryOf(party).credit;
    }

    function _stake(Entry memory entry) internal pure returns (uint256) {
        return uint256(entry.bonded) * 1 gwei;
    }
}
