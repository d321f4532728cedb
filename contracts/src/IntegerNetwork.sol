// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {CodeStorage} from "./libraries/CodeStorage.sol";

/// @title The judge: runs a program (docs/program.md) on one row, exactly as models/integer_ops.py defines it
/// @notice Gas depends on the program alone, never on the row: no branch is taken on data, and where data is an address
/// (the entry of a table) the memory is already paid for.
/// @dev How thirty multiplications become three. Activations are a byte string, most significant first; a channel's
/// weights lie reversed, as w + 128. Of thirty activations and their thirty weights, each in the low 30 bytes of a
/// word, take every third byte: ten lanes of 24 bits. In the product of two such words the top lane is the sum of the
/// ten products whose positions add up to the same; because the weights are reversed those are w[i]·x[i]. The three
/// choices of every third byte are paired so that all three products have their top lane in bits 232 … 255, where it
/// can be added and shifted out. A lane holds at most 30·255·191 = 1,461,150 < 2^24 before it is moved to a full word,
/// so no lane ever carries into the next, however many inputs a channel has. Bytes beyond the last input meet
/// activations that are zero. 128·Σx is subtracted once for all channels that read the same activations: a layer, or
/// the window of a convolution, which is gathered into one byte string first.
library IntegerNetwork {
    uint256 private constant HEADER = 18;
    uint256 private constant STATE_HEADER = 16;
    uint256 private constant PREAMBLE = 5;
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

    /// @dev Every third byte of the low thirty: the lowest of each lane, and the two above it.
    uint256 private constant LANES = 0x00000000ff0000ff0000ff0000ff0000ff0000ff0000ff0000ff0000ff0000ff;
    uint256 private constant LANES_8 = 0x000000ff0000ff0000ff0000ff0000ff0000ff0000ff0000ff0000ff0000ff00;
    uint256 private constant LANES_16 = 0x0000ff0000ff0000ff0000ff0000ff0000ff0000ff0000ff0000ff0000ff0000;

    /// @dev Four lanes of 64 bits, in which four activations become bytes; and what moves the low bytes of the four
    /// into one row, the highest lane's first.
    uint256 private constant ONES = 0x0000000000000001000000000000000100000000000000010000000000000001;
    uint256 private constant GATHER = 0x1000000000000010000000000000100000000000001;

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

    /// @dev A window that slides over the planes of a value, rows first. `depth` planes are gathered together.
    struct Window {
        uint256 rows;
        uint256 columns;
        uint256 kernelRows;
        uint256 kernelColumns;
        uint256 strideRows;
        uint256 strideColumns;
        uint256 above;
        uint256 before;
        uint256 outRows;
        uint256 outColumns;
        uint256 depth;
        uint256 size;
        uint256 patch;
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
            uint256 header = _word(machine.base);
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
                _move(from, to, length);
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
            uint256 opcode = _byte(place);
            if (opcode <= LOGITS) return _dense(machine, place, most);
            Layer memory layer;
            layer.opcode = opcode;
            layer.operands = place + 1;
            layer.operandCount = opcode == ADD ? 2 : 1;
            if (opcode == CONCAT) {
                layer.operandCount = _byte(place + 1);
                layer.operands = place + 2;
            }
            layer.fields = layer.operands + layer.operandCount;
            for (uint256 i; i < layer.operandCount; ++i) {
                uint256 operand = _byte(layer.operands + i);
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
                _zero(layer.y, total);
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
                _move(from, first, end - from);
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
                    if (from != to) _move(from, to, behind - from - GAP);
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
            uint256 header = _word(place); // opcode, operand, inputs, outputs
            uint256 record = uint32(header >> 208) + PREAMBLE;
            uint256 channels = uint32(header >> 176);
            uint256 width = 3 * (header >> 248) - 2; // dense is 1, logits 2
            uint256 x = _start(machine, header >> 240 & INDEX);
            uint256 first = _start(machine, machine.live);
            uint256 unit = machine.unit;
            count = channels - unit;
            if (most < count) {
                count = most;
                if (unit == 0) _zero(first, channels * width);
            }

            uint256 position = place - machine.base + DENSE_FIELDS + unit * record;
            uint256 start = _sumStart(x, record - PREAMBLE);
            uint256 y = first + unit * width;
            unit += count;
            uint256 left = count;
            while (position + left * record > machine.end) {
                uint256 needed = (left < 4 ? left : 4) * record;
                if (position + needed > machine.end) _slide(machine, position, needed);
                uint256 some = (machine.end - position) / record;
                if (some >= left) break;
                some &= ~uint256(3);
                _channels(machine.base + position, record, some, x, start, y, width & 1);
                position += some * record;
                y += some * width;
                left -= some;
            }
            _channels(machine.base + position, record, left, x, start, y, width & 1);
            position += left * record;
            y += left * width;
            _clear(y);
            if (unit < channels) _pause(machine, unit, channels * width);
            else _finish(machine, y, (header >> 247 & 1) << (header >> 240 & INDEX), position);
        }
    }

    /// @dev A convolution makes its values group by group, in each place of the window all channels of the group: the
    /// window is gathered once for them.
    function _conv(Machine memory machine, Layer memory layer, uint256 most) private view returns (uint256) {
        unchecked {
            uint256 dimensions = _byte(layer.fields);
            uint256 channels = _number(layer.fields + 1);
            uint256 outputs = _number(layer.fields + 5);
            uint256 groups = _number(layer.fields + 9);
            Window memory window = _window(layer.fields + 13, dimensions, channels / groups);
            uint256 pixels = window.outRows * window.outColumns;
            uint256 record = window.size + PREAMBLE;
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
            if (pixels == 1) _clear(layer.y + unit);
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
            uint256 record = window.size + PREAMBLE;
            uint256 y = layer.y + group * perGroup * pixels;
            uint256 x = layer.x + group * window.depth * window.rows * window.columns;
            unit -= group * perGroup * pixels;
            while (count != 0) {
                uint256 pixel = unit / perGroup;
                uint256 channel = unit % perGroup;
                uint256 some = perGroup - channel;
                if (some > count) some = count;
                _gather(window, x, pixel);
                uint256 start = _sumStart(window.patch, window.size);
                _channels(
                    records + channel * record, record, some, window.patch, start, y + channel * pixels + pixel, pixels
                );
                unit += some;
                count -= some;
            }
        }
    }

    /// @dev A pool looks at one plane at a time.
    function _pool(Machine memory machine, Layer memory layer, uint256 most) private pure returns (uint256) {
        unchecked {
            uint256 dimensions = _byte(layer.fields);
            uint256 channels = _number(layer.fields + 1);
            Window memory window = _window(layer.fields + 5, dimensions, 1);
            uint256 pixels = window.outRows * window.outColumns;
            _open(machine, layer, most, channels * pixels, layer.fields + 5 + 20 * dimensions);
            window.patch = layer.y + layer.total + GAP;
            uint256 plane = window.rows * window.columns;
            bool isMax = layer.opcode == MAX_POOL;
            uint256 end = layer.unit + layer.count;
            for (uint256 unit = layer.unit; unit < end; ++unit) {
                _gather(window, layer.x + unit / pixels * plane, unit % pixels);
                uint256 value = isMax ? _largest(window.patch, window.size) : _mean(window.patch, window.size);
                _storeByte(layer.y + unit, value);
            }
            return _close(machine, layer);
        }
    }

    /// @dev The residual sum w₀·a + w₁·b + bias, channel by channel; its records are those of two inputs.
    function _add(Machine memory machine, Layer memory layer, uint256 most) private view returns (uint256) {
        unchecked {
            uint256 channels = _number(layer.fields);
            uint256 size = _number(layer.fields + 4);
            uint256 records = layer.fields + 8;
            uint256 record = PREAMBLE + 2;
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
                _addChannel(_word(machine.base + position), layer.x + unit, other + unit, layer.y + unit, some);
                unit += some;
                left -= some;
            }
            return _close(machine, layer);
        }
    }

    /// @dev `count` values of one channel. The word begins with its record: shift, bias, the second weight, the first.
    function _addChannel(uint256 record, uint256 a, uint256 b, uint256 y, uint256 count) private pure {
        assembly ("memory-safe") {
            let scale := sub(24, byte(0, record))
            let bias := signextend(3, shr(216, record))
            let second := sub(byte(5, record), 128)
            let first := sub(byte(6, record), 128)
            for { let end := add(y, count) } lt(y, end) { y := add(y, 1) } {
                let sum := add(add(mul(first, byte(0, mload(a))), mul(second, byte(0, mload(b)))), bias)
                sum := shl(scale, mul(sum, sgt(sum, 0)))
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
            _open(machine, layer, most, _number(layer.fields), entries + 256);
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
            if (layer.opcode == RESHAPE) next += 1 + 4 * _byte(next);
            _open(machine, layer, most, total, next);
            uint256 end = layer.unit + layer.count;
            uint256 first; // the operand's first byte in what is made
            for (uint256 i; i < layer.operandCount; ++i) {
                uint256 behind = first + _operandLength(machine, layer, i);
                uint256 from = first > layer.unit ? first : layer.unit;
                uint256 to = behind < end ? behind : end;
                if (from < to) _move(_operand(machine, layer, i) + from - first, layer.y + from, to - from);
                first = behind;
            }
            return _close(machine, layer);
        }
    }

    /// @dev Row by row of the last dimension.
    function _pad(Machine memory machine, Layer memory layer, uint256 most) private pure returns (uint256) {
        unchecked {
            uint256 fields = layer.fields;
            uint256 dimensions = _byte(fields);
            uint256 total = _number(fields + 2);
            for (uint256 i; i < dimensions; ++i) {
                uint256 side = fields + 6 + 12 * i;
                total *= _number(side) + _number(side + 4) + _number(side + 8);
            }
            _open(machine, layer, most, total, fields + 6 + 12 * dimensions);
            (uint256 length, uint256 before, uint256 width) = (_number(fields + 2), 0, _number(fields + 2));
            if (dimensions != 0) {
                uint256 side = fields + 12 * dimensions - 6;
                (length, before) = (_number(side), _number(side + 4));
                width = length + before + _number(side + 8);
            }
            uint256 unit = layer.unit;
            for (uint256 left = layer.count; left != 0;) {
                uint256 column = unit % width;
                uint256 some = width - column;
                if (some > left) some = left;
                _fill(layer.y + unit, some, _byte(fields + 1));
                (bool inside, uint256 source) = _rowBefore(fields, dimensions, unit / width, length);
                if (inside) {
                    uint256 from = column > before ? column : before;
                    uint256 to = column + some < before + length ? column + some : before + length;
                    if (from < to) {
                        _move(layer.x + source + from - before, layer.y + unit + from - column, to - from);
                    }
                }
                unit += some;
                left -= some;
            }
            _clear(layer.y + unit);
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
                (uint256 size, uint256 before) = (_number(side), _number(side + 4));
                uint256 width = size + before + _number(side + 8);
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
            uint256 rank = _byte(layer.fields);
            uint256 order = layer.fields + 1 + 4 * rank;
            uint256[] memory sizes = new uint256[](rank);
            uint256[] memory strides = new uint256[](rank);
            uint256 total = 1;
            for (uint256 i; i < rank; ++i) {
                uint256 from = _byte(order + i);
                sizes[i] = _number(layer.fields + 1 + 4 * from);
                strides[i] = 1;
                for (uint256 j = from + 1; j < rank; ++j) {
                    strides[i] *= _number(layer.fields + 1 + 4 * j);
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
                _pick(source, strides[rank - 1], layer.y + unit, some);
                unit += some;
                left -= some;
            }
            return _close(machine, layer);
        }
    }

    /// @dev The window whose dimensions lie at `sides`; a window of one dimension is one row.
    function _window(uint256 sides, uint256 dimensions, uint256 depth) private pure returns (Window memory window) {
        unchecked {
            (window.rows, window.kernelRows, window.strideRows, window.outRows) = (1, 1, 1, 1);
            if (dimensions == 2) {
                window.rows = _number(sides);
                window.kernelRows = _number(sides + 4);
                window.strideRows = _number(sides + 8);
                window.above = _number(sides + 12);
                window.outRows = _fits(sides);
                sides += 20;
            }
            window.columns = _number(sides);
            window.kernelColumns = _number(sides + 4);
            window.strideColumns = _number(sides + 8);
            window.before = _number(sides + 12);
            window.outColumns = _fits(sides);
            window.depth = depth;
            window.size = depth * window.kernelRows * window.kernelColumns;
        }
    }

    /// @dev How often the window fits along the dimension at `side`.
    function _fits(uint256 side) private pure returns (uint256) {
        unchecked {
            uint256 size = _number(side) + _number(side + 12) + _number(side + 16);
            return (size - _number(side + 4)) / _number(side + 8) + 1;
        }
    }

    /// @dev Copy what the window sees in its place `pixel` into its patch: `depth` planes that begin at `x`, row by
    /// row. What it sees beyond a plane is zero.
    function _gather(Window memory window, uint256 x, uint256 pixel) private pure {
        unchecked {
            (uint256 rowFrom, uint256 rowTo, uint256 row) = _clip(
                pixel / window.outColumns * window.strideRows, window.above, window.kernelRows, window.rows
            );
            (uint256 from, uint256 to, uint256 column) = _clip(
                pixel % window.outColumns * window.strideColumns, window.before, window.kernelColumns, window.columns
            );
            (uint256 patch, uint256 width, uint256 size) = (window.patch, window.kernelColumns, window.size);
            bool whole = rowTo - rowFrom == window.kernelRows && to - from == width;
            if (!whole) _zero(patch, size);
            uint256 columns = window.columns;
            uint256 plane = window.rows * columns;
            uint256 length = to - from;
            if (length == columns && columns == width) {
                // The rows lie one behind the other on both sides.
                (length, rowTo) = (length * (rowTo - rowFrom), rowFrom + 1);
            }
            x += row * columns + column;
            uint256 first = patch + rowFrom * width + from;
            uint256 last = patch + rowTo * width;
            uint256 kernel = window.kernelRows * width;
            uint256 end = patch + size;
            assembly ("memory-safe") {
                for { } lt(first, end) { } {
                    let source := x
                    for { let place := first } lt(place, last) { place := add(place, width) } {
                        mcopy(place, source, length)
                        source := add(source, columns)
                    }
                    x := add(x, plane)
                    first := add(first, kernel)
                    last := add(last, kernel)
                }
            }
        }
    }

    /// @dev One dimension of a window of `kernel` places that begins at `start` of a padded value: its places `from` …
    /// `to` see the value, of `size` places, from `at` on.
    function _clip(uint256 start, uint256 pad, uint256 kernel, uint256 size)
        private
        pure
        returns (uint256 from, uint256 to, uint256 first)
    {
        unchecked {
            if (start < pad) from = pad - start;
            else first = start - pad;
            to = size + pad - start;
            if (to > kernel) to = kernel;
        }
    }

    function _largest(uint256 place, uint256 count) private pure returns (uint256 most) {
        assembly ("memory-safe") {
            for { let end := add(place, count) } lt(place, end) { place := add(place, 1) } {
                let value := byte(0, mload(place))
                most := xor(most, mul(xor(most, value), gt(value, most)))
            }
        }
    }

    /// @dev round_half_even(Σ / count)
    function _mean(uint256 place, uint256 count) private pure returns (uint256 mean) {
        uint256 sum = _sum(place, count);
        assembly ("memory-safe") {
            mean := div(sum, count)
            let twice := shl(1, mod(sum, count))
            mean := add(mean, or(gt(twice, count), and(eq(twice, count), and(mean, 1))))
        }
    }

    /// @dev Where the sums of all channels that read these activations start: −128·Σx.
    function _sumStart(uint256 x, uint256 inputs) private pure returns (uint256) {
        unchecked {
            return 0 - (_sum(x, inputs) << 7);
        }
    }

    /// @dev Σx. Zeros are written behind the last activation, for the last block.
    function _sum(uint256 x, uint256 inputs) private pure returns (uint256 sum) {
        assembly ("memory-safe") {
            mstore(add(x, inputs), 0)
            x := sub(x, 2)
            for { let end := add(x, inputs) } lt(x, end) { x := add(x, 30) } {
                let p := mload(x)
                p := add(add(and(p, LANES), and(shr(8, p), LANES)), and(shr(16, p), LANES))
                // Lanes of at most 765 add up to their sum modulo 2^24 − 1.
                sum := add(sum, mod(p, 0xffffff))
            }
        }
    }

    /// @dev `count` channels whose records lie at `place`, computed by fours. `step` 0: a logit each, four bytes, at
    /// `y`; 1: a byte each. What comes of the up to three that are no channels is written behind them, and overwritten or
    /// ignored. Another `step`: a byte each, so far from each other, and nothing else.
    ///
    /// The function inside ends with `leave` so that the compiler does not inline it: what it works with fits the stack
    /// then, with the seldom used in scratch memory.
    /// @param start where every sum starts: −128·Σx
    function _channels(
        uint256 place,
        uint256 record,
        uint256 count,
        uint256 x,
        uint256 start,
        uint256 y,
        uint256 step
    ) private pure {
        assembly ("memory-safe") {
            // `head` is where a word's last byte is the last of a channel's bias. Scratch memory holds where sums start
            // and, in 8 bytes beside it, how far apart the results are; and `head` behind the last record.
            function channels(head, stride, activations, behind, to) {
                for { } lt(head, mload(32)) { } {
                    let a := sar(64, mload(0))
                    let b := a
                    let c := a
                    let d := a
                    // The word that ends with the record, or with what is not multiplied yet of it.
                    let tail := sub(add(head, stride), PREAMBLE)
                    for { let thirty := activations } lt(thirty, behind) { thirty := add(thirty, 30) } {
                        let r := mload(thirty)
                        let p := and(r, LANES_16)
                        let q := and(r, LANES_8)
                        r := and(r, LANES)
                        let next := tail
                        let w := mload(next)
                        a := add(a, shr(232, add(mul(p, and(w, LANES)), add(mul(q, and(w, LANES_8)),
                            mul(r, and(w, LANES_16))))))
                        next := add(next, stride)
                        w := mload(next)
                        b := add(b, shr(232, add(mul(p, and(w, LANES)), add(mul(q, and(w, LANES_8)),
                            mul(r, and(w, LANES_16))))))
                        next := add(next, stride)
                        w := mload(next)
                        c := add(c, shr(232, add(mul(p, and(w, LANES)), add(mul(q, and(w, LANES_8)),
                            mul(r, and(w, LANES_16))))))
                        w := mload(add(next, stride))
                        d := add(d, shr(232, add(mul(p, and(w, LANES)), add(mul(q, and(w, LANES_8)),
                            mul(r, and(w, LANES_16))))))
                        tail := sub(tail, 30)
                    }
                    let apart := and(mload(0), 0xffffffffffffffff)
                    if iszero(apart) {
                        mstore(to, shl(224, add(a, mload(head))))
                        head := add(head, stride)
                        mstore(add(to, 4), shl(224, add(b, mload(head))))
                        head := add(head, stride)
                        mstore(add(to, 8), shl(224, add(c, mload(head))))
                        head := add(head, stride)
                        mstore(add(to, 12), shl(224, add(d, mload(head))))
                        head := add(head, stride)
                        to := add(to, 16)
                        continue
                    }
                    let preamble := mload(head)
                    let four := shl(sub(24, byte(27, preamble)), add(a, signextend(3, preamble)))
                    head := add(head, stride)
                    preamble := mload(head)
                    four := add(shl(64, four), shl(sub(24, byte(27, preamble)), add(b, signextend(3, preamble))))
                    head := add(head, stride)
                    preamble := mload(head)
                    four := add(shl(64, four), shl(sub(24, byte(27, preamble)), add(c, signextend(3, preamble))))
                    head := add(head, stride)
                    preamble := mload(head)
                    four := add(shl(64, four), shl(sub(24, byte(27, preamble)), add(d, signextend(3, preamble))))
                    head := add(head, stride)
                    // In each of four lanes lies a sum with 24 binary places; now clamp(round_half_even(it), 0, 255),
                    // without a branch. 2^61 makes it positive, and pays back what one below zero borrowed from the
                    // next. Adding a half less the last place, and that place too if the quotient is odd, rounds half
                    // to even. Then bit 37 of a quotient says that it is not negative, and bit 38 with 2^37 − 256 added
                    // that it is beyond 255. No lane reaches the next, not even of what is no channel: its sum is below 2^34,
                    // scaled below 2^59.
                    four := add(four, mul(ONES, 0x2000000000000000))
                    four := shr(24, add(add(four, mul(ONES, 0x7fffff)), and(shr(24, four), ONES)))
                    let positive := and(shr(37, four), ONES)
                    let beyond := and(shr(38, add(four, mul(ONES, 0x1fffffff00))), ONES)
                    four := and(or(four, mul(255, beyond)), mul(255, positive))
                    four := shl(56, mul(four, GATHER))
                    if eq(apart, 1) {
                        mstore(to, four)
                        to := add(to, 4)
                        continue
                    }
                    let last := mload(32)
                    if lt(head, last) { last := head }
                    for { let next := sub(head, shl(2, stride)) } lt(next, last) { next := add(next, stride) } {
                        mstore8(to, byte(0, four))
                        four := shl(8, four)
                        to := add(to, apart)
                    }
                }
                leave
            }
            let head := sub(add(place, PREAMBLE), 32)
            x := sub(x, 2)
            mstore(0, or(shl(64, start), step))
            mstore(32, add(head, mul(count, record)))
            channels(head, record, x, add(x, sub(record, PREAMBLE)), y)
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
            _clear(machine.data + most);
        }
    }

    /// @dev `count` bytes from `source` on, each `stride` behind the one before.
    function _pick(uint256 source, uint256 stride, uint256 to, uint256 count) private pure {
        assembly ("memory-safe") {
            for { let end := add(to, count) } lt(to, end) { to := add(to, 1) } {
                mstore8(to, byte(0, mload(source)))
                source := add(source, stride)
            }
        }
    }

    /// @dev Up to 31 bytes behind are written too.
    function _fill(uint256 to, uint256 count, uint256 value) private pure {
        assembly ("memory-safe") {
            let word := mul(value, div(not(0), 255))
            for { let end := add(to, count) } lt(to, end) { to := add(to, 32) } { mstore(to, word) }
        }
    }

    function _move(uint256 from, uint256 to, uint256 length) private pure {
        assembly ("memory-safe") {
            mcopy(to, from, length)
        }
    }

    function _zero(uint256 place, uint256 length) private pure {
        assembly ("memory-safe") {
            calldatacopy(place, calldatasize(), length)
        }
    }

    function _clear(uint256 place) private pure {
        assembly ("memory-safe") {
            mstore(place, 0)
        }
    }

    function _storeByte(uint256 place, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore8(place, value)
        }
    }

    /// @dev Where the value lies that a layer reads at its operand `i`.
    function _operand(Machine memory machine, Layer memory layer, uint256 i) private pure returns (uint256) {
        return _start(machine, _byte(layer.operands + i) & INDEX);
    }

    function _operandLength(Machine memory machine, Layer memory layer, uint256 i) private pure returns (uint256) {
        unchecked {
            uint256 index = _byte(layer.operands + i) & INDEX;
            return _start(machine, index + 1) - _start(machine, index) - GAP;
        }
    }

    function _start(Machine memory machine, uint256 index) private pure returns (uint256) {
        unchecked {
            return _word(machine.starts + 32 * index);
        }
    }

    function _setStart(Machine memory machine, uint256 index, uint256 place) private pure {
        uint256 starts = machine.starts;
        assembly ("memory-safe") {
            mstore(add(starts, shl(5, index)), place)
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
