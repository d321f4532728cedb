"""What arrives over a broker: strict JSON, and seals that only the operator's own processes can make."""

from __future__ import annotations

import copy
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_keys.backends.coincurve import CoinCurveECCBackend
from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.main import KeyAPI
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.job import NOBODY, TERMS_TYPES, Job, Terms, data_uri_hash
from oracle_worker import salt
from oracle_worker.job_codec import BadMessage, action_from_json, job_from_json, job_to_json
from oracle_worker.messages import BadSecret, Domain, ForgedMessage, Seal, load_secret
from oracle_worker.queues import COLLECT, DISPUTE
from oracle_worker.salt import NotOurs, SealedRoot

URI = "https://example.org/rows.bin"
TERMS = Terms(
    model_id=b"\1" * 32,
    data_root=b"\2" * 32,
    data_uri_hash=data_uri_hash(URI),
    item_count=178,
    seats=5,
    quorum=3,
    seat_stake=10**15,
    reward=10**18,
    commit_window=60,
    reveal_window=60,
    challenge_window=60,
    response_window=60,
)
JOB = Job(Account.from_key(b"\7" * 32).address, 2**255, TERMS)
DOMAIN = Domain(31337, Account.from_key(b"\x08" * 32).address)
SEAL = Seal(b"\x09" * 32, DOMAIN)
BODY = {"chunk": "0", "nested": {"list": ["a", {"b": "c"}]}, "text": "ü\u2028"}


def test_a_job_survives_its_way_through_json() -> None:
    sent = json.loads(json.dumps(job_to_json(JOB, URI)))
    assert job_from_json(sent) == (JOB, URI)


@pytest.mark.parametrize("name", [field.name for field in fields(Terms)])
def test_each_term_is_read_strictly(name: str) -> None:
    kind = dict(zip((field.name for field in fields(Terms)), TERMS_TYPES, strict=True))[name]
    wrong: list[Any] = [None, 1, "", "0x", "-1", "1.5", "1e3", " 1", "0x01", "٣", [], {}, True]
    wrong += (
        ["0x" + "0" * 62, "0x" + "0" * 66, "0x" + "G" * 64] if kind == "bytes32" else [str(2**256), "00", "9" * 5000]
    )
    for value in wrong:
        sent = job_to_json(JOB, URI)
        sent["terms"][name] = value
        with pytest.raises(BadMessage):
            job_from_json(sent)


def test_a_job_with_other_fields_or_another_uri_is_refused() -> None:
    good = job_to_json(JOB, URI)
    bad: list[Any] = [
        None,
        [],
        "job",
        {},
        {**good, "more": 1},
        {**good, "data_uri": URI + "x"},
        {**good, "data_uri": 5},
    ]
    bad += [{**good, "data_uri": "\ud800"}, {**good, "data_uri": "x" * 5000}, {**good, "requester": "0x12"}]
    bad += [{**good, "nonce": str(2**256)}, {**good, "terms": {}}, {k: v for k, v in good.items() if k != "nonce"}]
    for one in bad:
        with pytest.raises(BadMessage):
            job_from_json(one)


def test_malformed_actions_are_refused() -> None:
    root = "0x" + "11" * 32
    node = {"root": root, "level": "0", "index": "0"}
    answer = {"kind": "answer", "node": node, "nodes": [root], "siblings": []}
    leaf = {
        "kind": "answer_leaf",
        "root": root,
        "index": "0",
        "leaf": root,
        "siblings": [],
        "row": "0x",
        "row_siblings": [],
    }
    bad: Any
    value: Any
    for good in ({"kind": "demand", "node": node}, answer, leaf, {**leaf, "kind": "refute"}):
        action_from_json(good)
        for name in good:
            for value in (None, "0x1", [], {}, "demand ", ["0x"], [root] * 65):
                if not (value == [] and name in ("nodes", "siblings", "row_siblings")):
                    with pytest.raises(BadMessage):
                        action_from_json({**good, name: value})
    for bad in (None, [], "demand", {"kind": ["demand"]}, {"kind": "demand", "node": {**node, "level": "256"}}):
        with pytest.raises(BadMessage):
            action_from_json(bad)
    with pytest.raises(BadMessage, match="row"):
        action_from_json({**leaf, "row": "0x" + "00" * (96 * 1024 + 1)})


