"""The API: every record of the explorer as JSON below /api/v1, and its OpenAPI.

    app = create_app(explorer, lambda: daemon.health)

Read-only, and as careful as what it shows is hostile: every text from the chain is bounded, and none of it is markup.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any

from eth_utils.address import to_checksum_address
from fastapi import FastAPI, Path, Query, Response
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from starlette.middleware.cors import CORSMiddleware

from coordinator.api import guard, problems
from coordinator.api.events import add_events
from coordinator.api.feed import Feed
from coordinator.api.health import HealthReport, report
from coordinator.daemon import Health
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.read_model import (
    Dispute,
    DisputeRow,
    Evidence,
    Job,
    JobRow,
    Model,
    ModelRow,
    Operator,
    OperatorRow,
    Overview,
    Page,
    Proof,
    RecordedEvent,
    Search,
    State,
)

BASE = "/api/v1"
RATE = 20.0
"""Requests a second from one client."""
BURST = 100.0
"""Requests at once."""
KEPT = 64
"""Answers whose JSON is kept."""
_HASH = "^0x[0-9a-fA-F]{64}$"
_LONGEST_CURSOR = 200

JobId = Annotated[str, Path(pattern=_HASH, description="The job's id.")]
ModelId = Annotated[str, Path(pattern=_HASH, description="The model's id.")]
Root = Annotated[str, Path(pattern=_HASH, description="A root that was revealed in the job.")]
Who = Annotated[str, Path(pattern="^0x[0-9a-fA-F]{40}$", description="An address; its checksum is not looked at.")]
Newest = Annotated[bool, Query(description="The newest first; the oldest otherwise.")]
Limit = Annotated[int, Query(ge=1, le=100, description="Most items of the page.")]


def _cursor(pattern: str) -> Any:
    """What a cursor of this form is: a place in its list."""
    said = "`next` of the page before; leave it out for the first."
    return Query(pattern=f"^{pattern}$", max_length=_LONGEST_CURSOR, description=said)


JobsCursor = Annotated[str | None, _cursor("[0-9]{1,18}-[0-9a-f]{64}")]
EventsCursor = Annotated[str | None, _cursor("[0-9]{1,18}-[0-9]{1,9}")]
OperatorsCursor = Annotated[str | None, _cursor("~?[0-9]{1,78}-[0-9a-f]{40}")]
ModelsCursor = Annotated[str | None, _cursor("~?[0-9]{1,78}-[0-9a-f]{64}")]


def create_app(
    explorer: Explorer,
    health: Callable[[], Health],
    *,
    feed: Feed | None = None,
    hosts: Collection[str] | None = None,
    origins: Sequence[str] = (),
    limit: guard.RateLimit | None = None,
) -> FastAPI:
    """The API as an ASGI application; pages can be put beside it.

    hosts: the names that it answers to, None for any. origins: whose pages may read it in a browser. limit: of what one
    client may ask; RATE and BURST unless given.
    """
    limit = limit or guard.RateLimit(RATE, BURST)
    feed = feed or Feed(explorer)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with feed.running():
            yield

    app = FastAPI(
        title="Quorate",
        version=version("quorate"),
        description="Jobs, disputes, operators, models and proofs of one oracle, as of its confirmed block. Read-only.",
        openapi_url=f"{BASE}/openapi.json",
        docs_url=None,  # these would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.explorer, app.state.feed = explorer, feed
    problems.handle(app)
    answer = _Answers()
    _add_standing(app, explorer, health, answer)
    _add_jobs(app, explorer, answer)
    _add_disputes(app, explorer, answer)
    _add_others(app, explorer, answer)
    add_events(app, feed, f"{BASE}/events")
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "HEAD"])
    app.add_middleware(guard.Guard, limit=limit, hosts=hosts, cost=_cost)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


class _Answers:
    """Records as JSON. The explorer gives the same record until something changes, and so its JSON is made once."""

    def __init__(self) -> None:
        self._adapters: dict[Any, TypeAdapter[Any]] = {}
        self._made: OrderedDict[int, tuple[object, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, kind: Any, record: object) -> Response:
        with self._lock:
            known = self._made.get(id(record))
            if known is None:
                if kind not in self._adapters:
                    self._adapters[kind] = TypeAdapter(kind)
                known = record, self._adapters[kind].dump_json(record)  # kept alive here: no other can have its id
                self._made[id(record)] = known
                if len(self._made) > KEPT:
                    self._made.popitem(last=False)
        return Response(known[1], media_type="application/json")


def _add_standing(app: FastAPI, explorer: Explorer, health: Callable[[], Health], answer: _Answers) -> None:
    @app.get(f"{BASE}/health", response_model=HealthReport, responses={503: {"model": HealthReport}}, tags=["standing"])
    def get_health() -> Response:
        """Whether the chain is followed; 503 while it is not."""
        made = report(health(), explorer)
        content = answer(HealthReport, made)
        content.status_code = HTTPStatus.OK if made.is_following else HTTPStatus.SERVICE_UNAVAILABLE
        return content

    @app.get(f"{BASE}/overview", response_model=Overview, tags=["standing"])
    def get_overview() -> Response:
        """Jobs by state, disputes, totals, and the oracle's life in intervals."""
        return answer(Overview, explorer.overview())

    @app.get(f"{BASE}/search", response_model=Search, tags=["standing"])
    def get_search(q: Annotated[str, Query(min_length=1, max_length=100)]) -> Response:
        """Jobs, addresses, models and transactions that begin with the text, and models of that name."""
        return answer(Search, explorer.search(q))


