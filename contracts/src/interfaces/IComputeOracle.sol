// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Seat} from "../libraries/Commitment.sol";
import {Job, JobState, Outcome, Phase, Terms} from "../libraries/Job.sol";
import {Tally} from "../libraries/Tally.sol";

/// A deployment's bounds: what no job may leave. Windows and periods in seconds.
struct Bounds {
    uint32 minWindow; // least of each of the four windows
    uint32 maxWindow; // most of each of the four windows
    uint32 unbondingPeriod; // longer than draw and commit together
    uint32 blockTime; // longest usual time between blocks
    uint32 maxItemCount;
    uint8 maxSeats;
    uint96 referencePrice; // wei a gas; floor of every price that bonds and stakes are computed from
}

/// A worker's commitment that somebody else posts: EIP-712 signature of
/// Commit(bytes32 jobId,uint8 lane,bytes32 commitment,bytes32 sealedRoot,uint256[] tickets,uint256 deadline)
/// in the domain (name "Quorate", version "1", chainId, verifyingContract = the oracle), in the short form of EIP-2098.
struct SignedCommit {
    address worker;
    uint8 lane;
    bytes32 commitment;
    bytes32 sealedRoot;
    uint256[] tickets;
    uint256 deadline; // seconds: posted at this time or later, it is skipped
    bytes32 r;
    bytes32 vs;
}

/// A worker's seats in a job, by the lane they are in.
struct SeatRef {
    address worker;
    uint8 lane;
}

/// What opens a worker's commitment to a root.
struct Opening {
    address worker;
    uint8 lane;
    bytes32 salt;
}

/// @title Quorate's compute oracle
/// @notice Paid jobs run an integer network over rows of data; staked workers commit to Merkle roots of the results, reveal
/// them, and anyone refutes a wrong one by having the chain execute a single item.
///
/// What you must trust, and nothing else:
/// - The chain: that it stays live, takes transactions within each window, and executes the EVM. Censoring every
///   challenger for a whole challenge window lets a lying quorum through.
/// - One party: for a wrong root to be refuted, someone must hold the data (or demand it) and act within the challenge
///   window. Nobody can find an unknown wrong item in data that is not public.
/// - The model: the verdict says what the model says, not what is true. modelId is the hash of the program that decides.
/// - The seed: a proposer near the seed's block can skip its own, which is one bit of influence on the jury; one that
///   proposes both the job's block and the next knows the seed when it creates the job.
/// - The seed source, the model registry and the disputes code given at deployment: read them, they cannot be changed.
///
/// What you need not trust: a majority of the workers, the requester, any administrator (there is none: no owner, no
/// pause, no upgrade, no parameter that changes), or anyone's timekeeping but the chain's.
///
/// Absent on purpose: a cancel (a requester could redraw until the jury suits it); a check of dataUri (data is verified
/// against dataRoot wherever it comes from); a check that reward is worth a worker's while (a worker's own policy).
interface IComputeOracle {
    // ---- Errors, in the order of the guards that raise them ----

    /// A constructor bound makes no sense. `name` is the bound's.
    error BadBound(bytes32 name);
    /// More stake than 2^56 − 1 gwei in all, or in one account: it keeps what is forfeited until its seats are released.
    error StakeTooLarge(uint256 total);
    /// Stake comes in whole gwei.
    error NotWholeGwei(uint256 amount);
    /// Nothing was given where an amount is needed.
    error ZeroAmount();
    /// The worker's stake that is neither locked nor unbonding does not suffice.
    error NotEnoughFreeStake(address worker, uint256 free, uint256 needed);
    /// Nothing is owed to this account, or nothing yet.
    error NothingToWithdraw(address payee, uint256 unbonding, uint256 readyAt);

    /// The requester already made a job with this nonce and these terms.
    error JobExists(bytes32 jobId);
    /// dataUri does not hash to terms.dataUriHash.
    error DataUriMismatch(bytes32 expected, bytes32 got);
    /// The payment is not the reward and the audit bond.
    error WrongPayment(uint256 expected, uint256 got);
    /// itemCount is 0 or above the deployment's most.
    error ItemCountOutOfBounds(uint256 itemCount, uint256 most);
    /// seats is 0 or above the deployment's most.
    error SeatsOutOfBounds(uint256 seats, uint256 most);
    /// quorum is not within n/2 < q ≤ ⌈2n/3⌉.
    error QuorumOutOfBounds(uint256 quorum, uint256 least, uint256 most);
    /// A window is outside the deployment's bounds, or the challenge window is shorter than the commit window or, in a job with
    /// a verification set, not longer than the response window.
    error WindowOutOfBounds(bytes32 name, uint256 window, uint256 least, uint256 most);
    /// A seat's stake would not pay for refuting it.
    error SeatStakeTooLow(uint256 seatStake, uint256 least);
    /// There is less stake in all than the jury would hold.
    error TotalStakeTooLow(uint256 totalStake, uint256 needed);
    /// The call-out fee is more than a tenth of the reward.
    error CallOutFeeTooHigh(uint256 callOutFee, uint256 most);
    /// A verification set needs a root, at least one and at most itemCount items, and a bond; a job without one has none of
    /// the three.
    error BadVerificationSet(bytes32 goldRoot, uint256 goldCount, uint256 auditBond);
    /// The consumer would get more gas than `most`, or gas is set aside for none.
    error CallbackGasOutOfBounds(uint256 callbackGas, uint256 most);

