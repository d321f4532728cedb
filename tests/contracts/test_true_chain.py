"""What an EVM without a chain cannot show: real block headers and a real base fee."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import rlp

from contracts import block_header, errors, gas_budget, merkle, stake
from contracts.compute_oracle import DEV_BOUNDS
from contracts.disputes import Node
from contracts.job import Job, Phase
from contracts.merkle import MerkleTree
from tests.contracts.chain import Chain, Contract, load
from tests.coordinator import oracle_chain as chains
from tests.coordinator.oracle_chain import ITEMS, OracleChain

PREVRANDAO = 13  # its place in a header


@pytest.fixture(scope="module", params=["py-evm", "anvil"])
def chain(request: pytest.FixtureRequest) -> Iterator[OracleChain]:
    with chains.oracle_chain(request.param) as made:
        yield made


def drawable(chain: OracleChain, nonce: int) -> tuple[Job, int]:
    """A job whose seed's block is past, and that block's number."""
    job = chain.create(nonce)
    chain.mine(3)
    return job, chain.contracts.oracle.job_state(chain.job_id(job)).created_block + 2


def refusal(chain: OracleChain, job: Job, proof: bytes) -> Exception:
    call = chain.contracts.oracle.draw(chain.job_id(job), proof)
    with pytest.raises(errors.Reverted) as caught:
        chain.endpoint.simulate(call, chain.requester.account.address)
    return caught.value


def test_a_true_header_draws_the_jury_from_its_blocks_prevrandao(chain: OracleChain) -> None:
    job, number = drawable(chain, 1)
    block = chain.endpoint.ask("eth_getBlockByNumber", hex(number), False)
    header = block_header.fetch(chain.endpoint, number)
    chain.requester.send(chain.contracts.oracle.draw(chain.job_id(job), header))
    state = chain.contracts.oracle.job_state(chain.job_id(job))
    prevrandao = bytes.fromhex(block["mixHash"][2:])
    assert any(prevrandao) and state.seed == stake.seed_of(prevrandao, chain.job_id(job))
    assert chain.contracts.oracle.phase(job) == Phase.COMMITTING


def test_no_other_header_draws_the_jury(chain: OracleChain) -> None:
    job, number = drawable(chain, 2)
    header = block_header.fetch(chain.endpoint, number)
    fields = rlp.decode(header)
    chosen = rlp.encode([*fields[:PREVRANDAO], bytes(32), *fields[PREVRANDAO + 1 :]])
    others = [block_header.fetch(chain.endpoint, number + step) for step in (-1, 1)]
    for forged in (chosen, *others, b"", header[:-1], header + b"\0", header[1:]):
        assert isinstance(refusal(chain, job, forged), errors.HeaderMismatch)
    chain.requester.send(chain.contracts.oracle.draw(chain.job_id(job), header))


@pytest.fixture(scope="module")
def cheap_chain() -> Iterator[OracleChain]:
    """A deployment whose reference price is one wei, so that any base fee is above it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "DEV_BOUNDS", replace(DEV_BOUNDS, reference_price=1))
        with chains.oracle_chain("py-evm") as made:
            yield made


def challenging(chain: OracleChain, tree: MerkleTree) -> Job:
    job = chain.create()
    chain.draw(job)
    for worker, tickets in enumerate([(0, 1), (0,), (0,), (0,)]):
        chain.commit(job, worker, tree.root, tickets)
    for worker in range(4):
        chain.reveal(job, worker, tree.root)
    assert chain.contracts.oracle.phase(job) == Phase.CHALLENGING
    return job


def test_a_bond_is_dearer_when_gas_is(cheap_chain: OracleChain) -> None:
    chain, tree = cheap_chain, cheap_chain.results()
    job = challenging(chain, tree)
    node = Node(tree.root, 0, 0)
    receipt = chain.requester.send(chain.contracts.disputes.demand(job, node, 10**17))
    base_fee = int(chain.endpoint.ask("eth_getBlockByNumber", hex(receipt["blockNumber"]), False)["baseFeePerGas"], 16)
    assert base_fee > 1
    depth, row_length = merkle.depth_of(ITEMS), chain.network.row_length
    made = chain.contracts.disputes.demand_of(chain.job_id(job), node)
    assert made.bond == gas_budget.bond(0, depth, row_length, base_fee, 0)
    credit = chain.contracts.oracle.credit(chain.requester.account.address)
    assert credit == 10**17 - made.bond


def test_headers_of_any_fork_are_read_at_their_place() -> None:
    """Fields of every length before prevrandao, and any number of later fields."""
    evm = Chain()
    harness = Contract(evm, evm.deploy(load("ProtocolHarness")["bytecode"]), "ProtocolHarness")
    for extra, bloom, later in [
        (b"", bytes(256), 0),
        (b"x", bytes(256), 1),
        (b"y" * 32, bytes(300), 6),
        (b"\x80", b"", 2),
    ]:
        fields = [b"\1" * 32, b"\2" * 32, b"\3" * 20, b"\4" * 32, b"\5" * 32, b"\6" * 32, bloom, b"", b"\7", b"\x84",
                  b"", b"\xff" * 5, extra, b"\xab" * 32, bytes(8), *[b"\1"] * later]  # fmt: skip
        header = rlp.encode(fields)
        assert harness.read("prevrandao", header) == b"\xab" * 32
        for cut in range(0, len(header) - 9 - later, 13):
            if cut < header.index(b"\xab" * 32) + 32:
                with pytest.raises(errors.OracleRevert):
                    harness.read("prevrandao", header[:cut])
    huge_length = b"\xf9\x01\x00" + b"\xbf" + b"\xff" * 8
    with pytest.raises(errors.OracleRevert):
        harness.read("prevrandao", huge_length + bytes(600))
