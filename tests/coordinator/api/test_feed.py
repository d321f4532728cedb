"""The stream: in order, taken up again after any break, honest about reorganisations, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.job import Job
from coordinator.api.feed import Feed, Kind, Message, Reorganised, TooManyReaders
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.happenings import BadPlace
from coordinator.explorer.read_model import RecordedEvent
from coordinator.job_store import JobStore
from tests.coordinator.api.toy_explorer import Scene, ask, clock_of, scene
from tests.coordinator.test_job_store import WORKERS
from tests.coordinator.toy_chain import REQUESTER, SEAT_STAKE, SOURCE, Life, ToyChain, terms


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Scene]:
    chain = ToyChain(bonded={WORKERS[0]: SEAT_STAKE})
    with scene(tmp_path, chain) as made:
        yield made


def create(here: Scene, *nonces: int) -> None:
    """A block with jobs, recorded."""
    here.chain.mine(1, [Life(here.chain, Job(REQUESTER, nonce, terms())).create() for nonce in nonces])
    here.fill()


def read(feed: Feed, last_id: str | None = None) -> list[Message]:
    """Everything up to the first message about a block: the reader has caught up then."""

    async def collect() -> list[Message]:
        found: list[Message] = []
        async for message in feed.messages(last_id):
            assert message is not None
            found.append(message)
            if message.kind is Kind.BLOCK:
                break
        return found

    return asyncio.run(collect())


def nonces(messages: list[Message]) -> list[str]:
    return [message.data.values["nonce"] for message in messages if isinstance(message.data, RecordedEvent)]


def test_a_reader_begins_with_now_and_comes_back_with_the_last_id_it_saw(here: Scene) -> None:
    create(here, 1, 2)
    (begun,) = read(Feed(here.explorer))
    assert begun.kind is Kind.BLOCK
    create(here, 3, 4)
    create(here, 5)
    missed = read(Feed(here.explorer), begun.id)
    assert nonces(missed) == ["3", "4", "5"]
    assert nonces(read(Feed(here.explorer), missed[0].id)) == ["4", "5"]
    assert nonces(read(Feed(here.explorer), missed[-1].id)) == []


def test_what_is_too_much_for_one_time_comes_all_the_same(here: Scene) -> None:
    (begun,) = read(Feed(here.explorer))
    for start in range(0, 500, 50):
        create(here, *range(start, start + 50))
    assert nonces(read(Feed(here.explorer), begun.id)) == [str(nonce) for nonce in range(500)]


def test_a_reader_who_is_there_is_told_how_far_a_reorganisation_went_back_and_what_is_there_now(here: Scene) -> None:
    async def follow() -> list[Message]:
        feed, found = Feed(here.explorer), []
        async with feed.running():
            async for message in feed.messages():
                assert message is not None
                found.append(message)
                if message.kind is Kind.BLOCK and len(found) == 1:
                    create(here, 1)
                    create(here, 2)
                elif message.kind is Kind.BLOCK and nonces(found) == ["1", "2"]:
                    here.chain.reorganise(1)
                    here.store.rewind(here.chain.head.number)
                    create(here, 3)
                elif nonces(found)[-1:] == ["3"]:
                    return found
        raise AssertionError("the stream ended")

    found = asyncio.run(asyncio.wait_for(follow(), 120))
    (told,) = [message for message in found if message.kind is Kind.REORGANISED]
    assert isinstance(told.data, Reorganised) and told.data.back_to == here.chain.head.number - 1
    assert nonces(found[: found.index(told)]) == ["1", "2"] and nonces(found[found.index(told) :]) == ["3"]
    assert here.explorer.overview().totals.jobs == 2


def test_whoever_comes_back_from_a_fork_that_is_no_more_is_told_so_first(here: Scene, tmp_path: Path) -> None:
    create(here, 1)
    create(here, 2)
    (begun,) = read(Feed(here.explorer))
    here.chain.reorganise(1)
    here.store.rewind(here.chain.head.number)
    create(here, 3)
    for explorer in (here.explorer, restarted(here, tmp_path)):
        told, *rest = read(Feed(explorer), begun.id)
        assert isinstance(told.data, Reorganised) and told.data.back_to is None  # nobody knows how long it was away
        assert nonces(rest) == [] and read(Feed(explorer), told.id)[0].kind is Kind.BLOCK


def restarted(here: Scene, folder: Path) -> Explorer:
    """The explorer of a process that began anew on the same file."""
    here.store.close()
    store = JobStore(folder / "scene.sqlite", SOURCE)
    return Explorer(lambda: store, lambda: clock_of(here.chain), SOURCE, here.explorer.witness)


def test_a_restart_loses_no_event(here: Scene, tmp_path: Path) -> None:
    create(here, 1)
    (begun,) = read(Feed(here.explorer))
    create(here, 2)
    assert nonces(read(Feed(restarted(here, tmp_path)), begun.id)) == ["2"]


def test_a_message_is_three_lines_whatever_a_requester_wrote(here: Scene) -> None:
    (begun,) = read(Feed(here.explorer))
    name, args = Life(here.chain, Job(REQUESTER, 1, terms())).create()
    here.chain.mine(1, [(name, {**args, "dataUri": "\n\nid: 1\revent: block\u2028\ndata: x" * 500})])
    here.fill()
    message = read(Feed(here.explorer), begun.id)[0]
    lines = message.encode().decode().splitlines() if "\u2028" not in message.encode().decode() else []
    raw = message.encode()
    assert raw.count(b"\n") == 4 and raw.endswith(b"\n\n") and b"\r" not in raw and len(raw) < 4096
    assert not lines or lines[1] == "event: recorded"


def test_readers_are_counted_and_leave_room_when_they_go(here: Scene) -> None:
    feed = Feed(here.explorer, most_readers=3, most_per_client=2)
    with feed.reader("a"), feed.reader("a"):
        with pytest.raises(TooManyReaders, match="close one"), feed.reader("a"):
            pass
        with feed.reader("b"), pytest.raises(TooManyReaders, match="later"), feed.reader("c"):
            pass
    with feed.reader("a"):
        pass
    assert not feed._readers


def test_a_full_house_and_a_place_that_no_stream_gave_are_refused(here: Scene) -> None:
    app = here.app(feed=Feed(here.explorer, most_readers=0))
    full = ask(app, "/api/v1/events")
    assert full.status_code == 503 and full.headers["retry-after"] == "10"
    for given in ("x", "1-2", "-1-0-0000000000000000", "1-0-" + "g" * 16, "9" * 19 + "-0-0000000000000000"):
        answer = ask(here.app(), "/api/v1/events", **{"last-event-id": given})
        assert answer.status_code == 422 and "Last-Event-ID" in answer.json()["detail"]
        with pytest.raises(BadPlace):
            here.explorer.follow(given, 0, 10)


def test_a_closed_feed_lets_its_readers_go(here: Scene) -> None:
    async def follow() -> int:
        feed, heard = Feed(here.explorer), 0
        async for _ in feed.messages():
            heard += 1
            feed.close()
        return heard

    assert asyncio.run(asyncio.wait_for(follow(), 120)) == 1
