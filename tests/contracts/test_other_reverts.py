"""What the contracts around the oracle refuse: registry, seed source, the example consumer, and the libraries' own guards."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from contracts import errors
from contracts.model_registry import chunks_of
from models.network import Dense, IntegerNetwork
from models.program import compile_network
from tests.contracts.chain import Chain, Contract, Halted, load, party
from tests.contracts.raising import raises
from tests.contracts.test_reverts import JURY
from tests.contracts.world import MODEL, NewWorld, Play, World
from tests.models.test_program import image_program, number, sides

# The model registry, in the order of its guards


def register(world: World, program: bytes, stored: tuple[bytes, ...] = (), gas: int | None = None) -> None:
    calldata = world.registry.encode("register", list(stored), program)
    world.chain.call(party("registrant"), world.registry.address, calldata, gas=gas)


def changed(place: int, *values: int) -> bytes:
    """The model's program with other bytes from `place` on."""
    program = bytearray(MODEL.program)
    program[place : place + len(values)] = values
    return bytes(program)


@raises("ExecutionGasLimitTooHigh(uint256,uint256)")
def test_a_registry_for_executions_beyond_a_transaction_is_refused(new_world: NewWorld) -> None:
    new_world().deploy("ModelRegistry", ("uint256",), (10_000_001,))


@pytest.mark.parametrize("length", [0, 24_576])
@raises("ChunkLengthOutOfRange(uint256,uint256)")
def test_a_chunk_that_no_contract_can_hold_is_refused(new_world: NewWorld, length: int) -> None:
    new_world().registry.send(party("ann"), "storeChunk", bytes(length))


@raises("ChunkNotWritten(uint256)")
def test_a_chunk_without_gas_to_be_written_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    piece = b"\1" * 20_000
    world.chain.call(party("ann"), world.registry.address, world.registry.encode("storeChunk", piece), gas=3_000_000)


@raises("TooManyChunks(uint256,uint256)")
def test_too_many_chunks_are_refused(new_world: NewWorld) -> None:
    register(new_world(), b"\1", (bytes(32),) * 48)


@raises("UnknownChunk(bytes32)", chunkId=bytes(32))
def test_a_chunk_that_was_not_stored_is_refused(new_world: NewWorld) -> None:
    register(new_world(), b"\1", (bytes(32),))


@raises("ChunkNotFull(uint256,uint256)", index=0, length=1)
def test_a_short_chunk_before_the_last_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    (event,) = world.registry.send(party("ann"), "storeChunk", b"\1")
    register(world, b"\1", (event.args["chunkId"],))


@raises("ModelExists(bytes32)", modelId=MODEL.id)
def test_a_model_twice_is_refused(new_world: NewWorld) -> None:
    register(new_world(), MODEL.program)


@pytest.mark.parametrize("length", [1, 17, 20, len(MODEL.program) - 1])
@raises("ProgramTooShort(uint256,uint256)")
def test_a_program_cut_short_is_refused(new_world: NewWorld, length: int) -> None:
    register(new_world(), MODEL.program[:length])


PROGRAM_ERRORS = {
    "WrongMagic(bytes4)": changed(0, 0),
    "RowLengthOutOfRange(uint256,uint256)": changed(4, 0, 0, 0, 0),
    "LayerCountOutOfRange(uint256)": changed(16, 0, 0),
    "WrongOpcode(uint256,uint256)": changed(18, 3),
    "WrongOperand(uint256,uint256)": changed(19, 0x81),
    "ShapeMismatch(uint256)": changed(23, 4),
    "OutputsOutOfRange(uint256,uint256,uint256)": changed(27, 0),
    "ShiftOutOfRange(uint256,uint256,uint256)": changed(32, 23),
    "WeightOutOfRange(uint256,uint256)": changed(33, 0xFF),
    "SumOutOfRange(uint256,uint256,uint256)": changed(28, 0x01),
    "WindowOutOfRange(uint256)": image_program(b"\x05\x80\x03" + number(1) + sides() * 3),
    "SizeOutOfRange(uint256)": image_program(b"\x09\x80\x02\0" + number(1) + (number(4) + number(9999) * 2) * 2),
    "TrailingBytes(uint256,uint256)": MODEL.program + b"\0",
    "UnreadValues(uint256)": changed(19, 0),
    "OutputLengthMismatch(uint256,uint256)": changed(11, 3),
    "MemoryMismatch(uint256,uint256)": changed(15, 4),
}


