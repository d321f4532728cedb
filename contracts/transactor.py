"""Simulate, nonce, fees, sign, send, wait, replace: the only place that sends a transaction.

    transactor = Transactor("http://127.0.0.1:8545", account, chain_id=31337)
    receipt = transactor.send(oracle.functions.commit(...), deadline=job.commit_deadline)

A call is simulated first: what would revert raises its typed error (contracts.errors) and nothing is sent, so
repeating a duty that is already done costs nothing. A transaction takes the first nonce that no block has used:
what an earlier life left in the mempool gets time to land and is then replaced. The same call sent again takes up where it
was left, under the same nonce; another one, where the fee ceiling forbids to replace what is stuck, is queued behind it. One
Transactor for each key, one send at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.exceptions import TransactionIndexingInProgress, TransactionNotFound
from web3.types import BlockIdentifier, TxReceipt

from contracts.endpoint import NOWHERE, Call, ChainError, ChainUnreachable, Endpoint, Rejected, Sendable, call_of
from contracts.errors import Reverted
from contracts.fees import GWEI, Ceiling, Fees, Market, offer, raised
from contracts.keystore import account_of

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a send starts over after another process used its nonce."""
WINDOW = 16
"""Transactions of one sender in flight at a time: nodes promise to keep no more."""
SPARE_GAS = 100_000
"""Gas allowed beyond the margin: nodes estimate as if in the latest block, and storage that is warm or already written there
can be new in the next one (a checkpoint of stake, say). What is not used is not paid."""
TRANSACTION_GAS_CAP = 16_777_216
"""Most gas that one transaction may have (EIP-7825)."""
REPLICA_LAG = 5.0
"""Seconds that a node may know a nonce as used before it serves the receipt."""

Receipt: TypeAlias = TxReceipt


class NoKey(ChainError):
    """The simulation passes, but there is no key to sign with: a dry run ends here."""

    def __init__(self, call: Call) -> None:
        super().__init__(f"dry run: {call} would succeed now; nothing was sent, because no key is loaded")
        self.call = call


class NotEnoughFunds(ChainError):
    """The wallet cannot pay value and gas (amounts in wei); nothing was sent."""

    def __init__(self, address: ChecksumAddress, has: int, needs: int) -> None:
        super().__init__(
            f"{address} has {_ether(has)} and needs {_ether(needs)} (value and gas at the highest fee allowed): "
            f"send it {_ether(needs - has)} more"
        )
        self.address = address
        self.has = has
        self.needs = needs


class FeeAboveCeiling(ChainError):
    """Gas costs more than the ceiling allows (wei per gas)."""

    def __init__(self, needs: int, ceiling: int) -> None:
        super().__init__(
            f"gas needs {needs / GWEI:g} gwei, the ceiling is {ceiling / GWEI:g} gwei: wait, or raise the ceiling"
        )
        self.needs = needs
        self.ceiling = ceiling


class DeadlinePassed(ChainError):
    """The chain's clock is past the deadline (unix seconds); nothing was sent."""

    def __init__(self, deadline: int, now: int) -> None:
        super().__init__(f"the deadline {deadline} has passed, the chain is at {now}: nothing was sent")
        self.deadline = deadline
        self.now = now


class NotMined(ChainError):
    """No block took the transaction in time. It may still land: simulate or send again, which replaces it."""

    def __init__(self, nonce: int, hashes: Sequence[HexBytes], waited: float) -> None:
        sent = ", ".join(one.to_0x_hex() for one in hashes)
        super().__init__(f"nonce {nonce} is in no block after {waited:.0f} s (sent as {sent}); it may still land")
        self.nonce = nonce
        self.hashes = tuple(hashes)


class Reorganised(ChainError):
    """The block that held a transaction is no more part of the chain, and no other holds it."""

    def __init__(self, transaction: HexBytes, block: int) -> None:
        super().__init__(
            f"{transaction.to_0x_hex()} was in block {block}, which a reorganisation took away: look at the chain, then "
            "send again"
        )
        self.transaction = transaction
        self.block = block


class NonceTaken(ChainError):
    """Another transaction of the same key used this nonce: something else sends with this key."""

    def __init__(self, address: ChecksumAddress, nonce: int) -> None:
        super().__init__(
            f"nonce {nonce} of {address} was used by another transaction: let only one process send with a key"
        )
        self.address = address
        self.nonce = nonce


class TransactionFailed(ChainError):
    """It failed in its block, though the same call passes after that block: out of gas, or another came first."""

    def __init__(self, receipt: Receipt, gas_limit: int) -> None:
        super().__init__(
            f"{receipt['transactionHash'].to_0x_hex()} failed in block {receipt['blockNumber']}: it used "
            f"{receipt['gasUsed']} of {gas_limit} gas"
        )
        self.receipt = receipt
        self.gas_limit = gas_limit


