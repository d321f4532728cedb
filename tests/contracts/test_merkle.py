"""Merkle trees, in Python and in Solidity: the same vectors, the same attacks, and each other as witnesses."""

from __future__ import annotations

import json
import random
import re
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_abi import decode, encode
from eth_utils import function_signature_to_4byte_selector as selector
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrevm import EVM

from contracts import merkle
from contracts.merkle import EMPTY_LEAF, MerkleTree

TESTS = Path(__file__).parent.parent
ARTIFACT = json.loads((TESTS / "solidity" / "artifacts" / "MerkleProofHarness.json").read_text())
VECTORS = json.loads((TESTS / "vectors" / "merkle.json").read_text())
CALLER = "0x" + "11" * 20
SOME = settings(deadline=None, max_examples=60)


class Reverted(Exception):
    """The harness reverted or ran out of gas; `data` is what it returned (empty if out of gas)."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        found = re.search(r"output: 0x([0-9a-f]*)", message)
        self.data = bytes.fromhex(found.group(1) if found else "")


class Harness:
    """MerkleProofHarness in an EVM: `harness.call("verify", …)`."""

    def __init__(self) -> None:
        self.evm = EVM()
        self.evm.set_balance(CALLER, 10**20)
        self.address = self.evm.deploy(CALLER, bytes.fromhex(ARTIFACT["bytecode"][2:]))
        self.functions = {each["name"]: each for each in ARTIFACT["abi"] if each["type"] == "function"}

    def runtime_code(self) -> bytes:
        code = self.evm.get_code(self.address)
        assert code
        return bytes(code)

    def calldata(self, name: str, *arguments: Any) -> bytes:
        types = [each["type"] for each in self.functions[name]["inputs"]]
        return selector(f"{name}({','.join(types)})") + encode(types, arguments)

    def call(self, name: str, *arguments: Any, gas: int = 30_000_000) -> Any:
        """The function's only return value. Raises Reverted."""
        try:
            answer = self.evm.message_call(CALLER, self.address, calldata=self.calldata(name, *arguments), gas=gas)
        except RuntimeError as error:
            raise Reverted(str(error)) from error
        (value,) = decode([self.functions[name]["outputs"][0]["type"]], bytes(answer))
        return value


@pytest.fixture(scope="module")
def harness() -> Harness:
    return Harness()


def make_leaves(count: int, seed: int = 0) -> list[bytes]:
    return [sha256(b"%d %d" % (seed, index)).digest() for index in range(count)]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def unhex_all(texts: list[str]) -> list[bytes]:
    return [unhex(text) for text in texts]


def verify_everywhere(
    harness: Harness, root: bytes, count: int, index: int, leaf: bytes, siblings: list[bytes]
) -> set[bool]:
    """What Python, the assembly and its naive twin say of a proof: a set of one if they agree."""
    on_chain = (root, merkle.depth_of(count), index, leaf, siblings)
    return {
        merkle.verify(root, count, index, leaf, siblings),
        harness.call("verify", *on_chain),
        harness.call("naiveVerify", *on_chain),
    }


def flip_bit(word: bytes, bit: int) -> bytes:
    return (int.from_bytes(word, "big") ^ (1 << bit)).to_bytes(32, "big")


# Shared vectors


@pytest.mark.parametrize("case", VECTORS["input_leaves"], ids=lambda case: f"{len(case['row']) // 2 - 1} bytes")
def test_input_leaf_is_the_hash_of_the_row(harness: Harness, case: dict[str, Any]) -> None:
    row, leaf = unhex(case["row"]), unhex(case["leaf"])
    assert merkle.input_leaf(row) == leaf
    assert harness.call("inputLeaf", row) == leaf


@pytest.mark.parametrize("case", VECTORS["result_leaves"], ids=lambda case: str(case["index"]))
def test_result_leaf_binds_index_and_output(harness: Harness, case: dict[str, Any]) -> None:
    output, leaf = unhex(case["output"]), unhex(case["leaf"])
    assert merkle.result_leaf(case["index"], output) == leaf
    assert harness.call("resultLeaf", case["index"], output) == leaf


