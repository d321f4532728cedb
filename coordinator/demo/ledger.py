"""The demo's books: what everybody should have, by the protocol's rules, against what the chain says, to the wei."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from eth_typing import ChecksumAddress
from eth_utils import keccak, to_checksum_address
from eth_utils.abi import abi_to_signature

from contracts import tally as tallies
from contracts.abi import artifact
from contracts.job import NOBODY, Execution, Outcome
from contracts.merkle import MerkleTree, result_leaf
from coordinator.demo.sale import PRICE, Sale
from coordinator.devnet import DEV_BALANCE
from coordinator.job_view import JobView
from models.integer_ops import compute_verdicts

if TYPE_CHECKING:
    from coordinator.demo.stage import Stage


@dataclass
class Account:
    """What one party earned and lost, in wei."""

    name: str
    rewards: int = 0
    bounties: int = 0
    bonds: int = 0
    """Earned by answering less lost to answers."""
    forfeited: int = 0
    traded: int = 0
    """By the sale and for the jobs."""
    gas: int = 0
    holds: int = 0
    """Balance, stake and credit at the end, as the chain says."""

    @property
    def should_hold(self) -> int:
        """What follows from the rules."""
        return DEV_BALANCE + self.rewards + self.bounties + self.bonds - self.forfeited + self.traded - self.gas


@dataclass
class Gas:
    """What the transactions of one function used."""

    calls: int = 0
    used: int = 0


@dataclass
class Books:
    """Everything that was counted."""

    accounts: dict[ChecksumAddress, Account]
    burned: int = 0
    gas: defaultdict[str, Gas] = field(default_factory=lambda: defaultdict(Gas))


def audit(stage: Stage, sale: Sale) -> list[str]:
    """Check every balance and every verdict; what does not add up, in words. Keeps the books in `stage.report`."""
    names = {operator.address: operator.character.name for operator in stage.operators}
    names |= {
        stage.requester.sender: "requester",
        stage.supplier.sender: "supplier",
        stage.deployer.sender: "deployer",
        stage.relay.sender: "relay",
    }
    books = Books({address: Account(name) for address, name in names.items()})
    for job_id in stage.jobs:
        _enter_job(books, stage.view(job_id))
    _enter_sale(books, stage)
    _enter_gas(books, stage)
    stage.report.books = books
    return [*_check_roots(stage), *_check_accounts(books, stage), *_check_contracts(books, stage, sale)]


def _enter_job(books: Books, view: JobView) -> None:
    """The protocol's money rules, from who committed, revealed, refuted, demanded and answered what."""
    terms, accounts = view.terms, books.accounts
    winner = view.state.root if view.state.outcome == Outcome.ACCEPTED else None
    winning = sum(seat.count for seat in view.seats.values() if winner is not None and seat.root == winner)
    accounts[view.job.requester].traded -= terms.reward - (terms.reward % winning if winning else terms.reward)
    for worker, seat in view.seats.items():
        if seat.root == winner:
            accounts[worker].rewards += seat.count * (terms.reward // winning)
        else:
            accounts[worker].forfeited += seat.count * terms.seat_stake
            books.burned += seat.count * terms.seat_stake
    for root, tally in view.roots.items():
        if (refuter := view.refuter(root)) != NOBODY:
            bounty = tallies.bounty(tally.seats, terms.seat_stake)
            accounts[refuter].bounties += bounty
            books.burned -= bounty
    for node, demand in view.demands.items():
        is_refuted = view.refuter(node.root) != NOBODY
        accounts[demand.demander].bonds -= demand.bond
        if not is_refuted and demand.answered:
            accounts[demand.answerer].bonds += demand.bond
            continue
        # where every row was executed, silence says nothing about the root that is left
        is_whole = is_refuted or view.state.execution == Execution.WHOLE
        back = demand.bond if is_whole else demand.bond // view.roots[node.root].open_demands
        accounts[demand.demander].bonds += back
        books.burned += demand.bond - back


def _enter_sale(books: Books, stage: Stage) -> None:
    """The supplier earns a price for each bottle that the specification, run by the slow interpreter, grades so."""
    from coordinator.demo.stage import GRADE

    earned = PRICE * int((compute_verdicts(stage.shipments[1].logits) == GRADE).sum())
    books.accounts[stage.supplier.sender].traded += earned
    books.accounts[stage.requester.sender].traded -= earned


def _enter_gas(books: Books, stage: Stage) -> None:
    functions = _functions()
    for number in range(int(stage.rpc("eth_blockNumber"), 16) + 1):
        for transaction in stage.rpc("eth_getBlockByNumber", hex(number), True)["transactions"]:
            receipt = stage.rpc("eth_getTransactionReceipt", transaction["hash"])
            used = int(receipt["gasUsed"], 16)
            sender = to_checksum_address(transaction["from"])
            books.accounts[sender].gas += used * int(receipt["effectiveGasPrice"], 16)
            name = functions.get(transaction["input"][:10], "?") if transaction.get("to") else "deploy"
            name += "" if int(receipt["status"], 16) else " (reverted)"
            books.gas[name].calls += 1
            books.gas[name].used += used


@cache
def _functions() -> dict[str, str]:
    """Function names by selector, of every contract in the play."""
    found = {}
    for name in ("ComputeOracle", "Disputes", "ModelRegistry", "ShipmentSale"):
        for entry in artifact(name).abi:
            if entry["type"] == "function":
                signature: Any = entry
                found["0x" + keccak(text=abi_to_signature(signature))[:4].hex()] = entry["name"]
    return found


def _check_roots(stage: Stage) -> list[str]:
    """Every accepted root is the one that the specification gives."""
    findings = []
    for number, (job_id, shipment) in enumerate(zip(stage.jobs, stage.shipments, strict=True), 1):
        outputs = [row.astype(">i4").tobytes() for row in shipment.logits]
        right = MerkleTree([result_leaf(i, output) for i, output in enumerate(outputs)]).root
        if stage.view(job_id).state.root != right:
            findings.append(f"job {number} accepted a root that is not the specification's")
    return findings


def _check_accounts(books: Books, stage: Stage) -> list[str]:
    oracle, findings = stage.contracts.oracle, []
    for address, account in books.accounts.items():
        held = oracle.account(address)
        account.holds = _balance(stage, address) + held.bonded + held.unbonding + held.credit
        if account.holds != account.should_hold:
            findings.append(
                f"{account.name} holds {account.holds - account.should_hold:+d} wei more than the rules give"
            )
    return findings


def _check_contracts(books: Books, stage: Stage, sale: Sale) -> list[str]:
    oracle, findings = stage.contracts.oracle, []
    owed = oracle.total_stake() + sum(oracle.credit(address) for address in books.accounts)
    if (held := _balance(stage, oracle.address)) != owed:
        findings.append(f"the oracle holds {held} wei and owes {owed}")
    if (burned := _balance(stage, NOBODY)) != books.burned:
        findings.append(f"{burned} wei were burned, {books.burned} by the rules")
    if sale.address is not None and (left := _balance(stage, sale.address)):
        findings.append(f"{left} wei are stuck in the sale")
    return findings


def _balance(stage: Stage, address: ChecksumAddress) -> int:
    return int(stage.rpc("eth_getBalance", address, "latest"), 16)