def _add_jobs(app: FastAPI, explorer: Explorer, answer: _Answers) -> None:
    @app.get(f"{BASE}/jobs", response_model=Page[JobRow], tags=["jobs"])
    def get_jobs(
        state: Annotated[State | None, Query(description="Only jobs in this state.")] = None,
        requester: Annotated[str | None, Query(pattern="^0x[0-9a-fA-F]{40}$")] = None,
        model: Annotated[str | None, Query(pattern=_HASH)] = None,
        disputed: Annotated[bool | None, Query(description="Only jobs that were (not) disputed.")] = None,
        cursor: JobsCursor = None,
        limit: Limit = 25,
    ) -> Response:
        """Jobs, the newest first."""
        page = explorer.jobs(
            state=state,
            requester=None if requester is None else to_checksum_address(requester),
            model_id=None if model is None else _bytes(model),
            is_disputed=disputed,
            cursor=cursor,
            limit=limit,
        )
        return answer(Page[JobRow], page)

    @app.get(f"{BASE}/jobs/{{job_id}}", response_model=Job, tags=["jobs"])
    def get_job(job_id: JobId) -> Response:
        """A job: phases, terms, jury, roots."""
        return answer(Job, explorer.job(_bytes(job_id)))

    @app.get(f"{BASE}/jobs/{{job_id}}/events", response_model=Page[RecordedEvent], tags=["jobs"])
    def get_job_events(
        job_id: JobId, cursor: EventsCursor = None, limit: Limit = 50, newest: Newest = False
    ) -> Response:
        """A job's events, each with its transaction."""
        page = explorer.job_events(_bytes(job_id), cursor=cursor, limit=limit, newest=newest)
        return answer(Page[RecordedEvent], page)

    @app.get(
        f"{BASE}/jobs/{{job_id}}/proofs/{{index}}",
        response_model=Proof,
        responses={409: {}, 502: {}, 503: {}},
        tags=["jobs"],
    )
    def get_proof(
        job_id: JobId, index: Annotated[int, Path(ge=0, lt=1 << 63, description="The item's place in the data.")]
    ) -> Response:
        """The verdict of an item of an accepted job with its proof, recomputed here and held against the chain."""
        return answer(Proof, explorer.proof(_bytes(job_id), index))


