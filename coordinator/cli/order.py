"""`quorate order`: a job again and again. The owner sets terms and schedule once, the feeder announces each run's data, and
anyone triggers a run that is due."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from eth_utils.address import to_checksum_address

from contracts import standing_orders
from contracts.endpoint import Rejected
from contracts.standing_orders import NO_FEED, Announcement, Order, Schedule, StandingOrder, StandingOrders, with_feed
from coordinator.cli import amounts, companions, model_source, terms
from coordinator.cli.command import command
from coordinator.cli.companions import Companion
from coordinator.cli.context import Setup, parse_address, receipt_facts
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.job import Named, Quorum, Reward, Scaling, Seats, SeatStake, Window
from coordinator.cli.job_log import RANGE
from coordinator.cli.offering import offer
from coordinator.cli.output import Seconds, Time, Wei
from coordinator.cli.published import Places, Uris

app = typer.Typer(
    help="Standing orders: create, announce, trigger, fund, cancel, collect, withdraw, show.", no_args_is_help=True
)

Contract = Annotated[
    str | None,
    typer.Option(
        "--standing-orders",
        metavar="ADDRESS",
        help="StandingOrders; else $QUORATE_STANDING_ORDERS, else the one deployed from here.",
    ),
]
Which = Annotated[str, typer.Argument(metavar="ORDER", help="The order's address.")]
Found = TypeVar("Found")


@command(app, "deploy")
def deploy(setup: Setup) -> None:
    """Deploy StandingOrders for this deployment's oracle. Nobody owns it; its address is kept beside the deployment file."""
    creation = standing_orders.creation(setup.deployment.oracle)
    setup.out.record(companions.deploy(setup, Companion.STANDING_ORDERS, creation))


@command(app, "create")
def create(
    setup: Setup,
    named: Named,
    items: Annotated[int, typer.Option(min=1, help="Most items of a run: what the least seat stake is for.")],
    interval: Annotated[int, typer.Option(min=1, max=2**32 - 1, help="Seconds; each has one run at most.")],
    reward: Reward,
    funds: Annotated[int, typer.Option(parser=amounts.option, metavar="AMOUNT", help="Put in now, for runs and tips.")],
    first_due: Annotated[
        int | None, typer.Option(min=0, max=2**40 - 1, help="Unix seconds of the first run; now by default.")
    ] = None,
    runs: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="How many; 0 is until it is cancelled.")] = 0,
    tip: Annotated[
        int, typer.Option(parser=amounts.option, metavar="AMOUNT", help="To whoever triggers a run; at most a tenth.")
    ] = 0,
    feeder: Annotated[
        str | None, typer.Option(help="Who announces the data; the key's own address by default.")
    ] = None,
    seats: Seats = 5,
    quorum: Quorum = None,
    seat_stake: SeatStake = None,
    commit_window: Window = None,
    reveal_window: Window = None,
    challenge_window: Window = None,
    response_window: Window = None,
    call_out_fee: Annotated[
        int, typer.Option(parser=amounts.option, metavar="AMOUNT", help="Of each reward, if seats work in vain.")
    ] = 0,
    nonce: Annotated[int | None, typer.Option(min=0, help="Number of the order, for one that is not random.")] = None,
    contract: Contract = None,
) -> None:
    """Create an order: its terms and schedule are fixed, its data is announced run by run."""
    orders = _orders(setup, contract)
    model = model_source.find(named)
    wish = terms.Wish(
        reward,
        seats,
        quorum,
        seat_stake,
        commit_window,
        reveal_window,
        challenge_window,
        response_window,
        call_out_fee,
    )
    wanted = with_feed(terms.make(wish, setup.contracts, model.model_id, bytes(32), "", items), NO_FEED)
    schedule = Schedule(setup.now() if first_due is None else first_due, interval, runs)
    number = secrets.randbits(64) if nonce is None else nonce
    announcer = parse_address(feeder) if feeder else setup.address
    call = orders.create(number, announcer, schedule, tip, wanted, funds)
    address = to_checksum_address(setup.endpoint.simulate(call, setup.account.address)[-20:])
    receipt = setup.send(call, "creating the order")
    setup.out.record(
        {
            "order": address,
            "owner": setup.address,
            "feeder": announcer,
            "model": model.model_id,
            **_schedule_facts(schedule, tip),
            "funds": Wei(funds),
            **terms.facts(wanted),
            **receipt_facts(receipt),
        },
        title="Order created",
    )
    setup.out.note(
        f"`quorate order announce {address}` says what the first run is over, `quorate order trigger` makes it."
    )


