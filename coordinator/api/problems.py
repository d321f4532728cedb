"""What goes wrong, as application/problem+json (RFC 9457): what it was, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from contracts.endpoint import ChainError
from coordinator.database import StoreDamaged, StoreUnusable
from coordinator.explorer.explorer import NotFound
from coordinator.explorer.happenings import BadPlace
from coordinator.explorer.rows import BadCursor
from coordinator.explorer.witness import Busy, NoProof

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer."""

    title: str
    """What the status means."""
    status: int
    detail: str
    """What it was here, and what to do."""


def problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that says so."""
    content = asdict(Problem(status.phrase, int(status), detail))
    return JSONResponse(content, int(status), dict(headers or {}), media_type=MEDIA_TYPE)


def handle(app: FastAPI) -> None:
    """Make every failure of the app's routes a problem."""
    kinds: dict[type[Exception], HTTPStatus] = {
        NotFound: HTTPStatus.NOT_FOUND,
        BadCursor: HTTPStatus.UNPROCESSABLE_ENTITY,
        BadPlace: HTTPStatus.UNPROCESSABLE_ENTITY,
        NoProof: HTTPStatus.CONFLICT,
        Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    }
    for kind, status in kinds.items():
        app.add_exception_handler(kind, _saying(status))
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    for broken in (StoreDamaged, StoreUnusable):
        app.add_exception_handler(broken, _broken)
    app.add_exception_handler(ChainError, _unreachable)
    app.add_exception_handler(Exception, _unforeseen)


def _saying(status: HTTPStatus) -> Any:
    headers = {"Retry-After": str(RETRY_SECONDS)} if status is HTTPStatus.SERVICE_UNAVAILABLE else None

    def answer(_: Request, error: Exception) -> JSONResponse:
        return problem(status, str(error), headers)

    return answer


def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # by its registration
    status = HTTPStatus(error.status_code)
    detail = {
        HTTPStatus.NOT_FOUND: "there is nothing at this path: /api/v1/openapi.json lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: "everything here is read-only: GET and HEAD are answered",
    }.get(status, str(error.detail))
    return problem(status, detail, error.headers)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # by its registration
    said = (f"{' '.join(map(str, one['loc']))}: {one['msg']}"[:200] for one in error.errors()[:5])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(said))


def _broken(_: Request, __: Exception) -> JSONResponse:
    detail = (
        "the projection cannot be read just now and is rebuilt from the chain: try again; the server's log says why"
    )
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_SECONDS)})


def _unreachable(_: Request, __: Exception) -> JSONResponse:
    detail = "the chain's node, which this asks, did not answer it: try again; the server's log says why"
    return problem(HTTPStatus.BAD_GATEWAY, detail, {"Retry-After": str(RETRY_SECONDS)})


def _unforeseen(_: Request, __: Exception) -> JSONResponse:
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "nobody foresaw this: please report it with the server's log")