@pytest.mark.parametrize("case", VECTORS["depths"], ids=lambda case: str(case["count"]))
def test_depth_follows_from_the_item_count(harness: Harness, case: dict[str, Any]) -> None:
    assert merkle.depth_of(case["count"]) == case["depth"]
    assert harness.call("depthOf", case["count"]) == case["depth"]
    assert harness.call("naiveDepthOf", case["count"]) == case["depth"]


@pytest.mark.parametrize("case", VECTORS["empty_roots"], ids=lambda case: str(case["height"]))
def test_empty_subtrees_have_known_roots(harness: Harness, case: dict[str, Any]) -> None:
    assert merkle.empty_root(case["height"]) == unhex(case["root"])
    if case["height"] <= 4:
        assert harness.call("rootOf", [EMPTY_LEAF] * (1 << case["height"])) == unhex(case["root"])


@pytest.mark.parametrize("case", VECTORS["levels"], ids=lambda case: str(case["depth"]))
def test_dispute_levels_are_four_binary_levels_apart(harness: Harness, case: dict[str, Any]) -> None:
    depth = case["depth"]
    assert merkle.last_level(depth) == harness.call("lastLevel", depth) == case["last_level"]
    for level, expected in enumerate(case["level_depths"]):
        assert merkle.level_depth(level, depth) == harness.call("levelDepth", level, depth) == expected
        assert merkle.level_width(level, depth) == 2**expected


@pytest.mark.parametrize("case", VECTORS["trees"], ids=lambda case: str(len(case["leaves"])))
def test_tree_and_proofs_match_the_vectors(harness: Harness, case: dict[str, Any]) -> None:
    leaves, root = unhex_all(case["leaves"]), unhex(case["root"])
    tree = MerkleTree(leaves)
    assert (tree.root, tree.depth, tree.count) == (root, case["depth"], len(leaves))
    for proof in case["proofs"]:
        siblings = unhex_all(proof["siblings"])
        assert tree.proof(proof["index"]) == siblings
        assert verify_everywhere(harness, root, len(leaves), proof["index"], unhex(proof["leaf"]), siblings) == {True}


@pytest.mark.parametrize("case", VECTORS["forgeries"], ids=lambda case: str(case["why"]))
def test_forged_proof_fails(harness: Harness, case: dict[str, Any]) -> None:
    root, leaf, siblings = unhex(case["root"]), unhex(case["leaf"]), unhex_all(case["siblings"])
    assert verify_everywhere(harness, root, case["count"], case["index"], leaf, siblings) == {False}


@pytest.mark.parametrize("case", VECTORS["roots"], ids=lambda case: str(len(case["nodes"])))
def test_nodes_of_a_level_have_their_trees_root(harness: Harness, case: dict[str, Any]) -> None:
    nodes, root = unhex_all(case["nodes"]), unhex(case["root"])
    assert MerkleTree(nodes).root == root
    assert harness.call("rootOf", nodes) == harness.call("naiveRootOf", nodes) == root


# Against merkletools


