// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";

/// @title The judge: runs a program (docs/program.md) on one row, exactly as models/integer_ops.py defines it
/// @notice Gas depends on the program alone, never on the row: no branch and no address is taken from data.
/// @dev How thirty multiplications become three. Activations are a byte string, most significant first; a channel's
/// weights lie reversed, as w + 128. Of thirty activations and their thirty weights, each in the low 30 bytes of a
/// word, take every third byte: ten lanes of 24 bits. In the product of two such words the top lane is the sum of the
/// ten products whose positions add up to the same; because the weights are reversed those are w[i]·x[i]. The three
/// choices of every third byte are paired so that all three products have their top lane in bits 232 … 255, where it
/// can be added and shifted out. A lane holds at most 30·255·191 = 1,461,150 < 2^24 before it is moved to a full word,
/// so no lane ever carries into the next, however many inputs a layer has. Bytes beyond the last input meet activations
/// that are zero. 128·Σx is subtracted once a layer.
library IntegerNetwork {
    uint256 internal constant CHUNK = 24_575; // program bytes in a contract of 24,576, the first being STOP
    uint256 internal constant LONGEST_ROW = 98_304;
    uint256 internal constant MOST_OUTPUTS = 65_535;

    uint256 private constant MAGIC = 0x51494e01; // "QIN", version 1
    uint256 private constant HEADER = 18;
    uint256 private constant LAYER_HEADER = 9;
    uint256 private constant STATE_HEADER = 16;
    uint256 private constant PREAMBLE = 5;
    uint256 private constant DENSE = 1;
    uint256 private constant LOGITS = 2;
    uint256 private constant SHIFT_LIMIT = 24;
    uint256 private constant SUM_LIMIT = 1 << 24;

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
    /// dear by the square. `position` and `channel` say what comes next; `inputs` activations at `x` go into that
    /// layer, and `made` bytes at `y` have come out of it.
    struct Machine {
        address[] chunks;
        uint256 length;
        uint256 end;
        uint256 base;
        uint256 data;
        uint256 capacity;
        uint256 position;
        uint256 channel;
        uint256 x;
        uint256 inputs;
        uint256 y;
        uint256 made;
    }

    /// @param chunks contracts of STOP and 24,575 bytes each (the last may hold fewer): together the program
    /// @param length bytes in the program, which `validate` has accepted
    /// @param row the model's input; WrongRowLength if it is not as long as the program's header says
    /// @return output the logits, 4 bytes each, int32, big endian
    function run(address[] memory chunks, uint256 length, bytes calldata row)
        internal
        view
        returns (bytes memory output)
    {
        unchecked {
            (Machine memory machine, uint256 rowLength) = _load(chunks, length);
            if (row.length != rowLength) revert IModelRegistry.WrongRowLength(row.length, rowLength);
            _take(machine, row, rowLength);
            machine.position = HEADER;
            while (machine.position != length) _compute(machine, type(uint256).max);
            return _output(machine);
        }
    }

    /// @notice The state in which an execution of `row` begins (docs/program.md).
    function firstState(bytes calldata row) internal pure returns (bytes memory) {
        return abi.encodePacked(uint32(0), uint32(HEADER), uint32(0), uint32(row.length), row);
    }

    /// @notice How many channels of the whole network came before `state`; 0 if it is too short to be one.
    function executedBefore(bytes calldata state) internal pure returns (uint256) {
        return state.length < STATE_HEADER ? 0 : uint32(bytes4(state));
    }

    /// @notice Go on from a state for so many channels, or to the end if it comes first. The state is trusted.
    /// @param chunks as for `run`, and so is `length`
    /// @return result the state then, or the output if the execution is finished
    function advance(address[] memory chunks, uint256 length, bytes calldata state, uint256 channels)
        internal
        view
        returns (bytes memory result, bool finished)
    {
        unchecked {
            (Machine memory machine,) = _load(chunks, length);
            uint256 header = uint128(bytes16(state));
            uint256 executed = (header >> 96) + channels;
            machine.position = uint32(header >> 64);
            machine.channel = uint32(header >> 32);
            _take(machine, state[STATE_HEADER:], uint32(header));
            while (channels != 0 && machine.position != length) {
                channels -= _compute(machine, channels);
            }
            finished = machine.position == length;
            result = finished ? _output(machine) : _state(machine, executed);
        }
    }

    /// @dev A machine with a program and with memory for its activations, but no input yet.
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
            uint256 most = uint32(header >> 160) * 4;
            if (most < uint32(header >> 128)) most = uint32(header >> 128);
            machine.x = _allocate(most + 32) + 32; // a word before it, where an output's length will be
            machine.y = _allocate(most + 32) + 32;
        }
    }

    /// @dev Into the machine: `inputs` activations for its layer, and after them what the layer has made so far.
    function _take(Machine memory machine, bytes calldata activations, uint256 inputs) private pure {
        unchecked {
            machine.inputs = inputs;
            machine.made = activations.length - inputs;
            (uint256 x, uint256 y, uint256 made) = (machine.x, machine.y, machine.made);
            assembly ("memory-safe") {
                calldatacopy(x, activations.offset, inputs)
                calldatacopy(y, add(activations.offset, inputs), made)
            }
        }
    }

    /// @dev What the last layer made, where it lies.
    function _output(Machine memory machine) private pure returns (bytes memory output) {
        uint256 x = machine.x;
        uint256 length = machine.inputs;
        assembly ("memory-safe") {
            output := sub(x, 32)
            mstore(output, length)
        }
    }

    function _state(Machine memory machine, uint256 executed) private pure returns (bytes memory state) {
        unchecked {
            (uint256 x, uint256 inputs, uint256 y, uint256 made) =
                (machine.x, machine.inputs, machine.y, machine.made);
            state = _allocateBytes(STATE_HEADER + inputs + made);
            uint256 header = executed << 96 | machine.position << 64 | machine.channel << 32 | inputs;
            assembly ("memory-safe") {
                mstore(add(state, 32), shl(128, header))
                let place := add(state, add(32, STATE_HEADER))
                mcopy(place, x, inputs)
                mcopy(add(place, inputs), y, made)
            }
        }
    }

    /// @dev Up to `most` channels of the layer at hand: here each opcode has its function.
    /// @return count channels that were computed
    function _compute(Machine memory machine, uint256 most) private view returns (uint256 count) {
        unchecked {
            uint256 position = machine.position;
            if (position + LAYER_HEADER > machine.end) _slide(machine, position, LAYER_HEADER);
            uint256 header = _word(machine.base + position);
            return _dense(machine, header, most);
        }
    }

    /// @dev `count` more channels of a layer are there, `made` bytes of them, of `channels` in all. When those are
    /// complete, what the layer made is the input of the next one, which begins at `next`.
    function _close(Machine memory machine, uint256 count, uint256 made, uint256 channels, uint256 next) private pure {
        unchecked {
            count += machine.channel;
            made += machine.made;
            if (count < channels) {
                (machine.channel, machine.made) = (count, made);
            } else {
                (machine.position, machine.channel) = (next, 0);
                (machine.x, machine.inputs, machine.y, machine.made) = (machine.y, made, machine.x, 0);
            }
        }
    }

    /// @dev Channels of a dense layer, hidden (each makes a byte) or the last (each makes a logit, four bytes). As many
    /// as lie in the window are computed at a time, whole fours unless they are the last.
    function _dense(Machine memory machine, uint256 header, uint256 most) private view returns (uint256 count) {
        unchecked {
            uint256 width = header >> 248 == DENSE ? 1 : 4;
            uint256 record = uint32(header >> 216) + PREAMBLE;
            uint256 channels = uint32(header >> 184);
            uint256 first = machine.position + LAYER_HEADER;
            count = channels - machine.channel;
            if (count > most) count = most;

            uint256 start = _start(machine.x, record - PREAMBLE);
            uint256 position = first + machine.channel * record;
            uint256 y = machine.y + machine.made;
            for (uint256 left = count; left != 0;) {
                uint256 some = left;
                if (position + left * record > machine.end) {
                    uint256 needed = (left < 4 ? left : 4) * record;
                    if (position + needed > machine.end) _slide(machine, position, needed);
                    some = (machine.end - position) / record;
                    some = some < left ? some & ~uint256(3) : left;
                }
                _channels(machine.base + position, record, some, machine.x, start, y, width);
                position += some * record;
                y += some * width;
                left -= some;
            }
            _close(machine, count, count * width, channels, first + channels * record);
        }
    }

    /// @dev `count` channels whose records lie at `place`, into `width` bytes each at `y`. They are computed by fours:
    /// what comes of the up to three that are no channels is written behind the others, and overwritten or ignored.
    ///
    /// Where a function ends with `leave` it is so that the compiler does not inline it: what it works with fits the
    /// stack then.
    /// @param start where every sum starts: −128·Σx
    function _channels(uint256 place, uint256 record, uint256 count, uint256 x, uint256 start, uint256 y, uint256 width)
        private
        pure
    {
        assembly ("memory-safe") {
            // `begin` + Σ(w + 128)·x of four channels. At `tail` is the word that ends with the first one's record.
            function dot(tail, stride, activations, behind, begin) -> a, b, c, d {
                a := begin
                b := begin
                c := begin
                d := begin
                for { } 1 { } {
                    let r := mload(activations)
                    let p := and(r, LANES_16)
                    let q := and(r, LANES_8)
                    r := and(r, LANES)
                    let w := mload(tail)
                    a := add(a, shr(232, add(mul(p, and(w, LANES)), add(mul(q, and(w, LANES_8)),
                        mul(r, and(w, LANES_16))))))
                    let next := add(tail, stride)
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
                    activations := add(activations, 30)
                    if lt(activations, behind) { continue }
                    leave
                }
            }
            function biased(sum, preamble) -> whole {
                whole := add(sum, signextend(3, preamble))
            }
            // sum / 2^shift with 24 binary places. What is below zero could not round to more: it becomes zero first.
            function scaled(sum, preamble) -> product {
                product := shl(sub(24, byte(27, preamble)), mul(sum, sgt(sum, 0)))
            }
            // Four activations, clamp(round_half_even((sum + bias) / 2^shift), 0, 255), without a branch: the word's
            // first bytes. Adding a half less the last place, and that place too if the quotient is odd, rounds half
            // to even. A quotient beyond 255 carries into its lane's bit 40, which fills the low byte. No lane reaches
            // the next, not even of what is no channel: its sum is below 2^34, scaled below 2^58.
            function requantised(head, stride, a, b, c, d) -> four {
                let preamble := mload(head)
                four := scaled(biased(a, preamble), preamble)
                head := add(head, stride)
                preamble := mload(head)
                four := or(shl(64, four), scaled(biased(b, preamble), preamble))
                head := add(head, stride)
                preamble := mload(head)
                four := or(shl(64, four), scaled(biased(c, preamble), preamble))
                preamble := mload(add(head, stride))
                four := or(shl(64, four), scaled(biased(d, preamble), preamble))
                four := shr(24, add(add(four, mul(ONES, 0x7fffff)), and(shr(24, four), ONES)))
                four := and(four, mul(ONES, 0xffffffffff))
                let beyond := and(add(four, mul(ONES, 0xffffffff00)), shl(40, ONES))
                four := or(four, sub(shr(32, beyond), shr(40, beyond)))
                four := shl(56, mul(and(four, mul(ONES, 0xff)), GATHER))
                leave
            }
            // `head` is where a word's last byte is the last of the first channel's bias.
            function fours(head, end, stride, activations, behind, begin, to, size) {
                for { } 1 { } {
                    let a, b, c, d := dot(sub(add(head, stride), PREAMBLE), stride, activations, behind, begin)
                    switch size
                    case 1 {
                        mstore(to, requantised(head, stride, a, b, c, d))
                        head := add(head, mul(3, stride))
                    }
                    default {
                        mstore(to, shl(224, biased(a, mload(head))))
                        head := add(head, stride)
                        mstore(add(to, 4), shl(224, biased(b, mload(head))))
                        head := add(head, stride)
                        mstore(add(to, 8), shl(224, biased(c, mload(head))))
                        head := add(head, stride)
                        mstore(add(to, 12), shl(224, biased(d, mload(head))))
                    }
                    head := add(head, stride)
                    to := add(to, shl(2, size))
                    if lt(head, end) { continue }
                    leave
                }
            }
            let head := sub(add(place, PREAMBLE), 32)
            x := sub(x, 2)
            fours(head, add(head, mul(count, record)), record, x, add(x, sub(record, PREAMBLE)), start, y, width)
        }
    }

    /// @dev Where every channel's sum starts: −128·Σx. Zeros are written behind the last activation, for the last
    /// block.
    function _start(uint256 x, uint256 inputs) private pure returns (uint256 start) {
        assembly ("memory-safe") {
            mstore(add(x, inputs), 0)
            x := sub(x, 2)
            for { let end := add(x, inputs) } lt(x, end) { x := add(x, 30) } {
                let p := mload(x)
                p := add(add(and(p, LANES), and(shr(8, p), LANES)), and(shr(16, p), LANES))
                // Lanes of at most 765 add up to their sum modulo 2^24 − 1.
                start := sub(start, mod(p, 0xffffff))
            }
            start := shl(7, start)
        }
    }

    /// @notice Check a whole program: whatever passes has one meaning, and running it cannot fail. Reverts with the
    /// error that IModelRegistry has for what is wrong.
    function validate(bytes memory program) internal pure returns (uint256 rowLength, uint256 outputLength) {
        unchecked {
            uint256 length = program.length;
            if (length < HEADER) revert IModelRegistry.ProgramTooShort(length, HEADER);
            uint256 place;
            assembly ("memory-safe") {
                place := add(program, 32)
            }
            uint256 header = _word(place);
            if (header >> 224 != MAGIC) revert IModelRegistry.WrongMagic(bytes4(bytes32(header)));
            rowLength = uint32(header >> 192);
            if (rowLength == 0 || rowLength > LONGEST_ROW) {
                revert IModelRegistry.RowLengthOutOfRange(rowLength, LONGEST_ROW);
            }
            uint256 layers = uint16(header >> 112);
            if (layers == 0) revert IModelRegistry.LayerCountOutOfRange(layers);
            uint256 position = HEADER;
            uint256 widest;
            outputLength = rowLength;
            for (uint256 layer; layer < layers; ++layer) {
                if (outputLength > widest) widest = outputLength;
                (position, outputLength) =
                    _validateLayer(place, length, position, layer, outputLength, layer + 1 < layers ? DENSE : LOGITS);
            }
            if (position != length) revert IModelRegistry.TrailingBytes(length, position);
            if (uint32(header >> 160) != outputLength) {
                revert IModelRegistry.OutputLengthMismatch(uint32(header >> 160), outputLength);
            }
            if (uint32(header >> 128) != widest) revert IModelRegistry.WidestMismatch(uint32(header >> 128), widest);
        }
    }

    /// @dev `place` is where the program lies in memory, `position` where in it the layer begins.
    function _validateLayer(
        uint256 place,
        uint256 length,
        uint256 position,
        uint256 layer,
        uint256 inputs,
        uint256 opcode
    ) private pure returns (uint256 end, uint256 outputs) {
        unchecked {
            end = position + LAYER_HEADER;
            if (length < end) revert IModelRegistry.ProgramTooShort(length, end);
            uint256 header = _word(place + position);
            if (header >> 248 != opcode) revert IModelRegistry.WrongOpcode(layer, header >> 248);
            if (uint32(header >> 216) != inputs) {
                revert IModelRegistry.InputsMismatch(layer, uint32(header >> 216), inputs);
            }
            outputs = uint32(header >> 184);
            if (outputs == 0 || outputs > MOST_OUTPUTS) {
                revert IModelRegistry.OutputsOutOfRange(layer, outputs, MOST_OUTPUTS);
            }
            uint256 weights = place + end + PREAMBLE;
            end += outputs * (PREAMBLE + inputs);
            if (length < end) revert IModelRegistry.ProgramTooShort(length, end);
            for (uint256 channel; channel < outputs; ++channel) {
                _validateChannel(weights, inputs, layer, channel, opcode == DENSE ? SHIFT_LIMIT : 0);
                weights += PREAMBLE + inputs;
            }
        }
    }

    /// @dev `weights` is where the channel's weights lie, right behind its shift and bias.
    function _validateChannel(uint256 weights, uint256 inputs, uint256 layer, uint256 channel, uint256 most)
        private
        pure
    {
        unchecked {
            uint256 preamble = _word(weights - 32);
            uint256 shift = uint8(preamble >> 32);
            if (shift > most) revert IModelRegistry.ShiftOutOfRange(layer, channel, shift);
            (uint256 sum, bool inRange) = _weigh(weights, inputs);
            if (!inRange) revert IModelRegistry.WeightOutOfRange(layer, channel);
            int256 bias = int32(uint32(preamble));
            sum = 255 * sum + uint256(bias < 0 ? -bias : bias);
            if (sum >= SUM_LIMIT) revert IModelRegistry.SumOutOfRange(layer, channel, sum);
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

    /// @notice sha256 of a program that lies in memory, without the copy that the built-in function makes.
    function identify(bytes memory program) internal view returns (bytes32 modelId) {
        assembly ("memory-safe") {
            if iszero(staticcall(gas(), 2, add(program, 32), mload(program), 0, 32)) { revert(0, 0) }
            modelId := mload(0)
        }
    }

    /// @notice The program in one piece: the chunks, all of them full, and `last`.
    function assemble(address[] memory chunks, bytes calldata last) internal view returns (bytes memory program) {
        unchecked {
            uint256 stored = chunks.length * CHUNK;
            program = _allocateBytes(stored + last.length);
            uint256 place;
            assembly ("memory-safe") {
                place := add(program, 32)
                calldatacopy(add(place, stored), last.offset, last.length)
            }
            _copy(chunks, 0, stored, place);
        }
    }

    /// @notice What creates a contract of STOP and `length` bytes if these follow: ten bytes that return what is behind
    /// them, and STOP. Behind STOP no code can run, so nobody can make such a contract destroy itself.
    /// @param length at most CHUNK
    function creationPrefix(uint256 length) internal pure returns (bytes11) {
        // PUSH2 length, DUP1, PUSH1 10, RETURNDATASIZE, CODECOPY, RETURNDATASIZE, RETURN, STOP
        return bytes11(uint88(0x61000080600a3d393df300 | (length + 1) << 64));
    }

    /// @notice Create a contract at the address that `code` and `salt` determine; zero if that fails.
    function create(bytes memory code, bytes32 salt) internal returns (address made) {
        assembly ("memory-safe") {
            made := create2(0, add(code, 32), mload(code), salt)
        }
    }

    /// @notice What lies behind the STOP of such a contract.
    function read(address made) internal view returns (bytes memory content) {
        uint256 length = made.code.length - 1;
        content = _allocateBytes(length);
        assembly ("memory-safe") {
            extcodecopy(made, add(content, 32), 1, length)
        }
    }

    /// @dev Read the program from byte `position` on into memory: `needed` bytes at least, a chunk's length where there
    /// is.
    function _slide(Machine memory machine, uint256 position, uint256 needed) private view {
        unchecked {
            uint256 most = needed > CHUNK ? needed : CHUNK;
            if (machine.length < most) most = machine.length;
            if (most > machine.capacity) {
                machine.data = _allocate(most);
                machine.capacity = most;
            }
            if (machine.length - position < most) most = machine.length - position;
            machine.end = position + most;
            machine.base = machine.data - position;
            _copy(machine.chunks, position, most, machine.data);
        }
    }

    /// @dev Copy bytes `position` … `position + length` of the program into memory at `to`.
    function _copy(address[] memory chunks, uint256 position, uint256 length, uint256 to) internal view {
        unchecked {
            uint256 index = position / CHUNK;
            uint256 within = position % CHUNK;
            while (length != 0) {
                uint256 part = CHUNK - within;
                if (part > length) part = length;
                address chunk = chunks[index];
                assembly ("memory-safe") {
                    extcodecopy(chunk, to, add(within, 1), part)
                }
                to += part;
                length -= part;
                within = 0;
                ++index;
            }
        }
    }

    function _word(uint256 place) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(place)
        }
    }

    /// @dev Memory for `length` bytes and a word beyond, since readers and writers of whole words reach past the end.
    function _allocate(uint256 length) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := mload(0x40)
            mstore(0x40, add(place, and(add(length, 95), not(31))))
        }
    }

    function _allocateBytes(uint256 length) private pure returns (bytes memory made) {
        uint256 place = _allocate(length + 32);
        assembly ("memory-safe") {
            made := place
            mstore(made, length)
        }
    }
}
