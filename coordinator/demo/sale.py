"""The consumer: a supplier is paid for every bottle whose proved verdict is of the agreed grade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eth_typing import ChecksumAddress

from contracts.abi import artifact
from contracts.endpoint import call_of
from contracts.merkle import MerkleTree, result_leaf
from contracts.transactor import PartlySent
from coordinator.demo.report import Report
from models.integer_ops import compute_verdicts
from models.runtime import Runtime

if TYPE_CHECKING:
    from coordinator.demo.stage import Stage

PRICE = 10**15
"""Wei a bottle."""
DAY = 24 * 3600


class Sale:
    """One sale over job 2's shipment, from escrow to the last refund."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.report: Report = stage.report
        self.shipment = stage.shipments[1]
        # Proofs come from public things: the model's file and the data. Nobody's results are read.
        logits = Runtime(stage.model.network).run(self.shipment.rows)
        self.outputs: list[bytes] = [row.astype(">i4").tobytes() for row in logits]
        self.grades = [int(grade) for grade in compute_verdicts(logits)]
        self.address: ChecksumAddress | None = None

    def hold(self) -> list[str]:
        """Open, pay, close and withdraw; what went wrong, in words."""
        from coordinator.demo.stage import GRADE

        stage = self.stage
        with self.report.step("ShipmentSale pays the supplier"):
            contract = self._deploy()
            view = stage.view(stage.jobs[1])
            escrow = PRICE * len(self.outputs)
            deadline = stage.clock().now + DAY
            stage.requester.send(
                contract.functions.open(view.job.as_tuple(), stage.supplier.sender, GRADE, PRICE, deadline),
                value=escrow,
            )
            tree = MerkleTree([result_leaf(i, output) for i, output in enumerate(self.outputs)])
            due = [index for index, grade in enumerate(self.grades) if grade == GRADE]
            findings = self._pay(contract, tree, due)
            stage.rpc("evm_increaseTime", DAY)
            stage.rpc("evm_mine")
            stage.requester.send(contract.functions.close(0))
            for party in (stage.supplier, stage.requester):
                if stage.contracts.endpoint.read(contract.functions.credits(party.sender)):
                    party.send(contract.functions.withdraw())
        return findings

    def output_of(self, index: int) -> bytes:
        """The output that is shown for an item."""
        return self.outputs[index]

    def _deploy(self) -> Any:
        made = artifact("ShipmentSale")
        web3 = self.stage.deployer.web3
        factory = web3.eth.contract(abi=made.abi, bytecode=made.bytecode)
        receipt = self.stage.deployer.send(factory.constructor(self.stage.contracts.deployment.oracle))
        self.address = receipt["contractAddress"]
        return web3.eth.contract(address=self.address, abi=made.abi)

    def _pay(self, contract: Any, tree: MerkleTree, due: list[int]) -> list[str]:
        calls = [call_of(contract.functions.pay(0, index, self.output_of(index), tree.proof(index))) for index in due]
        try:
            self.stage.supplier.send_many(calls)
        except PartlySent as error:
            return [f"a verdict could not be sold: {error}"]
        except Exception as error:
            if type(error).__name__ not in ("VerdictNotProved", "WrongGrade"):
                raise
            return [f"a verdict could not be sold: {error}"]
        return []
