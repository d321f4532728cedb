"""A dispute: each contested root as a tree, every demand and answer, and what the chain's own execution showed."""

from __future__ import annotations

from dataclasses import replace

from nicegui import run, ui

from contracts.endpoint import ChainError
from coordinator.dashboard import chain_text, wording
from coordinator.dashboard.frame import LiveElements, follow, frame
from coordinator.dashboard.job_rows import STANDINGS, job_path, state_badge
from coordinator.dashboard.logit_bars import logit_bars
from coordinator.dashboard.parts import (
    Element,
    Picture,
    Tag,
    amount,
    badge,
    cell,
    countdown,
    drawn,
    empty,
    fact,
    facts,
    heading,
    hidden,
    identifier,
    link,
    moment,
    paragraph,
    root_mark,
    section,
    table,
    text,
)
from coordinator.dashboard.tree_drawing import draw_tree, node_name
from coordinator.explorer.explorer import Explorer, NotFound
from coordinator.explorer.read_model import AccusedItem, DemandedNode, Dispute, DisputedRoot, Evidence, ModelCard

MOST_BYTES_SHOWN = 256
"""Of an input row."""


def dispute_page(explorer: Explorer, job_id: bytes) -> None:
    """The page of a job that exists; where nothing is contested it says so."""
    name = wording.hex_(job_id)
    lead = "Whoever doubts a root demands to see into it, level by level; a wrong item is then executed by the chain itself."
    with frame(explorer, f"Dispute in job {wording.short(name)}", "/", lead) as clock:
        evidence = _EvidenceBoard(explorer, job_id)

        def build() -> None:
            _dispute(explorer, job_id, evidence)

        def version() -> object:
            return _without_clock(explorer.dispute(job_id))

        follow(clock, LiveElements(version, build))


def _without_clock(dispute: Dispute) -> Dispute:
    """What changes with events only: the browser counts the seconds."""
    roots = tuple(
        replace(root, nodes=tuple(replace(node, seconds_left=None) for node in root.nodes)) for root in dispute.roots
    )
    return replace(dispute, roots=roots)


def _dispute(explorer: Explorer, job_id: bytes, evidence: _EvidenceBoard) -> None:
    dispute, now = explorer.dispute(job_id), explorer.standing().head_time
    if not (any(root.nodes or root.refutation for root in dispute.roots) or dispute.accusations or dispute.executed_by):
        with section("Nothing is disputed", "nothing"):
            empty(
                "Nobody has demanded, accused or refuted anything in this job.",
                "This page fills as soon as somebody does.",
            )
            link("Back to the job", job_path(job_id))
        return
    with Tag("div", classes="row", role="status", aria_live="polite", id="state"):
        hidden("State: ")
        state_badge(dispute.job.state)
        if dispute.phase_ends_at and not dispute.job.state.is_over:
            text("Challenging ends in ")
            countdown(dispute.phase_ends_at, now)
        text(_summary(dispute), "quiet")
        link("The job", job_path(job_id), key="back to the job")
    places = {tally.root: place for place, tally in enumerate(explorer.job(job_id).roots)}
    for number, root in enumerate(root for root in dispute.roots if root.nodes or root.refutation):
        _root(root, places.get(root.tally.root, number), number, dispute, now, evidence)
    if dispute.executed_by:
        with section("Every row was executed", "executed"), Tag("p"):
            text("The chain ran the model on the whole job, called by ")
            identifier(dispute.executed_by, f"/operators/{dispute.executed_by}", "executor")
            text(": every other root is refuted.")
    if dispute.accusations:
        _accusations(dispute.accusations, places)


def _summary(dispute: Dispute) -> str:
    nodes = [node for root in dispute.roots for node in root.nodes]
    open_ = sum(node.answerer is None for node in nodes)
    refuted = sum(root.refutation is not None for root in dispute.roots)
    said = [wording.count(len(nodes), "demand"), f"{open_} open"]
    if refuted:
        said.append(f"{wording.count(refuted, 'root')} refuted by execution")
    return ", ".join(said)


def _root(root: DisputedRoot, place: int, number: int, dispute: Dispute, now: int, evidence: _EvidenceBoard) -> None:
    with section(f"Root {wording.letter(place)}", f"root-{number + 1}"):
        with Tag("div", classes="row"):
            root_mark(place, root.tally.root)
            identifier(wording.hex_(root.tally.root), what="root")
            badge(*STANDINGS[root.tally.standing])
            text(wording.count(root.tally.seats, "seat"), "quiet")
        if root.nodes or root.refutation:
            Picture(drawn(lambda: draw_tree(root)))
        if root.nodes:
            Picture(drawn(lambda: _demands(root, dispute, now)))
        if root.refutation:
            evidence.build(root, number)


