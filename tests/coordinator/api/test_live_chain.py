"""The dashboard on a real chain: a job from creation to settlement, its dispute, a proof, a restart, a reorganisation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest

from contracts.disputes import Node
from contracts.endpoint import Endpoint
from contracts.job import data_uri_hash
from coordinator.api.app import create_app
from coordinator.api.feed import Feed
from coordinator.api.server import bind, serving
from coordinator.daemon import Daemon
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.witness import Witness
from coordinator.settings import load
from models.canonical import to_onnx
from oracle_worker import settings as worker_settings
from tests.coordinator.oracle_chain import OracleChain, oracle_chain

V1 = "/api/v1"


@pytest.fixture(scope="module")
def chain() -> Iterator[OracleChain]:
    with oracle_chain("py-evm") as made:
        yield made


@pytest.fixture(scope="module")
def folder(chain: OracleChain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Deployment, model and data on disk."""
    made = tmp_path_factory.mktemp("dashboard")
    chain.deployment.save(made / "deployment.json")
    onnx.save(to_onnx(chain.network), made / "model.onnx")
    (made / "rows").write_bytes(b"".join(chain.rows))
    return made


class Dashboard:
    """A running dashboard; `see` makes it look at the chain."""

    def __init__(self, url: str, daemon: Daemon) -> None:
        self.url = url
        self._daemon = daemon

    def see(self) -> None:
        self._daemon.cycle()

    def get(self, path: str, status: int = 200) -> Any:
        answer = httpx.get(f"{self.url}{V1}{path}", timeout=120)
        assert answer.status_code == status, answer.text
        return answer.json()

    @contextmanager
    def stream(self, last_id: str | None = None) -> Iterator[Iterator[tuple[str, str, Any]]]:
        """(id, kind, data) of each message."""
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        with httpx.stream("GET", f"{self.url}{V1}/events", headers=headers, timeout=120) as answer:
            yield _messages(answer.iter_lines())


