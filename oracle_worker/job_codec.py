"""Jobs and dispute actions as JSON: hex strings for bytes and addresses, decimal strings for integers.

What arrives was written by whoever can write to the broker, so reading is strict: every field, no other field, each in its
type's range. Nothing here is believed further than that: whether the job exists is read from the chain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from eth_typing import ChecksumAddress

from contracts import address
from contracts.disputes import Gold, InputProof, Node, ResultProof
from contracts.gas_budget import GAS_PER_BYTE
from contracts.job import TERMS_TYPES, Job, Terms, data_uri_hash
from contracts.transactor import TRANSACTION_GAS_CAP
from models.form import LONGEST_ROW
from oracle_worker.disputes import (
    Action,
    AdvanceExecution,
    BeginExecution,
    ExecuteJob,
    ExtendChallenge,
    GiveLeaf,
    GiveNodes,
    MakeDemand,
    MakeJudgement,
    MakeRefutation,
)
from oracle_worker.result import WorkerError

LONGEST_URI = 4096
MOST_ROWS_BYTES = TRANSACTION_GAS_CAP // GAS_PER_BYTE
"""Bytes of all rows of a job that one transaction can carry."""
MOST_HASHES = 64
"""Siblings and nodes of one action: a tree is at most 64 deep and a level gives at most 16 nodes."""

JOB_FIELDS = ("requester", "nonce", "terms")
PROOF_FIELDS = ("root", "index", "leaf", "siblings", "row", "row_siblings")

_HEX = re.compile(r"0x(?:[0-9a-f]{2})*")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")


class BadMessage(WorkerError):
    """A message that is not what its task takes; the text names the field."""


def job_to_json(job: Job, data_uri: str) -> dict[str, Any]:
    """The job and the URI that its JobCreated event gave."""
    return {**bare_job_to_json(job), "data_uri": data_uri}


def job_from_json(given: object) -> tuple[Job, str]:
    """(job, data URI). Raises BadMessage, also where the URI is not the one that the terms commit to."""
    body = fields_of(given, "job", (*JOB_FIELDS, "data_uri"))
    job = bare_job_from_json({name: body[name] for name in JOB_FIELDS})
    uri = body["data_uri"]
    if not isinstance(uri, str) or len(uri) > LONGEST_URI:
        raise BadMessage(f"data_uri must be text of at most {LONGEST_URI} characters")
    if _uri_digest(uri) != job.terms.data_uri_hash:
        raise BadMessage("data_uri does not hash to terms.data_uri_hash")
    return job, uri


def bare_job_to_json(job: Job) -> dict[str, Any]:
    """The job alone."""
    names = [field.name for field in fields(Terms)]
    terms = {name: to_text(value) for name, value in zip(names, job.terms.as_tuple(), strict=True)}
    return {"requester": job.requester, "nonce": str(job.nonce), "terms": terms}


def bare_job_from_json(given: object) -> Job:
    """The job alone. Raises BadMessage."""
    body = fields_of(given, "job", JOB_FIELDS)
    names = [field.name for field in fields(Terms)]
    texts = fields_of(body["terms"], "terms", names)
    terms = {name: _of_type(texts[name], kind, name) for name, kind in zip(names, TERMS_TYPES, strict=True)}
    return Job(
        address_of(body["requester"], "requester"),
        integer_of(body["nonce"], 256, "nonce"),
        Terms.of_tuple(list(terms.values())),
    )


def action_to_json(action: Action) -> dict[str, Any]:
    """A dispute action; "kind" says which."""
    match action:
        case MakeDemand(node):
            return {"kind": "demand", "node": _node_to_json(node)}
        case GiveNodes(node, nodes, siblings):
            texts = {"nodes": hashes_to_json(nodes), "siblings": hashes_to_json(siblings)}
            return {"kind": "answer", "node": _node_to_json(node), **texts}
        case GiveLeaf(result, given):
            return {"kind": "answer_leaf", **_proofs_to_json(result, given)}
        case MakeRefutation(result, given):
            return {"kind": "refute", **_proofs_to_json(result, given)}
        case ExecuteJob(rows):
            return {"kind": "execute_job", "rows": to_text(rows)}
        case MakeJudgement(gold, result, given):
            return {"kind": "judge", "gold": _gold_to_json(gold), **_proofs_to_json(result, given)}
        case ExtendChallenge(result, given):
            return {"kind": "extend_challenge", **_proofs_to_json(result, given)}
        case BeginExecution(row):
            return {"kind": "begin", "row": to_text(row)}
        case AdvanceExecution(row_hash, state, values):
            steps = {"row_hash": to_text(row_hash), "state": to_text(state), "values": str(values)}
            return {"kind": "advance", **steps}


def action_from_json(given: object) -> Action:
    """The dispute action. Raises BadMessage."""
    kind = given.get("kind") if isinstance(given, Mapping) else None
    if not isinstance(kind, str) or kind not in _READERS:
        raise BadMessage(f"kind must be one of {', '.join(_READERS)}")
    return _READERS[kind](given, kind)


def hash_of(given: object, name: str) -> bytes:
    """32 bytes of hex. Raises BadMessage."""
    return bytes_of(given, 32, name)


def count_of(given: object, name: str) -> int:
    """An integer of at most 64 bits, as its decimal string. Raises BadMessage."""
    return integer_of(given, 64, name)


def to_text(value: object) -> str:
    """Bytes as hex, everything else as it prints."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value)


