// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Memory} from "./Memory.sol";

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

/// @title Windows of convolutions and pools
library Windows {
    /// @dev The window whose dimensions lie at `sides`; a window of one dimension is one row.
    function read(uint256 sides, uint256 dimensions, uint256 depth) internal pure returns (Window memory window) {
        unchecked {
            (window.rows, window.kernelRows, window.strideRows, window.outRows) = (1, 1, 1, 1);
            if (dimensions == 2) {
                window.rows = Memory.number(sides);
                window.kernelRows = Memory.number(sides + 4);
                window.strideRows = Memory.number(sides + 8);
                window.above = Memory.number(sides + 12);
                window.outRows = _fits(sides);
                sides += 20;
            }
            window.columns = Memory.number(sides);
            window.kernelColumns = Memory.number(sides + 4);
            window.strideColumns = Memory.number(sides + 8);
            window.before = Memory.number(sides + 12);
            window.outColumns = _fits(sides);
            window.depth = depth;
            window.size = depth * window.kernelRows * window.kernelColumns;
        }
    }

    /// @dev How often the window fits along the dimension at `side`.
    function _fits(uint256 side) private pure returns (uint256) {
        unchecked {
            uint256 size = Memory.number(side) + Memory.number(side + 12) + Memory.number(side + 16);
            return (size - Memory.number(side + 4)) / Memory.number(side + 8) + 1;
        }
    }

    /// @dev Copy what the window sees in its place `pixel` into its patch: `depth` planes that begin at `x`, row by
    /// row. What it sees beyond a plane is zero.
    function gather(Window memory window, uint256 x, uint256 pixel) internal pure {
        unchecked {
            (uint256 rowFrom, uint256 rowTo, uint256 row) = _clip(
                pixel / window.outColumns * window.strideRows, window.above, window.kernelRows, window.rows
            );
            (uint256 from, uint256 to, uint256 column) = _clip(
                pixel % window.outColumns * window.strideColumns, window.before, window.kernelColumns, window.columns
            );
            (uint256 patch, uint256 width, uint256 size) = (window.patch, window.kernelColumns, window.size);
            bool whole = rowTo - rowFrom == window.kernelRows && to - from == width;
            if (!whole) Memory.zero(patch, size);
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
}
