"""The demo, played for real: it ends well, and it notices when one verdict or one payout is not what it should be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.job import Outcome
from coordinator.demo import conclude
from coordinator.demo.crew import Character
from coordinator.demo.report import Report
from coordinator.demo.sale import PRICE, Sale
from coordinator.demo.stage import Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Both jobs played to their end, with the books not yet closed."""
    with Stage(tmp_path_factory.mktemp("demo"), "py-evm", Report(quiet=True)) as stage:
        stage.play()
        yield stage


@contextmanager
def undone(stage: Stage) -> Iterator[None]:
    """Whatever happens to the chain inside is taken back, as by a reorganisation: the new branch is the longer one."""
    snapshot = stage.rpc("evm_snapshot")
    yield
    reached = stage.clock().block_number
    assert stage.rpc("evm_revert", snapshot)
    while int(stage.rpc("eth_blockNumber"), 16) <= reached:
        stage.rpc("evm_mine")


class CorruptVerdict(Sale):
    """Shows an output that nobody ever committed to."""

    def output_of(self, index: int) -> bytes:
        output = super().output_of(index)
        return output[:-1] + bytes([output[-1] ^ 1])


class CorruptPayout(Sale):
    """Pays everything right, and a wei beside it."""

    def hold(self) -> list[str]:
        findings = super().hold()
        self.stage.supplier.send((self.stage.requester.sender, b""), value=1)
        return findings


class MissedPayout(Sale):
    """Does not pay for the last bottle of the agreed grade."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        last = max(index for index, grade in enumerate(self.grades) if grade == 0)
        self.grades[last] = 1


def test_an_honest_sale_adds_up(stage: Stage) -> None:
    with undone(stage):
        assert conclude(stage, Sale(stage)) == []


def test_a_corrupted_verdict_does_not_add_up(stage: Stage) -> None:
    with undone(stage):
        findings = conclude(stage, CorruptVerdict(stage))
    assert any("VerdictNotProved" in finding for finding in findings)


@pytest.mark.parametrize(("sale", "wei"), [(CorruptPayout, 1), (MissedPayout, PRICE)])
def test_a_corrupted_payout_does_not_add_up(stage: Stage, sale: type[Sale], wei: int) -> None:
    with undone(stage):
        findings = conclude(stage, sale(stage))
    assert f"supplier holds {-wei:+d} wei more than the rules give" in findings


def test_the_minority_won_by_execution_and_the_vote_settled_the_rest(stage: Stage) -> None:
    first, second = (stage.view(job_id) for job_id in stage.jobs)
    assert (first.state.outcome, second.state.outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
    assert first.state.root_seats == 3
    assert second.state.root_seats == 2
    (refuted,) = [tally for tally in second.roots.values() if tally.refuted]
    assert refuted.seats == 3
    assert sum(demand.answered for demand in second.demands.values()) >= 2


def test_a_finding_makes_the_command_fail(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    from coordinator import demo

    class Played:
        """The stage as it is, instead of a new one."""

        def __init__(self, folder: Path, chain: str, report: Report) -> None:
            monkeypatch.setattr(stage, "report", report)

        def __enter__(self) -> Stage:
            return stage

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(stage, "play", lambda: None)
    monkeypatch.setattr(demo, "Stage", Played)
    with undone(stage):
        assert demo.main(json=True) == 0
    monkeypatch.setattr(demo, "Sale", CorruptVerdict)
    with undone(stage):
        assert demo.main(json=True) == 1


class SilentLiars(Stage):
    """Job 2's liars do not answer the demand."""

    def _characters(self) -> list[Character]:
        hidden = frozenset({("quorate.examine", "1")})
        liars = [Character(one.name, "lies and hides", one.falsified_rows, hidden) for one in super()._characters()[2:]]
        return [*super()._characters()[:2], *liars]

    def play(self) -> None:
        """The second job only."""
        self.shipments.reverse()
        self._stake()
        job_id = self._create(self.shipments[0])
        self._until(job_id, "all reveal", lambda view: view.state.granted_seats == 5 and view.state.sealed_seats == 0)
        self._until(job_id, "a demand", lambda view: len(view.demands) > 0)
        self._skip_to_end(job_id)
        self._until(job_id, "settled", lambda view: view.state.outcome != Outcome.OPEN)
        self._until(job_id, "all is released", lambda view: view.is_closed)


def test_liars_that_fall_silent_hang_the_job_and_lose_their_stakes(tmp_path: Path) -> None:
    with SilentLiars(tmp_path, "py-evm", Report(quiet=True)) as stage:
        stage.play()
        view = stage.view(stage.jobs[0])
        liars = [operator.address for operator in stage.operators if operator.character.falsified_rows]
        assert view.state.outcome == Outcome.HUNG
        assert {worker for worker, seat in view.seats.items() if seat.forfeited} == set(liars)
        burned = int(stage.rpc("eth_getBalance", "0x" + 40 * "0", "latest"), 16)
        assert burned == len(liars) * view.terms.seat_stake
        assert all(stage.bonded(o) == (0 if o.address in liars else stage.seat_stake) for o in stage.operators)


def test_the_command_prints_its_books_as_json() -> None:
    command = [sys.executable, "-m", "coordinator.cli", "--json", "demo", "--chain", "auto"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    facts = json.loads(done.stdout)
    assert facts["adds_up"]
    assert {account["off by"] for account in facts["accounts"]} == {0}
    assert facts["bottles_paid"] > 0