@pytest.mark.parametrize("count", [1, 2, 4, 8, 64, 1024, 8192])
def test_perfect_trees_equal_merkletools(count: int) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for pysha3, which its SHA-256 does not need
            import merkletools
    except ImportError:
        from tests.requirements import missing

        missing("merkletools", "pip install --no-deps merkletools==1.0.3")
    leaves = make_leaves(count)
    theirs: Any = merkletools.MerkleTools(hash_type="sha256")  # type: ignore[no-untyped-call]
    theirs.add_leaf([leaf.hex() for leaf in leaves])
    theirs.make_tree()
    ours = MerkleTree(leaves)
    assert ours.root.hex() == theirs.get_merkle_root()
    for index in {0, count // 3, count // 2, count - 1}:
        steps = theirs.get_proof(index)
        assert [sibling.hex() for sibling in ours.proof(index)] == [next(iter(step.values())) for step in steps]
        assert [index >> step & 1 for step in range(len(steps))] == [int("left" in step) for step in steps]


# Attacks on proofs


@SOME
@given(
    count=st.integers(1, 300),
    place=st.integers(0, 2**32),
    part=st.integers(0, 2**32),
    bit=st.integers(0, 255),
)
def test_any_changed_bit_breaks_a_proof(harness: Harness, count: int, place: int, part: int, bit: int) -> None:
    tree = MerkleTree(make_leaves(count))
    index = place % (1 << tree.depth)
    words = [tree.root, tree.node(tree.depth, index), *tree.proof(index)]
    assert verify_everywhere(harness, words[0], count, index, words[1], words[2:]) == {True}
    words[part % len(words)] = flip_bit(words[part % len(words)], bit)
    assert verify_everywhere(harness, words[0], count, index, words[1], words[2:]) == {False}


@SOME
@given(count=st.integers(1, 300), place=st.integers(0, 2**32), bit=st.integers(0, 255))
def test_any_changed_bit_of_the_index_breaks_a_proof(harness: Harness, count: int, place: int, bit: int) -> None:
    tree = MerkleTree(make_leaves(count))
    index = place % count
    shown = index ^ (1 << bit)
    proof = (tree.node(tree.depth, index), tree.proof(index))
    assert verify_everywhere(harness, tree.root, count, shown, *proof) == {False}


@SOME
@given(count=st.integers(1, 300), place=st.integers(0, 2**32), depth=st.integers(0, 64))
def test_any_other_depth_breaks_a_proof(harness: Harness, count: int, place: int, depth: int) -> None:
    tree = MerkleTree(make_leaves(count))
    index = place % count
    proof = (tree.node(tree.depth, index), tree.proof(index))
    expected = {depth == tree.depth}
    assert verify_everywhere(harness, tree.root, 1 << depth, index, *proof) == expected


def test_node_cannot_be_shown_as_a_leaf_nor_a_leaf_as_a_node(harness: Harness) -> None:
    """Second preimage: a 64-byte row hashes exactly like the node over two leaves, and must not become one."""
    left, right = make_leaves(2)
    row = left + right
    assert merkle.input_leaf(row) == MerkleTree([left, right]).root
    root = MerkleTree([merkle.input_leaf(row)]).root
    assert verify_everywhere(harness, root, 1, 0, left, [right]) == {False}
    assert verify_everywhere(harness, root, 2, 0, root, []) == {False}
    assert verify_everywhere(harness, root, 1, 0, merkle.input_leaf(row), []) == {True}


def test_bytes_moved_between_leaf_and_sibling_do_not_pass() -> None:
    """leaf ‖ sibling is the same 64 bytes wherever it is cut; Solidity's bytes32 cannot be cut at all."""
    leaf, sibling = make_leaves(2)
    root = MerkleTree([leaf, sibling]).root
    both = leaf + sibling
    assert merkle.verify(root, 2, 0, leaf, [sibling])
    for cut in [0, 1, 31, 33, 64]:
        assert not merkle.verify(root, 2, 0, both[:cut], [both[cut:]])


def test_negative_index_proves_nothing() -> None:
    tree = MerkleTree(make_leaves(4))
    assert not merkle.verify(tree.root, 4, -1, tree.node(2, 3), tree.proof(3))


def test_padding_is_proved_as_empty_leaves(harness: Harness) -> None:
    tree = MerkleTree(make_leaves(5))
    for index in [5, 6, 7]:
        assert verify_everywhere(harness, tree.root, 5, index, EMPTY_LEAF, tree.proof(index)) == {True}


def test_inner_nodes_are_proved_at_their_own_depth(harness: Harness) -> None:
    tree = MerkleTree(make_leaves(200))
    for level in range(merkle.last_level(tree.depth)):
        depth, below = merkle.level_depth(level, tree.depth), merkle.level_depth(level + 1, tree.depth)
        fan_out = 1 << (below - depth)
        for index in {0, merkle.level_width(level, tree.depth) // 2, merkle.level_width(level, tree.depth) - 1}:
            node = harness.call("rootOf", tree.nodes(below, index * fan_out, (index + 1) * fan_out))
            assert node == tree.node(depth, index)
            assert harness.call("verify", tree.root, depth, index, node, tree.path(depth, index)) is True


def test_want_of_gas_reverts_and_never_becomes_a_verdict(harness: Harness) -> None:
    """A caller that sends too little gas must not make a good proof look bad, or a bad one good."""
    tree = MerkleTree(make_leaves(300))
    index, leaf, siblings = 137, tree.node(tree.depth, 137), tree.proof(137)
    outcomes = set()
    for gas in range(21_000, 60_000, 97):
        for shown, expected in ((leaf, True), (flip_bit(leaf, 0), False)):
            try:
                assert harness.call("verify", tree.root, tree.depth, index, shown, siblings, gas=gas) is expected
                outcomes.add(expected)
            except Reverted as refusal:
                assert refusal.data == b""
                outcomes.add(None)
    assert outcomes == {True, False, None}


def test_chain_without_the_precompile_proves_nothing(harness: Harness) -> None:
    """There a call to address 2 succeeds and returns nothing: the node in scratch space would pass for its own hash."""
    from eth.abc import VirtualMachineAPI
    from eth.chains.base import MiningChain
    from eth.consensus.noproof import NoProofConsensus
    from eth.db.atomic import AtomicDB
    from eth.vm.forks.cancun import CancunVM
    from eth.vm.forks.cancun.computation import CancunComputation
    from eth.vm.forks.cancun.state import CancunState
    from eth_typing import Address

    class Computation(CancunComputation):
        _precompiles = {k: v for k, v in CancunComputation._precompiles.items() if k[-1] != 2}  # noqa: RUF012

    def read(without: bool, name: str, *arguments: Any) -> Any:
        state = type("State", (CancunState,), {"computation_class": Computation}) if without else CancunState
        vm = type("VM", (CancunVM,), {"_state_class": state, "consensus_class": NoProofConsensus})
        chain = MiningChain.configure("Chain", vm_configuration=((0, vm),), chain_id=1)
        virtual: VirtualMachineAPI = chain.from_genesis(AtomicDB(), {"gas_limit": 30_000_000}).get_vm()
        return virtual.execute_bytecode(
            origin=Address(bytes(20)), gas_price=10**9, gas=10**6, to=Address(b"\1" * 20), sender=Address(bytes(20)), value=0,
            data=harness.calldata(name, *arguments), code=harness.runtime_code(),
        )  # fmt: skip

    leaves = make_leaves(2)
    tree = MerkleTree(leaves)
    assert read(False, "verify", tree.root, 1, 0, leaves[0], [leaves[1]]).output == encode(["bool"], [True])
    assert read(False, "rootOf", leaves).output == tree.root
    for forged in (("verify", leaves[0], 1, 0, leaves[0], [leaves[1]]), ("rootOf", leaves)):
        assert read(True, *forged).is_error, forged[0]


# The assembly


@SOME
@given(seed=st.integers(0, 2**32), depth=st.integers(0, 32), data=st.data())
def test_assembly_equals_its_naive_twin(harness: Harness, seed: int, depth: int, data: st.DataObject) -> None:
    words = random.Random(seed)
    index = data.draw(st.integers(0, (1 << depth) - 1))
    leaf, siblings = words.randbytes(32), [words.randbytes(32) for _ in range(depth)]
    root = leaf
    for step, sibling in enumerate(siblings):
        root = sha256(sibling + root if index >> step & 1 else root + sibling).digest()
    for shown in (root, words.randbytes(32)):
        for place in (index, index ^ 1, index + (1 << depth)):
            assert harness.call("verify", shown, depth, place, leaf, siblings) == harness.call(
                "naiveVerify", shown, depth, place, leaf, siblings
            )
    assert harness.call("verify", root, depth, index, leaf, siblings) is True


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16, 32, 64, 128])
def test_root_of_nodes_equals_its_naive_twin_and_leaves_memory_alone(harness: Harness, count: int) -> None:
    nodes = make_leaves(count, seed=count)
    assert harness.call("rootOf", nodes) == harness.call("naiveRootOf", nodes) == MerkleTree(nodes).root
    assert harness.call("memorySurvives", nodes) is True


