// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {CodeStorage} from "./libraries/CodeStorage.sol";
import {Memory} from "./libraries/Memory.sol";
import {BLOCK, BLOCK_BYTES, PREAMBLE, WeightBlocks} from "./libraries/WeightBlocks.sol";

/// @title The gate of the registry: whatever passes has one meaning, and running it cannot fail
/// @notice Stateless; the registry creates its own. The twin of models/program_reader.py: both look at the same things
/// in the same order, so they refuse for the same reason. docs/program.md has the encoding.
contract ProgramValidator {
    /// @notice Check the whole program that lies in these chunks and `last`. Reverts with the error that IModelRegistry
    /// has for what is wrong.
    /// @param chunks contracts of STOP and 24,575 bytes each
    /// @return modelId sha256 of the program
    function validate(address[] calldata chunks, bytes calldata last)
        external
        view
        returns (bytes32 modelId, uint256 rowLength, uint256 outputLength)
    {
        bytes memory program = CodeStorage.assemble(chunks, last);
        assembly ("memory-safe") {
            // sha256 without the copy that the built-in function makes
            if iszero(staticcall(gas(), 2, add(program, 32), mload(program), 0, 32)) { revert(0, 0) }
            modelId := mload(0)
        }
        (rowLength, outputLength) = ProgramValidation.validate(program);
    }
}

