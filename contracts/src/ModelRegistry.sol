// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IntegerNetwork} from "./IntegerNetwork.sol";
import {ProgramValidator} from "./ProgramValidator.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {CodeStorage} from "./libraries/CodeStorage.sol";

/// @title IModelRegistry, which see
contract ModelRegistry is IModelRegistry {
    /// @notice The most that `executionGasLimit` may be. A whole refutation then fits 75 % of the 16,777,216 gas that
    /// one transaction may have, that is 12,582,912: beside the execution it pays for a row of 96 KiB (1.57 million gas
    /// as calldata, under 0.2 million to hash and pass on), two proofs at depth 32 and the call itself (under 0.2
    /// million).
    uint256 private constant MOST_EXECUTION_GAS = 10_000_000;

    /// @notice As many chunks as one transaction can hash, validate, execute and record, the last one having been
    /// stored before it if it is long.
    uint256 private constant MOST_CHUNKS = 36;

    /// @notice The longest output of an execution in steps: it is stored in one contract.
    uint256 private constant MOST_STEPWISE_LOGITS = CodeStorage.CHUNK / 4;

    // What the first access in a transaction costs on top (EIP-2929): this contract; for each chunk its address's slot
    // and its account.
    uint256 private constant COLD_REGISTRY = 2_500;
    uint256 private constant COLD_CHUNK = 4_500;

    // What a step's transaction pays beside the call itself: its base, and its calldata at the floor of EIP-7623, of
    // which a state or row is the part that varies.
    uint256 private constant TRANSACTION_GAS = 21_000;
    uint256 private constant GAS_PER_BYTE = 40;
    uint256 private constant ARGUMENT_BYTES = 164;

    /// @inheritdoc IModelRegistry
    uint256 public immutable executionGasLimit;

    ProgramValidator private immutable VALIDATOR = new ProgramValidator();

    /// @dev One slot, so that executing a model of one chunk reads one.
    struct Entry {
        address firstChunk;
        uint24 programLength;
        uint24 rowLength;
        uint24 executionGas; // 0 if it is stepwise
        uint16 outputLength;
        bool stepwise;
    }

    /// @dev A state that an execution has passed through. `gasSpent` to reach it is kept where that measures a model.
    struct Reached {
        bytes32 stateHash;
        uint256 gasSpent;
    }

    /// @dev `output` is a contract of STOP and the output; `furthest` the largest key of `reached`, which holds states
    /// by the values made before them. There is one state for each number of values.
    struct Execution {
        address output;
        uint32 furthest;
        mapping(uint256 executed => Reached) reached;
    }

    mapping(bytes32 modelId => Entry) private _entries;
    mapping(bytes32 modelId => mapping(uint256 index => address)) private _furtherChunks;
    mapping(bytes32 modelId => uint256) private _stepwiseGas;
    mapping(bytes32 modelId => mapping(bytes32 rowHash => Execution)) private _executions;

    constructor(uint256 executionGasLimit_) {
        if (executionGasLimit_ > MOST_EXECUTION_GAS) {
            revert ExecutionGasLimitTooHigh(executionGasLimit_, MOST_EXECUTION_GAS);
        }
        executionGasLimit = executionGasLimit_;
    }

    /// @inheritdoc IModelRegistry
    function storeChunk(bytes calldata piece) external returns (bytes32 chunkId) {
        (chunkId,) = _store(piece);
    }

    /// @inheritdoc IModelRegistry
    function register(bytes32[] calldata stored, bytes calldata last) external returns (bytes32 modelId) {
        uint256 chunks = stored.length + 1;
        if (chunks > MOST_CHUNKS) revert TooManyChunks(chunks, MOST_CHUNKS);
        address[] memory full = _find(stored);
        uint256 rowLength;
        uint256 outputLength;
        (modelId, rowLength, outputLength) = VALIDATOR.validate(full, last);
        if (_entries[modelId].firstChunk != address(0)) revert ModelExists(modelId);

        (, address lastChunk) = _store(last);
        for (uint256 i = 1; i < chunks; ++i) {
            _furtherChunks[modelId][i] = i < full.length ? full[i] : lastChunk;
        }
        Entry storage entry = _entries[modelId];
        entry.firstChunk = chunks == 1 ? lastChunk : full[0];
        entry.programLength = uint24(full.length * CodeStorage.CHUNK + last.length);
        entry.rowLength = uint24(rowLength);
        entry.outputLength = uint16(outputLength);

        uint256 executionGas = this.measure(modelId);
        if (executionGas == 0) {
            _requireStorable(outputLength);
            entry.stepwise = true;
        } else {
            executionGas += COLD_REGISTRY + COLD_CHUNK * chunks;
            entry.executionGas = uint24(executionGas);
        }
        emit ModelRegistered(modelId, msg.sender, rowLength, outputLength, executionGas);
    }

    /// @inheritdoc IModelRegistry
    function announceUri(bytes32 modelId, string calldata uri) external {
        _entry(modelId);
        emit UriAnnounced(modelId, msg.sender, uri);
    }

    /// @inheritdoc IModelRegistry
    function execute(bytes32 modelId, bytes calldata row) external view returns (bytes memory output) {
        Entry storage entry = _entry(modelId);
        uint256 length = entry.programLength;
        output = IntegerNetwork.run(_chunks(modelId, entry.firstChunk, length), length, row);
        assembly ("memory-safe") {
            // The result as it would be encoded, without the copy of it
            let result := sub(output, 32)
            mstore(result, 32)
            return(result, add(64, and(add(mload(output), 31), not(31))))
        }
    }

    /// @inheritdoc IModelRegistry
    function measure(bytes32 modelId) external view returns (uint256) {
        bytes memory row = _rowOf255s(_entry(modelId).rowLength);
        uint256 before = gasleft();
        try this.execute{gas: executionGasLimit}(modelId, row) {
            return before - gasleft();
        } catch {
            // The model is to blame only if it was given the whole limit (then 1/63 of that at least is left here) and
            // took it (then it was not refused for being too deep in the stack of calls).
            if (gasleft() < executionGasLimit / 63 || before - gasleft() < executionGasLimit) {
                revert NotEnoughGasToMeasure(before);
            }
            return 0;
        }
    }

    /// @inheritdoc IModelRegistry
    function begin(bytes32 modelId, bytes calldata row) external returns (bytes32 rowHash) {
        uint256 gasBefore = gasleft();
        Entry storage entry = _entry(modelId);
        if (row.length != entry.rowLength) revert WrongRowLength(row.length, entry.rowLength);
        _requireStorable(entry.outputLength);
        rowHash = sha256(row);
        Reached storage first = _executions[modelId][rowHash].reached[0];
        if (first.stateHash != 0) revert ExecutionExists(modelId, rowHash);

        bool measures = entry.stepwise && rowHash == sha256(_rowOf255s(row.length));
        bytes memory state = IntegerNetwork.firstState(row);
        first.stateHash = keccak256(state);
        emit StateReached(modelId, rowHash, state);
        if (measures) first.gasSpent = _transactionGas(gasBefore - gasleft(), row.length);
    }

    /// @inheritdoc IModelRegistry
    function advance(bytes32 modelId, bytes32 rowHash, bytes calldata state, uint32 values) external {
        uint256 gasBefore = gasleft();
        Entry storage entry = _entry(modelId);
        Execution storage execution = _executions[modelId][rowHash];
        if (execution.output != address(0)) revert ExecutionOver(modelId, rowHash);
        if (values == 0) revert EmptyStep();
        uint256 executed = IntegerNetwork.executedBefore(state);
        Reached storage from = execution.reached[executed];
        if (keccak256(state) != from.stateHash) revert UnknownState(keccak256(state));
        executed += values;
        if (executed <= execution.furthest) revert StaleStep(executed, execution.furthest);

        (bytes memory result, bool finished) = _advance(modelId, entry, state, values);
        if (finished) {
            execution.output = _storeOutput(result, keccak256(abi.encode(modelId, rowHash)));
            emit ExecutionFinished(modelId, rowHash, result);
        } else {
            execution.furthest = uint32(executed);
            execution.reached[executed].stateHash = keccak256(result);
            emit StateReached(modelId, rowHash, result);
        }
        if (from.gasSpent == 0) return;

        uint256 gas = gasBefore - gasleft();
        uint256 gasSpent = from.gasSpent + _transactionGas(gas, state.length);
        if (finished) {
            _stepwiseGas[modelId] = gasSpent;
            emit ModelMeasured(modelId, gasSpent);
        } else {
            if (gas < executionGasLimit / 2) revert StepTooSmallToMeasure(gas, executionGasLimit / 2);
            execution.reached[executed].gasSpent = gasSpent;
        }
    }

    /// @inheritdoc IModelRegistry
    function outputOf(bytes32 modelId, bytes32 rowHash) external view returns (bytes memory) {
        address output = _executions[modelId][rowHash].output;
        if (output == address(0)) revert ExecutionUnfinished(modelId, rowHash);
        return CodeStorage.read(output);
    }

    /// @inheritdoc IModelRegistry
    function progressOf(bytes32 modelId, bytes32 rowHash) external view returns (Progress memory) {
        Execution storage execution = _executions[modelId][rowHash];
        return Progress({
            begun: execution.reached[0].stateHash != 0,
            finished: execution.output != address(0),
            executed: execution.furthest,
            stateHash: execution.reached[execution.furthest].stateHash
        });
    }

    /// @inheritdoc IModelRegistry
    function model(bytes32 modelId) external view returns (Model memory) {
        Entry storage entry = _entry(modelId);
        return Model({
            rowLength: entry.rowLength,
            outputLength: entry.outputLength,
            executionGas: entry.stepwise ? _stepwiseGas[modelId] : entry.executionGas,
            programLength: entry.programLength,
            stepwise: entry.stepwise
        });
    }

    /// @inheritdoc IModelRegistry
    function programChunks(bytes32 modelId) external view returns (address[] memory) {
        Entry storage entry = _entry(modelId);
        return _chunks(modelId, entry.firstChunk, entry.programLength);
    }

    function _entry(bytes32 modelId) private view returns (Entry storage entry) {
        entry = _entries[modelId];
        if (entry.firstChunk == address(0)) revert UnknownModel(modelId);
    }

    function _advance(bytes32 modelId, Entry storage entry, bytes calldata state, uint256 values)
        private
        view
        returns (bytes memory result, bool finished)
    {
        uint256 length = entry.programLength;
        return IntegerNetwork.advance(_chunks(modelId, entry.firstChunk, length), length, state, values);
    }

    function _chunks(bytes32 modelId, address first, uint256 length) private view returns (address[] memory chunks) {
        unchecked {
            chunks = new address[]((length + CodeStorage.CHUNK - 1) / CodeStorage.CHUNK);
            chunks[0] = first;
            for (uint256 i = 1; i < chunks.length; ++i) {
                chunks[i] = _furtherChunks[modelId][i];
            }
        }
    }

    /// @dev Chunks of these ids. They can only be what `_store` made: the address binds this contract, which creates
    /// nothing else with salt 0, and the creation code. So nobody can pass in code that changes or vanishes.
    function _find(bytes32[] calldata stored) private view returns (address[] memory chunks) {
        chunks = new address[](stored.length);
        for (uint256 i; i < stored.length; ++i) {
            chunks[i] = _addressOf(stored[i]);
            uint256 length = chunks[i].code.length;
            if (length == 0) revert UnknownChunk(stored[i]);
            if (length - 1 != CodeStorage.CHUNK) revert ChunkNotFull(i, length - 1);
        }
    }

    function _store(bytes calldata piece) private returns (bytes32 chunkId, address chunk) {
        if (piece.length == 0 || piece.length > CodeStorage.CHUNK) {
            revert ChunkLengthOutOfRange(piece.length, CodeStorage.CHUNK);
        }
        bytes memory code = bytes.concat(CodeStorage.creationPrefix(piece.length), piece);
        chunkId = keccak256(code);
        chunk = _addressOf(chunkId);
        if (chunk.code.length != 0) return (chunkId, chunk);
        if (CodeStorage.create(code, 0) != chunk) revert ChunkNotWritten(piece.length);
        emit ChunkStored(chunkId, chunk, piece.length);
    }

    /// @dev Under a salt of its own: one for each execution, and none of them a chunk's. In code, since in storage a
    /// word of zeros would cost less than another and gas would depend on the row.
    function _storeOutput(bytes memory output, bytes32 salt) private returns (address made) {
        made = CodeStorage.create(bytes.concat(CodeStorage.creationPrefix(output.length), output), salt);
        if (made == address(0)) revert ChunkNotWritten(output.length);
    }

    function _requireStorable(uint256 logits) private pure {
        if (logits > MOST_STEPWISE_LOGITS) revert OutputTooLong(logits, MOST_STEPWISE_LOGITS);
    }

    /// @dev What a whole transaction takes if the call does, with a state or row of so many bytes.
    function _transactionGas(uint256 callGas, uint256 length) private pure returns (uint256) {
        return callGas + TRANSACTION_GAS + GAS_PER_BYTE * (ARGUMENT_BYTES + length);
    }

    function _rowOf255s(uint256 length) private pure returns (bytes memory row) {
        row = new bytes(length);
        assembly ("memory-safe") {
            let end := add(add(row, 32), length)
            for { let place := add(row, 32) } lt(place, end) { place := add(place, 32) } { mstore(place, not(0)) }
        }
    }

    function _addressOf(bytes32 chunkId) private view returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), bytes32(0), chunkId)))));
    }
}
