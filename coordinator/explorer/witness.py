"""What the projection does not hold: asked of the chain, or recomputed from public models and data."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from eth_abi.abi import decode as abi_decode
from eth_typing import ABIFunction
from eth_utils import keccak
from eth_utils.abi import abi_to_signature, get_abi_input_types
from hexbytes import HexBytes

from contracts import errors
from contracts.abi import artifact
from contracts.deployment import Contracts
from contracts.job import Outcome, Terms
from contracts.merkle import result_leaf
from contracts.model_registry import Model as Registered
from coordinator.explorer.read_model import Evidence, ModelCard, Proof, ProofStep, Refutation
from coordinator.job_view import JobView
from oracle_worker.data import DataStore
from oracle_worker.data_errors import DataError
from oracle_worker.model_store import Model, ModelNotFound, ModelStore, WrongModel
from oracle_worker.settings import WorkerSettings

if TYPE_CHECKING:
    from models.network import IntegerNetwork

MOST_ITEMS = 1 << 20
"""Items of a job that are recomputed for whoever looks at a page; `quorate verdict prove` has no bound."""
MOST_MACS = 10**10
"""Multiplications of a job likewise."""
MOST_EVIDENCE = 256
"""Refutations whose evidence is remembered."""
CACHE_BYTES = 1 << 30
"""Disk for results, and for data."""
PATIENCE = 10.0
"""Seconds that a proof waits for another one's recomputation."""


class NoProof(Exception):
    """An item's verdict cannot be proved; the text says why, and what to do."""


class Busy(Exception):
    """Another proof is being recomputed; the same question may be asked again in a few seconds."""

    def __init__(self) -> None:
        super().__init__("another job's results are being recomputed: ask again in a few seconds")


@dataclass(frozen=True)
class ZooModel:
    """A model of the zoo, by its id."""

    name: str
    network: IntegerNetwork
    card: ModelCard


