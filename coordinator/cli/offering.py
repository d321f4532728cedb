"""Data as a token's job or a run of a standing order offers it: read, hashed, published or held against the copy served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.job import Terms
from coordinator.cli import model_source, rows
from coordinator.cli.context import Setup
from coordinator.cli.published import Announced, announce, need_somewhere

if TYPE_CHECKING:
    from coordinator.cli.model_source import Model


@dataclass(frozen=True, slots=True)
class Offer:
    """Rows that workers will find where it is announced."""

    root: bytes
    count: int
    row_length: int
    announced: Announced

    def check(self, setup: Setup, terms: Terms) -> None:
        """Fetch what is served and hold it against the terms. Raises oracle_worker.data_errors.DataError."""
        self.announced.check(setup, terms, self.row_length)


def offer(
    setup: Setup,
    model: Model,
    data: Path,
    card: Path | None,
    publish_to: Sequence[str] | None,
    data_uris: Sequence[str] | None,
) -> Offer:
    """Read the data for the model, and publish it if asked to. Raises Refusal, models.scaling.BadFeatures, OSError."""
    need_somewhere(publish_to, data_uris)
    scaling = model_source.read_card(card).scaling if card else model.card.scaling if model.card else None
    network = model.network
    row_length = network.row_length if network else setup.contracts.registry.model(model.model_id).row_length
    values = rows.read_rows(data, row_length, scaling)
    with setup.out.progress("hashing rows", len(values)) as tick:
        inputs = rows.input_tree(values, tick)
    return Offer(inputs.root, len(values), row_length, announce(setup, publish_to, data_uris, inputs, values))
