"""Decides one query of the prover: prints `unsat`, `sat` and a model, or `unknown`. Runs in .tools/halmos.

    python solver.py QUERY.smt2

First as a query over whole numbers (see integers.py); what that does not prove goes, as it is, to every solver there is.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import z3
from integers import weakened

SECONDS = 60
"""What each attempt may take of a processor."""
ABSTRACT = re.compile(r"\(declare-fun f_evm_(bv\w+)_(\d+) \(\(_ BitVec \2\) \(_ BitVec \2\)\) \(_ BitVec \2\)\)")


def concrete(query: str) -> str:
    """The query with the prover's abstract multiplications and divisions defined as the EVM defines them."""

    def definition(match: re.Match[str]) -> str:
        name, size = match[1], match[2]
        meaning = f"({name} x y)" if name == "bvmul" else f"(ite (= y (_ bv0 {size})) (_ bv0 {size}) ({name} x y))"
        word = f"(_ BitVec {size})"
        return f"(define-fun f_evm_{name}_{size} ((x {word}) (y {word})) {word} {meaning})"

    return ABSTRACT.sub(definition, query)


def is_impossible(query: str) -> bool:
    """Whether whole numbers already show that nothing satisfies the query."""
    solver = z3.Solver()
    solver.set("timeout", SECONDS * 1000)
    solver.add(weakened(list(z3.parse_smt2_string(re.sub(r"\((check-sat|get-model)\)", "", query)))))
    return bool(solver.check() == z3.unsat)


def decide(commands: list[list[str]]) -> str:
    """The first answer of `commands`, run side by side, that starts with sat or unsat; else `unknown`."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))

    waiting = [
        subprocess.Popen(each, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=limit)
        for each in commands
    ]
    try:
        while waiting:
            for process in [each for each in waiting if each.poll() is not None]:
                waiting.remove(process)
                answer, _ = process.communicate()
                if answer.startswith(("sat", "unsat")):
                    return answer
            time.sleep(0.01)
        return "unknown\n"
    finally:
        for process in waiting:
            process.kill()
            process.wait()


def main(path: Path) -> str:
    """The answer to the query in the file."""
    query = concrete(path.read_text())
    if is_impossible(query):
        return "unsat\n"
    whole = path.with_suffix(".whole")
    whole.write_text(query)
    solvers = Path(sys.executable).parent
    return decide(
        [[str(solvers / "yices-smt2"), "--bvconst-in-decimal", str(whole)], [str(solvers / "z3"), str(whole)]]
    )


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])))
