"""Objects that change, vanish or arrive while they are served: clear answers, no mixed bytes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.server.live import Live, serving, settings_of
from tests.server.remote.places import Place
from tests.server.remote.test_call_counts import (
    INDEXES,
    MIDDLE,
    REGIONS,
    blocks,
    of_each_format,
    read_block,
)

CHANGED = "the object changed since the ticket was issued; request a new ticket"
WHOLE = "/reads/wide"


@pytest.fixture
async def before(files: Path) -> AsyncIterator[Live]:
    """The files as they are first, from disk."""
    async with serving(settings_of(files)) as live:
        yield live


@pytest.fixture
async def after(newer: Path) -> AsyncIterator[Live]:
    """The files that take their place, from disk."""
    async with serving(settings_of(newer)) as live:
        yield live


def replace(place: Place, newer: Path, name: str) -> None:
    """Put this object there, and its index."""
    for path in newer.glob(f"{name}*"):
        place.put(path.name, path)


@of_each_format
async def test_replaced_between_ticket_and_block(
    place: Place, newer: Path, after: Live, name: str
) -> None:
    async with serving(place.settings()) as live:
        body = (await live.get(REGIONS[name])).urls[1]
        replace(place, newer, name)
        refused = await live.get(body)
        assert refused.error == (409, "InvalidInput")
        assert refused.json["message"] == CHANGED
        assert await blocks(live, REGIONS[name]) == await blocks(after, REGIONS[name])
        assert (await live.get(body)).status == 409


@of_each_format
async def test_replaced_and_looked_at_again(
    place: Place, newer: Path, after: Live, name: str
) -> None:
    async with serving(place.settings(revalidate=0.2)) as live:
        header, body = (await live.get(REGIONS[name])).urls
        replace(place, newer, name)
        await asyncio.sleep(0.25)
        assert await blocks(live, REGIONS[name]) == await blocks(after, REGIONS[name])
        for url in (header, body):
            assert (await live.get(url)).error == (409, "InvalidInput")


@of_each_format
async def test_a_replica_that_knows_the_old_object_serves_the_new_one(
    place: Place, newer: Path, after: Live, name: str
) -> None:
    """Tickets of one replica are good at another, however old what that knows is."""
    async with serving(place.settings()) as stale:
        old = await blocks(stale, REGIONS[name])
        replace(place, newer, name)
        async with serving(place.settings()) as fresh:
            urls = (await fresh.get(REGIONS[name])).urls
        pieces = []
        for url in urls:
            reply = await stale.get(url.replace(fresh.base, stale.base))
            assert reply.status == 200, reply.body
            pieces.append(reply.body)
        assert pieces[1] == await blocks(after, REGIONS[name]) != old
        assert await blocks(stale, REGIONS[name]) == pieces[1]


@pytest.mark.parametrize("query", [WHOLE, MIDDLE])
@pytest.mark.security("TS1")
async def test_replaced_while_a_block_streams(
    place: Place, newer: Path, before: Live, query: str
) -> None:
    expected = await blocks(before, query)
    async with serving(place.settings()) as live:
        await blocks(live, query)
        url = (await live.get(query)).urls[1]
        place.log.hold_after = 1 << 18
        reading = asyncio.create_task(read_block(live, url))
        await asyncio.sleep(0.2)
        assert not reading.done()
        replace(place, newer, "wide.bam")
        place.log.hold_after = None
        received, complete = await reading
        assert expected.startswith(received)
        assert (received == expected) == complete


async def test_a_broken_transfer_is_taken_up(place: Place, before: Live) -> None:
    expected = await blocks(before, WHOLE)
    async with serving(place.settings()) as live:
        await blocks(live, WHOLE)
        url = (await live.get(WHOLE)).urls[1]
        place.log.clear()
        place.log.cut_after = 2 << 20
        assert await read_block(live, url) == (expected, True)
        assert 4 <= len(place.log("GET")) <= 8, str(place.log)


async def test_a_broken_transfer_of_a_replaced_object(
    place: Place, newer: Path, before: Live
) -> None:
    expected = await blocks(before, WHOLE)
    async with serving(place.settings()) as live:
        await blocks(live, WHOLE)
        url = (await live.get(WHOLE)).urls[1]
        place.log.clear()
        place.log.cut_after = 2 << 20

        async def swap(_: web.Request) -> None:
            if len(place.log("GET")) == 2:
                await asyncio.to_thread(replace, place, newer, "wide.bam")

        place.log.rule = swap
        received, complete = await read_block(live, url)
        assert not complete
        assert received
        assert expected.startswith(received)


@pytest.mark.parametrize("name", ["reads.bam", "wide.bam"])
async def test_the_index_alone_is_replaced(place: Place, files: Path, name: str) -> None:
    index = f"{name}.bai"
    longer = (files / index).read_bytes()
    async with serving(place.settings(revalidate=0.2)) as live:
        first = await blocks(live, REGIONS[name])
        place.put(index, longer[:-8])
        await asyncio.sleep(0.25)
        place.log.clear()
        assert await blocks(live, REGIONS[name]) == first
        assert len(place.log("GET", index)) == 1
        place.put(index, b"no index")
        await asyncio.sleep(0.25)
        assert (await live.get(REGIONS[name])).error == (500, "InternalServerError")
        place.put(index, longer)
        await asyncio.sleep(0.25)
        assert await blocks(live, REGIONS[name]) == first


@of_each_format
async def test_an_index_that_is_replaced_before_it_isread_block(
    place: Place, newer: Path, after: Live, name: str
) -> None:
    """What is known of it is older than it: the ticket is made of the new one and its object."""
    async with serving(place.settings()) as live:
        endpoint = REGIONS[name].partition("?")[0]
        kind = "&format=CRAM" if name.endswith("cram") else ""
        assert (await live.get(f"{endpoint}?class=header{kind}")).urls
        replace(place, newer, name)
        assert await blocks(live, REGIONS[name]) == await blocks(after, REGIONS[name])


@of_each_format
async def test_deleted(place: Place, name: str) -> None:
    index = name + INDEXES[name]
    async with serving(place.settings(revalidate=0.2)) as live:
        body = (await live.get(REGIONS[name])).urls[1]
        place.delete(index)
        await asyncio.sleep(0.25)
        assert (await live.get(REGIONS[name])).error == (400, "InvalidRange")
        assert (await live.get(REGIONS[name].partition("&reference")[0])).status in (200, 400)
        place.delete(name)
        assert (await live.get(body)).status in (400, 404)
        await asyncio.sleep(0.25)
        assert (await live.get(REGIONS[name])).status in (400, 404)


async def test_deleted_within_what_is_known(place: Place) -> None:
    async with serving(place.settings()) as live:
        body = (await live.get(MIDDLE)).urls[1]
        place.delete("wide.bam")
        for _ in range(2):
            assert (await live.get(body)).error == (404, "NotFound")
        assert (await live.get(MIDDLE)).error == (404, "NotFound")


async def test_uploaded_later(empty_place: Place, files: Path) -> None:
    """An id that was unknown is found once what is known is old enough."""
    async with serving(empty_place.settings(revalidate=0.2)) as live:
        assert (await live.get(MIDDLE)).error == (404, "NotFound")
        replace(empty_place, files, "wide.bam")
        await asyncio.sleep(0.25)
        assert await blocks(live, MIDDLE)
