"""The ledger against the wallet: what it adds up to is what the worker has more or less, to the wei."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.job import Outcome
from coordinator import earnings, profiles
from coordinator.cli.main import main
from coordinator.job_store import JobStore, Source
from coordinator.watcher import Watcher
from oracle_worker import journal, settlement
from tests.oracle_worker.stage import ETHER, Liar, Operator, Stage, done, new_stage
from tests.oracle_worker.test_challenges import challenged, finish, names

Rows = NDArray[np.uint8]


@pytest.fixture
def stage(tmp_path: Path):  # type: ignore[no-untyped-def]
    with new_stage(tmp_path) as made:
        yield made


def fail_on_purpose(operator: Operator) -> None:
    """A transaction of the worker's that reverts in its block, as when somebody else was first."""
    transactor = operator.roles.signer.transactor
    web3, call = transactor.web3, operator.roles.signer.contracts.oracle.unbond(10**30)
    sent = operator.account.sign_transaction(
        {
            "chainId": web3.eth.chain_id,
            "nonce": web3.eth.get_transaction_count(operator.account.address),
            "to": call.to,
            "data": call.data,
            "gas": 200_000,
            "gasPrice": 2 * web3.eth.gas_price,
            "value": 0,
        }
    )
    receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(sent.raw_transaction), timeout=60)
    assert receipt["status"] == 0
    journal.Journal(operator.folder).landed(call, receipt)


def ledger_of(operator: Operator, stage: Stage, folder: Path) -> earnings.Ledger:
    deployment = stage.contracts.deployment
    with JobStore(folder / "jobs.sqlite", Source(deployment.chain_id, deployment.oracle, deployment.block)) as store:
        clock = Watcher(stage.contracts.endpoint, store, confirmations=0).catch_up()
        noted = journal.read(operator.folder / journal.FILE_NAME)
        return earnings.read(store, stage.contracts.endpoint, operator.account.address, clock.confirmed_block, noted)


def test_a_duel_is_accounted_for_to_the_wei_for_winner_and_liar(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from models import zoo

    wine = zoo.wine_rows()[0]
    liars = stage.jury(2, [Liar(3), Liar(3)])
    (honest,) = stage.jury(1)
    posted = challenged(stage, wine, [*liars, honest])
    while names(honest, posted) or names(liars[0], posted):
        pass
    finish(stage, posted, honest)
    for duty in (settlement.release_bounty, settlement.release_bond):
        done(duty(honest.roles.signer, posted.job))
    settlement.release_bond(liars[0].roles.signer, posted.job)
    fail_on_purpose(honest)
    for one in (honest, *liars):
        found = ledger_of(one, stage, tmp_path)
        total = found.total
        assert found.unknown == 0
        assert total.net == one.balance() - 100 * ETHER
        assert [entry.job_id for entry in found.entries] == [posted.id, None]
        assert found.entries[0].outcome == Outcome.ACCEPTED
    won, lost = ledger_of(honest, stage, tmp_path).total, ledger_of(liars[0], stage, tmp_path).total
    assert won.rewards == ETHER
    assert won.bounties == 2 * (stage.seat_stake() // 2)
    assert won.forfeited == 0
    assert won.bonds_paid > 0
    assert lost.forfeited == stage.seat_stake()
    assert (lost.rewards, lost.bounties) == (0, 0)

    # the same from the command line, as one that has lost its journal
    for name in ("QUORATE_RPC_URL", "QUORATE_DEPLOYMENT", "QUORATE_CHAIN_ID", "QUORATE_SETTINGS"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("QUORATE_HOME", str(home))
    monkeypatch.setenv("QUORATE_CONFIRMATIONS", "0")
    chain_id = stage.contracts.deployment.chain_id
    profiles.save(home / profiles.FILE_NAME, profiles.Network("test", stage.url, chain_id, stage.deployment_file))
    assert main(["worker", "ledger", "--csv", honest.account.address]) == 0
    printed = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [row["job"] for row in rows] == ["0x" + posted.id.hex(), ""]
    assert int(rows[0]["bounties"]) == won.bounties
    assert "1 transactions of" in printed.err  # the failed one, which left no event
    noted = str(honest.folder / journal.FILE_NAME)
    assert main(["worker", "ledger", "--csv", "--journal", noted, honest.account.address]) == 0
    printed = capsys.readouterr()
    assert sum(int(row["net"]) for row in csv.DictReader(io.StringIO(printed.out))) == won.net
    assert "transactions of" not in printed.err
    assert main(["worker", "status", "--json", honest.account.address]) == 0
    assert '"jobs": []' in capsys.readouterr().out  # nothing is left to do


def test_a_journal_is_read_past_lines_that_a_crash_cut_short(tmp_path: Path) -> None:
    path = tmp_path / journal.FILE_NAME
    assert list(journal.read(path)) == []
    good = '{"hash": "0x' + "ab" * 32 + '"}'
    path.write_text("\n".join([good, '{"hash": "0xab', "[]", "7", '{"hash": 5}', '{"hash": "zz"}', good[:-5], good]))
    assert list(journal.read(path)) == [b"\xab" * 32] * 2


def test_a_full_disk_keeps_no_transaction_from_counting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from hexbytes import HexBytes

    from contracts.endpoint import Call

    (tmp_path / "file").write_text("")
    noted = journal.Journal(tmp_path / "file")  # no folder can be made there
    noted.landed(Call(None, b"", 0), {"transactionHash": HexBytes(b"\x01" * 32)})  # type: ignore[typeddict-item]
    assert "is not in the journal" in caplog.text
