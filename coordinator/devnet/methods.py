"""The JSON-RPC methods: what they take, what they answer, in geth's and anvil's words. Callers hold the chain's lock."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from eth.vm.forks.prague.state import PragueState
from eth_typing import Address

from coordinator.devnet import wire
from coordinator.devnet.answers import block_answer, log_answer, receipt_answer, transaction_answer
from coordinator.devnet.block import Block
from coordinator.devnet.execution import Call
from coordinator.devnet.log_index import LogFilter
from coordinator.devnet.wire import RpcError, invalid, to_hex

if TYPE_CHECKING:
    from coordinator.devnet.chain import DevChain

log = logging.getLogger(__name__)

CALL_GAS = 50_000_000
SUGGESTED_TIP = 10**9
MOST_FEE_HISTORY = 1_024
CALL_FIELDS = {
    *("from", "to", "value", "data", "input", "gas", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas"),
    *("accessList", "nonce", "chainId", "type"),
}
CLIENT = f"quorate-devnet/py-evm-{version('py-evm')}"


class Methods:
    """Every method of one chain, by its JSON-RPC name."""

    def __init__(self, chain: DevChain) -> None:
        self._chain = chain
        self._methods: dict[str, tuple[Callable[..., Any], inspect.Signature]] = {}
        for name, method in self._table().items():
            self._methods[name] = method, inspect.signature(method)

    def _table(self) -> dict[str, Callable[..., Any]]:
        return {
            "eth_chainId": lambda: to_hex(self._chain.chain_id),
            "net_version": lambda: str(self._chain.chain_id),
            "net_listening": lambda: True,
            "web3_clientVersion": lambda: CLIENT,
            "eth_syncing": lambda: False,
            "eth_accounts": list,
            "eth_blockNumber": lambda: to_hex(self._chain.head.number),
            "eth_getBlockByNumber": self.get_block_by_number,
            "eth_getBlockByHash": self.get_block_by_hash,
            "eth_getBlockReceipts": self.get_block_receipts,
            "eth_getTransactionByHash": self.get_transaction,
            "eth_getTransactionReceipt": self.get_receipt,
            "eth_getTransactionCount": self.get_transaction_count,
            "eth_getBalance": self.get_balance,
            "eth_getCode": self.get_code,
            "eth_getStorageAt": self.get_storage,
            "eth_getLogs": self.get_logs,
            "eth_call": self.call_contract,
            "eth_estimateGas": self.estimate_gas,
            "eth_gasPrice": lambda: to_hex(self._chain.head.header.next_base_fee() + SUGGESTED_TIP),
            "eth_maxPriorityFeePerGas": lambda: to_hex(SUGGESTED_TIP),
            "eth_feeHistory": self.fee_history,
            "eth_sendRawTransaction": lambda raw: to_hex(self._chain.accept(wire.data(raw, "transaction"))),
            "evm_mine": self.evm_mine,
            "anvil_mine": self.anvil_mine,
            "evm_setNextBlockTimestamp": self.set_next_timestamp,
            "evm_increaseTime": lambda seconds: self._chain.put_clock_forward(wire.quantity(seconds, "seconds")),
            "evm_snapshot": lambda: to_hex(self._chain.snapshot()),
            "evm_revert": lambda number: self._chain.revert(wire.quantity(number, "snapshot")),
            "anvil_setBalance": self.set_balance,
            "anvil_reorg": self.reorganise,
        }

    def call(self, name: str, params: list[Any]) -> Any:
        """The result of one method. Raises RpcError and nothing else, whatever the parameters are."""
        if name not in self._methods:
            raise RpcError(
                wire.METHOD_NOT_FOUND, f"the method {wire.shown(name)} does not exist/is not available on this chain"
            )
        method, signature = self._methods[name]
        try:
            signature.bind(*params)
        except TypeError as error:
            raise invalid(f"{name}: {error}; it takes {signature}") from None
        try:
            return method(*params)
        except RpcError:
            raise
        except Exception as error:
            log.exception("%s failed", name)
            raise RpcError(wire.INTERNAL_ERROR, f"{name} failed: {type(error).__name__}") from error

    # --- blocks ---

    def _find(self, block: Any) -> Block | None:
        ref = wire.block_ref(block)
        chain = self._chain
        if ref.hash is not None:
            return chain.block_by_hash(ref.hash)
        if ref.number is not None:
            return chain.block_at(ref.number)
        if ref.tag == "pending":
            return chain.pending_block()
        return chain.block_at(0) if ref.tag == "earliest" else chain.head

    def _block(self, block: Any) -> Block:
        if (found := self._find(block)) is None:
            raise RpcError(wire.SERVER_ERROR, f"header not found: there is no block {wire.shown(block)}")
        return found

    def _state(self, block: Any) -> PragueState:
        return self._chain.state_after(self._block(block))

    def get_block_by_number(self, block: Any, full: Any = False) -> dict[str, Any] | None:
        """eth_getBlockByNumber; safe and finalized are the latest: a development chain finalises at once."""
        found = self._find(block)
        return block_answer(found, full=full is True, pending=block == "pending") if found else None

    def get_block_by_hash(self, block_hash: Any, full: Any = False) -> dict[str, Any] | None:
        """eth_getBlockByHash, for blocks of the canonical chain."""
        found = self._chain.block_by_hash(wire.hash32(block_hash))
        return block_answer(found, full=full is True) if found else None

    def get_block_receipts(self, block: Any) -> list[dict[str, Any]] | None:
        """eth_getBlockReceipts."""
        if (found := self._find(block)) is None:
            return None
        return [receipt_answer(found, receipt) for receipt in found.receipts]

    def fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        """eth_feeHistory; rewards by gas-weighted percentile of the tips paid."""
        last = self._block(newest).number
        wanted = min(max(wire.quantity(count, "block count"), 0), MOST_FEE_HISTORY, last + 1)
        blocks = [
            self._chain.pending_block() if n > self._chain.head.number else self._block(n)
            for n in range(last + 1 - wanted, last + 1)
        ]
        after = [blocks[-1].header.next_base_fee()] if blocks else []
        shown: dict[str, Any] = {
            "oldestBlock": to_hex(last + 1 - wanted),
            "baseFeePerGas": [to_hex(fee) for fee in [*(block.base_fee for block in blocks), *after]],
            "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in blocks],
            "baseFeePerBlobGas": ["0x1"] * (len(blocks) + len(after)),
            "blobGasUsedRatio": [0.0] * len(blocks),
        }
        if percentiles:
            marks = _percentiles(percentiles)
            shown["reward"] = [[to_hex(tip) for tip in _rewards(block, marks)] for block in blocks]
        return shown

    # --- transactions and events ---

    def get_transaction(self, transaction_hash: Any) -> dict[str, Any] | None:
        """eth_getTransactionByHash, pending ones included."""
        wanted = wire.hash32(transaction_hash)
        if place := self._chain.place_of(wanted):
            return transaction_answer(place[1].pooled, *place)
        pooled = self._chain.mempool.get(wanted)
        return transaction_answer(pooled) if pooled else None

    def get_receipt(self, transaction_hash: Any) -> dict[str, Any] | None:
        """eth_getTransactionReceipt."""
        place = self._chain.place_of(wire.hash32(transaction_hash))
        return receipt_answer(*place) if place else None

    def get_logs(self, wanted: Any) -> list[dict[str, Any]]:
        """eth_getLogs by address, topics, and a block range or a block hash."""
        named = wire.fields(wanted, "filter", {"address", "topics", "fromBlock", "toBlock", "blockHash"})
        if "blockHash" in named:
            if "fromBlock" in named or "toBlock" in named:
                raise invalid("filter: give either blockHash or fromBlock and toBlock")
            first = last = self._block({"blockHash": named["blockHash"]}).number
        else:
            first, last = self._edge(named.get("fromBlock")), self._edge(named.get("toBlock"))
            if first > last:
                raise invalid(f"filter: fromBlock {first} is above toBlock {last}")
        logs = self._chain.find_logs(_log_filter(named), first, last)
        return [log_answer(placed, self._block(placed.block_number)) for placed in logs]

    def _edge(self, block: Any) -> int:
        ref = wire.block_ref(block, hashes=False)
        if ref.number is not None:
            return ref.number
        return 0 if ref.tag == "earliest" else self._chain.head.number

    # --- state ---

    def get_transaction_count(self, address: Any, block: Any = None) -> str:
        """eth_getTransactionCount; at "pending", what waits in the mempool without a gap counts too."""
        sender = wire.address(address)
        if block == "pending":
            nonce = self._chain.state_after(self._chain.head).get_nonce(Address(sender))
            return to_hex(self._chain.mempool.next_nonce(sender, nonce))
        return to_hex(self._state(block).get_nonce(Address(sender)))

    def get_balance(self, address: Any, block: Any = None) -> str:
        """eth_getBalance, in wei."""
        return to_hex(self._state(block).get_balance(Address(wire.address(address))))

    def get_code(self, address: Any, block: Any = None) -> str:
        """eth_getCode."""
        return to_hex(self._state(block).get_code(Address(wire.address(address))))

    def get_storage(self, address: Any, slot: Any, block: Any = None) -> str:
        """eth_getStorageAt: 32 bytes."""
        value = self._state(block).get_storage(Address(wire.address(address)), wire.slot(slot))
        return to_hex(value.to_bytes(32, "big"))

    def call_contract(self, transaction: Any, block: Any = None) -> str:
        """eth_call on the state after any block that is kept; a revert is error 3 with its data."""
        outcome = self._chain.execution_after(self._block(block)).call(_call(transaction))
        if failure := outcome.failure():
            raise failure
        return to_hex(outcome.output)

    def estimate_gas(self, transaction: Any, block: Any = None) -> str:
        """eth_estimateGas, enough also for what is passed on to nested calls."""
        return to_hex(self._chain.execution_after(self._block(block)).estimate(_call(transaction)))

    # --- driving the chain, by anvil's names ---

    def evm_mine(self, options: Any = None) -> str:
        """evm_mine: one block now, at a timestamp if given; or {"timestamp", "blocks"}."""
        if not isinstance(options, dict):
            options = {"timestamp": options}
        named = wire.fields(options, "options", {"timestamp", "blocks"})
        timestamp = wire.quantity(named["timestamp"], "timestamp") if "timestamp" in named else None
        self._chain.mine(wire.quantity(named.get("blocks", 1), "blocks"), timestamp=timestamp)
        return "0x0"

    def anvil_mine(self, count: Any = 1, interval: Any = None) -> None:
        """anvil_mine: `count` blocks now, `interval` seconds apart."""
        apart = None if interval is None else wire.quantity(interval, "interval")
        self._chain.mine(wire.quantity(1 if count is None else count, "blocks"), interval=apart)

    def set_next_timestamp(self, timestamp: Any) -> None:
        """evm_setNextBlockTimestamp, in unix seconds."""
        self._chain.set_next_timestamp(wire.quantity(timestamp, "timestamp"))

    def set_balance(self, address: Any, wei: Any) -> None:
        """anvil_setBalance."""
        self._chain.set_balance(wire.address(address), wire.quantity(wei, "balance"))

    def reorganise(self, depth: Any, transactions: Any = ()) -> None:
        """anvil_reorg: the last `depth` blocks are replaced by empty ones."""
        if isinstance(depth, dict):
            named = wire.fields(depth, "options", {"depth", "tx_block_pairs"})
            depth, transactions = named.get("depth"), named.get("tx_block_pairs", ())
        if transactions:
            raise invalid("anvil_reorg: transactions for the new blocks are not supported; send them afterwards")
        self._chain.reorganise(wire.quantity(depth, "depth"))


def _call(transaction: Any) -> Call:
    named = wire.fields(transaction, "transaction", CALL_FIELDS)
    if "data" in named and "input" in named and named["data"] != named["input"]:
        raise invalid('transaction: "data" and "input" differ; give one of them')
    if "gasPrice" in named and ("maxFeePerGas" in named or "maxPriorityFeePerGas" in named):
        raise invalid("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    max_fee = wire.quantity(named.get("maxFeePerGas", named.get("gasPrice", 0)), "maxFeePerGas")
    max_tip = wire.quantity(named.get("maxPriorityFeePerGas", named.get("gasPrice", 0)), "maxPriorityFeePerGas")
    if max_tip > max_fee:
        raise invalid("max priority fee per gas higher than max fee per gas")
    return Call(
        sender=wire.address(named.get("from", "0x" + "00" * 20), "from"),
        to=wire.address(named["to"], "to") if "to" in named else b"",
        value=wire.quantity(named.get("value", 0), "value"),
        data=wire.data(named.get("input", named.get("data", "0x")), "data"),
        gas=min(wire.quantity(named.get("gas", CALL_GAS), "gas"), CALL_GAS),
        max_fee_per_gas=max_fee,
        max_priority_fee_per_gas=max_tip,
        access_list=_access_list(named.get("accessList", [])),
    )


def _access_list(entries: Any) -> list[tuple[Address, list[int]]]:
    found = []
    for entry in _list(entries, "accessList"):
        named = wire.fields(entry, "accessList", {"address", "storageKeys"})
        keys = _list(named.get("storageKeys", []), "storageKeys")
        found.append(
            (Address(wire.address(named.get("address"))), [int.from_bytes(wire.hash32(key), "big") for key in keys])
        )
    return found


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid(f"{name}: {wire.shown(value)} is no list")
    return value


def _log_filter(named: dict[str, Any]) -> LogFilter:
    given = named.get("address", [])
    addresses = frozenset(wire.address(one) for one in (given if isinstance(given, list) else [given]))
    topics: list[frozenset[bytes] | None] = []
    for position in _list(named.get("topics", []), "topics"):
        choices = position if isinstance(position, list) else [position]
        any_will_do = not choices or None in choices
        topics.append(None if any_will_do else frozenset(wire.hash32(topic, "topic") for topic in choices))
    if len(topics) > 4:
        raise invalid(f"filter: {len(topics)} topics where an event has at most 4")
    return LogFilter(addresses, tuple(topics))


def _percentiles(given: Any) -> list[float]:
    marks = _list(given, "reward percentiles")
    if not all(isinstance(mark, int | float) and 0 <= mark <= 100 for mark in marks) or sorted(marks) != marks:
        raise invalid("reward percentiles: give rising numbers from 0 to 100")
    return [float(mark) for mark in marks[:100]]


def _rewards(block: Block, marks: list[float]) -> list[int]:
    paid = sorted((receipt.gas_price - block.base_fee, receipt.gas_used) for receipt in block.receipts)
    if not paid:
        return [0] * len(marks)
    rewards, at, gas = [], 0, paid[0][1]
    for mark in marks:
        while gas < block.header.gas_used * mark / 100 and at < len(paid) - 1:
            at += 1
            gas += paid[at][1]
        rewards.append(paid[at][0])
    return rewards
