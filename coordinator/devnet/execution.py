"""Execution on py-evm (Prague rules): a block's transactions, calls that leave no trace, gas estimates.

Not deployed here: the beacon-root and block-hash system contracts (EIP-4788, EIP-2935), which nothing of ours reads
and which would make every empty block write. The BLOCKHASH opcode answers for the last 256 blocks as everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import rlp
from eth.abc import ComputationAPI, SignedTransactionAPI
from eth.constants import BLANK_ROOT_HASH, EMPTY_SHA3
from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.exceptions import OutOfGas, Revert, VMError
from eth.rlp.accounts import Account
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.berlin.transactions import calculate_txn_intrinsic_gas_berlin
from eth.vm.forks.prague.state import PragueState, PragueTransactionExecutor
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_typing import Address, BlockNumber, Hash32

from coordinator.devnet.header import Header
from coordinator.devnet.wire import EXECUTION_REVERTED, SERVER_ERROR, RpcError, to_hex

log = logging.getLogger(__name__)

TRANSACTION_GAS_CAP = 1 << 24  # EIP-7825
LONGEST_INITCODE = 49_152  # EIP-3860
FLOOR_PER_TOKEN = 10  # EIP-7623
STIPEND = 2_300
ESTIMATE_SLACK = 50  # an estimate is at most 1/50 above what the transaction needs


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event: address 20 bytes, up to four topics of 32 bytes, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an execution did. `gas_used` is what is paid for; `gas_peak` is that before refunds."""

    gas_used: int
    gas_peak: int
    output: bytes
    error: VMError | None
    logs: tuple[LogEntry, ...]
    contract: bytes | None

    def failure(self) -> RpcError | None:
        """The JSON-RPC error that geth would give for this outcome; None for a success."""
        if self.error is None:
            return None
        if isinstance(self.error, Revert):
            return RpcError(EXECUTION_REVERTED, "execution reverted" + _reason(self.output), to_hex(self.output))
        if isinstance(self.error, OutOfGas):
            return RpcError(SERVER_ERROR, "out of gas")
        return RpcError(SERVER_ERROR, f"{_words(type(self.error).__name__)}: {self.error}"[:300])


@dataclass(frozen=True, slots=True)
class Call:
    """A transaction without a signature, executed and forgotten. Fees in wei for a unit of gas; both 0: free of charge."""

    sender: bytes
    to: bytes
    value: int
    data: bytes
    gas: int
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0
    access_list: Sequence[tuple[Address, Sequence[int]]] = ()
    type_id: int = 2

    @property
    def intrinsic_gas(self) -> int:
        """Gas that is owed before the first opcode."""
        return calculate_txn_intrinsic_gas_berlin(cast(Any, self))


