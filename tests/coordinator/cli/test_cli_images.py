"""A convolutional network's verdict through the command line: the tag is shown, and a false one is refuted on chain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts import errors
from contracts.disputes import InputProof, ResultProof
from contracts.job import Outcome
from contracts.merkle import MerkleTree, input_leaf, result_leaf
from contracts.transactor import cost
from models import zoo
from models.runtime import Runtime
from tests.coordinator.cli.conftest import Chain, Cli
from tests.coordinator.cli.lives import SHORT, Life, stake_everything

STAKED = 10**19
IMAGES = 12


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """The first digits of scikit-learn as the data has them, (n, 8, 8) of 0 … 16."""
    datasets = pytest.importorskip("sklearn.datasets")
    return np.asarray(datasets.load_digits().images[:IMAGES])


@pytest.fixture
def life(cli: Cli, network: Chain, requester: str, images: np.ndarray, tmp_path: Path) -> Life:
    """A job of one seat of all the stake there is over the images, which the one worker sits on for certain."""
    registered = cli("model", "register", "digit-tagging", "--json")
    assert registered.code == 0, registered.err
    stake_everything(network, STAKED)
    np.save(tmp_path / "digits.npy", images)
    seat = ("--seats", 1, "--quorum", 1, "--seat-stake", STAKED)
    where = ("--data", tmp_path / "digits.npy", "--publish", tmp_path / "data")
    ran = cli("job", "submit", "--model", "digit-tagging", *where, "--reward", "0.01 ether", *seat, *SHORT, "--json")
    assert ran.code == 0, ran.err
    return Life(network, bytes.fromhex(ran.data["job_id"][2:]))


def rows_of(images: np.ndarray) -> np.ndarray:
    return zoo.load("digit-tagging").card.scaling.to_rows(images.reshape(len(images), -1))


def outputs_of(images: np.ndarray) -> list[bytes]:
    logits = Runtime(zoo.load("digit-tagging").network).run(rows_of(images))
    return [row.astype(">i4").tobytes() for row in logits]


def tree_of(outputs: list[bytes]) -> MerkleTree:
    return MerkleTree([result_leaf(index, output) for index, output in enumerate(outputs)])


def test_a_verdict_on_an_image_shows_its_tag(cli: Cli, network: Chain, life: Life, images: np.ndarray) -> None:
    outputs = outputs_of(images)
    life.reveal(tree_of(outputs).root)
    network.pass_time(301)
    shown = "0x" + life.job_id.hex()
    assert cli("job", "settle", shown, "--json").data["outcome"] == "accepted"
    for index in (0, 7, IMAGES - 1):
        got = cli("verdict", "get", shown, index, "--json")
        assert got.code == 0, got.err
        assert got.data["class"] == f"digit-{index % 10}"  # the data begins with 0, 1, … 9, 0, 1
        assert got.data["output"] == "0x" + outputs[index].hex()
    assert "digit-3" in cli("verdict", "get", shown, 3).out
    assert cli("verdict", "check", shown, 3, "--json").data["holds"] is True
    life.release()


def test_a_false_tag_is_refuted_by_executing_the_network_on_chain(
    network: Chain, life: Life, images: np.ndarray
) -> None:
    """The worker claims one logit of one image off by one bit; whoever has the image has the chain run the network on it."""
    outputs, rows = outputs_of(images), rows_of(images)
    data = MerkleTree([input_leaf(row.tobytes()) for row in rows])
    false = list(outputs)
    false[5] = false[5][:-1] + bytes([false[5][-1] ^ 1])
    claimed = tree_of(false)
    life.reveal(claimed.root)
    proof = ResultProof(claimed.root, 5, result_leaf(5, false[5]), claimed.proof(5))
    refuter = network.transactor(3)
    true = ResultProof(claimed.root, 4, result_leaf(4, outputs[4]), claimed.proof(4))
    with pytest.raises(errors.OracleRevert, match="LeafIsRight"):
        refuter.send(
            network.contracts.disputes.refute(life.view().job, true, InputProof(rows[4].tobytes(), data.proof(4)))
        )
    receipt = refuter.send(
        network.contracts.disputes.refute(life.view().job, proof, InputProof(rows[5].tobytes(), data.proof(5)))
    )
    assert receipt["gasUsed"] < 2_000_000 and cost(receipt) > 0
    network.pass_time(301)
    refuter.send(network.contracts.oracle.settle(life.view().job))
    assert life.view().state.outcome is Outcome.HUNG  # the one root there was is refuted