def test_gas_of_a_proof_depends_on_its_depth_alone(harness: Harness) -> None:
    depth, siblings = 20, make_leaves(20)
    used = set()
    for index in [0, 1, 0b1010 << 16, (1 << depth) - 1]:
        root = leaf = sha256(b"%d" % index).digest()
        for step, sibling in enumerate(siblings):
            root = sha256(sibling + root if index >> step & 1 else root + sibling).digest()
        used.add(harness.call("gasOfVerify", root, depth, index, leaf, siblings))
    assert len(used) == 1
    assert used.pop() <= 6_800


@pytest.mark.parametrize("count", [0, 3, 5, 6, 7, 12, 15, 17])
def test_only_powers_of_two_have_a_root(harness: Harness, count: int) -> None:
    for function in ("rootOf", "naiveRootOf"):
        with pytest.raises(Reverted) as refusal:
            harness.call(function, make_leaves(count))
        assert refusal.value.data == selector("NotPowerOfTwo(uint256)") + encode(["uint256"], [count])


@pytest.mark.parametrize("count", [0, 2**64 + 1, 2**255, 2**256 - 1])
def test_tree_of_no_items_or_too_many_is_refused(harness: Harness, count: int) -> None:
    with pytest.raises(ValueError, match=f"not {count}"):
        merkle.depth_of(count)
    with pytest.raises(Reverted) as refusal:
        harness.call("depthOf", count)
    assert refusal.value.data == selector("CountOutOfRange(uint256)") + encode(["uint256"], [count])


