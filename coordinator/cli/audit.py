"""`quorate job audit`: hold the hidden verification set against what the workers revealed, and accuse who contradicts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer

from contracts import job as jobs
from contracts.disputes import Gold, ResultProof
from contracts.job import NOBODY, Phase
from contracts.merkle import MerkleTree, depth_of, last_level, level_depth, result_leaf
from coordinator.cli import model_source
from coordinator.cli.context import Setup, parse_hash, receipt_facts
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.gold import Checked, GoldSet
from coordinator.cli.job_log import read_job
from coordinator.cli.job_show import JobId, phase_of, read_head
from coordinator.cli.output import moment, shown
from coordinator.cli.recomputing import recompute
from coordinator.event_log import Event
from coordinator.job_view import JobView
from oracle_worker.disputes import path_of

Answers: TypeAlias = dict[tuple[int, int], Sequence[bytes]]
"""Nodes by the (level, index) of the node above them."""


class Finding(Enum):
    """What the verification set says of a root."""

    AGREES = "agrees with every item"
    UNKNOWN = "not checked: none of its leaves is known"
    PARTLY_KNOWN = "agrees with the items whose leaves are known"
    ACCUSED = "accused: somebody must execute the item before Challenging ends, or the audit bond is lost"
    REFUTED = "refuted by executing the item: its bounty is yours once the job is settled (`quorate job release`)"
    ALREADY_ACCUSED = "contradicts an item, and was accused of it before"
    ALREADY_REFUTED = "was refuted before"
    GOLD_WRONG = (
        "contradicts an item that the chain computes as the root says: this verification set is wrong, not accused"
    )


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An item of the set and a root that says otherwise."""

    checked: Checked
    gold: Gold
    result: ResultProof


def audit(
    setup: Setup,
    job: JobId,
    results: Annotated[
        list[Path] | None,
        typer.Option(help="Published results: all outputs in order, 4 bytes a logit, big endian. May be repeated."),
    ] = None,
    recomputed: Annotated[
        bool,
        typer.Option("--recompute", help="Run the model on all of the data, to know the leaves of the right root."),
    ] = False,
    named: Annotated[
        str | None, typer.Option("--model", help="ONNX file for --recompute, of a model that is not in the zoo.")
    ] = None,
    judge: Annotated[
        bool, typer.Option(help="Also execute the item at once: the bounty is yours, and the bond is safe.")
    ] = True,
    gold_file: Annotated[
        Path | None, typer.Option(help="The verification set; by default where `job submit --gold` kept it.")
    ] = None,
) -> int:
    """Open the hidden verification set against every root that contradicts it. While Challenging, in good time."""
    job_id = parse_hash(job, "job id")
    with setup.out.progress("reading the job"):
        view, events = read_job(setup.contracts, job_id)
    if view.terms.gold_count == 0:
        raise Refusal(ExitCode.USAGE, "the job was created without a verification set (`job submit --gold N`)")
    gold = GoldSet.load(gold_file or gold_path(setup, job_id), view.terms.gold_root)
    _require_time(setup, view)
    trees = {tree.root: tree for tree in _known_trees(setup, view, results or [])}
    if recomputed:
        tree = _recomputed(setup, view, named)
        trees[tree.root] = tree
    rows = []
    for root in view.roots:
        known = list(_known_items(view, root, gold, trees.get(root), _answers_under(root, events)))
        row = _look_at(setup, view, root, gold, known, judge)
        rows.append(row | {"meaning": row["finding"].value})
    setup.out.record(
        {"job_id": job_id, "items": gold.count, "audit_bond_at_stake": _bond_at_stake(rows), "roots": rows}
    )
    if any(row["finding"] in (Finding.UNKNOWN, Finding.PARTLY_KNOWN) for row in rows):
        setup.out.note(
            "A root's leaves are known from answers on chain, from --results that hash to it, or from --recompute. Workers "
            "demand what they doubt: look again later."
        )
    return ExitCode.FAILED if any(row["finding"] is Finding.GOLD_WRONG for row in rows) else ExitCode.OK


def gold_path(setup: Setup, job_id: bytes) -> Path:
    """Where a job's verification set is kept."""
    return setup.home / "gold" / f"{job_id.hex()}.json"


def _require_time(setup: Setup, view: JobView) -> None:
    head = read_head(setup)
    phase = phase_of(view, head)
    if phase < Phase.CHALLENGING:
        raise Refusal(
            ExitCode.UNFINISHED, f"the job is {shown(phase)}: a verification set is opened once all roots are revealed"
        )
    end = jobs.demand_end(view.state, view.terms, 0) - view.terms.response_window
    if phase > Phase.CHALLENGING or head.time >= end:
        raise Refusal(
            ExitCode.REFUSED,
            f"it is too late: a verification set could be opened until {moment(end)}, so that there is time to execute",
        )


# ---- What is known of the roots' leaves ----


