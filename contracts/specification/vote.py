"""What the seats say, who wins, and what each seat gets: computed from a job's record alone.

A *result root* is any revealed root but DATA_UNAVAILABLE, which abstains. A root *stands* while nobody refuted it by
execution and none of the demands on it is unanswered.
"""

from __future__ import annotations

from contracts.commitment import DATA_UNAVAILABLE
from contracts.job import Outcome, seat_fee
from contracts.specification.state import Address, Demand, JobRecord, Seats
from contracts.tally import bounty

# ---- The seats


def granted_seats(record: JobRecord) -> int:
    """All seats."""
    return sum(seats.count for seats in record.seats.values())


def seats_on(record: JobRecord, root: bytes) -> int:
    """Seats that revealed this root."""
    return sum(seats.count for seats in record.seats.values() if seats.root == root)


def abstained_seats(record: JobRecord) -> int:
    """Seats that revealed that the data is unavailable."""
    return seats_on(record, DATA_UNAVAILABLE)


def result_roots(record: JobRecord) -> set[bytes]:
    """Every revealed root but the abstention."""
    return {seats.root for seats in record.seats.values() if seats.root is not None} - {DATA_UNAVAILABLE}


# ---- What became of the roots


def refuter_of(record: JobRecord, root: bytes) -> Address | None:
    """Who showed by execution that the root is wrong: of one item, or of all."""
    if root in record.refuters:
        return record.refuters[root]
    return record.executor if record.true_root not in (None, root) else None


def open_demands(record: JobRecord, root: bytes) -> list[Demand]:
    """The demands on the root that nobody answered."""
    return [made for (on, _, _), made in record.demands.items() if on == root and made.answerer is None]


def is_standing(record: JobRecord, root: bytes) -> bool:
    """Whether a result root is neither refuted nor silent."""
    return refuter_of(record, root) is None and not open_demands(record, root)


def standing_roots(record: JobRecord) -> set[bytes]:
    """The result roots that stand."""
    return {root for root in result_roots(record) if is_standing(record, root)}


def refuted_roots(record: JobRecord) -> set[bytes]:
    """The result roots that somebody refuted by execution."""
    return {root for root in result_roots(record) if refuter_of(record, root) is not None}


def refuted_seats(record: JobRecord) -> int:
    """Seats on roots refuted by execution."""
    return sum(seats_on(record, root) for root in refuted_roots(record))


# ---- Who wins


def find_winner(record: JobRecord) -> bytes | None:
    """The true root if it is known; else a standing root with a quorum; else the only one standing, if it would have a quorum
    together with the seats refuted by execution. Silence proves nothing false: silenced seats do not count."""
    if record.true_root is not None:
        return record.true_root
    standing = standing_roots(record)
    for root in standing:
        if seats_on(record, root) >= record.terms.quorum:
            return root
    if len(standing) == 1:
        (root,) = standing
        if seats_on(record, root) + refuted_seats(record) >= record.terms.quorum:
            return root
    return None


def decide(record: JobRecord) -> tuple[Outcome, bytes | None]:
    """How the job ends if nothing more happens, and the root that wins."""
    if record.drawn_at is None or granted_seats(record) < record.terms.quorum:
        return Outcome.EXPIRED, None
    winner = find_winner(record)
    if winner is not None:
        return Outcome.ACCEPTED, winner
    if abstained_seats(record) >= record.terms.quorum and not standing_roots(record):
        return Outcome.UNAVAILABLE, None
    return Outcome.HUNG, None


# ---- What each seat gets, once the job is settled


def stake_of(record: JobRecord, seats: Seats) -> int:
    """Wei that the seats lock."""
    return seats.count * record.terms.seat_stake


def keeps_stake(record: JobRecord, seats: Seats) -> bool:
    """Whether the seats are unlocked and not forfeited."""
    if record.outcome == Outcome.EXPIRED:
        return True
    if seats.root is None:
        return False  # a no-show
    if seats.root == DATA_UNAVAILABLE:
        return True  # an abstention
    if record.outcome == Outcome.ACCEPTED:
        return seats.root == record.winner
    if record.outcome == Outcome.HUNG:
        return is_standing(record, seats.root)
    return False  # Unavailable: no result root stands


def share_of(record: JobRecord, seats: Seats) -> int:
    """Wei of the reward that the seats get."""
    return seats.count * share_each(record, seats)


def share_each(record: JobRecord, seats: Seats) -> int:
    """Wei of the reward that each of the seats gets."""
    if record.winner is not None and seats.root == record.winner:
        return record.terms.reward // seats_on(record, record.winner)
    return seat_fee(record.terms) if is_called_in_vain(record, seats) else 0


def is_called_in_vain(record: JobRecord, seats: Seats) -> bool:
    """Whether the seats worked, honestly as far as anybody can tell, for a job that rewards nobody."""
    is_abstention = seats.root == DATA_UNAVAILABLE
    if record.winner is not None:
        return is_abstention and seats_on(record, record.winner) == 0
    if record.outcome == Outcome.UNAVAILABLE:
        return is_abstention
    if record.outcome == Outcome.HUNG:
        return keeps_stake(record, seats) and not is_abstention
    return record.outcome == Outcome.EXPIRED


def bounty_on(record: JobRecord, root: bytes) -> int:
    """Wei that the refuter of the root is owed: half of its seats' stake. The other half is burned."""
    return bounty(seats_on(record, root), record.terms.seat_stake)
