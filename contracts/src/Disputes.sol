// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OracleStorage} from "./OracleStorage.sol";
import {Audit, Demand, Gold, IDisputes, InputProof, Node, ResultProof} from "./interfaces/IDisputes.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {CommitmentLibrary} from "./libraries/Commitment.sol";
import {GasBudget} from "./libraries/GasBudget.sol";
import {Execution, Job, JobLibrary, JobState, Phase, Terms} from "./libraries/Job.sol";
import {MerkleProof} from "./libraries/MerkleProof.sol";
import {Tally, TallyLibrary} from "./libraries/Tally.sol";

/// @notice While Challenging, against revealed roots: refute one by executing a single item, demand the nodes that nobody
/// published until there is an item to execute, execute every row, or open the requester's verification set. Nothing is
/// forfeited here; settlement applies it.
/// @dev The code behind ComputeOracle's fallback: it runs on the oracle's storage, and on its own has none worth using. A
/// contract of its own only because one contract's code may not exceed 24,576 bytes.
contract Disputes is OracleStorage, IDisputes {
    using JobLibrary for JobState;
    using TallyLibrary for JobState;
    using TallyLibrary for Tally;

    constructor(IModelRegistry registry_, uint256 referencePrice_) OracleStorage(registry_, referencePrice_) {}

    // ---- While Challenging ----

    function refute(Job calldata job, ResultProof calldata result, InputProof calldata input) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Challenging);
        Tally storage tally = _unrefuted(jobId, state, result.root);
        uint256 depth = MerkleProof.depthOf(job.terms.itemCount);
        _checkResult(result, depth);
        bytes32 rightLeaf = _rightLeaf(job.terms, result.index, input, depth);
        if (rightLeaf == result.leaf) revert LeafIsRight(result.index, result.leaf);

        _refuted(job.terms, jobId, state, tally, result, rightLeaf);
    }

    function demand(Job calldata job, Node calldata node) external payable {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Challenging);
        Tally storage tally = _unrefuted(jobId, state, node.root);
        _checkDemandable(jobId, state, job.terms, node);
        uint256 bond = _bondFor(job.terms, node.level, tally.openDemands);
        if (msg.value < bond) revert BondTooLow(bond, msg.value);

        if (tally.stands()) state.fall(state.seatsOf(tally, node.root), job.terms.quorum);
        tally.openDemands += 1;
        if (node.level >= state.demandedLevels) state.demandedLevels = uint8(node.level + 1);
        uint256 answerBy = block.timestamp + job.terms.responseWindow;
        _demands[keccak256(abi.encode(jobId, node))] = Demand({
            demander: msg.sender,
            answerBy: uint40(answerBy),
            released: false,
            bond: uint96(bond),
            answerer: address(0)
        });
        _credit(msg.sender, msg.value - bond);
        emit Demanded(jobId, node.root, node.level, node.index, msg.sender, bond, answerBy);
    }

    function answer(Job calldata job, Node calldata node, bytes32[] calldata nodes, bytes32[] calldata siblings)
        external
    {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Challenging);
        Tally storage tally = _unrefuted(jobId, state, node.root);
        uint256 depth = MerkleProof.depthOf(job.terms.itemCount);
        uint256 last = MerkleProof.lastLevel(depth);
        if (node.level >= last) revert WrongLevel(node.level, last);
        uint256 nodeDepth = MerkleProof.levelDepth(node.level, depth);
        if (
            nodes.length != 1 << (MerkleProof.levelDepth(node.level + 1, depth) - nodeDepth)
                || !MerkleProof.verify(node.root, nodeDepth, node.index, MerkleProof.rootOf(nodes), siblings)
        ) revert BadAnswer(node.root, node.level, node.index);

        _closeDemand(jobId, state, tally, node, job.terms.quorum);
        emit Answered(jobId, node.root, node.level, node.index, msg.sender, nodes);
    }

    function answerLeaf(Job calldata job, ResultProof calldata result, InputProof calldata input) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Challenging);
        Tally storage tally = _unrefuted(jobId, state, result.root);
        uint256 depth = MerkleProof.depthOf(job.terms.itemCount);
        _checkResult(result, depth);
        _checkInput(job.terms, result.index, input, depth);

        Node memory node = Node(result.root, MerkleProof.lastLevel(depth), result.index);
        _closeDemand(jobId, state, tally, node, job.terms.quorum);
        emit LeafAnswered(jobId, result.root, result.index, msg.sender, result.leaf, input.row, input.siblings);
    }

    function executeJob(Job calldata job, bytes calldata rows) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Challenging);
        (bytes32 dataRoot, bytes32 root) = _execute(job.terms, rows);
        if (dataRoot != job.terms.dataRoot) revert BadRows(job.terms.dataRoot);

        state.enthrone(_tallies[jobId], root);
        state.execution = Execution.Whole;
        state.refutedSeats = state.grantedSeats - state.sealedSeats - state.abstainedSeats - state.rootSeats;
        _executors[jobId] = msg.sender;
        emit Executed(jobId, root, msg.sender);
    }

    function extendChallenge(Job calldata job, ResultProof calldata result, InputProof calldata input) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Challenging);
        _unrefuted(jobId, state, result.root);
        if (state.execution != Execution.None) revert AlreadyExtended(jobId);
        bytes32 modelId = job.terms.modelId;
        if (!REGISTRY.model(modelId).stepwise) revert ModelNotStepwise(modelId);
        uint256 depth = MerkleProof.depthOf(job.terms.itemCount);
        _checkResult(result, depth);
        _checkInput(job.terms, result.index, input, depth);

        state.execution = Execution.Extended;
        emit ChallengeExtended(jobId, result.root, result.index, msg.sender);
    }

    function accuse(Job calldata job, Gold calldata gold, ResultProof calldata result) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Challenging);
        _unrefuted(jobId, state, result.root);
        uint256 end = state.demandEnd(job.terms, 0) - job.terms.responseWindow;
        if (block.timestamp >= end) revert GoldTooLate(end);
        bytes32 id = _accusationId(jobId, gold.position, result.root);
        if (_accusations[id] != Accusation.None) revert AlreadyAccused(jobId, gold.position, result.root);
        bytes32 goldResult = _checkGold(job.terms, gold, result);
        if (goldResult == result.leaf) revert GoldAgrees(gold.index);

        _accusations[id] = Accusation.Open;
        _audits[jobId].openAccusations += 1;
        emit Accused(jobId, result.root, gold, result.leaf, result.siblings);
    }

    function judge(Job calldata job, Gold calldata gold, ResultProof calldata result, InputProof calldata input)
        external
    {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Challenging);
        bytes32 id = _accusationId(jobId, gold.position, result.root);
        if (_accusations[id] != Accusation.Open) revert NotAccused(jobId, gold.position, result.root);
        bytes32 goldResult = _checkGold(job.terms, gold, result);
        bytes32 rightLeaf = _rightLeaf(job.terms, gold.index, input, MerkleProof.depthOf(job.terms.itemCount));

        _accusations[id] = Accusation.Judged;
        Audit storage audit = _audits[jobId];
        audit.openAccusations -= 1;
        if (goldResult != rightLeaf && audit.executor == address(0)) audit.executor = msg.sender;
        emit AccusationJudged(jobId, result.root, gold.position, goldResult == rightLeaf, msg.sender);
        Tally storage tally = _tallies[jobId][result.root];
        if (rightLeaf == result.leaf || tally.refuter != address(0)) return;
        _refuted(job.terms, jobId, state, tally, result, rightLeaf);
    }

    // ---- After settlement ----

    function releaseBounty(Job calldata job, bytes32 root) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Settled);
        Tally storage tally = _tally(jobId, state, root);
        address refuter = _refuterOf(jobId, state, tally, root);
        if (refuter == address(0) || tally.bountyReleased) revert NothingToRelease();

        tally.bountyReleased = true;
        uint256 amount = TallyLibrary.bounty(state.seatsOf(tally, root), job.terms.seatStake);
        _credit(refuter, amount);
        emit BountyReleased(jobId, root, refuter, amount);
    }

    function releaseBond(Job calldata job, Node calldata node) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Settled);
        Tally storage tally = _tally(jobId, state, node.root);
        Demand storage made = _demand(jobId, node);
        if (made.demander == address(0) || made.released) revert NothingToRelease();
        (address payee, uint256 amount) = (made.demander, made.bond);
        if (_refuterOf(jobId, state, tally, node.root) == address(0)) {
            // On a silenced root the demanders share one bond's worth: a lone demander gets its bond back, a flood burns.
            // Once every row was executed, silence says nothing about the true root: its demands are void.
            if (made.answerer != address(0)) payee = made.answerer;
            else if (state.execution != Execution.Whole) amount = made.bond / tally.openDemands;
        }

        made.released = true;
        _credit(payee, amount);
        emit BondReleased(jobId, node.root, node.level, node.index, payee, amount);
        _burn(made.bond - amount);
    }

    // ---- Reading ----

    function bondFor(Job calldata job, Node calldata node) external view returns (uint256) {
        (bytes32 jobId, JobState storage state) = _known(job);
        return _bondFor(job.terms, node.level, _tally(jobId, state, node.root).openDemands);
    }

    function executorOf(bytes32 jobId) external view returns (address) {
        return _executors[jobId];
    }

    function auditOf(bytes32 jobId) external view returns (Audit memory) {
        return _audits[jobId];
    }

    function isAccused(bytes32 jobId, uint256 position, bytes32 root) external view returns (bool) {
        return _accusations[_accusationId(jobId, position, root)] == Accusation.Open;
    }

    function demandOf(bytes32 jobId, Node calldata node) external view returns (Demand memory) {
        return _demand(jobId, node);
    }

    function disputesOf() external view returns (address modelRegistry, uint256 referencePrice) {
        return (address(REGISTRY), REFERENCE_PRICE);
    }

    // ---- Guards ----

    /// A revealed result root's tally.
    function _tally(bytes32 jobId, JobState storage state, bytes32 root) private view returns (Tally storage tally) {
        tally = _tallies[jobId][root];
        if (state.seatsOf(tally, root) == 0) revert UnknownRoot(jobId, root);
    }

    function _unrefuted(bytes32 jobId, JobState storage state, bytes32 root) private view returns (Tally storage tally) {
        tally = _tally(jobId, state, root);
        if (tally.refuter != address(0)) revert AlreadyRefuted(jobId, root);
    }

    /// Who showed by execution that a revealed root is wrong: of one item, or of all.
    function _refuterOf(bytes32 jobId, JobState storage state, Tally storage tally, bytes32 root)
        private
        view
        returns (address)
    {
        bool byWhole = tally.refuter == address(0) && state.execution == Execution.Whole && root != state.root;
        return byWhole ? _executors[jobId] : tally.refuter;
    }

    /// @return The leaf that the requester's verdict on the item makes.
    function _checkGold(Terms calldata terms, Gold calldata gold, ResultProof calldata result)
        private
        view
        returns (bytes32)
    {
        bytes32 leaf = MerkleProof.goldLeaf(gold.index, gold.output, gold.salt);
        if (
            terms.goldCount == 0 || gold.index >= terms.itemCount || gold.position >= terms.goldCount
                || !MerkleProof.verify(
                    terms.goldRoot, MerkleProof.depthOf(terms.goldCount), gold.position, leaf, gold.siblings
                )
        ) revert BadGold(terms.goldRoot, gold.position);
        if (result.index != gold.index) revert BadResultProof(result.root, result.index);
        _checkResult(result, MerkleProof.depthOf(terms.itemCount));
        return MerkleProof.resultLeaf(gold.index, gold.output);
    }

    function _checkResult(ResultProof calldata result, uint256 depth) private view {
        if (!MerkleProof.verify(result.root, depth, result.index, result.leaf, result.siblings)) {
            revert BadResultProof(result.root, result.index);
        }
    }

    function _checkInput(Terms calldata terms, uint256 index, InputProof calldata input, uint256 depth) private view {
        bytes32 leaf = MerkleProof.inputLeaf(input.row);
        if (index >= terms.itemCount || !MerkleProof.verify(terms.dataRoot, depth, index, leaf, input.siblings)) {
            revert BadInputProof(terms.dataRoot, index);
        }
    }

    function _checkDemandable(bytes32 jobId, JobState storage state, Terms calldata terms, Node calldata node)
        private
        view
    {
        uint256 depth = MerkleProof.depthOf(terms.itemCount);
        uint256 last = MerkleProof.lastLevel(depth);
        if (node.level > last) revert NoSuchNode(node.level, node.index);
        uint256 nodeDepth = MerkleProof.levelDepth(node.level, depth);
        uint256 width = node.level == last ? terms.itemCount : 1 << nodeDepth;
        if (node.index >= width) revert NoSuchNode(node.level, node.index);
        if (_demand(jobId, node).demander != address(0)) {
            revert AlreadyDemanded(node.root, node.level, node.index);
        }
        uint256 end = state.demandEnd(terms, node.level);
        if (block.timestamp >= end) revert DemandTooLate(node.level, end);
        if (node.level == 0) return;
        uint256 step = nodeDepth - MerkleProof.levelDepth(node.level - 1, depth);
        if (_demand(jobId, Node(node.root, node.level - 1, node.index >> step)).answerer == address(0)) {
            revert ParentNotAnswered(node.root, node.level, node.index);
        }
    }

    // ---- Effects ----

    function _demand(bytes32 jobId, Node memory node) internal view returns (Demand storage) {
        return _demands[keccak256(abi.encode(jobId, node))];
    }

    /// The leaf that should stand at `index`: the empty one where nothing can be executed, past itemCount or on a row that
    /// is not of the model's length. Only a completed execution gives another: if the registry runs out of gas, its revert
    /// is this call's.
    function _rightLeaf(Terms calldata terms, uint256 index, InputProof calldata input, uint256 depth)
        private
        view
        returns (bytes32)
    {
        if (index >= terms.itemCount && input.row.length == 0 && input.siblings.length == 0) return 0;
        _checkInput(terms, index, input, depth);
        IModelRegistry.Model memory model = REGISTRY.model(terms.modelId);
        if (input.row.length != model.rowLength) return 0;
        bytes memory output = model.stepwise
            ? REGISTRY.outputOf(terms.modelId, MerkleProof.inputLeaf(input.row))
            : REGISTRY.execute(terms.modelId, input.row);
        return MerkleProof.resultLeaf(index, output);
    }

    /// Executes every row.
    /// @return dataRoot Of the rows.
    /// @return root Of their results.
    function _execute(Terms calldata terms, bytes calldata rows) private view returns (bytes32 dataRoot, bytes32 root) {
        IModelRegistry.Model memory model = REGISTRY.model(terms.modelId);
        uint256 length = model.rowLength;
        if (model.stepwise || rows.length != terms.itemCount * length) revert BadRows(terms.dataRoot);
        uint256 width = 1 << MerkleProof.depthOf(terms.itemCount);
        bytes32[] memory inputs = new bytes32[](width);
        bytes32[] memory results = new bytes32[](width);
        for (uint256 i = 0; i < terms.itemCount; i++) {
            bytes calldata row = rows[i * length:(i + 1) * length];
            inputs[i] = MerkleProof.inputLeaf(row);
            results[i] = MerkleProof.resultLeaf(i, REGISTRY.execute(terms.modelId, row));
        }
        return (MerkleProof.foldIn(inputs), MerkleProof.foldIn(results));
    }

    /// Refutes a root for one item, in the caller's name.
    function _refuted(
        Terms calldata terms,
        bytes32 jobId,
        JobState storage state,
        Tally storage tally,
        ResultProof calldata result,
        bytes32 rightLeaf
    ) private {
        uint8 seats = state.seatsOf(tally, result.root);
        if (tally.stands()) state.fall(seats, terms.quorum);
        tally.refuter = msg.sender;
        state.refutedSeats += seats;
        emit Refuted(jobId, result.root, result.index, result.leaf, rightLeaf, msg.sender);
    }

    function _accusationId(bytes32 jobId, uint256 position, bytes32 root) private pure returns (bytes32) {
        return keccak256(abi.encode(jobId, position, root));
    }

    /// The bond stays here until the job is settled: a liar that answers its own demands earns nothing by it.
    function _closeDemand(bytes32 jobId, JobState storage state, Tally storage tally, Node memory node, uint16 quorum)
        private
    {
        Demand storage made = _demand(jobId, node);
        if (made.demander == address(0) || made.answerer != address(0)) revert NotDemanded(node.root, node.level, node.index);
        if (block.timestamp >= made.answerBy) revert AnswerTooLate(made.answerBy);

        made.answerer = msg.sender;
        tally.openDemands -= 1;
        if (tally.openDemands == 0) state.rise(state.seatsOf(tally, node.root), quorum);
    }

    function _bondFor(Terms calldata terms, uint256 level, uint256 openDemands) private view returns (uint256) {
        uint256 depth = MerkleProof.depthOf(terms.itemCount);
        uint256 price = block.basefee > REFERENCE_PRICE ? block.basefee : REFERENCE_PRICE;
        uint256 gas = GasBudget.answer(level, depth, REGISTRY.model(terms.modelId).rowLength);
        return GasBudget.MARGIN * gas * price * (1 + openDemands);
    }
}
