"""The JSON-RPC endpoint of a chain: what it answers, and every way of not answering as a typed error.

Revert data is taken from the raw answer. web3's own reading of it is not used, because whoever wrote the called
contract chooses that data: an unknown panic code or a malformed reason breaks web3's formatter, and EIP-3668 data
would make it fetch URLs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import requests
from eth_typing import ChecksumAddress
from eth_utils.abi import get_abi_output_types
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractConstructor, ContractFunction
from web3.exceptions import BadResponseFormat, TransactionNotFound, Web3RPCError
from web3.types import BlockIdentifier, Nonce, RPCEndpoint, TxParams, Wei

from contracts import errors, nodes
from contracts.nodes import ANSWER_SECONDS, Nodes, Standing

BATCH = 100
"""Questions in one request at most: what providers that take several allow."""
NOWHERE = Web3.to_checksum_address("0x" + "00" * 20)


class Call(NamedTuple):
    """What to execute: data for a contract (or creation code, to None) and the wei sent along."""

    to: ChecksumAddress | None
    data: bytes
    value: int = 0

    def __repr__(self) -> str:
        return f"Call({self.to or 'deployment'}, 0x{self.data[:4].hex()}…, {self.value} wei)"


Sendable: TypeAlias = Call | ContractFunction | ContractConstructor | tuple[ChecksumAddress | None, bytes]


class ChainError(Exception):
    """Anything between us and the chain that is not a contract's own refusal (that is contracts.errors.Reverted)."""


class ChainUnreachable(ChainError):
    """The endpoint does not answer, or not with JSON-RPC. `url` lacks path and password: they can be secrets."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}; is the node running, and is this the URL of its JSON-RPC port?")
        self.url = url
        self.reason = reason


class NodesDisagree(ChainError):
    """The nodes tell different things about what cannot have changed, and none of them has a majority."""


class WrongChain(ChainError):
    """The endpoint serves another chain than the one meant; nothing was sent."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(
            f"expected chain id {expected}, the endpoint serves {got}: correct the URL or the network profile"
        )
        self.expected = expected
        self.got = got


class NoContract(ChainError):
    """The address called holds no code."""

    def __init__(self, address: ChecksumAddress) -> None:
        super().__init__(f"there is no contract at {address} on this chain: correct the address or the network profile")
        self.address = address


class Rejected(ChainError):
    """The node refused a request for a reason of its own (no revert)."""

    def __init__(self, method: str, message: str) -> None:
        super().__init__(f"the node refused {method}: {message[: errors.LONGEST_TEXT]!a}")
        self.method = method
        self.message = message


def call_of(what: Sendable, value: int | None = None) -> Call:
    """The plain call that a web3 function, constructor or tuple stands for, with `value` wei if given."""
    if isinstance(what, ContractFunction):
        # every field that web3 would otherwise ask the chain for is given: this is encoding only
        given: TxParams = {"gas": 0, "gasPrice": Wei(0), "nonce": Nonce(0), "chainId": 0, "value": Wei(0)}
        built = what.build_transaction(given)
        return Call(Web3.to_checksum_address(built["to"]), bytes(HexBytes(built["data"])), value or 0)
    if isinstance(what, ContractConstructor):
        return Call(None, bytes(HexBytes(what.data_in_transaction)), value or 0)
    call = Call(*what)
    return call if value is None else call._replace(value=value)


