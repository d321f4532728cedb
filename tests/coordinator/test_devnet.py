"""What the protocol and its tests need of a development chain, asked of the Python EVM and of anvil alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import rlp
from eth_abi import encode
from eth_utils import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import ContractCustomError
from web3.logs import DISCARD

from coordinator.devnet import DEV_BALANCE, dev_accounts, dev_keys, find_anvil, running_chain
from tests.coordinator.chain_driver import CHAIN_ID, GWEI, Driver, Refusal
from tests.requirements import missing

HEADER_FIELDS = (
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"),
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"),
    *("baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"),
)
QUANTITIES = {
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas"),
}
HOW_TO_GET_ANVIL = "npm install @foundry-rs/anvil below .tools, or set QUORATE_ANVIL"
REFUSED = keccak(b"Refused(uint256,string)")[:4]


@pytest.fixture(params=["py-evm", "anvil"])
def chain(request: pytest.FixtureRequest) -> Iterator[Driver]:
    if request.param == "anvil" and find_anvil() is None:
        missing("anvil", HOW_TO_GET_ANVIL)
    with running_chain(request.param, block_time=None) as url:
        yield Driver(request.param, url)


@pytest.fixture
def probe(chain: Driver) -> Contract:
    return chain.deploy()


def header_rlp(block: dict[str, str]) -> bytes:
    """A block header from the fields that JSON-RPC gives."""
    items = []
    for name in HEADER_FIELDS:
        if name in QUANTITIES:
            number = int(block[name], 16)
            items.append(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        else:
            items.append(bytes.fromhex(block[name][2:]))
    return bytes(rlp.encode(items))


def test_the_dev_accounts_are_funded_and_derived_as_documented(chain: Driver) -> None:
    assert dev_keys(2)[1] == keccak(b"quorate devnet account" + bytes([0, 0, 0, 1]))
    assert [Web3.to_checksum_address(address) for address in dev_accounts(3)] == [a.address for a in chain.accounts[:3]]
    for address in dev_accounts():
        assert int(chain.ask("eth_getBalance", "0x" + address.hex(), "latest"), 16) == DEV_BALANCE


def test_the_chain_says_who_it_is(chain: Driver) -> None:
    assert int(chain.ask("eth_chainId"), 16) == CHAIN_ID
    assert chain.ask("net_version") == str(CHAIN_ID)
    assert chain.ask("eth_syncing") is False
    assert isinstance(chain.ask("web3_clientVersion"), str)


def test_a_header_rebuilt_from_the_rpc_fields_hashes_to_the_block_hash(chain: Driver, probe: Contract) -> None:
    chain.send(to=probe.address, data=probe.encode_abi("store", [1, 2]))
    full = chain.mine()
    empty = chain.mine()
    assert len(full["transactions"]) == 1 and empty["transactions"] == []
    for block in (full, empty):
        assert "0x" + keccak(header_rlp(block)).hex() == block["hash"]
    assert empty["parentHash"] == full["hash"]


def test_a_contract_recognises_a_header_by_its_hash(chain: Driver, probe: Contract) -> None:
    proven = chain.mine()
    chain.mine()
    number, header = int(proven["number"], 16), header_rlp(proven)
    assert chain.call(probe, "isHeaderOf", number, header) == (1).to_bytes(32, "big")
    changed = header[:-1] + bytes([header[-1] ^ 1])
    assert chain.call(probe, "isHeaderOf", number, changed) == bytes(32)


def test_prevrandao_changes_with_every_block_and_contracts_see_it(chain: Driver, probe: Contract) -> None:
    blocks = [chain.mine() for _ in range(4)]
    assert len({block["mixHash"] for block in blocks}) == 4
    seen = chain.call(probe, "context", block=blocks[-1]["number"])
    assert seen[64:96].hex() == blocks[-1]["mixHash"][2:]


def test_blockhash_answers_for_the_last_256_blocks_only(chain: Driver, probe: Contract) -> None:
    chain.ask("anvil_mine", hex(300))
    head = chain.height()
    for number, known in ((head - 1, True), (head - 256, True), (head - 257, False), (head, False), (head + 1, False)):
        expected = chain.block(number)["hash"][2:] if known else "00" * 32
        assert chain.call(probe, "hashOf", number, block=hex(head)).hex() == expected, number - head


def test_many_transactions_of_one_sender_go_into_one_block_in_order(chain: Driver, probe: Contract) -> None:
    first = chain.nonce()
    sent = [
        chain.send(nonce=first + i, to=probe.address, data=probe.encode_abi("store", [i, i + 1])) for i in range(40)
    ]
    assert chain.nonce(block="pending") == first + 40 and chain.nonce() == first
    block = chain.mine()
    assert block["transactions"] == sent
    assert chain.nonce() == first + 40
    receipts = [chain.receipt(one) for one in sent]
    assert all(receipt and receipt["status"] == "0x1" for receipt in receipts)
    used = [int(receipt["gasUsed"], 16) for receipt in receipts if receipt]
    assert [int(r["cumulativeGasUsed"], 16) for r in receipts if r] == [sum(used[: i + 1]) for i in range(40)]
    assert int(block["gasUsed"], 16) == sum(used)


def test_thirty_transactions_a_block_for_ten_blocks_all_land(chain: Driver, probe: Contract) -> None:
    sent = []
    for block in range(10):
        for sender in range(6):
            nonce = chain.nonce(sender)
            for i in range(5):
                data = probe.encode_abi("store", [block * 1_000 + sender * 10 + i, 1])
                sent.append(chain.send(sender, nonce=nonce + i, to=probe.address, data=data))
        assert len(chain.mine()["transactions"]) == 30
    assert all((chain.receipt(one) or {})["status"] == "0x1" for one in sent)


def test_a_nonce_gap_is_held_back_until_it_is_filled(chain: Driver) -> None:
    nonce = chain.nonce()
    late = chain.send(nonce=nonce + 1, to=chain.accounts[1].address, value=1)
    assert chain.nonce(block="pending") == nonce
    assert chain.mine()["transactions"] == []
    waiting = chain.ask("eth_getTransactionByHash", late)
    assert waiting["blockHash"] is None and chain.receipt(late) is None
    early = chain.send(nonce=nonce, to=chain.accounts[1].address, value=1)
    assert chain.nonce(block="pending") == nonce + 2
    assert chain.mine()["transactions"] == [early, late]


def test_a_higher_fee_replaces_a_pending_transaction(chain: Driver) -> None:
    base: dict[str, Any] = {"nonce": chain.nonce(), "to": chain.accounts[1].address, "value": 1}
    old = chain.send(**base, maxFeePerGas=10 * GWEI, maxPriorityFeePerGas=GWEI)
    with pytest.raises(Refusal, match="underpriced"):
        chain.send(**{**base, "value": 2}, maxFeePerGas=10 * GWEI, maxPriorityFeePerGas=GWEI)
    new = chain.send(**base, maxFeePerGas=11 * GWEI, maxPriorityFeePerGas=GWEI * 11 // 10)
    assert chain.mine()["transactions"] == [new]
    assert chain.receipt(old) is None and chain.receipt(new) is not None


def test_the_better_tip_goes_first(chain: Driver) -> None:
    low = chain.send(0, to=chain.accounts[5].address, maxPriorityFeePerGas=GWEI)
    high = chain.send(1, to=chain.accounts[5].address, maxPriorityFeePerGas=3 * GWEI, maxFeePerGas=12 * GWEI)
    assert chain.mine()["transactions"] == [high, low]


def test_a_used_nonce_and_a_known_transaction_are_refused(chain: Driver) -> None:
    raw = chain.sign(nonce=chain.nonce(), to=chain.accounts[1].address, value=1)
    chain.ask("eth_sendRawTransaction", raw)
    with pytest.raises(Refusal, match="already"):
        chain.ask("eth_sendRawTransaction", raw)
    chain.mine()
    with pytest.raises(Refusal, match="nonce too low"):
        chain.send(nonce=0, to=chain.accounts[1].address, value=2)


def test_what_cannot_be_paid_for_is_refused(chain: Driver) -> None:
    with pytest.raises(Refusal, match=r"(?i)insufficient funds"):
        chain.send(nonce=chain.nonce(), to=chain.accounts[1].address, value=DEV_BALANCE)


def test_legacy_and_access_list_transactions_are_mined(chain: Driver, probe: Contract) -> None:
    legacy = chain.send(0, to=probe.address, data=probe.encode_abi("store", [1, 1]), gasPrice=3 * GWEI)
    access_list = [{"address": probe.address, "storageKeys": ["0x" + "00" * 32]}]
    listed = chain.send(
        1, to=probe.address, data=probe.encode_abi("store", [2, 1]), gasPrice=2 * GWEI, type=1, accessList=access_list
    )
    assert chain.mine()["transactions"] == [legacy, listed]
    for sent, kind, price in ((legacy, "0x0", 3 * GWEI), (listed, "0x1", 2 * GWEI)):
        receipt, transaction = chain.receipt(sent), chain.ask("eth_getTransactionByHash", sent)
        assert receipt is not None and receipt["status"] == "0x1"
        assert (receipt["type"], int(receipt["effectiveGasPrice"], 16)) == (kind, price)
        assert transaction["type"] == kind and int(transaction["gasPrice"], 16) == price
    assert chain.ask("eth_getTransactionByHash", listed)["accessList"][0]["address"] == probe.address.lower()


def test_the_base_fee_follows_eip_1559_and_is_burnt(chain: Driver) -> None:
    parent, sent = chain.mine(), chain.send(to=chain.accounts[1].address, value=5)
    block = chain.mine()
    base_fee = int(block["baseFeePerGas"], 16)
    target, used = int(parent["gasLimit"], 16) // 2, int(parent["gasUsed"], 16)
    before = int(parent["baseFeePerGas"], 16)
    assert base_fee == before - before * (target - used) // target // 8
    receipt = chain.receipt(sent)
    assert receipt is not None and int(receipt["effectiveGasPrice"], 16) == base_fee + GWEI
    left = int(chain.ask("eth_getBalance", chain.accounts[0].address, "latest"), 16)
    assert left == DEV_BALANCE - 5 - 21_000 * (base_fee + GWEI)
    earned = int(chain.ask("eth_getBalance", block["miner"], "latest"), 16)
    assert earned == 21_000 * GWEI


def test_fee_history_gives_base_fees_and_rewards(chain: Driver) -> None:
    chain.send(to=chain.accounts[1].address, value=5)
    block = chain.mine()
    history = chain.ask("eth_feeHistory", "0x2", "latest", [50.0])
    assert int(history["oldestBlock"], 16) == int(block["number"], 16) - 1
    assert len(history["baseFeePerGas"]) == 3 and history["baseFeePerGas"][1] == block["baseFeePerGas"]
    assert int(history["reward"][1][0], 16) == GWEI
    assert history["gasUsedRatio"][1] == pytest.approx(21_000 / int(block["gasLimit"], 16))
    assert int(chain.ask("eth_maxPriorityFeePerGas"), 16) > 0
    assert int(chain.ask("eth_gasPrice"), 16) >= int(history["baseFeePerGas"][2], 16)


def test_a_revert_comes_with_its_data_from_call_and_estimate(chain: Driver, probe: Contract) -> None:
    data = REFUSED + encode(["uint256", "string"], [7, "as asked"])
    request = {"to": probe.address, "data": probe.encode_abi("refuse", [7])}
    for method in ("eth_call", "eth_estimateGas"):
        with pytest.raises(Refusal) as refused:
            chain.ask(method, request)
        assert refused.value.code == 3 and refused.value.data == "0x" + data.hex()
        assert "revert" in refused.value.message
    with pytest.raises(ContractCustomError) as raised:
        probe.functions.refuse(7).call()
    assert raised.value.data == "0x" + data.hex()


def test_a_revert_text_is_in_the_message(chain: Driver, probe: Contract) -> None:
    with pytest.raises(Refusal, match="execution reverted: in words") as refused:
        chain.call(probe, "refuseWithText")
    assert refused.value.code == 3


def test_a_failed_transaction_leaves_a_receipt_and_no_trace(chain: Driver, probe: Contract) -> None:
    sent = chain.send(to=probe.address, data=probe.encode_abi("refuseWithText", []))
    chain.mine()
    receipt = chain.receipt(sent)
    assert receipt is not None and receipt["status"] == "0x0" and receipt["logs"] == []
    assert chain.call(probe, "stored", 0) == bytes(32)


def test_an_estimate_is_enough_through_nested_calls_and_not_wasteful(chain: Driver, probe: Contract) -> None:
    data = probe.encode_abi("nest", [12, 100, 20])
    sender = chain.accounts[0].address
    gas = int(chain.ask("eth_estimateGas", {"from": sender, "to": probe.address, "data": data}), 16)
    sent = chain.send(to=probe.address, data=data, gas=gas)
    chain.mine()
    receipt = chain.receipt(sent)
    assert receipt is not None and receipt["status"] == "0x1" and len(receipt["logs"]) == 20
    assert gas < int(receipt["gasUsed"], 16) * 1.35
    short = chain.send(to=probe.address, data=probe.encode_abi("nest", [12, 200, 20]), gas=gas * 19 // 20)
    chain.mine()
    assert (chain.receipt(short) or {})["status"] == "0x0"


def test_an_estimate_covers_the_calldata_floor(chain: Driver) -> None:
    data = "0x" + "ff" * 1_000
    gas = int(chain.ask("eth_estimateGas", {"to": chain.accounts[1].address, "data": data}), 16)
    assert gas == 21_000 + 1_000 * 40
    sent = chain.send(to=chain.accounts[1].address, data=data, gas=gas)
    chain.mine()
    assert int((chain.receipt(sent) or {})["gasUsed"], 16) == gas


def charged(kind: str) -> list[tuple[str, int, int]]:
    """Status, gas and events of every sort of transaction on one kind of chain."""
    with running_chain("anvil" if kind == "anvil" else "py-evm", block_time=None) as url:
        chain = Driver(kind, url)
        probe = chain.deploy()
        works = [
            probe.encode_abi("store", [1, 1]),
            probe.encode_abi("store", [1, 2]),
            probe.encode_abi("store", [1, 0]),
            probe.encode_abi("storeMany", [50, 5]),
            probe.encode_abi("store", [50, 0]) + "ff" * 300,  # a refund that meets the calldata floor
            probe.encode_abi("store", [51, 0]) + "00" * 3_000,
            probe.encode_abi("refuseWithText", []),
            probe.encode_abi("nest", [5, 90, 3]),
            probe.encode_abi("exhaust", []),
        ]
        sent = [chain.send(to=probe.address, data=data, gas=600_000) for data in works]
        sent.append(chain.send(data="0x600160005560006000f3", gas=100_000))
        chain.mine()
        receipts = [chain.receipt(one) or {} for one in sent]
        return [(r["status"], int(r["gasUsed"], 16), len(r["logs"])) for r in receipts]


def test_both_kinds_of_chain_charge_the_same_gas() -> None:
    if find_anvil() is None:
        missing("anvil", HOW_TO_GET_ANVIL)
    assert charged("py-evm") == charged("anvil")


def test_running_out_of_gas_is_an_error_without_revert_data(chain: Driver, probe: Contract) -> None:
    with pytest.raises(Refusal) as refused:
        chain.call(probe, "exhaust", gas=hex(200_000))
    assert refused.value.code != 3 and "gas" in refused.value.message.lower()
    sent = chain.send(to=probe.address, data=probe.encode_abi("exhaust", []), gas=200_000)
    chain.mine()
    receipt = chain.receipt(sent)
    assert receipt is not None and (receipt["status"], int(receipt["gasUsed"], 16)) == ("0x0", 200_000)


def test_logs_are_found_by_address_topics_range_and_block_hash(chain: Driver, probe: Contract) -> None:
    other = chain.deploy()
    start = chain.height()
    for slot in range(1, 6):
        chain.send(slot % 2, to=probe.address, data=probe.encode_abi("store", [slot, 10 * slot]))
        chain.send(3, to=other.address, data=other.encode_abi("store", [slot, 1]))
        chain.mine()
    event = "0x" + keccak(b"Stored(address,uint256,uint256)").hex()

    def find(**wanted: object) -> list[tuple[int, str, int]]:
        logs = chain.ask("eth_getLogs", {"fromBlock": hex(start), **wanted})
        return [(int(log["blockNumber"], 16) - start, log["address"], int(log["topics"][2], 16)) for log in logs]

    ours, theirs = probe.address.lower(), other.address.lower()
    assert find(address=probe.address) == [(slot, ours, slot) for slot in range(1, 6)]
    assert len(find()) == len(find(address=[probe.address, other.address])) == 10
    assert find(address=probe.address, topics=[event, None, "0x" + f"{3:064x}"]) == [(3, ours, 3)]
    either = ["0x" + f"{slot:064x}" for slot in (2, 5)]
    assert find(address=other.address, topics=[[event], [], either]) == [(2, theirs, 2), (5, theirs, 5)]
    by_sender = "0x" + chain.accounts[1].address[2:].lower().rjust(64, "0")
    assert find(topics=[None, by_sender]) == [(slot, ours, slot) for slot in (1, 3, 5)]
    assert find(address=probe.address, fromBlock=hex(start + 2), toBlock=hex(start + 3)) == [(2, ours, 2), (3, ours, 3)]
    assert find(topics=["0x" + "12" * 32]) == []
    block = chain.block(start + 4)
    logs = chain.ask("eth_getLogs", {"blockHash": block["hash"], "address": probe.address})
    assert [log["blockHash"] for log in logs] == [block["hash"]]
    with pytest.raises(Refusal):
        chain.ask("eth_getLogs", {"blockHash": "0x" + "ee" * 32})


def test_web3_decodes_events_from_receipts(chain: Driver, probe: Contract) -> None:
    sent = chain.send(to=probe.address, data=probe.encode_abi("storeMany", [5, 3]), gas=400_000)
    number = int(chain.mine()["number"], 16)
    receipt = chain.web3.eth.get_transaction_receipt(HexBytes(sent))
    events = list(probe.events.Stored().process_receipt(receipt, errors=DISCARD))
    assert [(event["args"]["slot"], event["args"]["value"], event["logIndex"]) for event in events] == [
        (5, number, 0), (6, number, 1), (7, number, 2),
    ]  # fmt: skip
    assert all(event["args"]["by"] == chain.accounts[0].address for event in events)


def test_past_state_is_read_at_any_recent_block(chain: Driver, probe: Contract) -> None:
    numbers = []
    for value in range(1, 6):
        chain.send(to=probe.address, data=probe.encode_abi("store", [9, value]))
        numbers.append(int(chain.mine()["number"], 16))
    chain.ask("anvil_mine", hex(250))
    for value, number in enumerate(numbers, start=1):
        assert int.from_bytes(chain.call(probe, "stored", 9, block=hex(number)), "big") == value
        at = chain.block(number)["hash"]
        assert int.from_bytes(chain.call(probe, "stored", 9, block={"blockHash": at}), "big") == value
        seen = chain.call(probe, "context", block=hex(number))
        assert int.from_bytes(seen[32:64], "big") == int(chain.block(number)["timestamp"], 16)
        place = keccak(encode(["uint256", "uint256"], [9, 0]))
        stored = chain.ask("eth_getStorageAt", probe.address, "0x" + place.hex(), hex(number))
        assert int(stored, 16) == value
    before = hex(numbers[0] - 2)
    assert chain.ask("eth_getCode", probe.address, before) == "0x"
    assert chain.ask("eth_getCode", probe.address, "latest") != "0x"
    for tag in ("latest", "safe", "finalized", "pending"):
        assert int(chain.ask("eth_getBlockByNumber", tag, False)["number"], 16) >= numbers[-1]


def test_time_is_driven_by_the_usual_methods(chain: Driver) -> None:
    start = int(chain.block()["timestamp"], 16)
    chain.ask("evm_setNextBlockTimestamp", start + 500)
    assert int(chain.mine()["timestamp"], 16) == start + 500
    chain.ask("evm_increaseTime", 1_000)
    later = int(chain.mine()["timestamp"], 16)
    assert start + 1_500 <= later <= start + 1_560
    chain.ask("anvil_mine", "0x3", "0x64")
    assert int(chain.block()["timestamp"], 16) - later in range(300, 360)
    stamps = [int(chain.mine()["timestamp"], 16) for _ in range(5)]
    assert stamps == sorted(stamps)  # anvil gives blocks of one second the same timestamp, no real chain does
    if chain.kind == "py-evm":
        assert len(set(stamps)) == 5


def test_balances_can_be_set_by_hand(chain: Driver) -> None:
    stranger = "0x" + "5a" * 20
    chain.ask("anvil_setBalance", stranger, hex(10**20))
    assert int(chain.ask("eth_getBalance", stranger, "latest"), 16) == 10**20
    chain.mine()
    assert int(chain.ask("eth_getBalance", stranger, "latest"), 16) == 10**20


def test_a_snapshot_is_reverted_to_with_state_logs_and_nonces(chain: Driver, probe: Contract) -> None:
    number, nonce = chain.height(), chain.nonce()
    snapshot = chain.ask("evm_snapshot")
    sent = chain.send(to=probe.address, data=probe.encode_abi("store", [1, 1]))
    chain.mine()
    assert chain.ask("evm_revert", snapshot) is True
    assert (chain.height(), chain.nonce()) == (number, nonce)
    assert chain.call(probe, "stored", 1) == bytes(32)
    assert chain.receipt(sent) is None
    assert chain.ask("eth_getLogs", {"fromBlock": "0x0", "address": probe.address}) == []
    again = chain.send(to=probe.address, data=probe.encode_abi("store", [1, 2]))
    chain.mine()
    assert (chain.receipt(again) or {})["status"] == "0x1"


def test_a_reorganisation_replaces_blocks_at_the_same_height(chain: Driver, probe: Contract) -> None:
    chain.ask("anvil_mine", "0x5")
    sent = chain.send(to=probe.address, data=probe.encode_abi("store", [1, 1]))
    chain.mine()
    chain.mine()
    head = chain.height()
    before = [chain.block(number)["hash"] for number in range(head + 1)]
    chain.ask("anvil_reorg", 3, [])
    assert chain.height() == head
    after = [chain.block(number)["hash"] for number in range(head + 1)]
    assert before[: head - 2] == after[: head - 2]
    assert all(old != new for old, new in zip(before[head - 2 :], after[head - 2 :], strict=True))
    assert chain.receipt(sent) is None
    assert chain.call(probe, "stored", 1) == bytes(32)
    assert chain.ask("eth_getLogs", {"fromBlock": "0x0", "address": probe.address}) == []
    for number in range(1, head + 1):
        assert chain.block(number)["parentHash"] == after[number - 1]


def test_an_unknown_method_and_wrong_parameters_have_their_codes(chain: Driver) -> None:
    with pytest.raises(Refusal) as refused:
        chain.ask("eth_noSuchThing")
    assert refused.value.code == -32601
    with pytest.raises(Refusal) as refused:
        chain.ask("eth_getBalance", "0x12", "latest")
    assert refused.value.code == -32602
    assert chain.ask("eth_getTransactionReceipt", "0x" + "00" * 32) is None
    assert chain.ask("eth_getTransactionByHash", "0x" + "00" * 32) is None
    assert chain.ask("eth_getBlockByNumber", hex(10**6), False) is None