@pytest.mark.parametrize("index", [2**64, 2**64 + 1, 2**256 - 1])
def test_index_beyond_eight_bytes_is_refused_not_cut_off(harness: Harness, index: int) -> None:
    with pytest.raises(ValueError, match=f"not {index}"):
        merkle.result_leaf(index, b"output")
    with pytest.raises(Reverted) as refusal:
        harness.call("resultLeaf", index, b"output")
    assert refusal.value.data == selector("IndexOutOfRange(uint256)") + encode(["uint256"], [index])


def test_negative_index_has_no_result_leaf() -> None:
    with pytest.raises(ValueError, match="not -1"):
        merkle.result_leaf(-1, b"output")


@pytest.mark.parametrize("level", [2**62, 2**254, 2**255 + 1, 2**256 - 1])
def test_enormous_level_is_the_leaves_level_and_does_not_wrap(harness: Harness, level: int) -> None:
    assert merkle.level_depth(level, 20) == harness.call("levelDepth", level, 20) == 20


# The Python tree


@SOME
@given(count=st.integers(1, 200))
def test_stored_levels_equal_a_tree_hashed_with_all_its_padding(count: int) -> None:
    tree = MerkleTree(make_leaves(count))
    level = make_leaves(count) + [EMPTY_LEAF] * ((1 << tree.depth) - count)
    for depth in range(tree.depth, -1, -1):
        assert tree.nodes(depth, 0, 1 << depth) == level
        level = [sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_leaves_come_in_any_buffer_or_one_by_one(kind: type) -> None:
    leaves = make_leaves(21)
    assert MerkleTree(kind(b"".join(leaves))).root == MerkleTree(leaf for leaf in leaves).root


def test_tree_keeps_its_leaves_when_the_buffer_changes() -> None:
    buffer = bytearray(b"".join(make_leaves(4)))
    tree = MerkleTree(buffer)
    buffer[0] ^= 1
    assert merkle.verify(tree.root, 4, 0, tree.node(2, 0), tree.proof(0))


def test_levels_longer_than_a_batch_are_hashed_whole() -> None:
    count = 2 * merkle.PAIRS_AT_ONCE * 2 + 3
    level = make_leaves(count)
    tree = MerkleTree(level)
    level += [EMPTY_LEAF] * ((1 << tree.depth) - count)
    while len(level) > 1:
        level = [sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
    assert tree.root == level[0]


@pytest.mark.parametrize(
    ("leaves", "advice"),
    [
        ([], "1 to 2\\^64 items, not 0"),
        (b"", "1 to 2\\^64 items, not 0"),
        (bytes(33), "cannot be 33 bytes long"),
        ([bytes(32), bytes(31)], "hash 1 is 31 bytes long"),
        ([bytes(16), bytes(48)], "hash 0 is 16 bytes long"),
    ],
)
def test_malformed_leaves_are_refused(leaves: Any, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        MerkleTree(leaves)


def test_node_outside_the_tree_is_refused() -> None:
    tree = MerkleTree(make_leaves(5))
    for attempt in (
        lambda: tree.node(4, 0),
        lambda: tree.node(-1, 0),
        lambda: tree.node(2, 4),
        lambda: tree.node(3, -1),
        lambda: tree.nodes(3, 5, 9),
        lambda: tree.nodes(3, 5, 4),
        lambda: tree.proof(8),
        lambda: tree.proof(-1),
    ):
        with pytest.raises(IndexError, match="not"):
            attempt()


# Chunks hashed elsewhere


@SOME
@given(count=st.integers(1, 200), data=st.data())
def test_combined_chunks_are_the_whole_tree(count: int, data: st.DataObject) -> None:
    leaves = make_leaves(count)
    whole = MerkleTree(leaves)
    subtree_depth = data.draw(st.integers(0, whole.depth))
    size = 1 << subtree_depth
    chunks = [MerkleTree(leaves[start : start + size], depth=subtree_depth) for start in range(0, count, size)]
    top = merkle.combine((chunk.root for chunk in chunks), subtree_depth, count)
    assert (top.root, top.depth, top.count) == (whole.root, whole.depth, whole.count)
    for depth in range(whole.depth - subtree_depth + 1):
        assert top.nodes(depth, 0, 1 << depth) == whole.nodes(depth, 0, 1 << depth)
    for index in range(count):
        assert top.proof(index, chunks[index // size]) == whole.proof(index)


def test_short_last_chunk_pads_to_the_chunks_depth() -> None:
    chunk = MerkleTree(make_leaves(3), depth=10)
    assert chunk.depth == 10
    assert chunk.root == MerkleTree(make_leaves(3) + [EMPTY_LEAF] * 1021).root


@pytest.mark.parametrize("depth", [-1, 0, 1, 65])
def test_depth_that_cannot_hold_the_leaves_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="3 leaves need a depth of 2 to 64"):
        MerkleTree(make_leaves(3), depth=depth)


@pytest.mark.parametrize(
    ("roots", "subtree_depth", "count", "advice"),
    [
        (1, 2, 5, "5 items are 2 chunks of 2\\^2, not 1"),
        (3, 2, 5, "5 items are 2 chunks of 2\\^2, not 3"),
        (0, 2, 5, "5 items are 2 chunks of 2\\^2, not 0"),
        (1, 4, 5, "have a depth of 0 to 3, not 4"),
        (1, -1, 5, "have a depth of 0 to 3, not -1"),
        (1, 0, 0, "1 to 2\\^64 items, not 0"),
    ],
)
def test_chunks_that_do_not_fit_the_count_are_refused(roots: int, subtree_depth: int, count: int, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        merkle.combine(make_leaves(roots), subtree_depth, count)


def test_proof_from_the_wrong_chunk_is_refused() -> None:
    leaves = make_leaves(10)
    chunks = [MerkleTree(leaves[start : start + 4], depth=2) for start in range(0, 10, 4)]
    top = merkle.combine([chunk.root for chunk in chunks], 2, 10)
    with pytest.raises(ValueError, match="item 5 is in chunk 1"):
        top.proof(5, chunks[0])
    with pytest.raises(IndexError, match="not"):
        top.proof(16, chunks[0])
    with pytest.raises(IndexError, match="depths 0 to 2, not 3"):
        top.node(3, 0)
