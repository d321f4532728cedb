// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {CodeStorage} from "./libraries/CodeStorage.sol";

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

    uint256 private constant MAGIC = 0x51494e02; // "QIN", version 2
    uint256 private constant HEADER = 18;
    uint256 private constant PREAMBLE = 5;
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
    }

    function validate(bytes memory program) internal pure returns (uint256 rowLength, uint256 outputLength) {
        unchecked {
            Reading memory reading;
            reading.length = program.length;
            assembly ("memory-safe") {
                mstore(reading, add(program, 32))
            }
            uint256 header = _word(_take(reading, HEADER));
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
            uint256 opcode = _byte(_take(reading, 1));
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
                count = _byte(_take(reading, 1));
                if (count < 2) revert IModelRegistry.WrongOperand(layer.index, count);
            }
            uint256 operands = _take(reading, count);
            uint256 dead;
            for (uint256 i; i < count; ++i) {
                uint256 operand = _byte(operands + i);
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
            layer.first = reading.shapes[_byte(operands) & 127];
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
                if (_number(_take(reading, 4)) != _count(layer.first)) _mismatch(layer);
                return;
            }
            uint256 place = _take(reading, 8);
            (uint256 one, uint256 other) = (_number(place), _number(place + 4));
            if (opcode == ADD) {
                (uint256 channels, uint256 values) = (_side(layer.first, 0), _count(layer.first));
                if (one != channels || one * other != values) _mismatch(layer);
                _setChannels(layer, channels, 2);
                layer.visits = 1; // of each of the two values
                if (reading.shapes[_byte(layer.operands + 1) & 127] != layer.first) _mismatch(layer);
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
    }

    function _readReshape(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 dimensions = _byte(_take(reading, 1));
            if (dimensions == 0 || dimensions > MOST_DIMENSIONS) _mismatch(layer);
            uint256 place = _take(reading, 4 * dimensions);
            uint256 shape = dimensions;
            for (uint256 i; i < dimensions; ++i) {
                shape |= _number(place + 4 * i) << _bit(i);
            }
            if (_count(shape) != _count(layer.first)) _mismatch(layer);
            layer.shape = shape;
        }
    }

    function _readTranspose(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 dimensions = _byte(_take(reading, 1));
            if (dimensions != layer.first & 255) _mismatch(layer);
            uint256 place = _take(reading, 4 * dimensions);
            for (uint256 i; i < dimensions; ++i) {
                if (_number(place + 4 * i) != _side(layer.first, i)) _mismatch(layer);
            }
            uint256 order = _take(reading, dimensions);
            uint256 shape = dimensions;
            uint256 seen;
            for (uint256 i; i < dimensions; ++i) {
                uint256 from = _byte(order + i);
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
                uint256 shape = reading.shapes[_byte(layer.operands + i) & 127];
                if (shape & others != layer.first & others) _mismatch(layer);
                channels += _side(shape, 0);
            }
            layer.shape = layer.first & others | channels << 8;
        }
    }

    function _readPad(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 place = _take(reading, 2);
            (uint256 dimensions, uint256 value) = (_byte(place), _byte(place + 1));
            if (dimensions + 1 != layer.first & 255) _mismatch(layer);
            place = _take(reading, 4 + 12 * dimensions);
            if (_number(place) != _side(layer.first, 0)) _mismatch(layer);
            place += 4;
            uint256 shape = layer.first & 255 | _side(layer.first, 0) << 8;
            uint256 widest;
            for (uint256 i = 1; i <= dimensions; ++i) {
                (uint256 size, uint256 before, uint256 behind) =
                    (_number(place), _number(place + 4), _number(place + 8));
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
            uint256 dimensions = _byte(_take(reading, 1));
            if (dimensions == 0 || dimensions > 2) revert IModelRegistry.WindowOutOfRange(layer.index);
            uint256 numbers = _take(reading, isConv ? 12 : 4);
            uint256 sides = _take(reading, 20 * dimensions);
            uint256 channels = _number(numbers);
            if (dimensions + 1 != layer.first & 255 || channels != _side(layer.first, 0)) _mismatch(layer);
            (uint256 window, uint256 places) = _readSides(layer, sides, dimensions);
            if (layer.opcode == AVERAGE_POOL && (window & window - 1 != 0 || window > LARGEST_AVERAGE)) {
                revert IModelRegistry.WindowOutOfRange(layer.index);
            }
            uint256 outputs = channels;
            if (isConv) {
                outputs = _number(numbers + 4);
                if (outputs == 0 || outputs > MOST_OUTPUTS) {
                    revert IModelRegistry.OutputsOutOfRange(layer.index, outputs, MOST_OUTPUTS);
                }
                uint256 groups = _number(numbers + 8);
                if (groups == 0 || outputs % groups != 0 || channels % groups != 0) {
                    revert IModelRegistry.WindowOutOfRange(layer.index);
                }
                window *= channels / groups;
                _setChannels(layer, outputs, window);
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
                if (_number(sides) != _side(layer.first, i)) _mismatch(layer);
                sides += 20;
            }
            sides -= 20 * dimensions;
            for (uint256 i = 1; i <= dimensions; ++i) {
                (uint256 size, uint256 kernel, uint256 stride) =
                    (_number(sides), _number(sides + 4), _number(sides + 8));
                (uint256 before, uint256 behind) = (_number(sides + 12), _number(sides + 16));
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
            least = _number(sides + 4);
            if (dimensions == 2 && _number(sides + 24) < least) least = _number(sides + 24);
        }
    }

    function _checkSize(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 values = _count(layer.shape);
            uint256 needed = reading.bytesLive + values + GAP;
            if (layer.window != 0) needed += layer.window + GAP;
            if (needed > reading.memoryMost) reading.memoryMost = needed;
            reading.held += values;
            reading.operations += values * layer.visits;
            if (
                values > MOST_VALUES || reading.held > MOST_HELD || reading.operations > MOST_OPERATIONS
                    || reading.memoryMost > MOST_MEMORY
            ) revert IModelRegistry.SizeOutOfRange(layer.index);
        }
    }

    function _checkChannels(Reading memory reading, Layer memory layer) private pure {
        unchecked {
            uint256 record = PREAMBLE + layer.inputs;
            uint256 place = _take(reading, layer.outputs * record) + PREAMBLE;
            uint256 most = layer.opcode == LOGITS ? 0 : SHIFT_LIMIT;
            for (uint256 channel; channel < layer.outputs; ++channel) {
                _checkChannel(place, layer, channel, most);
                place += record;
            }
        }
    }

    /// @dev `weights` is where the channel's weights lie, right behind its shift and bias.
    function _checkChannel(uint256 weights, Layer memory layer, uint256 channel, uint256 most) private pure {
        unchecked {
            uint256 preamble = _word(weights - 32);
            uint256 shift = uint8(preamble >> 32);
            if (shift > most) revert IModelRegistry.ShiftOutOfRange(layer.index, channel, shift);
            (uint256 sum, bool inRange) = _weigh(weights, layer.inputs);
            if (!inRange) revert IModelRegistry.WeightOutOfRange(layer.index, channel);
            int256 bias = int32(uint32(preamble));
            sum = 255 * sum + uint256(bias < 0 ? -bias : bias);
            if (sum >= SUM_LIMIT) revert IModelRegistry.SumOutOfRange(layer.index, channel, sum);
        }
    }

    /// @dev Σ|w| of `count` weights, and whether every byte is within 65 … 191, 32 at a time. A byte b is 64 … 191 if
    /// its two highest bits differ, and 65 … 192 if those of b − 1 do. (A borrow between bytes comes from a zero byte
    /// only, and that is out of range by the first test.) |w| is b − 128 or 128 − b; bytes are added in pairs, pairs
    /// modulo 2^16 − 1.
    function _weigh(uint256 place, uint256 count) private pure returns (uint256 sum, bool inRange) {
        assembly ("memory-safe") {
            let ones := div(not(0), 255)
            let highs := shl(7, ones)
            let evens := mul(div(not(0), 0xffff), 255)
            let good := highs
            for { } count { } {
                let word := mload(place)
                if lt(count, 32) {
                    // What lies behind the last weight is replaced by zeros, the bytes 128.
                    let spare := shl(3, sub(32, count))
                    word := or(shl(spare, shr(spare, word)), shr(sub(256, spare), highs))
                    count := 32
                }
                let less := sub(word, ones)
                good := and(good, and(xor(word, shl(1, word)), xor(less, shl(1, less))))
                let negative := sub(ones, and(shr(7, word), ones))
                let size := add(and(xor(word, mul(negative, 127)), sub(highs, ones)), negative)
                sum := add(sum, mod(add(and(size, evens), and(shr(8, size), evens)), 0xffff))
                place := add(place, 32)
                count := sub(count, 32)
            }
            inRange := eq(good, highs)
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

    function _byte(uint256 place) private pure returns (uint256) {
        return _word(place) >> 248;
    }

    function _number(uint256 place) private pure returns (uint256) {
        return _word(place) >> 224;
    }

    function _word(uint256 place) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(place)
        }
    }
}
