"""Standing orders: runs on time and never twice, over the data announced, with the order's own money and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_utils import keccak, to_checksum_address

from contracts import errors, standing_orders
from contracts.endpoint import Call
from contracts.gold import GoldItem, GoldTree
from contracts.job import Outcome, Terms, data_uri_hash
from contracts.standing_orders import NO_FEED, Feed, Schedule, StandingOrder, StandingOrders, feed_of, with_feed
from tests.contracts.chain import Contract, load, party
from tests.contracts.raising import raises
from tests.contracts.stage import Round, Stage
from tests.contracts.world import DATA_URI, DataSet, truth_of

REWARD = 10**15 + 1
TIP = REWARD // 10
DAY = 24 * 3600
DATA = DataSet(5)
TRUTH = truth_of(DATA)
FEED = feed_of(DATA.tree.root, 5, DATA_URI)


class Mill(Stage):
    """A stage with a maker of orders on it, and stake for juries of three."""

    def __init__(self) -> None:
        super().__init__()
        self.start = self.chain.number
        self.orders = StandingOrders(self.endpoint, self.create(standing_orders.creation(self.oracle.address)))
        self.stake(jobs=4, ann=1, bob=1, cat=1)
        self.template = with_feed(self.terms(DATA, 3, reward=REWARD), NO_FEED)
        self.nonce = 0

    def order(
        self, funds: int = 10 * (REWARD + TIP), first_due: int = 0, interval: int = DAY, runs: int = 0, **given: Any
    ) -> StandingOrder:
        """An order of the owner's, due at once unless said otherwise, with the feeder announcing."""
        self.nonce += 1
        schedule = Schedule(first_due or self.chain.time, interval, runs)
        terms, tip = given.get("terms", self.template), given.get("tip", TIP)
        call = self.orders.create(self.nonce, party("feeder"), schedule, tip, terms, funds)
        answer = self.send(given.get("owner", "owner"), call)
        return StandingOrder(self.endpoint, to_checksum_address(answer[-20:]))

    def announce(self, order: StandingOrder, run: int, feed: Feed = FEED, data_uri: str = DATA_URI) -> None:
        self.send("feeder", order.announce(run, feed, data_uri))

    def trigger(self, order: StandingOrder, feed: Feed = FEED, data_uri: str = DATA_URI, by: str = "trigger") -> Round:
        """Make the order's next run."""
        run = order.runs_made()
        terms = with_feed(self.template, feed)
        self.send(by, order.trigger(terms, data_uri))
        return Round(self, order.job(run, terms))

    def run(self, order: StandingOrder) -> Round:
        """Announce and make the order's next run."""
        self.announce(order, order.runs_made())
        return self.trigger(order)

    def balance(self, who: str) -> int:
        return self.chain.balance(party(who) if not who.startswith("0x") else who)


@pytest.fixture
def mill() -> Mill:
    return Mill()


# A life


def test_an_order_runs_again_and_again_over_the_data_announced_for_each_run(mill: Mill) -> None:
    order = mill.order()
    mill.chain.fund(party("trigger"))
    for run in range(3):
        data = DataSet(3 + run)
        feed, uri = feed_of(data.tree.root, 3 + run, f"ipfs://run/{run}"), f"ipfs://run/{run}"
        mill.announce(order, run, feed, uri)
        found = order.announcement(run, mill.start, mill.chain.number)
        assert found is not None and (found.feed, found.data_uri) == (feed, uri)
        before = mill.balance("trigger")
        play = mill.trigger(order, found.feed, found.data_uri)
        assert mill.balance("trigger") == before + TIP
        assert play.job.requester == order.address and play.job.nonce == run
        assert play.state.created_block == mill.chain.number
        truth = truth_of(data)
        play.vote(dict.fromkeys(("ann", "bob", "cat"), (1, truth.root)))
        play.settle(truth.root)
        play.release("ann", "bob", "cat")
        assert play.state.outcome == Outcome.ACCEPTED and play.state.item_count == 3 + run
        assert order.runs_made() == run + 1
        mill.chain.roll_to(order.due())
    assert mill.balance(order.address) == 7 * (REWARD + TIP)


