"""Words as integers: a weaker query over whole numbers, which is decided at once where one over bits takes hours.

The contracts convert between wei and gwei and keep several amounts in a word, so that nearly every claim multiplies and divides
256-bit words by constants and cuts fields out of sums. As a linear form over whole numbers, with bounds that show where nothing
wraps and no field carries into the next, such a word mostly is what it looks like. What has no such form (a product of two
unknowns, an array's element, a bitwise operation) is *any* number of its size. So what cannot be satisfied here cannot be
satisfied by words; nothing follows from the opposite. Runs in .tools/halmos, which has z3.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import z3


@dataclass(frozen=True, slots=True)
class Number:
    """A word's value: constant + Σ coefficient · unknown, which lies in low…high."""

    constant: int
    terms: tuple[tuple[int, int], ...]  # (which unknown, coefficient), ascending, no coefficient 0
    low: int
    high: int


class Integers:
    """Translates formulas over words; `facts` says what is known of the unknowns that it made on the way."""

    def __init__(self) -> None:
        self.unknowns: list[z3.ArithRef] = []
        self.bounds: list[tuple[int, int]] = []
        self.facts: list[z3.BoolRef] = []
        self._numbers: dict[int, Number] = {}
        self._formulas: dict[int, z3.BoolRef] = {}
        self._kept: list[z3.ExprRef] = []  # z3 gives an id to another term once the first is gone

    # ---- Numbers ----

    def unknown(self, low: int, high: int) -> Number:
        """Any number in low…high."""
        if low == high:
            return Number(low, (), low, low)
        index = len(self.unknowns)
        self.unknowns.append(z3.Int(f"unknown{index}"))
        self.bounds.append((low, high))
        self.facts += [self.unknowns[index] >= low, self.unknowns[index] <= high]
        return Number(0, ((index, 1),), low, high)

    def combine(self, parts: Iterable[tuple[int, Number]], constant: int = 0) -> Number:
        """constant + Σ factor · number."""
        coefficients: dict[int, int] = {}
        low = high = constant
        for factor, number in parts:
            constant += factor * number.constant
            low += factor * (number.low if factor >= 0 else number.high)
            high += factor * (number.high if factor >= 0 else number.low)
            for index, coefficient in number.terms:
                coefficients[index] = coefficients.get(index, 0) + factor * coefficient
        return self._bounded(constant, coefficients, low, high)

    def _bounded(self, constant: int, coefficients: dict[int, int], low: int, high: int) -> Number:
        terms = tuple(sorted((index, each) for index, each in coefficients.items() if each))
        ends = [[each * end for end in self.bounds[index]] for index, each in terms]
        low = max(low, constant + sum(min(each) for each in ends))
        high = min(high, constant + sum(max(each) for each in ends))
        return Number(constant, terms, low, high)

    def formula_of(self, number: Number) -> z3.ArithRef:
        """The number, for z3."""
        terms = [coefficient * self.unknowns[index] for index, coefficient in number.terms]
        return z3.Sum([z3.IntVal(number.constant), *terms])

    def wrapped(self, number: Number, size: int) -> Number:
        """number mod 2^size."""
        if number.low >= 0 and number.high < 1 << size:
            return number
        half = 1 << size - 1
        residues = {index: (each + half) % (2 * half) - half for index, each in number.terms}
        reduced = self.combine([(1, self._bounded(number.constant % (2 * half), residues, -(1 << 4096), 1 << 4096))])
        turns = self.unknown(reduced.low >> size, reduced.high >> size)
        rest = self.combine([(1, reduced), (-2 * half, turns)])
        if rest.low < 0 or rest.high >= 2 * half:
            value = self.formula_of(rest)
            self.facts += [value >= 0, value < 2 * half]
        return Number(rest.constant, rest.terms, max(rest.low, 0), min(rest.high, 2 * half - 1))

    def quotient(self, number: Number, divisor: int) -> Number:
        """⌊number / divisor⌋, the divisor being positive."""
        whole = {index: each // divisor for index, each in number.terms if each % divisor == 0}
        rest = self._bounded(
            number.constant % divisor,
            {index: each for index, each in number.terms if each % divisor},
            -(1 << 4096),
            1 << 4096,
        )
        carried = self.unknown(rest.low // divisor, rest.high // divisor)
        if carried.terms:
            value, multiple = self.formula_of(rest), divisor * self.formula_of(carried)
            self.facts += [multiple <= value, value < multiple + divisor]
        exact = self._bounded(number.constant // divisor, whole, -(1 << 4096), 1 << 4096)
        sum_ = self.combine([(1, exact), (1, carried)])
        low, high = max(sum_.low, number.low // divisor), min(sum_.high, number.high // divisor)
        return Number(sum_.constant, sum_.terms, low, high)

    # ---- Words ----

    def number(self, word: z3.BitVecRef) -> Number:
        """The word's value."""
        if word.get_id() not in self._numbers:
            self._numbers[word.get_id()] = self._number(word)
            self._kept.append(word)
        return self._numbers[word.get_id()]

    def _number(self, word: z3.BitVecRef) -> Number:
        size, kind = word.size(), word.decl().kind()
        if z3.is_bv_value(word):
            return Number(word.as_long(), (), word.as_long(), word.as_long())
        if kind in OPERATIONS:
            parts = [self.number(part) for part in word.children()]
            number = OPERATIONS[kind](self, word, parts)
            if number is not None:
                return self.wrapped(number, size)
        if kind == z3.Z3_OP_ITE:
            return self._choice(word)
        return self.unknown(0, (1 << size) - 1)

    def _choice(self, word: z3.BitVecRef) -> Number:
        condition = self.formula(word.arg(0))
        yes, no = self.number(word.arg(1)), self.number(word.arg(2))
        if z3.is_true(condition):
            return yes
        if z3.is_false(condition):
            return no
        choice = self.unknown(min(yes.low, no.low), max(yes.high, no.high))
        value = self.formula_of(choice)
        self.facts += [z3.If(condition, value == self.formula_of(yes), value == self.formula_of(no))]
        return choice

    # ---- Formulas ----

    def formula(self, claim: z3.BoolRef) -> z3.BoolRef:
        """The formula over whole numbers."""
        if claim.get_id() not in self._formulas:
            self._formulas[claim.get_id()] = self._formula(claim)
            self._kept.append(claim)
        return self._formulas[claim.get_id()]

    def _formula(self, claim: z3.BoolRef) -> z3.BoolRef:
        parts, kind = claim.children(), claim.decl().kind()
        if parts and all(z3.is_bool(part) for part in parts):
            return z3.simplify(claim.decl()(*map(self.formula, parts)))
        if parts and all(z3.is_bv(part) for part in parts) and kind in COMPARISONS:
            low, high = COMPARISONS[kind]
            return self._between(self.combine([(1, self.number(parts[0])), (-1, self.number(parts[1]))]), low, high)
        return claim if not parts and not z3.is_const(claim) else z3.FreshBool()

    def _between(self, number: Number, low: int | None, high: int | None) -> z3.BoolRef:
        """Whether low ≤ number ≤ high; None is no bound."""
        if (low is None or number.low >= low) and (high is None or number.high <= high):
            return z3.BoolVal(True)
        if (low is not None and number.high < low) or (high is not None and number.low > high):
            return z3.BoolVal(False)
        value = self.formula_of(number)
        if low == high:
            return value == low
        return z3.And(True if low is None else value >= low, True if high is None else value <= high)


COMPARISONS: dict[int, tuple[int | None, int | None]] = {
    z3.Z3_OP_EQ: (0, 0),
    z3.Z3_OP_ULEQ: (None, 0),
    z3.Z3_OP_ULT: (None, -1),
    z3.Z3_OP_UGEQ: (0, None),
    z3.Z3_OP_UGT: (1, None),
}
"""Kind of comparison → what left − right lies between."""

Operation = Callable[[Integers, z3.BitVecRef, list[Number]], Number | None]


def add(integers: Integers, word: z3.BitVecRef, parts: list[Number]) -> Number:
    """Σ parts."""
    return integers.combine([(1, part) for part in parts])


def complement(integers: Integers, word: z3.BitVecRef, parts: list[Number]) -> Number:
    """All bits turned over."""
    return integers.combine([(-1, parts[0])], (1 << word.size()) - 1)


def multiply(integers: Integers, word: z3.BitVecRef, parts: list[Number]) -> Number | None:
    """Π parts, if only one of them is not a constant."""
    unknown = [part for part in parts if part.terms]
    factor = functools.reduce(lambda left, right: left * right, (part.constant for part in parts if not part.terms), 1)
    half = 1 << word.size() - 1
    factor = (factor + half) % (2 * half) - half  # what is written 2^n − 1 is −1
    if not unknown:
        return Number(factor % (2 * half), (), factor % (2 * half), factor % (2 * half))
    return integers.combine([(factor, unknown[0])]) if len(unknown) == 1 else None


def concatenate(integers: Integers, word: z3.BitVecRef, parts: list[Number]) -> Number:
    """The parts side by side, the first one on top."""
    shift, shifted = word.size(), []
    for term, part in zip(word.children(), parts, strict=True):
        shift -= term.size()
        shifted.append((1 << shift, part))
    return integers.combine(shifted)


def extract(integers: Integers, word: z3.BitVecRef, parts: list[Number]) -> Number:
    """The part's bits from the lowest that is wanted; `wrapped` cuts off those above."""
    _, lowest = word.params()
    return integers.quotient(parts[0], 1 << lowest)


def divide(integers: Integers, word: z3.BitVecRef, parts: list[Number]) -> Number | None:
    """⌊dividend / divisor⌋, if the divisor is a constant."""
    dividend, divisor = parts
    return None if divisor.terms or divisor.constant == 0 else integers.quotient(dividend, divisor.constant)


def remainder(integers: Integers, word: z3.BitVecRef, parts: list[Number]) -> Number | None:
    """dividend mod divisor, if the divisor is a constant."""
    quotient = divide(integers, word, parts)
    return None if quotient is None else integers.combine([(1, parts[0]), (-parts[1].constant, quotient)])


def unite(integers: Integers, word: z3.BitVecRef, parts: list[Number]) -> Number:
    """The parts' bits together: the parts' sum where one part's lowest bit is above all of another's."""
    union = parts[0]
    for part in parts[1:]:
        both = integers.combine([(1, union), (1, part)])
        if part.high < lowest_bit(union) or union.high < lowest_bit(part):
            union = both
            continue
        value = integers.formula_of(both)
        most = min(both.high, (1 << max(union.high, part.high).bit_length()) - 1)
        new = integers.unknown(max(union.low, part.low), most)
        integers.facts += [integers.formula_of(each) <= integers.formula_of(new) for each in (union, part)]
        integers.facts += [integers.formula_of(new) <= value]
        union = new
    return union


def lowest_bit(number: Number) -> int:
    """A power of two that divides the number, whatever its unknowns are."""
    divisor = math.gcd(number.constant, *(coefficient for _, coefficient in number.terms))
    return divisor & -divisor if divisor else 1 << 4096


OPERATIONS: dict[int, Operation] = {
    z3.Z3_OP_BADD: add,
    z3.Z3_OP_BNOT: complement,
    z3.Z3_OP_BMUL: multiply,
    z3.Z3_OP_CONCAT: concatenate,
    z3.Z3_OP_EXTRACT: extract,
    z3.Z3_OP_BUDIV: divide,
    z3.Z3_OP_BUDIV_I: divide,
    z3.Z3_OP_BUREM: remainder,
    z3.Z3_OP_BUREM_I: remainder,
    z3.Z3_OP_BOR: unite,
}
"""Kind of word → its value by those of its parts; None where it has no linear form. z3 makes sums of all differences."""


def narrowed(claims: list[z3.BoolRef]) -> list[z3.BoolRef]:
    """The claims with p, where they say that p is its own lowest bits, as a word of so many: parameters come in whole words."""
    narrow = []
    for claim in claims:
        size = bits_that_matter(claim)
        if size:
            word = claim.arg(0)
            narrow.append((word, z3.ZeroExt(word.size() - size, z3.FreshConst(z3.BitVecSort(size)))))
    return [z3.simplify(z3.substitute(claim, *narrow)) for claim in claims]


def bits_that_matter(claim: z3.BoolRef) -> int:
    """How many, if the claim is p = 0…0 ‖ the lowest bits of p; else 0."""
    if not (z3.is_eq(claim) and z3.is_const(claim.arg(0)) and claim.arg(1).decl().kind() == z3.Z3_OP_CONCAT):
        return 0
    word, parts = claim.arg(0), claim.arg(1).children()
    if len(parts) != 2 or not z3.is_bv_value(parts[0]) or parts[0].as_long():
        return 0
    return parts[1].size() if z3.simplify(z3.Extract(parts[1].size() - 1, 0, word)).eq(parts[1]) else 0


def weakened(claims: list[z3.BoolRef]) -> list[z3.BoolRef]:
    """Claims over whole numbers that hold wherever the claims over words do."""
    goal = z3.Goal()
    goal.add(narrowed([z3.simplify(claim) for claim in claims]))
    # Not by theory: it would solve for a word by dividing modulo 2^256, which no linear form survives.
    by_names = z3.With("solve-eqs", theory_solver=False)
    goal = z3.Then("simplify", "propagate-values", by_names, "simplify")(goal)[0]
    integers = Integers()
    translated = [integers.formula(each) for each in goal]
    return translated + integers.facts