def _node_to_json(node: Node) -> dict[str, str]:
    return {"root": to_text(node.root), "level": str(node.level), "index": str(node.index)}


def _proofs_to_json(result: ResultProof, given: InputProof) -> dict[str, Any]:
    return {
        "root": to_text(result.root),
        "index": str(result.index),
        "leaf": to_text(result.leaf),
        "siblings": hashes_to_json(result.siblings),
        "row": to_text(given.row),
        "row_siblings": hashes_to_json(given.siblings),
    }


def _gold_to_json(gold: Gold) -> dict[str, Any]:
    return {
        "position": str(gold.position),
        "index": str(gold.index),
        "output": to_text(gold.output),
        "salt": to_text(gold.salt),
        "siblings": hashes_to_json(gold.siblings),
    }


def hashes_to_json(hashes: Sequence[bytes]) -> list[str]:
    return [to_text(one) for one in hashes]


def _node(given: object) -> Node:
    body = fields_of(given, "node", ("root", "level", "index"))
    level, index = integer_of(body["level"], 8, "level"), integer_of(body["index"], 64, "index")
    return Node(bytes_of(body["root"], 32, "root"), level, index)


def _proofs(given: object, kind: str) -> tuple[ResultProof, InputProof]:
    return _proofs_of(fields_of(given, kind, ("kind", *PROOF_FIELDS)))


def _proofs_of(body: Mapping[str, Any]) -> tuple[ResultProof, InputProof]:
    result = ResultProof(
        bytes_of(body["root"], 32, "root"),
        integer_of(body["index"], 64, "index"),
        bytes_of(body["leaf"], 32, "leaf"),
        hashes_of(body["siblings"], "siblings"),
    )
    return result, InputProof(bytes_of(body["row"], None, "row"), hashes_of(body["row_siblings"], "row_siblings"))


def _demand(given: object, kind: str) -> Action:
    return MakeDemand(_node(fields_of(given, kind, ("kind", "node"))["node"]))


def _answer(given: object, kind: str) -> Action:
    body = fields_of(given, kind, ("kind", "node", "nodes", "siblings"))
    return GiveNodes(_node(body["node"]), hashes_of(body["nodes"], "nodes"), hashes_of(body["siblings"], "siblings"))


def _execute_job(given: object, kind: str) -> Action:
    body = fields_of(given, kind, ("kind", "rows"))
    return ExecuteJob(bytes_of(body["rows"], None, "rows", most=MOST_ROWS_BYTES))


