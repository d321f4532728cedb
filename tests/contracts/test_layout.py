"""The shape of what is deployed: two halves on one storage, no code but theirs on it, and nobody with a privilege."""

from __future__ import annotations

import re

import pytest
from eth_utils.abi import abi_to_signature, function_signature_to_4byte_selector

from contracts.compiler import ARTIFACTS, SOURCES
from tests.contracts.chain import load
from tests.contracts.world import NewWorld, World

CODE_LIMIT = 24_576
ALL = sorted(path.stem for path in ARTIFACTS.glob("*.json"))
STAKE = {"deposit", "unbond", "withdraw"}
JOB = {"createJob", "draw", "commit", "commitFor", "reveal", "settle", "release", "deliver"}
CHALLENGES = {"refute", "demand", "answer", "answerLeaf", "executeJob", "extendChallenge", "accuse", "judge"}
WRITES = {
    "ComputeOracle": STAKE | JOB | {"multicall"},
    "Disputes": CHALLENGES | {"releaseBounty", "releaseBond"},
    "ModelRegistry": {"storeChunk", "register", "announceUri", "begin", "advance"},
    "PrevrandaoSeed": set(),
    "TokenJobs": {"createJob", "allot", "claim", "close", "withdraw"},
    "StandingOrders": {"create"},
    "StandingOrder": {"announce", "trigger", "collect", "cancel", "withdraw"},
}
PRIVILEGE = re.compile(
    "owner|admin|guardian|govern|role|pause|upgrade|implementation|initiali[sz]e|proxy|^set[A-Z]|^transfer"
)
CALLCODE, DELEGATECALL, SELFDESTRUCT = 0xF2, 0xF4, 0xFF


def functions(name: str) -> list[dict[str, object]]:
    return [entry for entry in load(name)["abi"] if entry["type"] == "function"]


def selectors(name: str) -> list[bytes]:
    return [function_signature_to_4byte_selector(abi_to_signature(entry)) for entry in functions(name)]  # type: ignore[arg-type]


def opcodes(code: bytes) -> list[int]:
    """The instructions, without what PUSH carries. Whatever follows the code is read as code too: only more is found."""
    found, at = [], 0
    while at < len(code):
        found.append(code[at])
        at += 1 + (code[at] - 0x5F if 0x60 <= code[at] <= 0x7F else 0)
    return found


def runtime(world: World, address: str) -> bytes:
    code = world.chain.evm.get_code(address)
    assert code is not None
    return bytes(code)


def test_no_function_of_the_disputes_is_hidden_behind_one_of_the_oracle() -> None:
    oracle, disputes = selectors("ComputeOracle"), selectors("Disputes")
    assert len(set(oracle)) == len(oracle) and len(set(disputes)) == len(disputes)
    assert not set(oracle) & set(disputes)


def test_both_halves_see_the_same_storage_and_nothing_besides() -> None:
    shared = load("OracleStorage")["storage"]
    assert [line.split("+")[0] for line in shared] == [str(slot) for slot in range(13)]
    assert load("ComputeOracle")["storage"] == shared == load("Disputes")["storage"]


def test_every_contract_fits_a_contracts_code_limit() -> None:
    sizes = {name: load(name)["deployed_bytes"] for name in ALL}
    assert {name for name, size in sizes.items() if size > CODE_LIMIT} == set()
    assert sizes["ComputeOracle"] > 10_000 < sizes["Disputes"]  # they were measured


def test_the_only_foreign_code_is_the_disputes_and_no_contract_can_vanish(new_world: NewWorld) -> None:
    world = new_world(seed_source="PrevrandaoSeed")
    addresses = (world.oracle.address, world.disputes.address, world.registry.address, world.seed_source.address)
    found = [opcodes(runtime(world, address)) for address in addresses]
    assert all(len(each) > 100 for each in found)
    assert [each.count(DELEGATECALL) for each in found] == [2, 0, 0, 0]  # to the disputes, and to itself
    assert [each.count(CALLCODE) + each.count(SELFDESTRUCT) for each in found] == [0, 0, 0, 0]


def test_the_sources_delegate_in_the_fallback_to_the_disputes_and_in_multicall_to_themselves() -> None:
    texts = {path.name: path.read_text() for path in SOURCES.rglob("*.sol")}
    assert {name: text.count("delegatecall") for name, text in texts.items() if "delegatecall" in text} == {
        "ComputeOracle.sol": 2
    }
    for signature, call in (
        ("fallback(bytes calldata input)", "DISPUTES.delegatecall(input)"),
        ("function multicall(bytes[] calldata calls) external {", "address(this).delegatecall(calls[i])"),
    ):
        body = texts["ComputeOracle.sol"].partition(signature)[2].partition("\n    }\n")[0]
        assert call in body
    assert "address private immutable DISPUTES;" in texts["ComputeOracle.sol"]


@pytest.mark.parametrize("name", WRITES)
def test_nothing_can_be_done_but_what_the_protocol_names(name: str) -> None:
    writes = {entry["name"] for entry in functions(name) if entry["stateMutability"] not in ("view", "pure")}
    assert writes == WRITES[name]


@pytest.mark.parametrize("name", ALL)
def test_nobody_has_a_privilege(name: str) -> None:
    names = [str(entry["name"]) for entry in functions(name)]
    assert [each for each in names if PRIVILEGE.search(each)] == []


def test_no_guard_asks_who_the_caller_is_but_an_order_its_owner_and_feeder() -> None:
    texts = {path.name: path.read_text() for path in SOURCES.rglob("*.sol")}
    asking = [
        name for name, text in texts.items() if re.search(r"msg\.sender\s*[!=]=|[!=]=\s*msg\.sender|tx\.origin", text)
    ]
    assert asking == ["StandingOrder.sol"]  # a contract of their own, with no money but theirs
