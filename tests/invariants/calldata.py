"""Calldata for the oracle's entry points, joined from words: fast enough for hundreds of thousands of calls.

`job` is a job's 20 words, which every call repeats and which are therefore encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from eth_abi import encode
from eth_typing import ChecksumAddress
from eth_utils import keccak, to_canonical_address

from contracts.job import TERMS_TYPES, Job, Terms

_TERMS = f"({','.join(TERMS_TYPES)})"
_JOB = f"(address,uint256,{_TERMS})"
_RESULT = "(bytes32,uint256,bytes32,bytes32[])"
_INPUT = "(bytes,bytes32[])"
_NODE = "(bytes32,uint256,uint256)"
_JOB_BYTES = 20 * 32

Proof = tuple[bytes, int, bytes, list[bytes]]
Row = tuple[bytes, list[bytes]]
NodeName = tuple[bytes, int, int]


def _selector(name: str, *types: str) -> bytes:
    return keccak(text=f"{name}({','.join(types)})")[:4]


_SELECTORS = {
    "deposit": _selector("deposit"),
    "unbond": _selector("unbond", "uint256"),
    "withdraw": _selector("withdraw", "address"),
    "createJob": _selector("createJob", "uint256", _TERMS, "string"),
    "draw": _selector("draw", "bytes32", "bytes"),
    "commit": _selector("commit", _JOB, "bytes32", "bytes32", "uint256[]"),
    "reveal": _selector("reveal", _JOB, "address", "bytes32", "bytes32"),
    "settle": _selector("settle", _JOB, "bytes32"),
    "release": _selector("release", _JOB, "address[]"),
    "refute": _selector("refute", _JOB, _RESULT, _INPUT),
    "demand": _selector("demand", _JOB, _NODE),
    "answer": _selector("answer", _JOB, _NODE, "bytes32[]", "bytes32[]"),
    "answerLeaf": _selector("answerLeaf", _JOB, _RESULT, _INPUT),
    "releaseBounty": _selector("releaseBounty", _JOB, "bytes32"),
    "releaseBond": _selector("releaseBond", _JOB, _NODE),
    "phaseOf": _selector("phaseOf", _JOB),
    "accountOf": _selector("accountOf", "address"),
    "creditOf": _selector("creditOf", "address"),
    "totalStake": _selector("totalStake"),
}
ENTRY_POINTS = tuple(name for name in _SELECTORS if not name.endswith("Of") and name != "totalStake")


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


@cache
def address_word(address: str) -> bytes:
    return bytes(12) + to_canonical_address(address)


def job_words(job: Job) -> bytes:
    """A job's 20 words."""
    return encode([_JOB], [job.as_tuple()])


def plain(name: str, *words: bytes) -> bytes:
    """A call whose arguments are all of fixed size."""
    return _SELECTORS[name] + b"".join(words)


def create_job(nonce: int, terms: Terms, data_uri: str) -> bytes:
    return _SELECTORS["createJob"] + encode(["uint256", _TERMS, "string"], [nonce, terms.as_tuple(), data_uri])


def draw(job_id: bytes, proof: bytes) -> bytes:
    return _SELECTORS["draw"] + job_id + word(64) + _blob(proof)


def commit(job: bytes, commitment: bytes, tickets: Sequence[int]) -> bytes:
    head = job + commitment + bytes(32) + word(_JOB_BYTES + 96)
    return _SELECTORS["commit"] + head + word(len(tickets)) + b"".join(map(word, tickets))


def reveal(job: bytes, worker: ChecksumAddress, root: bytes, salt: bytes) -> bytes:
    return _SELECTORS["reveal"] + job + address_word(worker) + root + salt


def release(job: bytes, workers: Sequence[str]) -> bytes:
    tail = word(len(workers)) + b"".join(map(address_word, workers))
    return _SELECTORS["release"] + job + word(_JOB_BYTES + 32) + tail


def with_proofs(name: str, job: bytes, result: Proof, row: Row) -> bytes:
    """refute or answerLeaf."""
    root, index, leaf, siblings = result
    proof = root + word(index) + leaf + word(128) + _list(siblings)
    shown = _blob(row[0])
    given = word(64) + word(64 + len(shown)) + shown + _list(row[1])
    heads = word(_JOB_BYTES + 64) + word(_JOB_BYTES + 64 + len(proof))
    return _SELECTORS[name] + job + heads + proof + given


def on_node(name: str, job: bytes, node: NodeName) -> bytes:
    """demand or releaseBond."""
    return _SELECTORS[name] + job + node[0] + word(node[1]) + word(node[2])


def answer(job: bytes, node: NodeName, nodes: Sequence[bytes], siblings: Sequence[bytes]) -> bytes:
    first = _list(nodes)
    heads = word(_JOB_BYTES + 160) + word(_JOB_BYTES + 160 + len(first))
    return on_node("answer", job, node) + heads + first + _list(siblings)


def _list(words: Sequence[bytes]) -> bytes:
    return word(len(words)) + b"".join(words)


def _blob(data: bytes) -> bytes:
    return word(len(data)) + data + bytes(-len(data) % 32)
