"""The models that ship with Quorate: for each a canonical network, its card, its vectors and what trains it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.scaling import Scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.network import IntegerNetwork

_FOLDER = Path(__file__).parent


class UnknownModel(KeyError):
    """No zoo model has this name."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Card:
    """What a person and a program need to know of a model.

    classes: the name of each logit. scaling: from raw features to rows. shape: the network's widths, from row to logits.
    data: source, citation, licence. accuracy: method and measured figures, float beside integer.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    scaling: Scaling
    shape: tuple[int, ...]
    data: dict[str, str]
    accuracy: dict[str, Any]


@dataclass(frozen=True)
class ZooModel:
    """A zoo model, read and checked."""

    network: IntegerNetwork
    card: Card
    onnx_path: Path

    def read_vectors(self) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """The committed synthetic rows (n, row_length) and the logits (n, classes) every implementation must give."""
        vectors = json.loads((self.onnx_path.parent / "vectors.json").read_text("utf-8"))
        rows = np.array([list(bytes.fromhex(vector["row"])) for vector in vectors], np.uint8)
        return rows, np.array([vector["logits"] for vector in vectors], np.int32)


def names() -> tuple[str, ...]:
    """The zoo's models, in alphabetical order."""
    return tuple(sorted(path.parent.name for path in _FOLDER.glob("*/model.onnx")))


def load(name: str) -> ZooModel:
    """One model by name. Raises UnknownModel naming those there are."""
    from models.canonical import from_onnx  # here, so that listing names does not wait for onnx

    if name not in names():
        raise UnknownModel(f"no zoo model is called {name!r}; there are {', '.join(names())}")
    path = _FOLDER / name / "model.onnx"
    return ZooModel(from_onnx(path), read_card(_FOLDER / name / "card.json"), path)


def read_card(path: Path) -> Card:
    """The card in a JSON file. Raises ValueError or KeyError where it is not one."""
    card = json.loads(path.read_text("utf-8"))
    features = card["features"]
    scaling = Scaling(
        tuple(str(feature["name"]) for feature in features),
        tuple(float(feature["minimum"]) for feature in features),
        tuple(float(feature["maximum"]) for feature in features),
    )
    classes, shape = tuple(card["classes"]), tuple(card["shape"])
    return Card(card["name"], card["title"], classes, scaling, shape, card["data"], card["accuracy"])


def wine_rows() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 178 UCI wine analyses as rows (178, 13) for wine-grading, and their cultivars (178,).

    Raises ImportError where scikit-learn, which ships the analyses, is not installed.
    """
    try:
        from sklearn.datasets import load_wine
    except ImportError as error:
        raise ImportError("the wine analyses come with scikit-learn: pip install 'quorate[zoo]'") from error
    wine = load_wine()
    scaling = read_card(_FOLDER / "wine-grading" / "card.json").scaling
    return scaling.to_rows(wine.data), np.asarray(wine.target, np.int64)


def digit_rows() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 1,797 handwritten digits as rows (1797, 64) for digit-tagging, and what they are (1797,).

    Raises ImportError where scikit-learn, which ships the images, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn: pip install 'quorate[zoo]'") from error
    digits = load_digits()
    scaling = read_card(_FOLDER / "digit-tagging" / "card.json").scaling
    return scaling.to_rows(digits.data), np.asarray(digits.target, np.int64)
