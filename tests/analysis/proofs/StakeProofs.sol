// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OracleStorage} from "../../../contracts/src/OracleStorage.sol";
import {IComputeOracle} from "../../../contracts/src/interfaces/IComputeOracle.sol";
import {IModelRegistry} from "../../../contracts/src/interfaces/IModelRegistry.sol";
import {OracleProof} from "./OracleProof.sol";
import {Entry, Scribe} from "./Scribe.sol";

/// @notice Deposit, unbond and withdraw, from *any* state of two parties' books: whatever the caller does, what the oracle
/// holds changes by exactly what it owes, the total is the sum of the accounts, nobody unbonds what is locked, and nobody
/// else's books change. By induction, so it is after any sequence of these calls.
contract StakeProofs is OracleProof {
    struct Books {
        Entry entry;
        OracleStorage.Unbonding leaving;
    }

    address private constant WHO = address(0x1001);
    address private constant OTHER = address(0x1002);

    function setUp() external {
        _deploy(IModelRegistry(_create("ModelRegistry", abi.encode(10_000_000))));
    }

    function check_deposit(Books calldata own, Books calldata others, uint56 rest, uint256 value)
        external
    {
        _lay(own, others, rest);
        _call(value, abi.encodeCall(IComputeOracle.deposit, ()), 0);
    }

    function check_unbond(Books calldata own, Books calldata others, uint56 rest, uint256 amount)
        external
    {
        _lay(own, others, rest);
        _call(0, abi.encodeCall(IComputeOracle.unbond, (amount)), 0);
    }

    function check_withdraw(Books calldata own, Books calldata others, uint56 rest, uint256 held)
        external
    {
        _lay(own, others, rest);
        _call(0, abi.encodeCall(IComputeOracle.withdraw, (payable(address(0xcafe)))), held);
    }

    /// The state before: two parties' books, and the stake of everybody else.
    function _lay(Books calldata own, Books calldata others, uint56 rest) private {
        vm.assume(own.entry.locked <= own.entry.bonded && others.entry.locked <= others.entry.bonded);
        uint256 bonded = uint256(own.entry.bonded) + others.entry.bonded + rest;
        vm.assume(bonded <= type(uint56).max);
        Scribe scribe = _open();
        scribe.writeAccount(WHO, own.entry);
        scribe.writeUnbonding(WHO, own.leaving);
        scribe.writeAccount(OTHER, others.entry);
        scribe.writeUnbonding(OTHER, others.leaving);
        scribe.writeTotal(Entry(uint56(bonded), 0, 0, 0, 0));
    }

    function _call(uint256 value, bytes memory input, uint256 held) private {
        Entry memory own = Scribe(oracle).entryOf(WHO);
        Entry memory others = Scribe(oracle).entryOf(OTHER);
        Entry memory total = Scribe(oracle).totalEntry();
        uint256 owed = _owed(WHO);
        uint256 othersOwed = _owed(OTHER);
        _play();
        vm.assume(value < MOST_COINS && held < MOST_COINS);
        vm.deal(WHO, value);
        vm.deal(oracle, held);
        vm.prank(WHO);
        (bool done,) = oracle.call{value: value}(input);
        vm.assume(done);

        _open();
        Entry memory left = Scribe(oracle).entryOf(WHO);
        Entry memory leftTotal = Scribe(oracle).totalEntry();
        assert(oracle.balance + _stake(total) + owed == held + _stake(leftTotal) + _owed(WHO));
        assert(uint256(leftTotal.bonded) + own.bonded == uint256(total.bonded) + left.bonded);
        assert(left.locked == own.locked && left.lanes == own.lanes && left.locked <= left.bonded);
        assert(keccak256(abi.encode(others)) == keccak256(abi.encode(Scribe(oracle).entryOf(OTHER))));
        assert(othersOwed == _owed(OTHER));
    }
}