@command(app, "announce")
def announce(
    setup: Setup,
    order: Which,
    data: Annotated[Path, typer.Option(help="Data file: .csv, .npy or .bin.")],
    run: Annotated[int | None, typer.Option(min=0, help="Number of the run; the next one by default.")] = None,
    publish_to: Places = None,
    data_uris: Uris = None,
    scaling: Scaling = None,
    contract: Contract = None,
) -> None:
    """As the feeder, say what data a run is over; again, to say it differently, until the run is made."""
    made, client = _find(setup, order, contract)
    number = client.runs_made() if run is None else run
    model = model_source.find("0x" + made.terms.model_id.hex())
    offered = offer(setup, model, data, scaling, publish_to, data_uris)
    feed = standing_orders.feed_of(offered.root, offered.count, offered.announced.uri)
    offered.check(setup, with_feed(made.terms, feed))
    receipt = setup.send(client.announce(number, feed, offered.announced.uri), "announcing")
    setup.out.record(
        {
            "order": made.address,
            "run": number,
            "data_root": offered.root,
            "data_uri": offered.announced.uri,
            "items": offered.count,
            **receipt_facts(receipt),
            "published": offered.announced.published,
        }
    )


@command(app, "trigger")
def trigger(setup: Setup, order: Which, contract: Contract = None) -> None:
    """Create the job of the next run, if it is due, announced and paid for, and earn the tip. Anyone may."""
    made, client = _find(setup, order, contract)
    run = client.runs_made()
    announced = _announcement(setup, client, run)
    if announced is None:
        raise Refusal(
            ExitCode.UNFINISHED,
            f"run {run} was not announced yet: its feeder {made.feeder} runs `quorate order announce`",
        )
    wanted = with_feed(made.terms, announced.feed)
    receipt = setup.send(client.trigger(wanted, announced.data_uri), "triggering")
    job_id = client.job(run, wanted).id(setup.deployment.chain_id, setup.deployment.oracle)
    setup.out.record(
        {
            "order": made.address,
            "run": run,
            "job_id": job_id,
            "tip": Wei(made.tip),
            "next_due": Time(client.due()),
            **receipt_facts(receipt),
        }
    )
    setup.out.note(f"Follow it with `quorate job watch 0x{job_id.hex()}`.")


@command(app, "fund")
def fund(
    setup: Setup,
    order: Which,
    amount: Annotated[
        int, typer.Argument(parser=amounts.option, metavar="AMOUNT", help="Wei, or with a unit: '0.5 ether'.")
    ],
    contract: Contract = None,
) -> None:
    """Put more into an order for the runs to come. Anyone may."""
    made, client = _find(setup, order, contract)  # ether sent to a mistyped address would be lost
    receipt = setup.send(client.fund(amount), "funding the order")
    setup.out.record({"order": made.address, "funded": Wei(amount), **_money(setup, made), **receipt_facts(receipt)})


@command(app, "cancel")
def cancel(setup: Setup, order: Which, contract: Contract = None) -> None:
    """As the owner, end an order. Jobs that were created go on."""
    made, client = _find(setup, order, contract)
    receipt = setup.send(client.cancel(), "cancelling")
    setup.out.record({"order": made.address, "runs_made": client.runs_made(), **receipt_facts(receipt)})
    setup.out.note(f"`quorate order withdraw {made.address}` pays out what is in it.")


@command(app, "collect")
def collect(setup: Setup, order: Which, contract: Contract = None) -> None:
    """Bring to an order what the oracle owes it: rewards and bonds that came back. Anyone may."""
    made, client = _find(setup, order, contract)
    receipt = setup.send(client.collect(), "collecting")
    setup.out.record({"order": made.address, **_money(setup, made), **receipt_facts(receipt)})


