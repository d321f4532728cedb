// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Dense layers of docs/program.md in plain Solidity, one multiplication at a time: what IntegerNetwork must
/// agree with. For every other operator models/integer_ops.py is what it must agree with.
contract NaiveNetwork {
    function run(bytes calldata program, bytes calldata row) external pure returns (bytes memory output) {
        uint256 layers = _number(program, 16, 2);
        uint256 position = 18;
        int256[] memory x = new int256[](row.length);
        for (uint256 i; i < row.length; ++i) {
            x[i] = int256(uint256(uint8(row[i])));
        }
        for (uint256 layer; layer < layers; ++layer) {
            bool hidden = _number(program, position, 1) == 1;
            uint256 outputs = _number(program, position + 6, 4);
            position += 10;
            int256[] memory y = new int256[](outputs);
            for (uint256 channel; channel < outputs; ++channel) {
                uint256 shift = 24 - _number(program, position + 4, 1);
                y[channel] = _dot(program, position, x);
                if (hidden) y[channel] = _clamp(_roundHalfEven(y[channel], shift));
                position += 5 + x.length / 34 * 30 + (x.length % 34 * 7 + 7) / 8;
            }
            x = y;
        }
        for (uint256 i; i < x.length; ++i) {
            output = bytes.concat(output, bytes4(uint32(int32(x[i]))));
        }
    }

    function _dot(bytes calldata program, uint256 record, int256[] memory x) private pure returns (int256 sum) {
        sum = int32(uint32(_number(program, record, 4)));
        uint256 position = record + 5;
        for (uint256 end = x.length; end != 0;) {
            uint256 some = end % 34 == 0 ? 34 : end % 34;
            uint256 length = (7 * some + 7) / 8;
            uint256 digits = _number(program, position, length);
            for (uint256 i = end - some; i < end; ++i) {
                sum += (int256(digits % 128) - 64) * x[i];
                digits /= 128;
            }
            position += length;
            end -= some;
        }
    }

    function _roundHalfEven(int256 value, uint256 shift) private pure returns (int256 quotient) {
        quotient = value >> shift;
        uint256 twiceTheRest = 2 * uint256(value - (quotient << shift));
        uint256 whole = 1 << shift;
        if (twiceTheRest > whole || (twiceTheRest == whole && quotient % 2 != 0)) ++quotient;
    }

    function _clamp(int256 value) private pure returns (int256) {
        return value < 0 ? int256(0) : value > 255 ? int256(255) : value;
    }

    function _number(bytes calldata data, uint256 position, uint256 length) private pure returns (uint256 value) {
        for (uint256 i; i < length; ++i) {
            value = value << 8 | uint8(data[position + i]);
        }
    }
}