def _known_trees(setup: Setup, view: JobView, files: Sequence[Path]) -> Iterator[MerkleTree]:
    output_length = setup.contracts.registry.model(view.terms.model_id).output_length
    for path in files:
        tree = _tree_of(path, view.terms.item_count, 4 * output_length)
        if tree.root not in view.roots:
            raise Refusal(
                ExitCode.BAD_INPUT, f"{path}: these results hash to 0x{tree.root.hex()}, a root that nobody revealed"
            )
        yield tree


def _recomputed(setup: Setup, view: JobView, named: str | None) -> MerkleTree:
    inference = recompute(setup, view, model_source.for_job(view.terms.model_id, named), view.data_uri)
    return MerkleTree([result_leaf(index, inference.output(index)) for index in range(view.terms.item_count)])


def _tree_of(path: Path, items: int, width: int) -> MerkleTree:
    outputs = path.read_bytes()
    if len(outputs) != items * width:
        raise Refusal(
            ExitCode.BAD_INPUT, f"{path}: {len(outputs)} bytes are not the results of {items} items of {width} bytes"
        )
    parts = np.frombuffer(outputs, np.uint8).reshape(items, width)
    return MerkleTree([result_leaf(index, part.tobytes()) for index, part in enumerate(parts)])


def _answers_under(root: bytes, events: Sequence[Event]) -> Answers:
    answered = (event.args for event in events if event.name == "Answered" and event.args["root"] == root)
    return {(args["level"], args["index"]): args["nodes"] for args in answered}


def _known_items(
    view: JobView, root: bytes, gold: GoldSet, tree: MerkleTree | None, answers: Answers
) -> Iterator[Contradiction]:
    """Each item of the set with the root's leaf there, where that is known."""
    for position, checked in enumerate(gold.checked):
        index = checked.item.index
        if tree is not None:
            proof = ResultProof(root, index, tree.node(tree.depth, index), tuple(tree.proof(index)))
        else:
            try:
                proof = _from_answers(root, view.terms.item_count, index, answers)
            except KeyError:  # nobody answered for a node above it
                continue
        yield Contradiction(checked, gold.opening(position), proof)


def _from_answers(root: bytes, items: int, index: int, answers: Answers) -> ResultProof:
    depth = depth_of(items)
    if depth == 0:
        return ResultProof(root, index, root, ())
    level = last_level(depth) - 1
    above = index >> (depth - level_depth(level, depth))
    nodes = answers[level, above]
    return ResultProof(root, index, nodes[index - above * len(nodes)], path_of(depth, index, answers))


# ---- What is done about it ----


def _look_at(
    setup: Setup, view: JobView, root: bytes, gold: GoldSet, known: Sequence[Contradiction], judge: bool
) -> dict[str, Any]:
    facts: dict[str, Any] = {"root": root, "seats": view.roots[root].seats, "known_items": len(known), "item": None}
    if view.refuter(root) != NOBODY:
        return facts | {"finding": Finding.ALREADY_REFUTED}
    for one in known:
        if one.result.leaf == result_leaf(one.gold.index, one.gold.output):
            continue
        facts["item"] = one.gold.index
        if (one.gold.position, root) in view.accusations:
            return facts | {"finding": Finding.ALREADY_ACCUSED}
        if not _is_right(setup, view, one.checked):
            return facts | {"finding": Finding.GOLD_WRONG}
        return facts | _accuse(setup, view, one, judge)
    if not known:
        return facts | {"finding": Finding.UNKNOWN}
    return facts | {"finding": Finding.AGREES if len(known) == gold.count else Finding.PARTLY_KNOWN}


def _is_right(setup: Setup, view: JobView, checked: Checked) -> bool:
    """Whether the chain, asked for free, computes what the set says. A model that it executes in steps cannot be asked."""
    registry = setup.contracts.registry
    if registry.model(view.terms.model_id).stepwise:
        return True
    return registry.execute(view.terms.model_id, checked.given.row) == checked.item.output


def _accuse(setup: Setup, view: JobView, one: Contradiction, judge: bool) -> dict[str, Any]:
    disputes = setup.contracts.disputes
    calls = [disputes.accuse(view.job, one.gold, one.result)]
    judged = judge and not setup.contracts.registry.model(view.terms.model_id).stepwise
    if judged:  # in the same transaction, so that nobody comes between
        calls.append(disputes.judge(view.job, one.gold, one.result, one.checked.given))
    receipt = setup.send(
        setup.contracts.oracle.multicall(calls), f"accusing the root of {view.roots[one.result.root].seats} seats"
    )
    return {"finding": Finding.REFUTED if judged else Finding.ACCUSED, **receipt_facts(receipt)}


def _bond_at_stake(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether something is left to do for the audit bond to come back."""
    return any(row["finding"] in (Finding.ACCUSED, Finding.ALREADY_ACCUSED) for row in rows)
