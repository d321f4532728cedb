// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Job} from "../libraries/Job.sol";

/// One demand: somebody put up a bond to see a node of a result tree.
struct Demand {
    address demander; // 0 = never demanded
    uint40 answerBy; // seconds: answers count before this
    bool released;
    uint96 bond; // wei; held until the job is settled
    address answerer; // 0 = not answered
}

/// A node of a result tree, as disputes name it: `level` l is binary depth min(4l, depth).
struct Node {
    bytes32 root;
    uint256 level;
    uint256 index;
}

/// A result leaf and where it stands: its siblings lead to `root`.
struct ResultProof {
    bytes32 root;
    uint256 index;
    bytes32 leaf;
    bytes32[] siblings;
}

/// An input row and the siblings that lead to the job's dataRoot, at the same index.
struct InputProof {
    bytes row;
    bytes32[] siblings;
}

/// An item of the requester's verification set, opened: it stands at `position` of the tree under goldRoot, whose leaves are
/// sha256(index as 8 bytes ‖ output ‖ salt).
struct Gold {
    uint256 position;
    uint256 index;
    bytes output;
    bytes32 salt;
    bytes32[] siblings;
}

/// What became of a job's verification set.
struct Audit {
    address executor; // who showed by execution that an opened item is wrong; 0 = nobody
    uint32 openAccusations; // opened against a root that says otherwise, and not yet executed
}

/// @notice The oracle's disputes. Called at the oracle's own address, which lends this code its storage; see IComputeOracle.
interface IDisputes {
    // ---- Errors, in the order of the guards that raise them ----

    /// No seat revealed this root.
    error UnknownRoot(bytes32 jobId, bytes32 root);
    /// The root is already refuted.
    error AlreadyRefuted(bytes32 jobId, bytes32 root);
    /// The leaf is not at that index under that root.
    error BadResultProof(bytes32 root, uint256 index);
    /// The row is not at that index under dataRoot, or a row was given for the padding.
    error BadInputProof(bytes32 dataRoot, uint256 index);
    /// The leaf is what it should be: nothing is refuted.
    error LeafIsRight(uint256 index, bytes32 leaf);

    /// The tree has no such node.
    error NoSuchNode(uint256 level, uint256 index);
    /// The node was demanded before: once ever.
    error AlreadyDemanded(bytes32 root, uint256 level, uint256 index);
    /// The level may not be demanded any more.
    error DemandTooLate(uint256 level, uint256 demandEnd);
    /// The node above was not demanded and answered.
    error ParentNotAnswered(bytes32 root, uint256 level, uint256 index);
    /// The payment is below the bond.
    error BondTooLow(uint256 bond, uint256 got);
    /// No such demand is open.
    error NotDemanded(bytes32 root, uint256 level, uint256 index);
    /// The demand's time is over.
    error AnswerTooLate(uint256 answerBy);
    /// Leaves are answered by answerLeaf, all other nodes by answer.
    error WrongLevel(uint256 level, uint256 lastLevel);
    /// The nodes given do not make up the demanded node.
    error BadAnswer(bytes32 root, uint256 level, uint256 index);

    /// The row count times the model's row length is not what was given, or the rows do not make up dataRoot.
    error BadRows(bytes32 dataRoot);
    /// The model is executed in one transaction: there is nothing to wait for.
    error ModelNotStepwise(bytes32 modelId);
    /// The job's challenge phase was extended before: once a job.
    error AlreadyExtended(bytes32 jobId);
    /// The item is not in the verification set that the requester committed to.
    error BadGold(bytes32 goldRoot, uint256 position);
    /// Gold is opened early enough to be executed: a response window before the challenge window ends.
    error GoldTooLate(uint256 end);
    /// The opened item and the root's leaf are the same verdict.
    error GoldAgrees(uint256 index);
    /// This item was opened against this root before.
    error AlreadyAccused(bytes32 jobId, uint256 position, bytes32 root);
    /// No such accusation is open.
    error NotAccused(bytes32 jobId, uint256 position, bytes32 root);

    // ---- Events ----