    /// The jury is drawn: there is no second draw.
    error AlreadyDrawn(bytes32 jobId);
    /// The seed's block is not yet in the past.
    error SeedNotReady(uint256 seedBlock, uint256 currentBlock);

    /// No ticket was listed, or one twice, or not in ascending order.
    error TicketsNotAscending(uint256 position);
    /// The worker's stake before the job's creation has no such ticket.
    error NoSuchTicket(uint256 ticket, uint256 tickets);
    /// The ticket did not win (yet: the odds double as the window passes).
    error LosingTicket(uint256 ticket);
    /// The worker is committed to something else in this job, or to the same in another lane.
    error AlreadyCommitted(bytes32 jobId, address worker);
    /// The lane holds seats of another job, or there is no such lane.
    error LaneTaken(address worker, uint256 lane);
    /// The transaction would grant no seat: none is left, or the list names none beyond those held.
    error NoSeatGranted(bytes32 jobId, address worker);

    /// None of the signed commitments could be granted a seat.
    error NothingCommitted(bytes32 jobId);
    /// None of the openings opens a commitment to this root.
    error NothingRevealed(bytes32 jobId, bytes32 root);

    /// A root wins, but not the one given.
    error NotTheWinner(bytes32 jobId, bytes32 root);

    /// The job names no consumer.
    error NoConsumer(bytes32 jobId);
    /// The consumer was told already.
    error AlreadyDelivered(bytes32 jobId);
    /// Too little gas is left to give the consumer what the job sets aside for it.
    error NotEnoughGasToDeliver(uint256 available, uint256 needed);
    /// The consumer reverted, or ran out of the gas that the job sets aside for it. It can be told again.
    error DeliveryFailed(address consumer);

    /// Ether came without a call: deposit and createJob take it.
    error PaymentWithoutCall(uint256 amount);

    // ---- Events, in lifecycle order ----

    event StakeDeposited(address indexed worker, uint256 amount);
    event StakeUnbonded(address indexed worker, uint256 amount, uint256 readyAt);
    event Withdrawn(address indexed payee, address indexed to, uint256 amount);
    event JobCreated(
        bytes32 indexed jobId, address indexed requester, uint256 nonce, Terms terms, uint256 totalStake, string dataUri
    );
    event Drawn(bytes32 indexed jobId, bytes8 seed);
    /// `seats` is what the worker now holds in all. `sealedRoot` is root ⊕ keccak256(secret, commitment): with it, key and
    /// chain alone suffice to reveal.
    event Committed(
        bytes32 indexed jobId,
        address indexed worker,
        uint256 lane,
        bytes32 commitment,
        bytes32 sealedRoot,
        uint256 seats
    );
    /// A signed commitment was passed over; `reason` is the selector of the error that a direct commit would revert with,
    /// or 0 for a signature that is not the worker's or is past its deadline.
    event CommitSkipped(bytes32 indexed jobId, address indexed worker, bytes4 reason);
    /// These workers revealed this root.
    event Revealed(bytes32 indexed jobId, bytes32 root, address[] workers);
    /// `burned` is the forfeited wei that left for the zero address.
    event Settled(bytes32 indexed jobId, Outcome outcome, bytes32 root, uint256 winningSeats, uint256 burned);
    /// These workers' seats are unlocked. `forfeited` and `paid` are wei for each seat; one of them is 0, or both. `word` as
    /// given to release.
    event SeatsReleased(bytes32 indexed jobId, bytes32 word, uint256 forfeited, uint256 paid, address[] workers);
    event Delivered(bytes32 indexed jobId, address indexed consumer);

    // ---- Stake ----

    /// @notice Bonds the payment, in whole gwei, as the caller's stake. It draws tickets for jobs created after this block.
    function deposit() external payable;

    /// @notice Starts to unbond `amount` wei of free stake. It draws no more tickets and can be withdrawn after the
    /// unbonding period; a second call before then starts the period again for all of it.
    function unbond(uint256 amount) external;

    /// @notice Pays the caller's credit and its unbonded stake to `to`.
    function withdraw(address payable to) external;

    // ---- A job, in lifecycle order ----

    /// @notice Creates a job; the payment is its reward and its audit bond. Final: there is no cancel.
    /// @param nonce Any number that the caller did not use with the same terms.
    /// @param dataUri Where the data is said to be; only its hash is in the terms.
    function createJob(uint256 nonce, Terms calldata terms, string calldata dataUri)
        external
        payable
        returns (bytes32 jobId);