class PartlySent(ChainError):
    """Not every call of a batch went through; `outcomes` has a receipt or an error for each call, in order."""

    def __init__(self, outcomes: Sequence[Receipt | Exception]) -> None:
        failed = [(i, one) for i, one in enumerate(outcomes) if isinstance(one, Exception)]
        super().__init__(
            f"{len(failed)} of {len(outcomes)} calls failed, the first is call {failed[0][0]}: {failed[0][1]}"
        )
        self.outcomes = tuple(outcomes)


@dataclass(slots=True)
class _Flight:
    """A call under one nonce, and each transaction that was sent for it."""

    call: Call
    nonce: int
    gas: int
    tip: int
    max_fee: int
    ceiling: Ceiling
    hashes: list[HexBytes] = field(default_factory=list)
    taken_since: float | None = None


class _Occupied(ChainError):
    """Another call of ours is stuck at the nonce, and the ceiling forbids to replace it."""


def cost(receipt: Receipt) -> int:
    """What a transaction's gas cost its sender, in wei."""
    return receipt["gasUsed"] * receipt["effectiveGasPrice"]


class Transactor:
    """Sends with one key, or with none: then `send` simulates as `sender` and raises NoKey.

    `stuck_after`: seconds without a block before a transaction is replaced; `patience`: seconds to wait for a block at
    most, also where a send's deadline is further away: what is stuck shall not hold up what is due next; `on_landed`: told of
    each transaction that a block holds, failed ones too. Besides what each method names, all raise ChainUnreachable,
    WrongChain, NodesDisagree and Rejected.
    """

    def __init__(
        self,
        endpoint: str | Web3 | Endpoint,
        account: LocalAccount | str | bytes | None = None,
        *,
        chain_id: int | None = None,
        sender: ChecksumAddress = NOWHERE,
        fees: Fees | None = None,
        stuck_after: float = 30.0,
        patience: float = 600.0,
        on_landed: Callable[[Call, Receipt], None] | None = None,
    ) -> None:
        self.endpoint = endpoint if isinstance(endpoint, Endpoint) else Endpoint(endpoint, chain_id=chain_id)
        self._account = account_of(account) if isinstance(account, str | bytes) else account
        self.sender: ChecksumAddress = self._account.address if self._account else sender
        self.fees = fees or Fees()
        self.stuck_after = stuck_after
        self.patience = patience
        self._on_landed = on_landed
        self._afloat: dict[int, _Flight] = {}
        """What was sent and not yet seen in a block, by nonce."""
        self._one_at_a_time = threading.Lock()

    def __repr__(self) -> str:
        return f"Transactor({self.endpoint.shown}, {self.sender}{'' if self._account else ', no key'})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Transactor holds a key: it does not leave its process")

    @property
    def web3(self) -> Web3:
        """The connection, to make contract objects with."""
        return self.endpoint.web3

    def simulate(self, what: Sendable, *, value: int | None = None, block: BlockIdentifier = "latest") -> bytes:
        """What the call would return to this sender. Raises errors.Reverted, NoContract, NotEnoughFunds."""
        call = call_of(what, value)
        if call.value and self._account and block == "latest":
            self._require_funds(call.value)
        return self.endpoint.simulate(call, self.sender, block)

    def read(self, function: ContractFunction, block: BlockIdentifier = "latest") -> Any:
        """The decoded result of a view function. Raises errors.Reverted, NoContract."""
        return self.endpoint.read(function, block)

    def balance(self) -> int:
        """The sender's balance in wei."""
        return int(self.endpoint.ask("eth_getBalance", self.sender, "latest"), 16)

    def send(
        self,
        what: Sendable,
        *,
        value: int | None = None,
        gas_margin: float = 1.2,
        deadline: int | None = None,
        urgent: bool = False,
        keep: int = 0,
    ) -> Receipt:
        """Simulate, send and wait until a block holds it; the receipt's status is 1.

        `value` in wei; `deadline` in unix seconds of the chain's clock; the gas limit is the estimate × `gas_margin`,
        plus SPARE_GAS; `urgent`: up to fees.urgent_ceiling as the deadline comes near, and over whatever is stuck before it;
        `keep`: wei that must be left in the wallet, whatever this costs.
        Raises errors.Reverted (`receipt` is None if nothing was sent, else the failed one), NoContract, NoKey,
        NotEnoughFunds, FeeAboveCeiling, DeadlinePassed, NotMined, NonceTaken, TransactionFailed.
        """
        call = call_of(what, value)
        ceiling = self.fees.ceiling_of(urgent=urgent, deadline=deadline)
        taken, behind = 0, 0
        with self._one_at_a_time:
            while True:
                try:
                    if (landed := self._landed_meanwhile(call)) is not None:
                        return landed
                    (flight,), until = self._prepare([call], gas_margin, deadline, ceiling, keep=keep, behind=behind)
                    self._broadcast(flight)
                    return self._land(flight, until)
                except _Occupied:
                    behind += 1
                except NonceTaken:
                    taken, behind = taken + 1, 0
                    if taken == ATTEMPTS:
                        raise

    def confirm(self, receipt: Receipt, depth: int, *, patience: float | None = None) -> Receipt:
        """Wait until the transaction's block has `depth` blocks on top; its receipt then, which may be of another block.

        Raises Reorganised if no block holds it any more, NotMined if that takes longer than `patience` seconds.
        """
        sent, began = receipt["transactionHash"], time.monotonic()
        wait = self.patience if patience is None else patience
        while True:
            found = self._receipt(sent)
            head = int(self.endpoint.ask("eth_blockNumber"), 16)
            if found is not None and head >= found["blockNumber"] + depth:
                return found
            waited = time.monotonic() - began
            if found is None and waited > REPLICA_LAG:
                raise Reorganised(sent, receipt["blockNumber"])
            if waited > wait:
                raise NotMined(self._nonce("latest"), [sent], waited)
            time.sleep(_pause(waited))

    def send_many(
        self, calls: Sequence[Sendable], *, gas_margin: float = 1.2, deadline: int | None = None
    ) -> list[Receipt]:
        """Send independent calls under consecutive nonces, not waiting in between; receipts in order, all of status 1.

        All are simulated on the same state before the first is sent: if one would revert, nothing is sent and its error
        (with a note of its position) is raised. Raises PartlySent if one fails later, and what `send` raises.
        """
        with self._one_at_a_time:
            ceiling = self.fees.ceiling_of(urgent=False, deadline=deadline)
            flights, until = self._prepare([call_of(call) for call in calls], gas_margin, deadline, ceiling)
            outcomes: list[Receipt | Exception] = []
            launched, stopped = 0, None
            while len(outcomes) < len(flights):
                if stopped is None and launched < min(len(outcomes) + WINDOW, len(flights)):
                    try:
                        self._broadcast(flights[launched])
                        launched += 1
                    except ChainError as error:
                        stopped = error
                elif len(outcomes) < launched:
                    outcomes.append(self._outcome(flights[len(outcomes)], until))
                else:
                    assert stopped is not None
                    outcomes.append(stopped)
        receipts = [one for one in outcomes if not isinstance(one, Exception)]
        if len(receipts) < len(outcomes):
            raise PartlySent(outcomes)
        return receipts

    def _prepare(
        self,
        calls: list[Call],
        gas_margin: float,
        deadline: int | None,
        ceiling: Ceiling,
        *,
        keep: int = 0,
        behind: int = 0,
    ) -> tuple[list[_Flight], float]:
        """Everything that can fail before something is sent; the flights, and the monotonic time to give up at."""
        began = time.monotonic()
        market = self._market(ceiling)
        if deadline is not None and market.timestamp >= deadline:
            raise DeadlinePassed(deadline, market.timestamp)
        until = began + (self.patience if deadline is None else min(self.patience, deadline - market.timestamp))
        nonce = self._free_nonce(until) + behind if self._account else 0
        if value := sum(call.value for call in calls):
            self._require_funds(value + keep)
        flights = []
        for position, call in enumerate(calls):
            with _position(position, len(calls)):
                self.endpoint.simulate(call, self.sender)
                if self._account is None:
                    continue
                needs = self.endpoint.estimate_gas(call, self.sender)
            gas = max(needs, min(int(needs * gas_margin) + SPARE_GAS, market.gas_limit, TRANSACTION_GAS_CAP))
            flights.append(self._flight(call, nonce + position, gas, market, ceiling))
        if self._account is None and calls:
            raise NoKey(calls[0])
        if market.is_too_dear:
            raise FeeAboveCeiling(market.base_fee + market.tip, market.ceiling)
        self._require_funds(keep + sum(flight.call.value + flight.gas * flight.max_fee for flight in flights))
        return flights, until

    def _landed_meanwhile(self, call: Call) -> Receipt | None:
        """The receipt of the same call, given up on earlier, that landed after all."""
        for flight in [one for one in self._afloat.values() if one.call == call]:
            if self._nonce("latest") > flight.nonce:
                for sent in reversed(flight.hashes):
                    if (receipt := self._receipt(sent)) is not None:
                        return self._arrive(flight, receipt)
        return None

    def _arrive(self, flight: _Flight, receipt: Receipt) -> Receipt:
        """Take note of a flight in its block. Raises what became of it, if it failed."""
        self._afloat.pop(flight.nonce, None)
        if self._on_landed is not None:
            self._on_landed(flight.call, receipt)
        return self._judge(flight, receipt)

    def _flight(self, call: Call, nonce: int, gas: int, market: Market, ceiling: Ceiling) -> _Flight:
        """A new flight, or the one that the same call under the same nonce is on already."""
        left = self._afloat.get(nonce)
        if left is None or left.call != call:
            return _Flight(call, nonce, gas, market.tip, market.max_fee, ceiling)
        left.gas, left.ceiling, left.taken_since = max(left.gas, gas), ceiling, None
        return left

    def _market(self, ceiling: Ceiling) -> Market:
        """What the chain asks for now."""
        block = self.endpoint.ask("eth_getBlockByNumber", "latest", False)
        base_fee = int(block.get("baseFeePerGas") or "0x0", 16)
        try:
            suggested = int(self.endpoint.ask("eth_maxPriorityFeePerGas"), 16)
        except Rejected:  # the method is optional
            suggested = GWEI
        limit, timestamp = int(block["gasLimit"], 16), int(block["timestamp"], 16)
        return offer(base_fee, suggested, limit, timestamp, self.fees, ceiling)

    def _require_funds(self, needs: int) -> None:
        if (has := self.balance()) < needs:
            raise NotEnoughFunds(self.sender, has, needs)

    def _nonce(self, block: str) -> int:
        return int(self.endpoint.ask("eth_getTransactionCount", self.sender, block), 16)

    def _free_nonce(self, until: float) -> int:
        """The first nonce no block has used, once what is already pending has landed or has had its time."""
        began = time.monotonic()
        while (used := self._nonce("latest")) < self._nonce("pending"):
            now = time.monotonic()
            if now >= min(began + self.stuck_after, until):
                log.warning("%s: replacing what is still pending at nonce %d", self.sender, used)
                break
            time.sleep(_pause(now - began))
        for nonce in [one for one in self._afloat if one < used]:
            del self._afloat[nonce]
        return used

    def _broadcast(self, flight: _Flight) -> None:
        """Hand the flight to the node, at a higher fee if the node wants one."""
        while not self._hand_over(flight):
            log.info("%s: the node wants a higher fee for nonce %d", self.sender, flight.nonce)
        self._afloat[flight.nonce] = flight
        log.info("%s: sent %r as nonce %d, %s", self.sender, flight.call, flight.nonce, flight.hashes[-1].to_0x_hex())

    def _hand_over(self, flight: _Flight) -> bool:
        """False where it must be tried again. After a lost answer it may have arrived or not: waiting finds out."""
        raw = self._sign(flight)
        try:
            self.endpoint.ask("eth_sendRawTransaction", raw)
        except Rejected as refusal:
            return self._is_known(flight.hashes[-1]) or self._answer_refusal(flight, refusal)
        except ChainUnreachable as lost:
            log.warning("%s: no answer to nonce %d, waiting for it all the same: %s", self.sender, flight.nonce, lost)
        return True

    def _sign(self, flight: _Flight) -> str:
        assert self._account is not None
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": self.endpoint.chain_id,
            "nonce": flight.nonce,
            "gas": flight.gas,
            "maxFeePerGas": flight.max_fee,
            "maxPriorityFeePerGas": flight.tip,
            "value": flight.call.value,
            "data": flight.call.data,
        }
        if flight.call.to is not None:
            transaction["to"] = flight.call.to
        signed = self._account.sign_transaction(transaction)
        if signed.hash not in flight.hashes:
            flight.hashes.append(signed.hash)
        return signed.raw_transaction.to_0x_hex()

    def _is_known(self, transaction: HexBytes) -> bool:
        return self.endpoint.ask("eth_getTransactionByHash", transaction.to_0x_hex()) is not None

    def _answer_refusal(self, flight: _Flight, refusal: Rejected) -> bool:
        """False with the fee raised if that is what the node wants; True if an earlier try landed; else raises."""
        message = refusal.message.lower()
        if self._nonce("latest") > flight.nonce:
            if len(flight.hashes) > 1:
                return True
            raise NonceTaken(self.sender, flight.nonce) from refusal
        if "insufficient funds" in message:
            needs = flight.call.value + flight.gas * flight.max_fee
            raise NotEnoughFunds(self.sender, self.balance(), needs) from refusal
        if "underpriced" not in message and "base fee" not in message:
            raise refusal
        market = self._market(flight.ceiling)
        if not self._bump(flight, market):
            stuck = self._afloat.get(flight.nonce)
            if stuck is not None and stuck is not flight and not market.is_too_dear:
                raise _Occupied from refusal  # it can pay for the next block as well as this one
            raise FeeAboveCeiling(flight.max_fee * 9 // 8, market.ceiling) from refusal
        return False

    def _bump(self, flight: _Flight, market: Market) -> bool:
        """Raise the flight's fees; False where the ceiling forbids it."""
        fees = raised(flight.tip, flight.max_fee, market)
        if fees is None:
            return False
        flight.tip, flight.max_fee = fees
        return True

    def _land(self, flight: _Flight, until: float) -> Receipt:
        """Wait until a block holds the flight; replace it whenever it is stuck. The node's outages are waited out."""
        began = replaced = time.monotonic()
        while True:
            receipt = self._look(flight)
            if receipt is not None:
                return self._arrive(flight, receipt)
            now = time.monotonic()
            if now >= until:
                raise NotMined(flight.nonce, flight.hashes, now - began)
            if now - replaced >= self.stuck_after:
                self._replace(flight)
                replaced = now
            time.sleep(min(_pause(now - began), max(until - now, 0)))

    def _look(self, flight: _Flight) -> Receipt | None:
        """The receipt of whichever of the flight's transactions landed. Raises NonceTaken if a foreign one did."""
        try:
            if self._nonce("latest") <= flight.nonce:
                return None
            for sent in reversed(flight.hashes):
                if (receipt := self._receipt(sent)) is not None:
                    return receipt
        except ChainError as outage:
            log.warning("%s: cannot look for nonce %d now: %s", self.sender, flight.nonce, outage)
            return None
        flight.taken_since = flight.taken_since or time.monotonic()
        if time.monotonic() - flight.taken_since > REPLICA_LAG:
            raise NonceTaken(self.sender, flight.nonce)
        return None

    def _receipt(self, sent: HexBytes) -> Receipt | None:
        try:
            with self.endpoint.reaching():
                return self.web3.eth.get_transaction_receipt(sent)
        except (TransactionNotFound, TransactionIndexingInProgress):
            return None

    def _replace(self, flight: _Flight) -> None:
        """Send again at a higher fee, or unchanged where the ceiling is reached: a mempool may have dropped it."""
        try:
            self._fill_gaps(flight.nonce)
            is_raised = self._bump(flight, self._market(flight.ceiling))
            log.info("%s: nonce %d is stuck, sending again (fee raised: %s)", self.sender, flight.nonce, is_raised)
            self._broadcast(flight)
        except ChainError as refusal:  # what was sent before can still land: keep waiting for it
            log.warning("%s: could not replace nonce %d: %s", self.sender, flight.nonce, refusal)

    def _fill_gaps(self, nonce: int) -> None:
        """Hand over again, unchanged, what must land before this nonce: a mempool that dropped it holds up the rest."""
        for before in sorted(one for one in self._afloat if one < nonce):
            try:
                self.endpoint.ask("eth_sendRawTransaction", self._sign(self._afloat[before]))
            except Rejected:
                continue  # it has it, or it landed

    def _judge(self, flight: _Flight, receipt: Receipt) -> Receipt:
        if receipt["status"] == 1:
            return receipt
        failure: Exception = TransactionFailed(receipt, flight.gas)
        try:
            self.endpoint.simulate(flight.call, self.sender, receipt["blockNumber"])
        except Reverted as reverted:
            reverted.receipt = receipt
            reverted.add_note(f"reverted in block {receipt['blockNumber']} for {cost(receipt)} wei of gas")
            failure = reverted
        except ChainError as unexplained:
            failure.__cause__ = unexplained
        raise failure

    def _outcome(self, flight: _Flight, until: float) -> Receipt | Exception:
        try:
            return self._land(flight, until)
        except (ChainError, Reverted) as failure:
            return failure


@contextmanager
def _position(position: int, count: int) -> Iterator[None]:
    try:
        yield
    except (ChainError, Reverted) as error:
        if count > 1:
            error.add_note(f"call {position} of {count}; nothing was sent")
        raise


def _pause(waited: float) -> float:
    """Seconds until the next look: short at first, never more than an eighth of the wait so far, at most one."""
    return min(max(0.05, waited / 8), 1.0)


def _ether(wei: int) -> str:
    return f"{wei} wei ({Web3.from_wei(wei, 'ether')} ether)"
