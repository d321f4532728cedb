"""Execution in steps: the same output as in one go, whoever carries it out, however it is cut, whoever interferes."""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from eth_abi import decode
from eth_utils import keccak, to_checksum_address
from numpy.typing import NDArray
from pyrevm import EVM

from contracts import errors
from contracts.endpoint import Call, Endpoint
from contracts.model_registry import Model, ModelRegistry, Progress
from coordinator.devnet import serve
from models.interpreter import run
from models.liveness import place
from models.network import Dense, IntegerNetwork
from models.program import compile_network, model_id
from models.program_reader import decompile
from models.stepwise import BadState, State, advance, begin_gas, first_state, plan
from tests.models.image_networks import image_network
from tests.models.random_graphs import OPERATORS, STYLES, graph_rows, random_graph
from tests.models.random_networks import hazard_rows, random_networks
from tests.models.registry import (
    CHUNK,
    Deployed,
    ReceiptChain,
    Registry,
    Reverted,
    Stepwise,
    constant_network,
    intrinsic_gas,
    reverts,
)

TO_THE_END = 2**32 - 1
TRANSACTION_GAS_CAP = 16_777_216
WINE_SHAPE = constant_network([13, 32, 16, 3], weight=3, shift=2)


def random_network(widths: list[int], seed: int) -> IntegerNetwork:
    """A network of these widths whose activations are spread over the whole range."""
    rng = np.random.default_rng(seed)
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        largest = min(63, 60_000 // inputs)
        weights = rng.integers(-largest, largest + 1, (outputs, inputs)).astype(np.int8)
        bias = rng.integers(-9_999, 9_999, outputs).astype(np.int32)
        shift = max(0, round(np.log2(largest / 2 * np.sqrt(inputs))) - 1)
        layers.append(Dense(weights, bias, None if index == len(widths) - 2 else np.full(outputs, shift, np.uint8)))
    return IntegerNetwork(tuple(layers))


HEAVY = random_network([2, 42_000, 3], seed=51)  # some 15 million gas


def output_of(network: IntegerNetwork, row: NDArray[np.uint8]) -> bytes:
    return bytes(run(network, row[None])[0].astype(">i4").tobytes())


def some_row(network: IntegerNetwork, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, network.row_length).astype(np.uint8)


def opened(network: IntegerNetwork = WINE_SHAPE, limit: int = 10_000_000, row: bytes | None = None) -> Stepwise:
    """An execution in a registry of its own, with the model registered and nothing begun."""
    registry = Registry(limit)
    model = registry.register(compile_network(network))
    return Stepwise(registry, model, some_row(network).tobytes() if row is None else row)


def refused(execution: Stepwise, error: str, state: bytes, channels: int = 1) -> tuple[Any, ...]:
    return reverts(execution.registry, error, "advance", execution.model, execution.row_hash, state, channels)


def model_of(execution: Stepwise) -> tuple[int, int, int, int, bool]:
    row_length, output_length, execution_gas, program_length, stepwise = execution.registry.call(
        "model", execution.model
    )
    return row_length, output_length, execution_gas, program_length, stepwise


# --- one meaning, however it is cut ---


@pytest.mark.parametrize("index", range(12))
def test_an_execution_cut_at_any_channel_gives_what_one_go_and_the_interpreter_give(index: int) -> None:
    """Every state is reached a channel at a time, and from every state the rest is executed at once."""
    network = random_networks(seed=21, count=12)[index]
    row = hazard_rows(network, 20, np.random.default_rng(index))[19]
    expected = output_of(network, row)
    execution = opened(network, row=row.tobytes())
    registry = execution.registry
    assert registry.execute(execution.model, row) == expected
    state: bytes | None = execution.begin()
    twin: State | bytes = first_state(network, row.tobytes())
    for executed in range(sum(layer.outputs for layer in network.layers)):
        assert isinstance(twin, State) and state == twin.encode() and State.decode(state) == twin
        assert execution.progress() == (True, False, executed, keccak(state))
        here = registry.evm.snapshot()
        assert execution.advance(state, TO_THE_END) is None
        assert execution.output() == expected
        registry.evm.revert(here)
        state, twin = execution.advance(state, 1), advance(network, twin, 1)
    assert state is None
    assert execution.output() == twin == expected


@pytest.mark.parametrize("channels", [2, 5, 31, 32, 33, 47, 48, 49, 50, 51])
def test_steps_of_any_size_cross_layers_and_end_where_the_twin_says(channels: int) -> None:
    execution = opened()
    row = some_row(WINE_SHAPE)
    state: bytes | None = execution.begin()
    twin: State | bytes = first_state(WINE_SHAPE, row.tobytes())
    while state is not None:
        assert isinstance(twin, State) and twin.encode() == state
        state, twin = execution.advance(state, channels), advance(WINE_SHAPE, twin, channels)
    assert execution.output() == twin == output_of(WINE_SHAPE, row)


def followed(execution: Stepwise, network: IntegerNetwork, sizes: Iterator[int]) -> int:
    """How many steps of these sizes an execution takes, each of which leads where the twin says."""
    state: bytes | None = execution.begin()
    twin: State | bytes = first_state(network, execution.row)
    steps = 0
    while state is not None:
        assert isinstance(twin, State) and twin.encode() == state and State.decode(state) == twin
        size = next(sizes)
        state, twin = execution.advance(state, size), advance(network, twin, size)
        steps += 1
    assert execution.output() == twin == output_of(network, np.frombuffer(execution.row, np.uint8))
    return steps


def values_of(network: IntegerNetwork) -> int:
    return sum(placed.values for placed in place(network))


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_is_cut_between_any_two_values(operator: str) -> None:
    seeds = (seed for seed in itertools.count() if 20 < values_of(small_graph(seed, operator)) < 220)
    for seed in itertools.islice(seeds, 2):
        network = small_graph(seed, operator)
        execution = opened(network)
        assert followed(execution, network, itertools.repeat(1)) == values_of(network)


def small_graph(seed: int, operator: str) -> IntegerNetwork:
    return random_graph(seed, STYLES[seed % 5], [operator])


@pytest.mark.parametrize("seed", range(16))
def test_graphs_of_the_whole_operator_set_are_cut_anywhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_graph(seed, STYLES[seed % 5], list(rng.choice(OPERATORS, 9)))
    execution = opened(network, row=graph_rows(network, 6, rng)[5].tobytes())
    largest = values_of(network) // 6
    assert followed(execution, network, iter(lambda: int(rng.integers(1, largest)), 0)) > 4


def test_records_longer_than_a_chunk_and_programs_of_many_chunks_are_cut_alike() -> None:
    for network in (random_network([300, 257, 101, 40], 52), sparse_network(30_000, 5)):
        row = some_row(network)
        execution = opened(network, row=row.tobytes())
        state: bytes | None = execution.begin()
        while state is not None:
            state = execution.advance(state, 2 if network.layers[0].outputs < 9 else 77)
        assert execution.output() == output_of(network, row)


def sparse_network(inputs: int, outputs: int) -> IntegerNetwork:
    """Most weights are zero, so that long rows stay within the bound on a channel's sum."""
    rng = np.random.default_rng(53)
    weights = np.zeros((outputs, inputs), np.int8)
    weights[:, rng.choice(inputs, 500, replace=False)] = rng.integers(-63, 64, (outputs, 500))
    return IntegerNetwork((Dense(weights, np.zeros(outputs, np.int32), None),))


@pytest.mark.parametrize("graph", [False, True])
def test_gas_of_every_step_is_the_same_for_every_row(graph: bool) -> None:
    rng = np.random.default_rng(54)
    network = random_graph(5, "plain", [*OPERATORS]) if graph else random_network([20, 33, 9, 4], 56)
    rows = [np.zeros(network.row_length, np.uint8), np.full(network.row_length, 255, np.uint8)]
    rows += list(graph_rows(network, 6, rng) if graph else hazard_rows(network, 12, rng)[2:])
    execution = opened(network)
    start = execution.registry.evm.snapshot()
    found = set()
    for row in rows:
        execution.registry.evm.revert(start)
        start = execution.registry.evm.snapshot()
        execution_of_row = Stepwise(execution.registry, execution.model, row.tobytes())
        found.add(tuple(gas_of_steps(execution_of_row, 1 + values_of(network) // 14)))
    assert len(found) == 1 and len(found.pop()) > 3


def gas_of_steps(execution: Stepwise, channels: int) -> list[int]:
    """What begin and each step take beside what their transactions pay for calldata."""
    registry = execution.registry
    state: bytes | None = execution.begin()
    gas = [registry.gas_used - intrinsic_gas(registry.calldata("begin", execution.model, execution.row))]
    while state is not None:
        data = registry.calldata("advance", execution.model, execution.row_hash, state, channels)
        state = execution.advance(state, channels)
        gas.append(registry.gas_used - intrinsic_gas(data))
    return gas


# --- models beyond one transaction ---


def test_a_network_beyond_the_limit_is_registered_measured_in_planned_steps_and_run() -> None:
    execution = opened(HEAVY, row=b"\xff\xff")
    registry = execution.registry
    program = compile_network(HEAVY)
    assert model_of(execution) == (2, 3, 0, len(program), True)
    assert registry.call("measure", execution.model) == 0

    steps = plan(HEAVY)
    assert len(steps) > 1
    gas = carried_out(execution)
    topics, data = registry.logs()[-1]
    assert topics == [keccak(text="ModelMeasured(bytes32,uint256)"), execution.model]
    (measured,) = decode(["uint256"], data)
    assert model_of(execution) == (2, 3, measured, len(program), True)
    assert measured > 10_000_000 and gas * 0.95 < measured < gas * 1.2
    assert execution.output() == output_of(HEAVY, np.full(2, 255, np.uint8))

    for seed in range(3):
        row = some_row(HEAVY, seed)
        another = Stepwise(registry, execution.model, row.tobytes())
        carried_out(another)
        assert another.output() == output_of(HEAVY, row)
    assert model_of(execution)[2] == measured


def test_a_convolutional_network_of_twenty_million_macs_is_executed_in_steps_under_the_cap() -> None:
    """Twelve planes of 32×32, windows of 5×5, 66 outputs; then what a small image network does."""
    network = image_network((12, 32, 32), kernel=5, outputs=66)
    assert network.macs > 20_000_000
    execution = opened(network, row=bytes([255]) * network.row_length)
    assert model_of(execution)[2:] == (0, len(compile_network(network)), True)
    gas = carried_out(execution, network)
    measured = model_of(execution)[2]
    assert gas * 0.95 < measured < gas * 1.3  # states are large: the model's figure has their calldata at its dearest
    assert gas < 8 * network.macs
    assert execution.output() == output_of(network, np.full(network.row_length, 255, np.uint8))
    row = some_row(network)
    another = Stepwise(execution.registry, execution.model, row.tobytes())
    carried_out(another, network)
    assert another.output() == output_of(network, row)


def test_two_and_a_half_million_macs_are_executed_in_one_transaction() -> None:
    network = image_network((12, 8, 8), kernel=5, outputs=131)
    assert network.macs > 2_500_000
    execution = opened(network)
    row = some_row(network)
    assert execution.registry.call("execute", execution.model, row.tobytes()) == output_of(network, row)
    assert execution.registry.gas_used <= min(TRANSACTION_GAS_CAP, 6 * network.macs)


def carried_out(execution: Stepwise, network: IntegerNetwork = HEAVY) -> int:
    """Gas of all transactions of an execution in the steps that the plan has, none beyond what it says."""
    state: bytes | None = execution.begin()
    gas = execution.registry.gas_used
    for step in plan(network):
        assert state is not None
        state = execution.advance(state, step.values, gas=step.gas)
        used = execution.registry.gas_used
        assert used <= step.gas <= 12_000_000
        gas += used
    assert state is None
    return gas


def test_a_stepwise_model_may_still_be_executed_in_one_call_by_whoever_has_the_gas() -> None:
    execution = opened(HEAVY)
    row = some_row(HEAVY)
    assert execution.registry.execute(execution.model, row) == output_of(HEAVY, row)


def test_a_gas_bomb_can_be_registered_and_costs_nobody_but_those_who_run_it() -> None:
    bomb = constant_network([1, 60_000, 1, 60_000, 1], shift=0)
    execution = opened(bomb, row=b"\xff")
    assert model_of(execution)[2:] == (0, len(compile_network(bomb)), True)
    state = execution.begin()
    with pytest.raises(Reverted):
        execution.advance(state, TO_THE_END, gas=TRANSACTION_GAS_CAP)
    assert execution.progress() == (True, False, 0, keccak(state))
    for step in plan(bomb):
        assert step.gas <= 12_000_000
        state = execution.advance(state, step.values, gas=step.gas) or b""
    assert execution.output() == output_of(bomb, np.array([255], np.uint8))


def test_nobody_makes_a_model_stepwise_by_the_gas_that_is_sent() -> None:
    """The limit is exactly what the execution takes, and the gas just short of what lets it have as much."""
    program = compile_network(constant_network([1000, 150, 2]))
    pieces = [program[start : start + CHUNK] for start in range(0, len(program), CHUNK)]

    def registered(registry: Registry, gas: int) -> bool:
        """Whether it registers, never as stepwise, and nothing stays of it."""
        before = registry.evm.snapshot()
        try:
            model = registry.call("register", ids[:-1], pieces[-1], gas=gas)
        except Reverted:
            return False
        assert registry.call("model", model)[4] is False
        registry.evm.revert(before)
        return True

    def is_stepwise(limit: int) -> bool:
        registry = Registry(limit)
        return bool(registry.call("model", registry.register(program))[4])

    registry = Registry(first(lambda limit: not is_stepwise(limit), 100_000, 2_000_000))
    ids = [registry.call("storeChunk", piece) for piece in pieces]
    enough = first(lambda gas: registered(registry, gas), 100_000, 20_000_000)
    for gas in range(enough - 3_000, enough + 50, 17):
        assert registered(registry, gas) is (gas >= enough)


def test_nobody_makes_a_model_stepwise_from_so_deep_that_it_cannot_be_called() -> None:
    """With gas without end: a call takes 63/64 of it a thousand times, and the measurement still has plenty."""
    evm = EVM(spec_id="CANCUN", gas_limit=1 << 62)
    registry = Deployed("ModelRegistry", 10_000_000, evm=evm)
    caller = Deployed("DeepCaller", evm=evm)
    program = compile_network(WINE_SHAPE)
    registry.call("storeChunk", program)
    call = (registry.address, registry.calldata("register", [], program))
    caller.errors = registry.errors
    with pytest.raises(Reverted):  # the validator cannot be called either: there is nothing to say
        caller.call("dive", 1_022, *call, gas=1 << 60)
    caller.call("dive", 1_021, *call, gas=1 << 60)
    assert registry.call("model", model_id(program))[4] is False


def first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The least number from `low` to `high` from which on it holds."""
    return bisect_left(range(high), True, lo=low, key=holds)


def test_a_measurement_in_tiny_steps_that_would_blow_the_figure_up_is_refused() -> None:
    limit = 300_000
    execution = opened(constant_network([300, 257, 101, 40]), limit, row=b"\xff" * 300)
    state = execution.begin()
    gas, least = refused(execution, "StepTooSmallToMeasure", state, 1)
    assert gas < least == limit // 2
    # Another row's steps are of any size: they measure nothing.
    other = Stepwise(execution.registry, execution.model, bytes(300))
    assert other.advance(other.begin(), 1) is not None
    assert other.advance(State.decode(other.published("StateReached") or b"").encode(), TO_THE_END) is None
    assert model_of(execution)[2] == 0
    # The last step may be small.
    first = execution.advance(state, 397)
    assert first is not None and execution.advance(first, 1) is None
    assert model_of(execution)[2] > limit


def test_a_model_that_fits_is_not_measured_again_by_its_row_of_255s() -> None:
    execution = opened(row=b"\xff" * 13)
    before = model_of(execution)
    state: bytes | None = execution.begin()
    while state is not None:
        state = execution.advance(state, 1)
    assert model_of(execution) == before and before[4] is False and before[2] > 0


def test_the_longest_output_that_can_be_stored_is_and_a_longer_one_is_refused() -> None:
    most = CHUNK // 4
    network = constant_network([1, most], weight=-3)
    execution = opened(network)
    execution.advance(execution.begin(), TO_THE_END)
    assert execution.output() == output_of(network, some_row(network))

    longer = opened(constant_network([1, most + 1]))
    call = ("OutputTooLong", "begin", longer.model, longer.row)
    assert reverts(longer.registry, *call) == (most + 1, most)
    program = compile_network(constant_network([1, most + 1]))
    small = Registry(100_000)
    stored = [small.call("storeChunk", program[:CHUNK])]
    assert reverts(small, "OutputTooLong", "register", stored, program[CHUNK:]) == (most + 1, most)


# --- attacks ---


def test_a_state_with_any_bit_changed_is_refused() -> None:
    execution = opened()
    state = execution.advance(execution.begin(), 40)
    assert state is not None
    for position in range(len(state)):
        forged = bytearray(state)
        forged[position] ^= 1 << position % 8
        assert refused(execution, "UnknownState", bytes(forged)) == (keccak(bytes(forged)),)
    for forged_length in (state[:-1], state + b"\0", b"", state[:15]):
        refused(execution, "UnknownState", forged_length)
    assert execution.advance(state, TO_THE_END) is None


def test_a_state_that_claims_to_be_nearly_finished_is_refused() -> None:
    execution = opened()
    execution.begin()
    last = first_state(WINE_SHAPE, execution.row)
    for _ in range(50):
        following = advance(WINE_SHAPE, last, 1)
        assert isinstance(following, State)
        last = following
    lie = State(last.executed, last.position, last.unit, (bytes(16), *last.live[1:]))
    refused(execution, "UnknownState", lie.encode())
    refused(execution, "UnknownState", last.encode())  # true, but nobody has shown it


def test_the_state_of_another_model_or_another_row_is_refused() -> None:
    execution = opened()
    other_model = execution.registry.register(compile_network(constant_network([13, 32, 16, 3], weight=-3, shift=2)))
    same_row = Stepwise(execution.registry, other_model, execution.row)
    same_model = Stepwise(execution.registry, execution.model, bytes(13))
    state = execution.advance(execution.begin(), 40)
    assert state is not None
    for other in (same_row, same_model):
        assert refused(other, "UnknownState", state) == (keccak(state),)  # before it is begun
        foreign = other.advance(other.begin(), 40)
        assert foreign is not None and foreign != state
        assert refused(other, "UnknownState", state) == (keccak(state),)
        assert refused(execution, "UnknownState", foreign) == (keccak(foreign),)


def test_an_execution_that_was_not_begun_cannot_be_advanced_and_has_no_output() -> None:
    execution = opened()
    state = first_state(WINE_SHAPE, execution.row).encode()
    refused(execution, "UnknownState", state)
    refused(execution, "UnknownState", b"")
    call = ("ExecutionUnfinished", "outputOf", execution.model, execution.row_hash)
    assert reverts(execution.registry, *call) == (execution.model, execution.row_hash)
    assert execution.progress() == (False, False, 0, bytes(32))
    execution.begin()
    assert reverts(execution.registry, *call) == (execution.model, execution.row_hash)


def test_an_execution_begins_once_on_a_row_of_the_models_length() -> None:
    execution = opened()
    for length in (0, 12, 14):
        call = ("WrongRowLength", "begin", execution.model, bytes(length))
        assert reverts(execution.registry, *call) == (length, 13)
    assert reverts(execution.registry, "UnknownModel", "begin", bytes(32), bytes(13)) == (bytes(32),)
    assert reverts(execution.registry, "UnknownModel", "advance", bytes(32), bytes(32), b"", 1) == (bytes(32),)
    state = execution.begin()
    again = ("ExecutionExists", "begin", execution.model, execution.row)
    assert reverts(execution.registry, *again) == (execution.model, hashlib.sha256(execution.row).digest())
    execution.advance(state, TO_THE_END)
    reverts(execution.registry, *again)


def test_a_step_of_no_channels_is_refused() -> None:
    execution = opened()
    assert refused(execution, "EmptyStep", execution.begin(), 0) == ()


def test_a_replayed_state_leads_nowhere_new() -> None:
    execution = opened()
    first = execution.begin()
    second = execution.advance(first, 20)
    assert second is not None
    for values in (1, 19, 20):
        assert refused(execution, "StaleStep", first, values) == (values, 20)
    assert execution.progress() == (True, False, 20, keccak(second))


def test_an_execution_finishes_once() -> None:
    execution = opened()
    first = execution.begin()
    second = execution.advance(first, 40)
    assert second is not None and execution.advance(second, 11) is None
    output = execution.output()
    assert output == execution.registry.execute(execution.model, np.frombuffer(execution.row, np.uint8))
    for state in (first, second):
        for channels in (0, 1, TO_THE_END):
            over = refused(execution, "ExecutionOver", state, channels)
            assert over == (execution.model, execution.row_hash)
    assert execution.output() == output


def test_the_second_of_two_equal_steps_is_refused_before_it_computes_anything() -> None:
    network = random_network([300, 257, 101, 40], 52)
    execution = opened(network)
    state = execution.begin()
    execution.advance(state, 250)
    computed = execution.registry.gas_used
    with pytest.raises(Reverted) as caught:  # with a tenth of the gas there is enough to say so
        execution.advance(state, 250, gas=computed // 10)
    assert caught.value.error == "StaleStep"


def test_a_small_step_ahead_of_a_large_one_does_not_stop_it() -> None:
    """Whoever watches the mempool may go one channel further each time: states passed through stay good."""
    execution = opened()
    state: bytes | None = execution.begin()
    while state is not None:
        execution.advance(state, 1)
        state = execution.advance(state, 13)
    assert execution.output() == output_of(WINE_SHAPE, some_row(WINE_SHAPE))


def test_two_parties_with_different_cuts_both_come_to_the_end() -> None:
    execution = opened()
    row = some_row(WINE_SHAPE)
    states: dict[int, State | bytes] = {size: first_state(WINE_SHAPE, row.tobytes()) for size in (7, 11)}
    execution.begin()
    while not execution.progress()[1]:
        for size, state in states.items():
            if not isinstance(state, State) or execution.progress()[1]:
                continue
            try:
                execution.advance(state.encode(), size)
            except Reverted as failure:
                assert failure.error in ("StaleStep", "UnknownState")
                # The other one is ahead: go on from what it published.
                states[size] = caught_up(execution, state)
            else:
                states[size] = advance(WINE_SHAPE, state, size)
    assert execution.output() == output_of(WINE_SHAPE, row)


def caught_up(execution: Stepwise, state: State) -> State:
    """The furthest state, computed from any earlier one."""
    ahead = execution.progress()[2] - state.executed
    reached = advance(WINE_SHAPE, state, ahead) if ahead > 0 else state
    assert isinstance(reached, State) and keccak(reached.encode()) == execution.progress()[3]
    return reached


def test_too_little_gas_undoes_a_step_whole_and_never_finishes_without_an_output() -> None:
    execution = opened()
    state = execution.begin()
    failures = 0
    for gas in range(30_000, 200_000, 499):
        try:
            execution.advance(state, TO_THE_END, gas=gas)
        except Reverted:
            failures += 1
            assert execution.progress() == (True, False, 0, keccak(state))
        else:
            break
    assert failures > 50
    assert execution.output() == output_of(WINE_SHAPE, some_row(WINE_SHAPE))


def test_an_output_that_could_not_be_written_finishes_nothing() -> None:
    """Where the last of the gas would be enough for everything but the output itself."""
    execution = opened(constant_network([1, CHUNK // 4]))
    state = execution.begin()
    for gas in range(5_000_000, 8_000_000, 100_000):
        with pytest.raises(Reverted) as caught:
            execution.advance(state, TO_THE_END, gas=gas)
        assert execution.progress() == (True, False, 0, keccak(state))
        if caught.value.error == "ChunkNotWritten":
            assert caught.value.arguments == (4 * (CHUNK // 4),)
            return
    pytest.fail("the output was always written, or the gas never sufficed for the rest")


def test_two_models_with_the_same_output_for_the_same_row_both_finish() -> None:
    execution = opened(constant_network([3, 2, 1], weight=0, bias=5), row=bytes(3))
    execution.advance(execution.begin(), TO_THE_END)
    model = execution.registry.register(compile_network(constant_network([3, 1], weight=0, bias=5)))
    other = Stepwise(execution.registry, model, bytes(3))
    other.advance(other.begin(), TO_THE_END)
    assert other.output() == execution.output() == bytes([0, 0, 0, 5])


def test_an_output_in_code_is_no_chunk_of_a_program() -> None:
    execution = opened()
    execution.advance(execution.begin(), TO_THE_END)
    output = execution.output()
    chunk_id = execution.registry.call("storeChunk", output)
    assert [topics[1] for topics, _ in execution.registry.logs()] == [chunk_id]  # it was not there


# --- the plan ---


@pytest.mark.parametrize("widths", [[13, 32, 16, 3], [64, 128, 64, 10], [300, 257, 101, 40], [20, 3000, 9]])
@pytest.mark.parametrize("gas_cap", [400_000, 1_000_000, 12_000_000])
def test_a_plan_ends_where_the_network_does_and_keeps_under_its_cap(widths: list[int], gas_cap: int) -> None:
    network = constant_network(widths)
    steps = plan(network, gas_cap=gas_cap)
    assert sum(step.values for step in steps) == sum(widths[1:])
    assert all(step.gas <= gas_cap for step in steps)
    state: State | bytes = first_state(network, bytes(widths[0]))
    for index, step in enumerate(steps):
        assert isinstance(state, State)
        assert plan(network, state, gas_cap) == steps[index:]
        state = advance(network, state, step.values)
    assert state == output_of(network, np.zeros(widths[0], np.uint8))


def test_a_cap_below_one_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="one value of layer 0 takes"):
        plan(WINE_SHAPE, gas_cap=50_000)


@pytest.mark.parametrize("widths", [[13, 32, 16, 3], [64, 128, 64, 10], [300, 257, 40], [5, 1_000, 9]])
def test_what_a_plan_says_covers_what_receipts_say_and_not_much_more(widths: list[int]) -> None:
    """The limit is low, so that the model is measured, which takes the most; the chain's accesses are cold."""
    chain = ReceiptChain(execution_gas_limit=20_000)
    network = random_network(widths, 55)
    row = bytes([255]) * network.row_length
    model = chain.register(compile_network(network))
    begun = chain.gas_of(chain.registry, chain.abi.calldata("begin", model, row))
    assert begun <= begin_gas(network) <= 1.25 * begun + 20_000
    total = begun - 22_100  # each transaction also notes what was spent so far: that is not execution
    state: State | bytes = first_state(network, row)
    for step in plan(network, gas_cap=600_000):
        assert isinstance(state, State)
        call = chain.abi.calldata("advance", model, hashlib.sha256(row).digest(), state.encode(), step.values)
        used = chain.gas_of(chain.registry, call)
        assert used <= step.gas <= 1.25 * used + 40_000
        total += used - 22_100
        state = advance(network, state, step.values)
    recorded = decode(["uint256"] * 4 + ["bool"], chain.read(chain.registry, chain.abi.calldata("model", model)))[2]
    assert 0.95 * total < recorded < 1.1 * total
    output = chain.abi.calldata("outputOf", model, hashlib.sha256(row).digest())
    assert decode(["bytes"], chain.read(chain.registry, output)) == (state,)


# --- the twin's own guards ---


def test_bytes_that_are_no_state_are_refused_by_the_twin() -> None:
    state = first_state(WINE_SHAPE, bytes(13)).encode()
    for length in (0, 15, 16, 19, 32):
        with pytest.raises(BadState):
            State.decode(state[:length])
    for wrong in (
        State(0, 19, 0, (bytes(13),)),
        State(1, 18, 0, (bytes(13),)),
        State(0, 18, 0, (bytes(12),)),
        State(1, 18, 1, (bytes(13),)),
        State(1, 18, 1, (bytes(13), bytes(31))),
        State(32, 18, 32, (bytes(13), bytes(32))),
    ):
        with pytest.raises(BadState):
            advance(WINE_SHAPE, wrong, 1)
        with pytest.raises(BadState):
            plan(WINE_SHAPE, wrong)
    with pytest.raises(ValueError, match="at least one value"):
        advance(WINE_SHAPE, first_state(WINE_SHAPE, bytes(13)), 0)
    with pytest.raises(ValueError, match="shape"):
        first_state(WINE_SHAPE, bytes(12))


# --- the client ---


def test_another_party_finishes_an_execution_from_its_events_and_the_program_alone() -> None:
    row = some_row(WINE_SHAPE).tobytes()
    row_hash = hashlib.sha256(row).digest()
    program = compile_network(WINE_SHAPE)
    chain = ReceiptChain(execution_gas_limit=20_000)
    model = chain.register(program)
    with serve(chain.chain) as server:
        registry = ModelRegistry(Endpoint(server.url), to_checksum_address(chain.registry))

        def send(call: Call) -> int:
            return int(chain.send(call.to, call.data)["blockNumber"], 16)

        assert registry.model(model) == Model(13, 3, 0, len(program), True)
        block = send(registry.begin(model, row))
        first = first_state(WINE_SHAPE, row)
        send(registry.advance(model, row_hash, first.encode(), 40))
        with pytest.raises(errors.OracleRevert) as caught:
            registry.output_of(model, row_hash)
        assert caught.value.name == "ExecutionUnfinished"

        states = registry.reached(model, row_hash, block, block + 1)
        assert states[0] == first.encode() and len(states) == 2
        assert registry.progress(model, row_hash) == Progress(True, False, 40, keccak(states[1]))
        (step,) = plan(decompile(program), State.decode(states[1]))
        last = send(registry.advance(model, row_hash, states[1], step.values))
        assert registry.progress(model, row_hash).finished
        assert registry.output_of(model, row_hash) == output_of(WINE_SHAPE, some_row(WINE_SHAPE))
        assert registry.reached(model, row_hash, last, last) == []
