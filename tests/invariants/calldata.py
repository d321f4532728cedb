"""Calldata for the oracle's entry points from the specification's arguments, joined from words: fast enough for a million.

encode(refute, job, result, given)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from eth_utils import keccak, to_canonical_address

from contracts import specification as spec
from contracts.compute_oracle import Opening, SeatRef
from contracts.disputes import Gold, InputProof, Node, ResultProof
from contracts.job import TERMS_TYPES, Job, Terms
from contracts.signed_commit import SignedCommit

TERMS = f"({','.join(TERMS_TYPES)})"
JOB = f"(address,uint256,{TERMS})"
RESULT = "(bytes32,uint256,bytes32,bytes32[])"
INPUT = "(bytes,bytes32[])"
NODE = "(bytes32,uint256,uint256)"
GOLD = "(uint256,uint256,bytes,bytes32,bytes32[])"
SEATS = "(address,uint8)[]"
OPENINGS = "(address,uint8,bytes32)[]"
COMMITS = "(address,uint8,bytes32,bytes32,uint256[],uint256,bytes32,bytes32)[]"


class Tail(bytes):
    """An encoded value of a dynamic type: its place in the head is an offset."""


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


@cache
def address_word(address: str) -> bytes:
    return bytes(12) + to_canonical_address(address)


def pack(*parts: bytes) -> bytes:
    """A tuple's encoding: words stay in place, a Tail goes behind."""
    offset = sum(32 if isinstance(part, Tail) else len(part) for part in parts)
    heads, tails = [], []
    for part in parts:
        if isinstance(part, Tail):
            heads.append(word(offset))
            tails.append(part)
            offset += len(part)
        else:
            heads.append(part)
    return b"".join((*heads, *tails))


def blob(data: bytes) -> Tail:
    """bytes or string."""
    return Tail(word(len(data)) + data + bytes(-len(data) % 32))


def words(each: Sequence[bytes]) -> Tail:
    """An array of static values."""
    return Tail(word(len(each)) + b"".join(each))


def tails(each: Sequence[Tail]) -> Tail:
    """An array of dynamic values."""
    return Tail(word(len(each)) + pack(*each))


@lru_cache(maxsize=1_024)
def job_words(job: Job) -> bytes:
    """A job's 20 words."""
    return address_word(job.requester) + word(job.nonce) + terms_of(job.terms)


def result_of(result: ResultProof) -> Tail:
    return Tail(pack(result.root, word(result.index), result.leaf, words(result.siblings)))


def input_of(given: InputProof) -> Tail:
    return Tail(pack(blob(given.row), words(given.siblings)))


def gold_of(gold: Gold) -> Tail:
    head = (word(gold.position), word(gold.index), blob(gold.output), gold.salt, words(gold.siblings))
    return Tail(pack(*head))


def node_of(node: Node) -> bytes:
    return node.root + word(node.level) + word(node.index)


def seats_of(seats: Sequence[SeatRef]) -> Tail:
    return words([address_word(one.worker) + word(one.lane) for one in seats])


def openings_of(openings: Sequence[Opening]) -> Tail:
    return words([address_word(one.worker) + word(one.lane) + one.salt for one in openings])


def numbers_of(numbers: Iterable[int]) -> Tail:
    return words([word(number) for number in numbers])


def commits_of(commits: Sequence[SignedCommit]) -> Tail:
    each = []
    for one in commits:
        head = (address_word(one.worker), word(one.lane), one.commitment, one.sealed_root)
        each.append(Tail(pack(*head, numbers_of(one.tickets), word(one.deadline), one.r, one.vs)))
    return tails(each)


def calls_of(calls: Sequence[tuple[Any, Sequence[Any]]]) -> Tail:
    return tails([blob(encode(entry_point, *arguments)) for entry_point, arguments in calls])


def terms_of(terms: Terms) -> bytes:
    """A job's terms, 18 words."""
    return static(TERMS_TYPES, terms.as_tuple())


def static(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """Values of one word each."""
    return b"".join([word_of(kind, value) for kind, value in zip(types, values, strict=True)])


def word_of(kind: str, value: Any) -> bytes:
    """A value of this type in its word."""
    if kind == "address":
        return address_word(value)
    if kind.startswith("bytes"):
        return bytes(value).ljust(32, b"\0")
    return word(int(value))


def text_of(text: str) -> Tail:
    return blob(text.encode())


ENCODERS: dict[str, tuple[str, tuple[Callable[[Any], bytes], ...]]] = {
    "deposit": ("", ()),
    "unbond": ("uint256", (word,)),
    "withdraw": ("address", (address_word,)),
    "createJob": (f"uint256,{TERMS},string", (word, terms_of, text_of)),
    "draw": ("bytes32,bytes", (bytes, blob)),
    "commit": (f"{JOB},uint8,bytes32,bytes32,uint256[]", (job_words, word, bytes, bytes, numbers_of)),
    "commitFor": (f"{JOB},{COMMITS}", (job_words, commits_of)),
    "reveal": (f"{JOB},bytes32,{OPENINGS}", (job_words, bytes, openings_of)),
    "settle": (f"{JOB},bytes32,{SEATS}", (job_words, bytes, seats_of)),
    "release": (f"{JOB},bytes32,{SEATS}", (job_words, bytes, seats_of)),
    "deliver": (JOB, (job_words,)),
    "refute": (f"{JOB},{RESULT},{INPUT}", (job_words, result_of, input_of)),
    "demand": (f"{JOB},{NODE}", (job_words, node_of)),
    "answer": (f"{JOB},{NODE},bytes32[],bytes32[]", (job_words, node_of, words, words)),
    "answerLeaf": (f"{JOB},{RESULT},{INPUT}", (job_words, result_of, input_of)),
    "executeJob": (f"{JOB},bytes", (job_words, blob)),
    "extendChallenge": (f"{JOB},{RESULT},{INPUT}", (job_words, result_of, input_of)),
    "accuse": (f"{JOB},{GOLD},{RESULT}", (job_words, gold_of, result_of)),
    "judge": (f"{JOB},{GOLD},{RESULT},{INPUT}", (job_words, gold_of, result_of, input_of)),
    "releaseBounty": (f"{JOB},bytes32", (job_words, bytes)),
    "releaseBond": (f"{JOB},{NODE}", (job_words, node_of)),
    "multicall": ("bytes[]", (calls_of,)),
}


def camel_case(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


SELECTORS = {name: keccak(text=f"{name}({types})")[:4] for name, (types, _) in ENCODERS.items()}
NAMES = {entry_point: camel_case(entry_point.__name__) for entry_point in spec.ENTRY_POINTS}
"""Entry point of the specification → its name in the contracts."""


def encode(entry_point: Any, *arguments: Any) -> bytes:
    """What to send for this entry point. An argument that is left out is an empty list (settle's seats); further ones are
    circumstances, and not sent."""
    name = NAMES[entry_point]
    encoders = ENCODERS[name][1]
    given = (*arguments, ())[: len(encoders)]
    return SELECTORS[name] + pack(*(make(value) for make, value in zip(encoders, given, strict=True)))
