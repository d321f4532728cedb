"""Runs halmos with hashes of symbolic words as numbers of their own. Runs in .tools/halmos.

    python prover.py HALMOS-OPTIONS

A job's id is the hash of its terms, amounts included, and everything about a job is stored under hashes of its id. halmos keeps
such hashes symbolic, and then cannot tell one slot from another without asking a solver, at every access. Here the hash of a
symbolic word is a number, the same for the same word and another for another: what halmos assumes of hashes anyway, that
different words have different ones, decided at once. Two words that are not plainly different end the run.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from typing import Any

import halmos.sevm
import z3
from eth_hash.auto import keccak
from halmos.__main__ import main
from halmos.exceptions import HalmosException
from halmos.sevm import Exec

hash_concrete = Exec.sha3_hash
hashed: dict[tuple[z3.Solver, int], dict[z3.ExprRef, bytes]] = defaultdict(dict)
"""Proof, by its solver, and size in bits → symbolic word → its hash."""
MILLISECONDS = 10_000
"""What telling two words apart may take."""


def sha3_hash(self: Exec, data: Any) -> bytes | None:
    """The keccak256 of a concrete word, the number of a symbolic one."""
    concrete: bytes | None = hash_concrete(self, data)
    if concrete is not None or not z3.is_bv(data):
        return concrete
    word = z3.simplify(data)
    known = hashed[self.path.solver, word.size()]
    if word not in known:
        same = [other for other in known if not differs(self, word == other)]
        if len(same) > 1 or not all(differs(self, word != other) for other in same):
            raise HalmosException(f"the hash of {word} and another cannot be told apart")
        known[word] = known[same[0]] if same else keccak(f"{word.size()}:{len(known)}".encode())
    return known[word]


def differs(execution: Exec, equation: z3.BoolRef) -> bool:
    """Whether the equation is false on this path."""
    if z3.is_false(z3.simplify(equation)):
        return True
    solver = z3.Solver()
    solver.set("timeout", MILLISECONDS)
    solver.add(*execution.path.conditions, equation)
    return bool(solver.check() == z3.unsat)


def declare(name: str, *sorts: z3.SortRef) -> Any:
    """z3's Function, except that SHA-256, of which halmos gets the sort wrong, is computed; of concrete words alone."""
    return sha256_of if name.startswith("f_sha256_") else z3.Function(name, *sorts)


def sha256_of(word: z3.BitVecRef) -> z3.BitVecRef:
    """The SHA-256 of a concrete word."""
    if not z3.is_bv_value(word):
        raise HalmosException("SHA-256 of a symbolic word")
    return z3.BitVecVal(int.from_bytes(hashlib.sha256(word.as_long().to_bytes(word.size() // 8)).digest()), 256)


if __name__ == "__main__":
    Exec.sha3_hash = sha3_hash
    halmos.sevm.Function = declare
    sys.exit(main())
