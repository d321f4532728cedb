"""The worker's side of a relay: somebody who sends many workers' signed commitments and openings in one transaction.

A relay is trusted with nothing. It cannot alter or replay what it is given (commitments are signed for one chain, oracle, job
and lane, until a deadline; an opening opens one commitment); what it says is not believed, only what the chain shows; and
what it does not send by half of the window the worker sends itself. So a relay that withholds costs its workers gas.

Two messages, each an HTTP POST of one JSON object with `Content-Type: application/json`. Bytes and addresses are 0x and
lower-case hex (addresses may be checksummed), integers are decimal strings, as everywhere between our processes; there are no
other fields than these. `relay_url` is what the operator set, without a slash at its end.

POST {relay_url}/commits: a commitment, valid until its deadline.

    {
      "chain_id": "1",
      "oracle": "0x…",                  the oracle's address
      "job": {
        "requester": "0x…",
        "nonce": "0",
        "terms": {"model_id": "0x…", …}   the 18 terms by the names of contracts.job.Terms
      },
      "commit": {                       contracts.signed_commit.SignedCommit
        "worker": "0x…",
        "lane": "0",
        "commitment": "0x…",            32 bytes
        "sealed_root": "0x…",           32 bytes
        "tickets": ["0", "7"],          ascending, 1 to 255
        "deadline": "1700000000",       seconds
        "r": "0x…",                     32 bytes
        "vs": "0x…"                     32 bytes
      }
    }

POST {relay_url}/openings: what opens a worker's commitment to a root, once the commit phase is too deep to be undone.

    {
      "chain_id": "1",
      "oracle": "0x…",
      "job": {…},                       as above
      "root": "0x…",                    32 bytes
      "opening": {                      contracts.compute_oracle.Opening
        "worker": "0x…",
        "lane": "0",
        "salt": "0x…"                   32 bytes
      }
    }

The answer is the status: 202 means that the relay takes it on; anything else, a redirect too, that it does not. An answer's
headers and body are not looked at, and no more of it is read than its head. The same message may come again at any time,
and a commitment again with more tickets: the longest list is the one to post.

A relay reads what it is given with `commit_from_json` and `opening_from_json`, which take nothing but this.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eth_typing import ChecksumAddress

from contracts.compute_oracle import Opening
from contracts.job import Job
from contracts.signed_commit import SignedCommit
from oracle_worker import download
from oracle_worker.job_codec import (
    BadMessage,
    address_of,
    bare_job_from_json,
    bare_job_to_json,
    bytes_of,
    fields_of,
    integer_of,
    to_text,
)
from oracle_worker.result import WorkerError

ACCEPTED = 202
MOST_TICKETS = 255
"""A job has no more seats."""
TICKET_BITS = 56
"""A stake is below 2^56 gwei, and a seat takes at least one."""


class RelayFailed(WorkerError):
    """The relay did not take on what it was given; the worker sends it itself."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay as the workers of one deployment see it.

    url: without a slash at its end; seconds: the longest that handing something in may take.
    """

    url: str = field(repr=False)  # a key can be in it
    seconds: float
    chain_id: int
    oracle: ChecksumAddress

    def hand_in_commit(self, job: Job, commit: SignedCommit) -> None:
        """Raises RelayFailed."""
        self._post("/commits", commit_to_json(self.chain_id, self.oracle, job, commit))

    def hand_in_opening(self, job: Job, root: bytes, opening: Opening) -> None:
        """Raises RelayFailed."""
        self._post("/openings", opening_to_json(self.chain_id, self.oracle, job, root, opening))

    def _post(self, path: str, message: Mapping[str, Any]) -> None:
        content = json.dumps(message, separators=(",", ":")).encode("ascii")
        try:
            status = download.post_json(self.url + path, content, time.monotonic() + self.seconds)
        except (download.Refused, download.Failed) as failure:
            raise RelayFailed(f"the relay did not take it on: {failure}") from None
        if status != ACCEPTED:
            raise RelayFailed(f"the relay did not take it on: HTTP status {status}")


def commit_to_json(chain_id: int, oracle: ChecksumAddress, job: Job, commit: SignedCommit) -> dict[str, Any]:
    """The message of POST /commits."""
    texts = {
        "worker": commit.worker,
        "lane": str(commit.lane),
        "commitment": to_text(commit.commitment),
        "sealed_root": to_text(commit.sealed_root),
        "tickets": [str(ticket) for ticket in commit.tickets],
        "deadline": str(commit.deadline),
        "r": to_text(commit.r),
        "vs": to_text(commit.vs),
    }
    return {**_to_whom(chain_id, oracle, job), "commit": texts}


def commit_from_json(given: object, chain_id: int, oracle: ChecksumAddress) -> tuple[Job, SignedCommit]:
    """What a worker handed in, for this deployment; the signature is not checked. Raises BadMessage."""
    job, body = _from_whom(given, chain_id, oracle, ("commit",))
    names = ("worker", "lane", "commitment", "sealed_root", "tickets", "deadline", "r", "vs")
    texts = fields_of(body["commit"], "commit", names)
    tickets = texts["tickets"]
    if not isinstance(tickets, list) or not 1 <= len(tickets) <= MOST_TICKETS:
        raise BadMessage(f"tickets must be a list of 1 to {MOST_TICKETS}")
    return job, SignedCommit(
        address_of(texts["worker"], "worker"),
        integer_of(texts["lane"], 8, "lane"),
        bytes_of(texts["commitment"], 32, "commitment"),
        bytes_of(texts["sealed_root"], 32, "sealed_root"),
        tuple(integer_of(one, TICKET_BITS, "tickets") for one in tickets),
        integer_of(texts["deadline"], 64, "deadline"),
        bytes_of(texts["r"], 32, "r"),
        bytes_of(texts["vs"], 32, "vs"),
    )


def opening_to_json(chain_id: int, oracle: ChecksumAddress, job: Job, root: bytes, opening: Opening) -> dict[str, Any]:
    """The message of POST /openings."""
    texts = {"worker": opening.worker, "lane": str(opening.lane), "salt": to_text(opening.salt)}
    return {**_to_whom(chain_id, oracle, job), "root": to_text(root), "opening": texts}


def opening_from_json(given: object, chain_id: int, oracle: ChecksumAddress) -> tuple[Job, bytes, Opening]:
    """What a worker handed in, for this deployment: job, root, opening. Raises BadMessage."""
    job, body = _from_whom(given, chain_id, oracle, ("root", "opening"))
    texts = fields_of(body["opening"], "opening", ("worker", "lane", "salt"))
    opening = Opening(
        address_of(texts["worker"], "worker"), integer_of(texts["lane"], 8, "lane"), bytes_of(texts["salt"], 32, "salt")
    )
    return job, bytes_of(body["root"], 32, "root"), opening


def _to_whom(chain_id: int, oracle: ChecksumAddress, job: Job) -> dict[str, Any]:
    return {"chain_id": str(chain_id), "oracle": oracle, "job": bare_job_to_json(job)}


def _from_whom(
    given: object, chain_id: int, oracle: ChecksumAddress, names: tuple[str, ...]
) -> tuple[Job, Mapping[str, Any]]:
    body = fields_of(given, "the message", ("chain_id", "oracle", "job", *names))
    to = (integer_of(body["chain_id"], 256, "chain_id"), address_of(body["oracle"], "oracle"))
    if to != (chain_id, oracle):
        raise BadMessage(f"the message is for the oracle {to[1]} on chain {to[0]}, not {oracle} on chain {chain_id}")
    return bare_job_from_json(body["job"]), body
