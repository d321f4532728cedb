// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IComputeOracle, SeatRef} from "../../../contracts/src/interfaces/IComputeOracle.sol";
import {Demand, IDisputes, Node} from "../../../contracts/src/interfaces/IDisputes.sol";
import {IModelRegistry} from "../../../contracts/src/interfaces/IModelRegistry.sol";
import {CommitmentLibrary} from "../../../contracts/src/libraries/Commitment.sol";
import {Execution, Job, JobState, Outcome, Terms} from "../../../contracts/src/libraries/Job.sol";
import {Tally} from "../../../contracts/src/libraries/Tally.sol";
import {OracleProof} from "./OracleProof.sol";
import {Entry, Scribe} from "./Scribe.sol";

/// @notice Whatever reward, fees, bonds and stakes a job has: once it is settled and everything is released, the oracle holds
/// to the wei what it owes, the total is the sum of the accounts, and nothing is left locked. One check for each way in
/// which a vote can end. Seats of one word share one fate, so one worker for each word stands for them all.
contract SettlementProofs is OracleProof {
    /// What became of a root before the settlement.
    enum Fate {
        Standing,
        Answered, // one demand, answered
        Silenced, // one demand, open
        Flooded, // two demands, open
        Refuted // one demand open, one answered
    }

    struct Vote {
        uint8 seats;
        uint8 quorum;
        uint8 noShows;
        uint8 abstained;
        uint8 first; // seats on FIRST
        uint8 second; // seats on SECOND
        Fate firstFate;
        Fate secondFate;
        bytes32 executed; // the true root, if every row was executed
        Outcome outcome; // that should come of it
    }

    struct Amounts {
        uint48 seatStake; // gwei
        uint48 spare; // gwei that each worker has beyond its seats
        uint80 reward;
        uint80 callOutFee;
        uint80 bond; // of each demand
        uint80 credit; // owed to the requester before
    }

    struct Parties {
        address requester;
        address refuter;
        address demander;
        address answerer;
        address executor;
    }

    struct Case {
        Job job;
        bytes32 jobId;
        Amounts amounts;
        Vote vote;
        Parties parties;
        uint256 bonds;
    }

    bytes32 private constant SEALED = bytes32(uint256(0xa));
    bytes32 private constant FIRST = bytes32(uint256(0xb));
    bytes32 private constant SECOND = bytes32(uint256(0xc));
    bytes32 private constant UNREVEALED = bytes32(uint256(0xd));
    uint8 private constant LANE = 3;
    uint32 private constant WINDOW = 100;

    function setUp() external {
        _deploy(IModelRegistry(_create("ModelRegistry", abi.encode(10_000_000))));
    }

    // ---- The ways in which a vote can end ----

    function check_expired(Amounts calldata amounts) external {
        _prove(amounts, _vote(5, 3, 2, 0, 0, 0));
    }

    function check_acceptedByQuorum(Amounts calldata amounts) external {
        _prove(amounts, _accepted(_vote(5, 3, 1, 0, 3, 1)));
    }

    function check_acceptedAfterAnAnswerAndARefutation(Amounts calldata amounts) external {
        _prove(amounts, _accepted(_after(_vote(5, 3, 0, 1, 3, 1), Fate.Answered, Fate.Refuted)));
    }

    function check_acceptedThoughShortOfQuorum(Amounts calldata amounts) external {
        _prove(amounts, _accepted(_after(_vote(5, 3, 1, 1, 1, 2), Fate.Standing, Fate.Refuted)));
    }

    function check_hungVote(Amounts calldata amounts) external {
        _prove(amounts, _hung(_vote(5, 3, 1, 1, 2, 1)));
    }

    function check_hungBySilence(Amounts calldata amounts) external {
        _prove(amounts, _hung(_after(_vote(5, 3, 0, 1, 3, 1), Fate.Silenced, Fate.Standing)));
    }

    function check_hungWithoutAStandingRoot(Amounts calldata amounts) external {
        _prove(amounts, _hung(_after(_vote(5, 3, 1, 1, 2, 1), Fate.Refuted, Fate.Flooded)));
    }

    function check_unavailable(Amounts calldata amounts) external {
        _prove(amounts, _unavailable(_after(_vote(7, 4, 1, 4, 1, 1), Fate.Refuted, Fate.Flooded)));
    }

    function check_executedAndRevealed(Amounts calldata amounts) external {
        _prove(amounts, _executed(_after(_vote(7, 4, 1, 1, 2, 3), Fate.Flooded, Fate.Refuted), FIRST));
    }

    function check_executedAgainstTheQuorum(Amounts calldata amounts) external {
        _prove(amounts, _executed(_after(_vote(5, 3, 0, 1, 3, 1), Fate.Answered, Fate.Silenced), SECOND));
    }

    function check_executedAndNeverRevealed(Amounts calldata amounts) external {
        _prove(amounts, _executed(_after(_vote(7, 4, 1, 2, 3, 1), Fate.Refuted, Fate.Silenced), UNREVEALED));
    }

    /// One party is everything: requester, worker, refuter of another root, demander, answerer.
    function check_onePartyInEveryRole(Amounts calldata amounts) external {
        address one = _worker(FIRST);
        Vote memory vote = _accepted(_after(_vote(5, 3, 1, 1, 1, 2), Fate.Answered, Fate.Refuted));
        _prove(amounts, vote, Parties(one, one, one, one, one));
    }

    /// The same, as a liar that refutes itself.
    function check_oneLiarInEveryRole(Amounts calldata amounts) external {
        address one = _worker(SECOND);
        Vote memory vote = _executed(_after(_vote(5, 3, 1, 0, 1, 3), Fate.Answered, Fate.Refuted), FIRST);
        _prove(amounts, vote, Parties(one, one, one, one, one));
    }

    /// What must not hold: that a settled job costs nobody anything.
    function find_nothingIsEverBurned() external {
        Vote memory vote = _accepted(_vote(5, 3, 1, 0, 3, 1));
        Case memory one = _lay(Amounts(7, 7, 1 ether, 0, 1, 0), vote, _distinct());
        uint256 held = oracle.balance;
        IComputeOracle(oracle).settle(one.job, FIRST, new SeatRef[](0));
        assert(oracle.balance == held);
    }

    // ---- Votes ----

    function _vote(uint8 seats, uint8 quorum, uint8 noShows, uint8 abstained, uint8 first, uint8 second)
        private
        pure
        returns (Vote memory vote)
    {
        (vote.seats, vote.quorum, vote.noShows) = (seats, quorum, noShows);
        (vote.abstained, vote.first, vote.second, vote.outcome) = (abstained, first, second, Outcome.Expired);
    }

    function _after(Vote memory vote, Fate first, Fate second) private pure returns (Vote memory) {
        (vote.firstFate, vote.secondFate) = (first, second);
        return vote;
    }

    function _accepted(Vote memory vote) private pure returns (Vote memory) {
        vote.outcome = Outcome.Accepted;
        return vote;
    }

    function _hung(Vote memory vote) private pure returns (Vote memory) {
        vote.outcome = Outcome.Hung;
        return vote;
    }

    function _unavailable(Vote memory vote) private pure returns (Vote memory) {
        vote.outcome = Outcome.Unavailable;
        return vote;
    }

    function _executed(Vote memory vote, bytes32 root) private pure returns (Vote memory) {
        (vote.outcome, vote.executed) = (Outcome.Accepted, root);
        return vote;
    }

    function _distinct() private pure returns (Parties memory) {
        return Parties(address(0x1001), address(0x1002), address(0x1003), address(0x1004), address(0x1005));
    }

    // ---- The proof ----

    function _prove(Amounts calldata amounts, Vote memory vote) private {
        _prove(amounts, vote, _distinct());
    }

    function _prove(Amounts calldata amounts, Vote memory vote, Parties memory parties) private {
        Case memory one = _lay(amounts, vote, parties);
        bytes32 winner = vote.executed != 0 ? vote.executed : vote.outcome == Outcome.Accepted ? FIRST : bytes32(0);
        IComputeOracle(oracle).settle(one.job, winner, new SeatRef[](0));
        _release(one, vote.noShows, SEALED);
        _release(one, vote.abstained, CommitmentLibrary.DATA_UNAVAILABLE);
        _release(one, vote.first, FIRST);
        _release(one, vote.second, SECOND);
        _releaseDisputes(one, vote.first, FIRST, vote.firstFate);
        _releaseDisputes(one, vote.second, SECOND, vote.secondFate);
        _check(one);
    }

    function _release(Case memory one, uint8 seats, bytes32 word) private {
        if (seats == 0) return;
        SeatRef[] memory refs = new SeatRef[](2);
        (refs[0], refs[1]) = (SeatRef(_worker(word), LANE), SeatRef(_worker(word), LANE)); // the second is passed over
        IComputeOracle(oracle).release(one.job, word, refs);
    }

    function _releaseDisputes(Case memory one, uint8 seats, bytes32 root, Fate fate) private {
        if (seats == 0) return;
        uint256 demands = fate == Fate.Standing ? 0 : fate == Fate.Flooded || fate == Fate.Refuted ? 2 : 1;
        for (uint256 i = 0; i < demands; i++) {
            IDisputes(oracle).releaseBond(one.job, Node(root, 1, i));
        }
        bool refuted = fate == Fate.Refuted || (one.vote.executed != 0 && one.vote.executed != root);
        if (refuted) IDisputes(oracle).releaseBounty(one.job, root);
    }

    function _check(Case memory one) private {
        Scribe scribe = _open();
        assert(scribe.jobState(one.jobId).outcome == one.vote.outcome);
        uint256 bonded = 0;
        uint256 owed = 0;
        bytes32[4] memory words = [SEALED, CommitmentLibrary.DATA_UNAVAILABLE, FIRST, SECOND];
        for (uint256 i = 0; i < words.length; i++) {
            Entry memory entry = scribe.entryOf(_worker(words[i]));
            assert(entry.locked == 0 && entry.lanes == 0);
            bonded += entry.bonded;
            owed += entry.credit;
        }
        if (one.parties.requester == address(0x1001)) {
            for (uint256 i = 0; i < 5; i++) {
                owed += scribe.entryOf(address(uint160(0x1001 + i))).credit;
            }
        }
        Entry memory total = scribe.totalEntry();
        assert(bonded == total.bonded);
        assert(oracle.balance == _stake(total) + owed);
    }

    // ---- The state before ----

    /// The worker whose seats have this word.
    function _worker(bytes32 word) private pure returns (address) {
        return address(uint160(0x2000 + uint8(uint256(word))));
    }

    /// A job whose windows are over, as the vote left it: what VoteProofs shows that every call preserves.
    function _lay(Amounts memory amounts, Vote memory vote, Parties memory parties) private returns (Case memory one) {
        vm.assume(amounts.seatStake != 0 && amounts.bond != 0); // as createJob and demand see to
        vm.assume(uint256(amounts.callOutFee) * 10 <= amounts.reward);
        (one.amounts, one.vote, one.parties) = (amounts, vote, parties);
        one.job.requester = parties.requester;
        Terms memory terms = one.job.terms;
        (terms.seats, terms.quorum, terms.itemCount) = (vote.seats, vote.quorum, 20);
        terms.seatStake = uint96(amounts.seatStake) * 1 gwei;
        (terms.reward, terms.callOutFee) = (amounts.reward, amounts.callOutFee);
        (terms.commitWindow, terms.revealWindow) = (WINDOW, WINDOW);
        (terms.challengeWindow, terms.responseWindow) = (WINDOW, WINDOW);
        one.jobId = IComputeOracle(oracle).jobIdOf(one.job);

        Scribe scribe = _open();
        JobState memory state;
        (state.createdBlock, state.startedAt) = (uint32(BLOCK - 10), uint40(NOW - 20 * WINDOW));
        state.grantedSeats = vote.noShows + vote.abstained + vote.first + vote.second;
        (state.sealedSeats, state.abstainedSeats) = (vote.noShows, vote.abstained);
        _layRoot(one, state, vote.first, FIRST, vote.firstFate);
        _layRoot(one, state, vote.second, SECOND, vote.secondFate);
        if (vote.executed != 0) {
            (state.execution, state.root) = (Execution.Whole, vote.executed);
            state.rootSeats = vote.executed == FIRST ? vote.first : vote.executed == SECOND ? vote.second : 0;
            state.refutedSeats = vote.first + vote.second - state.rootSeats;
            scribe.writeExecutor(one.jobId, parties.executor);
        }
        scribe.writeJob(one.jobId, state);
        uint256 total = _layWorker(one, vote.noShows, SEALED)
            + _layWorker(one, vote.abstained, CommitmentLibrary.DATA_UNAVAILABLE) + _layWorker(one, vote.first, FIRST)
            + _layWorker(one, vote.second, SECOND);
        scribe.writeTotal(Entry(uint56(total), 0, 0, 0, 0));
        _layCredit(parties.requester, amounts.credit);
        vm.deal(oracle, uint256(amounts.reward) + amounts.credit + one.bonds + total * 1 gwei);
        _play();
    }

    function _layWorker(Case memory one, uint8 seats, bytes32 word) private returns (uint256 bonded) {
        uint256 locked = uint256(one.amounts.seatStake) * seats;
        bonded = locked + one.amounts.spare;
        address worker = _worker(word);
        bytes27 digest = CommitmentLibrary.digestOf(one.jobId, word);
        uint24 lanes = seats == 0 ? 0 : uint24(1) << LANE;
        Scribe(oracle).writeAccount(worker, Entry(uint56(bonded), uint56(locked), 0, lanes, 0));
        if (word == SEALED) Scribe(oracle).writeSealedSeat(worker, LANE, digest, 0, seats);
        else Scribe(oracle).writeRevealedSeat(worker, LANE, digest, 0, seats);
    }

    function _layCredit(address party, uint80 credit) private {
        Entry memory entry = Scribe(oracle).entryOf(party);
        entry.credit = credit;
        Scribe(oracle).writeAccount(party, entry);
    }

    function _layRoot(Case memory one, JobState memory state, uint8 seats, bytes32 root, Fate fate) private {
        if (seats == 0) return;
        Tally memory tally;
        tally.seats = seats;
        if (one.vote.executed == 0 && root == FIRST) (state.root, state.rootSeats) = (root, seats);
        if (fate == Fate.Standing || fate == Fate.Answered) {
            state.standingRoots += 1;
            state.standingSeats += seats;
            if (seats >= one.vote.quorum) state.quorumStands = true;
        }
        if (fate == Fate.Refuted) {
            tally.refuter = one.parties.refuter;
            state.refutedSeats += seats;
        }
        if (fate == Fate.Answered) _layDemand(one, state, root, 0, one.parties.answerer);
        if (fate == Fate.Silenced) _layDemand(one, state, root, 0, address(0));
        if (fate == Fate.Flooded || fate == Fate.Refuted) {
            _layDemand(one, state, root, 0, address(0));
            _layDemand(one, state, root, 1, fate == Fate.Refuted ? one.parties.answerer : address(0));
        }
        tally.openDemands = fate == Fate.Flooded ? 2 : fate == Fate.Silenced || fate == Fate.Refuted ? 1 : 0;
        Scribe(oracle).writeTally(one.jobId, root, tally);
    }

    function _layDemand(Case memory one, JobState memory state, bytes32 root, uint256 index, address answerer) private {
        one.bonds += one.amounts.bond;
        state.demandedLevels = 2;
        Demand memory made = Demand(one.parties.demander, uint40(NOW - 1), false, one.amounts.bond, answerer);
        Scribe(oracle).writeDemand(one.jobId, Node(root, 1, index), made);
    }
}