def test_a_sealed_message_is_opened_by_the_same_secret_only() -> None:
    message = json.loads(json.dumps(SEAL.close(COLLECT, BODY)))
    assert SEAL.open(COLLECT, message) == BODY
    others = [
        Seal(b"\x0a" * 32, DOMAIN),
        Seal(SEAL.secret, Domain(1, DOMAIN.oracle)),
        Seal(SEAL.secret, Domain(31337, NOBODY)),
    ]
    for other in others:
        with pytest.raises(ForgedMessage, match="secret"):
            other.open(COLLECT, message)
    with pytest.raises(ForgedMessage):
        SEAL.open(DISPUTE, message)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_change_to_a_message_is_noticed(data: st.DataObject) -> None:
    message = SEAL.close(COLLECT, BODY)
    changed = copy.deepcopy(message)
    where = data.draw(st.sampled_from(["mac", "chunk", "nested", "text", "extra", "missing"]))
    if where == "mac":
        place = data.draw(st.integers(0, 63))
        digits = list(changed["mac"])
        digits[place] = data.draw(st.sampled_from([d for d in "0123456789abcdefA" if d != digits[place]]))
        changed["mac"] = "".join(digits)
    elif where == "extra":
        changed["body"][data.draw(st.text(min_size=1))] = data.draw(st.one_of(st.none(), st.integers(), st.text()))
    elif where == "missing":
        del changed["body"][data.draw(st.sampled_from(sorted(BODY)))]
    else:
        changed["body"][where] = data.draw(st.one_of(st.none(), st.integers(), st.floats(), st.text(min_size=8)))
    with pytest.raises(ForgedMessage):
        SEAL.open(COLLECT, changed)


def test_what_is_no_message_at_all_is_refused() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    good = SEAL.close(COLLECT, BODY)
    bad: list[Any] = [
        None,
        1,
        "x",
        [],
        {},
        {"body": BODY},
        {**good, "mac": 7},
        {**good, "body": []},
        {**good, "mac": "\ud800"},
    ]
    bad += [{**good, "body": {"a": float("nan")}}, {**good, "body": {"a": "x" * (2 << 20)}}, {**good, "body": deep}]
    for one in bad:
        with pytest.raises(ForgedMessage):
            SEAL.open(COLLECT, one)


def test_a_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "message.secret"
    secret = load_secret(path)
    assert len(secret) == 32
    assert load_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["message.secret"]
    path.chmod(0o640)
    with pytest.raises(BadSecret, match="chmod 600"):
        load_secret(path)
    path.chmod(0o600)
    for text in ("", "abc", "zz" * 32, "11" * 31, "\xff"):
        path.write_text(text, "latin-1")
        with pytest.raises(BadSecret):
            load_secret(path)


def test_a_seal_does_not_show_its_secret() -> None:
    assert SEAL.secret.hex() not in repr(SEAL)
    assert str(SEAL.secret) not in repr(SEAL)


def test_a_commitment_is_opened_with_key_and_chain_alone() -> None:
    account = Account.from_key(b"\x0b" * 32)
    secret = salt.secret_of(account, 31337, DOMAIN.oracle)
    job_id, root = keccak(b"job"), keccak(b"root")
    sealed = salt.seal(secret, job_id, account.address, root)
    again = salt.secret_of(Account.from_key(b"\x0b" * 32), 31337, DOMAIN.oracle)
    opening = salt.open_(again, job_id, account.address, sealed)
    assert (opening.root, opening.salt) == (root, keccak(secret + job_id + root))
    assert root not in (sealed.sealed_root, sealed.commitment)
    changed = bytes([sealed.sealed_root[0] ^ 1]) + sealed.sealed_root[1:]
    for wrong in (
        (keccak(b"x"), job_id, account.address, sealed),
        (secret, keccak(b"other"), account.address, sealed),
        (secret, job_id, NOBODY, sealed),
        (secret, job_id, account.address, SealedRoot(sealed.commitment, changed)),
        (secret, job_id, account.address, SealedRoot(keccak(b"other"), sealed.sealed_root)),
    ):
        with pytest.raises(NotOurs):
            salt.open_(*wrong)


def test_secrets_of_other_chains_oracles_and_keys_differ() -> None:
    one, two = Account.from_key(b"\x0b" * 32), Account.from_key(b"\x0c" * 32)
    secrets = {
        salt.secret_of(one, 1, DOMAIN.oracle),
        salt.secret_of(one, 2, DOMAIN.oracle),
        salt.secret_of(one, 1, one.address),
        salt.secret_of(two, 1, DOMAIN.oracle),
    }
    assert len(secrets) == 4


def test_the_signature_behind_a_secret_is_the_same_from_every_signing_library() -> None:
    digest = keccak(b"message")
    fast, slow = KeyAPI(CoinCurveECCBackend()), KeyAPI(NativeECCBackend())
    for number in range(1, 8):
        key = keccak(bytes([number]))
        signed = [api.ecdsa_sign(digest, api.PrivateKey(key)).to_bytes() for api in (fast, slow)]
        assert signed[0] == signed[1]
