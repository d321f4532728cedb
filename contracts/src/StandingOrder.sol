// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IComputeOracle} from "./interfaces/IComputeOracle.sol";
import {Terms} from "./libraries/Job.sol";

/// When an order runs: at most once in each interval from firstDue on. A missed interval is not made up for.
struct Schedule {
    uint40 firstDue; // seconds
    uint32 interval; // seconds
    uint32 runs; // how many; 0 = until cancelled
}

/// What changes from run to run: the data, and the verification set over it.
struct Feed {
    bytes32 dataRoot;
    bytes32 dataUriHash;
    uint64 itemCount;
    bytes32 goldRoot;
    uint32 goldCount;
}

/// @title A recurring job
/// @notice Creates a job with the same terms again and again, over data that its feeder announces, out of ether that its owner
/// put here. Anyone triggers a run that is due, for the tip. One contract for each order, so that what the oracle gives
/// back to the requester is this order's and nobody else's.
///
/// A network is exact, so a second run over the same data would say the same: each run has its own data, announced for the
/// run's number before somebody triggers it. The feeder can be a key that holds no money and reaches none: what it can
/// spend is one job in each interval, with the order's terms.
///
/// The owner may cancel at any time; jobs that were created are final, like every job. Once the order has ended, what is here,
/// and what comes back later, is for the owner to withdraw.
contract StandingOrder {
    /// The schedule has no interval.
    error NoInterval();
    /// The tip is more than a tenth of the reward.
    error TipTooHigh(uint256 tip, uint256 most);
    /// The order's terms name what is for each announcement to say.
    error FeedInTerms();

    /// Only the feeder announces.
    error NotTheFeeder(address caller);
    /// The run was made.
    error RunMade(uint256 run, uint256 next);
    /// dataUri does not hash to feed.dataUriHash.
    error DataUriMismatch(bytes32 expected, bytes32 got);

    /// Cancelled, or every run was made.
    error OrderEnded();
    /// The next run is due later.
    error NotDue(uint256 due);
    /// The terms, without their feed, are not the order's.
    error WrongTerms(bytes32 expected, bytes32 got);
    /// This is not what was announced for the run, if anything was.
    error NotAnnounced(uint256 run);
    /// There is too little ether here: see `collect`.
    error NotFunded(uint256 balance, uint256 needed);
    /// The payee refused the payment.
    error PaymentRefused(address payee, uint256 amount);

    /// Only the owner cancels and withdraws.
    error NotTheOwner(address caller);
    /// What is here is for the runs to come.
    error OrderNotEnded();
    /// Nothing is here.
    error NothingToWithdraw(address payee);

    /// A later announcement for the same run takes this one's place.
    event Announced(uint256 indexed run, Feed feed, string dataUri);
    event RunTriggered(uint256 indexed run, bytes32 indexed jobId, address indexed trigger, uint256 nextDue);
    event Cancelled(uint256 runsMade);
    event Withdrawn(address indexed to, uint256 amount);

    IComputeOracle public immutable ORACLE;
    address public immutable OWNER;
    address public immutable FEEDER;
    uint256 public immutable INTERVAL; // seconds
    uint256 public immutable RUNS; // 0 = until cancelled
    uint256 public immutable TIP; // wei for whoever triggers a run
    /// keccak256 of the ABI-encoded terms with an empty feed.
    bytes32 public immutable TERMS_HASH;

    /// Runs made; the number of the next run, and its job's nonce.
    uint32 public runsMade;
    /// Seconds from which the next run can be triggered.
    uint40 public due;
    bool public isCancelled;
    /// keccak256 of the ABI-encoded feed announced for a run; 0 = none.
    mapping(uint256 run => bytes32) public announced;

    constructor(
        IComputeOracle oracle,
        address owner,
        address feeder,
        Schedule memory schedule,
        uint96 tip,
        Terms memory terms
    ) payable {
        if (schedule.interval == 0) revert NoInterval();
        if (tip > terms.reward / 10) revert TipTooHigh(tip, terms.reward / 10);
        if (
            terms.dataRoot != 0 || terms.dataUriHash != 0 || terms.itemCount != 0 || terms.goldRoot != 0
                || terms.goldCount != 0
        ) revert FeedInTerms();
        (ORACLE, OWNER, FEEDER) = (oracle, owner, feeder);
        (INTERVAL, RUNS, TIP) = (schedule.interval, schedule.runs, tip);
        TERMS_HASH = keccak256(abi.encode(terms));
        due = schedule.firstDue;
    }

    /// @notice More ether for the runs to come, from anybody; also what the oracle gives back.
    receive() external payable {}

    /// @notice Says what data a run is over; again, to say it differently, until the run is made. Runs may be announced ahead.
    function announce(uint256 run, Feed calldata feed, string calldata dataUri) external {
        if (msg.sender != FEEDER) revert NotTheFeeder(msg.sender);
        if (run < runsMade) revert RunMade(run, runsMade);
        bytes32 uriHash = keccak256(bytes(dataUri));
        if (uriHash != feed.dataUriHash) revert DataUriMismatch(feed.dataUriHash, uriHash);

        announced[run] = keccak256(abi.encode(feed));
        emit Announced(run, feed, dataUri);
    }

    /// @notice Creates the job of the next run and pays the tip to the caller. Whatever the oracle refuses the job for reverts
    /// all of it, and the run can be triggered again.
    /// @param terms The order's, with the feed announced for the run.
    function trigger(Terms calldata terms, string calldata dataUri) external returns (bytes32 jobId) {
        if (hasEnded()) revert OrderEnded();
        uint256 nextDue = due;
        if (block.timestamp < nextDue) revert NotDue(nextDue);
        uint256 run = runsMade;
        _checkTerms(run, terms);
        uint256 payment = uint256(terms.reward) + terms.auditBond;
        if (address(this).balance < payment + TIP) revert NotFunded(address(this).balance, payment + TIP);

        // The start of the first interval that has not begun: however late the trigger, no interval has two runs.
        nextDue += ((block.timestamp - nextDue) / INTERVAL + 1) * INTERVAL;
        (runsMade, due) = (uint32(run + 1), uint40(nextDue));
        jobId = ORACLE.createJob{value: payment}(run, terms, dataUri);
        emit RunTriggered(run, jobId, msg.sender, nextDue);
        _send(msg.sender, TIP);
    }

    /// @notice Brings here what the oracle owes this order, for the runs to come or the owner.
    function collect() external {
        ORACLE.withdraw(payable(address(this)));
    }

    /// @notice Ends the order. Jobs that were created go on.
    function cancel() external {
        if (msg.sender != OWNER) revert NotTheOwner(msg.sender);
        if (hasEnded()) revert OrderEnded();
        isCancelled = true;
        emit Cancelled(runsMade);
    }

    /// @notice Once the order has ended, pays everything that is here to `to`.
    function withdraw(address to) external {
        if (msg.sender != OWNER) revert NotTheOwner(msg.sender);
        if (!hasEnded()) revert OrderNotEnded();
        uint256 amount = address(this).balance;
        if (amount == 0) revert NothingToWithdraw(to);
        emit Withdrawn(to, amount);
        _send(to, amount);
    }

    /// @return Whether no run will be made any more.
    function hasEnded() public view returns (bool) {
        return isCancelled || (RUNS != 0 && runsMade >= RUNS);
    }

    /// The terms must be the order's and their feed the one announced.
    function _checkTerms(uint256 run, Terms memory terms) private view {
        Feed memory feed =
            Feed(terms.dataRoot, terms.dataUriHash, terms.itemCount, terms.goldRoot, terms.goldCount);
        (terms.dataRoot, terms.dataUriHash, terms.itemCount) = (0, 0, 0);
        (terms.goldRoot, terms.goldCount) = (0, 0);
        bytes32 termsHash = keccak256(abi.encode(terms));
        if (termsHash != TERMS_HASH) revert WrongTerms(TERMS_HASH, termsHash);
        if (keccak256(abi.encode(feed)) != announced[run]) revert NotAnnounced(run);
    }

    function _send(address to, uint256 amount) private {
        (bool paid,) = to.call{value: amount}("");
        if (!paid) revert PaymentRefused(to, amount);
    }
}
