"""The feed as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Header, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from coordinator.api import guard
from coordinator.api.feed import Feed, TooManyReaders
from coordinator.api.problems import problem
from coordinator.explorer.happenings import require_place

MEDIA_TYPE = "text/event-stream"
RETRY_SECONDS = 10
_LONGEST_ID = 60


def add_events(app: FastAPI, feed: Feed, path: str) -> None:
    """Serve the stream at `path`."""

    @app.get(path, response_class=StreamingResponse, responses={200: {"content": {MEDIA_TYPE: {}}}}, tags=["events"])
    async def get_events(
        request: Request,
        last_event_id: Annotated[
            str | None, Header(max_length=_LONGEST_ID, description="The last id that was seen; browsers send it.")
        ] = None,
    ) -> Response:
        """What happens, as it happens: `recorded`, `block` and `reorganised` messages, each with data as JSON."""
        if last_event_id is not None:
            require_place(last_event_id)
        if request.scope.get(guard.IS_HEAD):
            return Response(media_type=MEDIA_TYPE)
        return _Stream(feed, guard.client_of(request.scope), last_event_id)


class _Stream(StreamingResponse):
    """The stream to one reader, which is counted from its first byte to its last, however it ends."""

    def __init__(self, feed: Feed, client: str, last_id: str | None) -> None:
        super().__init__(_encoded(feed, last_id), media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})
        self._feed = feed
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as counted:
            try:
                counted.enter_context(self._feed.reader(self._client))
            except TooManyReaders as error:
                retry = {"Retry-After": str(RETRY_SECONDS)}
                await problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), retry)(scope, receive, send)
                return
            await super().__call__(scope, receive, send)


async def _encoded(feed: Feed, last_id: str | None) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async for message in feed.messages(last_id):
        yield b": quiet\n\n" if message is None else message.encode()
