"""A model as it is named on the command line: a zoo name, an ONNX file, or the id of a registered model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coordinator.cli.context import parse_hash
from coordinator.cli.failures import ExitCode, Refusal

if TYPE_CHECKING:
    from models.network import IntegerNetwork
    from models.zoo import Card


@dataclass(frozen=True, slots=True)
class Model:
    """What is known here of a model. `network` and `program` are None for an id whose file is not at hand."""

    name: str
    model_id: bytes
    network: IntegerNetwork | None = None
    program: bytes | None = None
    card: Card | None = None

    def need_network(self) -> IntegerNetwork:
        """The network. Raises Refusal where only the id is known."""
        if self.network is None:
            raise Refusal(
                ExitCode.NOT_FOUND,
                f"the file of model 0x{self.model_id.hex()} is not at hand: give --model FILE.onnx (a model is public; "
                "its registrant or a UriAnnounced event says where it is)",
            )
        return self.network


def find(named: str) -> Model:
    """The model that the text names. Raises Refusal, models.zoo.UnknownModel, OSError."""
    from models import zoo

    path = Path(named).expanduser()
    if path.suffix == ".onnx" or path.is_file():
        return of_file(path)
    if named.startswith("0x"):
        return of_id(parse_hash(named, "model id"))
    loaded = zoo.load(named)
    return _made(named, loaded.network, loaded.card)


def of_file(path: Path) -> Model:
    """The model in an ONNX file, and its card where one lies beside it. Raises Refusal naming file, node, rule; OSError."""
    from models.canonical import from_onnx
    from models.form import RefusedModel

    try:
        network = from_onnx(path)
    except RefusedModel as refused:
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: {refused}") from refused
    beside = [card for card in (path.with_suffix(".card.json"), path.with_name("card.json")) if card.is_file()]
    return _made(path.stem, network, read_card(beside[0]) if beside else None)


def of_id(model_id: bytes) -> Model:
    """The model of that id: with its network if it is in the zoo, else the id alone."""
    from models import zoo

    for name in zoo.names():
        loaded = zoo.load(name)
        model = _made(name, loaded.network, loaded.card)
        if model.model_id == model_id:
            return model
    return Model("0x" + model_id.hex(), model_id)


def for_job(model_id: bytes, named: str | None) -> Model:
    """The model of a job, from what the user named or from the zoo. Raises Refusal if another model was named."""
    if named is None:
        return of_id(model_id)
    model = find(named)
    if model.model_id != model_id:
        raise Refusal(
            ExitCode.BAD_INPUT,
            f"{named} is model 0x{model.model_id.hex()}, but the job runs 0x{model_id.hex()}: give that model's file",
        )
    return model


def read_card(path: Path) -> Card:
    """A card from its file. Raises Refusal, OSError."""
    from models import zoo

    try:
        return zoo.read_card(path)
    except KeyError as error:
        raise Refusal(ExitCode.BAD_INPUT, f"{path} is no model card: it lacks {error}") from error
    except (ValueError, TypeError) as error:
        raise Refusal(ExitCode.BAD_INPUT, f"{path} is no model card: {error}") from error


def _made(name: str, network: IntegerNetwork, card: Card | None) -> Model:
    from models.program import compile_network, model_id

    program = compile_network(network)
    if card is not None and (len(card.scaling.features), len(card.classes)) != (
        network.row_length,
        network.output_length,
    ):
        raise Refusal(
            ExitCode.BAD_INPUT,
            f"the card of {name} lists {len(card.scaling.features)} features and {len(card.classes)} classes; the model "
            f"reads {network.row_length} bytes and gives {network.output_length} logits: correct the card",
        )
    return Model(name, model_id(program), network, program, card)
