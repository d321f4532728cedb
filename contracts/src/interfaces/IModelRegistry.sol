// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Models as programs in contract code, executed and measured: in one call, or in steps
/// @notice Permissionless and without an owner: a model is its program's SHA-256 and nothing else, so nobody can
/// change, remove or claim one. What is trusted: the EVM, SHA-256 (a model's and a row's identity) and Keccak-256 (a
/// chunk's and a state's). docs/program.md has the encoding of programs and states.
///
/// Any execution may be carried out in steps, by anybody, from any state that it has reached: `begin` it, `advance` it
/// until it is finished, read `outputOf`. Only hashes of states are stored; each is published by an event. A model
/// whose execution passes executionGasLimit is *stepwise*: it can be used when its row of 255s has been executed in
/// steps, which is how its gas is measured.
interface IModelRegistry {
    /// @param rowLength bytes in an input row
    /// @param outputLength logits in an output; the output itself is 4 bytes a logit, int32, big endian
    /// @param executionGas gas of `execute` as `measure` found it at registration, plus what cold access costs the
    /// first call of a transaction on top; of a stepwise model, gas of all transactions that executed its row of 255s,
    /// and 0 before that; the same for every row, and never changed
    /// @param programLength bytes in the program
    /// @param stepwise one execution takes more than executionGasLimit
    struct Model {
        uint256 rowLength;
        uint256 outputLength;
        uint256 executionGas;
        uint256 programLength;
        bool stepwise;
    }

    /// @param begun its first state is there
    /// @param finished `outputOf` has its output
    /// @param executed values, of the whole network, made before the furthest state that it has reached
    /// @param stateHash keccak256 of that state
    struct Progress {
        bool begun;
        bool finished;
        uint256 executed;
        bytes32 stateHash;
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

    /// @notice A stepwise model was executed to the end, and can be used.
    event ModelMeasured(bytes32 indexed modelId, uint256 executionGas);

    /// @notice The execution has come so far: whoever has the model can go on from `state`.
    event StateReached(bytes32 indexed modelId, bytes32 indexed rowHash, bytes state);

    event ExecutionFinished(bytes32 indexed modelId, bytes32 indexed rowHash, bytes output);

    /// @notice Somebody says that the model's file is to be found at `uri`. A hint, checked by nobody on chain.
    event UriAnnounced(bytes32 indexed modelId, address indexed announcer, string uri);

    // The registry

    /// @notice The deployment asks for more execution gas than leaves room for the rest of a refutation.
    error ExecutionGasLimitTooHigh(uint256 limit, uint256 most);
    /// @notice A chunk holds 1 to `most` bytes of program.
    error ChunkLengthOutOfRange(uint256 length, uint256 most);
    /// @notice A chunk or an output could not be written; almost always the transaction's gas ran short (200 gas a
    /// byte).
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
    /// @notice The transaction carried too little gas to measure the model; send more than `available`.
    error NotEnoughGasToMeasure(uint256 available);
    /// @notice The model is stepwise and its execution was never carried to the end: its gas is not known.
    error ModelNotMeasured(bytes32 modelId);
    /// @notice The row does not have the model's length.
    error WrongRowLength(uint256 length, uint256 expected);

    // Execution in steps

    /// @notice An output of a stepwise execution is stored, so it is bounded; this model's is longer.
    error OutputTooLong(uint256 logits, uint256 most);
    /// @notice This row's execution was begun before: advance it.
    error ExecutionExists(bytes32 modelId, bytes32 rowHash);
    /// @notice There is nothing left to advance: read `outputOf`.
    error ExecutionOver(bytes32 modelId, bytes32 rowHash);
    /// @notice There is no output yet: begin the execution, or advance it to the end.
    error ExecutionUnfinished(bytes32 modelId, bytes32 rowHash);
    /// @notice A step makes at least one value.
    error EmptyStep();
    /// @notice This execution has not passed through this state: it is forged, another execution's, or none.
    error UnknownState(bytes32 stateHash);
    /// @notice The step would not lead beyond the furthest state reached: go on from there.
    error StaleStep(uint256 executed, uint256 furthest);
    /// @notice While a stepwise model is measured a step takes at least so much gas, or finishes; else the sum would
    /// say more of how the execution was cut than of the model.
    error StepTooSmallToMeasure(uint256 gas, uint256 least);

    // What is wrong with a program (docs/program.md); layers and channels count from 0

    error ProgramTooShort(uint256 length, uint256 needed);
    error TrailingBytes(uint256 length, uint256 expected);
    error WrongMagic(bytes4 magic);
    error RowLengthOutOfRange(uint256 rowLength, uint256 most);
    error LayerCountOutOfRange(uint256 count);
    /// @notice The header's output length is not the last layer's.
    error OutputLengthMismatch(uint256 header, uint256 actual);
    /// @notice The header's memory is not the most that any layer needs.
    error MemoryMismatch(uint256 header, uint256 actual);
    /// @notice So many values, beside the logits, that no layer is the last to read.
    error UnreadValues(uint256 count);
    /// @notice Not an operation, or one in the wrong place: logits come last and only there, and the first layer is
    /// dense or reshapes the row.
    error WrongOpcode(uint256 layer, uint256 opcode);
    /// @notice Not the place of a live value, or of one whose last use was before; or fewer than two to concatenate.
    error WrongOperand(uint256 layer, uint256 operand);
    /// @notice What the layer says that it reads is not what arrives, or it cannot be made of that.
    error ShapeMismatch(uint256 layer);
    error OutputsOutOfRange(uint256 layer, uint256 outputs, uint256 most);
    /// @notice Kernel, strides, pads or groups that no canonical network has.
    error WindowOutOfRange(uint256 layer);
    /// @notice Too many values, operations or bytes of memory, in this layer or in all up to it.
    error SizeOutOfRange(uint256 layer);
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
    /// row of 255s and record the gas, or that it takes more than executionGasLimit. A program of up to 24,575 bytes
    /// needs this one call, with nothing stored before.
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
    /// contract pays them; 0 if it takes more than executionGasLimit. What the transaction has not touched before is
    /// charged as cold.
    function measure(bytes32 modelId) external view returns (uint256 executionGas);

    /// @notice Open the execution of a row in steps. Anyone may, for any model and row, once.
    /// @return rowHash sha256 of the row, by which the execution is called
    function begin(bytes32 modelId, bytes calldata row) external returns (bytes32 rowHash);

    /// @notice Make so many values more, or all that are left. Anyone may, from any state that the execution has
    /// reached, not only the furthest, so that nobody's small step takes the ground from under another's large one.
    /// The caller names their number, so the result never depends on gas: too little of it undoes the call.
    /// @param state as StateReached has it, or as the caller computed it
    function advance(bytes32 modelId, bytes32 rowHash, bytes calldata state, uint32 values) external;

    /// @notice The output of a finished execution: 4 bytes a logit, int32, big endian. Reverts with
    /// ExecutionUnfinished before.
    function outputOf(bytes32 modelId, bytes32 rowHash) external view returns (bytes memory output);

    /// @notice How far an execution has come.
    function progressOf(bytes32 modelId, bytes32 rowHash) external view returns (Progress memory);

    /// @notice What is known of a registered model; reverts with UnknownModel otherwise.
    function model(bytes32 modelId) external view returns (Model memory);

    /// @notice The contracts whose code, less the leading STOP, is the model's program.
    function programChunks(bytes32 modelId) external view returns (address[] memory);

    /// @notice The most gas that one execution may take here.
    function executionGasLimit() external view returns (uint256);
}
