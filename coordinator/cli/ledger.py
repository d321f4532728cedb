"""`quorate worker ledger | status`: what an operator earned, and what it would do now."""

from __future__ import annotations

import csv
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.context import Setup, parse_address
from coordinator.cli.operate import shared_settings
from coordinator.cli.output import Seconds, Time, Wei

if TYPE_CHECKING:
    from eth_typing import ChecksumAddress

    from coordinator.clock import Clock
    from coordinator.earnings import Entry
    from coordinator.job_store import JobStore
    from coordinator.settings import CoordinatorSettings

Whose = Annotated[str | None, typer.Argument(metavar="[ADDRESS]", help="The worker; the key's own address by default.")]
AMOUNTS = ("rewards", "bounties", "gold", "bonds_paid", "bonds_back", "forfeited", "gas")


def ledger(
    setup: Setup,
    worker: Whose = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="One line a job on stdout, amounts in wei.")] = False,
    journal: Annotated[
        Path | None, typer.Option(help="The signer's transactions.jsonl; the one below QUORATE_HOME by default.")
    ] = None,
) -> None:
    """What a worker earned, paid and lost, job by job, from the chain's events and receipts. No key is needed."""
    from contracts.token_jobs import TokenJobs
    from coordinator import earnings
    from oracle_worker import journal as journals

    address = parse_address(worker) if worker else setup.address
    noted = journal or setup.home / "work" / address / journals.FILE_NAME
    with ExitStack() as stack, setup.out.progress("reading the chain"):
        store, clock, made = _caught_up(setup, stack, address)
        jobs = TokenJobs(setup.endpoint, made.token_jobs) if made.token_jobs is not None else None
        found = earnings.read(store, setup.endpoint, address, clock.confirmed_block, journals.read(noted), jobs)
    if as_csv:
        _write_csv(found.entries)
    else:
        total = found.total
        setup.out.record(
            {
                "worker": address,
                "up_to_block": found.block,
                "jobs": len(found.entries) - 1,
                **_amounts(total),
                "transactions": total.transactions,
                "claimed": total.claimed,
                "entries": [_row(entry) for entry in found.entries],
            }
        )
    if found.unknown:
        setup.out.note(
            f"{found.unknown} transactions of {address} left no event and are not in {noted}: their gas is not counted."
        )


def status(setup: Setup, worker: Whose = None) -> None:
    """What a worker has at stake and what it would do now, job by job. No key is needed, and nothing is sent."""
    from coordinator.metrics import queue_depths
    from coordinator.scheduler import Operator, next_actions, reasons

    address = parse_address(worker) if worker else setup.address
    with ExitStack() as stack, setup.out.progress("reading the chain"):
        store, clock, settings = _caught_up(setup, stack, address)
        account, views = setup.contracts.oracle.account(address), store.open_views()
        known = store.account(address)
        has_lane = next(known.free_lanes(), None) is not None
        jobs: list[dict[str, Any]] = []
        for view in views:
            bonded = store.bonded_before(address, view.state.created_block)
            me = Operator(address, bonded, known.free, has_lane, (), store.stakers())
            due = next_actions(view, me, clock, settings.rules)
            seat = view.seat(address)
            left = min((one.left for one in due if one.left is not None), default=None)
            why = reasons(view, me, clock, settings.rules)
            jobs.append(
                {
                    "job": view.job_id,
                    "seats": seat.count if seat else 0,
                    "due": [one.kind.value for one in due],
                    "time_left": None if left is None else Seconds(max(left, 0)),
                    "why_no_seat": None if seat or due else next((why[kind] for kind in why if kind == "infer"), None),
                }
            )
    wallet = int(setup.endpoint.ask("eth_getBalance", address, "latest"), 16)
    nodes = [
        {"node": one.shown, "head": one.head, "fit": one.is_fit, "why": one.why} for one in setup.endpoint.standings()
    ]
    setup.out.record(
        {
            "worker": address,
            "bonded": Wei(account.bonded),
            "locked": Wei(account.locked),
            "credit": Wei(account.credit),
            "wallet": Wei(wallet),
            "lanes_in_use": account.lanes.bit_count(),
            "block": clock.block_number,
            "confirmed_block": clock.confirmed_block,
            "chain_time": Time(clock.now),
            "queues": dict(queue_depths(settings)) or None,
            "nodes": nodes,
            "jobs": jobs,
        }
    )


def _caught_up(setup: Setup, stack: ExitStack, address: ChecksumAddress) -> tuple[JobStore, Clock, CoordinatorSettings]:
    """A projection of this command's own, so that no coordinator is disturbed; kept, so that the next time is quick."""
    from coordinator import settings
    from coordinator.job_store import JobStore, Source
    from coordinator.watcher import Watcher

    deployment = setup.deployment
    made = settings.load(**shared_settings(setup, None, None), worker=address)
    path = setup.home / "reading" / f"{deployment.chain_id}-{deployment.oracle}.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    store = stack.enter_context(JobStore(path, Source(deployment.chain_id, deployment.oracle, deployment.block)))
    watcher = Watcher(setup.endpoint, store, confirmations=made.confirmations, most_blocks=made.log_range)
    return store, watcher.catch_up(), made


def _amounts(entry: Entry) -> dict[str, Any]:
    return {**{name: Wei(getattr(entry, name)) for name in AMOUNTS}, "net": Wei(entry.net)}


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "job": entry.job_id,
        "created": Time(entry.created_at),
        "outcome": entry.outcome if entry.job_id else None,
        "seats": entry.seats,
        **_amounts(entry),
        "transactions": entry.transactions,
        "claimed": entry.claimed,
    }


def _write_csv(entries: list[Entry]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["job", "created", "outcome", "seats", *AMOUNTS, "net", "transactions", "claimed"])
    for entry in entries:
        about = (
            ["0x" + entry.job_id.hex(), entry.created_at, entry.outcome.name.lower()] if entry.job_id else ["", "", ""]
        )
        amounts = [getattr(entry, name) for name in AMOUNTS]
        claimed = " ".join(f"{token}={amount}" for token, amount in entry.claimed.items())
        writer.writerow([*about, entry.seats, *amounts, entry.net, entry.transactions, claimed])
