// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BLOCK, BLOCK_BYTES, LANES_BYTES} from "./WeightBlocks.sol";

/// @title Channels that read the same activations, computed together
/// @dev How thirty-four multiplications become three. A channel's weights are digits of seven bits, w + 64, of one number
/// for every thirty-four inputs. Of such a number take every third digit: lanes of 21 bits. The activations are spread
/// over three words in which every third one lies in a lane of 21 bits too, the first one highest. In the product of two
/// such words one lane is the sum of the products whose positions add up to the same: because one of them is in
/// reverse order those are w[i]·x[i]. The three choices of every third are laid so that all three products have that lane
/// on top, in bits 235 … 255, where it can be added and shifted out. A lane holds at most 34·255·127 = 1,101,090 < 2^21,
/// so no lane ever carries into the next. Digits beyond the last input meet activations that are zero, or go beyond
/// the top. 64·Σx is subtracted once for all channels that read the same activations: a layer, or the window of a
/// convolution, which is gathered into one byte string first.
library Lanes {
    /// @dev Every third digit of seven bits: the lowest of each lane of 21, and the two above it.
    uint256 private constant DIGITS = 0x00003f8001fc000fe0007f0003f8001fc000fe0007f0003f8001fc000fe0007f;
    uint256 private constant DIGITS_7 = 0x00000000fe0007f0003f8001fc000fe0007f0003f8001fc000fe0007f0003f80;
    uint256 private constant DIGITS_14 = 0x0000007f0003f8001fc000fe0007f0003f8001fc000fe0007f0003f8001fc000;

    /// @dev Of a word's bytes, the first two of every three; and what moves lanes of 24 bits together, so that 21 are
    /// left of each, by twice as many lanes in each step: those that move, where they lie then. Last the first bytes
    /// of lanes of 21 bits.
    uint256 private constant TWO_OF_THREE = 0xffff00ffff00ffff00ffff00ffff00ffff00ffff00ffff00ffff00ffff00ffff;
    uint256 private constant ODD_LANES = 0x000000ffffff000000ffffff000000ffffff000000ffffff000000ffffff0000;
    uint256 private constant PAIRS_OF_LANES = 0x000000000000fffffffffff8000000000000fffffffffff8000000000000ffff;
    uint256 private constant FOURS_OF_LANES = 0x000000000000000000000000fffffffffffffffffffffe000000000000000000;
    uint256 private constant LAST_LANES = 0x000000000000000000000000000000000000000000000000ffffffffffffffff;
    uint256 private constant FIRST_BYTES = 0xff0007f8003fc001fe000ff0007f8003fc001fe000ff0007f8003fc000000000;

    /// @dev Four lanes of 64 bits, in which four activations become bytes; and what moves the low bytes of the four
    /// to the top of a word, the lowest lane's first.
    uint256 private constant ONES = 0x0000000000000001000000000000000100000000000000010000000000000001;
    uint256 private constant GATHER = 0x0100000000000000000100000000000000000100000000000000000100000000;

    /// @dev The lanes of these activations: three words for each block of them, in which activation i lies 7·i bits
    /// below bit 235, every third one in the same word. Behind them where the sums of all channels start, −64·Σx.
    /// Zeros are written behind the last activation.
    /// @return behind where that is
    function spread(uint256 x, uint256 inputs, uint256 lanes) internal pure returns (uint256 behind) {
        assembly ("memory-safe") {
            let end := add(x, inputs)
            mstore(end, 0)
            let sum := 0
            behind := lanes
            for { } lt(x, end) { x := add(x, BLOCK) } {
                let word := mload(x)
                // The last two of a block's activations, if it has more than a word holds.
                let rest := mul(gt(sub(end, x), 32), and(mload(add(x, 2)), 0xffff))
                let two := and(word, TWO_OF_THREE)
                word := xor(word, two)
                two := add(two, mul(and(two, ODD_LANES), 7))
                two := add(two, mul(and(two, PAIRS_OF_LANES), 63))
                two := add(two, mul(and(two, FOURS_OF_LANES), 0xfff))
                two := add(two, mul(and(two, LAST_LANES), 0xffffff))
                word := add(word, mul(and(word, ODD_LANES), 7))
                word := add(word, mul(and(word, PAIRS_OF_LANES), 63))
                word := add(word, mul(and(word, FOURS_OF_LANES), 0xfff))
                word := add(word, mul(and(word, LAST_LANES), 0xffffff))
                word := add(shr(11, word), shl(3, and(rest, 0xff00)))
                mstore(add(behind, 64), word)
                let first := and(two, FIRST_BYTES)
                two := shr(12, xor(two, first))
                mstore(add(behind, 32), two)
                first := add(shr(13, first), shl(4, and(rest, 0xff)))
                mstore(behind, first)
                // Lanes of at most 16·765 add up to their sum modulo 2^21 − 1.
                sum := add(sum, mod(add(first, add(shr(14, two), shr(7, word))), 0x1fffff))
                behind := add(behind, LANES_BYTES)
            }
            mstore(behind, sub(0, shl(2, sum)))
        }
    }

    /// @dev `count` channels whose records lie at `place`, computed by fours: logits, four bytes each, or bytes, one behind
    /// the other at `y`. What comes of the up to three that are no channels, and up to 28 bytes more, is written behind
    /// them.
    ///
    /// The function inside ends with `leave` so that the compiler does not inline it: what it works with fits the stack
    /// then, with the seldom used in scratch memory. How its inner loop is written is what came out fastest.
    /// @param lanes of the activations, up to `behind`, where every sum starts
    function multiply(
        uint256 place,
        uint256 record,
        uint256 count,
        uint256 lanes,
        uint256 behind,
        uint256 y,
        bool logits
    ) internal pure {
        assembly ("memory-safe") {
            // Scratch memory holds whether they are logits, and where the last record ends.
            function channels(head, stride, from, end, to) {
                for { } lt(head, mload(32)) { } {
                    let a := mload(end)
                    let b := a
                    let c := a
                    let d := a
                    // The word that ends with the record, or with what is not multiplied yet of it.
                    let tail := sub(add(head, stride), 32)
                    for { let each := from } 1 { } {
                        let p := mload(each)
                        let q := mload(add(each, 32))
                        let r := mload(add(each, 64))
                        let next := tail
                        tail := sub(tail, BLOCK_BYTES)
                        let w := mload(next)
                        a := add(a, shr(235, add(mul(p, and(w, DIGITS)), add(mul(q, and(w, DIGITS_7)),
                            mul(r, and(w, DIGITS_14))))))
                        next := add(next, stride)
                        w := mload(next)
                        b := add(b, shr(235, add(mul(p, and(w, DIGITS)), add(mul(q, and(w, DIGITS_7)),
                            mul(r, and(w, DIGITS_14))))))
                        next := add(next, stride)
                        w := mload(next)
                        c := add(c, shr(235, add(mul(p, and(w, DIGITS)), add(mul(q, and(w, DIGITS_7)),
                            mul(r, and(w, DIGITS_14))))))
                        w := mload(add(next, stride))
                        d := add(d, shr(235, add(mul(p, and(w, DIGITS)), add(mul(q, and(w, DIGITS_7)),
                            mul(r, and(w, DIGITS_14))))))
                        each := add(each, LANES_BYTES)
                        if eq(each, end) { break }
                    }
                    if mload(0) {
                        mstore(to, shl(224, add(a, sar(224, mload(head)))))
                        head := add(head, stride)
                        mstore(add(to, 4), shl(224, add(b, sar(224, mload(head)))))
                        head := add(head, stride)
                        mstore(add(to, 8), shl(224, add(c, sar(224, mload(head)))))
                        head := add(head, stride)
                        mstore(add(to, 12), shl(224, add(d, sar(224, mload(head)))))
                        head := add(head, stride)
                        to := add(to, 16)
                        continue
                    }
                    let begin := mload(head)
                    let four := shl(byte(4, begin), add(a, sar(224, begin)))
                    head := add(head, stride)
                    begin := mload(head)
                    four := add(four, shl(64, shl(byte(4, begin), add(b, sar(224, begin)))))
                    head := add(head, stride)
                    begin := mload(head)
                    four := add(four, shl(128, shl(byte(4, begin), add(c, sar(224, begin)))))
                    head := add(head, stride)
                    begin := mload(head)
                    four := add(four, shl(192, shl(byte(4, begin), add(d, sar(224, begin)))))
                    head := add(head, stride)
                    // In each of four lanes lies a sum with 24 binary places; now clamp(round_half_even(it), 0, 255),
                    // without a branch. 2^61 makes it positive, and pays back what one below zero borrowed from the
                    // next. Adding a half less the last place, and that place too if the quotient is odd, rounds half
                    // to even. Then bit 37 of a quotient says that it is not negative, and bit 38 with 2^37 − 256 added
                    // that it is beyond 255. What is no channel may reach into the lanes above it, which are none either:
                    // the first channel has the lowest lane.
                    four := add(four, mul(ONES, 0x2000000000000000))
                    four := shr(24, add(add(four, mul(ONES, 0x7fffff)), and(shr(24, four), ONES)))
                    let positive := and(shr(37, four), ONES)
                    let beyond := and(shr(38, add(four, mul(ONES, 0x1fffffff00))), ONES)
                    four := and(or(four, mul(255, beyond)), mul(255, positive))
                    mstore(to, mul(four, GATHER))
                    to := add(to, 4)
                }
                leave
            }
            mstore(0, logits)
            mstore(32, add(place, mul(count, record)))
            channels(place, record, lanes, behind, y)
        }
    }
}
