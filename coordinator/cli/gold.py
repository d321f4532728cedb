"""A requester's verification set: made before its job, kept in a file that only its owner can read, opened by `job audit`."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.disputes import Gold, InputProof
from contracts.gold import SALT_BYTES, GoldItem, GoldTree
from contracts.merkle import MerkleTree
from coordinator.cli.failures import ExitCode, Refusal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.network import IntegerNetwork


@dataclass(frozen=True, slots=True)
class Checked:
    """One item whose verdict the requester computed itself, and what it takes to have the chain compute it."""

    item: GoldItem
    given: InputProof


class GoldSet:
    """A verification set. Which items are in it, and the salts, are secret until they are opened."""

    def __init__(self, checked: tuple[Checked, ...]) -> None:
        self.checked = checked
        self._tree = GoldTree([one.item for one in checked])

    @property
    def root(self) -> bytes:
        """terms.gold_root, 32 bytes."""
        return self._tree.root

    @property
    def count(self) -> int:
        """terms.gold_count."""
        return self._tree.count

    def opening(self, position: int) -> Gold:
        """The item at `position` with its path to the root."""
        return self._tree.opening(position)

    def save(self, path: Path, job_id: bytes) -> None:
        """Write it to a new file that only its owner can read. Raises OSError, also where the file is there already."""
        items = [
            {
                "index": one.item.index,
                "output": _hex(one.item.output),
                "salt": _hex(one.item.salt),
                "row": _hex(one.given.row),
                "siblings": [_hex(sibling) for sibling in one.given.siblings],
            }
            for one in self.checked
        ]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"job_id": _hex(job_id), "items": items}, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def load(cls, path: Path, root: bytes) -> GoldSet:
        """The set of this root. Raises Refusal, OSError."""
        try:
            given = json.loads(path.read_text("utf-8"))
            made = cls(tuple(_checked(one) for one in given["items"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Refusal(ExitCode.BAD_INPUT, f"{path} is no verification set: {error}") from error
        if made.root != root:
            raise Refusal(
                ExitCode.BAD_INPUT,
                f"{path} is another job's verification set: its root is 0x{made.root.hex()}, the terms say 0x{root.hex()}",
            )
        return made


def choose(network: IntegerNetwork, rows: NDArray[np.uint8], inputs: MerkleTree, count: int) -> GoldSet:
    """Compute `count` items chosen at random, by the specification itself. Raises Refusal.

    rows: all of the job's, (n, row_length) uint8, whose tree is `inputs`.
    """
    from models.interpreter import run

    if count > len(rows):
        raise Refusal(ExitCode.USAGE, f"--gold {count} is more than the job has items ({len(rows)})")
    # in the order of the draw: an opened item's place in the set says nothing about the others
    chosen = secrets.SystemRandom().sample(range(len(rows)), count)
    outputs = run(network, rows[chosen])
    return GoldSet(
        tuple(
            Checked(
                GoldItem(index, output.astype(">i4").tobytes(), secrets.token_bytes(SALT_BYTES)),
                InputProof(rows[index].tobytes(), tuple(inputs.proof(index))),
            )
            for index, output in zip(chosen, outputs, strict=True)
        )
    )


def _checked(given: Mapping[str, Any]) -> Checked:
    item = GoldItem(int(given["index"]), _bytes(given["output"]), _bytes(given["salt"]))
    return Checked(item, InputProof(_bytes(given["row"]), tuple(_bytes(one) for one in given["siblings"])))


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
