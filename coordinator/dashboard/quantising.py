"""What a browser sends to be quantised: a CSV of features to the rows of a zoo model and their data root.

Nothing of it is kept: the answer holds the rows, and the page offers them as a file. It takes what fits in memory of a small
machine and no more: MOST_BYTES of text, two files at a time, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import base64
import tempfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request

from contracts.merkle import MerkleTree, input_leaf
from coordinator.dashboard import wording
from models import zoo
from models.scaling import BadFeatures, Scaling, read_csv

MOST_BYTES = 4 << 20
"""Of one CSV file; larger ones go through `quorate job submit`."""
SHOWN_ROWS = 5
_AT_ONCE = 2


def router() -> APIRouter:
    """POST /dashboard/rows/MODEL with a CSV as its body."""
    made = APIRouter()
    turn = asyncio.Semaphore(_AT_ONCE)

    @made.post("/dashboard/rows/{model}", include_in_schema=False)
    async def quantise(model: str, request: Request) -> dict[str, Any]:
        if model not in zoo.names():
            raise HTTPException(404, f"no zoo model is called so: there are {', '.join(zoo.names())}")
        if turn.locked():
            raise HTTPException(503, "two files are being quantised already: try again in a few seconds")
        async with turn:
            body = await _bounded(request)
            scaling = zoo.load(model).card.scaling
            return await asyncio.to_thread(_quantised, body, scaling)

    return made


async def _bounded(request: Request) -> bytes:
    body = bytearray()
    async with asyncio.timeout(60):
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BYTES:
                raise HTTPException(
                    413,
                    f"the file is larger than {MOST_BYTES >> 20} MiB: submit it with `quorate job submit --data FILE`",
                )
    return bytes(body)


def _quantised(body: bytes, scaling: Scaling) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="quorate-rows-") as folder:
        path = Path(folder) / "data.csv"
        path.write_bytes(body)
        try:
            rows = read_csv(path, scaling)
        except BadFeatures as error:
            raise HTTPException(422, str(error).replace(str(path), "the file")) from error
    leaves = b"".join([input_leaf(row.tobytes()) for row in rows])
    return {
        "count": len(rows),
        "row_length": rows.shape[1],
        "data_root": wording.hex_(MerkleTree(leaves).root),
        "features": list(scaling.features),
        "first": rows[:SHOWN_ROWS].tolist(),
        "rows": base64.b64encode(rows.tobytes()).decode(),
    }
