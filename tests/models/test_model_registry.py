"""ModelRegistry against whoever would register nonsense, bombs, or code that changes afterwards."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from eth_abi import decode
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrevm import EVM

from models.interpreter import run
from models.program import HEADER, PREAMBLE, compile_network, model_id
from models.program_reader import BadProgram, decompile
from models.weight_blocks import weights_length
from tests.models.random_graphs import OPERATORS, STYLES, random_graph
from tests.models.registry import (
    CALLER,
    CHUNK,
    EXECUTION_GAS_LIMIT,
    PLENTY,
    Deployed,
    ReceiptChain,
    Registry,
    Reverted,
    constant_network,
    creation_code,
    reverts,
)
from tests.models.test_program import BAD_PROGRAMS, PROGRAM, str_only

TRANSACTION_GAS_CAP = 16_777_216
WINE_SHAPE = compile_network(constant_network([13, 32, 16, 3]))
LARGE = compile_network(constant_network([500, 115, 2]))  # three chunks


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="module")
def harness() -> Deployed:
    return Deployed("IntegerNetworkHarness")


def pieces_of(program: bytes) -> list[bytes]:
    return [program[start : start + CHUNK] for start in range(0, len(program), CHUNK)]


# --- deployment ---


def test_a_limit_that_leaves_no_room_for_a_refutation_is_refused() -> None:
    Registry(10_000_000)
    with pytest.raises(Reverted) as caught:
        Registry(10_000_001)
    assert (caught.value.error, caught.value.arguments) == ("ExecutionGasLimitTooHigh", (10_000_001, 10_000_000))


# --- what registration does ---


def test_a_registered_model_is_known_by_its_sha256_and_by_what_it_is(registry: Registry) -> None:
    model = registry.register(WINE_SHAPE)
    event = registry.logs()[-1]
    assert model == hashlib.sha256(WINE_SHAPE).digest()
    row_length, output_length, execution_gas, program_length, stepwise = registry.call("model", model)
    assert (row_length, output_length, program_length, stepwise) == (13, 3, len(WINE_SHAPE), False)
    assert event[0] == [
        keccak(text="ModelRegistered(bytes32,address,uint256,uint256,uint256)"),
        model,
        bytes(12) + bytes.fromhex(CALLER[2:]),
    ]
    assert decode(["uint256"] * 3, event[1]) == (13, 3, execution_gas)


def test_the_program_lies_in_code_that_begins_with_stop(registry: Registry) -> None:
    chunks = registry.call("programChunks", registry.register(LARGE))
    pieces = pieces_of(LARGE)
    assert len(chunks) == len(pieces) == 3
    for chunk, piece in zip(chunks, pieces, strict=True):
        assert chunk == chunk_address(registry.address, piece)
        assert code_at(registry, chunk, 1 + len(piece)) == b"\x00" + piece


def test_measured_gas_is_what_a_call_takes_and_independent_of_who_registers(registry: Registry) -> None:
    model = registry.register(WINE_SHAPE)
    recorded = registry.call("model", model)[2]
    assert recorded == registry.call("measure", model) + 2_500 + 4_500
    assert Registry().register(WINE_SHAPE) == model


def test_registering_twice_is_refused_by_name(registry: Registry) -> None:
    model = registry.register(WINE_SHAPE)
    assert reverts(registry, "ModelExists", "register", [], WINE_SHAPE) == (model,)


def test_the_last_chunk_may_have_been_stored_before(registry: Registry) -> None:
    for piece in pieces_of(LARGE):
        registry.call("storeChunk", piece)
    model = registry.register(LARGE)
    assert registry.call("execute", model, bytes(500)) == bytes(8)


def test_storing_a_chunk_again_changes_nothing(registry: Registry) -> None:
    first = registry.call("storeChunk", b"piece")
    assert [log[0][1] for log in registry.logs()] == [first]
    assert registry.call("storeChunk", b"piece") == first
    assert registry.logs() == []


def test_a_uri_can_be_announced_for_a_registered_model_only(registry: Registry) -> None:
    model = registry.register(WINE_SHAPE)
    registry.call("announceUri", model, "ipfs://wine")
    topics, data = registry.logs()[-1]
    assert topics[:2] == [keccak(text="UriAnnounced(bytes32,address,string)"), model]
    assert decode(["string"], data) == ("ipfs://wine",)
    assert reverts(registry, "UnknownModel", "announceUri", bytes(32), "ipfs://none") == (bytes(32),)


def test_the_largest_program_registers_within_one_transactions_gas(registry: Registry) -> None:
    network = constant_network([1000, 985, 10])
    program = compile_network(network)
    pieces = pieces_of(program)
    assert len(pieces) == 36
    ids = [registry.call("storeChunk", piece) for piece in pieces]
    model = registry.call("register", ids[:-1], pieces[-1], gas=TRANSACTION_GAS_CAP)
    row = np.arange(1000).astype(np.uint8)[None]
    assert registry.execute(model, row[0]) == run(network, row)[0].astype(">i4").tobytes()


# --- what it refuses ---


@pytest.mark.parametrize("length", [0, CHUNK + 1])
def test_a_chunk_of_no_bytes_or_too_many_is_refused(registry: Registry, length: int) -> None:
    assert reverts(registry, "ChunkLengthOutOfRange", "storeChunk", bytes(length)) == (length, CHUNK)


def test_a_last_piece_longer_than_a_chunk_is_refused(registry: Registry) -> None:
    program = compile_network(constant_network([300, 100]))
    assert reverts(registry, "ChunkLengthOutOfRange", "register", [], program) == (len(program), CHUNK)


def test_a_chunk_that_was_never_stored_is_refused(registry: Registry) -> None:
    assert reverts(registry, "UnknownChunk", "register", [b"\x07" * 32], b"x") == (b"\x07" * 32,)


def test_a_chunk_stored_in_another_registry_is_unknown_here(registry: Registry) -> None:
    pieces = pieces_of(LARGE)
    elsewhere = Deployed("ModelRegistry", EXECUTION_GAS_LIMIT, evm=registry.evm)
    ids = [elsewhere.call("storeChunk", piece) for piece in pieces[:-1]]
    assert reverts(registry, "UnknownChunk", "register", ids, pieces[-1]) == (ids[0],)


def test_only_the_last_chunk_may_be_short(registry: Registry) -> None:
    full, short = registry.call("storeChunk", LARGE[:CHUNK]), registry.call("storeChunk", LARGE[CHUNK : CHUNK + 9])
    assert reverts(registry, "ChunkNotFull", "register", [full, short], LARGE[CHUNK + 9 : 2 * CHUNK]) == (1, 9)


def test_more_chunks_than_a_transaction_can_work_through_are_refused(registry: Registry) -> None:
    assert reverts(registry, "TooManyChunks", "register", [bytes(32)] * 36, b"x") == (37, 36)


def test_a_model_that_takes_more_gas_than_the_limit_is_stepwise_and_its_gas_unknown() -> None:
    registry = Registry(20_000)
    model = registry.register(WINE_SHAPE)
    assert decode(["uint256"] * 3, registry.logs()[-1][1]) == (13, 3, 0)
    assert registry.call("model", model) == (13, 3, 0, len(WINE_SHAPE), True)
    assert registry.call("measure", model) == 0


def test_too_little_gas_to_measure_is_told_apart_from_a_stepwise_model(registry: Registry) -> None:
    registry.call("storeChunk", WINE_SHAPE)
    found = set()
    for gas in range(100_000, 200_000, 2_000):
        try:
            registry.call("register", [], WINE_SHAPE, gas=gas)
        except Reverted as failure:
            found.add(failure.error)
        else:
            break
    assert "NotEnoughGasToMeasure" in found
    assert registry.call("model", model_id(WINE_SHAPE))[4] is False


def test_a_chunk_that_runs_out_of_gas_is_refused_by_name(registry: Registry) -> None:
    assert reverts(registry, "ChunkNotWritten", "storeChunk", b"\x01" * CHUNK, gas=5_000_000) == (CHUNK,)


@pytest.mark.parametrize(("program", "error"), [each[::2] for each in BAD_PROGRAMS], ids=str_only)
def test_a_malformed_program_is_refused_by_name_and_not_registered(
    registry: Registry, program: bytes, error: str
) -> None:
    reverts(registry, error, "register", [], program)
    assert reverts(registry, "UnknownModel", "execute", model_id(program), bytes(3)) == (model_id(program),)


@pytest.mark.parametrize("length", range(1, len(PROGRAM)))
def test_a_truncated_program_is_refused_wherever_it_ends(harness: Deployed, length: int) -> None:
    assert reverts(harness, "ProgramTooShort", "validate", PROGRAM[:length])[0] == length


@settings(max_examples=1_500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3))
def test_the_chain_accepts_exactly_what_decompiles(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(NINETY_BYTES)
    for position, change in changes:
        changed[position % len(changed)] ^= change
    assert is_valid(bytes(changed)) == decompiles(bytes(changed))


GRAPHS = [
    compile_network(random_graph(seed, STYLES[seed % 5], [*np.random.default_rng(seed).permutation(OPERATORS)[:5]]))
    for seed in range(60)
]


@settings(max_examples=1_500, deadline=None)
@given(
    st.sampled_from([each for each in GRAPHS if len(each) < 2_000]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=2),
    st.booleans(),
)
def test_chain_and_decompiler_refuse_changed_programs_of_every_operator_for_the_same_reason(
    program: bytes, changes: list[tuple[float, int]], at_the_start: bool
) -> None:
    """Half of the changes are to what precedes the first weights, where structure is denser."""
    changed = bytearray(program)
    for position, value in changes:
        changed[int(position * (min(len(program), 90 if at_the_start else 1 << 30) - 1))] = value
    assert_judged_alike(bytes(changed))


@pytest.mark.parametrize("seed", [1, 7, 23])
def test_every_byte_of_the_first_layers_set_to_every_hazard_is_judged_alike(seed: int) -> None:
    program = GRAPHS[seed]
    for position in range(min(len(program), 120)):
        for value in (0, 1, 2, 3, 6, 11, 12, 127, 128, 129, 255):
            changed = bytearray(program)
            changed[position] = value
            assert_judged_alike(bytes(changed))


def assert_judged_alike(program: bytes) -> None:
    """Accepted by both, and then executed alike, or refused by both for one reason."""
    try:
        network = decompile(program)
    except BadProgram as refusal:
        with pytest.raises(Reverted) as caught:
            HARNESS.call("validate", program)
        assert caught.value.error == refusal.reason, str(refusal)
        return
    assert HARNESS.call("validate", program) == (network.row_length, network.output_length)
    assert compile_network(network) == program
    row = np.random.default_rng(0).integers(0, 256, (1, network.row_length)).astype(np.uint8)
    chunk = HARNESS.evm.deploy(CALLER, creation_code(b"\x00" + program))
    assert HARNESS.call("run", [chunk], len(program), row.tobytes()) == run(network, row)[0].astype(">i4").tobytes()


@pytest.mark.parametrize("position", [0, 1, 33, 34, 35, 67, 68, 69])
def test_every_digit_of_a_weight_is_judged_alike_by_chain_and_decompiler(position: int) -> None:
    """70 weights: two whole blocks and a rest, with the digit in each part and at each edge."""
    program = compile_network(constant_network([70, 2]))
    start, length = block_at(position)
    for digit in range(128):
        block = int.from_bytes(program[start : start + length], "big")
        shift = 7 * (position % 34)
        block = block & ~(127 << shift) | digit << shift
        changed = program[:start] + block.to_bytes(length, "big") + program[start + length :]
        assert is_valid(changed) == decompiles(changed) == (digit >= 1)


@pytest.mark.parametrize("inputs", [1, 2, 7, 8, 33, 34, 35, 70])
def test_a_bit_that_belongs_to_no_digit_is_refused(inputs: int) -> None:
    program = compile_network(constant_network([inputs, 2]))
    for position in range(0, inputs, 34):
        start, length = block_at(position, inputs)
        for bit in range(7 * min(34, inputs - position), 8 * length):
            changed = bytearray(program)
            changed[start + length - 1 - bit // 8] ^= 1 << bit % 8
            assert not is_valid(bytes(changed)) and not decompiles(bytes(changed))


def block_at(position: int, inputs: int = 70) -> tuple[int, int]:
    """(start, bytes) of the first channel's block that has this input."""
    start = HEADER.size + 10 + PREAMBLE
    lengths = [weights_length(min(34, inputs - first)) for first in range(0, inputs, 34)]
    return start + sum(lengths[position // 34 + 1 :]), lengths[position // 34]


def test_the_bound_on_a_channels_sum_is_exact_on_chain(harness: Deployed) -> None:
    for inputs in (1, 31, 32, 33, 1000):
        room = (1 << 24) - 1 - 255 * 63 * inputs
        for weight, bias in ((63, room), (-63, room), (63, -room), (-63, -room)):
            program = compile_network(constant_network([inputs, 1], weight=weight, bias=bias))
            assert harness.call("validate", program) == (inputs, 1)
            over = bytearray(program)
            over[28:32] = (bias + (1 if bias > 0 else -1)).to_bytes(4, "big", signed=True)
            assert reverts(harness, "SumOutOfRange", "validate", bytes(over)) == (0, 0, 1 << 24)


# --- execution ---


def test_an_unknown_model_is_refused_everywhere(registry: Registry) -> None:
    for name, arguments in (("execute", (b"",)), ("model", ()), ("programChunks", ()), ("measure", ())):
        assert reverts(registry, "UnknownModel", name, b"\x01" * 32, *arguments) == (b"\x01" * 32,)


@pytest.mark.parametrize("length", [0, 12, 14, 98_304])
def test_a_row_of_another_length_is_refused(registry: Registry, length: int) -> None:
    model = registry.register(WINE_SHAPE)
    assert reverts(registry, "WrongRowLength", "execute", model, bytes(length)) == (length, 13)


def test_code_behind_stop_never_runs_so_a_chunk_cannot_destroy_itself() -> None:
    """The piece is PUSH0 SELFDESTRUCT, called in the transaction that creates it."""
    chain = ReceiptChain()
    attacker = chain.deploy("ChunkAttacker")
    abi = Deployed("ChunkAttacker")
    piece = bytes.fromhex("5fff")
    chunk = chunk_address(chain.registry, piece)
    chain.send(attacker, abi.calldata("attack", chain.registry, piece, chunk, creation_code(piece)))
    unprotected = "0x" + chain.read(attacker, abi.calldata("unprotected"))[12:].hex()
    assert chain.code_at(unprotected) == b""
    assert chain.code_at(chunk) == b"\x00" + piece


def chunk_address(registry: str, piece: bytes) -> str:
    chunk_id = keccak(creation_code(b"\x00" + piece))
    return "0x" + keccak(b"\xff" + bytes.fromhex(registry[2:]) + bytes(32) + chunk_id)[12:].hex()


def code_at(registry: Registry, address: str, length: int) -> bytes:
    """The first `length` bytes, since this EVM pads code with zeros."""
    return bytes(registry.evm.get_code(address) or b"")[:length]


NINETY_BYTES = compile_network(constant_network([9, 2, 2], weight=-9, bias=300, shift=7))
HARNESS = Deployed("IntegerNetworkHarness", evm=EVM(spec_id="CANCUN", gas_limit=PLENTY))


def is_valid(program: bytes) -> bool:
    try:
        HARNESS.call("validate", program)
    except Reverted as failure:
        assert failure.error is not None
        return False
    return True


def decompiles(program: bytes) -> bool:
    try:
        decompile(program)
    except BadProgram:
        return False
    return True
