// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IntegerNetwork} from "./IntegerNetwork.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";

/// @title IModelRegistry, which see
contract ModelRegistry is IModelRegistry {
    /// @notice The most that `executionGasLimit` may be. A whole refutation then fits 75 % of the 16,777,216 gas that
    /// one transaction may have, that is 12,582,912: beside the execution it pays for a row of 96 KiB (1.57 million gas
    /// as calldata, under 0.2 million to hash and pass on), two proofs at depth 32 and the call itself (under 0.2
    /// million).
    uint256 public constant MOST_EXECUTION_GAS = 10_000_000;

    /// @notice As many chunks as one transaction can hash, validate, execute and record, the last one having been
    /// stored before it if it is long.
    uint256 public constant MOST_CHUNKS = 36;

    // What the first access in a transaction costs on top (EIP-2929): this contract; for each chunk its address's slot
    // and its account.
    uint256 private constant COLD_REGISTRY = 2_500;
    uint256 private constant COLD_CHUNK = 4_500;

    /// @inheritdoc IModelRegistry
    uint256 public immutable executionGasLimit;

    /// @dev One slot, so that executing a model of one chunk reads one.
    struct Entry {
        address firstChunk;
        uint32 programLength;
        uint24 rowLength;
        uint24 executionGas;
        uint16 outputLength;
    }

    mapping(bytes32 modelId => Entry) private _entries;
    mapping(bytes32 modelId => mapping(uint256 index => address)) private _furtherChunks;

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
        bytes memory program = IntegerNetwork.assemble(full, last);
        modelId = IntegerNetwork.identify(program);
        if (_entries[modelId].firstChunk != address(0)) revert ModelExists(modelId);

        (uint256 rowLength, uint256 outputLength) = IntegerNetwork.validate(program);
        (, address lastChunk) = _store(last);
        for (uint256 i = 1; i < chunks; ++i) {
            _furtherChunks[modelId][i] = i < full.length ? full[i] : lastChunk;
        }
        _entries[modelId] = Entry({
            firstChunk: chunks == 1 ? lastChunk : full[0],
            programLength: uint32(program.length),
            rowLength: uint24(rowLength),
            executionGas: 0,
            outputLength: uint16(outputLength)
        });

        uint256 executionGas = this.measure(modelId) + COLD_REGISTRY + COLD_CHUNK * chunks;
        _entries[modelId].executionGas = uint24(executionGas);
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
        return IntegerNetwork.run(_chunks(modelId, entry), entry.programLength, row);
    }

    /// @inheritdoc IModelRegistry
    function measure(bytes32 modelId) external view returns (uint256) {
        bytes memory row = new bytes(_entry(modelId).rowLength);
        for (uint256 i; i < row.length; ++i) {
            row[i] = 0xff;
        }
        uint256 before = gasleft();
        try this.execute{gas: executionGasLimit}(modelId, row) {
            return before - gasleft();
        } catch {
            // A call gets at most 63/64 of what is left: with less than the limit on offer the model is not to blame.
            if (before - before / 64 < executionGasLimit) revert NotEnoughGasToMeasure(before);
            revert ExecutionTooDear(executionGasLimit);
        }
    }

    /// @inheritdoc IModelRegistry
    function model(bytes32 modelId) external view returns (Model memory) {
        Entry storage entry = _entry(modelId);
        return Model({
            rowLength: entry.rowLength,
            outputLength: entry.outputLength,
            executionGas: entry.executionGas,
            programLength: entry.programLength
        });
    }

    /// @inheritdoc IModelRegistry
    function programChunks(bytes32 modelId) external view returns (address[] memory) {
        return _chunks(modelId, _entry(modelId));
    }

    function _entry(bytes32 modelId) private view returns (Entry storage entry) {
        entry = _entries[modelId];
        if (entry.firstChunk == address(0)) revert UnknownModel(modelId);
    }

    function _chunks(bytes32 modelId, Entry storage entry) private view returns (address[] memory chunks) {
        chunks = new address[]((entry.programLength + IntegerNetwork.CHUNK - 1) / IntegerNetwork.CHUNK);
        chunks[0] = entry.firstChunk;
        for (uint256 i = 1; i < chunks.length; ++i) {
            chunks[i] = _furtherChunks[modelId][i];
        }
    }

    /// @dev Chunks of these ids. They can only be what `_store` made: the address binds this contract, which creates
    /// nothing else, and the creation code. So nobody can pass in code that changes or vanishes.
    function _find(bytes32[] calldata stored) private view returns (address[] memory chunks) {
        chunks = new address[](stored.length);
        for (uint256 i; i < stored.length; ++i) {
            chunks[i] = _addressOf(stored[i]);
            uint256 length = chunks[i].code.length;
            if (length == 0) revert UnknownChunk(stored[i]);
            if (length - 1 != IntegerNetwork.CHUNK) revert ChunkNotFull(i, length - 1);
        }
    }

    function _store(bytes calldata piece) private returns (bytes32 chunkId, address chunk) {
        if (piece.length == 0 || piece.length > IntegerNetwork.CHUNK) {
            revert ChunkLengthOutOfRange(piece.length, IntegerNetwork.CHUNK);
        }
        bytes memory code = IntegerNetwork.creationCode(piece);
        chunkId = keccak256(code);
        chunk = _addressOf(chunkId);
        if (chunk.code.length != 0) return (chunkId, chunk);
        if (IntegerNetwork.create(code) != chunk) revert ChunkNotWritten(piece.length);
        emit ChunkStored(chunkId, chunk, piece.length);
    }

    function _addressOf(bytes32 chunkId) private view returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), bytes32(0), chunkId)))));
    }
}
