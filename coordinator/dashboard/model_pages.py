"""Models: what they decide, how well, and what it costs to have the chain execute them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.dashboard import chain_text, wording
from coordinator.dashboard.frame import Live, follow, frame
from coordinator.dashboard.job_rows import job_table
from coordinator.dashboard.paging import pages
from coordinator.dashboard.parts import (
    Tag,
    cell,
    command_line,
    empty,
    fact,
    facts,
    figure,
    foreign,
    identifier,
    link,
    section,
    table,
    text,
)
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.read_model import JobRow, Model, ModelCard, ModelRow

NEWEST = 10


def models_page(explorer: Explorer, cursor: str | None) -> None:
    """The list. Raises BadCursor."""
    explorer.models(cursor=cursor)
    lead = "Exact integer networks: the same bits on every machine, and on the chain."
    with frame(explorer, "Models", "/models", lead) as clock:
        follow(clock, Live(lambda: explorer.models(cursor=cursor), lambda: _list(explorer, cursor)))


def _list(explorer: Explorer, cursor: str | None) -> None:
    page = explorer.models(cursor=cursor)
    with section("Models that jobs use", "models"):
        if not page.items:
            empty("No job was created yet, so no model is in use.", "`quorate model list` shows the zoo's.")
            return
        columns = ("Model", "Jobs", "Accepted", "Items decided")
        with table("Models", columns, numbers=columns[1:]):
            for row in page.items:
                with Tag("tr"):
                    with cell():
                        identifier(
                            wording.hex_(row.model_id), f"/models/{wording.hex_(row.model_id)}", "model", row.name
                        )
                    for number in (row.jobs, row.accepted, row.items):
                        with cell(number=True):
                            text(f"{number:,}")
        pages("/models", {}, cursor, page.next)


def model_page(explorer: Explorer, model: Model) -> None:
    """One model. It never changes; its jobs do."""
    model_id = model.row.model_id
    title = model.card.title if model.card else f"Model {wording.short(wording.hex_(model_id))}"
    with frame(explorer, chain_text.shown(title, 80), "/models") as clock:
        figures = Live(lambda: explorer.model_row(model_id), lambda: _figures(model, explorer.model_row(model_id)))
        if model.card:
            _card(model.card)
        newest = Live(
            lambda: explorer.jobs(model_id=model_id, limit=NEWEST),
            lambda: _jobs(model, explorer.jobs(model_id=model_id, limit=NEWEST).items, explorer.standing().head_time),
        )
        follow(clock, figures, newest)


def _figures(model: Model, row: ModelRow) -> None:
    with Tag("dl", classes="figures", style="--n:5"):
        with figure("Gas to dispute"):
            _number(model.dispute_gas)
        with figure("MACs"):
            _number(model.card.macs if model.card else None)
        with figure("Row"):
            _number(model.row_length, "bytes")
        with figure("Logits"):
            _number(model.output_length)
        with figure("Jobs"):
            _number(row.jobs)
    with section("On the chain", "chain"), facts():
        with fact("Model id"):
            identifier(wording.hex_(model.row.model_id), what="model id")
        with fact("Registered"):
            text({True: "yes", False: "no", None: "the node was not asked"}[model.is_registered])
        with fact("Program"):
            _number(model.program_length, "bytes")
        with fact("Gas of one execution"):
            _number(model.execution_gas)
        with fact("Gas to dispute"):
            text("every answer on the way to a leaf, and the refutation: at most, of a job of 1,000 items", "quiet")
        with fact("A dispute executes it"):
            text({True: "in steps, that anyone carries on", False: "in one transaction", None: "–"}[model.is_stepwise])
        with fact("Accepted jobs"):
            text(f"{row.accepted:,} of {row.jobs:,}")
        with fact("Items decided"):
            text(f"{row.items:,}")


def _number(value: int | None, unit: str = "") -> None:
    text("–" if value is None else f"{value:,}", "quiet" if value is None else "")
    if unit and value is not None:
        text(f" {unit}", "quiet")


def _card(card: ModelCard) -> None:
    with section("Card", "card"), facts():
        with fact("Classes"):
            text(", ".join(chain_text.shown(one, 40) for one in card.classes))
        with fact("Shape"):
            text(" → ".join(map(str, card.shape)))
        for name, value in card.data.items():
            with fact(chain_text.shown(name, 40).replace("_", " ").capitalize(), wide=len(value) > 60):
                foreign(value)
        with fact(f"Features ({len(card.features)})", wide=True):
            text(", ".join(chain_text.shown(one, 40) for one in card.features[:64]))
            if len(card.features) > 64:
                text(f" and {len(card.features) - 64} more", "quiet")
    with section("Accuracy", "accuracy", "measured; the integer network beside the float model it was made from"):
        _accuracy(card.accuracy)


def _accuracy(figures: Mapping[str, Any]) -> None:
    with facts():
        for name, value in _flat(figures):
            with fact(name, wide=len(value) > 60):
                text(value)


def _flat(figures: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested figures as (name, value) in words."""
    made: list[tuple[str, str]] = []
    for name, value in figures.items():
        words = f"{before}{chain_text.shown(str(name), 60).replace('_', ' ')}"
        if isinstance(value, Mapping):
            made += _flat(value, f"{words}: ")
        elif isinstance(value, float):
            made.append((words.capitalize(), f"{value:.4g}"))
        else:
            made.append((words.capitalize(), chain_text.shown(str(value), 300)))
    return made


def _jobs(model: Model, newest: Sequence[JobRow], now: int) -> None:
    with section("Newest jobs", "jobs"):
        if newest:
            job_table(newest, "Newest jobs of this model", now)
        else:
            empty("No job uses this model yet.")
        with Tag("p", classes="more"):
            link("All jobs of this model", f"/jobs?model={wording.hex_(model.row.model_id)}", "button")
            link("Submit one", f"/submit?model={wording.hex_(model.row.model_id)}", "button")
    with section("Get the model", "get"):
        named = model.row.name or wording.hex_(model.row.model_id)
        command_line(f"quorate model show {named}", "the command that shows this model")