def _demands(root: DisputedRoot, dispute: Dispute, now: int) -> None:
    columns = ("Demanded", "By", "When", "Bond", "Answer", "Bond went to")
    with table("Demands and answers", columns, numbers=("Bond",)):
        for node in root.nodes:
            with Tag("tr"):
                with cell():
                    text(node_name(node))
                    text(f" level {node.level}", "quiet")
                with cell():
                    identifier(node.demander, f"/operators/{node.demander}", "demander")
                with cell():
                    moment(node.demanded_at)
                with cell(number=True):
                    amount(node.bond)
                with cell():
                    _answer(node, dispute.job.state.is_over, now)
                with cell():
                    if node.released_to is None:
                        text("not released yet" if node.bond else "–", "quiet")
                    else:
                        identifier(node.released_to, f"/operators/{node.released_to}", "payee")


def _answer(node: DemandedNode, is_over: bool, now: int) -> None:
    with Tag("span", classes="row"):
        if node.answerer:
            badge("answered", "live")
            identifier(node.answerer, f"/operators/{node.answerer}", "answerer")
        elif is_over or node.answer_by <= now:
            badge("never answered", "bad")
        else:
            badge("open", "warn")
            countdown(node.answer_by, now)
            text("left", "quiet")


def _accusations(items: tuple[AccusedItem, ...], places: dict[bytes, int]) -> None:
    verdicts = {
        None: ("not executed yet", "warn"),
        True: ("the root was wrong", "bad"),
        False: ("the set was wrong", "bad"),
    }
    with (
        section("Verification set", "accusations", "Items that the requester computed itself and held against a root."),
        table("Accused items", ("Item", "Root", "When", "Judged", "By"), numbers=("Item",)),
    ):
        for item in items:
            with Tag("tr"):
                with cell(number=True):
                    text(f"{item.index:,}")
                with cell():
                    root_mark(places.get(item.root), item.root)
                with cell():
                    moment(item.accused_at)
                with cell():
                    badge(*verdicts[item.gold_right])
                with cell():
                    if item.executor:
                        identifier(item.executor, f"/operators/{item.executor}", "executor")
                    else:
                        text("–", "quiet")


class _EvidenceBoard:
    """What refutations rest on. It is fetched from calldata and model once, in the background, and kept for the page."""

    def __init__(self, explorer: Explorer, job_id: bytes) -> None:
        self._explorer, self._job_id = explorer, job_id
        self._known: dict[bytes, Evidence] = {}

    def build(self, root: DisputedRoot, number: int) -> None:
        """Into the page; what is not known yet follows."""
        value = root.tally.root
        with Element("div", classes="evidence", aria_labelledby=f"refutation-{number + 1}") as place:
            heading("The refutation", 3, f"refutation-{number + 1}")
            body = Element("div")
        if value in self._known:
            with body:
                Picture(drawn(lambda: _evidence(self._known[value], self._card())))
            return
        with body:
            words = Element("p", "Reading the refutation's transaction…", "quiet")

        async def fetch() -> None:
            try:
                found = await run.io_bound(self._explorer.evidence, self._job_id, value)
            except (NotFound, ChainError) as error:
                words.say(f"The refutation's transaction cannot be read: {chain_text.shown(str(error))}")
                return
            if found is None or place.is_deleted:
                return
            self._known[value] = found
            body.clear()
            with body:
                Picture(drawn(lambda: _evidence(found, self._card())))

        with body:
            ui.timer(0.05, fetch, once=True)

    def _card(self) -> ModelCard | None:
        known = self._explorer.witness.zoo.get(self._explorer.job(self._job_id).terms.model_id)
        return known.card if known else None


def _evidence(found: Evidence, card: ModelCard | None) -> None:
    """card: the model's, where the zoo has it."""
    refutation = found.refutation
    features, classes = (card.features, card.classes) if card else ((), ())
    with Tag("p"):
        identifier(refutation.refuter, f"/operators/{refutation.refuter}", "refuter")
        text(f" had the chain execute item {refutation.index:,}: its result is not what the root has there. ")
        moment(refutation.refuted_at)
    with facts():
        with fact("Claimed (the root's leaf)"):
            identifier(wording.hex_(refutation.claimed_leaf), what="claimed leaf")
            paragraph("Of the claimed logits the chain was only ever shown this hash.", "quiet")
        with fact("Computed (the right leaf)"):
            identifier(wording.hex_(refutation.right_leaf), what="computed leaf")
        with fact("Transaction"):
            identifier(wording.hex_(refutation.transaction), what="transaction")
            text(f" block {refutation.block:,}", "quiet")
    if found.logits is not None:
        heading("Computed logits", 3)
        best = max(range(len(found.logits)), key=found.logits.__getitem__)
        logit_bars(found.logits, classes, best)
    if found.row is not None:
        heading("Input row", 3)
        _row(found.row, features)
    if found.reason:
        paragraph(chain_text.shown(found.reason), "quiet")


def _row(row: bytes, features: tuple[str, ...]) -> None:
    with Tag("div", classes="bytes"):
        for place, value in enumerate(row[:MOST_BYTES_SHOWN]):
            name = chain_text.shown(features[place], 40) if place < len(features) else f"byte {place}"
            with Tag("span", title=f"{name}: {value}"):
                if place < len(features) and len(features) <= 40:
                    text(f"{name} ", "quiet")
                text(str(value))
    if len(row) > MOST_BYTES_SHOWN:
        paragraph(f"The first {MOST_BYTES_SHOWN} of {len(row):,} bytes.", "quiet")