def test_an_order_is_as_it_was_announced(mill: Mill) -> None:
    order = mill.order(first_due=2_000_000_000, interval=7, runs=9)
    (found,) = mill.orders.created(mill.start, mill.chain.number)
    assert (found.address, found.owner, found.feeder, found.tip) == (
        order.address,
        party("owner"),
        party("feeder"),
        TIP,
    )
    assert found.schedule == Schedule(2_000_000_000, 7, 9) and found.terms == mill.template
    assert (order.owner(), order.feeder(), order.tip()) == (party("owner"), party("feeder"), TIP)
    assert order.oracle() == mill.orders.oracle() == mill.oracle.address
    assert (order.due(), order.runs_made(), order.has_ended()) == (2_000_000_000, 0, False)
    assert order.announcement(0, mill.start, mill.chain.number) is None


def test_the_address_is_bound_to_the_owner_and_everything_the_order_says(mill: Mill) -> None:
    schedule = Schedule(mill.chain.time, DAY)

    def address(who: str, call: Call) -> str:
        return mill.endpoint.simulate(call, party(who)).hex()

    first = mill.orders.create(1, party("feeder"), schedule, TIP, mill.template, 0)
    others = [
        ("rival", first),
        ("owner", mill.orders.create(2, party("feeder"), schedule, TIP, mill.template, 0)),
        ("owner", mill.orders.create(1, party("rival"), schedule, TIP, mill.template, 0)),
        ("owner", mill.orders.create(1, party("feeder"), replace(schedule, runs=1), TIP, mill.template, 0)),
        ("owner", mill.orders.create(1, party("feeder"), schedule, TIP - 1, mill.template, 0)),
    ]
    made = {address("owner", first), *(address(who, call) for who, call in others)}
    assert len(made) == 6
    mill.send("owner", first)
    with pytest.raises(errors.RawRevert):
        mill.send("owner", first)


def test_each_runs_verification_set_is_announced_with_its_data_and_its_bond_comes_back(mill: Mill) -> None:
    mill.template = replace(mill.template, audit_bond=777)
    order = mill.order(funds=REWARD + TIP + 777)
    gold = GoldTree([GoldItem(0, TRUTH.outputs[0], bytes(32))])
    feed = replace(FEED, gold_root=gold.root, gold_count=1)
    mill.announce(order, 0, feed)
    play = mill.trigger(order, feed)
    assert mill.balance(order.address) == 0
    play.vote(dict.fromkeys(("ann", "bob", "cat"), (1, TRUTH.root)))
    play.settle(TRUTH.root)
    mill.send("anyone", order.collect())
    assert mill.balance(order.address) == 777 + REWARD % 3


# On time


def test_no_interval_has_two_runs_however_late_the_trigger(mill: Mill) -> None:
    start = mill.chain.time
    order = mill.order(first_due=start + 100, interval=50)
    for run in range(4):
        mill.announce(order, run)
    for late, due in ((0, 150), (49, 200), (1, 250), (170, 450)):  # in the first seconds, the last, missing three
        mill.chain.roll_to(order.due() - 1)
        with pytest.raises(errors.OracleRevert, match="NotDue"):
            mill.trigger(order)
        mill.chain.roll(1 + late)
        mill.trigger(order)
        assert order.due() == start + due
        with pytest.raises(errors.OracleRevert, match="NotDue"):
            mill.trigger(order)


def test_two_triggers_in_one_block_make_one_run(mill: Mill) -> None:
    order = mill.order()
    mill.announce(order, 0)
    mill.announce(order, 1)
    mill.trigger(order)
    before = mill.balance(order.address)
    with pytest.raises(errors.OracleRevert, match="NotDue"):
        mill.trigger(order, by="rival")
    assert mill.balance(order.address) == before and order.runs_made() == 1


def test_an_order_ends_with_its_last_run(mill: Mill) -> None:
    order = mill.order(runs=2)
    mill.run(order)
    assert not order.has_ended()
    mill.chain.roll_to(order.due())
    mill.run(order)
    assert order.has_ended()
    mill.chain.roll_to(order.due())
    mill.announce(order, 2)
    with pytest.raises(errors.OracleRevert, match="OrderEnded"):
        mill.trigger(order)


@raises("NotDue(uint256)")
def test_a_run_before_its_time_is_refused(mill: Mill) -> None:
    order = mill.order(first_due=mill.chain.time + 1)
    mill.run(order)


# Over the data announced