@command(app, "withdraw")
def withdraw(
    setup: Setup,
    order: Which,
    to: Annotated[str | None, typer.Option(help="Who is paid; the key's own address by default.")] = None,
    contract: Contract = None,
) -> None:
    """As the owner of an order that has ended, pay out everything in it."""
    made, client = _find(setup, order, contract)
    payee = parse_address(to) if to else setup.address
    balance = _balance(setup, made)
    receipt = setup.send(client.withdraw(payee), "withdrawing")
    setup.out.record({"order": made.address, "withdrawn": Wei(balance), "to": payee, **receipt_facts(receipt)})


@command(app, "show")
def show(setup: Setup, order: Which, contract: Contract = None) -> None:
    """An order's schedule, terms and money, and how far it has come."""
    made, client = _find(setup, order, contract)
    run = client.runs_made()
    announced = _announcement(setup, client, run)
    setup.out.record(
        {
            "order": made.address,
            "owner": made.owner,
            "feeder": made.feeder,
            "model": made.terms.model_id,
            **_schedule_facts(made.schedule, made.tip),
            **terms.facts(made.terms),
            **_money(setup, made),
            "runs_made": run,
            "has_ended": client.has_ended(),
            "next_due": Time(client.due()),
            "next_announced": announced is not None,
            "next_data_uri": announced.data_uri if announced else None,
            "next_items": announced.feed.item_count if announced else None,
        }
    )


def _orders(setup: Setup, contract: str | None) -> StandingOrders:
    return companions.find(setup, Companion.STANDING_ORDERS, contract, StandingOrders)


def _find(setup: Setup, text: str, contract: str | None) -> tuple[Order, StandingOrder]:
    """The order as it was created. Raises Refusal where this StandingOrders made none at the address."""
    orders, address = _orders(setup, contract), parse_address(text)

    def read(first: int, last: int) -> Order | None:
        return next((one for one in orders.created(first, last) if one.address == address), None)

    with setup.out.progress("looking for the order"):
        found = _newest(setup, read)
    if found is None:
        raise Refusal(
            ExitCode.NOT_FOUND,
            f"{address} is no order of the StandingOrders at {orders.address}: check the address and the network, or name "
            "another --standing-orders",
        )
    return found, StandingOrder(setup.endpoint, address)


def _announcement(setup: Setup, client: StandingOrder, run: int) -> Announcement | None:
    """What the feeder last said of the run."""
    if not client.is_announced(run):
        return None
    with setup.out.progress("reading what was announced"):
        return _newest(setup, lambda first, last: client.announcement(run, first, last))


def _newest(setup: Setup, read: Callable[[int, int], Found | None]) -> Found | None:
    """What `read` finds first in ranges of blocks, from the newest back to the deployment. Raises ChainError."""
    last, span = int(setup.endpoint.ask("eth_blockNumber"), 16), RANGE
    while last >= setup.deployment.block:
        first = max(last - span + 1, setup.deployment.block)
        try:
            found = read(first, last)
        except Rejected:
            if span == 1:
                raise
            span //= 2
            continue
        if found is not None:
            return found
        last = first - 1
    return None


def _schedule_facts(schedule: Schedule, tip: int) -> dict[str, Any]:
    return {
        "first_due": Time(schedule.first_due),
        "interval": Seconds(schedule.interval),
        "runs": schedule.runs,
        "tip": Wei(tip),
    }


def _money(setup: Setup, made: Order) -> dict[str, Any]:
    balance, cost = _balance(setup, made), made.terms.payment + made.tip
    return {
        "balance": Wei(balance),
        "runs_paid_for": balance // cost if cost else None,
        "owed_by_the_oracle": Wei(setup.contracts.oracle.credit(made.address)),
    }


def _balance(setup: Setup, made: Order) -> int:
    return int(setup.endpoint.ask("eth_getBalance", made.address, "latest"), 16)
