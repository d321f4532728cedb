"""Holds integers.py against words: formulas that words satisfy must not be refused over whole numbers. Runs in .tools/halmos.

    python soundness.py FORMULAS [OPERATION]    exit 1 if one is refused

Each formula is built around values for its words, of which all of its claims are true. With the name of an operation of
integers.py, that operation is made wrong first: then a formula must be refused, or this would notice nothing.
"""

from __future__ import annotations

import random
import sys

import integers
import z3
from integers import Integers, Number

WIDTHS = (8, 16, 32)
DEPTH = 3
CLAIMS = 3


class Builder:
    """Random words and claims, and their values under one assignment."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.values: list[tuple[z3.BitVecRef, z3.BitVecNumRef]] = []

    def value(self, term: z3.ExprRef) -> z3.ExprRef:
        """What the term is under the assignment."""
        return z3.simplify(z3.substitute(term, *self.values))

    def constant(self, size: int) -> z3.BitVecNumRef:
        """Small, large, or a power of two and its neighbours."""
        power = 1 << self.rng.randrange(size)
        least = self.rng.choice((0, 1, power, power - 1, -power, self.rng.getrandbits(size)))
        return z3.BitVecVal(least, size)

    def variable(self, size: int) -> z3.BitVecRef:
        """One that is there, or a new one; many have small values, as amounts have."""
        known = [word for word, _ in self.values if word.size() == size]
        if known and self.rng.random() < 0.6:
            return self.rng.choice(known)
        word = z3.BitVec(f"word{len(self.values)}", size)
        self.values.append((word, z3.BitVecVal(self.rng.getrandbits(self.rng.randint(1, size)), size)))
        return word

    def word(self, size: int, depth: int = DEPTH) -> z3.BitVecRef:
        """A term of so many bits."""
        roll = self.rng.random()
        if depth == 0 or roll < 0.1:
            return self.variable(size) if self.rng.random() < 0.7 else self.constant(size)
        if roll < 0.2 and size > 8:
            cut = self.rng.randrange(1, size)
            return z3.Concat(self.word(size - cut, depth - 1), self.word(cut, depth - 1))
        if roll < 0.3:
            wider = size + self.rng.choice((1, 8))
            lowest = self.rng.randint(0, wider - size)
            return z3.Extract(lowest + size - 1, lowest, self.word(wider, depth - 1))
        left, right = self.word(size, depth - 1), self.word(size, depth - 1)
        if roll < 0.4:
            return z3.If(self.claim(left, right), left, self.word(size, depth - 1))
        if roll < 0.6:
            divisor = self.constant(size)
            return self.rng.choice((z3.UDiv, z3.URem, lambda a, b: a * b))(left, divisor)
        operations = (
            left + right,
            left - right,
            left * right,
            left | right,
            left & right,
            z3.UDiv(left, right),
            z3.URem(left, right),
            ~left,
            -left,
        )
        return self.rng.choice(operations)

    def claim(self, left: z3.BitVecRef, right: z3.BitVecRef) -> z3.BoolRef:
        """A comparison, whether it is true or not."""
        return self.rng.choice((z3.ULE, z3.ULT, z3.UGE, z3.UGT, lambda a, b: a == b, lambda a, b: a != b))(left, right)

    def true_claim(self) -> z3.BoolRef:
        """A comparison, or two, or a bound of a variable, which the assignment satisfies."""
        size = self.rng.choice(WIDTHS)
        if self.rng.random() < 0.3:
            word = self.variable(size)
            bits = max(self.value(word).as_long().bit_length(), 1)
            low = z3.Extract(bits - 1, 0, word)
            return word == (z3.Concat(z3.BitVecVal(0, size - bits), low) if bits < size else low)
        left = self.word(size)
        right = self.word(size) if self.rng.random() < 0.6 else self.value(left)
        claim = self.claim(left, right)
        if self.rng.random() < 0.2:
            claim = z3.Or(claim, self.claim(right, self.word(size)))
        return claim if z3.is_true(self.value(claim)) else z3.Not(claim)

    def pins(self) -> list[z3.BoolRef]:
        """Claims that leave the assignment alone, unless an operation is wrong."""
        return [bound(word, value) for word, value in self.values for bound in (z3.ULE, z3.UGE)]


def refuses(claims: list[z3.BoolRef]) -> bool:
    """Whether whole numbers say that nothing satisfies the claims."""
    solver = z3.Solver()
    solver.set("timeout", 300)
    solver.add(integers.weakened(claims))
    return bool(solver.check() == z3.unsat)


def spoil(name: str) -> None:
    """Make the operation's result one too large."""
    kinds = [kind for kind, each in integers.OPERATIONS.items() if each.__name__ == name]
    right = integers.OPERATIONS[kinds[0]]

    def wrong(whole: Integers, word: z3.BitVecRef, parts: list[Number]) -> Number | None:
        result = right(whole, word, parts)
        return None if result is None else whole.combine([(1, result)], 1)

    integers.OPERATIONS.update(dict.fromkeys(kinds, wrong))


def main(formulas: int, operation: str | None = None) -> int:
    """Exit status: 0 if no formula is refused."""
    if operation:
        spoil(operation)
    for seed in range(formulas):
        builder = Builder(random.Random(seed))
        claims = [builder.true_claim() for _ in range(CLAIMS)]
        if seed % 2:
            claims += builder.pins()
        if not all(z3.is_true(builder.value(claim)) for claim in claims):
            raise AssertionError(f"formula {seed} is not true of its own words")
        if refuses(claims):
            sys.stdout.write(f"formula {seed} is refused though words satisfy it: {claims}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