    /// @notice Draws the jury from the randomness of block creation + 2, and no other; once.
    /// @param proof What the seed source asks for (PrevrandaoSeed: the block's RLP-encoded header).
    function draw(bytes32 jobId, bytes calldata proof) external;

    /// @notice Seals a root and takes a seat for each winning ticket, while seats are left. Sent again with the same lane
    /// and commitment and a longer list, it adds seats.
    /// @param lane Any of the caller's 24 lanes that holds no unreleased seats of another job.
    /// @param commitment keccak256(jobId, worker, root, salt).
    /// @param sealedRoot See Committed.
    /// @param tickets All of the caller's winning tickets so far, ascending.
    function commit(
        Job calldata job,
        uint8 lane,
        bytes32 commitment,
        bytes32 sealedRoot,
        uint256[] calldata tickets
    ) external;

    /// @notice The same for many workers at once, by their signatures. What a direct commit would revert for is passed over,
    /// with CommitSkipped; a batch of nothing but that is refused.
    function commitFor(Job calldata job, SignedCommit[] calldata commits) external;

    /// @notice Opens commitments to one root, of any workers. Anyone who knows the openings may. Wrong ones are passed over,
    /// so that nobody can spoil a batch; a batch of nothing but those is refused.
    function reveal(Job calldata job, bytes32 root, Opening[] calldata openings) external;

    /// @notice Records the outcome once every window is over, and releases `seats` as `release` would for the same root.
    /// @param root The winning root; ignored where none wins.
    function settle(Job calldata job, bytes32 root, SeatRef[] calldata seats) external;

    /// @notice Unlocks, pays or writes off seats that share one fate. Those that are not of this job and word, or released
    /// already, are passed over, so that nobody can spoil a batch; a batch of nothing but those is refused.
    /// @param word The root that the seats revealed; the commitment, for one worker's seats that were never opened.
    function release(Job calldata job, bytes32 word, SeatRef[] calldata seats) external;

    /// @notice Tells the job's consumer (IVerdictConsumer) how the job ended, with exactly terms.callbackGas. Anyone may, until
    /// it has succeeded once.
    function deliver(Job calldata job) external;

    /// @notice Several calls of this contract in one transaction, none of which takes a payment: all or nothing.
    function multicall(bytes[] calldata calls) external;

    // ---- Reading a verdict ----

    /// @return Whether the job was Accepted with `output` (int32 logits, big endian) for item `index`. Act only on a job
    /// that you created, or whose full terms you recomputed into its id.
    function verdict(bytes32 jobId, uint256 index, bytes calldata output, bytes32[] calldata siblings)
        external
        view
        returns (bool);

    // ---- Reading everything else ----

    function bounds() external view returns (Bounds memory);
    function registry() external view returns (address);
    function disputes() external view returns (address);
    function seedSource() external view returns (address);

    /// @return The id under which createJob would store the job.
    function jobIdOf(Job calldata job) external view returns (bytes32);
    function jobState(bytes32 jobId) external view returns (JobState memory);
    function phaseOf(Job calldata job) external view returns (Phase);
    /// @return Seconds at which the current phase ends by the clock (0 where blocks, or nobody, decide).
    function phaseEnd(Job calldata job) external view returns (uint256);
    /// @return What the worker's lane holds, or held last.
    function seatAt(address worker, uint256 lane) external view returns (Seat memory);
    /// @return What is known of a root; its seats wherever they are counted.
    function tallyOf(bytes32 jobId, bytes32 root) external view returns (Tally memory);

    /// @return bonded Wei of stake, including what is locked.
    /// @return locked Wei held by seats of unreleased jobs.
    /// @return lanes Bit i: lane i holds seats of an unreleased job.
    /// @return unbonding Wei on their way out.
    /// @return readyAt Seconds at which those can be withdrawn.
    /// @return credit Wei that can be withdrawn at once (unbonded stake aside).
    function accountOf(address party)
        external
        view
        returns (uint256 bonded, uint256 locked, uint256 lanes, uint256 unbonding, uint256 readyAt, uint256 credit);
    /// @return Wei of all bonded stake.
    function totalStake() external view returns (uint256);
    /// @return Wei the worker had bonded at the end of the block before `blockNumber`.
    function stakeBefore(address worker, uint256 blockNumber) external view returns (uint256);

    /// @return The EIP-712 hash that a worker signs for commitFor.
    function commitHash(bytes32 jobId, SignedCommit calldata signed) external view returns (bytes32);
    /// @return Least seatStake, in wei, for this model and item count.
    function minSeatStake(bytes32 modelId, uint256 itemCount) external view returns (uint256);
    /// @return Wei that a lying quorum loses at least if one challenger acts: quorum · seatStake / 2 (a liar may earn the
    /// bounty on itself).
    function costToCorrupt(Terms calldata terms) external pure returns (uint256);
}
