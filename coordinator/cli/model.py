"""`quorate model`: look at models, check, quantise and register them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from contracts import errors, gas_budget
from contracts.compute_oracle import Bounds
from contracts.merkle import depth_of
from contracts.transactor import cost
from coordinator.cli import measure, model_source, quantizing
from coordinator.cli.command import command
from coordinator.cli.context import Setup
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.model_source import Model
from coordinator.cli.output import Wei
from coordinator.profiles import UnknownNetwork

if TYPE_CHECKING:
    from contracts.model_registry import Model as Registered

app = typer.Typer(help="Models: show, check, quantise, register.", no_args_is_help=True)

Named = Annotated[str, typer.Argument(metavar="MODEL", help="Zoo name, ONNX file, or 0x… id of a registered model.")]


@command(app, "list")
def list_(setup: Setup) -> None:
    """The models that ship with Quorate."""
    from models import zoo

    rows = []
    for name in zoo.names():
        model = model_source.find(name)
        assert model.card is not None  # every zoo model has one
        rows.append(
            {"name": name, "title": model.card.title, "shape": list(model.card.shape), "model_id": model.model_id}
        )
    setup.out.rows(rows)


@command(app, "show")
def show(
    setup: Setup,
    named: Named,
    items: Annotated[int, typer.Option(min=1, help="Items of a job, for the least seat stake.")] = 1000,
    disassemble: Annotated[
        bool, typer.Option("--disassemble", help="Print every channel's weights and every table too.")
    ] = False,
) -> None:
    """A model's program layer by layer, what it costs to register and to dispute, and the least stake of a seat."""
    from models.disassembly import disassemble as text_of
    from models.disassembly import list_layers

    model = model_source.find(named)
    facts = _facts(model) | _costs(setup, model, items)
    if model.program is None or model.network is None:
        setup.out.record(facts, title=model.name)
        if disassemble:
            model.need_network()
        return
    if setup.options.json:
        facts["layers"] = [asdict(listing) for listing in list_layers(model.network)]
        if disassemble:
            facts["disassembly"] = text_of(model.program, channels=True)
    setup.out.record(facts, title=model.name)
    setup.out.text(text_of(model.program, channels=disassemble))


@command(app, "check")
def check(setup: Setup, named: Named) -> None:
    """Whether a model is in the canonical form, and whether ONNX Runtime on this machine equals its specification."""
    import numpy as np

    from models.interpreter import run
    from models.runtime import Runtime

    model = model_source.find(named)
    network = model.need_network()
    rows = np.random.default_rng(0).integers(0, 256, (256, network.row_length), np.uint8)
    rows[0], rows[1] = 0, 255
    with setup.out.progress("running 256 rows twice"):
        agree = bool(np.array_equal(run(network, rows), Runtime(network).run(rows)))
    setup.out.record({"canonical": True, "runtime_agrees": agree, **_facts(model)}, title=model.name)
    if not agree:
        raise Refusal(
            ExitCode.FAILED,
            "ONNX Runtime on this machine differs from the specification: do not stake with it; report the machine",
        )