def test_a_later_announcement_takes_an_earlier_ones_place(mill: Mill) -> None:
    order = mill.order()
    other = replace(FEED, item_count=4)
    mill.announce(order, 0)
    mill.announce(order, 0, other)
    found = order.announcement(0, mill.start, mill.chain.number)
    assert found is not None and found.feed == other
    with pytest.raises(errors.OracleRevert, match="NotAnnounced"):
        mill.trigger(order)
    mill.trigger(order, other)


def test_runs_may_be_announced_ahead_and_each_counts_for_its_own(mill: Mill) -> None:
    order = mill.order()
    second = replace(FEED, item_count=4)
    mill.announce(order, 1, second)
    assert order.is_announced(1) and not order.is_announced(0)
    with pytest.raises(errors.OracleRevert, match="NotAnnounced"):
        mill.trigger(order, second)
    mill.announce(order, 0)
    mill.trigger(order)
    mill.chain.roll_to(order.due())
    mill.trigger(order, second)


@pytest.mark.parametrize(
    "change",
    [
        {"data_root": bytes(31) + b"\1"},
        {"data_uri_hash": data_uri_hash("ipfs://other")},
        {"item_count": 4},
        {"gold_root": bytes(31) + b"\1"},
        {"gold_count": 1},
    ],
)
@raises("NotAnnounced(uint256)", run=0)
def test_every_word_of_the_feed_must_be_the_one_announced(mill: Mill, change: dict[str, Any]) -> None:
    order = mill.order()
    mill.announce(order, 0)
    mill.send("trigger", order.trigger(replace(with_feed(mill.template, FEED), **change), DATA_URI))


def test_other_bytes_for_the_uri_are_the_oracles_to_refuse(mill: Mill) -> None:
    order = mill.order()
    mill.announce(order, 0)
    with pytest.raises(errors.OracleRevert, match="DataUriMismatch"):
        mill.trigger(order, data_uri="ipfs://elsewhere")


def test_an_announcement_that_is_no_text_is_still_read(mill: Mill) -> None:
    order = mill.order()
    call = order.announce(0, replace(FEED, data_uri_hash=data_uri_hash("xy")), "xy")
    with pytest.raises(errors.OracleRevert, match="DataUriMismatch"):
        mill.send("feeder", call._replace(data=call.data.replace(b"xy", b"\xff\xfe")))
    raw = bytes.fromhex("fffe")
    feed = replace(FEED, data_uri_hash=keccak(raw))
    call = order.announce(0, feed, "xy")
    mill.send("feeder", call._replace(data=call.data.replace(b"xy", raw)))
    found = order.announcement(0, mill.start, mill.chain.number)
    assert found is not None and found.data_uri == "\\xff\\xfe"


@raises("DataUriMismatch(bytes32,bytes32)")
def test_an_announcement_whose_uri_is_another_is_refused(mill: Mill) -> None:
    mill.announce(mill.order(), 0, data_uri="ipfs://elsewhere")


@pytest.mark.parametrize("who", ["owner", "trigger"])
@raises("NotTheFeeder(address)")
def test_nobody_but_the_feeder_announces(mill: Mill, who: str) -> None:
    mill.send(who, mill.order().announce(0, FEED, DATA_URI))


@raises("RunMade(uint256,uint256)", run=0, next=1)
def test_what_was_run_is_not_announced_again(mill: Mill) -> None:
    order = mill.order()
    mill.run(order)
    mill.announce(order, 0)


@pytest.mark.parametrize(
    "change",
    [{"reward": REWARD - 1}, {"seats": 4}, {"consumer": party("x")}, {"model_id": bytes(32)}, {"audit_bond": 1}],
)
@raises("WrongTerms(bytes32,bytes32)")
def test_no_run_has_other_terms(mill: Mill, change: dict[str, Any]) -> None:
    order = mill.order()
    mill.announce(order, 0)
    mill.template = replace(mill.template, **change)
    mill.trigger(order)


# Money


def test_what_comes_back_is_the_orders_own_and_pays_for_its_next_runs(mill: Mill) -> None:
    first, second = (mill.order(funds=REWARD + TIP, owner=owner) for owner in ("owner", "other"))
    mill.announce(first, 0)
    mill.announce(second, 0)
    plays = [mill.trigger(first), mill.trigger(second)]
    for play in plays:
        mill.chain.roll(blocks=259)
        play.settle()  # nobody drew: Expired
    mill.send("anyone", first.collect())
    assert [mill.balance(order.address) for order in (first, second)] == [REWARD, 0]
    mill.chain.roll_to(max(first.due(), mill.chain.time))
    mill.announce(first, 1)
    with pytest.raises(errors.OracleRevert, match="NotFunded"):
        mill.trigger(first)
    mill.send("benefactor", first.fund(TIP))
    mill.trigger(first)
    mill.send("anyone", second.collect())
    assert mill.balance(second.address) == REWARD


