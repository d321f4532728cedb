// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {CodeStorage} from "./libraries/CodeStorage.sol";
import {Lanes} from "./libraries/Lanes.sol";
import {Memory} from "./libraries/Memory.sol";
import {WeightBlocks} from "./libraries/WeightBlocks.sol";
import {Window, Windows} from "./libraries/Windows.sol";

/// @title The judge: runs a program (docs/program.md) on one row, exactly as models/integer_ops.py defines it
/// @notice Gas depends on the program alone, never on the row: no branch is taken on data, and where data is an address
/// (the entry of a table) the memory is already paid for.
library IntegerNetwork {
    using Windows for Window;

    uint256 private constant HEADER = 18;
    uint256 private constant STATE_HEADER = 16;
    uint256 private constant DENSE_FIELDS = 10;
    uint256 private constant LONGEST_FIELDS = 320; // bytes of a layer before its weights, with a table's entries
    uint256 private constant GAP = 32; // bytes of memory behind each value, which readers and writers of words reach
    uint256 private constant MOST_LIVE = 128;
    uint256 private constant LAST_USE = 128;
    uint256 private constant INDEX = 127;

    uint256 private constant LOGITS = 2;
    uint256 private constant CONV = 3;
    uint256 private constant ADD = 4;
    uint256 private constant MAX_POOL = 5;
    uint256 private constant AVERAGE_POOL = 6;
    uint256 private constant TABLE = 7;
    uint256 private constant CONCAT = 8;
    uint256 private constant PAD = 9;
    uint256 private constant RESHAPE = 10;

    /// @dev A network at work. The part of the program that lies in memory goes up to byte `end` of it, and byte 0
    /// would be at address `base`: a program longer than its window slides through it, since memory, unlike code, is
    /// dear by the square. The layer that begins at `position` has made `unit` of its values, in `made` bytes.
    ///
    /// The values that are still to be read lie one behind the other, each with a gap behind it, and what the layer
    /// makes behind the last. Word i of `starts` is where value i lies.
    struct Machine {
        address[] chunks;
        uint256 length;
        uint256 end;
        uint256 base;
        uint256 data;
        uint256 capacity;
        uint256 position;
        uint256 unit;
        uint256 made;
        uint256 live;
        uint256 starts;
    }

    /// @dev A layer at work on values `unit` … `unit + count` of `total`. Its fields lie at `fields` in memory, behind
    /// its operands; it reads `x` first and makes `y`.
    struct Layer {
        uint256 opcode;
        uint256 operands;
        uint256 operandCount;
        uint256 dead;
        uint256 fields;
        uint256 x;
        uint256 y;
        uint256 unit;
        uint256 count;
        uint256 total;
        uint256 next;
    }

    /// @param chunks contracts of STOP and 24,575 bytes each (the last may hold fewer): together the program
    /// @param length bytes in the program, which ProgramValidator has accepted
    /// @param row the model's input; WrongRowLength if it is not as long as the program's header says
    /// @return output the logits, 4 bytes each, int32, big endian; a word before it is free
    function run(address[] memory chunks, uint256 length, bytes calldata row)
        internal
        view
        returns (bytes memory output)
    {
        unchecked {
            (Machine memory machine, uint256 rowLength) = _load(chunks, length);
            if (row.length != rowLength) revert IModelRegistry.WrongRowLength(row.length, rowLength);
            _take(machine, row, rowLength);
            machine.live = 1;
            machine.position = HEADER;
            while (machine.position != length) _compute(machine, type(uint256).max);
            return _output(machine);
        }
    }

    /// @notice The state in which an execution of `row` begins (docs/program.md).
    function firstState(bytes calldata row) internal pure returns (bytes memory) {
        return abi.encodePacked(uint32(0), uint32(HEADER), uint32(0), uint32(1), uint32(row.length), row);
    }

    /// @notice How many values of the whole network were made before `state`; 0 if it is too short to be one.
    function executedBefore(bytes calldata state) internal pure returns (uint256) {
        return state.length < STATE_HEADER ? 0 : uint32(bytes4(state));
    }

    /// @notice Go on from a state for so many values, or to the end if it comes first. The state is trusted.
    /// @param chunks as for `run`, and so is `length`
    /// @return result the state then, or the output if the execution is finished
    function advance(address[] memory chunks, uint256 length, bytes calldata state, uint256 values)
        internal
        view
        returns (bytes memory result, bool finished)
    {
        unchecked {
            (Machine memory machine,) = _load(chunks, length);
            uint256 header = uint128(bytes16(state));
            uint256 executed = (header >> 96) + values;
            machine.position = uint32(header >> 64);
            machine.unit = uint32(header >> 32);
            uint256 count = uint32(header);
            uint256 place = STATE_HEADER + 4 * count;
            for (uint256 i; i < count; ++i) {
                machine.made = uint32(bytes4(state[STATE_HEADER + 4 * i:]));
                _take(machine, state[place:], machine.made);
                machine.live = i + 1;
                place += machine.made;
            }
            if (machine.unit != 0) machine.live = count - 1; // the last is what the layer is making
            while (values != 0 && machine.position != length) {
                values -= _compute(machine, values);
            }
            finished = machine.position == length;
            result = finished ? _output(machine) : _state(machine, executed);
        }
    }

    /// @dev A machine with a program and with memory for its values, but none of them yet.
    function _load(address[] memory chunks, uint256 length)
        private
        view
        returns (Machine memory machine, uint256 rowLength)
    {
        unchecked {
            machine.chunks = chunks;
            machine.length = length;
            _slide(machine, 0, HEADER);
            uint256 header = Memory.word(machine.base);
            rowLength = uint32(header >> 192);
            // Of each logit the header's memory counts one byte.
            uint256 most = uint32(header >> 128) + 3 * uint32(header >> 160);
            // Two words before the first value: an output's length, and what precedes that in a call's result.
            uint256 first = CodeStorage.allocate(most + 96) + 64;
            machine.starts = CodeStorage.allocate(32 * (MOST_LIVE + 2));
            _setStart(machine, 0, first);
        }
    }

    /// @dev Into the machine: the first `length` of these bytes, as its next live value.
    function _take(Machine memory machine, bytes calldata value, uint256 length) private pure {
        unchecked {
            uint256 place = _start(machine, machine.live);
            assembly ("memory-safe") {
                calldatacopy(place, value.offset, length)
            }
            _setStart(machine, machine.live + 1, place + length + GAP);
        }
    }

    /// @dev What the last layer made, where it lies: nothing else is live. Its last word is filled up with zeros.
    function _output(Machine memory machine) private pure returns (bytes memory output) {
        unchecked {
            uint256 place = _start(machine, 0);
            uint256 length = _start(machine, 1) - place - GAP;
            assembly ("memory-safe") {
                output := sub(place, 32)
                mstore(output, length)
                mstore(add(place, length), 0)
            }
        }
    }

    function _state(Machine memory machine, uint256 executed) private pure returns (bytes memory state) {
        unchecked {
            uint256 count = machine.live;
            if (machine.unit != 0) {
                _setStart(machine, count + 1, _start(machine, count) + machine.made + GAP);
                ++count;
            }
            uint256 head = STATE_HEADER + 4 * count;
            state = CodeStorage.allocateBytes(
                head + _start(machine, count) - _start(machine, 0) - GAP * count
            );
            uint256 header = executed << 96 | machine.position << 64 | machine.unit << 32 | count;
            uint256 place;
            assembly ("memory-safe") {
                place := add(state, 32)
                mstore(place, shl(128, header))
            }
            for (uint256 i; i < count; ++i) {
                uint256 length = _start(machine, i + 1) - _start(machine, i) - GAP;
                assembly ("memory-safe") {
                    mstore(add(place, add(STATE_HEADER, shl(2, i))), shl(224, length))
                }
            }
            uint256 to = place + head;
            for (uint256 i; i < count; ++i) {
                uint256 from = _start(machine, i);
                uint256 length = _start(machine, i + 1) - from - GAP;
                Memory.move(from, to, length);
                to += length;
            }
        }
    }

    /// @dev Up to `most` values of the layer at hand.
    /// @return count values that were made
    function _compute(Machine memory machine, uint256 most) private view returns (uint256 count) {
        unchecked {
            uint256 position = machine.position;
            if (machine.end != machine.length && position + LONGEST_FIELDS > machine.end) {
                _slide(machine, position, LONGEST_FIELDS);
            }
            uint256 place = machine.base + position;
            uint256 opcode = Memory.byteAt(place);
            if (opcode <= LOGITS) return _dense(machine, place, most);
            Layer memory layer;
            layer.opcode = opcode;
            layer.operands = place + 1;
            layer.operandCount = opcode == ADD ? 2 : 1;
            if (opcode == CONCAT) {
                layer.operandCount = Memory.byteAt(place + 1);
                layer.operands = place + 2;
            }
            layer.fields = layer.operands + layer.operandCount;
            for (uint256 i; i < layer.operandCount; ++i) {
                uint256 operand = Memory.byteAt(layer.operands + i);
                layer.dead |= operand / LAST_USE << (operand & INDEX);
            }
            layer.x = _operand(machine, layer, 0);
            layer.y = _start(machine, machine.live);
            layer.unit = machine.unit;
            return _dispatch(machine, layer, most);
        }
    }

    function _dispatch(Machine memory machine, Layer memory layer, uint256 most) private view returns (uint256) {
        uint256 opcode = layer.opcode;
        if (opcode == CONV) return _conv(machine, layer, most);
        if (opcode == ADD) return _add(machine, layer, most);
        if (opcode <= AVERAGE_POOL) return _pool(machine, layer, most);
        if (opcode == TABLE) return _table(machine, layer, most);
        if (opcode == PAD) return _pad(machine, layer, most);
        if (opcode == CONCAT || opcode == RESHAPE) return _join(machine, layer, most);
        return _transpose(machine, layer, most);
    }

    /// @dev The layer makes `total` values and is followed by what lies at `next` in memory. Decides how many of them
    /// come now; if not all of them do, what is not made yet is zero.
    function _open(Machine memory machine, Layer memory layer, uint256 most, uint256 total, uint256 next) private pure {
        unchecked {
            uint256 left = total - layer.unit;
            layer.count = left < most ? left : most;
            layer.total = total;
            layer.next = next - machine.base;
            if (layer.unit == 0 && layer.count < total) {
                Memory.zero(layer.y, total);
            }
        }
    }

    /// @dev The layer's values of this time are there, a byte each.
    function _close(Machine memory machine, Layer memory layer) private pure returns (uint256 count) {
        unchecked {
            count = layer.count;
            if (layer.unit + count < layer.total) _pause(machine, layer.unit + count, layer.total);
            else _finish(machine, layer.y + layer.total, layer.dead, layer.next);
        }
    }

    /// @dev The layer at hand has made `unit` of its values, in `made` bytes with those to come.
    function _pause(Machine memory machine, uint256 unit, uint256 made) private pure {
        machine.unit = unit;
        machine.made = made;
    }

    /// @dev The layer at hand is complete: what it made, up to `end`, is live and what it was the last to read is not.
    function _finish(Machine memory machine, uint256 end, uint256 dead, uint256 next) private pure {
        unchecked {
            machine.position = next;
            machine.unit = 0;
            uint256 count = machine.live;
            if (count == 1 && dead == 1) {
                // One value makes place for the next: so it is in a chain.
                uint256 first = _start(machine, 0);
                uint256 from = _start(machine, 1);
                Memory.move(from, first, end - from);
                _setStart(machine, 1, end - from + first + GAP);
                return;
            }
            _setStart(machine, count + 1, end + GAP);
            machine.live = _compact(machine, count + 1, dead);
        }
    }

    /// @dev Close the gaps that dead values leave among `count`.
    /// @return kept how many remain
    function _compact(Machine memory machine, uint256 count, uint256 dead) private pure returns (uint256 kept) {
        unchecked {
            uint256 to = _start(machine, 0);
            uint256 from = to;
            for (uint256 i; i < count; ++i) {
                uint256 behind = _start(machine, i + 1);
                if (dead >> i & 1 == 0) {
                    if (from != to) Memory.move(from, to, behind - from - GAP);
                    to += behind - from;
                    ++kept;
                    _setStart(machine, kept, to);
                }
                from = behind;
            }
        }
    }

    /// @dev Channels of a dense layer, hidden (each makes a byte) or the last (each makes a logit, four bytes). As many
    /// as lie in the window of the program are computed at a time, whole fours unless they are the last.
    function _dense(Machine memory machine, uint256 place, uint256 most) private view returns (uint256 count) {
        unchecked {
            uint256 header = Memory.word(place); // opcode, operand, inputs, outputs
            uint256 inputs = uint32(header >> 208);
            uint256 record = WeightBlocks.recordLength(inputs);
            uint256 channels = uint32(header >> 176);
            uint256 width = 3 * (header >> 248) - 2; // dense is 1, logits 2
            uint256 x = _start(machine, header >> 240 & INDEX);
            uint256 first = _start(machine, machine.live);
            uint256 unit = machine.unit;
            count = channels - unit;
            if (most < count) {
                count = most;
                if (unit == 0) Memory.zero(first, channels * width);
            }

            uint256 position = place - machine.base + DENSE_FIELDS + unit * record;
            uint256 y = first + unit * width;
            uint256 lanes = first + channels * width + GAP;
            uint256 behind = Lanes.spread(x, inputs, lanes);
            unit += count;
            uint256 left = count;
            while (position + left * record > machine.end) {
                uint256 needed = (left < 4 ? left : 4) * record;
                if (position + needed > machine.end) _slide(machine, position, needed);
                uint256 some = (machine.end - position) / record;
                if (some >= left) break;
                some &= ~uint256(3);
                Lanes.multiply(machine.base + position, record, some, lanes, behind, y, width == 4);
                position += some * record;
                y += some * width;
                left -= some;
            }
            Lanes.multiply(machine.base + position, record, left, lanes, behind, y, width == 4);
            position += left * record;
            y += left * width;
            Memory.clear(y);
            if (unit < channels) _pause(machine, unit, channels * width);
            else _finish(machine, y, (header >> 247 & 1) << (header >> 240 & INDEX), position);
        }
    }

    /// @dev A convolution makes its values group by group, in each place of the window all channels of the group: the
    /// window is gathered once for them.
    function _conv(Machine memory machine, Layer memory layer, uint256 most) private view returns (uint256) {
        unchecked {
            uint256 dimensions = Memory.byteAt(layer.fields);
            uint256 channels = Memory.number(layer.fields + 1);
            uint256 outputs = Memory.number(layer.fields + 5);
            uint256 groups = Memory.number(layer.fields + 9);
            Window memory window = Windows.read(layer.fields + 13, dimensions, channels / groups);
            uint256 pixels = window.outRows * window.outColumns;
            uint256 record = WeightBlocks.recordLength(window.size);
            _open(
                machine, layer, most, outputs * pixels, layer.fields + 13 + 20 * dimensions + outputs * record
            );
            window.patch = layer.y + layer.total + GAP;

            uint256 perGroup = outputs / groups;
            uint256 first = layer.next - outputs * record;
            uint256 unit = layer.unit;
            for (uint256 left = layer.count; left != 0;) {
                uint256 group = unit / (perGroup * pixels);
                uint256 some = (group + 1) * perGroup * pixels - unit;
                if (some > left) some = left;
                uint256 position = first + group * perGroup * record;
                if (position + perGroup * record > machine.end) {
                    _slide(machine, position, perGroup * record);
                }
                _convolve(layer, window, machine.base + position, perGroup, group, unit, some);
                unit += some;
                left -= some;
            }
            return _close(machine, layer);
        }
    }

    /// @dev `count` values of one group of a convolution, from `unit` on. Its channels' records lie at `records`.
    function _convolve(
        Layer memory layer,
        Window memory window,
        uint256 records,
        uint256 perGroup,
        uint256 group,
        uint256 unit,
        uint256 count
    ) private pure {
        unchecked {
            uint256 pixels = window.outRows * window.outColumns;
            uint256 record = WeightBlocks.recordLength(window.size);
            uint256 y = layer.y + group * perGroup * pixels;
            uint256 x = layer.x + group * window.depth * window.rows * window.columns;
            unit -= group * perGroup * pixels;
            while (count != 0) {
                uint256 pixel = unit / perGroup;
                uint256 channel = unit % perGroup;
                uint256 some = perGroup - channel;
                if (some > count) some = count;
                window.gather(x, pixel);
                uint256 lanes = window.patch + window.size + GAP;
                uint256 behind = Lanes.spread(window.patch, window.size, lanes);
                // Byte by byte they lie one behind the other first, then each in its plane.
                // The opcode is asked, though no convolution makes logits, lest the compiler copies the function for it.
                Lanes.multiply(
                    records + channel * record, record, some, lanes, behind, behind + 32, layer.opcode == LOGITS
                );
                Memory.scatter(behind + 32, some, y + channel * pixels + pixel, pixels);
                unit += some;
                count -= some;
            }
        }
    }

    /// @dev A pool looks at one plane at a time.
    function _pool(Machine memory machine, Layer memory layer, uint256 most) private pure returns (uint256) {
        unchecked {
            uint256 dimensions = Memory.byteAt(layer.fields);
            uint256 channels = Memory.number(layer.fields + 1);
            Window memory window = Windows.read(layer.fields + 5, dimensions, 1);
            uint256 pixels = window.outRows * window.outColumns;
            _open(machine, layer, most, channels * pixels, layer.fields + 5 + 20 * dimensions);
            window.patch = layer.y + layer.total + GAP;
            uint256 plane = window.rows * window.columns;
            bool isMax = layer.opcode == MAX_POOL;
            uint256 end = layer.unit + layer.count;
            for (uint256 unit = layer.unit; unit < end; ++unit) {
                window.gather(layer.x + unit / pixels * plane, unit % pixels);
                uint256 value = isMax ? Memory.largest(window.patch, window.size) : Memory.mean(window.patch, window.size);
                Memory.storeByte(layer.y + unit, value);
            }
            return _close(machine, layer);
        }
    }

    /// @dev The residual sum w₀·a + w₁·b + bias, channel by channel; its records are those of two inputs.
    function _add(Machine memory machine, Layer memory layer, uint256 most) private view returns (uint256) {
        unchecked {
            uint256 channels = Memory.number(layer.fields);
            uint256 size = Memory.number(layer.fields + 4);
            uint256 records = layer.fields + 8;
            uint256 record = WeightBlocks.recordLength(2);
            _open(machine, layer, most, channels * size, records + channels * record);
            records = layer.next - channels * record;
            uint256 other = _operand(machine, layer, 1);
            uint256 unit = layer.unit;
            for (uint256 left = layer.count; left != 0;) {
                uint256 channel = unit / size;
                uint256 some = (channel + 1) * size - unit;
                if (some > left) some = left;
                uint256 position = records + channel * record;
                if (position + record > machine.end) _slide(machine, position, record);
                _addChannel(Memory.word(machine.base + position), layer.x + unit, other + unit, layer.y + unit, some);
                unit += some;
                left -= some;
            }
            return _close(machine, layer);
        }
    }

    /// @dev `count` values of one channel. The word begins with its record: bias, places, and two digits in two bytes.
    function _addChannel(uint256 record, uint256 a, uint256 b, uint256 y, uint256 count) private pure {
        assembly ("memory-safe") {
            let bias := sar(224, record)
            let places := byte(4, record)
            let second := sub(and(shr(207, record), 127), 64)
            let first := sub(and(shr(200, record), 127), 64)
            for { let end := add(y, count) } lt(y, end) { y := add(y, 1) } {
                let sum := add(add(mul(first, byte(0, mload(a))), mul(second, byte(0, mload(b)))), bias)
                sum := shl(places, mul(sum, sgt(sum, 0)))
                sum := shr(24, add(add(sum, 0x7fffff), and(shr(24, sum), 1)))
                mstore8(y, or(sum, sub(0, gt(sum, 255))))
                a := add(a, 1)
                b := add(b, 1)
            }
        }
    }

    function _table(Machine memory machine, Layer memory layer, uint256 most) private pure returns (uint256) {
        unchecked {
            uint256 entries = layer.fields + 4;
            _open(machine, layer, most, Memory.number(layer.fields), entries + 256);
            uint256 x = layer.x + layer.unit;
            uint256 y = layer.y + layer.unit;
            uint256 count = layer.count;
            assembly ("memory-safe") {
                for { let end := add(y, count) } lt(y, end) { y := add(y, 1) } {
                    mstore8(y, byte(0, mload(add(entries, byte(0, mload(x))))))
                    x := add(x, 1)
                }
            }
            return _close(machine, layer);
        }
    }

    /// @dev Concat: values one behind the other. Reshape: one value, whose bytes stay as they are.
    function _join(Machine memory machine, Layer memory layer, uint256 most) private pure returns (uint256) {
        unchecked {
            uint256 total;
            for (uint256 i; i < layer.operandCount; ++i) {
                total += _operandLength(machine, layer, i);
            }
            uint256 next = layer.fields;
            if (layer.opcode == RESHAPE) next += 1 + 4 * Memory.byteAt(next);
            _open(machine, layer, most, total, next);
            uint256 end = layer.unit + layer.count;
            uint256 first; // the operand's first byte in what is made
            for (uint256 i; i < layer.operandCount; ++i) {
                uint256 behind = first + _operandLength(machine, layer, i);
                uint256 from = first > layer.unit ? first : layer.unit;
                uint256 to = behind < end ? behind : end;
                if (from < to) Memory.move(_operand(machine, layer, i) + from - first, layer.y + from, to - from);
                first = behind;
            }
            return _close(machine, layer);
        }
    }

    /// @dev Row by row of the last dimension.
    function _pad(Machine memory machine, Layer memory layer, uint256 most) private pure returns (uint256) {
        unchecked {
            uint256 fields = layer.fields;
            uint256 dimensions = Memory.byteAt(fields);
            uint256 total = Memory.number(fields + 2);
            for (uint256 i; i < dimensions; ++i) {
                uint256 side = fields + 6 + 12 * i;
                total *= Memory.number(side) + Memory.number(side + 4) + Memory.number(side + 8);
            }
            _open(machine, layer, most, total, fields + 6 + 12 * dimensions);
            (uint256 length, uint256 before, uint256 width) = (Memory.number(fields + 2), 0, Memory.number(fields + 2));
            if (dimensions != 0) {
                uint256 side = fields + 12 * dimensions - 6;
                (length, before) = (Memory.number(side), Memory.number(side + 4));
                width = length + before + Memory.number(side + 8);
            }
            uint256 unit = layer.unit;
            for (uint256 left = layer.count; left != 0;) {
                uint256 column = unit % width;
                uint256 some = width - column;
                if (some > left) some = left;
                Memory.fill(layer.y + unit, some, Memory.byteAt(fields + 1));
                (bool inside, uint256 source) = _rowBefore(fields, dimensions, unit / width, length);
                if (inside) {
                    uint256 from = column > before ? column : before;
                    uint256 to = column + some < before + length ? column + some : before + length;
                    if (from < to) {
                        Memory.move(layer.x + source + from - before, layer.y + unit + from - column, to - from);
                    }
                }
                unit += some;
                left -= some;
            }
            Memory.clear(layer.y + unit);
            return _close(machine, layer);
        }
    }

    /// @dev Where in the unpadded value, whose rows have `length` bytes, row `row` of the padded one begins, if it is
    /// a row of that.
    function _rowBefore(uint256 fields, uint256 dimensions, uint256 row, uint256 length)
        private
        pure
        returns (bool inside, uint256 source)
    {
        unchecked {
            inside = true;
            uint256 stride = length;
            for (uint256 i = dimensions; i > 1; --i) {
                uint256 side = fields + 12 * i - 18;
                (uint256 size, uint256 before) = (Memory.number(side), Memory.number(side + 4));
                uint256 width = size + before + Memory.number(side + 8);
                uint256 index = row % width - before;
                row /= width;
                if (index >= size) inside = false;
                source += index * stride;
                stride *= size;
            }
            source += row * stride;
        }
    }

    /// @dev Row by row of what is made: there each step along the last dimension is the same in what is read.
    function _transpose(Machine memory machine, Layer memory layer, uint256 most) private pure returns (uint256) {
        unchecked {
            uint256 rank = Memory.byteAt(layer.fields);
            uint256 order = layer.fields + 1 + 4 * rank;
            uint256[] memory sizes = new uint256[](rank);
            uint256[] memory strides = new uint256[](rank);
            uint256 total = 1;
            for (uint256 i; i < rank; ++i) {
                uint256 from = Memory.byteAt(order + i);
                sizes[i] = Memory.number(layer.fields + 1 + 4 * from);
                strides[i] = 1;
                for (uint256 j = from + 1; j < rank; ++j) {
                    strides[i] *= Memory.number(layer.fields + 1 + 4 * j);
                }
                total *= sizes[i];
            }
            _open(machine, layer, most, total, order + rank);
            uint256 width = sizes[rank - 1];
            uint256 unit = layer.unit;
            for (uint256 left = layer.count; left != 0;) {
                uint256 column = unit % width;
                uint256 some = width - column;
                if (some > left) some = left;
                uint256 source = layer.x + column * strides[rank - 1];
                uint256 row = unit / width;
                for (uint256 i = rank - 1; i != 0; --i) {
                    source += row % sizes[i - 1] * strides[i - 1];
                    row /= sizes[i - 1];
                }
                Memory.pick(source, strides[rank - 1], layer.y + unit, some);
                unit += some;
                left -= some;
            }
            return _close(machine, layer);
        }
    }

    /// @dev Read the program from byte `position` on into memory: `needed` bytes at least, a chunk's length where there
    /// is. The word behind them is touched: reading an entry of a table near the end then never costs memory.
    function _slide(Machine memory machine, uint256 position, uint256 needed) private view {
        unchecked {
            uint256 most = needed > CodeStorage.CHUNK ? needed : CodeStorage.CHUNK;
            if (machine.length < most) most = machine.length;
            if (most > machine.capacity) {
                machine.data = CodeStorage.allocate(most);
                machine.capacity = most;
            }
            if (machine.length - position < most) most = machine.length - position;
            machine.end = position + most;
            machine.base = machine.data - position;
            CodeStorage.copy(machine.chunks, position, most, machine.data);
            Memory.clear(machine.data + most);
        }
    }

    /// @dev Where the value lies that a layer reads at its operand `i`.
    function _operand(Machine memory machine, Layer memory layer, uint256 i) private pure returns (uint256) {
        return _start(machine, Memory.byteAt(layer.operands + i) & INDEX);
    }

    function _operandLength(Machine memory machine, Layer memory layer, uint256 i) private pure returns (uint256) {
        unchecked {
            uint256 index = Memory.byteAt(layer.operands + i) & INDEX;
            return _start(machine, index + 1) - _start(machine, index) - GAP;
        }
    }

    function _start(Machine memory machine, uint256 index) private pure returns (uint256) {
        unchecked {
            return Memory.word(machine.starts + 32 * index);
        }
    }

    function _setStart(Machine memory machine, uint256 index, uint256 place) private pure {
        uint256 starts = machine.starts;
        assembly ("memory-safe") {
            mstore(add(starts, shl(5, index)), place)
        }
    }
}
