"""`quorate account`: the ether in an address's wallet, outside the oracle."""

from __future__ import annotations

from typing import Annotated

import typer
from eth_typing import ChecksumAddress

from coordinator.cli import amounts
from coordinator.cli.command import command
from coordinator.cli.context import Setup, parse_address, receipt_facts
from coordinator.cli.output import Wei

app = typer.Typer(help="Wallets: show what is in one, send ether.", no_args_is_help=True)

Amount = Annotated[
    int, typer.Argument(parser=amounts.option, metavar="AMOUNT", help="Wei, or with a unit: '0.5 ether'.")
]


@command(app, "show")
def show(
    setup: Setup,
    address: Annotated[str | None, typer.Argument(help="Whose wallet; the key's own address by default.")] = None,
) -> None:
    """What is in a wallet. `quorate stake show` says what the oracle holds for it."""
    whose = parse_address(address) if address else setup.address
    setup.out.record({"address": whose, "wallet": Wei(_balance(setup, whose))})


@command(app, "send")
def send(
    setup: Setup,
    to: Annotated[str, typer.Argument(metavar="ADDRESS", help="Who gets it, such as another key of yours.")],
    amount: Amount,
) -> None:
    """Send ether from the key's wallet, such as gas to an operator's own key."""
    payee = parse_address(to)
    receipt = setup.send((payee, b""), "sending ether", value=amount)
    sender = setup.account.address
    setup.out.record(
        {
            "sent": Wei(amount),
            "to": payee,
            **receipt_facts(receipt),
            "from": sender,
            "left": Wei(_balance(setup, sender)),
        }
    )


def _balance(setup: Setup, address: ChecksumAddress) -> int:
    return int(setup.endpoint.ask("eth_getBalance", address, "latest"), 16)