class Witness:
    """For several threads. It fetches only where `settings` let a worker fetch: URIs are written by strangers."""

    def __init__(self, contracts: Contracts, settings: WorkerSettings, folder: Path) -> None:
        """folder: where results and data are kept; deletable."""
        self.contracts = contracts
        self._settings = settings
        self._folder = folder
        self._models = ModelStore(settings.model_folders)
        self._registered: dict[bytes, Registered] = {}
        self._evidence: dict[tuple[bytes, bytes], Evidence] = {}
        self._recomputing = threading.Lock()

    @cached_property
    def zoo(self) -> Mapping[bytes, ZooModel]:
        """The models that ship with Quorate, by id."""
        from models import zoo
        from models.program import compile_network, model_id

        found = {}
        for name in zoo.names():
            loaded = zoo.load(name)
            card, network = loaded.card, loaded.network
            shown = ModelCard(
                title=card.title,
                classes=card.classes,
                features=card.scaling.features,
                shape=card.shape,
                data=card.data,
                accuracy=card.accuracy,
                macs=network.macs,
            )
            found[model_id(compile_network(network))] = ZooModel(name, network, shown)
        return found

    def models(self) -> Iterator[Model]:
        """Every model that there is a file for: of the zoo, and in the folders that a worker would look in."""
        return ModelStore(self._settings.model_folders).served()

    def name_of(self, model_id: bytes) -> str | None:
        """The name of a model of the zoo."""
        found = self.zoo.get(model_id)
        return found.name if found else None

    def registered(self, model_id: bytes) -> Registered | None:
        """What the registry says of a model; None for one that it does not know. Raises ChainError."""
        if (known := self._registered.get(model_id)) is not None:
            return known
        try:
            found = self.contracts.registry.model(model_id)
        except errors.Reverted:
            return None
        if found.execution_gas and len(self._registered) < 1000:  # what is measured never changes
            self._registered[model_id] = found
        return found

    def evidence(self, terms: Terms, refutation: Refutation) -> Evidence:
        """The refuted item's row and what the chain computes of it. Raises ChainError."""
        key = refutation.transaction, refutation.root
        if (known := self._evidence.get(key)) is not None:
            return known
        found = self._find_evidence(terms, refutation)
        if len(self._evidence) < MOST_EVIDENCE:
            self._evidence[key] = found
        return found

    def _find_evidence(self, terms: Terms, refutation: Refutation) -> Evidence:
        transaction = self.contracts.endpoint.ask("eth_getTransactionByHash", "0x" + refutation.transaction.hex())
        row = _row_of(transaction, refutation)
        if row is None:
            return Evidence(refutation, None, None, "it was sent through another contract, which holds the row")
        try:
            output = self._execute(terms.model_id, row)
        except errors.Reverted as reverted:
            return Evidence(refutation, row, None, f"the chain does not execute it in one call: {reverted}")
        if result_leaf(refutation.index, output) != refutation.right_leaf:
            return Evidence(refutation, row, None, "what the chain computes of it is not what the refutation says")
        return Evidence(refutation, row, _logits(output), None)

    def proof(self, view: JobView, index: int) -> Proof:
        """The verdict of an item of an accepted job, held against the chain. Raises NoProof, Busy, ChainError."""
        if view.state.outcome is not Outcome.ACCEPTED:
            raise NoProof("the job has no accepted result: only items of accepted jobs can be proved")
        if index >= view.terms.item_count:
            raise NoProof(f"the job has the items 0 to {view.terms.item_count - 1}")
        if not self._recomputing.acquire(timeout=PATIENCE):
            raise Busy
        try:
            output, path = self._recompute(view, index)
        except (DataError, ModelNotFound, WrongModel) as error:
            raise NoProof(
                f"it cannot be recomputed here: {error}; `quorate verdict prove` can where they are"
            ) from error
        finally:
            self._recomputing.release()
        leaf, logits = result_leaf(index, output), _logits(output)
        holds = self.contracts.oracle.verdict(view.job_id, index, output, path)
        best = int(logits[0] > 0) if len(logits) == 1 else int(np.argmax(logits))
        known = self.zoo.get(view.terms.model_id)
        return Proof(
            job_id=view.job_id,
            index=index,
            output=output,
            logits=logits,
            class_index=best,
            class_name=known.card.classes[best] if known and len(logits) > 1 else None,
            leaf=leaf,
            siblings=tuple(path),
            path=_steps(leaf, index, path),
            root=view.state.root,
            holds=holds,
        )

    def _recompute(self, view: JobView, index: int) -> tuple[bytes, list[bytes]]:
        from oracle_worker.inference import JobInference, OnnxInference, ResultStore

        terms = view.terms
        model = self._models.find(terms.model_id)
        if terms.item_count > MOST_ITEMS or model.network.macs * terms.item_count > MOST_MACS:
            raise NoProof("the job is too large to be recomputed for a page: `quorate verdict prove` has no bound")
        data = DataStore(self._folder / "data", self._settings).fetch(terms, view.data_uri, model.network.row_length)
        store = ResultStore(self._folder / "results", most_bytes=CACHE_BYTES)
        inference = JobInference(view.job_id, model, data, OnnxInference(), store)
        tree = inference.tree()
        if tree.root != view.state.root:
            raise NoProof(
                f"the model on this data gives root 0x{tree.root.hex()}, but another was accepted: it is wrong for some "
                "item, and nobody refuted it in time"
            )
        return inference.output(index), list(tree.path(tree.depth, index))

    def _execute(self, model_id: bytes, row: bytes) -> bytes:
        known = self.registered(model_id)
        if known is not None and known.stepwise:
            return self.contracts.registry.output_of(model_id, sha256(row).digest())
        return self.contracts.registry.execute(model_id, row)


def _logits(output: bytes) -> tuple[int, ...]:
    return tuple(int(one) for one in np.frombuffer(output, ">i4"))


def _steps(leaf: bytes, index: int, siblings: list[bytes]) -> tuple[ProofStep, ...]:
    steps, node = [], leaf
    for sibling in siblings:
        is_left = not index & 1
        steps.append(ProofStep(node, sibling, is_left))
        node = sha256(node + sibling if is_left else sibling + node).digest()
        index >>= 1
    return tuple(steps)


_ENTRIES = {
    keccak(text=abi_to_signature(cast(ABIFunction, entry)))[:4]: entry
    for entry in artifact("Disputes").abi
    if entry["type"] == "function" and entry["name"] in ("refute", "judge")
}


def _row_of(transaction: Any, refutation: Refutation) -> bytes | None:
    """The input row in a transaction's data, if it is a plain call of what refutes. Its sender chose every byte of it."""
    if not isinstance(transaction, dict) or not isinstance(transaction.get("input"), str):
        return None
    with suppress(Exception):  # whatever a stranger wrote there, it is then not this call
        data = bytes(HexBytes(transaction["input"]))
        entry = _ENTRIES.get(data[:4])
        if entry is None:
            return None
        values = abi_decode(get_abi_input_types(cast(ABIFunction, entry)), data[4:])
        result, given = values[-2], values[-1]
        if (result[0], result[1]) == (refutation.root, refutation.index):
            return bytes(given[0])
    return None