/// @title What ProgramValidator checks, on a program in memory
library ProgramValidation {
    uint256 internal constant LONGEST_ROW = 98_304;
    uint256 internal constant MOST_OUTPUTS = 65_535;
    uint256 internal constant MOST_VALUES = 1 << 20;
    uint256 internal constant MOST_HELD = 1 << 24;
    uint256 internal constant MOST_OPERATIONS = 1 << 32;
    uint256 internal constant MOST_MEMORY = 196_608;
    uint256 internal constant MOST_LIVE = 128;
    uint256 internal constant LARGEST_AVERAGE = 1 << 16;
    uint256 internal constant MOST_DIMENSIONS = 5;
    uint256 internal constant SHIFT_LIMIT = 24;
    uint256 internal constant SUM_LIMIT = 1 << 24;

    uint256 private constant MAGIC = 0x51494e03; // "QIN", version 3
    uint256 private constant HEADER = 18;
    uint256 private constant GAP = 32;
    uint256 private constant TABLE_BYTES = 256;

    uint256 private constant DENSE = 1;
    uint256 private constant LOGITS = 2;
    uint256 private constant CONV = 3;
    uint256 private constant ADD = 4;
    uint256 private constant AVERAGE_POOL = 6;
    uint256 private constant TABLE = 7;
    uint256 private constant CONCAT = 8;
    uint256 private constant PAD = 9;
    uint256 private constant RESHAPE = 10;
    uint256 private constant TRANSPOSE = 11;

    /// @dev A shape in one word: its number of dimensions in the low byte, and each of them in 48 bits above.
    uint256 private constant SIDE_BITS = 48;

    /// @dev A program that has been read up to `position`. Live value i has `shapes[i]` and zeros padded around it as
    /// far as `reaches[i]`; the live values take `bytesLive` of memory.
    struct Reading {
        uint256 place;
        uint256 length;
        uint256 position;
        uint256 layers;
        uint256 live;
        uint256 bytesLive;
        uint256 memoryMost;
        uint256 held;
        uint256 operations;
        uint256[] shapes;
        uint256[] reaches;
    }

    /// @dev A layer: `first` is the shape that it reads first, `shape` what it makes. Each of its `outputs` channels has
    /// `inputs` weights; it visits `visits` places for each value that it makes, which it gathers if it has a window.
    /// What it multiplies takes `lanes` bytes.
    struct Layer {
        uint256 index;
        uint256 opcode;
        uint256 operands;
        uint256 operandCount;
        uint256 dead;
        uint256 first;
        uint256 shape;
        uint256 reach;
        uint256 outputs;
        uint256 inputs;
        uint256 visits;
        uint256 window;
        uint256 lanes;
    }

    function validate(bytes memory program) internal pure returns (uint256 rowLength, uint256 outputLength) {
        unchecked {
            Reading memory reading;
            reading.length = program.length;
            assembly ("memory-safe") {
                mstore(reading, add(program, 32))
            }
            uint256 header = Memory.word(_take(reading, HEADER));
            if (header >> 224 != MAGIC) revert IModelRegistry.WrongMagic(bytes4(bytes32(header)));
            rowLength = uint32(header >> 192);
            if (rowLength == 0 || rowLength > LONGEST_ROW) {
                revert IModelRegistry.RowLengthOutOfRange(rowLength, LONGEST_ROW);
            }
            reading.layers = uint16(header >> 112);
            if (reading.layers == 0) revert IModelRegistry.LayerCountOutOfRange(0);
            reading.shapes = new uint256[](MOST_LIVE + 1);
            reading.reaches = new uint256[](MOST_LIVE + 1);
            reading.shapes[0] = 1 | rowLength << 8;
            reading.live = 1;
            reading.bytesLive = rowLength + GAP;
            for (uint256 index; index < reading.layers; ++index) {
                _readLayer(reading, index);
            }
            if (reading.position != reading.length) {
                revert IModelRegistry.TrailingBytes(reading.length, reading.position);
            }
            if (reading.live != 1) revert IModelRegistry.UnreadValues(reading.live - 1);
            outputLength = _side(reading.shapes[0], 0);
            if (uint32(header >> 160) != outputLength) {
                revert IModelRegistry.OutputLengthMismatch(uint32(header >> 160), outputLength);
            }
            if (uint32(header >> 128) != reading.memoryMost) {
                revert IModelRegistry.MemoryMismatch(uint32(header >> 128), reading.memoryMost);
            }
        }
    }

    function _readLayer(Reading memory reading, uint256 index) private pure {
        unchecked {
            Layer memory layer;
            layer.index = index;
            _readOpcode(reading, layer);
            _readOperands(reading, layer);
            layer.visits = 1;
            _readFields(reading, layer);
            _checkSize(reading, layer);
            if (layer.outputs != 0) _checkChannels(reading, layer);
            else if (layer.opcode == TABLE) _take(reading, TABLE_BYTES);
            _update(reading, layer);
            if (reading.live > MOST_LIVE && index + 1 < reading.layers) revert IModelRegistry.SizeOutOfRange(index);
        }
    }

    function _readOpcode(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 opcode = Memory.byteAt(_take(reading, 1));
            bool known = opcode != 0 && opcode <= TRANSPOSE;
            if (!known || (opcode == LOGITS) != (layer.index + 1 == reading.layers)) {
                revert IModelRegistry.WrongOpcode(layer.index, opcode);
            }
            if (layer.index == 0 && opcode > LOGITS && opcode != RESHAPE) {
                revert IModelRegistry.WrongOpcode(layer.index, opcode);
            }
            layer.opcode = opcode;
        }
    }

    /// @dev Of a value that is read for the last time the byte has its high bit set; below it is the value's place.
    function _readOperands(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 count = layer.opcode == ADD ? 2 : 1;
            if (layer.opcode == CONCAT) {
                count = Memory.byteAt(_take(reading, 1));
                if (count < 2) revert IModelRegistry.WrongOperand(layer.index, count);
            }
            uint256 operands = _take(reading, count);
            uint256 dead;
            for (uint256 i; i < count; ++i) {
                uint256 operand = Memory.byteAt(operands + i);
                uint256 index = operand & 127;
                if (index >= reading.live || dead >> index & 1 != 0) {
                    revert IModelRegistry.WrongOperand(layer.index, operand);
                }
                dead |= operand >> 7 << index;
                uint256 reach = reading.reaches[index];
                if (reach > layer.reach) layer.reach = reach;
            }
            layer.operands = operands;
            layer.operandCount = count;
            layer.dead = dead;
            layer.first = reading.shapes[Memory.byteAt(operands) & 127];
        }
    }

    /// @dev What follows the operands, up to weights or entries; sets `shape` and what else is known of the layer.
    function _readFields(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 opcode = layer.opcode;
            if (opcode == RESHAPE) return _readReshape(reading, layer);
            if (opcode == TRANSPOSE) return _readTranspose(reading, layer);
            if (opcode == CONCAT) return _readConcat(reading, layer);
            if (opcode == PAD) return _readPad(reading, layer);
            if (opcode >= CONV && opcode <= AVERAGE_POOL && opcode != ADD) return _readWindow(reading, layer);
            layer.reach = 0;
            layer.shape = layer.first;
            if (opcode == TABLE) {
                if (Memory.number(_take(reading, 4)) != _count(layer.first)) _mismatch(layer);
                return;
            }
            uint256 place = _take(reading, 8);
            (uint256 one, uint256 other) = (Memory.number(place), Memory.number(place + 4));
            if (opcode == ADD) {
                (uint256 channels, uint256 values) = (_side(layer.first, 0), _count(layer.first));
                if (one != channels || one * other != values) _mismatch(layer);
                _setChannels(layer, channels, 2);
                (layer.visits, layer.lanes) = (1, 0); // of each of the two values, a byte at a time
                if (reading.shapes[Memory.byteAt(layer.operands + 1) & 127] != layer.first) _mismatch(layer);
            } else {
                if (1 | one << 8 != layer.first) _mismatch(layer);
                _setChannels(layer, other, one);
                layer.shape = 1 | other << 8;
            }
        }
    }

    function _setChannels(Layer memory layer, uint256 outputs, uint256 inputs) private pure {
        if (outputs == 0 || outputs > MOST_OUTPUTS) {
            revert IModelRegistry.OutputsOutOfRange(layer.index, outputs, MOST_OUTPUTS);
        }
        if (inputs > LONGEST_ROW) revert IModelRegistry.SizeOutOfRange(layer.index);
        layer.outputs = outputs;
        layer.inputs = inputs;
        layer.visits = inputs;
        layer.lanes = WeightBlocks.lanesLength(inputs);
    }

    function _readReshape(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 dimensions = Memory.byteAt(_take(reading, 1));
            if (dimensions == 0 || dimensions > MOST_DIMENSIONS) _mismatch(layer);
            uint256 place = _take(reading, 4 * dimensions);
            uint256 shape = dimensions;
            for (uint256 i; i < dimensions; ++i) {
                shape |= Memory.number(place + 4 * i) << _bit(i);
            }
            if (_count(shape) != _count(layer.first)) _mismatch(layer);
            layer.shape = shape;
        }
    }

    function _readTranspose(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 dimensions = Memory.byteAt(_take(reading, 1));
            if (dimensions != layer.first & 255) _mismatch(layer);
            uint256 place = _take(reading, 4 * dimensions);
            for (uint256 i; i < dimensions; ++i) {
                if (Memory.number(place + 4 * i) != _side(layer.first, i)) _mismatch(layer);
            }
            uint256 order = _take(reading, dimensions);
            uint256 shape = dimensions;
            uint256 seen;
            for (uint256 i; i < dimensions; ++i) {
                uint256 from = Memory.byteAt(order + i);
                if (from >= dimensions) _mismatch(layer);
                seen |= 1 << from;
                shape |= _side(layer.first, from) << _bit(i);
            }
            if (seen + 1 != 1 << dimensions) _mismatch(layer);
            layer.shape = shape;
        }
    }

    function _readConcat(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 channels;
            uint256 others = ~(((1 << SIDE_BITS) - 1) << 8);
            for (uint256 i; i < layer.operandCount; ++i) {
                uint256 shape = reading.shapes[Memory.byteAt(layer.operands + i) & 127];
                if (shape & others != layer.first & others) _mismatch(layer);
                channels += _side(shape, 0);
            }
            layer.shape = layer.first & others | channels << 8;
        }
    }

    function _readPad(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 place = _take(reading, 2);
            (uint256 dimensions, uint256 value) = (Memory.byteAt(place), Memory.byteAt(place + 1));
            if (dimensions + 1 != layer.first & 255) _mismatch(layer);
            place = _take(reading, 4 + 12 * dimensions);
            if (Memory.number(place) != _side(layer.first, 0)) _mismatch(layer);
            place += 4;
            uint256 shape = layer.first & 255 | _side(layer.first, 0) << 8;
            uint256 widest;
            for (uint256 i = 1; i <= dimensions; ++i) {
                (uint256 size, uint256 before, uint256 behind) =
                    (Memory.number(place), Memory.number(place + 4), Memory.number(place + 8));
                if (size != _side(layer.first, i)) _mismatch(layer);
                if (before > widest) widest = before;
                if (behind > widest) widest = behind;
                shape |= size + before + behind << _bit(i);
                place += 12;
            }
            layer.shape = shape;
            if (value == 0) layer.reach += widest;
        }
    }

    /// @dev Conv, MaxPool and AveragePool.
    function _readWindow(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            bool isConv = layer.opcode == CONV;
            uint256 dimensions = Memory.byteAt(_take(reading, 1));
            if (dimensions == 0 || dimensions > 2) revert IModelRegistry.WindowOutOfRange(layer.index);
            uint256 numbers = _take(reading, isConv ? 12 : 4);
            uint256 sides = _take(reading, 20 * dimensions);
            uint256 channels = Memory.number(numbers);
            if (dimensions + 1 != layer.first & 255 || channels != _side(layer.first, 0)) _mismatch(layer);
            (uint256 window, uint256 places) = _readSides(layer, sides, dimensions);
            if (layer.opcode == AVERAGE_POOL && (window & window - 1 != 0 || window > LARGEST_AVERAGE)) {
                revert IModelRegistry.WindowOutOfRange(layer.index);
            }
            uint256 outputs = channels;
            if (isConv) {
                outputs = Memory.number(numbers + 4);
                if (outputs == 0 || outputs > MOST_OUTPUTS) {
                    revert IModelRegistry.OutputsOutOfRange(layer.index, outputs, MOST_OUTPUTS);
                }
                uint256 groups = Memory.number(numbers + 8);
                if (groups == 0 || outputs % groups != 0 || channels % groups != 0) {
                    revert IModelRegistry.WindowOutOfRange(layer.index);
                }
                window *= channels / groups;
                _setChannels(layer, outputs, window);
                layer.lanes += outputs / groups + GAP; // a byte for each output of a window
            }
            if (places == 0) _mismatch(layer); // some window does not fit
            layer.visits = window;
            layer.window = window;
            layer.shape |= layer.first & 255 | outputs << 8;
            if (!isConv && layer.reach >= _leastKernel(sides, dimensions)) {
                revert IModelRegistry.WindowOutOfRange(layer.index);
            }
            layer.reach = 0;
        }
    }

    /// @dev The dimensions of a window: puts how often it fits into the shape and the widest pad on top of the reach.
    /// @return window places in it
    /// @return places of the window in the value; 0 if it does not fit
    function _readSides(Layer memory layer, uint256 sides, uint256 dimensions)
        private
        pure
        returns (uint256 window, uint256 places)
    {
        unchecked {
            window = 1;
            places = 1;
            uint256 widest;
            for (uint256 i = 1; i <= dimensions; ++i) {
                if (Memory.number(sides) != _side(layer.first, i)) _mismatch(layer);
                sides += 20;
            }
            sides -= 20 * dimensions;
            for (uint256 i = 1; i <= dimensions; ++i) {
                (uint256 size, uint256 kernel, uint256 stride) =
                    (Memory.number(sides), Memory.number(sides + 4), Memory.number(sides + 8));
                (uint256 before, uint256 behind) = (Memory.number(sides + 12), Memory.number(sides + 16));
                bool inRange = kernel != 0 && kernel <= MOST_VALUES && stride != 0 && stride <= MOST_VALUES;
                if (!inRange || before >= kernel || behind >= kernel) {
                    revert IModelRegistry.WindowOutOfRange(layer.index);
                }
                if (before > widest) widest = before;
                if (behind > widest) widest = behind;
                window *= kernel;
                size += before + behind;
                uint256 fits = size < kernel ? 0 : (size - kernel) / stride + 1;
                places *= fits;
                layer.shape |= fits << _bit(i);
                sides += 20;
            }
            layer.reach += widest;
        }
    }

    function _leastKernel(uint256 sides, uint256 dimensions) private pure returns (uint256 least) {
        unchecked {
            least = Memory.number(sides + 4);
            if (dimensions == 2 && Memory.number(sides + 24) < least) least = Memory.number(sides + 24);
        }
    }

    function _checkSize(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 values = _count(layer.shape);
            uint256 needed = reading.bytesLive + values + GAP;
            if (layer.window != 0) needed += layer.window + GAP;
            uint256 memoryNeeded = needed + layer.lanes;
            if (memoryNeeded > reading.memoryMost) reading.memoryMost = memoryNeeded;
            reading.held += values;
            reading.operations += values * layer.visits;
            if (
                values > MOST_VALUES || reading.held > MOST_HELD || reading.operations > MOST_OPERATIONS
                    || needed > MOST_MEMORY
            ) revert IModelRegistry.SizeOutOfRange(layer.index);
        }
    }

    function _checkChannels(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 record = WeightBlocks.recordLength(layer.inputs);
            uint256 place = _take(reading, layer.outputs * record);
            uint256 most = layer.opcode == LOGITS ? 0 : SHIFT_LIMIT;
            for (uint256 channel; channel < layer.outputs; ++channel) {
                _checkChannel(place, layer, channel, most);
                place += record;
            }
        }
    }

    /// @dev The channel's record lies at `place`. A shift is 24 less the binary places.
    function _checkChannel(uint256 place, Layer memory layer, uint256 channel, uint256 most) private pure {
        unchecked {
            uint256 record = Memory.word(place);
            uint256 shift = uint8(SHIFT_LIMIT - (record >> 216));
            if (shift > most) revert IModelRegistry.ShiftOutOfRange(layer.index, channel, shift);
            (uint256 sum, bool inRange) = _weigh(place + PREAMBLE, layer.inputs);
            if (!inRange) revert IModelRegistry.WeightOutOfRange(layer.index, channel);
            int256 bias = int256(record) >> 224;
            sum = 255 * sum + uint256(bias < 0 ? -bias : bias);
            if (sum >= SUM_LIMIT) revert IModelRegistry.SumOutOfRange(layer.index, channel, sum);
        }
    }

    /// @dev Σ|w| of `count` weights, and whether each is within ±63, that is no digit 0, and every spare bit zero. The
    /// first block has what the others leave. A digit d is not 0 if d ≥ 64 or (d mod 64) + 63 ≥ 64. |w| is d − 64 or
    /// 64 − d; digits are added in pairs, pairs modulo 2^14 − 1.
    function _weigh(uint256 place, uint256 count) private pure returns (uint256 sum, bool inRange) {
        assembly ("memory-safe") {
            let all := shr(18, not(0)) // the bits of a whole block
            let ones := div(all, 127)
            let highs := shl(6, ones)
            let lows := sub(highs, ones)
            let evens := mul(div(all, 0x3fff), 127)
            let good := highs
            // What the first block has less than others is replaced by zeros, the digits 64.
            let bits := mul(mod(count, BLOCK), 7)
            let length := shr(3, add(bits, 7))
            let word := shr(sub(256, shl(3, length)), mload(place))
            let spare := shr(bits, word)
            word := or(word, and(shl(bits, highs), all))
            place := add(place, length)
            for { let end := add(place, mul(div(count, BLOCK), BLOCK_BYTES)) } 1 { } {
                let low := and(word, lows)
                good := and(good, or(word, add(low, lows)))
                let negative := and(shr(6, not(word)), ones)
                let size := add(xor(low, mul(negative, 63)), negative)
                sum := add(sum, mod(add(and(size, evens), and(shr(7, size), evens)), 0x3fff))
                if eq(place, end) { break }
                word := shr(16, mload(place))
                spare := or(spare, shr(238, word))
                place := add(place, BLOCK_BYTES)
            }
            inRange := and(iszero(spare), eq(good, highs))
        }
    }

    /// @dev The list of live values behind a layer: without those that it was the last to read, and with what it makes.
    function _update(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 kept;
            for (uint256 i; i < reading.live; ++i) {
                uint256 shape = reading.shapes[i];
                if (layer.dead >> i & 1 != 0) {
                    reading.bytesLive -= _count(shape) + GAP;
                    continue;
                }
                reading.shapes[kept] = shape;
                reading.reaches[kept] = reading.reaches[i];
                ++kept;
            }
            reading.shapes[kept] = layer.shape;
            reading.reaches[kept] = layer.reach;
            reading.live = kept + 1;
            reading.bytesLive += _count(layer.shape) + GAP;
        }
    }

    function _mismatch(Layer memory layer) private pure {
        revert IModelRegistry.ShapeMismatch(layer.index);
    }

    /// @dev Where the next `length` bytes of the program lie in memory.
    function _take(Reading memory reading, uint256 length) private pure returns (uint256 place) {
        unchecked {
            place = reading.place + reading.position;
            reading.position += length;
            if (reading.position > reading.length) {
                revert IModelRegistry.ProgramTooShort(reading.length, reading.position);
            }
        }
    }

    function _bit(uint256 dimension) private pure returns (uint256) {
        unchecked {
            return 8 + SIDE_BITS * dimension;
        }
    }

    function _side(uint256 shape, uint256 dimension) private pure returns (uint256) {
        return uint48(shape >> _bit(dimension));
    }

    function _count(uint256 shape) private pure returns (uint256 count) {
        unchecked {
            count = 1;
            for (uint256 i; i < shape & 255; ++i) {
                count *= _side(shape, i);
            }
        }
    }
}