@pytest.mark.parametrize("signature", PROGRAM_ERRORS)
def test_a_program_that_is_not_a_networks_is_refused(new_world: NewWorld, signature: str) -> None:
    with pytest.raises(errors.OracleRevert) as caught:
        register(new_world(), PROGRAM_ERRORS[signature])
    assert caught.value.signature == signature


@raises("NotEnoughGasToMeasure(uint256)")
def test_a_registration_without_gas_to_measure_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    wide = compile_network(IntegerNetwork((Dense(np.zeros((1, 4_000), np.int8), np.zeros(1, np.int32), None),)))
    world.registry.send(party("ann"), "storeChunk", wide)
    for gas in range(100_000, 1_000_000, 5_000):  # until it gets as far as the measurement, and no further
        try:
            register(world, wide, gas=gas)
        except (Halted, errors.RawRevert):
            continue


@pytest.mark.parametrize("row", [b"", b"\1\2", b"\1\2\3\4"])
@raises("WrongRowLength(uint256,uint256)", expected=3)
def test_a_row_of_another_length_is_refused(new_world: NewWorld, row: bytes) -> None:
    new_world().registry.read("execute", MODEL.id, row)


# Execution in steps (tests/models/test_stepwise.py has the attacks)

ROW = b"\1\2\3"
VALUES = 2  # that the model makes


class Steps:
    """The execution of one row, begun."""

    def __init__(self, new_world: NewWorld, row: bytes = ROW, **options: Any) -> None:
        self.registry = new_world(**options).registry
        self.row = row
        self.state = self.begin()

    def begin(self) -> bytes:
        (event,) = self.registry.send(party("ann"), "begin", MODEL.id, self.row)
        return bytes(event.args["state"])

    def advance(self, values: int, state: bytes | None = None) -> None:
        given = self.state if state is None else state
        self.registry.send(party("ann"), "advance", MODEL.id, sha256(self.row).digest(), given, values)


@raises("ExecutionExists(bytes32,bytes32)", modelId=MODEL.id)
def test_beginning_an_execution_twice_is_refused(new_world: NewWorld) -> None:
    Steps(new_world).begin()


@raises("EmptyStep()")
def test_a_step_of_no_values_is_refused(new_world: NewWorld) -> None:
    Steps(new_world).advance(0)


@raises("UnknownState(bytes32)")
def test_a_state_that_the_execution_was_never_in_is_refused(new_world: NewWorld) -> None:
    steps = Steps(new_world)
    steps.advance(1, steps.state[:-1] + bytes([steps.state[-1] ^ 1]))


@raises("StaleStep(uint256,uint256)", executed=1, furthest=1)
def test_a_step_to_where_the_execution_was_before_is_refused(new_world: NewWorld) -> None:
    steps = Steps(new_world)
    for _ in range(2):
        steps.advance(1)


@raises("ExecutionOver(bytes32,bytes32)", modelId=MODEL.id)
def test_a_step_beyond_the_end_is_refused(new_world: NewWorld) -> None:
    steps = Steps(new_world)
    for _ in range(2):
        steps.advance(VALUES)


def register_network(world: World, network: IntegerNetwork) -> bytes:
    """The model's id."""
    stored, last = chunks_of(compile_network(network))
    ids = [world.registry.send(party("ann"), "storeChunk", piece)[0].args["chunkId"] for piece in stored]
    *_, registered = world.registry.send(party("ann"), "register", ids, last)
    return bytes(registered.args["modelId"])


