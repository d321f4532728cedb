"""`quorate worker passport`: show that this machine is exact, or check what another operator's machine showed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.keystore import KeystoreError
from coordinator.cli import model_source
from coordinator.cli.context import Setup
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.output import Time

if TYPE_CHECKING:
    from oracle_worker.model_store import Model
    from oracle_worker.passport import Passport, Stamp
    from oracle_worker.settings import WorkerSettings


def passport(
    setup: Setup,
    named: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]…", help="Zoo names or ONNX files; by default all that this operator serves."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the passport to this file.")] = None,
    sign: Annotated[bool, typer.Option("--sign", help="Sign it with the operator's key.")] = False,
    verify: Annotated[
        Path | None, typer.Option("--verify", metavar="FILE", help="Check a passport instead of making one.")
    ] = None,
) -> None:
    """Hold this machine against the specification on the rows that are hardest for it. Exit code 1: it must not stake."""
    if verify is not None:
        if named or output or sign:
            raise Refusal(ExitCode.USAGE, "--verify stands alone: models are found by the ids in the file")
        _verify(setup, verify)
        return
    made = make(setup, [model_source.find(name) for name in named] if named else None)
    if sign:
        made = made.signed(setup.account, int(time.time()))
    if output is not None:
        output.write_text(json.dumps(made.to_json(), indent=1) + "\n")
    if setup.options.json:
        setup.out.document(made.to_json())
        return
    setup.out.record({**_facts(made), "written": output})
    setup.out.rows([_row(stamp, _EQUAL) for stamp in made.stamps])


def need(setup: Setup, given: Path | None) -> None:
    """Whoever stakes has a passport: the one in a file, which its own key has signed, or this machine's, made now.

    Raises PassportRefused, BadPassport, Refusal, OSError.
    """
    from oracle_worker.passport import read

    if given is None:
        made = make(setup, None)
        setup.out.note(f"This machine is exact on the {len(made.stamps)} models that it serves.")
        return
    shown = read(given)
    shown.check_signature()
    if shown.worker != setup.address:
        raise Refusal(ExitCode.BAD_INPUT, f"{given} is the passport of {shown.worker}, but {setup.address} stakes")
    if wrong := [stamp for stamp, state in _held_against(setup, shown) if state == _DIFFERS]:
        raise Refusal(ExitCode.FAILED, f"{given}: {len(wrong)} models differ from the specification: do not stake")


def make(setup: Setup, models: list[model_source.Model] | None) -> Passport:
    """This machine's passport for some models, or for those that the operator serves. Raises PassportRefused, Refusal."""
    from oracle_worker.inference import OnnxInference
    from oracle_worker.model_store import Model, ModelStore
    from oracle_worker.passport import PassportStore

    settings = _settings(setup)
    store = PassportStore(settings.passport_folder, settings.threads)
    inference = OnnxInference(settings.threads, store)
    if models is None:
        chosen = list(ModelStore(settings.model_folders).served(settings.allowed_models))
    else:
        chosen = [Model(one.model_id, one.need_network(), Path(one.name)) for one in models]
    if not chosen:
        raise Refusal(
            ExitCode.NOT_FOUND, "no file compiles to any of QUORATE_ALLOWED_MODELS: put it into a model folder"
        )
    stamps = []
    for model in chosen:
        with setup.out.progress(f"examining {model.id.hex()[:8]}…"):
            stamps.append(inference.stamp(model))
    return store.passport(stamp for stamp in stamps if stamp is not None)


_EQUAL, _DIFFERS, _UNKNOWN = "equals the specification", "differs from the specification", "no file of it here"


def _verify(setup: Setup, file: Path) -> None:
    from oracle_worker.passport import read

    shown = read(file)
    if shown.signature or shown.worker is not None:
        shown.check_signature()
    held = _held_against(setup, shown)
    wrong = sum(state == _DIFFERS for _, state in held)
    if setup.options.json:
        models = [_row(stamp, state) for stamp, state in held]
        setup.out.document({**_facts(shown), "valid": not wrong, "models": models})
    else:
        setup.out.record(_facts(shown))
        setup.out.rows([_row(stamp, state) for stamp, state in held])
    if not shown.signature:
        setup.out.note("It is not signed: it says nothing about whose machine that is.")
    if wrong:
        raise Refusal(ExitCode.FAILED, f"{wrong} models differ from the specification: that machine is not exact")


def _held_against(setup: Setup, shown: Passport) -> list[tuple[Stamp, str]]:
    from oracle_worker.passport import expected_stamp

    at_hand = {model.id: model for model in _at_hand(setup)}
    held = []
    for stamp in shown.stamps:
        if stamp.model_id not in at_hand:
            held.append((stamp, _UNKNOWN))
            continue
        with setup.out.progress(f"running {stamp.model_id.hex()[:8]}… by the specification"):
            held.append((stamp, _EQUAL if stamp == expected_stamp(at_hand[stamp.model_id]) else _DIFFERS))
    return held


def _at_hand(setup: Setup) -> Iterator[Model]:
    from oracle_worker.model_store import ModelStore

    return ModelStore(_settings(setup).model_folders).served()


def _settings(setup: Setup) -> WorkerSettings:
    """The worker's settings; where it keeps things unless told: with its key's address, or without one."""
    from oracle_worker import settings

    made = settings.load()
    if "work_folder" in made.model_fields_set:
        return made
    try:
        owner = made.worker or setup.address
    except KeystoreError:
        return settings.load(work_folder=setup.home)
    return settings.load(work_folder=setup.home / "work" / owner)


def _facts(shown: Passport) -> dict[str, Any]:
    machine = shown.machine
    return {
        "worker": shown.worker,
        "signed_at": Time(shown.issued_at) if shown.signature else None,
        "cpu": machine.cpu,
        "architecture": machine.architecture,
        "cpu_features": len(machine.features),
        "onnxruntime": machine.onnxruntime,
        "numpy": machine.numpy,
        "threads": machine.threads,
    }


def _row(stamp: Stamp, state: str) -> dict[str, Any]:
    provoked, of = (sum(counts) for counts in zip(*stamp.provoked.values(), strict=True))
    row = {"model_id": stamp.model_id, "state": state, "rows": stamp.rows, "outputs_hash": stamp.outputs_hash}
    return {**row, "hazards_provoked": f"{provoked} of {of}"}
