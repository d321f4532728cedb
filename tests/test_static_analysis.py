"""Every finding of static analysis above informational is answered by name in docs/security.md, and no answer outlives it."""

from __future__ import annotations

import pytest

from contracts.compiler import SOURCES, CompilerMissing, read_sources
from tests.analysis.findings import (
    ANSWERS,
    HEADING,
    AnalyserMissing,
    AnalysisFailed,
    Finding,
    analyse,
    answered,
    complaints,
)
from tests.requirements import missing

pytestmark = pytest.mark.slow

ORACLE = "contracts/src/ComputeOracle.sol"
SETTLE = Finding("reentrancy-eth", "ComputeOracle.settle")
PAID_FIRST = """
// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

contract Till {
    mapping(address payee => uint256) private _credits;

    function deposit() external payable {
        _credits[msg.sender] += msg.value;
    }

    function withdraw() external {
        uint256 amount = _credits[msg.sender];
        (bool paid,) = msg.sender.call{value: amount}("");
        require(paid);
        _credits[msg.sender] = 0;
    }
}
"""


def findings_of(sources: dict[str, str]) -> dict[Finding, str]:
    """What slither finds; skips without it or a compiler."""
    try:
        return analyse(sources)
    except AnalyserMissing as error:
        missing("slither", str(error))
    except CompilerMissing as error:
        missing("solc", str(error))


def test_every_finding_is_answered_and_every_answer_has_its_finding() -> None:
    problems = complaints(findings_of(read_sources(SOURCES)), answered(ANSWERS.read_text("utf-8")))
    assert not problems, "\n".join(problems)


def test_a_contract_that_pays_before_it_writes_is_found() -> None:
    found = findings_of({"contracts/src/Till.sol": PAID_FIRST})
    assert "Till.withdraw" in {each.place for each in found if each.detector.startswith("reentrancy")}


def test_a_comment_in_the_sources_cannot_silence_a_finding() -> None:
    with pytest.raises(AnalysisFailed, match=ORACLE):
        analyse({ORACLE: "// slither-disable-next-line reentrancy-eth"})


def test_a_row_answers_one_detector_in_one_function() -> None:
    table = f"{HEADING}\n\n| detector | where | answer |\n|---|---|---|\n| `reentrancy-eth` | `ComputeOracle.settle` | {{}} |\n"
    found = {SETTLE: "…", Finding("reentrancy-eth", "ComputeOracle.release"): "…"}
    (problem,) = complaints(found, answered(table.format("Effects first.")))
    assert problem.startswith("unanswered: reentrancy-eth in ComputeOracle.release")
    assert len(complaints(found, answered(table.format("")))) == 2, "an empty answer is none"
    assert len(complaints(found, answered("## Elsewhere\n" + table.partition("\n")[2]))) == 2, (
        "the section's rows count"
    )
    assert complaints({}, {SETTLE: "Effects first."}) == ["not found any more: reentrancy-eth in ComputeOracle.settle"]
