"""What stands between a browser and the pages: hosts, origins, headers, nonces."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from coordinator.api.guard import DEAR, RateLimit
from coordinator.dashboard.security import MOST_SOCKETS, Guard


async def page(_: Request) -> Response:
    return HTMLResponse("<html><script>ours()</script><p>&lt;script>not ours</p></html>")


async def act(_: Request) -> Response:
    return JSONResponse({"done": True})


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


class Client:
    """Asks the guarded app, each time in a loop of its own."""

    def __init__(self, limit: RateLimit | None = None) -> None:
        routes = [Route("/", page), Route("/act", act, methods=["POST"]), WebSocketRoute("/_nicegui_ws/x", socket)]
        self.app = Guard(Starlette(routes=routes), limit=limit)

    def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(ask())

    def open_socket(self, origin: str) -> list[str]:
        """The kinds of messages that come back."""
        return asyncio.run(self.connect(origin))

    async def connect(self, origin: str, address: str = "10.0.0.1", stay: asyncio.Event | None = None) -> list[str]:
        """The same from an address; the socket connects once `stay` is set, where it is given."""
        came: list[str] = []
        scope = {
            "type": "websocket",
            "path": "/_nicegui_ws/x",
            "client": (address, 1),
            "headers": [(b"host", b"localhost"), (b"origin", origin.encode())],
            "query_string": b"",
            "subprotocols": [],
        }

        async def receive() -> dict[str, Any]:
            if stay is not None:
                await stay.wait()
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            came.append(message["type"])

        await self.app(scope, receive, send)
        return came


@pytest.fixture
def client() -> Client:
    return Client()


def test_every_inline_script_of_the_page_has_the_nonce_of_its_policy_and_no_other_runs(client: Client) -> None:
    answer, again = client.ask("GET", "/"), client.ask("GET", "/")
    policy = answer.headers["content-security-policy"]
    (nonce,) = re.findall(r"'nonce-([^']+)'", policy)
    assert f'<script nonce="{nonce}">ours()' in answer.text
    assert answer.text.count(nonce) == 1
    assert nonce not in again.text
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "'unsafe-inline'" not in scripts
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_every_answer_has_the_headers(client: Client) -> None:
    for answer in (client.ask("GET", "/"), client.ask("POST", "/act"), client.ask("GET", "/nowhere")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[::1"])
def test_a_name_that_was_pointed_here_by_others_is_refused(client: Client, host: str) -> None:
    assert client.ask("GET", "/", host=host).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:1", "[::1]:80", "LOCALHOST"])
def test_loopback_names_are_served(client: Client, host: str) -> None:
    assert client.ask("GET", "/", host=host).status_code == 200


def test_a_page_of_another_site_can_post_nothing(client: Client) -> None:
    assert client.ask("POST", "/act", origin="https://evil.example").status_code == 403
    assert client.ask("POST", "/act", origin="null").status_code == 403
    assert client.ask("POST", "/act", origin="http://localhost").status_code == 200


def test_a_page_of_another_site_gets_no_socket(client: Client) -> None:
    assert client.open_socket("https://evil.example") == ["websocket.close"]
    assert client.open_socket("http://localhost") == ["websocket.accept", "websocket.close"]


def test_a_flood_of_pages_from_one_address_is_held_off_and_files_are_free() -> None:
    client = Client(RateLimit(0.001, 10.0, lambda: 0.0))
    assert [client.ask("GET", "/").status_code for _ in range(4)] == [200, 200, 429, 429]
    refused = client.ask("GET", "/")
    assert int(refused.headers["retry-after"]) >= 1
    assert all(client.ask("GET", "/dashboard/static/x.js").status_code == 404 for _ in range(50))


def test_what_is_computed_for_a_visitor_counts_as_many_requests() -> None:
    client = Client(RateLimit(0.001, DEAR, lambda: 0.0))
    assert [client.ask("POST", "/act").status_code for _ in range(2)] == [200, 429]


def test_one_address_cannot_take_all_sockets_and_leaves_none_behind(client: Client) -> None:
    async def flood() -> None:
        stay = asyncio.Event()
        held = [asyncio.create_task(client.connect("http://localhost", stay=stay)) for _ in range(MOST_SOCKETS)]
        await asyncio.sleep(0)
        one_more = asyncio.create_task(client.connect("http://localhost", stay=stay))
        other = asyncio.create_task(client.connect("http://localhost", "10.0.0.2", stay))
        await asyncio.sleep(0)
        stay.set()
        assert await one_more == ["websocket.close"]
        for task in (*held, other):
            assert await task == ["websocket.accept", "websocket.close"]
        assert await client.connect("http://localhost") == ["websocket.accept", "websocket.close"]

    asyncio.run(flood())
    assert not client.app._sockets
