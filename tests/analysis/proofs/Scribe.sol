// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OracleStorage} from "../../../contracts/src/OracleStorage.sol";
import {Audit, Demand, Node} from "../../../contracts/src/interfaces/IDisputes.sol";
import {IModelRegistry} from "../../../contracts/src/interfaces/IModelRegistry.sol";
import {CommitmentLibrary, Seat} from "../../../contracts/src/libraries/Commitment.sol";
import {JobState} from "../../../contracts/src/libraries/Job.sol";
import {Account} from "../../../contracts/src/libraries/Stake.sol";
import {Tally, TallyLibrary} from "../../../contracts/src/libraries/Tally.sol";

/// A party's entry in the books, field by field.
struct Entry {
    uint56 bonded; // gwei
    uint56 locked; // gwei
    uint32 since;
    uint24 lanes;
    uint88 credit; // wei
}

/// @notice The oracle's storage, readable and writable. A proof lends this code the oracle's address while it lays down a
/// state or reads one; what is proved always runs in the oracle's own bytecode.
contract Scribe is OracleStorage {
    using TallyLibrary for JobState;

    constructor(IModelRegistry registry, uint256 referencePrice) OracleStorage(registry, referencePrice) {}

    // ---- Writing ----

    function writeTotal(Entry calldata entry) external {
        _total = _packed(entry);
    }

    function writeAccount(address party, Entry calldata entry) external {
        _accounts[party] = _packed(entry);
    }

    function writeUnbonding(address party, Unbonding calldata leaving) external {
        _unbonding[party] = leaving;
    }

    function writeSealedSeat(address worker, uint256 lane, bytes27 digest, bytes3 tag, uint256 count) external {
        _seats[worker][lane] = CommitmentLibrary.seal(digest, tag, count);
    }

    function writeRevealedSeat(address worker, uint256 lane, bytes27 digest, bytes3 tag, uint256 count) external {
        _seats[worker][lane] = CommitmentLibrary.seal(0, tag, count).open(digest);
    }

    function writeJob(bytes32 jobId, JobState calldata state) external {
        _jobs[jobId] = state;
    }

    function writeTally(bytes32 jobId, bytes32 root, Tally calldata tally) external {
        _tallies[jobId][root] = tally;
    }

    function writeExecutor(bytes32 jobId, address executor) external {
        _executors[jobId] = executor;
    }

    function writeDemand(bytes32 jobId, Node calldata node, Demand calldata made) external {
        _demands[keccak256(abi.encode(jobId, node))] = made;
    }

    function writeAccusation(bytes32 jobId, uint256 position, bytes32 root) external {
        _accusations[keccak256(abi.encode(jobId, position, root))] = Accusation.Open;
        _audits[jobId].openAccusations += 1;
    }

    // ---- Reading ----

    function totalEntry() external view returns (Entry memory) {
        return _unpacked(_total);
    }

    function entryOf(address party) external view returns (Entry memory) {
        return _unpacked(_accounts[party]);
    }

    function unbondingOf(address party) external view returns (Unbonding memory) {
        return _unbonding[party];
    }

    function seatAt(address worker, uint256 lane) external view returns (Seat memory) {
        return _seats[worker][lane].unpack();
    }

    function jobState(bytes32 jobId) external view returns (JobState memory) {
        return _jobs[jobId];
    }

    function tallyOf(bytes32 jobId, bytes32 root) external view returns (Tally memory tally) {
        tally = _tallies[jobId][root];
        tally.seats = _jobs[jobId].seatsOf(_tallies[jobId][root], root);
    }

    function auditOf(bytes32 jobId) external view returns (Audit memory) {
        return _audits[jobId];
    }

    function demandOf(bytes32 jobId, Node calldata node) external view returns (Demand memory) {
        return _demands[keccak256(abi.encode(jobId, node))];
    }

    // ---- The layout, a second time ----

    function _packed(Entry calldata entry) private pure returns (Account) {
        return Account.wrap(
            uint256(bytes32(abi.encodePacked(entry.credit, entry.lanes, entry.since, entry.locked, entry.bonded)))
        );
    }

    function _unpacked(Account account) private pure returns (Entry memory) {
        uint256 word = Account.unwrap(account);
        return Entry(uint56(word), uint56(word >> 56), uint32(word >> 112), uint24(word >> 144), uint88(word >> 168));
    }
}
