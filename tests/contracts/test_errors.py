"""Custom errors as exceptions: built from ABIs, readable, and safe on hostile data."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import abi, errors

HARNESS = abi.load(Path(__file__).parents[1] / "solidity" / "artifacts" / "RevertHarness.json")
WHO = "0xAb5801a7D398351b8bE11C439e05C5B3259aeC9B"


@pytest.fixture(autouse=True, scope="module")
def harness_errors() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(errors, "_by_selector", dict(errors._by_selector))
        patch.setattr(errors, "_by_name", {name: list(made) for name, made in errors._by_name.items()})
        errors.register(HARNESS.abi)
        yield


def selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


def error_abi(name: str, *types: str) -> dict[str, Any]:
    return {"type": "error", "name": name, "inputs": [{"name": f"x{i}", "type": t} for i, t in enumerate(types)]}


def test_a_decoded_error_is_of_its_own_class_with_named_values() -> None:
    error = errors.decode(selector("HarnessLate(uint64,uint64)") + encode(["uint64", "uint64"], [1700, 1701]))
    assert type(error) is errors.HarnessLate
    assert isinstance(error, errors.OracleRevert)
    assert isinstance(error, errors.Reverted)
    assert error.args == (1700, 1701)
    assert error.args_by_name == {"deadline": 1700, "now_": 1701}
    assert (error.name, error.signature) == ("HarnessLate", "HarnessLate(uint64,uint64)")
    assert error.selector == selector("HarnessLate(uint64,uint64)")
    assert str(error) == "HarnessLate(deadline=1700, now_=1701)"


def test_an_error_without_values_is_decoded() -> None:
    error = errors.decode(selector("HarnessPlain()"))
    assert type(error) is errors.HarnessPlain
    assert str(error) == "HarnessPlain()"


def test_addresses_are_checksummed_and_bytes_are_hex_in_messages() -> None:
    data = encode(["address", "bytes32", "bytes"], [WHO, b"\x11" * 32, b"\x01\x02"])
    error = errors.decode(selector("HarnessWho(address,bytes32,bytes)") + data)
    assert isinstance(error, errors.HarnessWho)
    assert error.args_by_name == {"who": WHO, "root": b"\x11" * 32, "tail": b"\x01\x02"}
    assert str(error) == f"HarnessWho(who={WHO}, root=0x{'11' * 32}, tail=0x0102)"


def test_structs_and_arrays_are_decoded() -> None:
    data = encode(["(uint64,uint64)", "uint256[]"], [(5, 9), [1, 2, 3]])
    error = errors.decode(selector("HarnessWindow((uint64,uint64),uint256[])") + data)
    assert isinstance(error, errors.HarnessWindow)
    assert error.args_by_name == {"window": (5, 9), "seats": (1, 2, 3)}
    assert str(error) == "HarnessWindow(window=[5, 9], seats=[1, 2, 3])"


def test_unnamed_values_are_named_by_position() -> None:
    error = errors.HarnessUnnamed(7, True)
    assert error.args_by_name == {"arg0": 7, "arg1": True}


def test_an_error_encodes_back_into_the_data_it_came_from() -> None:
    data = selector("HarnessLate(uint64,uint64)") + encode(["uint64", "uint64"], [1, 2])
    assert errors.decode(data).data == data


def test_an_error_crosses_between_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.HarnessLate(3, 4)))  # noqa: S301
    assert type(error) is errors.HarnessLate
    assert error.args == (3, 4)
    raw = pickle.loads(pickle.dumps(errors.RawRevert(b"\x01\x02\x03\x04")))  # noqa: S301
    assert raw.data == b"\x01\x02\x03\x04"


def test_a_wrong_number_of_values_is_refused() -> None:
    with pytest.raises(TypeError, match="takes 2 values, not 1"):
        errors.HarnessLate(1)


def test_an_unknown_name_points_at_near_ones() -> None:
    with pytest.raises(AttributeError, match="near it: HarnessLate"):
        _ = errors.HarnessLat
    with pytest.raises(AttributeError):
        _ = errors.__path__


def test_an_error_of_unknown_selector_is_raw() -> None:
    error = errors.decode(b"\xde\xad\xbe\xef" + b"\x00" * 32)
    assert isinstance(error, errors.RawRevert)
    assert not isinstance(error, errors.OracleRevert)
    assert error.data == b"\xde\xad\xbe\xef" + b"\x00" * 32
    assert "0xdeadbeef" in str(error)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "without a reason"),
        (b"\x01", "0x01"),
        (selector("Error(string)") + encode(["string"], ["too small"]), "'too small'"),
        (selector("Panic(uint256)") + encode(["uint256"], [0x12]), "division by zero"),
        (selector("Panic(uint256)") + encode(["uint256"], [0xFFFF]), "panic 0xffff"),
        (selector("Panic(uint256)"), "0x4e487b71"),
        (selector("Error(string)") + encode(["bytes"], [b"\xff\xfe"]), "0x08c379a0"),
    ],
)
def test_reverts_without_a_custom_error_are_explained(data: bytes, reason: str) -> None:
    error = errors.decode(data)
    assert isinstance(error, errors.RawRevert)
    assert reason in str(error)


def test_data_too_short_for_its_error_is_raw() -> None:
    error = errors.decode(selector("HarnessLate(uint64,uint64)") + b"\x00" * 63)
    assert isinstance(error, errors.RawRevert)


def test_a_value_beyond_its_type_is_raw() -> None:
    error = errors.decode(selector("HarnessLate(uint64,uint64)") + b"\xff" * 64)
    assert isinstance(error, errors.RawRevert)


def test_text_from_the_chain_cannot_write_to_the_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07\nfake log line\u202e"
    shown = str(errors.decode(selector("Error(string)") + encode(["string"], [hostile])))
    assert shown.isprintable()
    assert shown.isascii()


def test_a_huge_revert_makes_a_short_message() -> None:
    for data in (
        b"\xde\xad\xbe\xef" + b"\x01" * 1_000_000,
        selector("Error(string)") + encode(["string"], ["\x1b" * 1_000_000]),
        selector("HarnessWho(address,bytes32,bytes)")
        + encode(["address", "bytes32", "bytes"], [WHO, b"\x00" * 32, b"\x07" * 1_000_000]),
        selector("HarnessWindow((uint64,uint64),uint256[])")
        + encode(["(uint64,uint64)", "uint256[]"], [(1, 2), [2**255] * 20_000]),
    ):
        assert len(str(errors.decode(data))) < 5 * errors.LONGEST_TEXT


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_revert_data_breaks_the_decoder(data: st.DataObject) -> None:
    known = [made.selector for made in errors.every()] + [selector("Error(string)"), selector("Panic(uint256)")]
    head = data.draw(st.sampled_from(known) | st.binary(max_size=4))
    words = st.lists(st.integers(0, 160).map(lambda n: n.to_bytes(32, "big")) | st.binary(min_size=32, max_size=32))
    body = b"".join(data.draw(words)) + data.draw(st.binary(max_size=40))
    error = errors.decode(head + body)
    assert isinstance(error, errors.Reverted)
    assert str(error).isprintable()


def test_registering_again_changes_nothing() -> None:
    before = errors.every()
    errors.register(HARNESS.abi)
    assert errors.every() == before
    assert errors.HarnessPlain is errors.HarnessPlain


def test_two_errors_of_one_name_are_ambiguous_by_name_but_decoded_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_by_selector", dict(errors._by_selector))
    monkeypatch.setattr(errors, "_by_name", dict(errors._by_name))
    errors.register([error_abi("Twofold", "uint256"), error_abi("Twofold", "address")])
    with pytest.raises(AttributeError, match=r"ambiguous \(Twofold\(uint256\) and Twofold\(address\)\)"):
        _ = errors.Twofold
    found = errors.decode(selector("Twofold(uint256)") + encode(["uint256"], [5]))
    assert isinstance(found, errors.OracleRevert)
    assert found.signature == "Twofold(uint256)"


def test_two_errors_of_one_selector_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_by_selector", {})
    monkeypatch.setattr(errors, "_by_name", {})
    errors.register([error_abi("burn", "uint256")])
    with pytest.raises(errors.SelectorClash, match="0x42966c68"):
        errors.register([error_abi("collate_propagate_storage", "bytes16")])


def test_every_custom_error_of_the_packaged_contracts_has_its_class() -> None:
    signatures = {made.signature for made in errors.every()}
    for name in [*abi.names(), None]:
        contract = abi.artifact(name).abi if name else HARNESS.abi
        for entry in contract:
            if entry["type"] == "error":
                assert any(one.startswith(entry["name"] + "(") for one in signatures)
    for made in errors.every():
        assert made.selector == selector(made.signature)
        assert made.__module__ == "contracts.errors"


def test_an_unknown_artifact_lists_what_there_is() -> None:
    with pytest.raises(abi.UnknownArtifact, match="no artifact is named 'Nothing'"):
        abi.artifact("Nothing")


def test_a_file_that_is_no_artifact_is_named(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"contract": "C"}'):
        path = tmp_path / "broken.json"
        path.write_text(text)
        with pytest.raises(abi.MalformedArtifact, match=r"broken\.json"):
            abi.load(path)
