"""Jobs and dispute actions as JSON: hex strings for bytes and addresses, decimal strings for integers.

What arrives was written by whoever can write to the broker, so reading is strict: every field, no other field, each in its
type's range. Nothing here is believed further than that: whether the job exists is read from the chain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from eth_typing import ChecksumAddress

from contracts import address
from contracts.disputes import InputProof, Node, ResultProof
from contracts.job import TERMS_TYPES, Job, Terms, data_uri_hash
from models.form import LONGEST_ROW
from oracle_worker.disputes import Action, GiveLeaf, GiveNodes, MakeDemand, MakeRefutation
from oracle_worker.result import WorkerError

LONGEST_URI = 4096
MOST_HASHES = 64
"""Siblings and nodes of one action: a tree is at most 64 deep and a level gives at most 16 nodes."""

_HEX = re.compile(r"0x(?:[0-9a-f]{2})*")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")


class BadMessage(WorkerError):
    """A message that is not what its task takes; the text names the field."""


def job_to_json(job: Job, data_uri: str) -> dict[str, Any]:
    """The job and the URI that its JobCreated event gave."""
    names = [field.name for field in fields(Terms)]
    values = job.terms.as_tuple()
    terms = {name: _to_text(value) for name, value in zip(names, values, strict=True)}
    return {"requester": job.requester, "nonce": str(job.nonce), "terms": terms, "data_uri": data_uri}


def job_from_json(given: object) -> tuple[Job, str]:
    """(job, data URI). Raises BadMessage, also where the URI is not the one that the terms commit to."""
    body = _fields(given, "job", ("requester", "nonce", "terms", "data_uri"))
    names = [field.name for field in fields(Terms)]
    texts = _fields(body["terms"], "terms", names)
    terms = Terms(*(_of_type(texts[name], kind, name) for name, kind in zip(names, TERMS_TYPES, strict=True)))
    uri = body["data_uri"]
    if not isinstance(uri, str) or len(uri) > LONGEST_URI:
        raise BadMessage(f"data_uri must be text of at most {LONGEST_URI} characters")
    if _uri_digest(uri) != terms.data_uri_hash:
        raise BadMessage("data_uri does not hash to terms.data_uri_hash")
    return Job(_address(body["requester"], "requester"), _integer(body["nonce"], 256, "nonce"), terms), uri


def action_to_json(action: Action) -> dict[str, Any]:
    """A dispute action; "kind" is demand, answer, answer_leaf or refute."""
    match action:
        case MakeDemand(node):
            return {"kind": "demand", "node": _node_to_json(node)}
        case GiveNodes(node, nodes, siblings):
            texts = {"nodes": _hashes_to_json(nodes), "siblings": _hashes_to_json(siblings)}
            return {"kind": "answer", "node": _node_to_json(node), **texts}
        case GiveLeaf(result, given):
            return {"kind": "answer_leaf", **_proofs_to_json(result, given)}
        case MakeRefutation(result, given):
            return {"kind": "refute", **_proofs_to_json(result, given)}


def action_from_json(given: object) -> Action:
    """The dispute action. Raises BadMessage."""
    kind = given.get("kind") if isinstance(given, Mapping) else None
    if kind == "demand":
        return MakeDemand(_node(_fields(given, kind, ("kind", "node"))["node"]))
    if kind == "answer":
        body = _fields(given, kind, ("kind", "node", "nodes", "siblings"))
        return GiveNodes(_node(body["node"]), _hashes(body["nodes"], "nodes"), _hashes(body["siblings"], "siblings"))
    if kind == "answer_leaf":
        return GiveLeaf(*_proofs(given, kind))
    if kind == "refute":
        return MakeRefutation(*_proofs(given, kind))
    raise BadMessage("kind must be demand, answer, answer_leaf or refute")


def hash_of(given: object, name: str) -> bytes:
    """32 bytes of hex. Raises BadMessage."""
    return _bytes(given, 32, name)


def count_of(given: object, name: str) -> int:
    """An integer of at most 64 bits, as its decimal string. Raises BadMessage."""
    return _integer(given, 64, name)


def _to_text(value: object) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value)


def _node_to_json(node: Node) -> dict[str, str]:
    return {"root": _to_text(node.root), "level": str(node.level), "index": str(node.index)}


def _proofs_to_json(result: ResultProof, given: InputProof) -> dict[str, Any]:
    return {
        "root": _to_text(result.root),
        "index": str(result.index),
        "leaf": _to_text(result.leaf),
        "siblings": _hashes_to_json(result.siblings),
        "row": _to_text(given.row),
        "row_siblings": _hashes_to_json(given.siblings),
    }


def _hashes_to_json(hashes: Sequence[bytes]) -> list[str]:
    return [_to_text(one) for one in hashes]


def _node(given: object) -> Node:
    body = _fields(given, "node", ("root", "level", "index"))
    level, index = _integer(body["level"], 8, "level"), _integer(body["index"], 64, "index")
    return Node(_bytes(body["root"], 32, "root"), level, index)


def _proofs(given: object, kind: str) -> tuple[ResultProof, InputProof]:
    body = _fields(given, kind, ("kind", "root", "index", "leaf", "siblings", "row", "row_siblings"))
    result = ResultProof(
        _bytes(body["root"], 32, "root"),
        _integer(body["index"], 64, "index"),
        _bytes(body["leaf"], 32, "leaf"),
        _hashes(body["siblings"], "siblings"),
    )
    return result, InputProof(_bytes(body["row"], None, "row"), _hashes(body["row_siblings"], "row_siblings"))


def _fields(given: object, what: str, names: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or set(given) != set(names):
        raise BadMessage(f"{what} must have exactly the fields {', '.join(names)}")
    return given


def _of_type(given: object, kind: str, name: str) -> Any:
    if kind == "bytes32":
        return _bytes(given, 32, name)
    if kind == "address":
        return _address(given, name)
    return _integer(given, int(kind.removeprefix("uint")), name)


def _bytes(given: object, length: int | None, name: str) -> bytes:
    most = LONGEST_ROW if length is None else length
    if not isinstance(given, str) or len(given) > 2 + 2 * most or not _HEX.fullmatch(given):
        raise BadMessage(f"{name} must be lower-case hex of at most {most} bytes, with 0x before it")
    value = bytes.fromhex(given[2:])
    if length is not None and len(value) != length:
        raise BadMessage(f"{name} must be {length} bytes, not {len(value)}")
    return value


def _hashes(given: object, name: str) -> tuple[bytes, ...]:
    if not isinstance(given, list) or len(given) > MOST_HASHES:
        raise BadMessage(f"{name} must be a list of at most {MOST_HASHES} hashes")
    return tuple(_bytes(one, 32, name) for one in given)


def _integer(given: object, bits: int, name: str) -> int:
    if not isinstance(given, str) or not _DECIMAL.fullmatch(given) or int(given) >> bits:
        raise BadMessage(f"{name} must be a decimal string below 2^{bits}")
    return int(given)


def _address(given: object, name: str) -> ChecksumAddress:
    try:
        return address.parse(given)
    except address.BadAddress as error:
        raise BadMessage(f"{name} must be an address: {error}") from None


def _uri_digest(uri: str) -> bytes | None:
    try:
        return data_uri_hash(uri)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can carry and UTF-8 cannot
        return None
