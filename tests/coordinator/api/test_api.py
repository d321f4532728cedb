"""The API without a network: what it answers, what it refuses, and that it is what its OpenAPI says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from coordinator.api.guard import RateLimit, client_of
from coordinator.database import StoreDamaged
from coordinator.explorer.explorer import Explorer
from tests.coordinator.api.toy_explorer import Scene, ask, lived, scene

V1 = "/api/v1"
LEFT_OUT = (f"{V1}/events",)
"""The stream never ends."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("api"), lived(0).chain) as made:
        yield made


@pytest.fixture(scope="module")
def app(here: Scene) -> FastAPI:
    return here.app()


SOME = settings(
    max_examples=6,
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_every_answer_to_what_the_openapi_allows_is_what_it_says(app: FastAPI) -> None:
    """Asked without a rate limit, so that no answer is a 429."""
    schema = schemathesis.openapi.from_asgi(f"{V1}/openapi.json", app).exclude(path=list(LEFT_OUT))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 15
    known = {"job_id": "0x" + lived(0).life.id.hex(), "model_id": "0x" + 64 * "0"}
    for operation in operations:
        for fixed in ({}, {name: value for name, value in known.items() if "{" + name + "}" in operation.path}):
            SOME(given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))(_validating(fixed)))()


def test_every_answer_to_what_the_openapi_forbids_is_a_refusal_that_it_tells_of(app: FastAPI) -> None:
    """Bad values in every place where there can be one. Without a rate limit, so that no answer is a 429."""
    schema = schemathesis.openapi.from_asgi(f"{V1}/openapi.json", app).exclude(path=list(LEFT_OUT))
    refusals: Counter[str] = Counter()

    def refused(case: schemathesis.Case) -> None:
        answer = case.call_and_validate()
        if answer.status_code < 400:  # what it does not know it does not look at
            assert {*(case.query or {})} - {one.name for one in case.operation.query}, case
        else:
            assert answer.status_code < 500, case
            refusals[case.operation.path] += 1

    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path_parameters or operation.query:
            SOME(given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))(refused))()
    assert len(refusals) == 13


def _validating(fixed: dict[str, str]) -> Callable[[schemathesis.Case], None]:
    """fixed: parameters of the path that exist, so that there is something to answer."""

    def validate(case: schemathesis.Case) -> None:
        case.path_parameters = {**(case.path_parameters or {}), **fixed}
        case.call_and_validate()

    return validate


def test_the_openapi_tells_every_failure_as_a_problem_and_nothing_of_the_pages(app: FastAPI) -> None:
    described = ask(app, f"{V1}/openapi.json").json()
    assert all(path.startswith(V1) for path in described["paths"])
    for path in described["paths"].values():
        assert path.keys() == {"get"}
        for code, response in path["get"]["responses"].items():
            assert code < "400" or "application/problem+json" in response["content"], code
    text = json.dumps(described)
    assert "HTTPValidationError" not in text and text.count("429") >= 15


def test_a_failure_says_what_it_was_and_what_to_do(app: FastAPI) -> None:
    for path, status, word in (
        ("/jobs/0x12", 422, "job_id"),
        ("/jobs?cursor=zz", 422, "cursor"),
        ("/jobs?limit=1000", 422, "limit"),
        (f"/jobs/0x{64 * '7'}", 404, "check the id"),
        (f"/operators/0x{40 * '7'}", 404, "check the address"),
        ("/nothing", 404, "openapi.json"),
        (f"/jobs/0x{lived(0).life.id.hex()}/proofs/99", 409, "item"),
    ):
        answer = ask(app, V1 + path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), path
        assert answer.json()["status"] == status and word in answer.json()["detail"], answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW"])
def test_nothing_can_be_written(app: FastAPI, method: str) -> None:
    answer = ask(app, f"{V1}/overview", method)
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"


