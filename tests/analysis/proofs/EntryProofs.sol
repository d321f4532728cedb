// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IComputeOracle} from "../../../contracts/src/interfaces/IComputeOracle.sol";
import {IModelRegistry} from "../../../contracts/src/interfaces/IModelRegistry.sol";
import {Job, JobState, Terms} from "../../../contracts/src/libraries/Job.sol";
import {OracleProof} from "./OracleProof.sol";
import {Entry, Scribe} from "./Scribe.sol";

/// @notice What goes into a job is what settlement takes to be there: a creation brings reward and audit bond to the wei and
/// touches nobody's books; a commitment locks its seats' stake, which was free, and moves nothing.
/// @dev This contract is the model registry too.
contract EntryProofs is OracleProof {
    struct Creation {
        uint48 seatStake; // gwei
        uint80 reward;
        uint80 callOutFee;
        uint80 auditBond;
        uint56 staked; // gwei, by everybody
        uint80 credit; // owed to the requester before
        uint80 held; // by the oracle before
    }

    struct Commitment {
        uint56 bonded; // gwei
        uint56 locked; // gwei
        uint56 others; // gwei
        uint8 granted;
    }

    uint32 private constant WINDOW = 100;
    uint8 private constant LANE = 3;
    uint48 private constant SEAT_STAKE = 1_000_003; // gwei, in commitments: how many seats a stake has divides by it
    address private constant REQUESTER = address(0x1001);
    address private constant WORKER = address(0x2001);

    function setUp() external {
        _deploy(IModelRegistry(address(this)));
    }

    function model(bytes32) external pure returns (IModelRegistry.Model memory) {
        return IModelRegistry.Model(2, 1, 100_000, 100, false);
    }

    function check_createJob(Creation calldata made, uint96 value) external {
        Job memory job = _created(made);
        Entry memory total = Scribe(oracle).totalEntry();
        Entry memory own = Scribe(oracle).entryOf(REQUESTER);
        _play();
        vm.deal(REQUESTER, value);
        vm.deal(oracle, made.held);
        vm.prank(REQUESTER);
        (bool done,) = oracle.call{value: value}(abi.encodeCall(IComputeOracle.createJob, (0, job.terms, "")));
        vm.assume(done);

        assert(value == uint256(made.reward) + made.auditBond && oracle.balance == uint256(made.held) + value);
        bytes32 jobId = IComputeOracle(oracle).jobIdOf(job);
        Scribe scribe = _open();
        assert(scribe.jobState(jobId).createdBlock == BLOCK && scribe.jobState(jobId).grantedSeats == 0);
        assert(keccak256(abi.encode(total)) == keccak256(abi.encode(scribe.totalEntry())));
        assert(keccak256(abi.encode(own)) == keccak256(abi.encode(scribe.entryOf(REQUESTER))));
    }

    function check_commit(Commitment calldata made) external {
        Job memory job = _drawn(made);
        Entry memory total = Scribe(oracle).totalEntry();
        _play();
        bytes32 jobId = IComputeOracle(oracle).jobIdOf(job);
        vm.prank(WORKER);
        (bool done,) = oracle.call(_commitment(job));
        vm.assume(done);

        Scribe scribe = _open();
        uint256 added = uint256(scribe.jobState(jobId).grantedSeats) - made.granted;
        Entry memory left = scribe.entryOf(WORKER);
        assert((added == 1 || added == 2) && scribe.seatAt(WORKER, LANE).count == added);
        assert(scribe.jobState(jobId).sealedSeats == added);
        assert(left.locked == made.locked + added * SEAT_STAKE && left.locked <= left.bonded);
        assert(left.bonded == made.bonded && left.credit == 0 && left.lanes == uint24(1) << LANE);
        assert(keccak256(abi.encode(total)) == keccak256(abi.encode(scribe.totalEntry())) && oracle.balance == 0);
    }

    // ---- What must not hold: that these calls never succeed ----

    function find_aCreation() external {
        Job memory job = _created(Creation(10_000_000, 1 ether, 1, 1, 1 << 50, 0, 0));
        _play();
        vm.deal(address(this), 2 ether);
        (bool done,) = oracle.call{value: 1 ether + 1}(abi.encodeCall(IComputeOracle.createJob, (0, job.terms, "")));
        assert(!done);
    }

    function find_aCommitment() external {
        Job memory job = _drawn(Commitment(SEAT_STAKE * 5, 0, 0, 3));
        _play();
        vm.prank(WORKER);
        (bool done,) = oracle.call(_commitment(job));
        assert(!done);
    }

    // ---- The states before; the oracle's storage is open afterwards ----

    function _created(Creation memory made) private returns (Job memory job) {
        job = _job(made.seatStake);
        Terms memory terms = job.terms;
        (terms.reward, terms.callOutFee, terms.auditBond) = (made.reward, made.callOutFee, made.auditBond);
        (terms.goldRoot, terms.goldCount) = (bytes32(uint256(1)), 1);
        terms.dataUriHash = keccak256("");
        Scribe scribe = _open();
        scribe.writeTotal(Entry(made.staked, 0, 0, 0, 0));
        scribe.writeAccount(REQUESTER, Entry(0, 0, 0, 0, made.credit));
    }

    function _drawn(Commitment memory made) private returns (Job memory job) {
        vm.assume(made.locked <= made.bonded && made.granted < 5);
        vm.assume(uint256(made.bonded) + made.others <= type(uint56).max);
        job = _job(SEAT_STAKE);
        _play();
        bytes32 jobId = IComputeOracle(oracle).jobIdOf(job);
        JobState memory state;
        (state.createdBlock, state.startedAt, state.seed) = (uint32(BLOCK - 10), uint40(NOW - 1), "quorate!");
        state.grantedSeats = made.granted;
        Scribe scribe = _open();
        scribe.writeJob(jobId, state);
        scribe.writeAccount(WORKER, Entry(made.bonded, made.locked, 0, 0, 0));
        scribe.writeTotal(Entry(made.bonded + made.others, 0, 0, 0, 0));
    }

    function _job(uint48 seatStake) private pure returns (Job memory job) {
        job.requester = REQUESTER;
        Terms memory terms = job.terms;
        (terms.seats, terms.quorum, terms.itemCount) = (5, 3, 20);
        terms.seatStake = uint96(seatStake) * 1 gwei;
        (terms.commitWindow, terms.revealWindow) = (WINDOW, WINDOW);
        (terms.challengeWindow, terms.responseWindow) = (2 * WINDOW, WINDOW);
    }

    function _commitment(Job memory job) private pure returns (bytes memory) {
        uint256[] memory tickets = new uint256[](2);
        tickets[1] = 1;
        bytes32 commitment = bytes32(uint256(0xd));
        return abi.encodeCall(IComputeOracle.commit, (job, LANE, commitment, bytes32(uint256(0xe)), tickets));
    }
}
