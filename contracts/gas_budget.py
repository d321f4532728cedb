"""What disputes cost at most, in gas: the twin of contracts/src/libraries/GasBudget.sol."""

from __future__ import annotations

from contracts.merkle import last_level, level_depth

GAS_PER_BYTE = 40
FIXED_GAS = 100_000
FIXED_BYTES = 1_024
MARGIN = 4


def answer(level: int, depth: int, row_length: int) -> int:
    """Gas of an answer at `level` of a tree of `depth` over rows of `row_length` bytes."""
    node_depth = level_depth(level, depth)
    if level == last_level(depth):
        length = row_length + 64 * depth
    else:
        length = 32 * (node_depth + (1 << (level_depth(level + 1, depth) - node_depth)))
    return FIXED_GAS + GAS_PER_BYTE * (FIXED_BYTES + length)


def refutation(execution_gas: int, depth: int, row_length: int) -> int:
    """Gas of a refutation; execution_gas is what the model took at registration."""
    return FIXED_GAS + execution_gas + GAS_PER_BYTE * (FIXED_BYTES + row_length + 64 * depth)


def dispute(execution_gas: int, depth: int, row_length: int) -> int:
    """Gas of a refutation and of the answers that lead to its leaf."""
    answers = sum(answer(level, depth, row_length) for level in range(last_level(depth) + 1))
    return refutation(execution_gas, depth, row_length) + answers


def bond(level: int, depth: int, row_length: int, price: int, open_demands: int) -> int:
    """Wei that a demand costs; price is the higher of base fee and reference price, in wei a gas."""
    return MARGIN * answer(level, depth, row_length) * price * (1 + open_demands)


def min_seat_stake(execution_gas: int, depth: int, row_length: int, reference_price: int) -> int:
    """Least wei a seat, so that refuting always pays."""
    return MARGIN * dispute(execution_gas, depth, row_length) * reference_price
