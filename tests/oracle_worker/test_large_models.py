"""A lie about a network of 20 million multiplications is refuted by the chain, in transactions that each fit the cap."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from coordinator.devnet import find_anvil
from models import stepwise
from models.canonical import to_onnx
from oracle_worker import challenges, duties
from oracle_worker.result import Done
from tests.models.image_networks import image_network
from tests.oracle_worker.stage import Liar, Operator, Posted, Stage, done, new_stage
from tests.requirements import missing

TRANSACTION_GAS_CAP = 16_777_216
NETWORK = image_network((12, 32, 32), kernel=5, outputs=66)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    if find_anvil() is None:  # the Python EVM takes minutes for 300 million gas
        missing("anvil", "npm install --prefix .tools @foundry-rs/anvil")
    with new_stage(tmp_path, kind="anvil") as made:
        made.network, made.model_id = NETWORK, made.register(NETWORK)
        measure(made)
        yield made


def measure(stage: Stage) -> None:
    """Anybody, in steps: the model can be used then."""
    registry = stage.contracts.registry
    row = bytes([255]) * NETWORK.row_length
    stage.owner.send(registry.begin(stage.model_id, row))
    state: stepwise.State | bytes = stepwise.first_state(NETWORK, row)
    for step in stepwise.plan(NETWORK):
        assert isinstance(state, stepwise.State)
        stage.owner.send(registry.advance(stage.model_id, sha256(row).digest(), state.encode(), step.values))
        state = stepwise.advance(NETWORK, state, step.values)


def refuter(stage: Stage, posted: Posted, operator: Operator) -> str | None:
    view = operator.roles.signer.view
    history = view.history(view.sight(posted.job))
    return next((history.refuted[root] for root in history.revealed if root in history.refuted), None)


def gas_of_transactions(stage: Stage, sender: str) -> list[int]:
    web3 = stage.owner.endpoint.web3
    blocks = (web3.eth.get_block(number, True) for number in range(web3.eth.block_number + 1))
    sent = [each["hash"] for block in blocks for each in block["transactions"] if each["from"] == sender]  # type: ignore[index]
    return [web3.eth.get_transaction_receipt(each)["gasUsed"] for each in sent]


def test_a_lie_about_a_convolutional_network_of_twenty_million_macs_is_refuted_in_steps_under_the_cap(
    stage: Stage, tmp_path: Path
) -> None:
    assert NETWORK.macs > 20_000_000 and stage.contracts.registry.model(stage.model_id).stepwise
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "image.onnx").write_bytes(to_onnx(NETWORK).SerializeToString())
    (liar,) = stage.jury(1, [Liar(0)], model_folders=(folder,))
    (honest,) = stage.jury(1, model_folders=(folder,))
    row = np.random.default_rng(3).integers(0, 256, (1, NETWORK.row_length), dtype=np.uint8)
    posted = stage.post(row, 2, quorum=2)
    done(duties.draw(liar.roles.signer, posted.job))
    for one in (liar, honest):
        done(one.commit(posted))
    for one in (liar, honest):
        done(duties.reveal(one.roles.signer, posted.job))

    said: list[str] = []
    while refuter(stage, posted, honest) is None:
        results = [challenges.act(honest.roles.signer, posted.job, action) for action in honest.due(posted)]
        said += [result.duty for result in results if isinstance(result, Done)]
        assert len(said) < 40
    assert said[0] == "begin" and said[-1] == "refute"
    assert said.count("advance") == len(said) - 2 >= 10
    gas = gas_of_transactions(stage, honest.account.address)
    assert max(gas) <= TRANSACTION_GAS_CAP and sum(gas) > 100_000_000
    assert refuter(stage, posted, honest) == honest.account.address