@raises("NotFunded(uint256,uint256)", balance=REWARD + TIP - 1, needed=REWARD + TIP)
def test_a_wei_too_little_makes_no_run(mill: Mill) -> None:
    mill.run(mill.order(funds=REWARD + TIP - 1))


def test_a_run_that_the_oracle_refuses_costs_nothing_and_can_be_made_later(mill: Mill) -> None:
    order = mill.order()
    mill.announce(order, 0)
    before = mill.balance(order.address)
    mill.send("ann", mill.oracle.unbond(4 * mill.seat_stake))
    mill.send("bob", mill.oracle.unbond(4 * mill.seat_stake))
    mill.send("cat", mill.oracle.unbond(2 * mill.seat_stake))
    mill.chain.roll()
    with pytest.raises(errors.OracleRevert, match="TotalStakeTooLow"):
        mill.trigger(order)
    assert (mill.balance(order.address), order.runs_made()) == (before, 0) and order.due() <= mill.chain.time
    mill.stake(dan=1)
    mill.trigger(order)
    assert order.runs_made() == 1


def test_a_feed_that_the_oracle_refuses_can_be_announced_better(mill: Mill) -> None:
    order = mill.order()
    hopeless = replace(FEED, item_count=0)
    mill.announce(order, 0, hopeless)
    with pytest.raises(errors.OracleRevert, match="ItemCountOutOfBounds"):
        mill.trigger(order, hopeless)
    mill.announce(order, 0)
    mill.trigger(order)


def test_nothing_is_collected_where_nothing_is_owed(mill: Mill) -> None:
    with pytest.raises(errors.OracleRevert) as caught:
        mill.send("anyone", mill.order().collect())
    assert caught.value.signature == "NothingToWithdraw(address,uint256,uint256)"


# The tip


def payee_of(mill: Mill) -> Contract:
    address = mill.chain.deploy(load("Payee")["bytecode"])
    return Contract(mill.chain, address, "Payee")


def act(payee: Contract, call: Call) -> None:
    payee.send(party("puppeteer"), "act", call.to, call.data)


def test_a_trigger_that_calls_back_makes_one_run_and_gets_one_tip(mill: Mill) -> None:
    order = mill.order(interval=1)
    mill.announce(order, 0)
    mill.announce(order, 1)
    payee = payee_of(mill)
    call = order.trigger(with_feed(mill.template, FEED), DATA_URI)
    payee.send(party("x"), "callBack", call.to, call.data)
    act(payee, call)
    assert order.runs_made() == 1 and payee.read("callbacksThatPassed") == 0
    assert mill.balance(payee.address) == TIP


def test_an_owner_that_calls_back_from_its_withdrawal_is_paid_once(mill: Mill) -> None:
    payee = payee_of(mill)
    create = mill.orders.create(1, party("feeder"), Schedule(0, DAY), TIP, mill.template, 0)
    act(payee, create)
    (made,) = Contract(mill.chain, mill.orders.address, "StandingOrders").decode_logs()
    order = StandingOrder(mill.endpoint, made.args["order"])
    assert order.owner() == payee.address
    mill.send("benefactor", order.fund(5))
    act(payee, order.cancel())
    withdraw = order.withdraw(to_checksum_address(payee.address))
    payee.send(party("x"), "callBack", withdraw.to, withdraw.data)
    act(payee, withdraw)
    assert mill.balance(payee.address) == 5 and payee.read("callbacksThatPassed") == 0


@raises("PaymentRefused(address,uint256)", amount=TIP)
def test_a_trigger_that_refuses_its_tip_triggers_nothing(mill: Mill) -> None:
    order = mill.order()
    mill.announce(order, 0)
    payee = payee_of(mill)
    payee.send(party("x"), "refuse", True)
    act(payee, order.trigger(with_feed(mill.template, FEED), DATA_URI))


