"""Ask for verdicts: the file is quantised, the terms are chosen, and the browser's own wallet signs; or a command line does."""

from __future__ import annotations

from typing import Any

from coordinator.dashboard import wording
from coordinator.dashboard.frame import follow, frame
from coordinator.dashboard.parts import Tag, paragraph, section, text
from coordinator.dashboard.quantising import MOST_BYTES
from coordinator.explorer.explorer import Explorer

_WINDOWS = (
    ("commit_window", "Commit window, s", "20 × the least"),
    ("reveal_window", "Reveal window, s", "20 × the least"),
    ("challenge_window", "Challenge window, s", "20 × the least"),
    ("response_window", "Response window, s", "10 × the least"),
)


def submit_page(explorer: Explorer, model: str | None) -> None:
    """The form. What it does is in static/wallet.js."""
    lead = "Your wallet signs in this browser; the server never holds a key. Everything works from the command line as well."
    with frame(explorer, "Submit a job", "/submit", lead) as clock:
        with Tag("form", id="submit", novalidate=True, autocomplete="off"):
            _data(explorer, model)
            _terms()
            _send()
        follow(clock)


def _data(explorer: Explorer, model: str | None) -> None:
    with section("1  Data", "data", "one line an item; a header picks columns by name"):
        with Tag("div", classes="fields"), Tag("div"):
            Tag("label", "Model", for_="model")
            with Tag("select", id="model", name="model_id"):
                for model_id, known in explorer.witness.zoo.items():
                    chosen = model in (known.name, wording.hex_(model_id))
                    Tag(
                        "option",
                        known.name,
                        value=wording.hex_(model_id),
                        data_name=known.name,
                        selected=chosen or None,
                    )
        with Tag("div", classes="drop", id="drop"):
            with Tag("p"):
                text("Drop a CSV here, or ")
                Tag("label", "choose a file", "inline", for_="file")
            Tag("input", id="file", type="file", accept=".csv,text/csv", classes="file", aria_describedby="file-said")
            paragraph(f"At most {MOST_BYTES >> 20} MiB; nothing of it is kept on the server.", "quiet")
        Tag("p", "", "said", role="status", aria_live="polite", id="file-said")
        Tag("div", "", "preview", id="preview")
        with Tag("div", classes="fields"):
            _field("data_root", "Data root", placeholder="0x… : filled in from the file", maxlength=66, wide=True)
            _field("item_count", "Items", type_="number", min=1)
            _field(
                "data_uri",
                "Where workers find the rows",
                placeholder="https://… or ipfs://…",
                maxlength=2048,
                wide=True,
            )


def _terms() -> None:
    with section("2  Terms", "terms", "what is left empty, the deployment decides"), Tag("div", classes="fields"):
        _field("reward", "Reward, shared by the agreeing seats", start="0.1 ether", maxlength=64)
        _field("seats", "Seats", type_="number", start=5, min=1, max=65535)
        _field("quorum", "Quorum", type_="number", min=1, max=65535, placeholder="more than half")
        _field("seat_stake", "Stake of a seat", placeholder="a quarter above the least", maxlength=64)
        for name, label, default in _WINDOWS:
            _field(name, label, type_="number", min=1, placeholder=default)


def _send() -> None:
    with section("3  Sign", "sign"):
        with Tag("div", classes="row"):
            Tag("button", "Connect wallet and sign", "button main", type="submit", id="sign-button")
            paragraph("The transaction is simulated first; your wallet shows it before you sign.", "quiet")
        Tag("p", "", "said", role="status", aria_live="polite", id="sign-said")
        paragraph("Or, with a key of your own, from a terminal:", "quiet")
        with Tag("div", classes="command"):
            Tag(
                "pre",
                "quorate job submit --model wine-grading --data FILE.csv",
                id="line",
                tabindex=0,
                role="region",
                aria_label="The command line",
            )
            Tag(
                "button",
                "Copy",
                "button small",
                type="button",
                id="line-copy",
                data_copy="",
                aria_label="Copy the command line",
            )


def _field(name: str, label: str, *, type_: str = "text", wide: bool = False, **attributes: Any) -> None:
    with Tag("div", classes="wide" if wide else ""):
        Tag("label", label, for_=name)
        Tag("input", id=name, name=name, type=type_, spellcheck="false", **attributes)
