"""Data as a token's job or a run of a standing order offers it: read, hashed, published or held against the copy served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.job import Terms
from coordinator.cli import model_source, rows
from coordinator.cli.context import Setup
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.published import check_served, publish

if TYPE_CHECKING:
    from coordinator.cli.model_source import Model


@dataclass(frozen=True, slots=True)
class Offer:
    """Rows that workers will find at `uri`; `published` is the file that was written for them, if any."""

    root: bytes
    count: int
    row_length: int
    uri: str
    published: Path | None
    is_served: bool
    """Whether the URI was given: then it is for us to check."""

    def check(self, setup: Setup, terms: Terms) -> None:
        """Fetch what is served and hold it against the terms. Raises oracle_worker.data_errors.DataError."""
        if self.is_served:
            with setup.out.progress("fetching --data-uri to check it"):
                check_served(setup, terms, self.uri, self.row_length)


def offer(
    setup: Setup, model: Model, data: Path, card: Path | None, publish_to: Path | None, data_uri: str | None
) -> Offer:
    """Read the data for the model, and publish it if asked to. Raises Refusal, models.scaling.BadFeatures, OSError."""
    if publish_to is None and data_uri is None:
        raise Refusal(
            ExitCode.USAGE, "say where workers find the rows: --publish FOLDER writes them, --data-uri URI names them"
        )
    scaling = model_source.read_card(card).scaling if card else model.card.scaling if model.card else None
    network = model.network
    row_length = network.row_length if network else setup.contracts.registry.model(model.model_id).row_length
    values = rows.read_rows(data, row_length, scaling)
    with setup.out.progress("hashing rows", len(values)) as tick:
        root = rows.input_tree(values, tick).root
    published = publish(publish_to, root, values) if publish_to else None
    uri = data_uri or (published.as_uri() if published else "")
    return Offer(root, len(values), row_length, uri, published, data_uri is not None)
