"""Which jobs an operator stakes on. Nothing here is about right or wrong, only about what is worth it and can be done."""

from __future__ import annotations

from contracts.job import Terms
from models.network import IntegerNetwork
from oracle_worker.chunks import MOST_CHUNKS, plan
from oracle_worker.result import WorkerError
from oracle_worker.settings import WorkerSettings

GIGA = 10**9
MOST_CHUNK_OUTPUT = 1 << 30
"""Bytes of one chunk's outputs, which are in memory at once."""


class PolicyRefusal(WorkerError):
    """The job is outside the operator's policy; the text names the setting."""


def check_terms(settings: WorkerSettings, terms: Terms, reward: int) -> None:
    """What terms and reward alone decide: the signer asks again before it stakes.

    reward: wei for all seats together, as everywhere here (oracle_worker.pay). Raises PolicyRefusal.
    """
    if settings.allowed_models and terms.model_id.hex() not in settings.allowed_models:
        raise PolicyRefusal(f"model {terms.model_id.hex()} is not among allowed_models")
    if terms.item_count > settings.most_items:
        raise PolicyRefusal(f"{terms.item_count} items are more than most_items allows ({settings.most_items})")
    check_chunks(settings, terms)
    share = reward // terms.seats
    if share < settings.least_reward_per_item * terms.item_count:
        raise PolicyRefusal(
            f"a seat earns {share} wei for {terms.item_count} items, less than least_reward_per_item asks "
            f"({settings.least_reward_per_item} wei an item)"
        )


def check_chunks(settings: WorkerSettings, terms: Terms) -> None:
    """Whether the job's chunks can be counted one by one. Raises PolicyRefusal."""
    if (count := plan(terms.item_count, settings.chunk_depth).count) > MOST_CHUNKS:
        raise PolicyRefusal(f"{count} chunks at this chunk_depth ({settings.chunk_depth}), at most {MOST_CHUNKS}")


def check_gain(settings: WorkerSettings, seats: int, terms: Terms, reward: int, gas_cost: int) -> None:
    """Whether the seats that can be had now earn what committing and revealing cost, in wei. Raises PolicyRefusal."""
    earned = seats * (reward // terms.seats)
    if earned < settings.least_gain * gas_cost:
        raise PolicyRefusal(
            f"{seats} seats earn {earned} wei and their gas costs {gas_cost} at today's price, of which they must earn "
            f"{settings.least_gain:g} times as much (least_gain)"
        )


def check_reveals(terms: Terms, held: int, seconds: float) -> None:
    """Whether a seat of one more job can be opened in time, should all that are held come to their reveal at once.

    held: jobs with seats; seconds: what a reveal takes. Raises PolicyRefusal.
    """
    if 2 * (held + 1) * seconds > terms.reveal_window:
        raise PolicyRefusal(
            f"seats of {held} jobs are held, and a reveal takes {seconds:.0f} s: should all be revealed at once, a window "
            f"of {terms.reveal_window} s would be too short"
        )


def check_abstention(settings: WorkerSettings, fee: int) -> None:
    """Whether to abstain from a job whose data cannot be had; fee: wei for a seat that worked in vain. Raises PolicyRefusal."""
    if not settings.abstain:
        raise PolicyRefusal("jobs whose data cannot be had are left alone (abstain)")
    if fee < settings.least_call_out_fee:
        raise PolicyRefusal(
            f"a seat that worked in vain gets {fee} wei, less than least_call_out_fee asks "
            f"({settings.least_call_out_fee})"
        )


def check_pay(settings: WorkerSettings, terms: Terms, network: IntegerNetwork, reward: int) -> None:
    """Whether the work is worth the reward. Raises PolicyRefusal."""
    share = reward // terms.seats
    operations = network.operations * terms.item_count
    if share * GIGA < settings.least_reward_per_gigamac * operations:
        raise PolicyRefusal(
            f"a seat earns {share} wei for {operations} operations, less than least_reward_per_gigamac asks "
            f"({settings.least_reward_per_gigamac} wei for 10^9)"
        )


def check_size(settings: WorkerSettings, terms: Terms, network: IntegerNetwork) -> None:
    """Whether the job is small enough for this operator's machines. Raises PolicyRefusal."""
    check_chunks(settings, terms)
    rows_in_chunk = min(terms.item_count, 1 << settings.chunk_depth)
    for name, size, most in (
        ("most_items", terms.item_count, settings.most_items),
        ("most_bytes", terms.item_count * network.row_length, settings.most_bytes),
        ("most_bytes", terms.item_count * network.output_length * 4, settings.most_bytes),
        ("most_macs", terms.item_count * network.operations, settings.most_macs),
        ("chunk_depth", rows_in_chunk * network.output_length * 4, MOST_CHUNK_OUTPUT),
    ):
        if size > most:
            raise PolicyRefusal(f"the job is larger than {name} allows: {size}, at most {most}")


def check_time(settings: WorkerSettings, terms: Terms, seconds_left: int, rows_a_second: float) -> None:
    """Whether this machine computes the job in the time that is left. Raises PolicyRefusal."""
    needed = settings.speed_margin * terms.item_count / (rows_a_second * settings.compute_processes)
    if needed > seconds_left:
        raise PolicyRefusal(
            f"{terms.item_count} items take {needed:.1f} s at the measured {rows_a_second:.0f} rows/s with "
            f"speed_margin {settings.speed_margin}, and {seconds_left} s are left"
        )
