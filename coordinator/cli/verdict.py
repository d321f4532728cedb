"""`quorate verdict get | prove | check`: recomputed on demand from public model and data, and held against the chain."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from contracts.job import Outcome, Phase
from contracts.merkle import result_leaf, verify
from coordinator.cli import model_source, rows
from coordinator.cli.command import command
from coordinator.cli.context import Setup, parse_hash
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.job_log import read_job
from coordinator.cli.job_show import phase_end, phase_of, read_head
from coordinator.cli.model_source import Model
from coordinator.cli.output import jsonable, moment, shown
from coordinator.cli.publishing import write_to_folder
from coordinator.cli.recomputing import recompute
from coordinator.job_view import JobView

app = typer.Typer(help="Verdicts: get, prove, check.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, 0x and 64 hex digits.")]
Index = Annotated[int, typer.Argument(metavar="INDEX", min=0, help="The item's place in the data, from 0.")]
Named = Annotated[str | None, typer.Option("--model", help="ONNX file of a model that is not in the zoo.")]
Data = Annotated[Path | None, typer.Option(help="Data file, instead of what the job's URI names.")]
Scaling = Annotated[Path | None, typer.Option(help="Model card whose scaling turns the features of --data into bytes.")]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a contract needs to read one item's verdict."""

    job_id: bytes
    index: int
    output: bytes
    siblings: tuple[bytes, ...]

    def as_json(self) -> dict[str, Any]:
        """As `quorate verdict prove` prints it."""
        return {
            "job_id": self.job_id,
            "index": self.index,
            "output": self.output,
            "siblings": list(self.siblings),
            "logits": logits_of(self.output),
        }


@command(app, "get")
def get(
    setup: Setup, job: JobId, index: Index, named: Named = None, data: Data = None, scaling: Scaling = None
) -> None:
    """What the accepted result says of one item."""
    proof, view, model = _recompute(setup, parse_hash(job, "job id"), index, named, data, scaling)
    logits = logits_of(proof.output)
    setup.out.record(
        {
            "job_id": proof.job_id,
            "index": index,
            "class": class_of(logits, model),
            "class_index": class_index(logits),
            "logits": logits,
            "output": proof.output,
            "model": model.model_id,
            "proved_under_root": view.state.root,
        }
    )


@command(app, "prove")
def prove(
    setup: Setup,
    job: JobId,
    index: Index,
    named: Named = None,
    data: Data = None,
    scaling: Scaling = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of stdout.")] = None,
) -> None:
    """The proof of one item's verdict, as JSON, ready for a contract's verdict(jobId, index, output, siblings)."""
    proof, _, _ = _recompute(setup, parse_hash(job, "job id"), index, named, data, scaling)
    if output is None:
        setup.out.document(proof.as_json())
    else:
        output.write_text(json.dumps(jsonable(proof.as_json()), indent=1) + "\n", "utf-8")
        setup.out.record({"written": output})


@command(app, "check")
def check(
    setup: Setup,
    job: JobId,
    index: Index,
    proof_file: Annotated[
        Path | None, typer.Option("--proof", help="What `verdict prove` wrote (- is stdin); recomputed by default.")
    ] = None,
    named: Named = None,
    data: Data = None,
    scaling: Scaling = None,
) -> int:
    """Ask the chain whether a proof holds. Exit code 4 where it does not."""
    job_id = parse_hash(job, "job id")
    if proof_file is None:
        proof, _, _ = _recompute(setup, job_id, index, named, data, scaling)
    else:
        proof = read_proof(proof_file)
        if (proof.job_id, proof.index) != (job_id, index):
            raise Refusal(
                ExitCode.BAD_INPUT, f"{proof_file} proves item {proof.index} of job 0x{proof.job_id.hex()}, another one"
            )
    holds = setup.contracts.oracle.verdict(job_id, index, proof.output, proof.siblings)
    setup.out.record({"job_id": job_id, "index": index, "holds": holds, "logits": logits_of(proof.output)})
    return ExitCode.OK if holds else ExitCode.REFUSED