def _messages(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    message: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            message[name] = value
        elif "data" in message:
            yield message["id"], message["event"], json.loads(message["data"])
            message = {}


@contextmanager
def dashboard(chain: OracleChain, folder: Path, name: str = "jobs") -> Iterator[Dashboard]:
    """As `quorate dashboard` puts it together, but that the test says when the chain is looked at."""
    settings = load(
        rpc_url=chain.url, deployment=folder / "deployment.json", database=folder / f"{name}.sqlite", confirmations=0
    )
    given = worker_settings.load(model_folders=(folder,), data_folders=(folder,))
    with ExitStack() as stack:
        daemon = Daemon(settings)
        stack.callback(daemon.close)
        contracts = type(chain.contracts)(Endpoint(chain.url), chain.deployment)
        witness = Witness(contracts, given, folder / f"{name}.recomputed")
        explorer = Explorer(lambda: daemon.store, lambda: daemon.clock, daemon.source, witness)
        feed = Feed(explorer)
        app = create_app(explorer, lambda: replace(daemon.health, last_success_at=2.0**40), feed=feed)
        yield Dashboard(stack.enter_context(serving(app, feed, bind("127.0.0.1", 0))), daemon)


def test_a_job_is_followed_from_creation_through_its_dispute_to_a_proof_over_a_restart(
    chain: OracleChain, folder: Path
) -> None:
    right, wrong, disputes = chain.results(), chain.results([3]), chain.contracts.disputes
    uri = (folder / "rows").as_uri()
    with dashboard(chain, folder) as shown:
        shown.see()
        with shown.stream() as messages:
            last_id, kind, standing = next(messages)
            assert kind == "block" and standing["chain_id"] == chain.deployment.chain_id
            job = chain.create(uri=uri, data_uri_hash=data_uri_hash(uri))
            path = f"/jobs/0x{chain.job_id(job).hex()}"
            shown.see()
            last_id, kind, event = next(messages)
            assert (kind, event["name"], event["job_id"]) == ("recorded", "JobCreated", path[6:])
        assert shown.get(path)["row"]["state"] == "drawing"
        chain.play_to_challenging(job, {0: right.root, 1: right.root, 2: wrong.root, 3: wrong.root})
        top = Node(wrong.root, 0, 0)
        chain.send(0, disputes.demand(job, top, disputes.bond_for(job, top)))
        shown.see()
        job_shown, (row,) = shown.get(path), shown.get("/overview")["disputes"]
        assert job_shown["row"]["state"] == "challenging" and row["open_demands"] == 1
        assert {seat["state"] for seat in job_shown["jury"]} == {"revealed"}
    with dashboard(chain, folder) as shown:  # another process, on the same file
        chain.send(2, disputes.answer(job, top, wrong.nodes(4, 0, 16), []))
        result, given = chain.proofs(wrong, 3)
        chain.send(1, disputes.refute(job, result, given))
        shown.see()
        with shown.stream(last_id) as messages:  # whoever was there before the restart misses nothing
            names = [next(messages)[2]["name"] for _ in range(12)]
        assert names == ["Drawn", *4 * ["Committed"], *4 * ["Revealed"], "Demanded", "Answered", "Refuted"]
        check_dispute(chain, shown, path[6:], wrong)
        chain.advance(600 * 9)
        chain.send(1, chain.contracts.oracle.settle(job, right.root))
        shown.see()
        assert shown.get(path)["row"]["state"] == "accepted"
        check_proof(chain, shown, path, right)
        assert shown.get(f"/search?q={path[6:20]}")["found"][0]["id"] == path[6:]
        model = shown.get(f"/models/0x{chain.model.hex()}")
        assert model["row"]["accepted"] == 1 and model["execution_gas"] > 0 and model["card"] is None


def check_dispute(chain: OracleChain, shown: Dashboard, job_id: str, wrong: Any) -> None:
    roots = {root["tally"]["root"]: root for root in shown.get(f"/disputes/{job_id}")["roots"]}
    refuted = roots["0x" + wrong.root.hex()]
    assert refuted["tally"]["standing"] == "refuted" and refuted["depth"] == 5 and refuted["levels"] == 3
    (node,) = refuted["nodes"]
    assert (node["level"], node["first_item"], node["last_item"], node["parent"]) == (0, 0, 16, None)
    assert (node["demander"], node["answerer"]) == (chain.address(0), chain.address(2))
    assert node["children"] == ["0x" + one.hex() for one in wrong.nodes(4, 0, 16)] and node["seconds_left"] is None
    evidence = shown.get(f"/disputes/{job_id}/evidence/0x{wrong.root.hex()}")
    assert evidence["row"] == "0x" + chain.rows[3].hex()
    assert b"".join(one.to_bytes(4, "big", signed=True) for one in evidence["logits"]) == chain.output(3)
    assert evidence["refutation"]["claimed_leaf"] == "0x" + wrong.node(5, 3).hex()


def check_proof(chain: OracleChain, shown: Dashboard, path: str, right: Any) -> None:
    proof = shown.get(f"{path}/proofs/3")
    assert proof["holds"] is True and proof["output"] == "0x" + chain.output(3).hex()
    assert proof["siblings"] == ["0x" + one.hex() for one in right.proof(3)]
    assert "items 0 to 16" in shown.get(f"{path}/proofs/17", 409)["detail"]


def test_a_reorganisation_is_told_and_what_it_removed_is_shown_no_more(chain: OracleChain, folder: Path) -> None:
    with dashboard(chain, folder, "reorganised") as shown:
        kept = chain.create(nonce=101, seats=3, quorum=2)
        shown.see()
        before = shown.get("/overview")["totals"]["jobs"]
        with shown.stream() as messages:
            next(messages)
            gone = chain.create(nonce=102, seats=3, quorum=2)
            chain.mine(1)
            shown.see()
            assert next(messages)[2]["name"] == "JobCreated"
            assert shown.get("/overview")["totals"]["jobs"] == before + 1
            chain.reorganise(2)
            shown.see()
            told = next(data for _, kind, data in messages if kind == "reorganised")
        assert told["back_to"] == told["standing"]["head"] - 2
        assert shown.get("/overview")["totals"]["jobs"] == before
        shown.get(f"/jobs/0x{chain.job_id(gone).hex()}", 404)
        shown.get(f"/jobs/0x{chain.job_id(kept).hex()}")