@raises("StepTooSmallToMeasure(uint256,uint256)", least=110_000)
def test_measuring_a_model_in_tiny_steps_is_refused(new_world: NewWorld) -> None:
    world = new_world(execution_gas_limit=220_000)
    network = IntegerNetwork((Dense(np.zeros((128, 500), np.int8), np.zeros(128, np.int32), None),))
    model, row = register_network(world, network), b"\xff" * network.row_length
    (event,) = world.registry.send(party("ann"), "begin", model, row)
    world.registry.send(party("ann"), "advance", model, sha256(row).digest(), event.args["state"], 1)


@raises("OutputTooLong(uint256,uint256)")
def test_an_output_that_no_contract_can_hold_has_no_steps(new_world: NewWorld) -> None:
    world = new_world()
    logits = 6_144
    network = IntegerNetwork((Dense(np.zeros((logits, 1), np.int8), np.zeros(logits, np.int32), None),))
    world.registry.send(party("ann"), "begin", register_network(world, network), b"\1")


# The seed source


@raises("HeaderMismatch(uint256,bytes32,bytes32)")
def test_drawing_with_a_forged_header_is_refused(new_world: NewWorld) -> None:
    play = new_world(seed_source="PrevrandaoSeed").play(JURY, drawn=False)
    play.world.chain.roll(blocks=3)
    play.world.send("keeper", "draw", play.id, b"no header")


@raises("MalformedHeader(uint256)", offset=0)
def test_drawing_on_a_chain_whose_headers_are_none_is_refused(new_world: NewWorld) -> None:
    play = new_world(seed_source="PrevrandaoSeed").play(JURY, drawn=False)
    play.world.chain.roll(blocks=3)
    # In this EVM a block's hash is that of its number in decimal: true to the hash, and no header.
    play.world.send("keeper", "draw", play.id, str(play.world.chain.number - 1).encode())


# The libraries, where the contracts look first


def harness() -> Contract:
    chain = Chain()
    return Contract(chain, chain.deploy(load("ProtocolHarness")["bytecode"]), "ProtocolHarness")


@pytest.mark.parametrize("index", [2**64, 2**256 - 1])
@raises("IndexOutOfRange(uint256)")
def test_an_index_of_nine_bytes_is_refused(index: int) -> None:
    harness().read("resultLeaf", index, b"")


@pytest.mark.parametrize("count", [0, 3, 5, 6, 7, 9])
@raises("NotPowerOfTwo(uint256)")
def test_nodes_that_fill_no_tree_have_no_root(count: int) -> None:
    harness().read("rootOf", [bytes(32)] * count)


# The example consumer


class Sale:
    """A sale of a job's items: 10 wei for each of grade `grade`."""

    def __init__(self, new_world: NewWorld, settled: bool = True) -> None:
        self.play: Play = new_world().play(JURY)
        world = self.play.world
        self.contract = Contract(
            world.chain, world.deploy("ShipmentSale", ("address",), (world.oracle.address,)), "ShipmentSale"
        )
        self.deadline = world.chain.time + 10_000
        self.open()
        self.paid_grade = [index for index in range(5) if self.grade(index) == 1]
        if settled:
            self.play.vote(ann=self.play.truth, bob=self.play.truth, cat=self.play.truth)
            self.play.finish(self.play.truth)

    def grade(self, index: int) -> int:
        output = self.play.truth.outputs[index]
        logits = [int.from_bytes(output[at : at + 4], "big", signed=True) for at in range(0, len(output), 4)]
        return logits.index(max(logits))

    def open(self, value: int = 50, requester: str = "requester", deadline: int = 0) -> None:
        job = (party(requester), *self.play.job.as_tuple()[1:])
        self.contract.send(
            party("buyer"), "open", job, party("supplier"), 1, 10, deadline or self.deadline, value=value
        )

    def pay(self, index: int, sale: int = 0, output: bytes = b"") -> None:
        siblings = self.play.truth.tree.proof(min(index, 7))
        given = output or self.play.truth.outputs[min(index, 4)]
        self.contract.send(party("anyone"), "pay", sale, index, given, siblings)