def test_head_tells_what_get_would_without_its_body(app: FastAPI) -> None:
    for path in ("/overview", "/jobs", "/nothing"):
        got, head = ask(app, V1 + path), ask(app, V1 + path, "HEAD")
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))
    assert ask(app, f"{V1}/events", "HEAD").headers["content-type"].startswith("text/event-stream")


def test_amounts_are_decimal_strings_and_ids_hex(app: FastAPI) -> None:
    (row,) = ask(app, f"{V1}/jobs").json()["items"]
    assert row["reward"] == str(10**18) and row["job_id"] == "0x" + lived(0).life.id.hex()


def test_every_answer_forbids_what_a_page_could_do_with_it(app: FastAPI) -> None:
    for path in ("/overview", "/jobs/0x12", "/nothing"):
        headers = ask(app, V1 + path, origin="https://evil.example").headers
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert "access-control-allow-origin" not in headers


def test_only_pages_of_named_origins_may_read_it(here: Scene) -> None:
    app = here.app(origins=["https://friend.example"])
    for origin, allowed in (("https://friend.example", "https://friend.example"), ("https://evil.example", None)):
        answer = ask(app, f"{V1}/overview", origin=origin)
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "access-control-allow-credentials" not in answer.headers


def test_only_the_names_it_is_reached_by_are_answered(here: Scene) -> None:
    app = here.app(hosts={"localhost", "::1"})
    for host, status in (
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("[::1]:8080", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ):
        assert ask(app, f"{V1}/overview", host=host).status_code == status, host


def test_whoever_asks_too_often_is_told_when_to_come_back_and_others_are_not_kept_waiting(here: Scene) -> None:
    app = here.app(limit=RateLimit(0.01, 3))
    statuses = [ask(app, f"{V1}/overview", client="10.0.0.1").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    refused = ask(app, f"{V1}/overview", client="10.0.0.1")
    assert refused.headers["content-type"] == "application/problem+json" and int(refused.headers["retry-after"]) >= 1
    assert ask(app, f"{V1}/overview", client="10.0.0.2").status_code == 200


def test_a_bucket_fills_up_at_its_rate_and_not_beyond_its_size() -> None:
    now = [0.0]
    limit = RateLimit(2.0, 4.0, lambda: now[0])
    assert [limit.take("a", 1) for _ in range(5)] == [0, 0, 0, 0, 1]
    now[0] += 1
    assert [limit.take("a", 1) for _ in range(3)] == [0, 0, 1]
    now[0] += 1000
    assert [limit.take("a", 1) for _ in range(5)] == [0, 0, 0, 0, 1]
    assert limit.take("b", 100) == 0 and limit.take("b", 1) == 1  # what is dear takes all there is, and is let in
    assert limit.take("a", 4) == 2


def test_a_flood_of_addresses_is_not_remembered_for_ever_and_a_network_counts_as_one() -> None:
    limit = RateLimit(1.0, 1.0, lambda: 0.0)
    for number in range(10_100):
        limit.take(str(number), 1)
    assert len(limit._left) <= 10_000
    clients = [client_of({"client": (host, 1)}) for host in ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1")]
    assert clients[0] == clients[1] != clients[2]
    assert client_of({"client": ("::ffff:10.0.0.1", 1)}) == "10.0.0.1" and client_of({"client": None}) == ""


def test_a_projection_that_cannot_be_read_is_said_to_be_rebuilt(here: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_: Explorer) -> None:
        raise StoreDamaged(Path("/secret/place.sqlite"), "disk")

    monkeypatch.setattr(Explorer, "overview", damaged)
    answer = ask(here.app(), f"{V1}/overview")
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert "rebuilt" in answer.json()["detail"] and "secret" not in answer.text


def test_a_failure_that_nobody_foresaw_shows_nothing_of_the_inside(
    here: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Explorer) -> None:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(Explorer, "overview", fails)
    answer = ask(here.app(), f"{V1}/overview")
    assert answer.status_code == 500 and "1234" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"