def _add_disputes(app: FastAPI, explorer: Explorer, answer: _Answers) -> None:
    @app.get(f"{BASE}/disputes", response_model=Page[DisputeRow], tags=["disputes"])
    def get_disputes(cursor: JobsCursor = None, limit: Limit = 25) -> Response:
        """Disputed jobs, open or settled, the newest dispute first."""
        return answer(Page[DisputeRow], explorer.disputes(cursor=cursor, limit=limit))

    @app.get(f"{BASE}/disputes/{{job_id}}", response_model=Dispute, tags=["disputes"])
    def get_dispute(job_id: JobId) -> Response:
        """What is contested about a job: each root as the tree it is, refutations, accusations, executions."""
        return answer(Dispute, explorer.dispute(_bytes(job_id)))

    @app.get(
        f"{BASE}/disputes/{{job_id}}/evidence/{{root}}",
        response_model=Evidence,
        responses={502: {}},
        tags=["disputes"],
    )
    def get_evidence(job_id: JobId, root: Root) -> Response:
        """The item by which a root was refuted: its row, and the logits that the chain computes of it."""
        return answer(Evidence, explorer.evidence(_bytes(job_id), _bytes(root)))


def _add_others(app: FastAPI, explorer: Explorer, answer: _Answers) -> None:
    @app.get(f"{BASE}/operators", response_model=Page[OperatorRow], tags=["operators"])
    def get_operators(cursor: OperatorsCursor = None, limit: Limit = 25) -> Response:
        """Whoever staked or acted, the largest stake first."""
        return answer(Page[OperatorRow], explorer.operators(cursor=cursor, limit=limit))

    @app.get(f"{BASE}/operators/{{address}}", response_model=Operator, tags=["operators"])
    def get_operator(address: Who) -> Response:
        """An operator: stake, record, earnings over time, where it sits."""
        return answer(Operator, explorer.operator(to_checksum_address(address)))

    @app.get(f"{BASE}/operators/{{address}}/events", response_model=Page[RecordedEvent], tags=["operators"])
    def get_operator_events(
        address: Who, cursor: EventsCursor = None, limit: Limit = 50, newest: Newest = False
    ) -> Response:
        """What an address did, or what was done about it."""
        page = explorer.operator_events(to_checksum_address(address), cursor=cursor, limit=limit, newest=newest)
        return answer(Page[RecordedEvent], page)

    @app.get(f"{BASE}/models", response_model=Page[ModelRow], tags=["models"])
    def get_models(cursor: ModelsCursor = None, limit: Limit = 25) -> Response:
        """The models that jobs use, and those of the zoo, the most used first."""
        return answer(Page[ModelRow], explorer.models(cursor=cursor, limit=limit))

    @app.get(f"{BASE}/models/{{model_id}}", response_model=Model, responses={502: {}}, tags=["models"])
    def get_model(model_id: ModelId) -> Response:
        """A model: what the chain knows of it, its card if it is of the zoo, its newest jobs."""
        return answer(Model, explorer.model(_bytes(model_id)))


def _cost(path: str) -> float:
    return guard.DEAR if "/proofs/" in path or "/evidence/" in path else 1.0


def _bytes(digits: str) -> bytes:
    return bytes.fromhex(digits.removeprefix("0x"))


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI, with every failure as a problem."""
    if app.openapi_schema:
        return app.openapi_schema
    ours = [route for route in app.routes if getattr(route, "path", "").startswith(BASE)]  # and not the pages'
    described = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=ours, openapi_version="3.1.0"
    )
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = TypeAdapter(problems.Problem).json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    said = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in described["paths"].values():
        for operation in path.values():
            operation["responses"].setdefault("429", {})
            operation["responses"].setdefault("503", {})
            if "{" in operation["operationId"] or any(one["in"] == "path" for one in operation.get("parameters", ())):
                operation["responses"].setdefault("404", {})
            for code, given in operation["responses"].items():
                if int(code) >= HTTPStatus.BAD_REQUEST:
                    given["description"] = HTTPStatus(int(code)).phrase
                    given["content"] = {**(given.get("content", {}) if code == "503" else {}), **said}
    app.openapi_schema = described
    return described
