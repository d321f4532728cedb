// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IComputeOracle, Opening} from "../../../contracts/src/interfaces/IComputeOracle.sol";
import {Demand, Gold, IDisputes, InputProof, Node, ResultProof} from "../../../contracts/src/interfaces/IDisputes.sol";
import {IModelRegistry} from "../../../contracts/src/interfaces/IModelRegistry.sol";
import {CommitmentLibrary} from "../../../contracts/src/libraries/Commitment.sol";
import {Execution, Job, JobState} from "../../../contracts/src/libraries/Job.sol";
import {Tally} from "../../../contracts/src/libraries/Tally.sol";
import {OracleProof} from "./OracleProof.sol";
import {Entry, Scribe} from "./Scribe.sol";

/// @notice The count of a vote is the sum over its roots, whatever the vote was: every call changes the sums by exactly what
/// it changes in the root that it is about, changes no other root, and moves no money but a demand's bond. By induction the
/// sums that settlement relies on are right after any sequence of these calls, with any number of roots.
/// @dev This contract is the model registry too: what a network says does not matter here, only whether a leaf agrees.
contract VoteProofs is OracleProof {
    /// A job's state and one of its roots, before a call.
    struct Before {
        uint8 granted;
        uint8 noShows; // sealed seats
        uint8 abstained;
        uint8 seats; // on the root
        uint8 others; // seats on a second root
        uint8 otherStanding; // seats and number of the other roots that stand, and refuted seats
        uint8 otherRoots;
        uint8 otherRefuted;
        bool otherQuorum;
        uint32 openDemands; // on the root
        bool refuted;
        bool isFirst; // the root was the first to be revealed
        uint8 quorum;
    }

    /// What one root adds to the job's sums.
    struct Share {
        uint256 roots;
        uint256 standing;
        uint256 refuted;
        bool quorum;
    }

    bytes private constant ROW = hex"0102";
    bytes private constant OUTPUT = hex"00000007";
    bytes private constant GOLD_OUTPUT = hex"00000009";
    bytes32 private constant SALT = bytes32(uint256(0x5a17));
    bytes32 private constant WRONG = bytes32(uint256(0xb));
    bytes32 private constant OTHER = bytes32(uint256(0xc));
    uint32 private constant WINDOW = 100;
    address private constant CALLER = address(0x1002);
    address private constant WORKER = address(0x2001);

    function setUp() external {
        _deploy(IModelRegistry(address(this)));
    }

    // ---- The registry ----

    function model(bytes32) external pure returns (IModelRegistry.Model memory) {
        return IModelRegistry.Model(2, 1, 100_000, 100, false);
    }

    function execute(bytes32, bytes calldata) external pure returns (bytes memory) {
        return OUTPUT;
    }

    // ---- Challenging ----

    function check_refute(Before calldata before) external {
        Job memory job = _lay(before, WRONG, NOW - 2 * WINDOW);
        bytes32 jobId = _call(job, before, WRONG, 0, abi.encodeCall(IDisputes.refute, (job, _result(WRONG), _input())));
        assert(Scribe(oracle).tallyOf(jobId, WRONG).refuter == CALLER);
    }

    function check_demand(Before calldata before, uint80 value) external {
        Job memory job = _lay(before, WRONG, NOW - 2 * WINDOW);
        vm.assume(before.openDemands < 1 << 20); // each has cost a bond
        Node memory node = Node(WRONG, 0, 0);
        bytes32 jobId = _call(job, before, WRONG, value, abi.encodeCall(IDisputes.demand, (job, node)));
        Demand memory made = Scribe(oracle).demandOf(jobId, node);
        assert(made.demander == CALLER && made.answerer == address(0) && !made.released);
        assert(made.bond + Scribe(oracle).entryOf(CALLER).credit == value);
        assert(Scribe(oracle).tallyOf(jobId, WRONG).openDemands == before.openDemands + 1);
    }

    function check_answerLeaf(Before calldata before, uint80 bond) external {
        Job memory job = _lay(before, WRONG, NOW - 2 * WINDOW);
        vm.assume(before.openDemands != 0);
        Node memory node = Node(WRONG, 0, 0);
        bytes32 jobId = _id(job);
        _open().writeDemand(
            jobId, node, Demand(address(0x1003), uint40(NOW + 1), false, bond, address(0))
        );
        _play();
        jobId = _call(job, before, WRONG, 0, abi.encodeCall(IDisputes.answerLeaf, (job, _result(WRONG), _input())));
        Demand memory made = Scribe(oracle).demandOf(jobId, node);
        assert(made.answerer == CALLER && made.bond == bond && !made.released);
        assert(Scribe(oracle).tallyOf(jobId, WRONG).openDemands + 1 == before.openDemands);
    }

    function check_judgeAgainstTheRoot(Before calldata before) external {
        Job memory job = _lay(before, WRONG, NOW - 2 * WINDOW);
        _accuse(job, WRONG);
        bytes32 jobId = _call(job, before, WRONG, 0, _judgement(job, WRONG, true));
        assert(Scribe(oracle).tallyOf(jobId, WRONG).refuter == (before.refuted ? address(0x1003) : CALLER));
    }

    function check_judgeAgainstTheGold(Before calldata before) external {
        bytes32 right = _rightRoot();
        Job memory job = _lay(before, right, NOW - 2 * WINDOW);
        _accuse(job, right);
        bytes32 jobId = _call(job, before, right, 0, _judgement(job, right, false));
        assert(Scribe(oracle).auditOf(jobId).executor == CALLER);
    }

    function check_executeJob(Before calldata before) external {
        bytes32 right = _rightRoot();
        bytes32 root = before.isFirst ? right : WRONG;
        Job memory job = _lay(before, root, NOW - 2 * WINDOW);
        vm.assume(root != right || !before.refuted); // what is right is never refuted
        bytes32 jobId = _id(job);
        vm.prank(CALLER);
        IDisputes(oracle).executeJob(job, ROW);

        Scribe scribe = _open();
        JobState memory state = scribe.jobState(jobId);
        assert(state.root == right && state.execution == Execution.Whole);
        assert(state.rootSeats == (root == right ? before.seats : 0));
        assert(scribe.tallyOf(jobId, root).seats == before.seats && scribe.tallyOf(jobId, OTHER).seats == before.others);
        assert(
            uint256(state.refutedSeats) + state.rootSeats + before.noShows + before.abstained == before.granted
        );
    }

    // ---- Revealing ----

    function check_reveal(Before calldata before, uint8 count) external {
        Job memory job = _lay(before, WRONG, NOW - WINDOW - WINDOW / 2);
        vm.assume(!before.refuted && before.openDemands == 0 && before.otherRefuted == 0);
        vm.assume(before.seats != 0 || before.isFirst == (before.otherRoots == 0));
        _seal(job, WRONG, before, count);
        bytes32 jobId = _call(job, before, WRONG, 0, abi.encodeCall(IComputeOracle.reveal, (job, WRONG, _openings())));
        assert(Scribe(oracle).tallyOf(jobId, WRONG).seats == uint256(before.seats) + count);
        JobState memory state = Scribe(oracle).jobState(jobId);
        assert(state.sealedSeats + count == before.noShows && state.abstainedSeats == before.abstained);
    }

    function check_revealAnAbstention(Before calldata before, uint8 count) external {
        bytes32 unavailable = CommitmentLibrary.DATA_UNAVAILABLE;
        Job memory job = _lay(before, WRONG, NOW - WINDOW - WINDOW / 2);
        vm.assume(!before.refuted && before.openDemands == 0 && before.otherRefuted == 0);
        _seal(job, unavailable, before, count);
        bytes32 jobId = _call(job, before, WRONG, 0, abi.encodeCall(IComputeOracle.reveal, (job, unavailable, _openings())));
        assert(Scribe(oracle).tallyOf(jobId, WRONG).seats == before.seats);
        JobState memory state = Scribe(oracle).jobState(jobId);
        assert(state.sealedSeats + count == before.noShows && state.abstainedSeats == before.abstained + count);
    }

    // ---- What must not hold: that the calls above never succeed ----

    function find_aRefutation() external {
        Job memory job = _lay(_some(), WRONG, NOW - 2 * WINDOW);
        (bool done,) = oracle.call(abi.encodeCall(IDisputes.refute, (job, _result(WRONG), _input())));
        assert(!done);
    }

    function find_anAnswer() external {
        Job memory job = _lay(_some(), WRONG, NOW - 2 * WINDOW);
        vm.deal(address(this), 1 ether);
        IDisputes(oracle).demand{value: 1 ether}(job, Node(WRONG, 0, 0));
        (bool done,) = oracle.call(abi.encodeCall(IDisputes.answerLeaf, (job, _result(WRONG), _input())));
        assert(!done);
    }

    function find_aJudgement() external {
        Job memory job = _lay(_some(), WRONG, NOW - 2 * WINDOW);
        _accuse(job, WRONG);
        (bool done,) = oracle.call(_judgement(job, WRONG, true));
        assert(!done);
    }

    function find_aWholeExecution() external {
        Job memory job = _lay(_some(), WRONG, NOW - 2 * WINDOW);
        (bool done,) = oracle.call(abi.encodeCall(IDisputes.executeJob, (job, ROW)));
        assert(!done);
    }

    function find_aReveal() external {
        Before memory before = _some();
        Job memory job = _lay(before, WRONG, NOW - WINDOW - WINDOW / 2);
        _seal(job, WRONG, before, 1);
        (bool done,) = oracle.call(abi.encodeCall(IComputeOracle.reveal, (job, WRONG, _openings())));
        assert(!done);
    }

    // ---- The step ----

    /// Makes the call and shows that the sums followed the root's share in them. The oracle's storage is open afterwards.
    function _call(Job memory job, Before memory before, bytes32 root, uint256 value, bytes memory input)
        private
        returns (bytes32 jobId)
    {
        jobId = _id(job);
        Scribe scribe = _open();
        JobState memory state = scribe.jobState(jobId);
        Share memory share = _share(scribe.tallyOf(jobId, root), before.quorum);
        bytes32 others = _frame(scribe, jobId);
        _play();
        vm.deal(CALLER, value);
        vm.deal(oracle, 0);
        vm.prank(CALLER);
        (bool done,) = oracle.call{value: value}(input);
        vm.assume(done);

        _open();
        JobState memory left = scribe.jobState(jobId);
        Share memory leftShare = _share(scribe.tallyOf(jobId, root), before.quorum);
        assert(left.standingRoots + share.roots == state.standingRoots + leftShare.roots);
        assert(left.standingSeats + share.standing == state.standingSeats + leftShare.standing);
        assert(left.refutedSeats + share.refuted == state.refutedSeats + leftShare.refuted);
        assert(left.quorumStands == (leftShare.quorum || before.otherQuorum));
        assert(left.grantedSeats == state.grantedSeats && left.outcome == state.outcome);
        assert(others == _frame(scribe, jobId));
        assert(oracle.balance == value && (value != 0 || scribe.entryOf(CALLER).credit == 0));
    }

    function _share(Tally memory tally, uint8 quorum) private pure returns (Share memory share) {
        if (tally.refuter != address(0)) share.refuted = tally.seats;
        if (tally.refuter != address(0) || tally.openDemands != 0 || tally.seats == 0) return share;
        (share.roots, share.standing, share.quorum) = (1, tally.seats, tally.seats >= quorum);
    }

    /// What no call may touch: the other root, the stake, the worker's books.
    function _frame(Scribe scribe, bytes32 jobId) private view returns (bytes32) {
        return keccak256(
            abi.encode(scribe.tallyOf(jobId, OTHER), scribe.totalEntry(), scribe.entryOf(WORKER), scribe.entryOf(address(0x1001)))
        );
    }

    // ---- The state before ----

    function _lay(Before memory before, bytes32 root, uint256 startedAt) private returns (Job memory job) {
        job = _job(before.quorum);
        bytes32 jobId = _id(job);
        bool stands = !before.refuted && before.openDemands == 0 && before.seats != 0;
        bool quorum = stands && before.seats >= before.quorum;
        vm.assume(before.quorum != 0 && (before.seats != 0 || startedAt > NOW - 2 * WINDOW));
        vm.assume(!(quorum && before.otherQuorum)); // two quorums are more than all seats
        vm.assume(before.granted >= before.quorum);
        uint256 revealed = uint256(before.seats) + before.others;
        vm.assume(uint256(before.noShows) + before.abstained + revealed == before.granted);
        vm.assume(before.otherStanding <= before.others && before.otherRefuted <= before.others);
        vm.assume(before.otherRoots <= before.otherStanding);

        Scribe scribe = _open();
        JobState memory state;
        (state.createdBlock, state.startedAt) = (uint32(BLOCK - 10), uint40(startedAt));
        (state.grantedSeats, state.sealedSeats) = (before.granted, before.noShows);
        state.abstainedSeats = before.abstained;
        state.standingRoots = before.otherRoots + (stands ? 1 : 0);
        state.standingSeats = before.otherStanding + (stands ? before.seats : 0);
        state.refutedSeats = before.otherRefuted + (before.refuted ? before.seats : 0);
        state.quorumStands = quorum || before.otherQuorum;
        (state.root, state.rootSeats) = before.isFirst ? (root, before.seats) : (OTHER, before.others);
        scribe.writeJob(jobId, state);
        Tally memory tally = Tally(before.refuted ? address(0x1003) : address(0), 0, before.openDemands, false);
        if (!before.isFirst) tally.seats = before.seats;
        scribe.writeTally(jobId, root, tally);
        if (before.isFirst) scribe.writeTally(jobId, OTHER, Tally(address(0), before.others, 0, false));
        _play();
    }

    function _job(uint8 quorum) private pure returns (Job memory job) {
        job.requester = address(0x1001);
        (job.terms.seats, job.terms.quorum, job.terms.itemCount) = (255, quorum, 1);
        (job.terms.commitWindow, job.terms.revealWindow) = (WINDOW, WINDOW);
        (job.terms.challengeWindow, job.terms.responseWindow) = (WINDOW, WINDOW / 2);
        job.terms.dataRoot = sha256(ROW);
        // Two verdicts on the one item: a right one and a wrong one.
        job.terms.goldRoot = sha256(abi.encode(_goldLeaf(OUTPUT), _goldLeaf(GOLD_OUTPUT)));
        (job.terms.goldCount, job.terms.auditBond) = (2, 1);
    }

    function _goldLeaf(bytes memory output) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint64(0), output, SALT));
    }

    function _some() private pure returns (Before memory) {
        return Before(5, 1, 0, 3, 1, 1, 1, 0, false, 0, false, true, 3);
    }

    /// The job's id; the oracle plays.
    function _id(Job memory job) private returns (bytes32) {
        _play();
        return IComputeOracle(oracle).jobIdOf(job);
    }

    function _rightRoot() private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint64(0), OUTPUT));
    }

    function _result(bytes32 root) private pure returns (ResultProof memory) {
        return ResultProof(root, 0, root, new bytes32[](0));
    }

    function _input() private pure returns (InputProof memory) {
        return InputProof(ROW, new bytes32[](0));
    }

    function _accuse(Job memory job, bytes32 root) private {
        bytes32 jobId = _id(job);
        Scribe scribe = _open();
        scribe.writeAccusation(jobId, 0, root);
        scribe.writeAccusation(jobId, 1, root);
        _play();
    }

    function _judgement(Job memory job, bytes32 root, bool right) private pure returns (bytes memory) {
        uint256 position = right ? 0 : 1;
        bytes32[] memory siblings = new bytes32[](1);
        siblings[0] = right ? _goldLeaf(GOLD_OUTPUT) : _goldLeaf(OUTPUT);
        Gold memory gold = Gold(position, 0, right ? OUTPUT : GOLD_OUTPUT, SALT, siblings);
        return abi.encodeCall(IDisputes.judge, (job, gold, _result(root), _input()));
    }

    function _seal(Job memory job, bytes32 root, Before memory before, uint8 count) private {
        vm.assume(count != 0 && count <= before.noShows);
        bytes32 jobId = _id(job);
        bytes32 commitment = CommitmentLibrary.compute(jobId, WORKER, root, SALT);
        Scribe scribe = _open();
        scribe.writeSealedSeat(WORKER, 0, CommitmentLibrary.digestOf(jobId, commitment), 0, count);
        _play();
    }

    /// One opening, twice: the second is passed over.
    function _openings() private pure returns (Opening[] memory openings) {
        openings = new Opening[](2);
        (openings[0], openings[1]) = (Opening(WORKER, 0, SALT), Opening(WORKER, 0, SALT));
    }
}