class Endpoint:
    """A chain behind a URL, or several separated by commas (contracts.nodes), or a connected Web3.

    Its chain id is checked once, before the first request. Every method raises ChainUnreachable, WrongChain, NodesDisagree
    and Rejected.
    """

    def __init__(self, where: str | Web3, *, chain_id: int | None = None) -> None:
        self.web3 = where if isinstance(where, Web3) else Web3(_provider(where, chain_id))
        self.shown = getattr(self.web3.provider, "shown", None) or type(self.web3.provider).__name__
        self._expected = chain_id
        self._chain_id: int | None = None
        self._contracts: set[ChecksumAddress] = set()

    def __repr__(self) -> str:
        return f"Endpoint({self.shown})"

    @property
    def chain_id(self) -> int:
        """The chain's id, asked for once. Raises WrongChain if another was expected."""
        if self._chain_id is None:
            got = int(self._ask("eth_chainId", []), 16)
            if self._expected not in (None, got):
                assert self._expected is not None
                raise WrongChain(self._expected, got)
            self._chain_id = got
        return self._chain_id

    def standings(self) -> list[Standing]:
        """How each node does; empty for a connected Web3."""
        provider = self.web3.provider
        return provider.standings() if isinstance(provider, Nodes) else []

    def ask(self, method: str, *params: Any) -> Any:
        """The raw result of one request. Raises errors.Reverted for a revert."""
        _ = self.chain_id
        return self._ask(method, list(params))

    def ask_each(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """As `ask` with each of the parameters, many in one request where the node takes that."""
        _ = self.chain_id
        results: list[Any] = []
        for start in range(0, len(params), BATCH):
            part = [list(one) for one in params[start : start + BATCH]]
            answers = self._batch(method, part) if len(part) > 1 else []
            for one, answer in zip(part, answers or [{}] * len(part), strict=True):
                told = answer.get("result")
                results.append(self._ask(method, one) if told is None else told)
        return results

    def simulate(self, call: Call, sender: ChecksumAddress = NOWHERE, block: BlockIdentifier = "latest") -> bytes:
        """What the call returns at the state after `block`; sends nothing. Raises errors.Reverted, NoContract."""
        self._require_code(call)
        return bytes(HexBytes(self.ask("eth_call", _params(call, sender), _block_param(block))))

    def estimate_gas(self, call: Call, sender: ChecksumAddress) -> int:
        """Gas units the call needs now. Raises errors.Reverted."""
        return int(self.ask("eth_estimateGas", _params(call, sender)), 16)

    def read(self, function: ContractFunction, block: BlockIdentifier = "latest") -> Any:
        """The decoded result of a view function. Raises errors.Reverted, NoContract."""
        _ = self.chain_id
        try:
            with self.reaching():
                return function.call({}, block, ccip_read_enabled=False)
        except ChainUnreachable:
            raise
        except Exception:
            self.simulate(call_of(function), block=block)  # says what it was in our own words
            raise

    def read_each(self, functions: Sequence[ContractFunction], block: BlockIdentifier) -> list[Any]:
        """As `read` of each, many in one request where the node takes that; addresses in it are in lower case."""
        calls = [call_of(function) for function in functions]
        for call in calls:
            self._require_code(call)
        params = [(_params(call, NOWHERE), _block_param(block)) for call in calls]
        read = []
        for function, told in zip(functions, self.ask_each("eth_call", params), strict=True):
            values = self.web3.codec.decode(get_abi_output_types(function.abi), bytes(HexBytes(told)))
            read.append(values[0] if len(values) == 1 else values)
        return read

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Around any use of `web3`: its transport and node errors become ChainUnreachable and Rejected."""
        try:
            yield
        except TransactionNotFound:
            raise
        except Web3RPCError as error:
            raise Rejected("a request", error.message or str(error)) from None
        except nodes.NodesDisagree as disagreement:
            raise NodesDisagree(str(disagreement)) from None
        except (requests.RequestException, BadResponseFormat, json.JSONDecodeError, OSError) as error:
            # the cause is dropped: its text holds the whole URL
            raise ChainUnreachable(self.shown, _reason(error)) from None

    def _ask(self, method: str, params: list[Any]) -> Any:
        with self.reaching():
            answer = self.web3.provider.make_request(RPCEndpoint(method), params)
        if not isinstance(answer, dict) or not ("result" in answer or isinstance(answer.get("error"), dict)):
            raise ChainUnreachable(self.shown, "it answers, but not with JSON-RPC")
        error: Any = answer.get("error")
        if not error:
            return answer["result"]
        message = str(error.get("message", "no message"))
        data = _revert_data(error.get("data"))
        if method in ("eth_call", "eth_estimateGas") and (
            data or error.get("code") == 3 or "revert" in message.lower()
        ):
            raise errors.decode(data or b"")
        raise Rejected(method, message)

    def _batch(self, method: str, params: list[list[Any]]) -> list[dict[str, Any]]:
        if not isinstance(self.web3.provider, Nodes):
            return []
        with self.reaching():
            answers = self.web3.provider.make_batch(method, params)
        return [{**answer} for answer in answers] if all(isinstance(one, dict) for one in answers) else []

    def _require_code(self, call: Call) -> None:
        # a call of an address without code succeeds and does nothing: on the wrong network that would look like success
        if call.to is None or not call.data or call.to in self._contracts:
            return
        if not HexBytes(self.ask("eth_getCode", call.to, "latest")):
            raise NoContract(call.to)
        self._contracts.add(call.to)


def _provider(given: str, chain_id: int | None) -> Nodes:
    try:
        return Nodes(nodes.split_urls(given), chain_id=chain_id)
    except ValueError as error:
        raise ChainUnreachable("the given URL", str(error)) from None


def _params(call: Call, sender: ChecksumAddress) -> dict[str, str]:
    params = {"from": str(sender), "data": "0x" + call.data.hex(), "value": hex(call.value)}
    return params if call.to is None else {**params, "to": str(call.to)}


def _block_param(block: BlockIdentifier) -> str:
    if isinstance(block, int):
        return hex(block)
    return block if isinstance(block, str) else "0x" + bytes(block).hex()


def _revert_data(data: Any) -> bytes | None:
    """Revert data as nodes give it: a hex string, "Reverted 0x…", or one level deeper; None where there is none."""
    if isinstance(data, dict):
        data = data.get("data") or data.get("result")
    if not isinstance(data, str):
        return None
    try:
        return bytes.fromhex(data.removeprefix("Reverted ").removeprefix("0x"))
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return f"no answer within {ANSWER_SECONDS:g} s"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.JSONDecodeError | json.JSONDecodeError | BadResponseFormat):
        return "it answers, but not with JSON-RPC"
    if isinstance(error, requests.ConnectionError | OSError) and not isinstance(error, ValueError):
        return "nothing answers there"
    return "this is no http:// or https:// URL"