    event Refuted(
        bytes32 indexed jobId, bytes32 indexed root, uint256 index, bytes32 leaf, bytes32 rightLeaf, address refuter
    );
    event Demanded(
        bytes32 indexed jobId,
        bytes32 indexed root,
        uint256 level,
        uint256 index,
        address demander,
        uint256 bond,
        uint256 answerBy
    );
    event Answered(
        bytes32 indexed jobId, bytes32 indexed root, uint256 level, uint256 index, address answerer, bytes32[] nodes
    );
    /// `siblings` lead from the row to dataRoot: with the answers above it, all that a refutation takes is in events, even
    /// if the answer came through a contract whose calldata nobody can read.
    event LeafAnswered(
        bytes32 indexed jobId,
        bytes32 indexed root,
        uint256 index,
        address answerer,
        bytes32 leaf,
        bytes row,
        bytes32[] siblings
    );
    /// Every row was executed: `root` is right, and all others are refuted.
    event Executed(bytes32 indexed jobId, bytes32 root, address executor);
    /// One item is executed in steps: Challenging lasts one response window longer.
    event ChallengeExtended(bytes32 indexed jobId, bytes32 indexed root, uint256 index, address challenger);
    /// The requester's own verdict on an item is another than the root's: a public accusation of one of the two. All that
    /// `judge` takes beside the row: `siblings` lead from the leaf to the root.
    event Accused(bytes32 indexed jobId, bytes32 indexed root, Gold gold, bytes32 leaf, bytes32[] siblings);
    /// The item was executed. `goldRight`: whether the requester's verdict is the chain's.
    event AccusationJudged(
        bytes32 indexed jobId, bytes32 indexed root, uint256 position, bool goldRight, address executor
    );
    event BountyReleased(bytes32 indexed jobId, bytes32 indexed root, address indexed refuter, uint256 amount);
    event BondReleased(
        bytes32 indexed jobId, bytes32 indexed root, uint256 level, uint256 index, address payee, uint256 amount
    );

    // ---- While Challenging ----

    /// @notice Refutes a root: executes the program on the row at one index and finds another leaf there than the root has.
    /// Past itemCount the leaf must be 32 zero bytes, and `input` is empty. On a row that is not of the model's length, too,
    /// the leaf must be 32 zero bytes: there is no verdict on it.
    function refute(Job calldata job, ResultProof calldata result, InputProof calldata input) external;

    /// @notice Demands the nodes below a node of a revealed root (at the last level: the leaf and its row). The payment
    /// must reach the bond; the rest is credited back. Unanswered until settlement, the root is refuted by silence.
    function demand(Job calldata job, Node calldata node) external payable;

    /// @notice Answers a demand above the last level and earns its bond, unless the root is refuted by execution after all.
    /// @param nodes The node's descendants at the next level.
    /// @param siblings The node's path to the root.
    function answer(Job calldata job, Node calldata node, bytes32[] calldata nodes, bytes32[] calldata siblings) external;

    /// @notice Answers a demand at the last level and earns its bond, unless the root is refuted by execution after all.
    function answerLeaf(Job calldata job, ResultProof calldata result, InputProof calldata input) external;

    /// @notice Executes every row of the job: the true root is known, every other one is refuted, and Challenging is over.
    /// Where all rows together fit one transaction.
    /// @param rows All rows, one after the other, each of the model's length.
    function executeJob(Job calldata job, bytes calldata rows) external;

    /// @notice Gives the resumable execution (IModelRegistry.begin) of one item under a root one more response window; once a
    /// job, and only for a model that one transaction cannot execute. `refute` uses the result once it is finished.
    function extendChallenge(Job calldata job, ResultProof calldata result, InputProof calldata input) external;

    /// @notice Opens an item of the verification set against a root whose leaf there says otherwise. It refutes nothing:
    /// `judge` does. If nobody executes the item, the requester loses the audit bond.
    function accuse(Job calldata job, Gold calldata gold, ResultProof calldata result) external;

    /// @notice Executes an accused item. If the root is wrong, it is refuted, with the bounty; if the gold is wrong, half of
    /// the audit bond is the caller's at settlement, and half is burned.
    function judge(Job calldata job, Gold calldata gold, ResultProof calldata result, InputProof calldata input)
        external;

    /// @notice Credits the refuter of `root` with its bounty.
    function releaseBounty(Job calldata job, bytes32 root) external;

    /// @notice Credits a demand's bond: to the demander if the root was refuted by execution, else to the answerer. Of a
    /// demand that nobody answered the demander gets bond / unanswered demands on that root; the rest is burned.
    function releaseBond(Job calldata job, Node calldata node) external;

    // ---- Reading ----

    /// @return Who executed the whole job; 0 = nobody.
    function executorOf(bytes32 jobId) external view returns (address);
    function auditOf(bytes32 jobId) external view returns (Audit memory);
    /// @return Whether this item was opened against this root and not yet executed.
    function isAccused(bytes32 jobId, uint256 position, bytes32 root) external view returns (bool);
    function demandOf(bytes32 jobId, Node calldata node) external view returns (Demand memory);
    /// @return Wei that demanding this node costs now, at this block's base fee.
    function bondFor(Job calldata job, Node calldata node) external view returns (uint256);

    /// @return modelRegistry The registry this code was deployed for.
    /// @return referencePrice The reference price this code was deployed for, in wei a gas.
    function disputesOf() external view returns (address modelRegistry, uint256 referencePrice);
}
