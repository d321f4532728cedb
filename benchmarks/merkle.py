"""Merkle trees: building against bare hashlib calls, proofs, and what a proof costs on the chain."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

from eth_abi import decode, encode
from eth_utils import function_signature_to_4byte_selector
from pyrevm import EVM

from contracts.merkle import MerkleTree, depth_of, verify

HARNESS = Path(__file__).parent.parent / "tests" / "solidity" / "artifacts" / "MerkleProofHarness.json"
LEAVES = 1_000_000
ROUNDS = 5


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table. Takes some ten seconds."""
    return [*_building(), *_proving(), *_gas()]


def _row(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": f"merkle/{name}", "value": value, "unit": unit}


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    start = perf_counter()
    work()
    return perf_counter() - start


def _hashes_of(count: int) -> int:
    """How many pairs the tree over `count` leaves hashes: a pair for every two nodes, the last one maybe half empty."""
    hashes = 0
    for _ in range(depth_of(count)):
        count = (count + 1) // 2
        hashes += count
    return hashes


def _hash_bare(calls: int) -> None:
    pair = bytes(64)
    for _ in range(calls):
        sha256(pair).digest()


def _building() -> list[dict[str, Any]]:
    leaves = Random(1).randbytes(32 * LEAVES)
    calls = _hashes_of(LEAVES)
    # Taken in turns, the best of each: what else the machine does meanwhile hits both alike.
    rounds = [(_seconds(lambda: MerkleTree(leaves)), _seconds(lambda: _hash_bare(calls))) for _ in range(ROUNDS)]
    build, bare = min(each[0] for each in rounds), min(each[1] for each in rounds)
    tracemalloc.start()
    tree = MerkleTree(leaves)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tree.count == LEAVES
    return [
        _row("build/1M", round(build, 3), "s"),
        _row("build/1M/bare_hashlib", round(bare, 3), "s"),
        _row("build/1M/vs_bare_hashlib", round(build / bare, 2), "ratio"),
        _row("build/1M/memory_beside_leaves", round(peak / 1e6, 1), "MB"),  # the leaves' own buffer is shared
    ]


def _proving() -> list[dict[str, Any]]:
    tree = MerkleTree(Random(2).randbytes(32 * LEAVES))
    indices = Random(3).sample(range(LEAVES), 10_000)
    proofs: list[list[bytes]] = []
    proving = _seconds(lambda: proofs.extend(tree.proof(index) for index in indices))
    shown = [(tree.node(tree.depth, index), proof) for index, proof in zip(indices, proofs, strict=True)]
    verdicts: list[bool] = []
    checking = _seconds(
        lambda: verdicts.extend(
            verify(tree.root, LEAVES, index, *each) for index, each in zip(indices, shown, strict=True)
        )
    )
    assert all(verdicts)
    return [
        _row("proof/1M", round(proving / len(indices) * 1e6, 1), "µs"),
        _row("verify/depth20", round(checking / len(indices) * 1e6, 1), "µs"),
    ]


def _gas() -> list[dict[str, Any]]:
    """Execution gas inside a contract: without the transaction, its calldata and the dispatch."""
    evm, caller = EVM(), "0x" + "11" * 20
    evm.set_balance(caller, 10**20)
    harness = evm.deploy(caller, bytes.fromhex(json.loads(HARNESS.read_text())["bytecode"][2:]))

    def gas_of(name: str, types: list[str], *arguments: Any) -> int:
        calldata = function_signature_to_4byte_selector(f"{name}({','.join(types)})") + encode(types, arguments)
        (used,) = decode(["uint256"], bytes(evm.message_call(caller, harness, calldata=calldata, gas=10**7)))
        return int(used)

    rows = []
    for depth in (10, 20, 32):
        root = leaf = sha256(b"leaf").digest()
        siblings = [sha256(bytes([step])).digest() for step in range(depth)]
        for sibling in siblings:
            root = sha256(root + sibling).digest()
        types = ["bytes32", "uint256", "uint256", "bytes32", "bytes32[]"]
        rows.append(
            _row(f"verify/depth{depth}/gas", gas_of("gasOfVerify", types, root, depth, 0, leaf, siblings), "gas")
        )
    nodes = [sha256(bytes([index])).digest() for index in range(16)]
    return [*rows, _row("root_of_16_nodes/gas", gas_of("gasOfRootOf", ["bytes32[]"], nodes), "gas")]
