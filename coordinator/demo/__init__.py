"""The main job on a dev chain of its own: five operators, a lying majority refuted, a supplier paid.

Job 1 grades one shipment of wine: three operators are honest, one falsifies some verdicts, one never reveals; the vote
settles it. Job 2 grades another: three of the five lie in unison and withhold their results. One honest operator demands its
way down their root, they answer, and it has the chain execute the item that differs: the honest minority wins. In job 1 every
operator sends its own transactions; in job 2 a relay sends what all of them signed, in one transaction each. Then
ShipmentSale pays the supplier for each bottle whose proved verdict is of the agreed grade, and every balance is checked to
the wei against the rules.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from coordinator.demo.ledger import audit
from coordinator.demo.report import Report
from coordinator.demo.sale import Sale
from coordinator.demo.stage import Stage


def main(*, json: bool = False, chain: str = "auto") -> int:
    """Run the demo and print it; 0 only if everything ended as it should and every balance adds up.

    chain: auto (anvil where there is one), py-evm or anvil.
    """
    report = Report(quiet=json)
    with tempfile.TemporaryDirectory(prefix="quorate-demo-") as folder, Stage(Path(folder), chain, report) as stage:
        stage.play()
        findings = conclude(stage, Sale(stage))
        report.show(stage, findings, as_json=json)
    return 1 if findings else 0


def conclude(stage: Stage, sale: Sale) -> list[str]:
    """Sell the shipment of job 2 and check all books; what did not end as it should, in words."""
    findings = sale.hold()
    stage.withdraw_all()
    return findings + audit(stage, sale)