def least_gas(transaction: SignedTransactionAPI | Call) -> int:
    """The smallest gas limit that rules allow: intrinsic gas, initcode words, and the floor of EIP-7623."""
    intrinsic = calculate_txn_intrinsic_gas_berlin(cast(Any, transaction))
    if not transaction.to:
        intrinsic += 2 * ((len(transaction.data) + 31) // 32)
    zeros = transaction.data.count(0)
    return max(intrinsic, 21_000 + FLOOR_PER_TOKEN * (zeros + 4 * (len(transaction.data) - zeros)))


class _CallExecutor(PragueTransactionExecutor):
    def validate_transaction(self, transaction: SignedTransactionAPI) -> None:
        """Nothing: a call has neither nonce nor signature; funds and gas are checked by `Execution.call`."""


class _CallState(PragueState):
    transaction_executor_class = _CallExecutor


class StateStore:
    """Every state the chain has had, as trie nodes and code by hash, in memory."""

    def __init__(self) -> None:
        self._nodes: dict[bytes, bytes] = {}
        self.db = AtomicDB(MemoryDB(self._nodes))

    def __len__(self) -> int:
        return len(self._nodes)

    def holds(self, root: bytes) -> bool:
        """Is the state with this root still here? Then all of it is."""
        return root == BLANK_ROOT_HASH or root in self._nodes

    def sweep(self, roots: Iterable[bytes]) -> None:
        """Forget every node that none of the state `roots` reaches. O(nodes reached)."""
        reached: set[bytes] = set()
        for root in roots:
            self._mark(root, reached, accounts=True)
        for key in self._nodes.keys() - reached:
            del self._nodes[key]

    def _mark(self, root: bytes, reached: set[bytes], *, accounts: bool) -> None:
        waiting = [root]
        while waiting:
            key = waiting.pop()
            if key == BLANK_ROOT_HASH or key in reached:
                continue
            reached.add(key)
            nodes = [rlp.decode(self._nodes[key])]
            while nodes:
                self._children(nodes.pop(), nodes, waiting, reached, accounts=accounts)

    def _children(
        self, node: Any, nodes: list[Any], waiting: list[bytes], reached: set[bytes], *, accounts: bool
    ) -> None:
        if len(node) == 17:
            children, leaf = node[:16], node[16]
        elif node[0][0] & 0x20:  # the flag of a leaf in the hex prefix
            children, leaf = [], node[1]
        else:
            children, leaf = [node[1]], b""
        for child in children:
            if isinstance(child, list):  # shorter than 32 bytes: embedded
                nodes.append(child)
            elif child:
                waiting.append(child)
        if leaf and accounts:
            account = rlp.decode(leaf, sedes=Account)
            if account.code_hash != EMPTY_SHA3:
                reached.add(account.code_hash)
            self._mark(account.storage_root, reached, accounts=False)


class Execution:
    """The EVM at one state and one block context. Not thread-safe, like everything in py-evm."""

    def __init__(self, store: StateStore, header: Header, root: bytes, hashes: Iterable[bytes], chain_id: int) -> None:
        self._store = store
        self._header = header
        self._root = root
        self._hashes = hashes
        self._chain_id = chain_id
        self.state = self._open(PragueState, header.base_fee)

    def _open(self, kind: type[PragueState], base_fee: int) -> PragueState:
        header = self._header
        context = ExecutionContext(
            coinbase=Address(header.coinbase),
            timestamp=header.timestamp,
            block_number=BlockNumber(header.number),
            difficulty=0,
            mix_hash=Hash32(header.prevrandao),
            gas_limit=header.gas_limit,
            prev_hashes=cast(Iterable[Hash32], self._hashes),
            chain_id=self._chain_id,
            base_fee_per_gas=base_fee,
            excess_blob_gas=0,
        )
        return kind(self._store.db, context, Hash32(self._root))

    def apply(self, transaction: SignedTransactionAPI) -> Outcome:
        """Execute a block's next transaction. Raises eth_utils.ValidationError, the state unchanged, if it is invalid."""
        self.state.lock_changes()
        before = self.state.snapshot()
        try:
            outcome = _outcome(transaction, self.state.apply_transaction(transaction))
        except BaseException:
            self.state.revert(before)
            raise
        self.state.commit(before)
        return outcome

    def persist(self) -> bytes:
        """Write what was executed into the store; the new state root."""
        self.state.persist()
        return self.state.state_root

    def call(self, call: Call) -> Outcome:
        """Execute on a copy. A free call sees a base fee of 0, as with geth. Raises RpcError for what geth refuses."""
        base_fee = self._header.base_fee if call.max_fee_per_gas else 0
        state = self._open(_CallState, base_fee)
        if call.max_fee_per_gas < base_fee:
            raise RpcError(
                SERVER_ERROR,
                f"max fee per gas less than block base fee: maxFeePerGas: {call.max_fee_per_gas}, baseFee: {base_fee}",
            )
        balance, needs = state.get_balance(Address(call.sender)), call.value + call.gas * call.max_fee_per_gas
        if balance < needs:
            raise insufficient_funds(call.sender, balance, needs)
        if call.gas < (least := least_gas(call)):
            raise RpcError(SERVER_ERROR, f"intrinsic gas too low: have {call.gas}, want {least}")
        if not call.to and len(call.data) > LONGEST_INITCODE:
            raise initcode_too_long(len(call.data))
        transaction = cast(SignedTransactionAPI, call)
        return _outcome(transaction, state.apply_transaction(transaction))

    def estimate(self, call: Call) -> int:
        """The gas limit the call needs, at most 1/50 too much; `call.gas` is the most to try. Raises RpcError."""
        most = min(call.gas, TRANSACTION_GAS_CAP, self._header.gas_limit)
        if call.max_fee_per_gas:
            spare = max(self.state.get_balance(Address(call.sender)) - call.value, 0)
            most = min(most, spare // call.max_fee_per_gas)
        outcome = self.call(replace(call, gas=most))
        if isinstance(outcome.error, OutOfGas):
            raise RpcError(SERVER_ERROR, f"gas required exceeds allowance ({most})")
        if failure := outcome.failure():
            raise failure
        # a nested call gets 63/64 of what is left, so what was used may not be enough to be given
        enough, too_little = most, max(outcome.gas_used, least_gas(call)) - 1
        guess = max((outcome.gas_peak + STIPEND) * 64 // 63, too_little + 1)
        while guess < enough:
            if self.call(replace(call, gas=guess)).error is None:
                enough = guess
            else:
                too_little = guess
            if (enough - too_little) * ESTIMATE_SLACK <= enough:
                break
            guess = min((enough + too_little) // 2, 2 * too_little)
        return enough


def insufficient_funds(sender: bytes, has: int, needs: int) -> RpcError:
    """geth's words for an account that cannot pay."""
    return RpcError(
        SERVER_ERROR,
        f"insufficient funds for gas * price + value: address {to_hex(sender)} have {has} want {needs}",
    )


def initcode_too_long(length: int) -> RpcError:
    """geth's words for a deployment over the limit of EIP-3860."""
    return RpcError(SERVER_ERROR, f"max initcode size exceeded: code size {length} limit {LONGEST_INITCODE}")


def missing_state(number: int) -> RpcError:
    """A block whose state has been swept away."""
    return RpcError(SERVER_ERROR, f"the state of block {number} is no longer kept; only recent blocks can be asked")


def _outcome(transaction: SignedTransactionAPI, computation: ComputationAPI) -> Outcome:
    # reckoned here: py-evm's own figure is too low where a refund meets the calldata floor
    peak = transaction.gas - computation.get_gas_remaining()
    refund = min(computation.get_gas_refund(), peak // 5)
    failed = computation.is_error
    logs = tuple(
        LogEntry(address, tuple(topic.to_bytes(32, "big") for topic in topics), data)
        for address, topics, data in computation.get_log_entries()
    )
    return Outcome(
        gas_used=peak - refund + computation.data_floor_gas,
        gas_peak=peak,
        output=bytes(computation.output),
        error=computation.error if failed else None,
        logs=logs,
        contract=bytes(computation.msg.storage_address) if computation.msg.is_create and not failed else None,
    )


def _reason(output: bytes) -> str:
    """The text of Error(string), where the revert data is one; whoever wrote the contract chose it."""
    if output[:4] != bytes.fromhex("08c379a0"):
        return ""
    try:
        (reason,) = decode(["string"], output[4:])
    except (DecodingError, UnicodeDecodeError, OverflowError):
        return ""
    return f": {reason[:1000]}"


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
