// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OracleStorage} from "./OracleStorage.sol";
import {Bounds, IComputeOracle} from "./interfaces/IComputeOracle.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {ISeedSource} from "./interfaces/ISeedSource.sol";
import {CommitmentLibrary, Seat, SeatStatus} from "./libraries/Commitment.sol";
import {GasBudget} from "./libraries/GasBudget.sol";
import {Job, JobLibrary, JobState, Outcome, Phase, Terms} from "./libraries/Job.sol";
import {MerkleProof} from "./libraries/MerkleProof.sol";
import {Account, Checkpoint, StakeLibrary} from "./libraries/Stake.sol";
import {Tally, TallyLibrary} from "./libraries/Tally.sol";
import {TicketLibrary} from "./libraries/Ticket.sol";

/// @notice The life of a job, top to bottom. Every entry point has the same beats: guards, effects, event, interaction.
/// See IComputeOracle for what is trusted and what each function promises.
contract ComputeOracle is OracleStorage, IComputeOracle {
    using JobLibrary for Job;
    using JobLibrary for JobState;
    using StakeLibrary for Account;
    using TallyLibrary for JobState;
    using TallyLibrary for Tally;

    ISeedSource private immutable SEED_SOURCE;
    address private immutable DISPUTES;
    uint256 private immutable MIN_WINDOW;
    uint256 private immutable MAX_WINDOW;
    uint256 private immutable UNBONDING_PERIOD;
    uint256 private immutable BLOCK_TIME;
    uint256 private immutable MAX_ITEM_COUNT;
    uint256 private immutable MAX_SEATS;

    constructor(IModelRegistry registry_, ISeedSource seedSource_, IDisputes disputes_, Bounds memory bounds_)
        OracleStorage(registry_, bounds_.referencePrice)
    {
        (address theirRegistry, uint256 theirPrice) = disputes_.disputesOf();
        if (theirRegistry != address(registry_) || theirPrice != bounds_.referencePrice) revert BadBound("disputes");
        if (bounds_.minWindow == 0) revert BadBound("minWindow");
        if (bounds_.maxWindow < bounds_.minWindow) revert BadBound("maxWindow");
        uint256 drawing = (JobLibrary.SEED_DELAY + JobLibrary.HASH_WINDOW) * bounds_.blockTime;
        if (bounds_.unbondingPeriod <= drawing + bounds_.maxWindow) revert BadBound("unbondingPeriod");
        if (bounds_.blockTime == 0) revert BadBound("blockTime");
        if (bounds_.maxItemCount == 0) revert BadBound("maxItemCount");
        if (bounds_.maxSeats == 0) revert BadBound("maxSeats");
        if (bounds_.referencePrice == 0) revert BadBound("referencePrice");
        SEED_SOURCE = seedSource_;
        DISPUTES = address(disputes_);
        MIN_WINDOW = bounds_.minWindow;
        MAX_WINDOW = bounds_.maxWindow;
        UNBONDING_PERIOD = bounds_.unbondingPeriod;
        BLOCK_TIME = bounds_.blockTime;
        MAX_ITEM_COUNT = bounds_.maxItemCount;
        MAX_SEATS = bounds_.maxSeats;
    }

    // ---- Stake ----

    function deposit() external payable {
        if (msg.value == 0) revert ZeroAmount();
        uint256 total = _total.bonded + msg.value;
        if (total > type(uint96).max) revert StakeTooLarge(total);

        Account storage account = _accounts[msg.sender];
        account.setBonded(_histories[msg.sender], account.bonded + msg.value);
        _total.setBonded(_totalHistory, total);
        emit StakeDeposited(msg.sender, msg.value);
    }

    function unbond(uint256 amount) external {
        if (amount == 0) revert ZeroAmount();
        Account storage account = _accounts[msg.sender];
        if (amount > account.free()) revert NotEnoughFreeStake(msg.sender, account.free(), amount);

        account.setBonded(_histories[msg.sender], account.bonded - amount);
        _total.setBonded(_totalHistory, _total.bonded - amount);
        Unbonding storage leaving = _unbonding[msg.sender];
        leaving.amount += uint96(amount);
        leaving.readyAt = uint40(block.timestamp + UNBONDING_PERIOD);
        emit StakeUnbonded(msg.sender, amount, leaving.readyAt);
    }

    function withdraw(address payable to) external {
        Unbonding storage leaving = _unbonding[msg.sender];
        uint256 amount = _credits[msg.sender];
        bool ready = leaving.amount != 0 && block.timestamp >= leaving.readyAt;
        if (ready) amount += leaving.amount;
        if (amount == 0) revert NothingToWithdraw(msg.sender, leaving.amount, leaving.readyAt);

        _credits[msg.sender] = 0;
        if (ready) delete _unbonding[msg.sender];
        emit Withdrawn(msg.sender, to, amount);
        _pay(to, amount);
    }

    // ---- A job ----

    function createJob(uint256 nonce, Terms calldata terms, string calldata dataUri)
        external
        payable
        returns (bytes32 jobId)
    {
        jobId = JobLibrary.idOf(msg.sender, nonce, terms);
        JobState storage state = _jobs[jobId];
        if (state.createdAt != 0) revert JobExists(jobId);
        _checkUnsupported(terms);
        bytes32 uriHash = keccak256(bytes(dataUri));
        if (uriHash != terms.dataUriHash) revert DataUriMismatch(terms.dataUriHash, uriHash);
        if (msg.value != terms.reward) revert WrongPayment(terms.reward, msg.value);
        uint256 staked = _total.bondedBefore(_totalHistory, block.number);
        _checkTerms(terms, staked);

        state.createdAt = uint40(block.timestamp);
        state.createdBlock = uint40(block.number);
        state.totalStake = uint96(staked);
        emit JobCreated(jobId, msg.sender, nonce, terms, staked, dataUri);
    }

    function draw(bytes32 jobId, bytes calldata proof) external {
        JobState storage state = _jobs[jobId];
        if (state.createdAt == 0) revert UnknownJob(jobId);
        if (state.drawnAt != 0) revert AlreadyDrawn(jobId);
        if (state.isUndrawable()) {
            revert WrongPhase(jobId, state.outcome == Outcome.Open ? Phase.Settling : Phase.Settled, Phase.Drawing);
        }
        uint256 seedBlock = state.seedBlock();
        if (block.number <= seedBlock) revert SeedNotReady(seedBlock, block.number);

        bytes32 seed = TicketLibrary.seedOf(SEED_SOURCE.randomness(seedBlock, proof), jobId);
        state.drawnAt = uint40(block.timestamp);
        state.seed = seed;
        emit Drawn(jobId, seed);
    }

    function commit(Job calldata job, bytes32 commitment, bytes32 sealedRoot, uint256[] calldata tickets) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Committing);
        Seat storage seat = _seats[jobId][msg.sender];
        bytes29 digest = bytes29(commitment);
        if (seat.count != 0 && seat.digest != digest) revert AlreadyCommitted(jobId, msg.sender);
        _checkTickets(state, job.terms, tickets);
        uint256 left = job.terms.seats - state.grantedSeats;
        uint256 added = tickets.length > seat.count ? tickets.length - seat.count : 0;
        if (added > left) added = left;
        if (added == 0) revert NoSeatGranted(jobId, msg.sender);
        Account storage account = _accounts[msg.sender];
        uint256 locked = added * job.terms.seatStake;
        if (locked > account.free()) revert NotEnoughFreeStake(msg.sender, account.free(), locked);

        account.locked += uint96(locked);
        if (seat.count == 0) state.sealedCommitments += 1;
        state.grantedSeats += uint16(added);
        uint16 held = seat.count + uint16(added);
        _seats[jobId][msg.sender] = Seat({digest: digest, count: held, status: SeatStatus.Sealed});
        if (added == left) state.commitEndedAt = uint40(block.timestamp);
        emit Committed(jobId, msg.sender, commitment, sealedRoot, held);
    }

    function reveal(Job calldata job, address worker, bytes32 root, bytes32 salt) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Revealing);
        Seat storage seat = _seats[jobId][worker];
        bytes29 digest = bytes29(CommitmentLibrary.compute(jobId, worker, root, salt));
        if (seat.status != SeatStatus.Sealed || seat.digest != digest) revert WrongOpening(jobId, worker);

        uint16 count = seat.count;
        bytes29 rootDigest = CommitmentLibrary.digestOf(root);
        _seats[jobId][worker] = Seat({digest: rootDigest, count: count, status: SeatStatus.Revealed});
        _tallies[jobId][rootDigest].addSeats(state, count, job.terms.quorum);
        state.sealedCommitments -= 1;
        if (state.sealedCommitments == 0) state.revealEndedAt = uint40(block.timestamp);
        emit Revealed(jobId, worker, root, count);
    }

    function settle(Job calldata job, bytes32 root) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Settling);
        uint256 forfeitedSeats = 0;
        uint256 remainder = job.terms.reward;
        if (state.drawnAt == 0 || state.grantedSeats < job.terms.quorum) {
            state.outcome = Outcome.Expired;
        } else if (!state.hasWinner(job.terms.quorum)) {
            state.outcome = Outcome.Hung;
            forfeitedSeats = state.grantedSeats - state.standingSeats;
        } else {
            Tally storage tally = _tallies[jobId][CommitmentLibrary.digestOf(root)];
            if (!tally.isWinner(state, job.terms.quorum)) revert NotTheWinner(jobId, root);
            state.outcome = Outcome.Accepted;
            state.root = root;
            state.itemCount = uint40(job.terms.itemCount);
            state.winningSeats = tally.seats;
            forfeitedSeats = state.grantedSeats - tally.seats;
            remainder = job.terms.reward % tally.seats;
        }
        uint256 forfeited = forfeitedSeats * job.terms.seatStake;
        if (forfeited != 0) _total.setBonded(_totalHistory, _total.bonded - forfeited);
        _credit(job.requester, remainder);
        uint256 burned = forfeited - TallyLibrary.bounty(state.refutedSeats, job.terms.seatStake);
        emit Settled(jobId, state.outcome, state.root, state.winningSeats, burned);
        _burn(burned);
    }

    // ---- After settlement: every payment is pulled ----

    function release(Job calldata job, address[] calldata workers) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Settled);
        uint256 released = 0;
        for (uint256 i = 0; i < workers.length; i++) {
            Seat storage seat = _seats[jobId][workers[i]];
            if (seat.status != SeatStatus.Sealed && seat.status != SeatStatus.Revealed) continue;
            released += 1;
            _releaseSeat(job.terms, jobId, state, workers[i], seat);
        }
        if (released == 0) revert NothingToRelease();
    }

    // ---- Disputes ----

    /// @notice Every function of IDisputes, run on this contract's storage by code fixed at deployment.
    fallback(bytes calldata input) external payable returns (bytes memory) {
        (bool done, bytes memory output) = DISPUTES.delegatecall(input);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(output, 0x20), mload(output)) // their error, as it is
            }
        }
        return output;
    }

    /// @notice Ether without a call would be nobody's.
    receive() external payable {
        revert PaymentWithoutCall(msg.value);
    }

    // ---- Reading ----

    function verdict(bytes32 jobId, uint256 index, bytes calldata output, bytes32[] calldata siblings)
        external
        view
        returns (bool)
    {
        JobState storage state = _jobs[jobId];
        uint256 itemCount = state.itemCount; // 0 unless Accepted
        return index < itemCount
            && MerkleProof.verify(
                state.root, MerkleProof.depthOf(itemCount), index, MerkleProof.resultLeaf(index, output), siblings
            );
    }

    function bounds() external view returns (Bounds memory) {
        return Bounds({
            minWindow: uint32(MIN_WINDOW),
            maxWindow: uint32(MAX_WINDOW),
            unbondingPeriod: uint32(UNBONDING_PERIOD),
            blockTime: uint32(BLOCK_TIME),
            maxItemCount: uint40(MAX_ITEM_COUNT),
            maxSeats: uint16(MAX_SEATS),
            referencePrice: uint96(REFERENCE_PRICE)
        });
    }

    function registry() external view returns (address) {
        return address(REGISTRY);
    }

    function disputes() external view returns (address) {
        return DISPUTES;
    }

    function seedSource() external view returns (address) {
        return address(SEED_SOURCE);
    }

    function jobIdOf(Job calldata job) external view returns (bytes32) {
        return job.id();
    }

    function jobState(bytes32 jobId) external view returns (JobState memory) {
        return _jobs[jobId];
    }

    function phaseOf(Job calldata job) external view returns (Phase) {
        (, JobState storage state) = _known(job);
        return state.phase(job.terms);
    }

    function phaseEnd(Job calldata job) external view returns (uint256) {
        (, JobState storage state) = _known(job);
        Phase current = state.phase(job.terms);
        if (current == Phase.Committing) return state.commitEnd(job.terms);
        if (current == Phase.Revealing) return state.revealEnd(job.terms);
        if (current == Phase.Challenging) return state.challengeEnd(job.terms);
        return 0;
    }

    function seatOf(bytes32 jobId, address worker) external view returns (Seat memory) {
        return _seats[jobId][worker];
    }

    function tallyOf(bytes32 jobId, bytes32 root) external view returns (Tally memory) {
        return _tallies[jobId][CommitmentLibrary.digestOf(root)];
    }

    function accountOf(address worker) external view returns (Account memory stake, uint256 unbonding, uint256 readyAt) {
        Unbonding storage leaving = _unbonding[worker];
        return (_accounts[worker], leaving.amount, leaving.readyAt);
    }

    function creditOf(address payee) external view returns (uint256) {
        return _credits[payee];
    }

    function totalStake() external view returns (uint256) {
        return _total.bonded;
    }

    function stakeBefore(address worker, uint256 blockNumber) external view returns (uint256) {
        return _accounts[worker].bondedBefore(_histories[worker], blockNumber);
    }

    function minSeatStake(bytes32 modelId, uint256 itemCount) external view returns (uint256) {
        return _minSeatStake(modelId, itemCount);
    }

    function costToCorrupt(Terms calldata terms) external pure returns (uint256) {
        return uint256(terms.quorum) * terms.seatStake / 2;
    }

    // ---- Guards ----

    /// Terms whose behaviour this deployment does not have.
    function _checkUnsupported(Terms calldata terms) private pure {
        if (terms.callOutFee != 0) revert TermNotSupported("callOutFee");
        if (terms.goldRoot != 0) revert TermNotSupported("goldRoot");
        if (terms.goldCount != 0) revert TermNotSupported("goldCount");
        if (terms.auditBond != 0) revert TermNotSupported("auditBond");
        if (terms.consumer != address(0)) revert TermNotSupported("consumer");
        if (terms.callbackGas != 0) revert TermNotSupported("callbackGas");
    }

    function _checkTerms(Terms calldata terms, uint256 staked) private view {
        if (terms.itemCount == 0 || terms.itemCount > MAX_ITEM_COUNT) {
            revert ItemCountOutOfBounds(terms.itemCount, MAX_ITEM_COUNT);
        }
        uint256 seats = terms.seats;
        if (seats == 0 || seats > MAX_SEATS) revert SeatsOutOfBounds(seats, MAX_SEATS);
        (uint256 least, uint256 most) = (seats / 2 + 1, (2 * seats + 2) / 3);
        if (terms.quorum < least || terms.quorum > most) revert QuorumOutOfBounds(terms.quorum, least, most);
        _checkWindow("commitWindow", terms.commitWindow, MIN_WINDOW);
        _checkWindow("revealWindow", terms.revealWindow, MIN_WINDOW);
        // A challenger needs as long as a worker.
        _checkWindow("challengeWindow", terms.challengeWindow, terms.commitWindow);
        _checkWindow("responseWindow", terms.responseWindow, MIN_WINDOW);
        uint256 leastStake = _minSeatStake(terms.modelId, terms.itemCount);
        if (terms.seatStake < leastStake) revert SeatStakeTooLow(terms.seatStake, leastStake);
        uint256 needed = seats * terms.seatStake;
        if (needed > staked) revert TotalStakeTooLow(staked, needed);
    }

    function _checkWindow(bytes32 name, uint256 window, uint256 least) private view {
        if (window < least || window > MAX_WINDOW) revert WindowOutOfBounds(name, window, least, MAX_WINDOW);
    }

    /// Every listed ticket must be the caller's own and win by now. Tickets that won before win still: odds only grow.
    function _checkTickets(JobState storage state, Terms calldata terms, uint256[] calldata tickets) private view {
        if (tickets.length == 0) revert TicketsNotAscending(0);
        uint256 owned =
            _accounts[msg.sender].bondedBefore(_histories[msg.sender], state.createdBlock) / terms.seatStake;
        uint256 factor = TicketLibrary.oddsFactor(terms.commitWindow, state.commitEnd(terms) - block.timestamp);
        uint256 expectedStake = factor * terms.seats * terms.seatStake;
        (bytes32 seed, uint256 staked) = (state.seed, state.totalStake);
        for (uint256 i = 0; i < tickets.length; i++) {
            if (i != 0 && tickets[i] <= tickets[i - 1]) revert TicketsNotAscending(i);
            if (tickets[i] >= owned) revert NoSuchTicket(tickets[i], owned);
            if (!TicketLibrary.wins(seed, msg.sender, tickets[i], expectedStake, staked)) {
                revert LosingTicket(tickets[i]);
            }
        }
    }

    // ---- Effects ----

    /// A seat keeps its stake if the job expired, if its root won, or if the job hung and its root stands.
    function _releaseSeat(Terms calldata terms, bytes32 jobId, JobState storage state, address worker, Seat storage seat)
        private
    {
        uint256 stake = uint256(seat.count) * terms.seatStake;
        uint256 forfeited = 0;
        uint256 paid = 0;
        if (state.outcome == Outcome.Accepted) {
            if (seat.status == SeatStatus.Revealed && seat.digest == CommitmentLibrary.digestOf(state.root)) {
                paid = seat.count * (uint256(terms.reward) / state.winningSeats);
            } else {
                forfeited = stake;
            }
        } else if (state.outcome == Outcome.Hung) {
            if (seat.status != SeatStatus.Revealed || !_tallies[jobId][seat.digest].stands()) forfeited = stake;
        }

        seat.status = SeatStatus.Released;
        Account storage account = _accounts[worker];
        account.locked -= uint96(stake);
        if (forfeited != 0) account.setBonded(_histories[worker], account.bonded - forfeited);
        _credit(worker, paid);
        emit SeatReleased(jobId, worker, seat.count, forfeited, paid);
    }

    function _minSeatStake(bytes32 modelId, uint256 itemCount) private view returns (uint256) {
        IModelRegistry.Model memory model = REGISTRY.model(modelId); // reverts if there is none
        uint256 gas = GasBudget.dispute(model.executionGas, MerkleProof.depthOf(itemCount), model.rowLength);
        return GasBudget.MARGIN * gas * REFERENCE_PRICE;
    }
}
