"""Sending on a real chain, through a node that is honest and through one that is not."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract

from contracts import abi, errors, fees, keystore, transactor
from contracts.endpoint import Call, ChainError, ChainUnreachable, Endpoint, NoContract, Rejected, WrongChain
from contracts.fees import GWEI, Fees
from contracts.transactor import Transactor
from coordinator.devnet import dev_keys, running_chain
from coordinator.devnet.anvil import find_anvil
from tests.contracts.faulty_node import Answer, FaultyNode, faulty_node, once
from tests.requirements import missing

HARNESS = abi.load(Path(__file__).parents[1] / "solidity" / "artifacts" / "RevertHarness.json")
FIRST, SECOND = (Account.from_key(key) for key in dev_keys(2))
BROKE = Account.from_key("0x" + "5e" * 32)
Ask = Callable[[], dict[str, Any]]


@pytest.fixture(autouse=True, scope="module")
def harness_errors() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(errors, "_by_selector", dict(errors._by_selector))
        patch.setattr(errors, "_by_name", {name: list(made) for name, made in errors._by_name.items()})
        errors.register(HARNESS.abi)
        yield


@pytest.fixture(scope="module", params=["py-evm", "anvil"])
def chain(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "anvil" and find_anvil() is None:
        missing("anvil", "put it on the PATH, or `npm install --prefix .tools @foundry-rs/anvil`")
    with running_chain(request.param) as url:
        yield url


@pytest.fixture
def sender(chain: str) -> Transactor:
    return Transactor(chain, FIRST)


@pytest.fixture
def other(chain: str) -> Transactor:
    return Transactor(chain, SECOND)


@pytest.fixture
def node(chain: str) -> Iterator[FaultyNode]:
    with faulty_node(chain) as between:
        yield between


@pytest.fixture(scope="module")
def unused_harnesses(chain: str) -> list[ChecksumAddress]:
    return []


@pytest.fixture
def harness(sender: Transactor, unused_harnesses: list[ChecksumAddress]) -> Contract:
    """A harness that no other test has touched; deployed in batches, because a block takes a second."""
    factory = sender.web3.eth.contract(abi=HARNESS.abi, bytecode=HARNESS.bytecode)
    if not unused_harnesses:
        receipts = sender.send_many([factory.constructor()] * transactor.WINDOW)
        unused_harnesses.extend(receipt["contractAddress"] for receipt in receipts if receipt["contractAddress"])
    return sender.web3.eth.contract(unused_harnesses.pop(), abi=HARNESS.abi)


def nonce_of(chain: str, address: Any = FIRST.address) -> int:
    return Web3(Web3.HTTPProvider(chain)).eth.get_transaction_count(address)


def sent_fields(node: FaultyNode) -> list[dict[str, Any]]:
    raws = [given[0] for given in node.parameters("eth_sendRawTransaction")]
    return [TypedTransaction.from_bytes(HexBytes(raw)).as_dict() for raw in raws]


def swallow(given: list[Any], ask: Ask) -> Answer:
    """Accept a transaction and forget it, as a mempool that overflows does."""
    return {"result": "0x" + keccak(hexstr=given[0]).hex()}


# ------------------------------------------------------------------------------------------------ the way it should go


def test_a_sent_call_lands_with_its_logs(sender: Transactor, harness: Contract) -> None:
    receipt = sender.send(harness.functions.bump(), value=5)
    assert receipt["status"] == 1
    (event,) = harness.events.Bumped().process_receipt(receipt)
    assert event["args"] == {"by": FIRST.address, "to": 1, "value": 5}


def test_plain_tuples_calls_and_transfers_are_sent(sender: Transactor, harness: Contract) -> None:
    data = bytes(
        HexBytes(harness.functions.bump().build_transaction({"gas": 1, "gasPrice": Web3.to_wei(0, "wei")})["data"])
    )
    sender.send((harness.address, data))
    sender.send(Call(harness.address, data, 7))
    assert sender.read(harness.functions.count()) == 2
    stranger = Account.create().address
    receipt = sender.send(Call(stranger, b"", 11))
    assert sender.web3.eth.get_balance(stranger) == 11
    assert receipt["gasUsed"] == 21_000


def test_the_sender_pays_exactly_value_and_cost(sender: Transactor, harness: Contract) -> None:
    before = sender.balance()
    receipt = sender.send(harness.functions.bump(), value=1234)
    assert before - sender.balance() == 1234 + transactor.cost(receipt)


def test_a_simulation_returns_data_and_sends_nothing(chain: str, sender: Transactor, harness: Contract) -> None:
    before = nonce_of(chain)
    assert int.from_bytes(sender.simulate(harness.functions.bump()), "big") == 1
    assert (nonce_of(chain), sender.read(harness.functions.count())) == (before, 0)


def test_a_batch_takes_consecutive_nonces_and_keeps_its_order(
    chain: str, sender: Transactor, harness: Contract
) -> None:
    many = transactor.WINDOW + 4
    first = nonce_of(chain)
    receipts = sender.send_many([Call(harness.address, _bump(harness), i) for i in range(many)])
    values = [harness.events.Bumped().process_receipt(receipt)[0]["args"]["value"] for receipt in receipts]
    nonces = [sender.web3.eth.get_transaction(receipt["transactionHash"])["nonce"] for receipt in receipts]
    assert values == list(range(many))
    assert nonces == list(range(first, first + many))


def test_an_empty_batch_is_nothing(sender: Transactor) -> None:
    assert sender.send_many([]) == []


def test_two_threads_share_one_transactor(sender: Transactor, harness: Contract) -> None:
    failures: list[Exception] = []

    def work() -> None:
        try:
            sender.send(harness.functions.bump())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sender.read(harness.functions.count()) == 3


def _bump(harness: Contract) -> bytes:
    return bytes(HexBytes(harness.encode_abi("bump", [])))


# ------------------------------------------------------------------------------------- reverts, before and after sending


@pytest.mark.parametrize("keyed", [True, False])
def test_what_would_revert_raises_its_error_and_sends_nothing(chain: str, harness: Contract, keyed: bool) -> None:
    before = nonce_of(chain)
    sending = Transactor(chain, FIRST if keyed else None)
    with pytest.raises(errors.HarnessCounted) as caught:
        sending.send(harness.functions.bumpFrom(9))
    assert caught.value.args_by_name == {"expected": 9, "got": 0}
    assert caught.value.receipt is None
    assert nonce_of(chain) == before


def test_every_way_of_reverting_comes_back_typed(sender: Transactor, harness: Contract) -> None:
    calls = harness.functions
    with pytest.raises(errors.HarnessPlain):
        sender.simulate(calls.plain())
    with pytest.raises(errors.HarnessLate) as late:
        sender.simulate(calls.late(1700))
    assert late.value.args_by_name["deadline"] == 1700
    with pytest.raises(errors.HarnessWho) as who:
        sender.simulate(calls.who(b"\x07" * 32, b"\x01\x02"))
    assert who.value.args == (FIRST.address, b"\x07" * 32, b"\x01\x02")
    with pytest.raises(errors.HarnessWindow) as window:
        sender.simulate(calls.window(5, 9, [1, 2]))
    assert window.value.args == ((5, 9), (1, 2))
    with pytest.raises(errors.HarnessUnnamed):
        sender.read(calls.unnamed(3))
    with pytest.raises(errors.RawRevert, match="too small"):
        sender.simulate(calls.reason("too small"))
    with pytest.raises(errors.RawRevert, match="division by zero"):
        sender.read(calls.divide(0))
    with pytest.raises(errors.RawRevert, match="without a reason"):
        sender.simulate(calls.raw(b""))


def test_revert_data_that_a_hostile_contract_made_up_is_only_data(sender: Transactor, harness: Contract) -> None:
    def panic(code: int) -> bytes:
        return keccak(text="Panic(uint256)")[:4] + encode(["uint256"], [code])

    lookup = keccak(text="OffchainLookup(address,string[],bytes,bytes4,bytes)")[:4]
    text = keccak(text="Error(string)")[:4]
    for data in (panic(0xEE), lookup, lookup + b"\xff" * 64, text, text + encode(["bytes"], [b"\xff\xfe"]), b"\x01"):
        for ask in (sender.simulate, sender.read, sender.send):
            with pytest.raises(errors.RawRevert) as caught:
                ask(harness.functions.raw(data))
            assert caught.value.data == data


def test_a_reverting_contract_cannot_make_us_fetch_a_url(
    sender: Transactor, harness: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EIP-3668 lets a revert name URLs that a client then fetches: from an operator that is a request forgery."""
    resolved: list[Any] = []
    resolve = socket.getaddrinfo

    def record(host: Any, *rest: Any, **named: Any) -> Any:
        resolved.append(host)
        return resolve("127.0.0.1" if host == "attacker.invalid" else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", record)
    fields = ["address", "string[]", "bytes", "bytes4", "bytes"]
    values = [harness.address, ["https://attacker.invalid/{sender}/{data}"], b"", b"\x00" * 4, b""]
    lookup = keccak(text="OffchainLookup(address,string[],bytes,bytes4,bytes)")[:4] + encode(fields, values)
    for ask in (sender.simulate, sender.read, sender.send):
        with pytest.raises(errors.RawRevert):
            ask(harness.functions.raw(lookup))
    assert "attacker.invalid" not in resolved


def test_a_call_overtaken_in_its_block_raises_its_error_with_the_receipt(
    node: FaultyNode, other: Transactor, harness: Contract
) -> None:
    def overtake(given: list[Any], ask: Ask) -> Answer:
        other.send(harness.functions.bump())
        return ask()

    node.faults["eth_sendRawTransaction"] = once(overtake)
    with pytest.raises(errors.HarnessCounted) as caught:
        Transactor(node.url, FIRST).send(harness.functions.bumpFrom(0))
    assert caught.value.args == (0, 1)
    assert caught.value.receipt is not None
    assert caught.value.receipt["status"] == 0
    assert "wei of gas" in caught.value.__notes__[0]


def test_running_out_of_gas_is_told_from_a_revert(node: FaultyNode, other: Transactor, harness: Contract) -> None:
    def change_state(given: list[Any], ask: Ask) -> Answer:
        other.send(harness.functions.bump())
        return ask()

    node.faults["eth_sendRawTransaction"] = once(change_state)
    with pytest.raises(transactor.TransactionFailed) as caught:
        Transactor(node.url, FIRST).send(harness.functions.work())
    assert caught.value.receipt["gasUsed"] == caught.value.gas_limit


def test_a_batch_with_one_call_that_would_revert_sends_nothing(
    chain: str, sender: Transactor, harness: Contract
) -> None:
    before = nonce_of(chain)
    with pytest.raises(errors.HarnessPlain) as caught:
        sender.send_many([harness.functions.bump(), harness.functions.plain(), harness.functions.bump()])
    assert caught.value.__notes__ == ["call 1 of 3; nothing was sent"]
    assert nonce_of(chain) == before


def test_a_batch_whose_calls_conflict_tells_what_became_of_each(sender: Transactor, harness: Contract) -> None:
    with pytest.raises(transactor.PartlySent) as caught:
        sender.send_many([harness.functions.bumpFrom(0), harness.functions.bumpFrom(0), harness.functions.bump()])
    landed, reverted, after = caught.value.outcomes
    assert not isinstance(landed, Exception)
    assert not isinstance(after, Exception)
    assert (landed["status"], after["status"]) == (1, 1)
    assert isinstance(reverted, errors.HarnessCounted)
    assert reverted.receipt is not None
    assert "1 of 3 calls failed, the first is call 1: HarnessCounted" in str(caught.value)


def test_a_batch_cut_off_by_the_node_keeps_what_landed(node: FaultyNode, harness: Contract) -> None:
    def refuse_third(given: list[Any], ask: Ask) -> Answer:
        if node.count("eth_sendRawTransaction") < 3:
            return ask()
        return {"error": {"code": -32000, "message": "txpool is full"}}

    node.faults["eth_sendRawTransaction"] = refuse_third
    with pytest.raises(transactor.PartlySent) as caught:
        Transactor(node.url, FIRST).send_many([harness.functions.bump()] * 4)
    assert [isinstance(one, Rejected) for one in caught.value.outcomes] == [False, False, True, True]
    assert harness.functions.count().call() == 2


# --------------------------------------------------------------------------------------------- wrong set-ups, nothing sent


def test_without_a_key_a_send_is_a_dry_run(chain: str, harness: Contract) -> None:
    dry = Transactor(chain, sender=FIRST.address)
    for send in (lambda: dry.send(harness.functions.bump()), lambda: dry.send_many([harness.functions.bump()])):
        with pytest.raises(transactor.NoKey, match="would succeed now; nothing was sent"):
            send()
    assert dry.read(harness.functions.count()) == 0


def test_another_chain_than_expected_is_refused(node: FaultyNode, harness: Contract) -> None:
    wrong = Transactor(node.url, FIRST, chain_id=1)
    with pytest.raises(WrongChain, match="expected chain id 1, the endpoint serves") as caught:
        wrong.send(harness.functions.bump())
    assert caught.value.expected == 1
    assert {method for method, _ in node.seen} == {"eth_chainId"}


def test_the_chain_id_is_asked_for_once(node: FaultyNode, sender: Transactor, harness: Contract) -> None:
    asking = Transactor(node.url, FIRST, chain_id=sender.endpoint.chain_id)
    asking.send(harness.functions.bump())
    assert asking.read(harness.functions.count()) == 1
    assert node.count("eth_chainId") == 1


def test_a_transaction_is_signed_for_the_checked_chain_only(
    node: FaultyNode, sender: Transactor, harness: Contract
) -> None:
    Transactor(node.url, FIRST).send(harness.functions.bump())
    assert sent_fields(node)[0]["chainId"] == sender.endpoint.chain_id


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://user:hunter2@127.0.0.1:1/v3/hunter2?key=hunter2"])
def test_an_unreachable_node_is_named_without_the_secrets_of_its_url(url: str) -> None:
    with pytest.raises(ChainUnreachable, match="is the node running") as caught:
        Transactor(url, FIRST).send(Call(SECOND.address, b"", 1))
    assert "http://127.0.0.1:1" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in repr(Transactor(url, FIRST))


@pytest.mark.parametrize(
    "url", ["localhost:8545", "ws://127.0.0.1:8545", "http://", "http://[", "http://h:99999", "node"]
)
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(ChainUnreachable):
        _ = Endpoint(url).chain_id


@pytest.mark.parametrize("said", ["<html>hello</html>", "", "[]", "3", '{"hello": 1}', '{"error": "no"}', 500, 404])
def test_a_server_that_is_no_node_is_unreachable(node: FaultyNode, said: str | int) -> None:
    node.faults["eth_chainId"] = lambda given, ask: said
    with pytest.raises(ChainUnreachable, match=f"{node.url}: (it answers, but not with JSON-RPC|HTTP status)"):
        Transactor(node.url, FIRST).balance()


def test_what_the_node_refuses_is_quoted_without_control_characters(node: FaultyNode) -> None:
    node.faults["eth_getBalance"] = lambda given, ask: {"error": {"code": -32005, "message": "slow down\x1b[2J"}}
    with pytest.raises(Rejected, match="slow down") as caught:
        Transactor(node.url, FIRST).balance()
    assert str(caught.value).isprintable()


def test_an_address_without_code_is_no_contract(chain: str, sender: Transactor, harness: Contract) -> None:
    before = nonce_of(chain)
    nowhere = sender.web3.eth.contract(BROKE.address, abi=HARNESS.abi)
    for ask in (sender.read, sender.simulate, sender.send):
        with pytest.raises(NoContract, match=BROKE.address):
            ask(nowhere.functions.bump())
    assert nonce_of(chain) == before


def test_an_empty_wallet_is_told_what_it_needs_in_wei_and_ether(chain: str, harness: Contract) -> None:
    with pytest.raises(transactor.NotEnoughFunds, match=r"has 0 wei \(0 ether\) and needs \d+ wei") as caught:
        Transactor(chain, BROKE).send(harness.functions.bump())
    assert (caught.value.address, caught.value.has) == (BROKE.address, 0)
    assert caught.value.needs > 0


def test_a_value_beyond_the_balance_is_refused_before_simulation(sender: Transactor, harness: Contract) -> None:
    for ask in (sender.simulate, sender.send):
        with pytest.raises(transactor.NotEnoughFunds) as caught:
            ask(harness.functions.bump(), value=10**30)
        assert caught.value.needs == 10**30
    with pytest.raises(transactor.NotEnoughFunds):
        sender.send_many([Call(harness.address, _bump(harness), sender.balance() * 2 // 3)] * 2)


def test_a_passed_deadline_sends_nothing(chain: str, sender: Transactor, harness: Contract) -> None:
    before = nonce_of(chain)
    now = sender.web3.eth.get_block("latest")["timestamp"]
    with pytest.raises(transactor.DeadlinePassed, match="nothing was sent"):
        sender.send(harness.functions.bump(), deadline=now)
    assert nonce_of(chain) == before
    sender.send(harness.functions.bump(), deadline=now + 60)


# ------------------------------------------------------------------------------------------------------- fees and the key


def test_a_node_that_suggests_absurd_tips_is_not_believed(node: FaultyNode, harness: Contract) -> None:
    node.faults["eth_maxPriorityFeePerGas"] = lambda given, ask: {"result": hex(10**18)}
    Transactor(node.url, FIRST, fees=Fees(tip_ceiling=2 * GWEI)).send(harness.functions.bump())
    (sent,) = sent_fields(node)
    assert sent["maxPriorityFeePerGas"] == 2 * GWEI
    assert sent["maxFeePerGas"] <= 500 * GWEI


def test_a_node_without_tip_suggestions_is_fine(node: FaultyNode, harness: Contract) -> None:
    node.faults["eth_maxPriorityFeePerGas"] = lambda given, ask: {
        "error": {"code": -32601, "message": "unknown method"}
    }
    assert Transactor(node.url, FIRST).send(harness.functions.bump())["status"] == 1


def test_gas_dearer_than_the_ceiling_is_not_bought(node: FaultyNode, harness: Contract) -> None:
    node.faults["eth_getBlockByNumber"] = dear(600)
    with pytest.raises(transactor.FeeAboveCeiling, match="the ceiling is 500 gwei"):
        Transactor(node.url, FIRST).send(harness.functions.bump())
    assert node.count("eth_sendRawTransaction") == 0


def test_the_gas_limit_has_the_margin_asked_for(node: FaultyNode, harness: Contract) -> None:
    sending = Transactor(node.url, FIRST)
    call = Call(harness.address, _bump(harness))
    sending.send(call)  # from here on the storage is written, and each further call needs the same
    needs = sending.endpoint.estimate_gas(call, FIRST.address)
    for margin in (1.5, 3.0):
        sending.send(call, gas_margin=margin)
    tight, wide = (sent["gas"] for sent in sent_fields(node)[-2:])
    assert tight >= int(needs * 1.5)
    assert wide - tight == int(needs * 3.0) - int(needs * 1.5)


def test_the_key_is_in_no_repr_log_or_pickle(chain: str, harness: Contract, caplog: pytest.LogCaptureFixture) -> None:
    key = FIRST.key.hex()
    sending = Transactor(chain, "0x" + key)
    with caplog.at_level(logging.DEBUG, logger="contracts"):
        sending.send(harness.functions.bump())
    assert "sent" in caplog.text
    assert key not in caplog.text + repr(sending) + str(vars(sending))
    with pytest.raises(TypeError, match="does not leave its process"):
        pickle.dumps(sending)
    with pytest.raises(keystore.MalformedKey):
        Transactor(chain, key[:-1])


# ----------------------------------------------------------------------------------- lost, stuck, replaced, taken, cut off


def test_a_forgotten_transaction_is_sent_again_under_its_nonce_for_an_eighth_more(
    node: FaultyNode, harness: Contract
) -> None:
    node.faults["eth_sendRawTransaction"] = once(swallow)
    receipt = Transactor(node.url, FIRST, stuck_after=0.3, patience=30).send(harness.functions.bump())
    forgotten, landed = sent_fields(node)[:2]
    assert receipt["status"] == 1
    assert landed["nonce"] == forgotten["nonce"]
    for fee in ("maxFeePerGas", "maxPriorityFeePerGas"):
        assert landed[fee] * 1000 >= forgotten[fee] * 1125
    assert harness.functions.count().call() == 1


def test_no_replacement_ever_exceeds_the_ceiling(node: FaultyNode, harness: Contract) -> None:
    node.faults["eth_sendRawTransaction"] = swallow
    most = Transactor(node.url)._market(lambda now: 500 * GWEI).max_fee * 3 // 2  # room for a few raises
    sending = Transactor(node.url, FIRST, fees=Fees(ceiling=most), stuck_after=0.05, patience=4)
    with pytest.raises(transactor.NotMined) as caught:
        sending.send(harness.functions.bump())
    offered = [sent["maxFeePerGas"] for sent in sent_fields(node)]
    assert len(offered) > len(set(offered)) > 1  # raised while it may be, then repeated unchanged
    assert max(offered) <= most
    assert len(set(caught.value.hashes)) == len(caught.value.hashes) == len(set(offered))


def dear(gwei: int) -> Callable[[list[Any], Ask], Answer]:
    def answer(given: list[Any], ask: Ask) -> Answer:
        answered = ask()
        answered["result"]["baseFeePerGas"] = hex(gwei * GWEI)
        return answered

    return answer


def test_what_is_sent_near_the_ceiling_can_still_be_replaced(node: FaultyNode, harness: Contract) -> None:
    node.faults["eth_getBlockByNumber"] = dear(300)  # twice that is beyond the ceiling
    node.faults["eth_sendRawTransaction"] = swallow
    with pytest.raises(transactor.NotMined):
        Transactor(node.url, FIRST, stuck_after=0.05, patience=2).send(harness.functions.bump())
    offered = sorted({sent["maxFeePerGas"] for sent in sent_fields(node)})
    assert len(offered) == 1 + fees.REPLACEMENTS
    assert 300 * GWEI < offered[0] < 400 * GWEI
    assert offered[-1] <= 500 * GWEI


def test_what_is_urgent_replaces_what_is_stuck_at_the_ceiling(node: FaultyNode, harness: Contract) -> None:
    def refuse_less(given: list[Any], ask: Ask) -> Answer:
        offered = TypedTransaction.from_bytes(HexBytes(given[0])).as_dict()["maxFeePerGas"]
        if offered >= 500 * GWEI * 9 // 8:
            return ask()
        return {"error": {"code": -32000, "message": "replacement transaction underpriced"}}

    node.faults["eth_getBlockByNumber"] = dear(400)
    node.faults["eth_sendRawTransaction"] = refuse_less
    sending = Transactor(node.url, FIRST)
    with pytest.raises(transactor.FeeAboveCeiling):
        sending.send(harness.functions.bump())
    assert sending.send(harness.functions.bump(), urgent=True)["status"] == 1
    assert sent_fields(node)[-1]["maxFeePerGas"] <= 1000 * GWEI
    bounded = Transactor(node.url, FIRST, fees=Fees(urgent_ceiling=550 * GWEI))
    with pytest.raises(transactor.FeeAboveCeiling, match="the ceiling is 550 gwei"):
        bounded.send(harness.functions.bump(), urgent=True)


def test_waiting_ends_at_the_deadline_of_the_chains_clock(node: FaultyNode, harness: Contract) -> None:
    node.faults["eth_sendRawTransaction"] = swallow
    now = Web3(Web3.HTTPProvider(node.upstream)).eth.get_block("latest")["timestamp"]
    with pytest.raises(transactor.NotMined, match="it may still land"):
        Transactor(node.url, FIRST).send(harness.functions.bump(), deadline=now + 2)


@pytest.mark.parametrize("lost", [502, "<html>Bad gateway</html>"])
def test_a_lost_answer_does_not_send_twice(node: FaultyNode, harness: Contract, lost: int | str) -> None:
    def lose(given: list[Any], ask: Ask) -> Answer:
        ask()
        return lost

    node.faults["eth_sendRawTransaction"] = once(lose)
    assert Transactor(node.url, FIRST).send(harness.functions.bump())["status"] == 1
    assert harness.functions.count().call() == 1
    assert node.count("eth_sendRawTransaction") == 1


def test_a_transaction_the_node_already_knows_counts_as_sent(node: FaultyNode, harness: Contract) -> None:
    def twice(given: list[Any], ask: Ask) -> Answer:
        ask()
        return {"error": {"code": -32000, "message": "already known"}}

    node.faults["eth_sendRawTransaction"] = once(twice)
    assert Transactor(node.url, FIRST).send(harness.functions.bump())["status"] == 1
    assert harness.functions.count().call() == 1


def test_an_outage_while_waiting_is_waited_out(node: FaultyNode, harness: Contract) -> None:
    def fail_at_first(given: list[Any], ask: Ask) -> Answer:
        sent = node.count("eth_sendRawTransaction")
        return 503 if sent and node.count("eth_getTransactionCount") < 8 else ask()

    node.faults["eth_getTransactionCount"] = fail_at_first
    node.faults["eth_getTransactionReceipt"] = once(lambda given, ask: {"error": {"code": -1, "message": "try later"}})
    assert Transactor(node.url, FIRST).send(harness.functions.bump())["status"] == 1
    assert harness.functions.count().call() == 1


def test_a_node_that_knows_the_nonce_before_the_receipt_is_waited_for(node: FaultyNode, harness: Contract) -> None:
    node.faults["eth_getTransactionReceipt"] = once(lambda given, ask: {"result": None})
    assert Transactor(node.url, FIRST).send(harness.functions.bump())["status"] == 1
    assert harness.functions.count().call() == 1


def test_what_an_earlier_life_left_in_the_mempool_is_replaced_at_the_price_the_node_wants(
    node: FaultyNode, harness: Contract
) -> None:
    def one_more(given: list[Any], ask: Ask) -> Answer:
        answered = ask()
        return {"result": hex(int(answered["result"], 16) + 1)} if given[1] == "pending" else answered

    def want_more(given: list[Any], ask: Ask) -> Answer:
        if node.count("eth_sendRawTransaction") < 4:
            return {"error": {"code": -32000, "message": "replacement transaction underpriced"}}
        return ask()

    node.faults |= {"eth_getTransactionCount": one_more, "eth_sendRawTransaction": want_more}
    before = nonce_of(node.upstream)
    receipt = Transactor(node.url, FIRST, stuck_after=0.2, patience=30).send(harness.functions.bump())
    offers = sent_fields(node)
    assert {offer["nonce"] for offer in offers} == {before}
    assert [offer["maxFeePerGas"] for offer in offers] == sorted({offer["maxFeePerGas"] for offer in offers})
    assert receipt["status"] == 1


def test_what_is_stuck_does_not_hold_up_the_next_send_until_its_own_far_deadline(
    node: FaultyNode, harness: Contract
) -> None:
    node.faults["eth_sendRawTransaction"] = swallow
    sending = Transactor(node.url, FIRST, stuck_after=60, patience=0.5)
    far = sending._market(lambda now: 500 * GWEI).timestamp + 10**6
    with pytest.raises(transactor.NotMined):
        sending.send(harness.functions.bump(), deadline=far)
    node.faults.clear()
    assert Transactor(node.url, FIRST, stuck_after=60, patience=30).send(harness.functions.bumpFrom(0))["status"] == 1


def test_an_earlier_transaction_gets_time_to_land_and_what_it_did_is_not_done_twice(
    node: FaultyNode, harness: Contract
) -> None:
    """A crash after sending: the next life finds the duty done and pays nothing."""
    before = nonce_of(node.upstream)
    crashing = Transactor(node.url, FIRST, patience=0.0)
    with pytest.raises(transactor.NotMined):
        crashing.send(harness.functions.bumpFrom(0))
    with pytest.raises(errors.HarnessCounted) as caught:
        Transactor(node.upstream, FIRST).send(harness.functions.bumpFrom(0))
    assert caught.value.receipt is None
    assert nonce_of(node.upstream) == before + 1


def test_a_nonce_another_process_took_starts_over_with_a_new_simulation(
    node: FaultyNode, sender: Transactor, harness: Contract
) -> None:
    def take(given: list[Any], ask: Ask) -> Answer:
        sender.send(harness.functions.bump(), value=1)  # the very same call would be the very same transaction
        return ask()

    node.faults["eth_sendRawTransaction"] = once(take)
    assert Transactor(node.url, FIRST).send(harness.functions.bump())["status"] == 1
    assert sender.read(harness.functions.count()) == 2
    node.faults["eth_sendRawTransaction"] = once(take)
    with pytest.raises(errors.HarnessCounted) as caught:
        Transactor(node.url, FIRST).send(harness.functions.bumpFrom(2))
    assert caught.value.receipt is None


def test_a_repeated_hand_over_after_landing_is_not_taken_for_another_process(
    node: FaultyNode, sender: Transactor, harness: Contract
) -> None:
    def land_then_ask_again(given: list[Any], ask: Ask) -> Answer:
        sender.web3.eth.wait_for_transaction_receipt(HexBytes(ask()["result"]), timeout=60)
        return ask()

    node.faults["eth_sendRawTransaction"] = once(land_then_ask_again)
    assert Transactor(node.url, FIRST).send(harness.functions.bump())["status"] == 1
    assert sender.read(harness.functions.count()) == 1


def test_a_key_that_others_keep_using_is_reported(node: FaultyNode, sender: Transactor, harness: Contract) -> None:
    def take(given: list[Any], ask: Ask) -> Answer:
        sender.send(harness.functions.bump(), value=1)
        return ask()

    node.faults["eth_sendRawTransaction"] = take
    with pytest.raises(transactor.NonceTaken, match="let only one process send"):
        Transactor(node.url, FIRST).send(harness.functions.bump())
    assert node.count("eth_sendRawTransaction") == transactor.ATTEMPTS


def test_a_nonce_taken_while_waiting_is_noticed(
    node: FaultyNode, sender: Transactor, harness: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swallow_and_take(given: list[Any], ask: Ask) -> Answer:
        sender.send(harness.functions.bump(), value=1)
        return swallow(given, ask)

    monkeypatch.setattr(transactor, "REPLICA_LAG", 0.2)
    node.faults["eth_sendRawTransaction"] = once(swallow_and_take)
    assert Transactor(node.url, FIRST).send(harness.functions.bump())["status"] == 1
    assert sender.read(harness.functions.count()) == 2


def one_more_pending(given: list[Any], ask: Ask) -> Answer:
    """Something of the sender's is in the mempool."""
    answered = ask()
    return {"result": hex(int(answered["result"], 16) + 1)} if given[1] == "pending" else answered


class Pool:
    """A mempool that keeps the first transaction of a nonce, whatever is offered for it later."""

    def __init__(self, node: FaultyNode, *, drops_first: bool) -> None:
        self.node = node
        self.first: str | None = None
        self.drops_first = drops_first

    def __call__(self, given: list[Any], ask: Ask) -> Answer:
        if self.first is None:
            self.first = given[0]
            return swallow(given, ask)
        nonces = [TypedTransaction.from_bytes(HexBytes(raw)).as_dict()["nonce"] for raw in (self.first, given[0])]
        if nonces[0] == nonces[1] and given[0] != self.first:
            return {"error": {"code": -32000, "message": "replacement transaction underpriced"}}
        if nonces[0] != nonces[1] and not self.drops_first:
            Endpoint(self.node.upstream).ask("eth_sendRawTransaction", self.first)
        return ask()


@pytest.mark.parametrize("drops_first", [False, True])
def test_what_cannot_replace_our_own_stuck_transaction_is_queued_behind_it_and_a_gap_is_filled(
    node: FaultyNode, harness: Contract, drops_first: bool
) -> None:
    node.faults["eth_sendRawTransaction"] = Pool(node, drops_first=drops_first)
    sending = Transactor(node.url, FIRST, stuck_after=0.2, patience=0.5)
    before = nonce_of(node.upstream)
    with pytest.raises(transactor.NotMined):
        sending.send(harness.functions.bump(), value=1)
    node.faults["eth_getTransactionCount"] = one_more_pending
    sending.patience = 60
    receipt = sending.send(harness.functions.bump(), value=2, urgent=True)
    assert receipt["status"] == 1
    assert sending.web3.eth.get_transaction(receipt["transactionHash"])["nonce"] == before + 1
    assert harness.functions.count().call() == 2


def test_the_same_call_takes_up_where_it_was_left(node: FaultyNode, harness: Contract) -> None:
    """Nothing in this call says that it was done, so that a second transaction would do it twice."""
    node.faults["eth_sendRawTransaction"] = swallow
    landed: list[str] = []
    sending = Transactor(
        node.url, FIRST, stuck_after=60, patience=0.3, on_landed=lambda _, one: landed.append(str(one))
    )
    with pytest.raises(transactor.NotMined) as caught:
        sending.send(harness.functions.bump())
    node.faults.clear()
    sending.patience = 60
    assert sending.send(harness.functions.bump())["transactionHash"] == caught.value.hashes[0]
    assert harness.functions.count().call() == 1
    assert len(landed) == 1


def test_a_call_that_landed_after_it_was_given_up_is_not_sent_again(node: FaultyNode, harness: Contract) -> None:
    sending = Transactor(node.url, FIRST, patience=0.0)
    with pytest.raises(transactor.NotMined) as caught:
        sending.send(harness.functions.bump())
    sending.web3.eth.wait_for_transaction_receipt(caught.value.hashes[0], timeout=60)
    sending.patience = 60
    assert sending.send(harness.functions.bump())["transactionHash"] == caught.value.hashes[0]
    assert harness.functions.count().call() == 1
    assert sending.send(harness.functions.bump())["status"] == 1  # what was told of once is a new call the next time
    assert harness.functions.count().call() == 2


def test_what_is_kept_for_other_duties_is_not_spent(chain: str, sender: Transactor, harness: Contract) -> None:
    before = nonce_of(chain)
    with pytest.raises(transactor.NotEnoughFunds):
        sender.send(harness.functions.bump(), keep=sender.balance())
    with pytest.raises(transactor.NotEnoughFunds):
        sender.send(harness.functions.bump(), value=10, keep=sender.balance() - 9)
    assert nonce_of(chain) == before
    assert sender.send(harness.functions.bump(), keep=sender.balance() // 2)["status"] == 1


def test_a_receipt_is_confirmed_once_its_block_is_deep_and_a_reorganised_one_never(
    sender: Transactor, harness: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactor, "REPLICA_LAG", 0.3)
    receipt = sender.send(harness.functions.bump())
    confirmed = sender.confirm(receipt, 2)
    assert confirmed["blockHash"] == receipt["blockHash"]
    assert sender.web3.eth.block_number >= receipt["blockNumber"] + 2
    with pytest.raises(transactor.NotMined):
        sender.confirm(receipt, 10**6, patience=0.1)
    receipt = sender.send(harness.functions.bump())
    sender.endpoint.ask("anvil_reorg", sender.web3.eth.block_number - receipt["blockNumber"] + 1, [])
    with pytest.raises(transactor.Reorganised, match="look at the chain, then send again"):
        sender.confirm(receipt, 2)


def test_the_ceiling_of_what_is_urgent_rises_as_its_end_comes_near() -> None:
    bounds = Fees(ceiling=100, urgent_ceiling=300)
    at = bounds.ceiling_of(urgent=True, deadline=100_000)
    assert [at(100_000 - left) for left in (10**5, fees.UNHURRIED, 1050, fees.HURRIED, 0)] == [100, 100, 200, 300, 300]
    assert bounds.ceiling_of(urgent=True, deadline=None)(0) == 300
    assert bounds.ceiling_of(urgent=False, deadline=100_000)(99_999) == 100
    assert Fees(ceiling=100, urgent_ceiling=50).most == 100
    assert Fees(ceiling=100).most == 200


def test_all_errors_of_the_chain_share_one_base() -> None:
    for name in (
        "Reorganised",
        "NoKey",
        "NotEnoughFunds",
        "FeeAboveCeiling",
        "DeadlinePassed",
        "NotMined",
        "NonceTaken",
        "PartlySent",
    ):
        assert issubclass(getattr(transactor, name), ChainError)
    assert not issubclass(errors.Reverted, ChainError)