def read_proof(path: Path) -> Proof:
    """A proof from a file that may hold anything. Raises Refusal, OSError."""
    text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    try:
        given = json.loads(text)
        siblings = tuple(_hex(one) for one in given["siblings"])
        proof = Proof(_hex(given["job_id"]), int(given["index"]), _hex(given["output"]), siblings)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refusal(
            ExitCode.BAD_INPUT, f"{path} is no proof as `quorate verdict prove` writes it: {error}"
        ) from error
    if (
        any(len(one) != 32 for one in (proof.job_id, *siblings))
        or len(proof.output) % 4
        or not 0 <= proof.index < 2**64
    ):
        raise Refusal(ExitCode.BAD_INPUT, f"{path} is no proof: hashes have 32 bytes, and an output 4 a logit")
    return proof


def logits_of(output: bytes) -> list[int]:
    """The int32 logits of an output."""
    return [int(one) for one in np.frombuffer(output, ">i4")]


def class_index(logits: list[int]) -> int:
    """The class that logits stand for; one logit alone is a yes (1) or no (0) by its sign."""
    return int(logits[0] > 0) if len(logits) == 1 else int(np.argmax(logits))


def class_of(logits: list[int], model: Model) -> str | None:
    """Its name on the model's card; None without a card."""
    if model.card is None or len(logits) == 1:
        return None
    return model.card.classes[class_index(logits)]


def _recompute(
    setup: Setup, job_id: bytes, index: int, named: str | None, data: Path | None, card: Path | None
) -> tuple[Proof, JobView, Model]:
    """The proof of an item, from model and data that are first held against the job, and then its root."""
    with setup.out.progress("reading the job"):
        view, _ = read_job(setup.contracts, job_id)
    _require_verdict(setup, view)
    if index >= view.terms.item_count:
        raise Refusal(ExitCode.NOT_FOUND, f"the job has the items 0 to {view.terms.item_count - 1}, not {index}")
    model = model_source.for_job(view.terms.model_id, named)
    uri = view.data_uri if data is None else _uri_of(setup, view, model, data, card)
    inference = recompute(setup, view, model, uri)
    tree = inference.tree()
    if tree.root != view.state.root:
        raise Refusal(
            ExitCode.FAILED,
            f"the model on this data gives root 0x{tree.root.hex()}, but 0x{view.state.root.hex()} was accepted: the "
            "accepted result is wrong for some item, nobody refuted it in time, and none of it can be proved from here",
        )
    proof = Proof(job_id, index, inference.output(index), tuple(tree.path(tree.depth, index)))
    assert verify(tree.root, view.terms.item_count, index, result_leaf(index, proof.output), proof.siblings)
    return proof, view, model


def _require_verdict(setup: Setup, view: JobView) -> None:
    if view.state.outcome is Outcome.ACCEPTED:
        return
    if view.state.outcome is not Outcome.OPEN:
        why = {
            Outcome.UNAVAILABLE: "too many workers could not get the data, and nobody's result stands",
            Outcome.HUNG: "no root won",
            Outcome.EXPIRED: "its window passed without a jury",
        }[view.state.outcome]
        raise Refusal(
            ExitCode.NOT_FOUND,
            f"there is no verdict: the job ended {shown(view.state.outcome)} ({why}); its reward, less call-out fees, went "
            "back to the requester",
        )
    head = read_head(setup)
    phase = phase_of(view, head)
    end = phase_end(view, head)
    until = f" until {moment(end)}" if end else ""
    hint = "`quorate job settle` ends it" if phase is Phase.SETTLING else "`quorate job watch` follows it"
    raise Refusal(ExitCode.UNFINISHED, f"there is no verdict yet: the job is {shown(phase)}{until}; {hint}")


def _uri_of(setup: Setup, view: JobView, model: Model, data: Path, card: Path | None) -> str:
    """A file: URI of the rows in a data file of any kind, held against the job's root. Raises DataMismatch."""
    from oracle_worker.data_errors import DataMismatch

    scaling = model_source.read_card(card).scaling if card else model.card.scaling if model.card else None
    values = rows.read_rows(data, model.need_network().row_length, scaling)
    with setup.out.progress("hashing rows", len(values)) as tick:
        inputs = rows.input_tree(values, tick)
    if inputs.root != view.terms.data_root:
        raise DataMismatch(view.terms.data_root, inputs.root)
    return write_to_folder(setup.home / "cache" / "given", inputs, values).as_uri()


def _hex(text: object) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError("bytes are written as 0x and hex digits")
    return bytes.fromhex(text[2:])
