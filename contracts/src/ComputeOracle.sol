// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OracleStorage} from "./OracleStorage.sol";
import {Bounds, IComputeOracle, Opening, SeatRef, SignedCommit} from "./interfaces/IComputeOracle.sol";
import {Audit, IDisputes} from "./interfaces/IDisputes.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {ISeedSource} from "./interfaces/ISeedSource.sol";
import {IVerdictConsumer} from "./interfaces/IVerdictConsumer.sol";
import {CommitmentLibrary, PackedSeat, Seat, SeatStatus} from "./libraries/Commitment.sol";
import {GasBudget} from "./libraries/GasBudget.sol";
import {Execution, Job, JobLibrary, JobState, Outcome, Phase, Terms} from "./libraries/Job.sol";
import {MerkleProof} from "./libraries/MerkleProof.sol";
import {SignatureLibrary} from "./libraries/Signature.sol";
import {Account, StakeLibrary} from "./libraries/Stake.sol";
import {Tally, TallyLibrary} from "./libraries/Tally.sol";
import {TicketLibrary} from "./libraries/Ticket.sol";

/// @notice The life of a job, top to bottom. Every entry point has the same beats: guards, effects, event, interaction.
/// See IComputeOracle for what is trusted and what each function promises.
contract ComputeOracle is OracleStorage, IComputeOracle {
    using JobLibrary for Job;
    using JobLibrary for JobState;
    using TallyLibrary for JobState;
    using TallyLibrary for Tally;

    /// Most gas that a job may set aside for its consumer.
    uint256 private constant MOST_CALLBACK_GAS = 1_000_000;
    /// What is spent between looking at the gas left and the consumer's first instruction.
    uint256 private constant CALL_GAS = 5_000;

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
        _checkAmount(msg.value);
        uint256 total = totalStake() + msg.value;
        Account account = _accounts[msg.sender];
        uint256 bonded = account.bonded() + msg.value; // with forfeited seats that nobody released it can be above the total
        uint256 most = total > bonded ? total : bonded;
        if (most > uint256(type(uint56).max) * 1 gwei) revert StakeTooLarge(most);

        _accounts[msg.sender] = account.bond(_histories[msg.sender], bonded);
        _setTotalStake(total);
        emit StakeDeposited(msg.sender, msg.value);
    }

    function unbond(uint256 amount) external {
        _checkAmount(amount);
        Account account = _accounts[msg.sender];
        if (amount > account.free()) revert NotEnoughFreeStake(msg.sender, account.free(), amount);

        _accounts[msg.sender] = account.bond(_histories[msg.sender], account.bonded() - amount);
        _setTotalStake(totalStake() - amount);
        Unbonding storage leaving = _unbonding[msg.sender];
        leaving.amount += uint96(amount);
        leaving.readyAt = uint40(block.timestamp + UNBONDING_PERIOD);
        emit StakeUnbonded(msg.sender, amount, leaving.readyAt);
    }

    function withdraw(address payable to) external {
        Unbonding storage leaving = _unbonding[msg.sender];
        Account account = _accounts[msg.sender];
        uint256 amount = account.credit();
        bool ready = leaving.amount != 0 && block.timestamp >= leaving.readyAt;
        if (ready) amount += leaving.amount;
        if (amount == 0) revert NothingToWithdraw(msg.sender, leaving.amount, leaving.readyAt);

        _accounts[msg.sender] = account.clear();
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
        if (state.createdBlock != 0) revert JobExists(jobId);
        bytes32 uriHash = keccak256(bytes(dataUri));
        if (uriHash != terms.dataUriHash) revert DataUriMismatch(terms.dataUriHash, uriHash);
        uint256 payment = uint256(terms.reward) + terms.auditBond;
        if (msg.value != payment) revert WrongPayment(payment, msg.value);
        uint256 staked = _total.bondedBefore(_totalHistory, block.number);
        _checkTerms(terms, staked);

        state.createdBlock = uint32(block.number);
        emit JobCreated(jobId, msg.sender, nonce, terms, staked, dataUri);
    }

    function draw(bytes32 jobId, bytes calldata proof) external {
        JobState storage state = _jobs[jobId];
        if (state.createdBlock == 0) revert UnknownJob(jobId);
        if (state.startedAt != 0) revert AlreadyDrawn(jobId);
        if (state.isUndrawable()) {
            revert WrongPhase(jobId, state.outcome == Outcome.Open ? Phase.Settling : Phase.Settled, Phase.Drawing);
        }
        uint256 seedBlock = state.seedBlock();
        if (block.number <= seedBlock) revert SeedNotReady(seedBlock, block.number);

        bytes8 seed = TicketLibrary.seedOf(SEED_SOURCE.randomness(seedBlock, proof), jobId);
        state.startedAt = uint40(block.timestamp);
        state.seed = seed;
        emit Drawn(jobId, seed);
    }

    function commit(
        Job calldata job,
        uint8 lane,
        bytes32 commitment,
        bytes32 sealedRoot,
        uint256[] calldata tickets
    ) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Committing);
        Lottery memory lottery = _lotteryOf(jobId, state, job.terms);
        bytes memory refusal = _takeSeats(lottery, msg.sender, lane, commitment, sealedRoot, tickets);
        if (refusal.length != 0) _revertWith(refusal);
        _grantSeats(state, job.terms, lottery);
    }

    function commitFor(Job calldata job, SignedCommit[] calldata commits) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Committing);
        Lottery memory lottery = _lotteryOf(jobId, state, job.terms);
        bytes32 domain = SignatureLibrary.domain();
        for (uint256 i = 0; i < commits.length; i++) {
            SignedCommit calldata one = commits[i];
            bytes memory refusal = UNSIGNED;
            if (block.timestamp < one.deadline && SignatureLibrary.isSigned(domain, jobId, one)) {
                refusal = _takeSeats(lottery, one.worker, one.lane, one.commitment, one.sealedRoot, one.tickets);
            }
            if (refusal.length != 0) emit CommitSkipped(jobId, one.worker, bytes4(refusal));
        }
        if (lottery.granted == 0) revert NothingCommitted(jobId);
        _grantSeats(state, job.terms, lottery);
    }

    function reveal(Job calldata job, bytes32 root, Opening[] calldata openings) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Revealing);
        bytes27 rootDigest = CommitmentLibrary.digestOf(jobId, root);
        address[] memory workers = new address[](openings.length);
        uint256 opened = 0;
        uint256 count = 0;
        for (uint256 i = 0; i < openings.length; i++) {
            Opening calldata one = openings[i];
            bytes32 commitment = CommitmentLibrary.compute(jobId, one.worker, root, one.salt);
            PackedSeat seat = _seats[one.worker][one.lane];
            if (seat.status() != SeatStatus.Sealed) continue;
            if (!seat.holds(CommitmentLibrary.digestOf(jobId, commitment))) continue;
            _seats[one.worker][one.lane] = seat.open(rootDigest);
            opened += seat.count();
            workers[count++] = one.worker;
        }
        if (count == 0) revert NothingRevealed(jobId, root);

        emit Revealed(jobId, root, _first(workers, count));
        if (root == CommitmentLibrary.DATA_UNAVAILABLE) state.abstainedSeats += uint8(opened);
        else state.addSeats(_tallies[jobId], root, uint8(opened), job.terms.quorum);
        state.sealedSeats -= uint8(opened);
        if (state.sealedSeats == 0) state.endEarly(state.revealEnd(job.terms));
    }

    function settle(Job calldata job, bytes32 root, SeatRef[] calldata seats) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Settling);
        (Outcome outcome, bytes32 winner) = _judge(jobId, state, job.terms, root);
        state.outcome = outcome;
        (uint256 kept, uint256 paid) = _shares(state, job.terms, outcome);
        uint256 forfeited = (state.grantedSeats - kept) * job.terms.seatStake;
        if (forfeited != 0) _setTotalStake(totalStake() - forfeited);
        _credit(job.requester, job.terms.reward - paid);
        uint256 burned = forfeited - TallyLibrary.bounty(state.refutedSeats, job.terms.seatStake);
        emit Settled(jobId, outcome, winner, outcome == Outcome.Accepted ? state.rootSeats : 0, burned);
        if (job.terms.auditBond != 0) burned += _closeAudit(jobId, job);
        if (seats.length != 0) _release(job.terms, jobId, state, root, seats);
        _burn(burned);
    }

    // ---- After settlement: every payment is pulled ----

    function release(Job calldata job, bytes32 word, SeatRef[] calldata seats) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Settled);
        if (_release(job.terms, jobId, state, word, seats) == 0) revert NothingToRelease();
    }

    function deliver(Job calldata job) external {
        (bytes32 jobId, JobState storage state) = _inPhase(job, Phase.Settled);
        address consumer = job.terms.consumer;
        if (consumer == address(0)) revert NoConsumer(jobId);
        if (_delivered[jobId]) revert AlreadyDelivered(jobId);

        _delivered[jobId] = true;
        emit Delivered(jobId, consumer);
        bytes32 root = state.outcome == Outcome.Accepted ? state.root : bytes32(0);
        _tell(consumer, job.terms.callbackGas, abi.encodeCall(IVerdictConsumer.onSettled, (jobId, state.outcome, root)));
    }

    // ---- Several calls at once ----

    function multicall(bytes[] calldata calls) external {
        for (uint256 i = 0; i < calls.length; i++) {
            (bool done, bytes memory output) = address(this).delegatecall(calls[i]);
            if (!done) _revertWith(output);
        }
    }

    // ---- Disputes ----

    /// @notice Every function of IDisputes, run on this contract's storage by code fixed at deployment.
    fallback(bytes calldata input) external payable returns (bytes memory) {
        (bool done, bytes memory output) = DISPUTES.delegatecall(input);
        if (!done) _revertWith(output);
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
            maxItemCount: uint32(MAX_ITEM_COUNT),
            maxSeats: uint8(MAX_SEATS),
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

    function seatAt(address worker, uint256 lane) external view returns (Seat memory) {
        return _seats[worker][lane].unpack();
    }

    function tallyOf(bytes32 jobId, bytes32 root) external view returns (Tally memory tally) {
        tally = _tallies[jobId][root];
        tally.seats = _jobs[jobId].seatsOf(_tallies[jobId][root], root);
    }

    function accountOf(address party)
        external
        view
        returns (uint256 bonded, uint256 locked, uint256 lanes, uint256 unbonding, uint256 readyAt, uint256 credit)
    {
        Account account = _accounts[party];
        Unbonding storage leaving = _unbonding[party];
        (bonded, locked, lanes, credit) = (account.bonded(), account.locked(), account.lanes(), account.credit());
        return (bonded, locked, lanes, leaving.amount, leaving.readyAt, credit);
    }

    function totalStake() public view returns (uint256) {
        return _total.bonded();
    }

    function stakeBefore(address worker, uint256 blockNumber) external view returns (uint256) {
        return _accounts[worker].bondedBefore(_histories[worker], blockNumber);
    }

    function commitHash(bytes32 jobId, SignedCommit calldata signed) external view returns (bytes32) {
        return SignatureLibrary.hashOf(SignatureLibrary.domain(), jobId, signed);
    }

    function minSeatStake(bytes32 modelId, uint256 itemCount) external view returns (uint256) {
        return _minSeatStake(modelId, itemCount);
    }

    function costToCorrupt(Terms calldata terms) external pure returns (uint256) {
        return uint256(terms.quorum) * terms.seatStake / 2;
    }

    // ---- Guards ----

    function _checkAmount(uint256 amount) private pure {
        if (amount == 0) revert ZeroAmount();
        if (amount % 1 gwei != 0) revert NotWholeGwei(amount);
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
        // A challenger needs as long as a worker; and gold is opened a response window before the end.
        uint256 shortest = terms.commitWindow;
        if (terms.goldCount != 0 && terms.responseWindow >= shortest) shortest = uint256(terms.responseWindow) + 1;
        _checkWindow("challengeWindow", terms.challengeWindow, shortest);
        _checkWindow("responseWindow", terms.responseWindow, MIN_WINDOW);
        uint256 leastStake = _minSeatStake(terms.modelId, terms.itemCount);
        if (terms.seatStake < leastStake) revert SeatStakeTooLow(terms.seatStake, leastStake);
        uint256 needed = seats * terms.seatStake;
        if (needed > staked) revert TotalStakeTooLow(staked, needed);
        if (terms.seatStake % 1 gwei != 0) revert NotWholeGwei(terms.seatStake);
        if (terms.callOutFee > terms.reward / 10) revert CallOutFeeTooHigh(terms.callOutFee, terms.reward / 10);
        _checkVerificationSet(terms);
        uint256 mostGas = terms.consumer == address(0) ? 0 : MOST_CALLBACK_GAS;
        if (terms.callbackGas > mostGas) revert CallbackGasOutOfBounds(terms.callbackGas, mostGas);
    }

    function _checkVerificationSet(Terms calldata terms) private pure {
        bool none = terms.goldRoot == 0 && terms.goldCount == 0 && terms.auditBond == 0;
        bool whole = terms.goldRoot != 0 && terms.goldCount != 0 && terms.auditBond != 0;
        if (none || (whole && terms.goldCount <= terms.itemCount)) return;
        revert BadVerificationSet(terms.goldRoot, terms.goldCount, terms.auditBond);
    }

    function _checkWindow(bytes32 name, uint256 window, uint256 least) private view {
        if (window < least || window > MAX_WINDOW) revert WindowOutOfBounds(name, window, least, MAX_WINDOW);
    }

    // ---- Stake ----

    function _setTotalStake(uint256 amount) private {
        _total = _total.bond(_totalHistory, amount);
    }

    // ---- Seats ----

    /// What decides about tickets in one transaction of the commit phase.
    struct Lottery {
        bytes32 jobId;
        bytes8 seed;
        uint256 createdBlock;
        uint256 seatStake;
        uint256 expectedStake; // odds factor · seats · seatStake
        uint256 totalStake;
        uint256 left; // seats
        uint256 granted; // seats, by this transaction
    }

    /// A refusal for want of a valid signature: no error's.
    bytes private constant UNSIGNED = hex"00000000";

    function _lotteryOf(bytes32 jobId, JobState storage state, Terms calldata terms)
        private
        view
        returns (Lottery memory)
    {
        uint256 factor = TicketLibrary.oddsFactor(terms.commitWindow, state.commitEnd(terms) - block.timestamp);
        return Lottery({
            jobId: jobId,
            seed: state.seed,
            createdBlock: state.createdBlock,
            seatStake: terms.seatStake,
            expectedStake: factor * terms.seats * terms.seatStake,
            totalStake: _total.bondedBefore(_totalHistory, state.createdBlock),
            left: terms.seats - state.grantedSeats,
            granted: 0
        });
    }

    /// Seats for a worker's winning tickets, as many as are left; the job's own count is for _grantSeats.
    /// @return refusal The error that a direct commit reverts with; empty if a seat was taken.
    function _takeSeats(
        Lottery memory lottery,
        address worker,
        uint8 lane,
        bytes32 commitment,
        bytes32 sealedRoot,
        uint256[] calldata tickets
    ) private returns (bytes memory refusal) {
        Account account = _accounts[worker];
        bytes27 digest = CommitmentLibrary.digestOf(lottery.jobId, commitment);
        uint256 held;
        (held, refusal) = _held(lottery, worker, account.lanes(), lane, digest);
        if (refusal.length != 0) return refusal;
        refusal = _refuseTickets(lottery, worker, account, tickets);
        if (refusal.length != 0) return refusal;
        uint256 added = tickets.length > held ? tickets.length - held : 0;
        if (added > lottery.left) added = lottery.left;
        if (added == 0) return abi.encodeWithSelector(NoSeatGranted.selector, lottery.jobId, worker);
        uint256 needed = added * lottery.seatStake;
        uint256 free = account.free();
        if (needed > free) return abi.encodeWithSelector(NotEnoughFreeStake.selector, worker, free, needed);

        _accounts[worker] = account.lock(lane, needed);
        held += added;
        _seats[worker][lane] = CommitmentLibrary.seal(digest, bytes3(lottery.seed), held);
        lottery.left -= added;
        lottery.granted += added;
        emit Committed(lottery.jobId, worker, lane, commitment, sealedRoot, held);
    }

    /// The seats that the worker holds in this job, which must be in this lane and sealed with this commitment.
    function _held(Lottery memory lottery, address worker, uint256 lanes, uint8 lane, bytes27 digest)
        private
        view
        returns (uint256 held, bytes memory refusal)
    {
        for (uint256 i = 0; lanes >> i != 0; i++) {
            if (lanes >> i & 1 == 0) continue;
            PackedSeat seat = _seats[worker][i];
            if (seat.tag() != bytes3(lottery.seed)) continue;
            if (i != lane || !seat.holds(digest)) {
                return (0, abi.encodeWithSelector(AlreadyCommitted.selector, lottery.jobId, worker));
            }
            held = seat.count();
        }
        if (held == 0 && (lane >= StakeLibrary.LANES || lanes >> lane & 1 != 0)) {
            refusal = abi.encodeWithSelector(LaneTaken.selector, worker, lane);
        }
    }

    /// Every listed ticket must be the worker's own and win by now. Tickets that won before win still: odds only grow.
    function _refuseTickets(
        Lottery memory lottery,
        address worker,
        Account account,
        uint256[] calldata tickets
    )
        private
        view
        returns (bytes memory)
    {
        if (tickets.length == 0) return abi.encodeWithSelector(TicketsNotAscending.selector, 0);
        uint256 staked = account.bondedBefore(_histories[worker], lottery.createdBlock);
        uint256 owned = staked / lottery.seatStake;
        for (uint256 i = 0; i < tickets.length; i++) {
            uint256 ticket = tickets[i];
            if (i != 0 && ticket <= tickets[i - 1]) return abi.encodeWithSelector(TicketsNotAscending.selector, i);
            if (ticket >= owned) return abi.encodeWithSelector(NoSuchTicket.selector, ticket, owned);
            if (!TicketLibrary.wins(lottery.seed, worker, ticket, lottery.expectedStake, lottery.totalStake)) {
                return abi.encodeWithSelector(LosingTicket.selector, ticket);
            }
        }
        return "";
    }

    function _grantSeats(JobState storage state, Terms calldata terms, Lottery memory lottery) private {
        state.grantedSeats += uint8(lottery.granted);
        state.sealedSeats += uint8(lottery.granted);
        if (lottery.left == 0) state.endEarly(state.commitEnd(terms));
    }

    // ---- Settlement ----

    /// How the job ends. If a root wins it is enthroned, with what reading a verdict takes.
    function _judge(bytes32 jobId, JobState storage state, Terms calldata terms, bytes32 root)
        private
        returns (Outcome, bytes32)
    {
        if (state.startedAt == 0 || state.grantedSeats < terms.quorum) return (Outcome.Expired, 0);
        if (state.hasWinner(terms.quorum)) {
            if (!state.isWinner(_tallies[jobId][root], root, terms.quorum)) revert NotTheWinner(jobId, root);
            state.enthrone(_tallies[jobId], root);
            state.itemCount = uint32(terms.itemCount);
            return (Outcome.Accepted, root);
        }
        bool unavailable = state.abstainedSeats >= terms.quorum && state.standingRoots == 0;
        return (unavailable ? Outcome.Unavailable : Outcome.Hung, 0);
    }

    /// @return kept Seats that keep their stake.
    /// @return paid Wei of the reward that seats get.
    function _shares(JobState storage state, Terms calldata terms, Outcome outcome)
        private
        view
        returns (uint256 kept, uint256 paid)
    {
        uint256 fee = terms.callOutFee / terms.seats;
        if (outcome == Outcome.Expired) return (state.grantedSeats, state.grantedSeats * fee);
        uint256 abstained = state.abstainedSeats;
        if (outcome == Outcome.Unavailable) return (abstained, abstained * fee);
        if (outcome == Outcome.Hung) return (state.standingSeats + abstained, state.standingSeats * fee);
        uint256 won = state.rootSeats;
        return (won + abstained, won == 0 ? abstained * fee : terms.reward - terms.reward % won);
    }

    /// What becomes of each seat with this word, in wei of its stake and of the reward. Summed over all seats it is what
    /// _shares says.
    function _fate(JobState storage state, Terms calldata terms, bytes32 jobId, bytes32 word, SeatStatus status)
        private
        view
        returns (uint256 forfeited, uint256 paid)
    {
        uint256 fee = terms.callOutFee / terms.seats;
        Outcome outcome = state.outcome;
        if (outcome == Outcome.Expired) return (0, fee);
        if (status == SeatStatus.Sealed) return (terms.seatStake, 0);
        if (outcome == Outcome.Accepted && word == state.root) return (0, terms.reward / state.rootSeats);
        if (word == CommitmentLibrary.DATA_UNAVAILABLE) {
            bool inVain = outcome == Outcome.Unavailable || (outcome == Outcome.Accepted && state.rootSeats == 0);
            return (0, inVain ? fee : 0);
        }
        if (outcome == Outcome.Hung && _tallies[jobId][word].stands()) return (0, fee);
        return (terms.seatStake, 0);
    }

    /// The audit bond goes back, unless an opened item was wrong (half is whoever's showed it) or nobody executed it.
    /// @return burned Wei of it that nobody gets.
    function _closeAudit(bytes32 jobId, Job calldata job) private returns (uint256 burned) {
        Audit storage audit = _audits[jobId];
        uint256 bond = job.terms.auditBond;
        if (audit.executor != address(0)) {
            _credit(audit.executor, bond / 2);
            return bond - bond / 2;
        }
        // Once every row was executed nobody can execute an accused item any more, nor needs to.
        if (audit.openAccusations != 0 && _jobs[jobId].execution != Execution.Whole) return bond;
        _credit(job.requester, bond);
    }

    /// @return released How many workers' seats were unlocked, paid or written off.
    function _release(Terms calldata terms, bytes32 jobId, JobState storage state, bytes32 word, SeatRef[] calldata seats)
        private
        returns (uint256 released)
    {
        bytes27 digest = CommitmentLibrary.digestOf(jobId, word);
        address[] memory workers = new address[](seats.length);
        SeatStatus status; // of the first: seats of another status have another fate
        uint256 forfeited; // for each seat, as is `paid`
        uint256 paid;
        for (uint256 i = 0; i < seats.length; i++) {
            (address worker, uint256 lane) = (seats[i].worker, seats[i].lane);
            Account account = _accounts[worker];
            PackedSeat seat = _seats[worker][lane];
            if (account.lanes() >> lane & 1 == 0 || !seat.holds(digest)) continue;
            if (released == 0) {
                status = seat.status();
                (forfeited, paid) = _fate(state, terms, jobId, word, status);
            }
            if (seat.status() != status) continue;

            uint256 count = seat.count();
            account = account.unlock(lane, count * terms.seatStake).owe(count * paid);
            if (forfeited != 0) account = account.bond(_histories[worker], account.bonded() - count * forfeited);
            _accounts[worker] = account;
            workers[released++] = worker;
        }
        if (released != 0) emit SeatsReleased(jobId, word, forfeited, paid, _first(workers, released));
    }

    /// The first `count` of the workers; the array itself, shortened.
    function _first(address[] memory workers, uint256 count) private pure returns (address[] memory) {
        assembly ("memory-safe") {
            mstore(workers, count)
        }
        return workers;
    }

    function _minSeatStake(bytes32 modelId, uint256 itemCount) private view returns (uint256) {
        IModelRegistry.Model memory model = REGISTRY.model(modelId); // reverts if there is none
        if (model.executionGas == 0) revert IModelRegistry.ModelNotMeasured(modelId);
        uint256 gas = GasBudget.dispute(model.executionGas, MerkleProof.depthOf(itemCount), model.rowLength);
        return GasBudget.MARGIN * gas * REFERENCE_PRICE;
    }

    // ---- Calls ----

    /// Calls the consumer with exactly `callbackGas`. What it returns is never copied: it could be as long as it likes.
    function _tell(address consumer, uint256 callbackGas, bytes memory input) private {
        // A call passes on 63/64 of what is left at most.
        uint256 available = gasleft() > CALL_GAS ? (gasleft() - CALL_GAS) / 64 * 63 : 0;
        if (available < callbackGas) revert NotEnoughGasToDeliver(available, callbackGas);
        bool done;
        assembly ("memory-safe") {
            done := call(callbackGas, consumer, 0, add(input, 0x20), mload(input), 0, 0)
        }
        if (!done) revert DeliveryFailed(consumer);
    }

    /// Reverts with another error, as it is.
    function _revertWith(bytes memory reason) private pure {
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }
}