def test_a_sale_pays_the_supplier_for_each_item_of_the_grade_and_the_buyer_the_rest(new_world: NewWorld) -> None:
    sale = Sale(new_world)
    assert 0 < len(sale.paid_grade) < 5
    for index in sale.paid_grade:
        sale.pay(index)
    chain = sale.play.world.chain
    chain.roll_to(sale.deadline)
    sale.contract.send(party("anyone"), "close", 0)
    for someone, expected in (("supplier", 10 * len(sale.paid_grade)), ("buyer", 50 - 10 * len(sale.paid_grade))):
        chain.fund(party(someone), 0)
        sale.contract.send(party(someone), "withdraw")
        assert chain.balance(party(someone)) == expected
    assert chain.balance(sale.contract.address) == 0


@raises("UnknownJob(bytes32)")
def test_a_sale_of_an_unknown_job_is_refused(new_world: NewWorld) -> None:
    Sale(new_world).open(requester="stranger")


@raises("WrongEscrow(uint256,uint256)", expected=50, got=49)
def test_a_sale_without_its_whole_price_is_refused(new_world: NewWorld) -> None:
    Sale(new_world).open(value=49)


@raises("NoSuchSale(uint256)", saleId=1)
def test_paying_from_no_sale_is_refused(new_world: NewWorld) -> None:
    Sale(new_world).pay(0, sale=1)


@raises("TooLate(uint256)")
def test_paying_at_the_deadline_is_refused(new_world: NewWorld) -> None:
    sale = Sale(new_world)
    sale.play.world.chain.roll_to(sale.deadline)
    sale.pay(sale.paid_grade[0])


@raises("NoSuchItem(uint256,uint256)", index=5, itemCount=5)
def test_paying_for_an_item_beyond_the_last_is_refused(new_world: NewWorld) -> None:
    Sale(new_world).pay(5)


@raises("AlreadyPaid(uint256,uint256)")
def test_paying_twice_is_refused(new_world: NewWorld) -> None:
    sale = Sale(new_world)
    sale.pay(sale.paid_grade[0])
    sale.pay(sale.paid_grade[0])


@raises("VerdictNotProved(uint256)")
def test_paying_for_a_forged_verdict_is_refused(new_world: NewWorld) -> None:
    Sale(new_world).pay(0, output=b"\0\0\0\0\0\0\0\1")


@raises("VerdictNotProved(uint256)")
def test_paying_before_the_job_is_settled_is_refused(new_world: NewWorld) -> None:
    sale = Sale(new_world, settled=False)
    sale.pay(sale.paid_grade[0])


@raises("WrongGrade(uint256,uint256,uint256)", grade=0, expected=1)
def test_paying_for_an_item_of_another_grade_is_refused(new_world: NewWorld) -> None:
    sale = Sale(new_world)
    sale.pay(next(index for index in range(5) if index not in sale.paid_grade))


@raises("TooEarly(uint256)")
def test_closing_before_the_deadline_is_refused(new_world: NewWorld) -> None:
    Sale(new_world).contract.send(party("buyer"), "close", 0)


@raises("NothingToRefund(uint256)")
def test_closing_twice_is_refused(new_world: NewWorld) -> None:
    sale = Sale(new_world)
    sale.play.world.chain.roll_to(sale.deadline)
    sale.contract.send(party("buyer"), "close", 0)
    sale.contract.send(party("buyer"), "close", 0)


@raises("NothingToWithdraw(address)")
def test_withdrawing_nothing_from_a_sale_is_refused(new_world: NewWorld) -> None:
    Sale(new_world).contract.send(party("supplier"), "withdraw")