def test_an_order_without_a_tip_is_anyones_to_trigger(mill: Mill) -> None:
    order = mill.order(tip=0, funds=REWARD)
    mill.run(order)
    assert mill.balance(order.address) == 0


@raises("TipTooHigh(uint256,uint256)", tip=TIP + 1, most=TIP)
def test_a_tip_above_a_tenth_of_the_reward_is_refused(mill: Mill) -> None:
    mill.order(tip=TIP + 1)


# The end


@pytest.mark.parametrize("made", [0, 1])
@raises("OrderEnded()")
def test_a_trigger_right_after_the_cancel_makes_no_run(mill: Mill, made: int) -> None:
    order = mill.order()
    for _ in range(made):
        mill.run(order)
        mill.chain.roll_to(order.due())
    mill.announce(order, made)
    mill.send("owner", order.cancel())
    assert order.has_ended() and order.runs_made() == made
    mill.trigger(order)


def test_a_job_that_was_created_outlives_its_order_and_its_refund_is_the_owners(mill: Mill) -> None:
    order = mill.order(funds=REWARD + TIP + 9)
    play = mill.run(order)
    mill.send("owner", order.cancel())
    mill.send("owner", order.withdraw(party("heir")))
    assert (mill.balance("heir"), mill.balance(order.address)) == (9, 0)
    play.vote(dict.fromkeys(("ann", "bob", "cat"), (1, TRUTH.root)))
    play.settle(TRUTH.root)
    play.release("ann", "bob", "cat")
    assert mill.oracle.credit(party("ann")) == REWARD // 3
    mill.send("anyone", order.collect())
    mill.send("owner", order.withdraw(party("heir")))
    assert mill.balance("heir") == 9 + REWARD % 3


@pytest.mark.parametrize("runs", [0, 1])
@raises("OrderEnded()")
def test_an_order_ends_once(mill: Mill, runs: int) -> None:
    order = mill.order(runs=runs)
    if runs:
        mill.run(order)
    else:
        mill.send("owner", order.cancel())
    mill.send("owner", order.cancel())


@raises("OrderNotEnded()")
def test_what_is_for_the_runs_to_come_is_not_withdrawn(mill: Mill) -> None:
    mill.send("owner", mill.order().withdraw(party("owner")))


@raises("NothingToWithdraw(address)")
def test_an_empty_order_pays_nothing(mill: Mill) -> None:
    order = mill.order(funds=0)
    mill.send("owner", order.cancel())
    mill.send("owner", order.withdraw(party("owner")))


@pytest.mark.parametrize("name", ["cancel", "withdraw"])
@pytest.mark.parametrize("who", ["feeder", "trigger"])
@raises("NotTheOwner(address)")
def test_nobody_but_the_owner_ends_an_order_or_takes_from_it(mill: Mill, name: str, who: str) -> None:
    order = mill.order(runs=1)
    if name == "withdraw":
        mill.run(order)
    mill.send(who, order.cancel() if name == "cancel" else order.withdraw(party(who)))


def test_an_owner_that_cannot_be_paid_names_another_payee(mill: Mill) -> None:
    order = mill.order(funds=5)
    mill.send("owner", order.cancel())
    payee = payee_of(mill)
    payee.send(party("x"), "refuse", True)
    with pytest.raises(errors.OracleRevert, match="PaymentRefused"):
        mill.send("owner", order.withdraw(to_checksum_address(payee.address)))
    mill.send("owner", order.withdraw(party("heir")))
    assert mill.balance("heir") == 5


# Creation


@raises("NoInterval()")
def test_an_order_without_an_interval_is_refused(mill: Mill) -> None:
    mill.order(interval=0)


@pytest.mark.parametrize(
    "word",
    [
        {"data_root": b"\1" * 32},
        {"data_uri_hash": b"\1" * 32},
        {"item_count": 1},
        {"gold_root": b"\1" * 32},
        {"gold_count": 1},
    ],
)
@raises("FeedInTerms()")
def test_terms_that_fix_the_data_are_refused(mill: Mill, word: dict[str, Any]) -> None:
    schedule = Schedule(0, DAY)
    contract = Contract(mill.chain, mill.orders.address, "StandingOrders")
    terms: Terms = replace(mill.template, **word)
    contract.send(party("owner"), "create", 1, party("feeder"), schedule.as_tuple(), TIP, terms.as_tuple())
