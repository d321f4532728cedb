"""Writes the protocol's shared vectors: what Solidity and Python must both say of job ids, tickets, commitments and phases.

    python -m tests.vectors.make

The numbers come from the Python twins; tests/contracts/test_vectors.py holds both against them. Deterministic.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

from eth_account import Account
from eth_utils import keccak

from contracts import commitment, gas_budget, gold, job, merkle, signed_commit, stake, tally
from contracts.job import NOBODY, Execution, Job, JobState, Outcome, Terms
from tests.contracts.chain import party

HERE = Path(__file__).parent
CHAIN_ID = 1
CONTRACT = party("oracle")


def some_terms(rng: Random) -> Terms:
    """Terms of any values that their types hold."""
    words = [rng.randbytes(32) for _ in range(4)]
    seats = rng.choice((1, 2, 3, 5, 31, 1024, 2**16 - 1))
    windows = [rng.choice((1, 8, 96, 3600, 2**32 - 1)) for _ in range(4)]
    return Terms(
        model_id=words[0],
        data_root=words[1],
        data_uri_hash=words[2],
        item_count=rng.choice((1, 178, 2**40, 2**64 - 1)),
        seats=seats,
        quorum=seats // 2 + 1,
        seat_stake=rng.choice((1, 10**18, 2**96 - 1)),
        reward=rng.choice((0, 1, 2**96 - 1)),
        call_out_fee=rng.choice((0, 10**9)),
        gold_root=words[3],
        gold_count=rng.randrange(2**32),
        audit_bond=rng.randrange(2**96),
        commit_window=windows[0],
        reveal_window=windows[1],
        challenge_window=windows[2],
        response_window=windows[3],
        consumer=rng.choice((NOBODY, party("consumer"))),
        callback_gas=rng.randrange(2**32),
    )


def job_vectors() -> list[dict[str, Any]]:
    """Ids: every term counts, and so do chain, contract, requester and nonce."""
    rng = Random("jobs")
    jobs = [Job(party(f"requester {i}"), rng.choice((0, 1, 2**256 - 1)), some_terms(rng)) for i in range(12)]
    return [{"job": plain(each), "id": hexed(each.id(CHAIN_ID, CONTRACT))} for each in jobs]


def ticket_vectors() -> dict[str, Any]:
    """Seeds, odds at every doubling, and who wins, with the bound just above and just below the ticket's hash."""
    rng = Random("tickets")
    seeds = [(rng.randbytes(32), rng.randbytes(32)) for _ in range(4)]
    odds = [
        (window, left)
        for window in (1, 2, 3, 7, 96, 100, 2**32 - 1)
        for left in sorted({1, 2, window // 8, window // 4, window // 2, window // 2 + 1, window})
        if 0 < left <= window
    ]
    wins = []
    for number in range(24):
        seed, worker, ticket = (
            rng.randbytes(stake.SEED_BYTES),
            party(f"worker {number}"),
            rng.choice((0, 1, number, 2**64)),
        )
        total = rng.choice((1, 10**18, 10**24 + 7, 2**96 - 1))
        for expected in (0, total // 3, edge_of(seed, worker, ticket, total), total - 1, total, 3 * total):
            for amount in {expected, expected + 1}:
                won = stake.wins(seed, worker, ticket, amount, total)
                wins.append([hexed(seed), worker, ticket, amount, total, won])
    return {
        "seeds": [[hexed(one), hexed(two), hexed(stake.seed_of(one, two))] for one, two in seeds],
        "odds": [[window, left, stake.odds_factor(window, left)] for window, left in odds],
        "wins": wins,
    }


def edge_of(seed: bytes, worker: Any, ticket: int, total: int) -> int:
    """The most that may be expected while the ticket still loses."""
    low, high = 0, total
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if stake.wins(seed, worker, ticket, middle, total) else (middle, high)
    return low


def commitment_vectors() -> list[dict[str, Any]]:
    rng = Random("commitments")
    made = []
    for number in range(8):
        job_id, root, salt, secret = (rng.randbytes(32) for _ in range(4))
        root = bytes(32) if number == 0 else root
        sealed = commitment.compute(job_id, party(f"worker {number}"), root, salt)
        made.append(
            {
                "job_id": hexed(job_id),
                "worker": party(f"worker {number}"),
                "root": hexed(root),
                "salt": hexed(salt),
                "commitment": hexed(sealed),
                "digests": [hexed(commitment.digest_of(job_id, word)) for word in (sealed, root)],
                "secret": hexed(secret),
                "sealed_root": hexed(commitment.seal(root, secret, sealed)),
            }
        )
    return made


def signature_vectors() -> list[dict[str, Any]]:
    """Signed commitments, with no ticket and with many, of either parity."""
    rng = Random("signatures")
    made = []
    for number, tickets in enumerate(([], [0], [1, 5, 2**256 - 1], list(range(20)), [7], [8])):
        account = Account.from_key(keccak(text=f"signer {number}"))
        job_id, sealed, sealed_root = (rng.randbytes(32) for _ in range(3))
        where, deadline = (CHAIN_ID, CONTRACT, job_id), rng.choice((0, 1_800_000_000, 2**256 - 1))
        signed = signed_commit.sign(account, *where, number % stake.LANES, sealed, sealed_root, tickets, deadline)
        made.append({"job_id": hexed(job_id), "signed": plain(signed)})
    return made


def gold_vectors() -> list[dict[str, Any]]:
    """Leaves of verification sets."""
    rng = Random("gold")
    made = []
    for index in (0, 1, 178, 2**32, 2**64 - 1):
        output, salt = rng.randbytes(4 * rng.randrange(5)), rng.randbytes(32)
        leaf = gold.gold_leaf(index, output, salt)
        made.append({"index": index, "output": hexed(output), "salt": hexed(salt), "leaf": hexed(leaf)})
    return made


def phase_vectors() -> dict[str, Any]:
    """States × times: a second before, at and after every end there is, and the blocks around the draw's."""
    rng = Random("phases")
    states = [JobState(created_block=100)]
    for _ in range(40):
        states.append(
            replace(
                states[0],
                started_at=rng.randrange(1_001, 1_300),
                granted_seats=rng.choice((0, 2, 3, 5)),
                demanded_levels=rng.choice((0, 0, 1, 2, 5)),
                execution=rng.choice((Execution.NONE,) * 3 + (Execution.EXTENDED, Execution.WHOLE)),
                outcome=rng.choice((Outcome.OPEN,) * 10 + tuple(Outcome)[1:]),
            )
        )
    terms = replace(some_terms(rng), seats=5, quorum=3, commit_window=20, reveal_window=12, challenge_window=24)
    terms = replace(terms, response_window=8)
    cases = []
    for number, state in enumerate(states):
        ends = [end(state, terms) for end in (job.commit_end, job.reveal_end, job.challenge_end)]
        ends.append(job.demand_end(state, terms, 1))
        for now in sorted({1_001, *(end + step for end in ends for step in (-1, 0, 1))}):
            cases.append([number, now, 200, job.phase(state, terms, now, 200)])
        cases += [[number, 1_500, block, job.phase(state, terms, 1_500, block)] for block in (101, 102, 103, 358, 359)]
    return {
        "terms": plain(terms),
        "states": [plain(state) for state in states],
        "ends": [[job.commit_end(s, terms), job.reveal_end(s, terms), job.challenge_end(s, terms)] for s in states],
        "cases": cases,
        "quorum_bounds": [[seats, *job.quorum_bounds(seats)] for seats in [*range(1, 33), 63, 64]],
        "winners": winner_vectors(),
    }


def winner_vectors() -> list[dict[str, Any]]:
    """Tallies at every edge of the rule that says who wins, of the root whose seats the state counts and of another."""
    first, other, quorum = bytes([1] * 32), bytes([2] * 32), 3
    sums = [(0, 0, 5), (1, 1, 1), (1, 1, 2), (1, 3, 0), (1, 2, 0), (2, 3, 2), (2, 4, 0)]
    tallies = [
        tally.Tally(seats=3),
        tally.Tally(seats=1),
        tally.Tally(seats=3, open_demands=1),
        tally.Tally(seats=3, refuter=party("refuter")),
        tally.Tally(),
    ]
    made = []
    for execution, quorum_stands in ((Execution.NONE, False), (Execution.EXTENDED, True), (Execution.WHOLE, False)):
        for standing_roots, standing, refuted in sums:
            for one in tallies:
                if one.stands and one.seats >= quorum and execution == Execution.NONE:
                    continue  # the quorum would stand
                if one.refuted and refuted == 0:
                    continue  # its seats would be refuted
                for root in (first, other):
                    state = JobState(
                        root_seats=one.seats if root == first else 2,
                        standing_roots=standing_roots,
                        standing_seats=standing,
                        refuted_seats=refuted,
                        quorum_stands=quorum_stands,
                        demanded_levels=1 if one.open_demands else 0,
                        execution=execution,
                        root=first,
                    )
                    stored = replace(one, seats=0) if root == first else one
                    made.append(
                        {
                            "state": plain(state),
                            "tally": plain(stored),
                            "root": hexed(root),
                            "quorum": quorum,
                            "seats": tally.seats_of(state, stored, root),
                            "has_winner": tally.has_winner(state, quorum),
                            "is_winner": tally.is_winner(state, stored, root, quorum),
                        }
                    )
    return made


def gas_vectors() -> list[list[int]]:
    """[depth, row length, execution gas, refutation, dispute, answer at each level …]"""
    made = []
    for depth in (0, 1, 3, 4, 5, 8, 9, 20, 32, 40):
        for row_length in (1, 13, 98_304):
            levels = range(merkle.last_level(depth) + 1)
            answers = [gas_budget.answer(level, depth, row_length) for level in levels]
            gas = 12_345 * (depth + 1)
            refutation = gas_budget.refutation(gas, depth, row_length)
            made.append([depth, row_length, gas, refutation, gas_budget.dispute(gas, depth, row_length), *answers])
    return made


def plain(value: Any) -> list[Any]:
    """A twin's fields in order, for JSON."""
    return [jsoned(field) for field in asdict(value).values()]


def jsoned(value: Any) -> Any:
    if isinstance(value, dict):
        return [jsoned(each) for each in value.values()]
    if isinstance(value, list | tuple):
        return [jsoned(each) for each in value]
    return hexed(value) if isinstance(value, bytes) else value


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def make() -> dict[str, str]:
    """{file name: its text}."""
    made: dict[str, Any] = {
        "job.json": {"chain_id": CHAIN_ID, "contract": CONTRACT, "jobs": job_vectors()},
        "ticket.json": ticket_vectors(),
        "commitment.json": commitment_vectors(),
        "signature.json": signature_vectors(),
        "gold.json": gold_vectors(),
        "phase.json": phase_vectors(),
        "gas_budget.json": gas_vectors(),
    }
    return {name: lines(value) for name, value in made.items()}


def lines(value: Any) -> str:
    """JSON with a line for each case."""
    if isinstance(value, dict):
        body = ",\n".join(f" {json.dumps(key)}: {rows(each)}" for key, each in value.items())
        return "{\n" + body + "\n}\n"
    return rows(value) + "\n"


def rows(value: Any) -> str:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value or not isinstance(value[0], list | dict):
        return json.dumps(value)
    return "[\n" + ",\n".join("  " + json.dumps(each) for each in value) + "\n ]"


if __name__ == "__main__":
    for file_name, text in make().items():
        (HERE / file_name).write_text(text)
