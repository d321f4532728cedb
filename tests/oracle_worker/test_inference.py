"""Models found by what they are, results that are kept only while they are whole, and settings that say what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.job import Terms
from contracts.merkle import MerkleTree, input_leaf, result_leaf, verify
from models import interpreter, zoo
from models.canonical import to_onnx
from models.program import compile_network, model_id
from oracle_worker import inference, policy, settings
from oracle_worker.chunks import ChunkPlan, plan
from oracle_worker.data import DataStore
from oracle_worker.data_errors import DataMismatch
from oracle_worker.inference import Inference, JobInference, OnnxInference, ResultStore, measure_speed
from oracle_worker.model_store import Model, ModelNotFound, ModelStore, WrongModel
from oracle_worker.policy import PolicyRefusal
from oracle_worker.result_tree import ResultsChanged
from oracle_worker.settings import BadSettings
from tests.models.random_networks import random_networks

NETWORK = random_networks(3, 8)[3]
MODEL = Model(model_id(compile_network(NETWORK)), NETWORK, Path("memory"))
ROWS = np.random.default_rng(5).integers(0, 256, (77, NETWORK.row_length), np.uint8)
OUTPUTS = [row.astype(">i4").tobytes() for row in interpreter.run(NETWORK, ROWS)]
JOB_ID = b"\x0a" * 32


def terms_of(data_root: bytes, item_count: int) -> Terms:
    return Terms(
        model_id=MODEL.id,
        data_root=data_root,
        data_uri_hash=bytes(32),
        item_count=item_count,
        seats=1,
        quorum=1,
        seat_stake=1,
        reward=0,
        commit_window=9,
        reveal_window=9,
        challenge_window=9,
        response_window=9,
    )


class Counting:
    """The honest inference, counting the rows it runs."""

    def __init__(self) -> None:
        self.honest = OnnxInference()
        self.rows = 0

    def run(self, model: Model, rows: NDArray[np.uint8], first: int) -> NDArray[np.int32]:
        self.rows += len(rows)
        return self.honest.run(model, rows, first)


def work(folder: Path, runs: Inference, chunk_depth: int = 4) -> JobInference:
    root = MerkleTree([input_leaf(row.tobytes()) for row in ROWS]).root
    terms = terms_of(root, len(ROWS))
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "rows").write_bytes(ROWS.tobytes())
    given = settings.load(chunk_depth=chunk_depth, data_folders=(source,))
    data = DataStore(folder / "data", given).fetch(terms, (source / "rows").as_uri(), NETWORK.row_length)
    return JobInference(JOB_ID, MODEL, data, runs, ResultStore(folder / "results", 1 << 30))


@pytest.mark.parametrize("chunk_depth", [0, 2, 4, 7, 16])
def test_results_are_the_interpreters_and_their_root_the_whole_trees(tmp_path: Path, chunk_depth: int) -> None:
    job = work(tmp_path, OnnxInference(), chunk_depth)
    leaves = [result_leaf(index, output) for index, output in enumerate(OUTPUTS)]
    tree = job.tree()
    assert tree.root == MerkleTree(leaves).root
    for index in (0, 40, 76):
        assert job.output(index) == OUTPUTS[index]
        assert verify(tree.root, len(ROWS), index, leaves[index], tree.path(tree.depth, index))


def test_results_on_disk_are_not_computed_again(tmp_path: Path) -> None:
    counting = Counting()
    work(tmp_path, counting).tree()
    assert counting.rows == len(ROWS)
    work(tmp_path, counting).tree()
    assert counting.rows == len(ROWS)


@pytest.mark.parametrize("harm", ["flip", "cut", "grow", "empty", "root", "magic"])
def test_results_that_the_disk_changed_are_computed_again(tmp_path: Path, harm: str) -> None:
    counting = Counting()
    job = work(tmp_path, counting)
    right = job.tree().root
    path = job.results.path(JOB_ID, 2)
    content = bytearray(path.read_bytes())
    place = {"flip": 60, "root": 20, "magic": 0}.get(harm)
    if place is not None:
        content[place] ^= 4
    if harm == "cut":
        del content[-1]
    elif harm == "grow":
        content += b"x"
    elif harm == "empty":
        content.clear()
    path.write_bytes(content)
    again = work(tmp_path, counting).tree()
    assert again.root == right
    assert again.nodes(again.depth, 0, len(ROWS)) == job.tree().nodes(again.depth, 0, len(ROWS))
    assert counting.rows == len(ROWS) + 16


def test_roots_are_read_without_hashing_what_they_are_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = work(tmp_path, OnnxInference()).tree()
    hashed: list[int] = []
    genuine = inference._tree

    def hash_again(outputs: bytes, cut: ChunkPlan, chunk: int) -> MerkleTree:
        hashed.append(chunk)
        return genuine(outputs, cut, chunk)

    monkeypatch.setattr(inference, "_tree", hash_again)
    tree = work(tmp_path, OnnxInference()).tree()
    assert tree.root == right.root
    assert hashed == []
    tree.nodes(tree.depth, 33, 35)  # in the third chunk
    assert hashed == [2]


def test_results_of_another_root_than_the_one_on_disk_are_noticed(tmp_path: Path) -> None:
    job = work(tmp_path, OnnxInference())
    job.tree()
    path = job.results.path(JOB_ID, 2)
    forged = inference._head(JOB_ID, 2, bytes(32))  # as if the results had been others, and then were computed again
    path.write_bytes(forged + path.read_bytes()[len(forged) :])
    tree = work(tmp_path, OnnxInference()).tree()
    with pytest.raises(ResultsChanged, match="chunk 2"):
        tree.nodes(tree.depth, 33, 34)
    assert work(tmp_path, OnnxInference()).tree().root != tree.root


def test_results_of_data_that_the_disk_changed_are_never_kept(tmp_path: Path) -> None:
    job = work(tmp_path, OnnxInference())
    (path,) = (tmp_path / "data").glob("*.rows")
    content = bytearray(path.read_bytes())
    content[20 * NETWORK.row_length] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataMismatch):
        job.chunk(1)
    assert not job.results.path(JOB_ID, 1).exists()
    job.chunk(0)


def test_the_speed_of_this_machine_is_measured() -> None:
    assert measure_speed(MODEL, OnnxInference()) > 100


def test_chunks_cover_every_item_once() -> None:
    for count in (1, 2, 15, 16, 17, 300):
        for depth in (0, 1, 4, 20):
            cut = plan(count, depth)
            assert [index for items in cut.all_items() for index in items] == list(range(count))
            with pytest.raises(IndexError, match="not"):
                cut.items(cut.count)


def test_a_model_is_found_by_its_id_whatever_its_files_name(tmp_path: Path) -> None:
    (tmp_path / "anything.onnx").write_bytes(to_onnx(NETWORK).SerializeToString())
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    store = ModelStore((tmp_path,))
    assert store.find(MODEL.id).path == tmp_path / "anything.onnx"
    wine = zoo.load("wine-grading").network
    assert store.find(model_id(compile_network(wine))).network.row_length == 13


def test_a_model_that_is_nowhere_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=f"{tmp_path}.*zoo"):
        ModelStore((tmp_path,)).find(bytes(32))


def test_a_file_named_after_a_model_it_does_not_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{MODEL.id.hex()}.onnx"
    store = ModelStore((tmp_path,))
    other = random_networks(4, 2)[1]
    for content in (to_onnx(other).SerializeToString(), b"", b"rubbish"):
        path.write_bytes(content)
        with pytest.raises(WrongModel, match="replace or remove"):
            store.find(MODEL.id)
    path.write_bytes(to_onnx(NETWORK).SerializeToString())
    assert store.find(MODEL.id).path == path


def test_a_model_file_that_changes_is_compiled_again(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(to_onnx(random_networks(4, 2)[1]).SerializeToString())
    store = ModelStore((tmp_path,))
    with pytest.raises(ModelNotFound):
        store.find(MODEL.id)
    path.unlink()
    path.write_bytes(to_onnx(NETWORK).SerializeToString())
    assert store.find(MODEL.id).network.macs == NETWORK.macs


def test_a_job_that_takes_longer_than_is_left_is_refused() -> None:
    terms = terms_of(bytes(32), 1000)
    given = settings.load(speed_margin=2.0)
    policy.check_time(given, terms, 20, 100.0)
    with pytest.raises(PolicyRefusal, match="19 s are left"):
        policy.check_time(given, terms, 19, 100.0)
    policy.check_time(settings.load(speed_margin=2.0, compute_processes=2), terms, 10, 100.0)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"confirmations": -1}, "QUORATE_CONFIRMATIONS"),
        ({"chunk_depth": 25}, "QUORATE_CHUNK_DEPTH"),
        ({"worker": "0x12"}, "QUORATE_WORKER"),
        ({"allowed_models": "zz"}, "QUORATE_ALLOWED_MODELS"),
        ({"queue_prefix": "a b"}, "QUORATE_QUEUE_PREFIX"),
        ({"data_seconds": "soon"}, "QUORATE_DATA_SECONDS"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_settings_name_their_key(given: dict[str, Any], key: str) -> None:
    with pytest.raises(BadSettings, match=key):
        settings.load(**given)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORATE_MODEL_FOLDERS", "/a, /b")
    monkeypatch.setenv("QUORATE_ALLOWED_MODELS", "0x" + "AB" * 32)
    monkeypatch.setenv("QUORATE_CONFIRMATIONS", "many")
    monkeypatch.setenv("QUORATE_BROKER_URL", "redis://:word@127.0.0.1/0")
    with pytest.raises(BadSettings, match="QUORATE_CONFIRMATIONS") as caught:
        settings.load()
    assert "word" not in str(caught.value)
    assert "many" not in str(caught.value)
    loaded = settings.load(confirmations=3)
    assert loaded.model_folders == (Path("/a"), Path("/b"))
    assert loaded.allowed_models == ("ab" * 32,)
