// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SignedCommit} from "../../contracts/src/interfaces/IComputeOracle.sol";
import {BlockHeader} from "../../contracts/src/libraries/BlockHeader.sol";
import {CommitmentLibrary} from "../../contracts/src/libraries/Commitment.sol";
import {GasBudget} from "../../contracts/src/libraries/GasBudget.sol";
import {Job, JobLibrary, JobState, Phase, Terms} from "../../contracts/src/libraries/Job.sol";
import {MerkleProof} from "../../contracts/src/libraries/MerkleProof.sol";
import {SignatureLibrary} from "../../contracts/src/libraries/Signature.sol";
import {Tally, TallyLibrary} from "../../contracts/src/libraries/Tally.sol";
import {TicketLibrary} from "../../contracts/src/libraries/Ticket.sol";

/// @notice The protocol's libraries, callable. Those that read storage read what a setter put there.
contract ProtocolHarness {
    using JobLibrary for Job;
    using JobLibrary for JobState;
    using TallyLibrary for JobState;

    JobState private _state;
    Tally private _tally;

    function setState(JobState calldata state_) external {
        _state = state_;
    }

    function setTally(Tally calldata tally) external {
        _tally = tally;
    }

    // Job

    function jobId(Job calldata job) external view returns (bytes32) {
        return job.id();
    }

    function phase(Terms calldata terms) external view returns (Phase) {
        return _state.phase(terms);
    }

    function ends(Terms calldata terms, uint256 level) external view returns (uint256[4] memory) {
        return [
            _state.commitEnd(terms), _state.revealEnd(terms), _state.demandEnd(terms, level), _state.challengeEnd(terms)
        ];
    }

    function endEarly(uint256 end) external {
        _state.endEarly(end);
    }

    function state() external view returns (JobState memory) {
        return _state;
    }

    // Tally

    function seatsOf(bytes32 root) external view returns (uint8) {
        return _state.seatsOf(_tally, root);
    }

    function hasWinner(uint16 quorum) external view returns (bool) {
        return _state.hasWinner(quorum);
    }

    function isWinner(bytes32 root, uint16 quorum) external view returns (bool) {
        return _state.isWinner(_tally, root, quorum);
    }

    // Ticket

    function seedOf(bytes32 randomness, bytes32 id) external pure returns (bytes8) {
        return TicketLibrary.seedOf(randomness, id);
    }

    function oddsFactor(uint256 window, uint256 remaining) external pure returns (uint256) {
        return TicketLibrary.oddsFactor(window, remaining);
    }

    function wins(bytes8 seed, address worker, uint256 ticket, uint256 expectedStake, uint256 totalStake)
        external
        pure
        returns (bool)
    {
        return TicketLibrary.wins(seed, worker, ticket, expectedStake, totalStake);
    }

    // Commitment

    function commitment(bytes32 id, address worker, bytes32 root, bytes32 salt) external pure returns (bytes32) {
        return CommitmentLibrary.compute(id, worker, root, salt);
    }

    function digestOf(bytes32 id, bytes32 word) external pure returns (bytes27) {
        return CommitmentLibrary.digestOf(id, word);
    }

    function dataUnavailable() external pure returns (bytes32) {
        return CommitmentLibrary.DATA_UNAVAILABLE;
    }

    // Signature

    function commitHash(bytes32 id, SignedCommit calldata signed) external view returns (bytes32) {
        return SignatureLibrary.hashOf(SignatureLibrary.domain(), id, signed);
    }

    function isSigned(bytes32 id, SignedCommit calldata signed) external view returns (bool) {
        return SignatureLibrary.isSigned(SignatureLibrary.domain(), id, signed);
    }

    // GasBudget

    function answerGas(uint256 level, uint256 depth, uint256 rowLength) external pure returns (uint256) {
        return GasBudget.answer(level, depth, rowLength);
    }

    function refutationGas(uint256 executionGas, uint256 depth, uint256 rowLength) external pure returns (uint256) {
        return GasBudget.refutation(executionGas, depth, rowLength);
    }

    function disputeGas(uint256 executionGas, uint256 depth, uint256 rowLength) external pure returns (uint256) {
        return GasBudget.dispute(executionGas, depth, rowLength);
    }

    // Merkle trees, where the deployed contracts check before their libraries could

    function prevrandao(bytes calldata header) external pure returns (bytes32) {
        return BlockHeader.prevrandao(header);
    }

    function resultLeaf(uint256 index, bytes calldata output) external pure returns (bytes32) {
        return MerkleProof.resultLeaf(index, output);
    }

    function goldLeaf(uint256 index, bytes calldata output, bytes32 salt) external pure returns (bytes32) {
        return MerkleProof.goldLeaf(index, output, salt);
    }

    function rootOf(bytes32[] calldata nodes) external view returns (bytes32) {
        return MerkleProof.rootOf(nodes);
    }

    function foldIn(bytes32[] memory level) external pure returns (bytes32) {
        return MerkleProof.foldIn(level);
    }
}
