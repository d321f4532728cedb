"""Where the Python EVM's chain is stricter than anvil, keeps time, forgets, and withstands what is thrown at it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from web3.contract import Contract

from coordinator.devnet import DevChain, DevServer, RpcError, dev_accounts, find_anvil, running_chain, serve
from coordinator.devnet import chain as chain_module
from coordinator.devnet.server import LARGEST_BATCH, LONGEST_BODY
from tests.coordinator.chain_driver import GWEI, Driver, Refusal


@pytest.fixture
def server() -> Iterator[DevServer]:
    with serve(DevChain(block_time=None)) as server:
        yield server


@pytest.fixture
def chain(server: DevServer) -> Driver:
    return Driver("py-evm", server.url)


@pytest.fixture
def probe(chain: Driver) -> Contract:
    return chain.deploy()


def post(server: DevServer, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    try:
        connection.request("POST", "/", body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_alive(server: DevServer) -> bool:
    status, body = post(server, b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}')
    return status == 200 and json.loads(body) == {"jsonrpc": "2.0", "id": 1, "result": "0x7a69"}


# --- rules ---


def test_a_replacement_needs_ten_per_cent_on_both_fees(chain: Driver) -> None:
    base: dict[str, Any] = {"nonce": 0, "to": chain.accounts[1].address, "value": 1}
    chain.send(**base, maxFeePerGas=10 * GWEI, maxPriorityFeePerGas=GWEI)
    for fee, tip in ((11 * GWEI - 1, 2 * GWEI), (20 * GWEI, GWEI * 11 // 10 - 1)):
        with pytest.raises(Refusal, match="replacement transaction underpriced"):
            chain.send(**base, maxFeePerGas=fee, maxPriorityFeePerGas=tip)
    new = chain.send(**base, maxFeePerGas=11 * GWEI, maxPriorityFeePerGas=GWEI * 11 // 10)
    assert chain.mine()["transactions"] == [new]


def test_the_gas_cap_of_eip_7825_holds_for_sending_and_estimating(chain: Driver, probe: Contract) -> None:
    with pytest.raises(Refusal, match="cap: 16777216"):
        chain.send(to=chain.accounts[1].address, gas=(1 << 24) + 1)
    kept = chain.send(to=chain.accounts[1].address, gas=1 << 24)
    assert chain.mine()["transactions"] == [kept]
    with pytest.raises(Refusal, match="gas required exceeds allowance"):
        chain.ask("eth_estimateGas", {"to": probe.address, "data": probe.encode_abi("storeMany", [1, 800])})


def test_gas_below_the_calldata_floor_is_refused(chain: Driver) -> None:
    for data, least in (("0x" + "ff" * 1_000, 61_000), ("0x" + "00" * 1_000, 31_000), ("0x", 21_000)):
        with pytest.raises(Refusal, match=f"intrinsic gas too low: gas {least - 1}, minimum needed {least}"):
            chain.send(to=chain.accounts[1].address, data=data, gas=least - 1)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chainId": 1}, "invalid chain id"),
        ({"maxFeePerGas": 1, "maxPriorityFeePerGas": 2}, "max priority fee per gas higher"),
        ({"data": "0x" + "00" * 131_000, "gas": 10_000_000}, "oversized data"),
        ({"to": "", "data": "0x" + "00" * 49_153, "gas": 10_000_000}, "max initcode size exceeded"),
        ({"to": "", "data": "0x" + "00" * 49_152, "gas": 256_072}, "intrinsic gas too low"),
    ],
)
def test_a_transaction_against_the_rules_is_refused_with_the_reason(
    chain: Driver, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refusal, match=reason) as refused:
        chain.send(**{"to": chain.accounts[1].address, **fields})
    assert refused.value.code == -32000


def test_bytes_that_are_no_transaction_are_refused(chain: Driver) -> None:
    raw = chain.sign(nonce=0, to=chain.accounts[1].address)
    flipped = raw[:-2] + f"{int(raw[-2:], 16) ^ 1:02x}"  # another, unfunded, sender
    for bad in ("0x", "0x02", "0x03c0", "0x04c0", "0xff", "0xc0", raw + "00", raw[:-2], flipped, "0x" + "c1" * 5_000):
        with pytest.raises(Refusal) as refused:
            chain.ask("eth_sendRawTransaction", bad)
        assert refused.value.code == -32000, bad
    unprotected = chain.accounts[0].sign_transaction(
        {"nonce": 0, "gas": 21_000, "gasPrice": GWEI, "value": 0, "to": chain.accounts[1].address}
    )
    with pytest.raises(Refusal, match="EIP-155"):
        chain.ask("eth_sendRawTransaction", unprotected.raw_transaction.to_0x_hex())
    assert chain.mine()["transactions"] == []


def test_a_sender_cannot_promise_the_same_money_twice(chain: Driver) -> None:
    half = dev_accounts()[bytes.fromhex(chain.accounts[0].address[2:])] * 6 // 10
    chain.send(to=chain.accounts[1].address, value=half)
    with pytest.raises(Refusal, match="queued cost"):
        chain.send(to=chain.accounts[1].address, value=half)


def test_a_transaction_that_became_unpayable_is_dropped_and_holds_nobody_up(chain: Driver) -> None:
    poor = chain.send(0, to=chain.accounts[1].address, value=10**18)
    fine = chain.send(1, to=chain.accounts[0].address, value=1)
    chain.ask("anvil_setBalance", chain.accounts[0].address, "0x1")
    assert chain.mine()["transactions"] == [fine]
    assert chain.ask("eth_getTransactionByHash", poor) is None


def test_a_transaction_waits_while_its_fee_is_below_the_base_fee(chain: Driver) -> None:
    waiting = chain.send(to=chain.accounts[1].address, maxFeePerGas=GWEI // 2, maxPriorityFeePerGas=0)
    assert chain.mine()["transactions"] == []
    chain.ask("anvil_mine", "0xa")
    assert chain.receipt(waiting) is not None


def test_a_block_is_never_fuller_than_its_gas_limit(chain: Driver) -> None:
    sent = [chain.send(i, to=chain.accounts[5].address, gas=1 << 24) for i in range(3)]
    # each uses 21,000, but what may be used must fit: 21,000 + 21,000 + 2^24 does
    assert chain.mine()["transactions"] == sent
    for i in range(3):
        chain.send(i, data="0xfe", gas=15_000_000)  # a deployment whose first opcode is INVALID burns it all
    full = chain.mine()
    assert len(full["transactions"]) == 2 and int(full["gasUsed"], 16) == 30_000_000
    after = chain.mine()
    assert len(after["transactions"]) == 1
    assert int(after["baseFeePerGas"], 16) > int(full["baseFeePerGas"], 16)


def test_the_pending_block_shows_what_would_be_mined(chain: Driver, probe: Contract) -> None:
    sent = chain.send(to=probe.address, data=probe.encode_abi("store", [4, 44]))
    assert chain.block("pending")["transactions"] == [sent]
    assert int.from_bytes(chain.call(probe, "stored", 4, block="pending"), "big") == 44
    assert chain.call(probe, "stored", 4) == bytes(32)
    assert chain.receipt(sent) is None
    assert chain.mine()["transactions"] == [sent]


def test_a_reorganisation_gives_its_transactions_back_to_the_mempool(chain: Driver, probe: Contract) -> None:
    sent = [chain.send(i, to=probe.address, data=probe.encode_abi("store", [i, 1])) for i in range(3)]
    old = chain.mine()
    chain.ask("anvil_reorg", 1, [])
    new = chain.block()
    assert (new["number"], new["timestamp"], new["transactions"]) == (old["number"], old["timestamp"], [])
    assert new["mixHash"] != old["mixHash"]
    assert chain.ask("eth_getTransactionByHash", sent[0])["blockHash"] is None
    assert sorted(chain.mine()["transactions"]) == sorted(sent)
    for depth in (0, 10**6, "0x" + "ff" * 32):
        with pytest.raises(Refusal, match="reorganisation"):
            chain.ask("anvil_reorg", depth)


def test_the_same_seed_gives_the_same_prevrandao_and_another_one_does_not() -> None:
    def draw(seed: bytes) -> list[str]:
        chain = DevChain(block_time=None, seed=seed, timestamp=1_700_000_000)
        chain.rpc("anvil_mine", [5])
        return [chain.rpc("eth_getBlockByNumber", [hex(number), False])["mixHash"] for number in range(1, 6)]

    assert draw(b"a") == draw(b"a")
    assert not set(draw(b"a")) & set(draw(b"b"))


# --- time ---


def test_blocks_come_with_the_wall_clock_and_never_ahead_of_it() -> None:
    with DevChain(block_time=1.0) as chain:
        until = time.monotonic() + 30
        while int(chain.rpc("eth_blockNumber"), 16) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        blocks = [chain.rpc("eth_getBlockByNumber", [hex(number), False]) for number in range(4)]
        stamps = [int(block["timestamp"], 16) for block in blocks]
        assert stamps == sorted(set(stamps))
        assert stamps[-1] <= time.time()
        chain.rpc("anvil_mine", [100])
        ahead = int(chain.rpc("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)
        assert ahead >= stamps[-1] + 100
        number = chain.head.number
        while chain.head.number < number + 2 and time.monotonic() < until:
            time.sleep(0.05)
        assert chain.head.number >= number + 2, "mining must go on after blocks on demand"


def test_the_next_timestamp_must_be_in_the_future_of_the_chain(chain: Driver) -> None:
    stamp = int(chain.block()["timestamp"], 16)
    for bad in (stamp, stamp - 1, 0, 1 << 63, -1, "soon", None):
        with pytest.raises(Refusal) as refused:
            chain.ask("evm_setNextBlockTimestamp", bad)
        assert refused.value.code == -32602
    with pytest.raises(Refusal):
        chain.ask("evm_increaseTime", hex(1 << 63))
    assert int(chain.mine()["timestamp"], 16) > stamp


@pytest.mark.parametrize("period", [0.0, 0.5, -1.0, float("nan"), float("inf")])
def test_a_block_time_that_would_outrun_the_clock_is_refused(period: float) -> None:
    with pytest.raises(ValueError, match="None to mine on demand"):
        DevChain(block_time=period)


# --- memory ---


def test_old_states_are_swept_and_recent_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "STATES_KEPT", 8)
    monkeypatch.setattr(chain_module, "SWEEP_AT", 60)
    with serve(DevChain(block_time=None)) as server:
        chain = Driver("py-evm", server.url)
        probe = chain.deploy()
        snapshot = chain.ask("evm_snapshot")
        for value in range(60):
            chain.send(to=probe.address, data=probe.encode_abi("store", [value % 7, value]))
            chain.mine()
        head = chain.height()
        for back in range(7):
            got = chain.call(probe, "stored", (59 - back) % 7, block=hex(head - back))
            assert int.from_bytes(got, "big") == 59 - back
        with pytest.raises(Refusal, match="no longer kept"):
            chain.call(probe, "stored", 1, block=hex(head - 40))
        assert len(server.chain._store) < 400
        assert chain.ask("evm_revert", snapshot) is True
        assert chain.call(probe, "stored", 1) == bytes(32)
        chain.send(to=probe.address, data=probe.encode_abi("store", [1, 5]))
        chain.mine()
        assert int.from_bytes(chain.call(probe, "stored", 1), "big") == 5


# --- attackers ---


def test_recursion_to_the_evms_depth_limit_is_survived(chain: Driver, server: DevServer, probe: Contract) -> None:
    depth = int.from_bytes(chain.call(probe, "plunge", 0, gas=hex(50_000_000)), "big")
    assert depth > 300
    sent = chain.send(to=probe.address, data=probe.encode_abi("plunge", [0]), gas=16_000_000)
    chain.mine()
    assert (chain.receipt(sent) or {})["status"] == "0x1"
    assert is_alive(server)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"17",
        b'"eth_chainId"',
        b"[]",
        b"[1, null, []]",
        b"{}",
        b'{"method": 3}',
        b'{"id": {}, "method": "eth_chainId"}',
        b'{"id": 1, "method": "eth_chainId", "params": {"a": 1}}',
        b'{"id": 1, "method": "eth_chainId", "params": [1, 2, 3]}',
        b'{"id": 1, "method": "__class__", "params": []}',
        b'{"id": 1, "method": "eth_getBlockByNumber", "params": [' + b"9" * 5_000 + b"]}",
        b'{"id": 1, "method": "eth_getBlockByNumber", "params": [NaN, true]}',
        b'{"id": 1, "method": "eth_call", "params": [{"to": [], "data": {}}, "latest"]}',
        b'{"id": 1, "method": "eth_getLogs", "params": [{"topics": [[[[]]]]}]}',
        b'{"id": 1, "method": "eth_getLogs", "params": [{"fromBlock": "0x9", "toBlock": "0x1"}]}',
        b'{"id": 1, "method": "eth_feeHistory", "params": ["0x1", "latest", ["a"]]}',
        b'{"id": 1, "method": "eth_call", "params": [{"nosuch": 1}]}',
        b"[" * 100_000,
        b'{"id": 1, "method": "' + b"\\" * 9 + b'", "params": ' + b"[" * 100_000,
        ("[" * 100_000).encode("utf-16"),
        b"\xff\xfe\x00" * 100,
        b'{"id": 1, "method": "' + "é\\ud800".encode() + b'"}',
    ],
)
def test_a_malformed_request_is_answered_with_an_error(server: DevServer, body: bytes) -> None:
    status, answer = post(server, body)
    assert status == 200
    answers = json.loads(answer)
    for one in answers if isinstance(answers, list) else [answers]:
        assert one["error"]["code"] in (-32700, -32600, -32601, -32602)
        assert len(one["error"]["message"]) < 600
    assert is_alive(server)


def test_batches_are_answered_in_order_and_notifications_are_not(server: DevServer) -> None:
    batch = [{"id": i, "method": "eth_chainId"} for i in range(3)] + [{"method": "eth_chainId"}, {"id": "x"}]
    status, body = post(server, json.dumps(batch).encode())
    answers = json.loads(body)
    assert status == 200 and [answer["id"] for answer in answers] == [0, 1, 2, None]
    assert answers[3]["error"]["code"] == -32600
    assert post(server, b'{"method": "eth_chainId"}') == (204, b"")
    too_many = json.dumps([{"id": 1, "method": "eth_chainId"}] * (LARGEST_BATCH + 1)).encode()
    assert json.loads(post(server, too_many)[1])["error"]["code"] == -32600


def test_a_huge_body_is_refused_unread(server: DevServer) -> None:
    with socket.create_connection((server.host, server.port), timeout=20) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (LONGEST_BODY + 1))
        assert b" 413 " in raw.recv(4_096)
    for header in (b"Content-Length: -1", b"Content-Length: x", b"X: y", b"Content-Length: 1\r\nContent-Length: 2"):
        with socket.create_connection((server.host, server.port), timeout=20) as raw:
            raw.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n")
            assert b" 411 " in raw.recv(4_096)
    with socket.create_connection((server.host, server.port), timeout=20) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert b" 501 " in raw.recv(4_096)
    assert is_alive(server)


def test_web_pages_and_foreign_host_names_are_refused(server: DevServer) -> None:
    body = b'{"id": 1, "method": "eth_chainId"}'
    assert post(server, body, Origin="https://attacker.example")[0] == 403
    for host in ("attacker.example", f"attacker.example:{server.port}", "localhost.attacker.example", "", "[::1].x"):
        assert post(server, body, Host=host)[0] == 403, host
    for host in ("localhost", f"localhost:{server.port}", f"127.0.0.1:{server.port}", "[::1]:8545"):
        assert post(server, body, Host=host)[0] == 200, host
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    connection.request("OPTIONS", "/", headers={"Origin": "https://attacker.example"})
    answer = connection.getresponse()
    assert answer.status == 405
    assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control")]
    connection.close()


def test_names_can_be_allowed_by_hand() -> None:
    with serve(DevChain(block_time=None), names=["chain"]) as server:
        body = b'{"id": 1, "method": "eth_chainId"}'
        assert post(server, body, Host="chain:8545")[0] == 200
        assert post(server, body, Host="other:8545")[0] == 403


def test_many_clients_at_once_see_one_consistent_chain(chain: Driver, probe: Contract) -> None:
    def work(sender: int) -> list[str]:
        own = Driver("py-evm", chain.url)
        sent = []
        for i in range(10):
            data = probe.encode_abi("store", [sender * 100 + i, 1])
            sent.append(own.send(sender, to=probe.address, data=data))
            own.ask("evm_mine")
            own.call(probe, "stored", sender * 100 + i)
        return sent

    with ThreadPoolExecutor(5) as pool:
        everything = [one for sent in pool.map(work, range(5)) for one in sent]
    chain.mine()
    assert all((chain.receipt(one) or {})["status"] == "0x1" for one in everything)


def test_a_closed_server_answers_nobody_not_even_open_connections() -> None:
    server = serve(DevChain(block_time=1.0))
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    body = b'{"id": 1, "method": "eth_chainId"}'
    connection.request("POST", "/", body)
    assert connection.getresponse().read()
    server.close()
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.request("POST", "/", body)
        connection.getresponse()
    with pytest.raises(OSError):
        socket.create_connection((server.host, server.port), timeout=5).close()


def test_the_chain_is_asked_in_process_too() -> None:
    chain = DevChain(block_time=None)
    assert chain.rpc("eth_chainId") == "0x7a69"
    with pytest.raises(RpcError) as refused:
        chain.rpc("eth_getBalance", [])
    assert refused.value.code == -32602 and "eth_getBalance" in refused.value.message


def test_an_anvil_named_by_the_environment_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUORATE_ANVIL", str(tmp_path / "anvil"))
    with pytest.raises(FileNotFoundError, match="QUORATE_ANVIL"):
        find_anvil()
    impostor = tmp_path / "anvil"
    impostor.write_text("#!/bin/sh\nexit 3\n")
    impostor.chmod(0o755)
    assert find_anvil() == impostor
    with pytest.raises(RuntimeError, match="status 3"), running_chain("anvil"):
        pass
