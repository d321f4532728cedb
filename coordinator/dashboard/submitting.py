"""The transaction that creates a job, for a browser's wallet to sign. The server holds no key and sends nothing."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from contracts import address as addresses
from contracts.deployment import Contracts
from contracts.endpoint import ChainError
from contracts.errors import Reverted
from contracts.job import Job
from coordinator.cli import amounts, terms
from coordinator.dashboard import wording

_Hash = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{64}$")]
_Window = Annotated[int, Field(ge=1, lt=2**32)]


class Wanted(BaseModel):
    """The form as the browser sends it. Amounts are text with a unit; windows, quorum and stake may be left open."""

    model_config = ConfigDict(extra="forbid")

    requester: Annotated[str, Field(max_length=64)]
    model_id: _Hash
    data_root: _Hash
    item_count: Annotated[int, Field(ge=1, lt=2**32)]
    data_uri: Annotated[str, Field(min_length=1, max_length=2048)]
    reward: Annotated[str, Field(max_length=64)]
    seats: Annotated[int, Field(ge=1, le=65535)] = 5
    quorum: Annotated[int, Field(ge=1, le=65535)] | None = None
    seat_stake: Annotated[str, Field(max_length=64)] | None = None
    commit_window: _Window | None = None
    reveal_window: _Window | None = None
    challenge_window: _Window | None = None
    response_window: _Window | None = None


def router(contracts: Contracts) -> APIRouter:
    """POST /dashboard/transaction with a `Wanted`."""
    made = APIRouter()

    @made.post("/dashboard/transaction", include_in_schema=False)
    def transaction(wanted: Wanted) -> dict[str, Any]:
        return build(contracts, wanted)

    return made


def build(contracts: Contracts, wanted: Wanted) -> dict[str, Any]:
    """The transaction as eth_sendTransaction takes it, and the id that the job will have.

    It is simulated first, so that a wallet is never asked to sign what the contract refuses. Raises HTTPException.
    """
    try:
        requester = addresses.parse(wanted.requester)
        wish = terms.Wish(
            amounts.parse(wanted.reward),
            wanted.seats,
            wanted.quorum,
            amounts.parse(wanted.seat_stake) if wanted.seat_stake else None,
            wanted.commit_window,
            wanted.reveal_window,
            wanted.challenge_window,
            wanted.response_window,
        )
    except (ValueError, addresses.BadAddress) as error:
        raise HTTPException(422, str(error)) from error
    model_id, data_root = (bytes.fromhex(one[2:]) for one in (wanted.model_id, wanted.data_root))
    try:
        asked = terms.make(wish, contracts, model_id, data_root, wanted.data_uri, wanted.item_count)
        job = Job(requester, secrets.randbits(64), asked)
        call = contracts.oracle.create_job(job.nonce, asked, wanted.data_uri)
        contracts.endpoint.simulate(call, requester)
    except Reverted as refused:
        raise HTTPException(422, f"the contract would refuse this job: {refused}") from refused
    except ChainError as error:
        raise HTTPException(503, f"the node did not answer: {error}") from error
    deployment = contracts.deployment
    return {
        "chain_id": deployment.chain_id,
        "job_id": wording.hex_(job.id(deployment.chain_id, deployment.oracle)),
        "costs": wording.amount(asked.payment),
        "seat_stake": wording.amount(asked.seat_stake),
        "transaction": {
            "from": requester,
            "to": call.to,
            "value": hex(call.value),
            "data": wording.hex_(call.data),
        },
    }