def _judge(given: object, kind: str) -> Action:
    body = fields_of(given, kind, ("kind", "gold", *PROOF_FIELDS))
    return MakeJudgement(_gold(body["gold"]), *_proofs_of(body))


def _begin(given: object, kind: str) -> Action:
    return BeginExecution(bytes_of(fields_of(given, kind, ("kind", "row"))["row"], None, "row"))


def _advance(given: object, kind: str) -> Action:
    body = fields_of(given, kind, ("kind", "row_hash", "state", "values"))
    state = bytes_of(body["state"], None, "state", most=MOST_ROWS_BYTES)
    return AdvanceExecution(bytes_of(body["row_hash"], 32, "row_hash"), state, integer_of(body["values"], 32, "values"))


_READERS: dict[str, Callable[[object, str], Action]] = {
    "demand": _demand,
    "answer": _answer,
    "answer_leaf": lambda given, kind: GiveLeaf(*_proofs(given, kind)),
    "refute": lambda given, kind: MakeRefutation(*_proofs(given, kind)),
    "execute_job": _execute_job,
    "judge": _judge,
    "extend_challenge": lambda given, kind: ExtendChallenge(*_proofs(given, kind)),
    "begin": _begin,
    "advance": _advance,
}


def _gold(given: object) -> Gold:
    body = fields_of(given, "gold", ("position", "index", "output", "salt", "siblings"))
    return Gold(
        integer_of(body["position"], 32, "position"),
        integer_of(body["index"], 64, "index"),
        bytes_of(body["output"], None, "output"),
        bytes_of(body["salt"], 32, "salt"),
        hashes_of(body["siblings"], "siblings"),
    )


def fields_of(given: object, what: str, names: Sequence[str]) -> Mapping[str, Any]:
    """An object of exactly these fields. Raises BadMessage."""
    if not isinstance(given, Mapping) or set(given) != set(names):
        raise BadMessage(f"{what} must have exactly the fields {', '.join(names)}")
    return given


def _of_type(given: object, kind: str, name: str) -> Any:
    if kind == "bytes32":
        return bytes_of(given, 32, name)
    if kind == "address":
        return address_of(given, name)
    return integer_of(given, int(kind.removeprefix("uint")), name)


def bytes_of(given: object, length: int | None, name: str, most: int = LONGEST_ROW) -> bytes:
    """Bytes of a length, or of any up to `most`, from hex. Raises BadMessage."""
    most = most if length is None else length
    if not isinstance(given, str) or len(given) > 2 + 2 * most or not _HEX.fullmatch(given):
        raise BadMessage(f"{name} must be lower-case hex of at most {most} bytes, with 0x before it")
    value = bytes.fromhex(given[2:])
    if length is not None and len(value) != length:
        raise BadMessage(f"{name} must be {length} bytes, not {len(value)}")
    return value


def hashes_of(given: object, name: str) -> tuple[bytes, ...]:
    """A list of hashes. Raises BadMessage."""
    if not isinstance(given, list) or len(given) > MOST_HASHES:
        raise BadMessage(f"{name} must be a list of at most {MOST_HASHES} hashes")
    return tuple(bytes_of(one, 32, name) for one in given)


def integer_of(given: object, bits: int, name: str) -> int:
    """An integer of at most so many bits, from its decimal string. Raises BadMessage."""
    if not isinstance(given, str) or not _DECIMAL.fullmatch(given) or int(given) >> bits:
        raise BadMessage(f"{name} must be a decimal string below 2^{bits}")
    return int(given)


def address_of(given: object, name: str) -> ChecksumAddress:
    """An address. Raises BadMessage."""
    try:
        return address.parse(given)
    except address.BadAddress as error:
        raise BadMessage(f"{name} must be an address: {error}") from None


def _uri_digest(uri: str) -> bytes | None:
    try:
        return data_uri_hash(uri)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can carry and UTF-8 cannot
        return None
