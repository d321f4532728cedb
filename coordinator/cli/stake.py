"""`quorate stake`: bond ether, take it out again, see what is held.

Taking stake out is two steps, because stake must stay answerable for the jobs it was drawn for: `unbond AMOUNT` starts
the unbonding period, and `withdraw`, after it, pays out. `withdraw --amount` is another way to write the first step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from eth_typing import ChecksumAddress

from contracts.stake import LANES
from coordinator.cli import amounts, passport
from coordinator.cli.command import command
from coordinator.cli.context import Setup, parse_address, receipt_facts
from coordinator.cli.output import Seconds, Time, Wei, duration, moment

app = typer.Typer(help="Stake: deposit it, unbond and withdraw it, see it.", no_args_is_help=True)

Amount = Annotated[
    int, typer.Argument(parser=amounts.option, metavar="AMOUNT", help="Wei, or with a unit: '0.5 ether'.")
]


@command(app, "deposit")
def deposit(
    setup: Setup,
    amount: Amount,
    shown: Annotated[
        Path | None,
        typer.Option(
            "--passport", metavar="FILE", help="The signed passport of the machine that computes, if not this one."
        ),
    ] = None,
) -> None:
    """Bond stake, if the machine that computes is exact. It draws seats in jobs that are created after this block."""
    _ = setup.endpoint.chain_id, setup.address  # what else is wrong is said first
    passport.need(setup, shown)
    receipt = setup.send(setup.contracts.oracle.deposit(amount), "depositing")
    setup.out.record({"deposited": Wei(amount), **receipt_facts(receipt), **_facts(setup, setup.account.address)})


@command(app, "unbond")
def unbond(setup: Setup, amount: Amount) -> None:
    """Start to take free stake out: it draws no more seats, and `withdraw` pays it once the unbonding period is over."""
    _unbond(setup, amount)


@command(app, "withdraw")
def withdraw(
    setup: Setup,
    amount: Annotated[
        int | None,
        typer.Option(parser=amounts.option, metavar="AMOUNT", help="Start to unbond this much instead of paying out."),
    ] = None,
    to: Annotated[str | None, typer.Option(help="Who is paid; the key's own address by default.")] = None,
) -> None:
    """Pay out what is ready: rewards and bonds credited, and stake whose unbonding period is over."""
    if amount is not None:
        _unbond(setup, amount)
        return
    payee = parse_address(to) if to else setup.address
    oracle = setup.contracts.oracle
    account = oracle.account(setup.address)
    is_ready = bool(account.unbonding) and account.ready_at <= setup.now()
    receipt = setup.send(oracle.withdraw(payee), "withdrawing")
    paid = account.credit + (account.unbonding if is_ready else 0)
    setup.out.record({"withdrawn": Wei(paid), "to": payee, **receipt_facts(receipt), **_facts(setup, setup.address)})


@command(app, "show")
def show(
    setup: Setup,
    worker: Annotated[str | None, typer.Argument(help="Whose stake; the key's own address by default.")] = None,
) -> None:
    """What an address has bonded, locked, unbonding and credited."""
    address = parse_address(worker) if worker else setup.address
    setup.out.record({"address": address, **_facts(setup, address)})


def _unbond(setup: Setup, amount: int) -> None:
    receipt = setup.send(setup.contracts.oracle.unbond(amount), "unbonding")
    facts = _facts(setup, setup.account.address)
    setup.out.record({"unbonding_started": Wei(amount), **receipt_facts(receipt), **facts})
    period = setup.contracts.oracle.bounds().unbonding_period
    setup.out.note(
        f"Run `quorate stake withdraw` after {moment(int(str(facts['ready_at'])))} ({duration(period)} from now) to be paid. "
        "Unbonding more before then starts the period again for all of it."
    )


def _facts(setup: Setup, address: ChecksumAddress) -> dict[str, object]:
    oracle = setup.contracts.oracle
    account = oracle.account(address)
    total = oracle.total_stake()
    balance = int(setup.endpoint.ask("eth_getBalance", address, "latest"), 16)
    return {
        "bonded": Wei(account.bonded),
        "locked_in_seats": Wei(account.locked),
        "free": Wei(account.free),
        "lanes_in_use": f"{LANES - sum(1 for _ in account.free_lanes())} of {LANES}",
        "unbonding": Wei(account.unbonding),
        "ready_at": Time(account.ready_at),
        "credit": Wei(account.credit),
        "wallet": Wei(balance),
        "total_stake_of_all": Wei(total),
        "unbonding_period": Seconds(oracle.bounds().unbonding_period),
    }
