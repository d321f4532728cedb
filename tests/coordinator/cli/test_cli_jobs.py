"""Jobs and verdicts through the command line, on a real chain with real contracts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from eth_utils import keccak

from contracts.job import Terms
from contracts.merkle import MerkleTree, input_leaf
from coordinator.cli.failures import ExitCode
from coordinator.cli.terms import chance_of_at_least
from models import zoo
from models.runtime import Runtime
from tests.coordinator.cli.conftest import Chain, Cli, keep_key, write_wine
from tests.coordinator.cli.lives import SHORT, Life, stake_everything, submit, true_root, wine_rows


@pytest.fixture(scope="module")
def staked(chain: Chain) -> int:
    """One worker has all the stake there is, in wei."""
    amount = 10**18
    stake_everything(chain, amount)
    return amount


# ---- Stake ----


def test_stake_goes_in_and_starts_to_come_out(cli: Cli, network: Chain, requester: str) -> None:
    ran = cli("stake", "deposit", "0.5 ether", "--json")
    assert ran.code == 0, ran.err
    assert int(ran.data["bonded"]) == 5 * 10**17
    ran = cli("stake", "withdraw", "--amount", "0.2 ether", "--json")
    assert (ran.data["bonded"], ran.data["unbonding"]) == (str(3 * 10**17), str(2 * 10**17))
    assert "stake withdraw" in ran.err, "the second step is named"
    early = cli("stake", "withdraw")
    assert early.code == ExitCode.REFUSED and "NothingToWithdraw" in early.err and "stake show" in early.err
    too_much = cli("stake", "unbond", "5 ether")
    assert too_much.code == ExitCode.FUNDS and "deposit more" in too_much.err
    assert "free 0.3 ether (300000000000000000 wei), needed 5 ether" in too_much.err
    uneven = cli("stake", "deposit", "1.5 gwei")
    assert uneven.code == ExitCode.REFUSED and "NotWholeGwei" in uneven.err and "whole gwei" in uneven.err
    cli("stake", "unbond", "0.3 ether")
    network.pass_time(4001)
    ran = cli("stake", "withdraw", "--to", "0x" + "77" * 20, "--json")
    assert ran.code == 0, ran.err
    assert ran.data["withdrawn"] == str(5 * 10**17)
    assert int(network.contracts.endpoint.ask("eth_getBalance", "0x" + "77" * 20, "latest"), 16) == 5 * 10**17


def test_an_empty_wallet_is_told_what_it_lacks(cli: Cli, network: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORATE_PRIVATE_KEY", "42" * 32)
    ran = cli("stake", "deposit", "1 ether")
    assert ran.code == ExitCode.FUNDS and "has 0 wei" in ran.err and "send it" in ran.err
    assert "needs 1 ether (1000000000000000000 wei)" in ran.err and "`quorate account send`" in ran.err


def test_a_wrong_passphrase_sends_nothing(cli: Cli, network: Chain, requester: str, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("wrong\n")
    secret.chmod(0o600)
    before = network.nonce(0)
    ran = cli("stake", "deposit", "1 ether", "--passphrase-file", secret)
    assert ran.code == ExitCode.KEY and "wrong passphrase" in ran.err
    assert network.nonce(0) == before


def test_another_chain_than_the_profile_says_is_refused_before_a_passphrase_is_asked_for(
    cli: Cli, network: Chain, requester: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = json.loads(network.deployment_file.read_text()) | {"chain_id": 1}
    (tmp_path / "other.json").write_text(json.dumps(other))
    monkeypatch.setenv("QUORATE_DEPLOYMENT", str(tmp_path / "other.json"))
    ran = cli("stake", "deposit", "1")
    assert ran.code == ExitCode.BAD_INPUT and "chain 1" in ran.err
    monkeypatch.setenv("QUORATE_CHAIN_ID", "1")
    monkeypatch.setenv("QUORATE_PASSPHRASE", "not even looked at")
    ran = cli("stake", "deposit", "1")
    assert ran.code == ExitCode.CHAIN and "expected chain id 1, the endpoint serves 31337" in ran.err


def test_an_address_without_contracts_is_named(
    cli: Cli, network: Chain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = json.loads(network.deployment_file.read_text()) | {"oracle": "0x" + "99" * 20}
    (tmp_path / "empty.json").write_text(json.dumps(empty))
    monkeypatch.setenv("QUORATE_DEPLOYMENT", str(tmp_path / "empty.json"))
    ran = cli("stake", "show", "0x" + "11" * 20)
    assert ran.code == ExitCode.CHAIN and "there is no contract at 0x" in ran.err


@pytest.mark.parametrize("address", ["0x12", "nobody", "0xfCF1f581a535d6ec311C1a3Ad7f1C57fA02aF3A7"])
def test_a_malformed_address_or_checksum_is_a_usage_error(cli: Cli, network: Chain, address: str) -> None:
    ran = cli("stake", "show", address)
    assert ran.code == ExitCode.USAGE and "is no address" in ran.err


def test_a_key_that_is_not_kept_is_answered_with_those_that_are(cli: Cli, network: Chain, requester: str) -> None:
    ran = cli("stake", "deposit", "1", "--key", "0x" + "11" * 20)
    assert ran.code == ExitCode.KEY and requester in ran.err


def test_two_keys_want_to_be_chosen_between(
    cli: Cli, network: Chain, requester: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = keep_key(home, monkeypatch, 1)
    ran = cli("stake", "show")
    assert ran.code == ExitCode.KEY and requester in ran.err and second in ran.err
    assert "several keys are kept: choose one with --key" in ran.err
    assert cli("stake", "show", "--key", second, "--json").data["address"] == second
    file = home / "keys" / f"{second}.json"
    assert cli("stake", "show", "--key", file, "--json").data["address"] == second


# ---- Asking ----


def test_an_estimate_needs_neither_key_nor_funds(cli: Cli, network: Chain, wine_id: bytes, staked: int) -> None:
    ran = cli(
        "job", "estimate", "--model", "wine-grading", "--items", 178, "--seats", 3, "--reward", "1 gwei", "--json"
    )
    assert ran.code == 0, ran.err
    facts = ran.data
    least = network.contracts.oracle.min_seat_stake(wine_id, 178)
    assert least < int(facts["seat_stake"]) <= least * 1.26
    assert facts["cost_to_corrupt"] == str(2 * int(facts["seat_stake"]) // 2)
    assert 60_000 < facts["gas"] < 120_000
    assert facts["stake_suffices"] is True and facts["tickets"] >= staked // int(facts["seat_stake"])
    assert facts["done_after_at_least"] < facts["done_after_usually_at_most"] < facts["done_after_with_every_dispute"]


def test_an_estimate_for_more_stake_than_there_is_says_so(
    cli: Cli, network: Chain, wine_id: bytes, staked: int
) -> None:
    facts = cli("job", "estimate", "--model", "wine-grading", "--items", 10, "--seat-stake", "999 ether", "--json").data
    assert facts["stake_suffices"] is False and facts["chance_of_a_quorum_at_first"] == 0


def test_the_chance_of_a_quorum_is_the_binomial_one() -> None:
    assert chance_of_at_least(1, 10, 0.1) == pytest.approx(1 - 0.9**10)
    assert chance_of_at_least(3, 3, 0.5) == pytest.approx(0.125)
    assert chance_of_at_least(4, 3, 0.5) == 0
    assert chance_of_at_least(2, 2, 1.0) == 1
    assert chance_of_at_least(2, 10**6, 5e-6) == pytest.approx(1 - 6 * np.exp(-5), rel=1e-4)


@pytest.mark.parametrize(
    ("more", "code", "complaint"),
    [
        (("--commit-window", 999_999), ExitCode.REFUSED, "WindowOutOfBounds (name commitWindow, window 999999"),
        (("--commit-window", 50, "--challenge-window", 5), ExitCode.REFUSED, "name challengeWindow"),
        (("--quorum", 4, "--seats", 3), ExitCode.REFUSED, "QuorumOutOfBounds"),
        (("--seats", 2000, "--seat-stake", 1), ExitCode.REFUSED, "SeatsOutOfBounds"),
        (("--seat-stake", 5), ExitCode.REFUSED, "SeatStakeTooLow"),
        (("--call-out-fee", "1 gwei"), ExitCode.REFUSED, "CallOutFeeTooHigh (callOutFee 1 gwei"),
        (("--callback-gas", 5), ExitCode.REFUSED, "CallbackGasOutOfBounds"),
        (("--consumer", "0x12"), ExitCode.USAGE, "is no address"),
        (("--gold", 21), ExitCode.USAGE, "more than the job has items (20)"),
        (("--gold", 2, "--audit-bond", 0), ExitCode.REFUSED, "BadVerificationSet"),
        (("--gold", 2, "--challenge-window", 20, "--response-window", 20), ExitCode.USAGE, "could never be"),
        (("--audit-bond", 5), ExitCode.USAGE, "give --gold N"),
        (("--seat-stake", "9999 ether"), ExitCode.REFUSED, "TotalStakeTooLow"),
        (("--reward", "9999999 ether"), ExitCode.FUNDS, "send it"),
        (("--reward", "much"), ExitCode.USAGE, "is no amount"),
        (("--model", "0x" + "cd" * 32), ExitCode.NOT_FOUND, "UnknownModel"),
        (("--data-uri", "ftp://x/y"), ExitCode.BAD_INPUT, "scheme"),
    ],
)
def test_terms_that_cannot_be_are_refused_and_nothing_is_sent(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, wine_csv: Path, tmp_path: Path, home: Path,
    more: tuple[object, ...], code: ExitCode, complaint: str,
) -> None:  # fmt: skip
    before = network.nonce(0)
    given = ("--model", "wine-grading", "--data", wine_csv, "--reward", 1, "--publish", tmp_path / "data", "--seats", 1)
    ran = cli("job", "submit", *given, *more)
    assert ran.code == code and complaint in ran.err, ran.err
    assert network.nonce(0) == before
    assert not list((home / "gold").glob("*")), "a set for a job that is not created is not kept"


def test_data_that_cannot_be_used_is_refused_and_nothing_is_sent(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, wine_csv: Path, tmp_path: Path
) -> None:
    before = network.nonce(0)
    header, first, *rest = wine_csv.read_text().splitlines()
    bad = {
        "nan.csv": ("\n".join([header, first.replace(first.split(",")[3], "nan"), *rest]), "not finite"),
        "short.csv": ("\n".join(line.rpartition(",")[0] for line in (header, first)), "has no column 'proline'"),
        "bare.csv": (first.rpartition(",")[0], "12 columns where the model reads 13"),
        "empty.csv": ("", "no rows"),
        "semicolons.csv": ("\n".join([header, first]).replace(",", ";"), "separated by semicolons"),
    }
    for name, (content, complaint) in bad.items():
        path = tmp_path / name
        path.write_text(content)
        ran = cli("job", "submit", "--model", "wine-grading", "--data", path, "--reward", 1, "--publish", tmp_path)
        assert ran.code == ExitCode.BAD_INPUT and complaint in ran.err, ran.err
    np.save(tmp_path / "wide.npy", np.zeros((3, 14), np.uint8))
    ran = cli(
        "job", "submit", "--model", "wine-grading", "--data", tmp_path / "wide.npy", "--reward", 1, "--publish", "."
    )
    assert ran.code == ExitCode.BAD_INPUT and "wrong feature count" in ran.err
    ran = cli(
        "job", "submit", "--model", "wine-grading", "--data", tmp_path / "no.csv", "--reward", 1, "--publish", "."
    )
    assert ran.code == ExitCode.BAD_INPUT and "no.csv" in ran.err
    ran = cli("job", "submit", "--model", "wine-grading", "--data", wine_csv, "--reward", 1)
    assert ran.code == ExitCode.USAGE and "--publish" in ran.err and "--data-uri" in ran.err
    assert network.nonce(0) == before


def test_a_served_copy_with_another_root_is_refused_before_the_reward_is_paid(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, wine_csv: Path, tmp_path: Path
) -> None:
    before = network.nonce(0)
    served = tmp_path / "served.rows"
    rows = wine_rows(20).tobytes()
    given = ("--model", "wine-grading", "--data", wine_csv, "--reward", 1, "--data-uri", served.as_uri())
    for content in (bytes([rows[0] ^ 1]) + rows[1:], rows[:-1], rows + b"\0"):
        served.write_bytes(content)
        ran = cli("job", "submit", *given)
        assert ran.code == ExitCode.BAD_INPUT and "it is other data" in ran.err, ran.err
    served.unlink()
    ran = cli("job", "submit", *given)
    assert ran.code == ExitCode.NOT_FOUND and "there is no such file" in ran.err
    assert network.nonce(0) == before
    served.write_bytes(rows)
    assert cli("job", "submit", *given, "--seats", 1).code == 0


def test_a_job_is_created_once_for_a_nonce(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, wine_csv: Path, tmp_path: Path
) -> None:
    job_id = submit(cli, wine_csv, tmp_path / "data", staked, "--nonce", 5)
    before = network.nonce(0)
    given = ("--model", "wine-grading", "--data", wine_csv, "--publish", tmp_path / "data", "--reward", "0.01 ether")
    again = cli("job", "submit", *given, "--seats", 1, "--quorum", 1, "--seat-stake", staked, *SHORT, "--nonce", 5)
    assert again.code == ExitCode.REFUSED and "JobExists" in again.err
    assert f"job 0x{job_id.hex()}" in again.err, "its id is known before anything is sent"
    assert network.nonce(0) == before


# ---- Looking ----


@pytest.mark.parametrize("command", [("job", "show"), ("job", "watch"), ("job", "settle"), ("verdict", "get")])
def test_an_unknown_job_is_not_found_and_a_malformed_id_is_usage(
    cli: Cli, network: Chain, requester: str, command: tuple[str, ...]
) -> None:
    index = (0,) if command[0] == "verdict" else ()
    ran = cli(*command, "0x" + "ef" * 32, *index)
    assert ran.code == ExitCode.NOT_FOUND and "there is no job 0xefef" in ran.err
    ran = cli(*command, "0x12", *index)
    assert ran.code == ExitCode.USAGE and "is no job id" in ran.err


def test_a_job_s_whole_life_is_told_and_its_verdicts_are_proved(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, tmp_path: Path
) -> None:
    data = write_wine(tmp_path / "wine.csv", 20)
    job_id = submit(cli, data, tmp_path / "data", staked)
    shown, life = "0x" + job_id.hex(), Life(network, job_id)
    facts = cli("job", "show", shown, "--json").data
    assert (facts["phase"], facts["requester"], facts["cost_to_corrupt"]) == ("drawing", requester, str(staked // 2))
    early = cli("verdict", "get", shown, 0)
    assert early.code == ExitCode.UNFINISHED and "no verdict yet" in early.err
    watched = cli("job", "watch", shown, "--timeout", 1, "--json")
    assert watched.code == ExitCode.UNFINISHED
    assert json.loads(watched.out.splitlines()[0])["event"] == "JobCreated"

    life.reveal(true_root(wine_rows(20)))
    facts = cli("job", "show", shown, "--json").data
    assert facts["phase"] == "challenging" and facts["roots"][0]["standing"] == "stands"
    too_early = cli("job", "settle", shown)
    assert too_early.code == ExitCode.REFUSED and "WrongPhase" in too_early.err and "quorate job show" in too_early.err
    network.pass_time(301)
    assert "quorate job settle" in cli("job", "show", shown).out
    assert cli("job", "settle", shown, "--json").data["outcome"] == "accepted"
    life.release()

    watched = cli("job", "watch", shown, "--json")
    assert watched.code == 0
    events = [json.loads(line).get("event") for line in watched.out.splitlines()]
    assert [one for one in events if one] == [
        "JobCreated",
        "Drawn",
        "Committed",
        "Revealed",
        "Settled",
        "SeatsReleased",
    ]
    assert job_id.hex() in cli("job", "list", "--requester", requester).out
    assert cli("job", "list", "--requester", "0x" + "11" * 20, "--json").data == []

    check_verdicts(cli, shown, tmp_path)


def check_verdicts(cli: Cli, job: str, tmp_path: Path) -> None:
    """The verdicts of the accepted job over twenty wines: what they say, and every way of getting them wrong."""
    model = zoo.load("wine-grading")
    logits = Runtime(model.network).run(wine_rows(20))
    for index in (0, 7, 19):
        got = cli("verdict", "get", job, index, "--json")
        assert got.code == 0, got.err
        assert got.data["logits"] == logits[index].tolist()
        assert got.data["class"] == model.card.classes[int(logits[index].argmax())]
    proof = tmp_path / "proof.json"
    assert cli("verdict", "prove", job, 7, "-o", proof).code == 0
    assert cli("verdict", "prove", job, 7).data == json.loads(proof.read_text())
    assert cli("verdict", "check", job, 7, "--proof", proof).code == 0
    assert cli("verdict", "check", job, 7, "--json").data["holds"] is True
    forge_proofs(cli, job, proof, tmp_path)

    assert cli("verdict", "get", job, 20).code == ExitCode.NOT_FOUND
    other = cli("verdict", "get", job, 1, "--data", write_wine(tmp_path / "other.csv", 19))
    assert other.code == ExitCode.BAD_INPUT and "it is other data" in other.err
    same = cli("verdict", "get", job, 1, "--data", write_wine(tmp_path / "same.csv", 20), "--json")
    assert same.data["logits"] == logits[1].tolist()
    wrong = cli("verdict", "get", job, 1, "--model", "apple-grading")
    assert wrong.code == ExitCode.BAD_INPUT and "give that model's file" in wrong.err


def forge_proofs(cli: Cli, job: str, proof: Path, tmp_path: Path) -> None:
    """Proofs that were changed in any part do not hold; what is no proof is refused."""
    true = json.loads(proof.read_text())
    forged = tmp_path / "forged.json"
    flipped = "0x" + format(int(true["output"], 16) ^ 1, "024x")
    siblings = ["0x" + "00" * 32, *true["siblings"][1:]]
    for changed in ({"output": flipped}, {"siblings": siblings}, {"siblings": true["siblings"][:-1]}):
        forged.write_text(json.dumps(true | changed))
        ran = cli("verdict", "check", job, 7, "--proof", forged, "--json")
        assert ran.code == ExitCode.REFUSED and ran.data["holds"] is False, changed
    for content in (
        "",
        "[]",
        "{}",
        '{"a": ' * 5000,
        json.dumps(true | {"siblings": ["0x12"]}),
        json.dumps(true | {"index": 8}),
    ):
        forged.write_text(content)
        assert cli("verdict", "check", job, 7, "--proof", forged).code == ExitCode.BAD_INPUT, content[:60]


def test_an_accepted_lie_is_called_one_and_nothing_is_proved_from_it(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, tmp_path: Path
) -> None:
    job_id = submit(cli, write_wine(tmp_path / "wine.csv", 3), tmp_path / "data", staked)
    life = Life(network, job_id)
    life.reveal(keccak(b"a lie"))
    network.pass_time(301)
    assert cli("job", "settle", "0x" + job_id.hex()).code == 0
    life.release()
    ran = cli("verdict", "prove", "0x" + job_id.hex(), 0)
    assert ran.code == ExitCode.FAILED and ran.out == ""
    assert "the accepted result is wrong" in ran.err and keccak(b"a lie").hex() in ran.err


def test_a_job_whose_window_passed_without_a_jury_expires_and_gives_the_reward_back(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, tmp_path: Path
) -> None:
    job_id = submit(cli, write_wine(tmp_path / "wine.csv", 3), tmp_path / "data", staked)
    job = "0x" + job_id.hex()
    Life(network, job_id).draw()
    network.pass_time(301)
    assert "it found no jury in time" in cli("job", "show", job).out
    watched = cli("job", "watch", job, "--json")
    assert watched.code == ExitCode.UNFINISHED and f"`quorate job settle {job}`" in json.loads(watched.err)["error"]
    assert json.loads(watched.out.splitlines()[-1])["phase"] == "settling"
    waiting = cli("verdict", "get", job, 0)
    assert waiting.code == ExitCode.UNFINISHED and "quorate job settle" in waiting.err
    settled = cli("job", "settle", job, "--json")
    assert settled.data["outcome"] == "expired" and settled.data["root"] is None
    assert "`quorate stake withdraw`" in settled.err
    ended = cli("verdict", "get", job, 0)
    assert ended.code == ExitCode.NOT_FOUND and "its window passed without a jury" in ended.err
    late = cli("job", "settle", job)
    assert late.code == ExitCode.REFUSED and "current settled, needed settling" in late.err
    ran = cli("stake", "withdraw", "--json")
    assert ran.code == 0 and int(ran.data["withdrawn"]) >= 10**16


def test_published_rows_are_whole_and_named_after_their_root(
    cli: Cli, network: Chain, wine_id: bytes, staked: int, requester: str, wine_csv: Path, tmp_path: Path
) -> None:
    job_id = submit(cli, wine_csv, tmp_path / "data", staked)
    terms: Terms = Life(network, job_id).view().terms
    (file,) = (tmp_path / "data").iterdir()
    assert file.name == f"{terms.data_root.hex()}.rows"
    assert file.read_bytes() == wine_rows(20).tobytes()
    leaves = [input_leaf(row.tobytes()) for row in wine_rows(20)]
    assert MerkleTree(leaves).root == terms.data_root
