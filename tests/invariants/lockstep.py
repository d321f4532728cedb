"""The contracts and the specification, side by side: every transaction goes to both, and they must agree.

After each: both refuse it, with the same error and the same values, or neither; the same events in the same order; the same
answer to every question about what the transaction can have changed; the oracle holds what it owes, to the wei.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from eth_utils import keccak
from eth_utils.abi import abi_to_signature, collapse_if_tuple

from contracts import errors
from contracts.job import TERMS_TYPES
from contracts.specification import Environment, Event, Refused, State, transact
from contracts.specification.books import accounted
from tests.contracts.chain import NOBODY, load
from tests.invariants import calldata
from tests.invariants.fast_chain import FastChain
from tests.invariants.observables import Divergence, Observer, phase_views

INTERFACES = ("ComputeOracle", "Disputes", "ModelRegistry", "FixedSeed", "MerkleProof", "StakeLibrary")
Log = tuple[tuple[bytes, ...], bytes]
Circumstances = Sequence[Any] | Callable[[bytes], Sequence[Any]]


class Played(NamedTuple):
    """What came of a transaction, by both."""

    events: list[Event]
    refusal: Refused | None = None
    data: bytes = b""
    """The revert's."""
    heard: Sequence[Log] = ()
    """The listener's logs."""


class Lockstep:
    """One oracle on one chain, and the state that it should have."""

    def __init__(self, chain: FastChain, oracle: str, state: State) -> None:
        self.chain = chain
        self.oracle = oracle
        self.state = state
        self.observer = Observer(chain, oracle)
        self.listener = NOBODY
        """Whose logs are told along with what a transaction came to."""

    def play(
        self,
        sender: str,
        entry_point: Any,
        *arguments: Any,
        value: int = 0,
        gas: int | None = None,
        circumstances: Circumstances = (),
    ) -> Played:
        """One transaction. `circumstances` are the specification's further arguments, that is what others do with it: known
        beforehand, or from what the contracts returned.

        Raises Divergence, and Halted where the EVM stopped without a revert.
        """
        env = self.env(sender, value)
        done, output = self.chain.attempt(sender, self.oracle, calldata.encode(entry_point, *arguments), value, gas)
        said, heard = (self.chain.logs_of(who) if done else [] for who in (self.oracle, self.listener))
        further = circumstances(output) if callable(circumstances) else circumstances
        before = self.state
        try:
            self.state = transact(before, env, entry_point, *arguments, *further)
        except Refused as refusal:
            if done:
                raise Divergence(f"happened; it should be refused with {refusal}") from None
            if output != revert_data(refusal):
                raise Divergence(f"refused with {errors.decode(output)}; it should be with {refusal}") from None
            return Played([], refusal, output)
        if not done:
            raise Divergence(f"refused with {errors.decode(output)}; it should happen")
        expected = [encode_event(event) for event in self.state.events]
        if said != expected:
            raise Divergence(f"said\n  {said}\nand should say\n  {self.state.events}, that is\n  {expected}")
        self.observer.compare_money(self.state)
        if accounted(self.state) != self.state.balance:
            raise Divergence(f"owes {accounted(self.state)} and holds {self.state.balance}")
        self.observer.compare(self.observer.changes(before, self.state, env))
        return Played(self.state.events, heard=heard)

    def compare_everything(self) -> None:
        """Also what the last transaction should not have changed."""
        self.observer.compare_money(self.state)
        self.observer.compare(self.observer.everything(self.state, self.env()))

    def compare_phases(self) -> None:
        """Where every job stands in the present block."""
        env = self.env()
        for record in self.state.jobs.values():
            self.observer.compare(phase_views(record, env, is_end_asked=False))

    def env(self, sender: str = NOBODY, value: int = 0) -> Environment:
        """A transaction in the present block."""
        return Environment(sender, self.chain.time, self.chain.number, value)  # type: ignore[arg-type]


# ---- Errors and events as the contracts encode them


class _Shape(NamedTuple):
    selector: bytes
    indexed: list[tuple[str, str]]
    plain: list[tuple[str, str]]


def _shapes(type_: str) -> dict[str, _Shape]:
    shapes = {}
    for entry in (entry for name in INTERFACES for entry in load(name)["abi"] if entry["type"] == type_):
        inputs = [(each["name"], str(collapse_if_tuple(each)), each.get("indexed", False)) for each in entry["inputs"]]
        shapes[entry["name"]] = _Shape(
            keccak(text=abi_to_signature(entry)),
            [(name, kind) for name, kind, indexed in inputs if indexed],
            [(name, kind) for name, kind, indexed in inputs if not indexed],
        )
    return shapes


ERRORS = _shapes("error")
EVENTS = _shapes("event")


def revert_data(refusal: Refused) -> bytes:
    """What the contracts revert with."""
    if not refusal.name:
        return b""
    shape = ERRORS[refusal.name]
    return shape.selector[:4] + _encode(shape, refusal.values)


def encode_event(event: Event) -> Log:
    """(topics, data) of its log."""
    shape = EVENTS[event.name]
    topics = [calldata.word_of(kind, event.args[name]) for name, kind in shape.indexed]
    return (shape.selector, *topics), _encode(shape, [event.args[name] for name, _ in shape.plain])


def _encode(shape: _Shape, values: Sequence[Any]) -> bytes:
    return calldata.pack(*[_part(kind, value) for (_, kind), value in zip(shape.plain, values, strict=True)])


def _part(kind: str, value: Any) -> bytes:
    """A value of any type that the errors and events have."""
    if kind == calldata.TERMS:
        return calldata.static(TERMS_TYPES, value)
    if kind == calldata.GOLD:
        position, index, output, salt, siblings = value
        words = (calldata.word(position), calldata.word(index), calldata.blob(output), salt, calldata.words(siblings))
        return calldata.Tail(calldata.pack(*words))
    if kind.endswith("[]"):
        return calldata.words([calldata.word_of(kind[:-2], each) for each in value])
    if kind in ("bytes", "string"):
        return calldata.blob(value if kind == "bytes" else value.encode())
    return calldata.word_of(kind, value)
