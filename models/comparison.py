"""A float model and the integer network made of it on the same rows: how often they agree, and by how much they differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.float_model import Floats

_WORST = 5


@dataclass(frozen=True)
class WorstRow:
    """A row on which the two models differ most. error: the largest, over logits, in the float model's units."""

    index: int
    float_class: int
    integer_class: int
    error: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Logits of the same rows, both in the float model's units: (n, outputs) each. labels: the class of each row, or None."""

    by_float: Floats
    by_integer: Floats
    labels: NDArray[np.integer] | None = None

    @property
    def agreement(self) -> float:
        """The fraction of rows on which both give the same class (for one output: the same sign)."""
        return float((self.float_classes == self.integer_classes).mean())

    @property
    def float_accuracy(self) -> float | None:
        return None if self.labels is None else float((self.float_classes == self.labels).mean())

    @property
    def integer_accuracy(self) -> float | None:
        return None if self.labels is None else float((self.integer_classes == self.labels).mean())

    @cached_property
    def float_classes(self) -> NDArray[np.int64]:
        return _classes(self.by_float)

    @cached_property
    def integer_classes(self) -> NDArray[np.int64]:
        return _classes(self.by_integer)

    @cached_property
    def errors(self) -> Floats:
        """Integer less float logits, (n, outputs)."""
        return self.by_integer - self.by_float

    @property
    def typical_error(self) -> float:
        """The root of the mean squared error of a logit."""
        return float(np.sqrt((self.errors**2).mean()))

    @property
    def largest_error(self) -> float:
        return float(np.abs(self.errors).max())

    @property
    def spread(self) -> float:
        """The standard deviation of the float model's logits: what an error is to be measured by."""
        return float(self.by_float.std())

    @property
    def worst(self) -> tuple[WorstRow, ...]:
        """At most five rows: those of different class first, then by error."""
        errors = np.abs(self.errors).max(axis=1)
        order = np.lexsort((-errors, self.float_classes == self.integer_classes))[:_WORST]
        classes = self.float_classes, self.integer_classes
        return tuple(WorstRow(int(i), int(classes[0][i]), int(classes[1][i]), float(errors[i])) for i in order)


def _classes(logits: Floats) -> NDArray[np.int64]:
    """The class of each row; one output alone is a yes or no by its sign."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).astype(np.int64)
    return np.asarray(np.argmax(logits, axis=1), np.int64)
