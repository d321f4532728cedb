"""Blocks, transactions, receipts and events in the form JSON-RPC gives them."""

from __future__ import annotations

from typing import Any

from coordinator.devnet.block import Block, Receipt
from coordinator.devnet.log_index import PlacedLog
from coordinator.devnet.mempool import Pooled
from coordinator.devnet.wire import to_hex


def block_answer(block: Block, *, full: bool, pending: bool = False) -> dict[str, Any]:
    """A block with every header field: rlp of them in order, hashed, is its hash."""
    header = block.header
    transactions: list[Any] = [
        transaction_answer(receipt.pooled, block, receipt) if full else to_hex(receipt.pooled.hash)
        for receipt in block.receipts
    ]
    return {
        "hash": None if pending else to_hex(block.hash),
        "parentHash": to_hex(header.parent_hash),
        "sha3Uncles": to_hex(header.uncles_hash),
        "miner": to_hex(header.coinbase),
        "stateRoot": to_hex(header.state_root),
        "transactionsRoot": to_hex(header.transactions_root),
        "receiptsRoot": to_hex(header.receipts_root),
        "logsBloom": to_hex(header.logs_bloom),
        "difficulty": to_hex(header.difficulty),
        "number": to_hex(header.number),
        "gasLimit": to_hex(header.gas_limit),
        "gasUsed": to_hex(header.gas_used),
        "timestamp": to_hex(header.timestamp),
        "extraData": to_hex(header.extra_data),
        "mixHash": to_hex(header.prevrandao),
        "nonce": None if pending else to_hex(header.nonce),
        "baseFeePerGas": to_hex(header.base_fee),
        "withdrawalsRoot": to_hex(header.withdrawals_root),
        "blobGasUsed": to_hex(header.blob_gas_used),
        "excessBlobGas": to_hex(header.excess_blob_gas),
        "parentBeaconBlockRoot": to_hex(header.parent_beacon_block_root),
        "requestsHash": to_hex(header.requests_hash),
        "totalDifficulty": "0x0",
        "size": to_hex(block.size),
        "transactions": transactions,
        "uncles": [],
        "withdrawals": [],
    }


def transaction_answer(pooled: Pooled, block: Block | None = None, receipt: Receipt | None = None) -> dict[str, Any]:
    """A transaction, with its place if it is in a block."""
    transaction, chain_id = pooled.transaction, pooled.transaction.chain_id or 0
    shown: dict[str, Any] = {
        "hash": to_hex(pooled.hash),
        "type": to_hex(pooled.type_id),
        "chainId": to_hex(chain_id),
        "nonce": to_hex(pooled.nonce),
        "from": to_hex(pooled.sender),
        "to": to_hex(transaction.to) if transaction.to else None,
        "value": to_hex(transaction.value),
        "gas": to_hex(transaction.gas),
        "gasPrice": to_hex(receipt.gas_price if receipt else pooled.max_fee),
        "input": to_hex(transaction.data),
        "r": to_hex(transaction.r),
        "s": to_hex(transaction.s),
        "v": to_hex(transaction.y_parity if pooled.type_id else 35 + 2 * chain_id + transaction.y_parity),
        "blockHash": to_hex(block.hash) if block else None,
        "blockNumber": to_hex(block.number) if block else None,
        "transactionIndex": to_hex(receipt.index) if receipt else None,
    }
    if pooled.type_id:
        shown["yParity"] = to_hex(transaction.y_parity)
        shown["accessList"] = [
            {"address": to_hex(address), "storageKeys": [to_hex(slot.to_bytes(32, "big")) for slot in slots]}
            for address, slots in transaction.access_list
        ]
    if pooled.type_id == 2:
        shown["maxFeePerGas"] = to_hex(pooled.max_fee)
        shown["maxPriorityFeePerGas"] = to_hex(pooled.max_tip)
    return shown


def receipt_answer(block: Block, receipt: Receipt) -> dict[str, Any]:
    """A receipt with its events."""
    pooled = receipt.pooled
    logs = [log_answer(placed, block) for placed in block.placed_logs() if placed.transaction_index == receipt.index]
    return {
        "transactionHash": to_hex(pooled.hash),
        "transactionIndex": to_hex(receipt.index),
        "blockHash": to_hex(block.hash),
        "blockNumber": to_hex(block.number),
        "from": to_hex(pooled.sender),
        "to": to_hex(pooled.transaction.to) if pooled.transaction.to else None,
        "contractAddress": to_hex(receipt.contract) if receipt.contract else None,
        "cumulativeGasUsed": to_hex(receipt.cumulative_gas_used),
        "gasUsed": to_hex(receipt.gas_used),
        "effectiveGasPrice": to_hex(receipt.gas_price),
        "logs": logs,
        "logsBloom": to_hex(receipt.bloom.to_bytes(256, "big")),
        "status": "0x1" if receipt.succeeded else "0x0",
        "type": to_hex(pooled.type_id),
    }


def log_answer(placed: PlacedLog, block: Block) -> dict[str, Any]:
    """An event and its place. `removed` is always false: compare block hashes to see a reorganisation."""
    return {
        "address": to_hex(placed.entry.address),
        "topics": [to_hex(topic) for topic in placed.entry.topics],
        "data": to_hex(placed.entry.data),
        "blockNumber": to_hex(placed.block_number),
        "blockHash": to_hex(placed.block_hash),
        "blockTimestamp": to_hex(block.timestamp),
        "transactionHash": to_hex(placed.transaction_hash),
        "transactionIndex": to_hex(placed.transaction_index),
        "logIndex": to_hex(placed.index),
        "removed": False,
    }
