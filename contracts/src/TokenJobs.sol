// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IComputeOracle, SeatRef} from "./interfaces/IComputeOracle.sol";
import {CommitmentLibrary, Seat, SeatStatus} from "./libraries/Commitment.sol";
import {Job, JobState, Outcome, Terms} from "./libraries/Job.sol";
import {Tally} from "./libraries/Tally.sol";

/// What a job pays, in units of its token; three storage slots. It sets out as amount and call-out fee; `allot` turns it into
/// what the outcome leaves to the seats.
struct Reward {
    address funder;
    uint40 claimEnd; // seconds: from then on `close` may end the claims; 0 = not allotted
    uint8 seats; // that were paid for and not claimed
    address token; // 0 = the native coin
    uint128 left; // not yet credited to anyone
    uint128 share; // of a seat; until allotted, of a seat that worked in vain
}

/// @title Rewards in any ERC-20 token
/// @notice The requester of jobs whose reward is a token's: it holds the reward, reads the outcome from the oracle, and pays
/// the same seats by the same rules as the oracle pays its own rewards: equal per agreeing seat, the call-out fee for seats
/// that worked in vain, the rest to the funder. The native coin (token 0) takes the same path.
///
/// A life: createJob → (the oracle settles) → allot → claim → withdraw; what nobody has claimed when the claim period is over
/// goes back to the funder by close. Anyone may call allot, claim and close; every payment is pulled.
///
/// What a worker must know: a claim reads the worker's lane, which keeps its seats after their release *until the worker's
/// next commit overwrites it*. Only the worker can destroy its own claim: claim before using the lane again.
///
/// What a token can do, and to whom. Each token has its own books: _held is what all its jobs and credits are owed.
/// - One that delivers another amount than it was told to (a fee on transfer) is refused at creation: balances are measured.
/// - One whose balance here shrinks (rebasing, confiscation) hurts those that are owed this token and nobody else: while its
///   balance is below _held, no new job takes it and each withdrawal pays its part, credit · balance / _held.
/// - One whose balance here grows: the surplus is nobody's, like ether sent by force.
/// - One that reverts, lies or calls back holds up withdrawals of itself. Nothing but createJob and withdraw calls a token, so
///   no token can hold up a claim, a close, or another token.
contract TokenJobs is ReentrancyGuard {
    using SafeERC20 for IERC20;

    /// The claim period is 0 or above `most`, in seconds.
    error BadClaimPeriod(uint256 claimPeriod, uint256 most);

    /// A job without a reward needs none of this.
    error ZeroAmount();
    /// The call-out fee is more than a tenth of the amount.
    error CallOutFeeTooHigh(uint256 callOutFee, uint256 most);
    /// The terms name native money, which this contract would have to tell apart by funder.
    error NativeMoneyInTerms(uint256 reward, uint256 auditBond);
    /// The payment is not the amount of native coin, or comes with a token's job.
    error WrongPayment(uint256 expected, uint256 got);
    /// There is no contract at the token's address.
    error NotAToken(address token);
    /// More than 2^128 − 1 of the token would be owed.
    error TooMuchOwed(address token, uint256 owed);
    /// The token moved another amount than it was told to.
    error WrongAmountReceived(address token, uint256 expected, uint256 got);
    /// The token's balance here is below what is owed: whoever came now would make up for it.
    error Insolvent(address token, uint256 balance, uint256 owed);

    /// No job with this id was created here.
    error UnknownJob(bytes32 jobId);
    /// The oracle has not settled the job.
    error NotSettled(bytes32 jobId);
    /// The outcome was read already.
    error AlreadyAllotted(bytes32 jobId);
    /// None of the seats earns anything with this word, or everything was claimed.
    error NothingToClaim(bytes32 jobId, bytes32 word);
    /// The claim period is not over; `claimEnd` is 0 if nobody has called allot.
    error ClaimsOpen(bytes32 jobId, uint256 claimEnd);
    /// Everything was claimed.
    error NothingToClose(bytes32 jobId);

    /// The account has no credit in this token.
    error NothingOwed(address payee, address token);
    /// A shrunken token would pay less than the payee accepts, or nothing.
    error PaysTooLittle(address token, uint256 paid, uint256 least);
    /// The token said that it paid, and did not.
    error NothingMoved(address token, uint256 amount);
    /// The payee refused the native coin.
    error PaymentRefused(address payee, uint256 amount);

    event JobFunded(
        bytes32 indexed jobId,
        address indexed funder,
        address indexed token,
        uint256 amount,
        uint256 callOutFee,
        uint256 nonce
    );
    /// `refunded` went to the funder's credit; each of the `seats` can claim `share` until somebody calls close at `claimEnd`
    /// or later.
    event Allotted(
        bytes32 indexed jobId, Outcome outcome, uint256 seats, uint256 share, uint256 refunded, uint256 claimEnd
    );
    event Claimed(bytes32 indexed jobId, address indexed worker, uint256 seats, uint256 amount);
    event Closed(bytes32 indexed jobId, uint256 refunded);
    /// `paid` is less than `credit` where the token's balance had shrunk.
    event Withdrawn(address indexed payee, address indexed token, address to, uint256 credit, uint256 paid);

    /// What stands for the native coin.
    address public constant NATIVE = address(0);
    uint256 private constant MOST_CLAIM_PERIOD = 366 days;

    IComputeOracle public immutable ORACLE;
    /// Seconds between allot and the first possible close.
    uint256 public immutable CLAIM_PERIOD;

    mapping(bytes32 jobId => Reward) private _rewards;
    mapping(bytes32 jobId => mapping(address worker => bool)) private _claimed;
    mapping(address token => mapping(address payee => uint256)) private _credits;
    mapping(address token => uint256) private _held;

    constructor(IComputeOracle oracle, uint256 claimPeriod) {
        if (claimPeriod == 0 || claimPeriod > MOST_CLAIM_PERIOD) revert BadClaimPeriod(claimPeriod, MOST_CLAIM_PERIOD);
        ORACLE = oracle;
        CLAIM_PERIOD = claimPeriod;
    }

    // ---- A reward, in lifecycle order ----

    /// @notice Creates a job at the oracle, with this contract as its requester, and takes its reward from the caller, who
    /// has approved it (or sends it, if it is the native coin). Final, like every job.
    /// @param callOutFee Of the amount, at most a tenth: each seat that works in vain gets callOutFee / terms.seats.
    /// @param nonce Any number that the caller did not use with the same terms.
    /// @param terms Without reward, call-out fee and audit bond (and so without a verification set).
    function createJob(
        address token,
        uint128 amount,
        uint128 callOutFee,
        uint256 nonce,
        Terms calldata terms,
        string calldata dataUri
    ) external payable nonReentrant returns (bytes32 jobId) {
        if (amount == 0) revert ZeroAmount();
        if (callOutFee > amount / 10) revert CallOutFeeTooHigh(callOutFee, amount / 10);
        if (terms.reward != 0 || terms.auditBond != 0) revert NativeMoneyInTerms(terms.reward, terms.auditBond);
        uint256 payment = token == NATIVE ? amount : 0;
        if (msg.value != payment) revert WrongPayment(payment, msg.value);
        if (token != NATIVE && token.code.length == 0) revert NotAToken(token);
        uint256 owed = _held[token] + amount;
        if (owed > type(uint128).max) revert TooMuchOwed(token, owed);

        _held[token] = owed;
        jobId = ORACLE.createJob(nonceOf(msg.sender, nonce), terms, dataUri);
        _rewards[jobId] = Reward({
            funder: msg.sender,
            claimEnd: 0,
            seats: 0,
            token: token,
            left: amount,
            share: callOutFee / terms.seats
        });
        emit JobFunded(jobId, msg.sender, token, amount, callOutFee, nonce);
        _take(token, amount, owed);
    }

    /// @notice Reads the outcome once it is settled: what no seat earns goes to the funder's credit, and the claim period begins.
    function allot(bytes32 jobId) external {
        Reward storage reward = _known(jobId);
        if (reward.claimEnd != 0) revert AlreadyAllotted(jobId);
        _allot(jobId, reward);
    }

    /// @notice Credits the workers of seats that share one fate; any caller, any workers of the job, before or after the
    /// oracle's release. Seats that earn nothing or were claimed are passed over, so that nobody can spoil a batch; a batch of
    /// nothing but those is refused. Reads the outcome if nobody has.
    /// @param word The root that the seats revealed; of an Expired job, one worker's commitment.
    function claim(bytes32 jobId, bytes32 word, SeatRef[] calldata seats) external {
        Reward storage reward = _known(jobId);
        if (reward.claimEnd == 0) _allot(jobId, reward);
        SeatStatus status = _earningStatus(jobId, word);
        uint256 claimed = 0;
        if (status != SeatStatus.None && reward.seats != 0) {
            bytes27 digest = CommitmentLibrary.digestOf(jobId, word);
            for (uint256 i = 0; i < seats.length; i++) {
                address worker = seats[i].worker;
                Seat memory seat = ORACLE.seatAt(worker, seats[i].lane);
                if (seat.digest != digest || seat.status != status || _claimed[jobId][worker]) continue;
                _claimed[jobId][worker] = true;
                _pay(jobId, reward, worker, seat.count);
                claimed += seat.count;
            }
        }
        if (claimed == 0) revert NothingToClaim(jobId, word);
    }

    /// @notice After the claim period, credits the funder with what nobody has claimed. Until somebody calls this, claims
    /// count.
    function close(bytes32 jobId) external {
        Reward storage reward = _known(jobId);
        uint256 claimEnd = reward.claimEnd;
        if (claimEnd == 0 || block.timestamp < claimEnd) revert ClaimsOpen(jobId, claimEnd);
        uint256 left = reward.left;
        if (left == 0) revert NothingToClose(jobId);

        (reward.left, reward.seats) = (0, 0);
        _credits[reward.token][reward.funder] += left;
        emit Closed(jobId, left);
    }

    /// @notice Pays the caller's credit in a token to `to`.
    /// @param least What the caller accepts for its whole credit, should the token's balance have shrunk.
    function withdraw(address token, address to, uint256 least) external nonReentrant {
        uint256 credit = _credits[token][msg.sender];
        if (credit == 0) revert NothingOwed(msg.sender, token);
        uint256 owed = _held[token];
        uint256 balance = _balanceOf(token);
        uint256 paid = balance < owed ? credit * balance / owed : credit; // both below 2^128
        if (paid == 0 || paid < least) revert PaysTooLittle(token, paid, least);

        _credits[token][msg.sender] = 0;
        _held[token] = owed - credit;
        emit Withdrawn(msg.sender, token, to, credit, paid);
        _give(token, to, paid, balance);
    }

    // ---- Reading ----

    function rewardOf(bytes32 jobId) external view returns (Reward memory) {
        return _rewards[jobId];
    }

    /// @return Whether the worker's seats in this job were claimed.
    function isClaimed(bytes32 jobId, address worker) external view returns (bool) {
        return _claimed[jobId][worker];
    }

    /// @return Units of the token that the payee can withdraw.
    function creditOf(address token, address payee) external view returns (uint256) {
        return _credits[token][payee];
    }

    /// @return Units of the token that jobs and payees are owed.
    function held(address token) external view returns (uint256) {
        return _held[token];
    }

    /// @return The nonce of the oracle's job: the funder's own, bound to the funder, so that nobody can use it up.
    function nonceOf(address funder, uint256 nonce) public pure returns (uint256) {
        return uint256(keccak256(abi.encode(funder, nonce)));
    }

    // ---- Who earns what: the oracle's own rules ----

    function _allot(bytes32 jobId, Reward storage reward) private {
        JobState memory state = ORACLE.jobState(jobId);
        if (state.outcome == Outcome.Open) revert NotSettled(jobId);
        uint256 amount = reward.left;
        (uint8 seats, uint256 share) = _shares(state, amount, reward.share);
        uint256 earned = seats * share;

        (reward.seats, reward.share, reward.left) = (earned == 0 ? 0 : seats, uint128(share), uint128(earned));
        reward.claimEnd = uint40(block.timestamp + CLAIM_PERIOD);
        if (amount != earned) _credits[reward.token][reward.funder] += amount - earned;
        emit Allotted(jobId, state.outcome, reward.seats, share, amount - earned, reward.claimEnd);
    }

    /// @return seats That earn something.
    /// @return share What each of them earns.
    function _shares(JobState memory state, uint256 amount, uint256 fee) private pure returns (uint8, uint256) {
        if (state.outcome == Outcome.Expired) return (state.grantedSeats, fee);
        if (state.outcome == Outcome.Hung) return (state.standingSeats, fee);
        if (state.outcome == Outcome.Accepted && state.rootSeats != 0) {
            return (state.rootSeats, amount / state.rootSeats);
        }
        return (state.abstainedSeats, fee); // Unavailable, or Accepted with a root that nobody had revealed
    }

    /// @return What a seat with this word must be to earn its share; None where no such seat does.
    function _earningStatus(bytes32 jobId, bytes32 word) private view returns (SeatStatus) {
        JobState memory state = ORACLE.jobState(jobId);
        bool earns;
        if (state.outcome == Outcome.Expired) return SeatStatus.Sealed;
        if (state.outcome == Outcome.Hung) {
            Tally memory tally = ORACLE.tallyOf(jobId, word);
            bool stands = tally.refuter == address(0) && tally.openDemands == 0;
            earns = stands && word != CommitmentLibrary.DATA_UNAVAILABLE;
        } else if (state.outcome == Outcome.Accepted && state.rootSeats != 0) {
            earns = word == state.root;
        } else {
            earns = word == CommitmentLibrary.DATA_UNAVAILABLE;
        }
        return earns ? SeatStatus.Revealed : SeatStatus.None;
    }

    // ---- Books and tokens ----

    function _known(bytes32 jobId) private view returns (Reward storage reward) {
        reward = _rewards[jobId];
        if (reward.funder == address(0)) revert UnknownJob(jobId);
    }

    function _pay(bytes32 jobId, Reward storage reward, address worker, uint8 count) private {
        uint128 amount = count * reward.share;
        reward.seats -= count;
        reward.left -= amount;
        _credits[reward.token][worker] += amount;
        emit Claimed(jobId, worker, count, amount);
    }

    function _balanceOf(address token) private view returns (uint256) {
        return token == NATIVE ? address(this).balance : IERC20(token).balanceOf(address(this));
    }

    /// Takes exactly `amount` from the caller; afterwards there is what is owed.
    function _take(address token, uint256 amount, uint256 owed) private {
        if (token == NATIVE) return; // it came with the call
        uint256 before = _balanceOf(token);
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 balance = _balanceOf(token);
        uint256 got = balance < before ? 0 : balance - before;
        if (got != amount) revert WrongAmountReceived(token, amount, got);
        if (balance < owed) revert Insolvent(token, balance, owed);
    }

    /// Sends `amount` of the `balance` that is here.
    function _give(address token, address to, uint256 amount, uint256 balance) private {
        if (token == NATIVE) {
            (bool paid,) = to.call{value: amount}("");
            if (!paid) revert PaymentRefused(to, amount);
        } else {
            IERC20(token).safeTransfer(to, amount);
        }
        if (_balanceOf(token) >= balance) revert NothingMoved(token, amount);
    }
}
