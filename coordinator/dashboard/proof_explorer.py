"""The Merkle explorer: one item of an accepted job, its verdict, and a proof that the page itself can check."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nicegui import run

from contracts.abi import artifact
from contracts.endpoint import ChainError
from coordinator.dashboard import chain_text, wording
from coordinator.dashboard.logit_bars import logit_bars
from coordinator.dashboard.parts import (
    Element,
    Picture,
    Tag,
    badge,
    command_line,
    drawn,
    empty,
    fact,
    facts,
    identifier,
    paragraph,
    section,
)
from coordinator.dashboard.proof_drawing import draw_proof
from coordinator.explorer.explorer import Explorer, NotFound
from coordinator.explorer.read_model import Job, Proof, State
from coordinator.explorer.witness import Busy, NoProof

_WHY_NOT = {
    State.HUNG: "The job hung: no root won, and there is no verdict.",
    State.UNAVAILABLE: "The data could not be had: there is no verdict.",
    State.EXPIRED: "The job expired without a jury: there is no verdict.",
}


class ProofExplorer:
    """Its state lasts while the page does: the item that was picked stays picked when the job changes."""

    def __init__(self, explorer: Explorer, job_id: bytes) -> None:
        self._explorer = explorer
        self._job_id = job_id
        self._item = 0
        self._busy = False
        self._last, self._model_id = 0, b""

    def build(self, job: Job) -> None:
        """Into the page."""
        note = "Pick an item: its verdict, and the path that proves it under the accepted root."
        with section("Merkle explorer", "proof", note):
            if job.row.state is not State.ACCEPTED:
                over = _WHY_NOT.get(job.row.state)
                empty(
                    over or "There is no accepted root yet.",
                    "" if over else "Verdicts can be proved once the job is settled.",
                )
                return
            self._last, self._model_id = job.row.item_count - 1, job.terms.model_id
            with Element("form", classes="row proof-form").on("submit.prevent", self._show):
                with Tag("div"):
                    Tag("label", f"Item, 0 to {self._last:,}", for_="item")
                    picked = Element(
                        "input",
                        id="item",
                        type="number",
                        min=0,
                        max=self._last,
                        start=self._item,
                        inputmode="numeric",
                        required=True,
                    )
                    picked.on("input", self._pick, js_handler="(event) => emit(event.target.value.slice(0, 20))")
                Tag("button", "Show proof", "button main", type="submit", style="align-self:end", data_key="show proof")
            self._status = Element("p", "", "said", role="status", aria_live="polite", id="proof-status")
            self._place = Element("div", classes="proof-place")

    def _pick(self, event: object) -> None:
        given = str(getattr(event, "args", ""))
        self._item = int(given) if given.isascii() and given.isdigit() else -1

    async def _show(self) -> None:
        if self._busy:
            return
        if not 0 <= self._item <= self._last:
            self._say(f"There is no such item: give a number from 0 to {self._last:,}.", "bad")
            return
        self._busy = True
        self._say("Recomputing the results from model and data…")
        try:
            proof = await run.io_bound(self._explorer.proof, self._job_id, self._item)
        except (NoProof, Busy, NotFound, ChainError) as why:
            self._place.clear()
            self._say(chain_text.shown(str(why)), "bad")
        else:
            if proof is None:  # the server is going down
                return
            self._say(f"Item {self._item:,}: the proof is below.", "good")
            self._place.clear()
            with self._place:
                known = self._explorer.witness.zoo.get(self._model_id)
                classes = known.card.classes if known else None
                Picture(drawn(lambda: _proof(proof, classes)))
        finally:
            self._busy = False

    def _say(self, words: str, kind: str = "") -> None:
        self._status.classes(replace=f"said {kind}")
        self._status.say(words)


def _proof(proof: Proof, classes: Sequence[str] | None) -> None:
    with facts():
        with fact("Verdict"):
            badge(chain_text.shown(proof.class_name or f"class {proof.class_index}", 60), "good")
        with fact("Leaf"):
            identifier(wording.hex_(proof.leaf), what="leaf")
        with fact("Accepted root"):
            identifier(wording.hex_(proof.root), what="root")
        with fact("On the chain"):
            if proof.holds:
                badge("verdict(…) returned true", "good")
            else:
                badge("verdict(…) returned false", "bad")
    logit_bars(proof.logits, classes, proof.class_index)
    draw_proof(proof.leaf, proof.path, proof.root, proof.index)
    given = proof_json(proof)
    with Tag("div", classes="row"):
        Tag("button", "Check in this page", "button main", type="button", data_check=given, data_key="check proof")
        Tag("button", "Copy proof (JSON)", "button", type="button", data_copy=given)
        Tag("button", "Copy calldata (ABI)", "button", type="button", data_copy=wording.hex_(calldata(proof)))
    Tag("p", "", "said", role="status", aria_live="polite", id="proof-checked")
    with Tag("details"):
        Tag("summary", "The proof as a contract takes it")
        paragraph("verdict(bytes32 jobId, uint256 index, bytes output, bytes32[] siblings) of the oracle:", "quiet")
        command_line(given, "the proof")
        command_line(
            f"quorate verdict prove {wording.hex_(proof.job_id)} {proof.index}", "the command that makes this proof"
        )


def proof_json(proof: Proof) -> str:
    """As `quorate verdict prove` writes it, with the root it is held against."""
    return json.dumps(
        {
            "job_id": wording.hex_(proof.job_id),
            "index": proof.index,
            "output": wording.hex_(proof.output),
            "siblings": [wording.hex_(one) for one in proof.siblings],
            "logits": list(proof.logits),
            "root": wording.hex_(proof.root),
        },
        indent=1,
    )


def calldata(proof: Proof) -> bytes:
    """The call of verdict(…) with this proof."""
    from web3 import Web3

    oracle = Web3().eth.contract(abi=artifact("IComputeOracle").abi)
    encoded = oracle.encode_abi("verdict", [proof.job_id, proof.index, proof.output, list(proof.siblings)])
    return bytes.fromhex(encoded[2:])