@command(app, "quantize")
def quantize(
    setup: Setup,
    float_model: Annotated[Path, typer.Argument(metavar="FLOAT.onnx", help="A PyTorch, Keras or scikit-learn export.")],
    calibration: Annotated[Path, typer.Option(help="Typical inputs: .csv or float .npy of features, or uint8 .npy.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The canonical ONNX file; default: FLOAT.integer.onnx.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="The class of each row reported on: .npy or a .csv column.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Rows to report on, instead of those that calibrate.")] = None,
    scaling: Annotated[Path | None, typer.Option(help="Model card with the scaling; else one is fitted.")] = None,
    value_range: Annotated[
        str | None, typer.Option("--range", metavar="LOW:HIGH", help="The range that all features share.")
    ] = None,
    method: Annotated[
        Literal["largest", "percentile", "mse"], typer.Option(help="Which activation becomes 255.")
    ] = "largest",
) -> None:
    """Make a canonical integer model of a float one, and report what that cost in accuracy, in a text and a plot."""
    target = quantizing.output_of(float_model, output)
    shared = None if value_range is None else quantizing.parse_range(value_range)
    asked = quantizing.Asked(float_model, calibration, labels, test, scaling, shared, method)
    with setup.out.progress("quantising"):
        made = quantizing.quantize(asked)
    written = quantizing.write(made, target)
    setup.out.record({"model_id": model_source.of_file(target).model_id, "written": written, **quantizing.facts(made)})


@command(app, "register")
def register(
    setup: Setup,
    named: Named,
    uri: Annotated[str | None, typer.Option(help="Also announce where the ONNX file can be found.")] = None,
) -> None:
    """Store a model's program on the chain, which executes it once and records the gas. Done already: nothing is sent."""
    model = model_source.find(named)
    model.need_network()
    assert model.program is not None  # has a network, so has a program
    registry = setup.contracts.registry
    gas = 0
    known = _registered(setup, model.model_id)
    if known is None:
        sender = setup.transactor
        with setup.out.progress("registering"):
            gas = measure.register(sender, registry, model.program)
        known = registry.model(model.model_id)
    else:
        setup.out.note("This model is registered already; nothing was sent.")
    facts: dict[str, Any] = {"model_id": model.model_id, "gas": gas, "execution_gas": known.execution_gas}
    if uri is not None:
        receipt = setup.send(registry.announce_uri(model.model_id, uri), "announcing")
        facts |= {"announced": uri, "announcement_cost": Wei(cost(receipt))}
    setup.out.record(facts, title=model.name)


def _facts(model: Model) -> dict[str, Any]:
    facts: dict[str, Any] = {"model_id": model.model_id}
    if model.network is not None and model.program is not None:
        facts |= {"shape": list(model.network.widths), "macs": model.network.macs, "program_bytes": len(model.program)}
    if model.card is not None:
        facts |= {"title": model.card.title, "classes": list(model.card.classes), "data": model.card.data}
    return facts


def _costs(setup: Setup, model: Model, items: int) -> dict[str, Any]:
    """Measured figures: the chain's where the model is registered, else those of a registration on a chain of our own."""
    try:
        _ = setup.network
    except UnknownNetwork:
        known, price = None, Bounds().reference_price
    else:
        known, price = _registered(setup, model.model_id), setup.contracts.oracle.bounds().reference_price
    if known is None and (model.program is None or model.network is None):
        raise errors.UnknownModel(model.model_id)
    facts: dict[str, Any]
    if known is not None:
        row_length, execution_gas, stepwise = known.row_length, known.execution_gas, known.stepwise
        facts = {"registered": True, "program_bytes": known.program_length}
    else:
        assert model.program is not None and model.network is not None
        with setup.out.progress("registering it on a chain of its own, to measure"):
            measured = measure.measure(model.program, model.model_id)
        row_length, execution_gas, stepwise = model.network.row_length, measured.execution_gas, measured.stepwise
        facts = {"registered": False, "registration_gas": measured.registration_gas}
        facts |= {"registration_transactions": measured.transactions}
        facts |= {"registration_cost": Wei(measured.registration_gas * price)}
    if stepwise and model.network is not None:
        plan = measure.plan(model.network)
        facts |= {"steps": plan.steps, "largest_step_gas": plan.largest, "steps_gas": plan.gas}
        execution_gas = execution_gas or plan.gas  # until its row of 255s has been executed there
    refutation = gas_budget.refutation(0 if stepwise else execution_gas, depth_of(items), row_length)
    least = gas_budget.min_seat_stake(execution_gas, depth_of(items), row_length, price)
    return {
        **facts,
        "stepwise": stepwise,
        "execution_gas": execution_gas,
        "refutation_gas": refutation,
        "items": items,
        "least_seat_stake": Wei(least),
        "reference_price": Wei(price),
    }


def _registered(setup: Setup, model_id: bytes) -> Registered | None:
    try:
        return setup.contracts.registry.model(model_id)
    except errors.OracleRevert as refusal:
        if refusal.name != "UnknownModel":
            raise
        return None
