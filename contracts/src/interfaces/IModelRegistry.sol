// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Models as programs in contract code, executed and measured when they are registered
/// @notice Permissionless and without an owner: a model is its program's SHA-256 and nothing else, so nobody can
/// change, remove or claim one. What is trusted: the EVM, SHA-256 (the model's identity) and Keccak-256 (a chunk's
/// identity). docs/program.md has the encoding.
interface IModelRegistry {
    /// @param rowLength bytes in an input row
    /// @param outputLength logits in an output; the output itself is 4 bytes a logit, int32, big endian
    /// @param executionGas gas of `execute` as `measure` found it at registration, plus what cold access costs the
    /// first call of a transaction on top; the same for every row
    /// @param programLength bytes in the program
    struct Model {
        uint256 rowLength;
        uint256 outputLength;
        uint256 executionGas;
        uint256 programLength;
    }

    /// @notice A piece of a program lies at `chunk`, as code that begins with STOP.
    event ChunkStored(bytes32 indexed chunkId, address chunk, uint256 length);

    event ModelRegistered(
        bytes32 indexed modelId,
        address indexed registrant,
        uint256 rowLength,
        uint256 outputLength,
        uint256 executionGas
    );

    /// @notice Somebody says that the model's file is to be found at `uri`. A hint, checked by nobody on chain.
    event UriAnnounced(bytes32 indexed modelId, address indexed announcer, string uri);

    // The registry

    /// @notice The deployment asks for more execution gas than leaves room for the rest of a refutation.
    error ExecutionGasLimitTooHigh(uint256 limit, uint256 most);
    /// @notice A chunk holds 1 to `most` bytes of program.
    error ChunkLengthOutOfRange(uint256 length, uint256 most);
    /// @notice The chunk could not be written; almost always the transaction's gas ran short (200 gas a byte).
    error ChunkNotWritten(uint256 length);
    /// @notice No chunk of this id was stored here: call `storeChunk` first.
    error UnknownChunk(bytes32 chunkId);
    /// @notice Every chunk but the last is full; this one is not, so it can only come last.
    error ChunkNotFull(uint256 index, uint256 length);
    /// @notice The program needs more chunks than one transaction can hash, validate and execute.
    error TooManyChunks(uint256 chunks, uint256 most);
    /// @notice This program is registered already; the model can be used as it is.
    error ModelExists(bytes32 modelId);
    /// @notice No model of this id is registered.
    error UnknownModel(bytes32 modelId);
    /// @notice One execution takes more gas than `limit`: the model is too large to be judged in one transaction.
    error ExecutionTooDear(uint256 limit);
    /// @notice The transaction carried too little gas to measure the model; send more than `available`.
    error NotEnoughGasToMeasure(uint256 available);
    /// @notice The row does not have the model's length.
    error WrongRowLength(uint256 length, uint256 expected);

    // What is wrong with a program (docs/program.md); layers and channels count from 0

    error ProgramTooShort(uint256 length, uint256 needed);
    error TrailingBytes(uint256 length, uint256 expected);
    error WrongMagic(bytes4 magic);
    error RowLengthOutOfRange(uint256 rowLength, uint256 most);
    error LayerCountOutOfRange(uint256 count);
    /// @notice The header's output length is not the last layer's.
    error OutputLengthMismatch(uint256 header, uint256 actual);
    /// @notice The header's widest activation is not the largest number of inputs of a layer.
    error WidestMismatch(uint256 header, uint256 actual);
    /// @notice Not an operation, or one in the wrong place: logits come last and only there.
    error WrongOpcode(uint256 layer, uint256 opcode);
    error InputsMismatch(uint256 layer, uint256 inputs, uint256 expected);
    error OutputsOutOfRange(uint256 layer, uint256 outputs, uint256 most);
    error ShiftOutOfRange(uint256 layer, uint256 channel, uint256 shift);
    /// @notice Some |weight| of the channel exceeds 63.
    error WeightOutOfRange(uint256 layer, uint256 channel);
    /// @notice 255·Σ|weight| + |bias| of the channel does not stay below 2^24.
    error SumOutOfRange(uint256 layer, uint256 channel, uint256 sum);

    /// @notice Store one piece of a program as contract code. Anyone may, and storing a piece again changes nothing.
    /// @param piece 1 to 24,575 bytes
    /// @return chunkId what `register` calls the piece by: the Keccak-256 of its creation code
    function storeChunk(bytes calldata piece) external returns (bytes32 chunkId);

    /// @notice Register the program `stored[0] ‖ stored[1] ‖ … ‖ last`: check every byte of it, execute it once on a
    /// row of 255s and record the gas. A program of up to 24,575 bytes needs this one call, with nothing stored before.
    /// @param stored chunk ids, every chunk full (24,575 bytes)
    /// @param last the rest of the program, 1 to 24,575 bytes; stored by this call
    /// @return modelId sha256 of the program
    function register(bytes32[] calldata stored, bytes calldata last) external returns (bytes32 modelId);

    /// @notice Tell where a registered model's file can be found. Anyone may; nothing is stored or checked.
    function announceUri(bytes32 modelId, string calldata uri) external;

    /// @notice Run a model on one row.
    /// @return output the logits, 4 bytes each, int32, big endian
    function execute(bytes32 modelId, bytes calldata row) external view returns (bytes memory output);

    /// @notice Gas that one `execute` on a row of 255s takes: the call with its arguments and its result, as a calling
    /// contract pays them. What the transaction has not touched before is charged as cold.
    function measure(bytes32 modelId) external view returns (uint256 executionGas);

    /// @notice What is known of a registered model; reverts with UnknownModel otherwise.
    function model(bytes32 modelId) external view returns (Model memory);

    /// @notice The contracts whose code, less the leading STOP, is the model's program.
    function programChunks(bytes32 modelId) external view returns (address[] memory);

    /// @notice The most gas that one execution may take here.
    function executionGasLimit() external view returns (uint256);
}
