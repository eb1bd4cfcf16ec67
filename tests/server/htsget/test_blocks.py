"""Data blocks over HTTP: ranges, conditions, capabilities, changes behind the server's back."""

import asyncio
import os
import random
import shutil
import string
from pathlib import Path

import pytest

from tests.server.live import Live, serving, settings_of
from tests.storage_backends.contract import open_descriptors
from tests.support.bgzf_layout import inflated

OTHER_SECRET = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY"  # noqa: S105


async def body_url(live: Live, path: str = "/reads/reads?referenceName=one") -> str:
    return (await live.get(path)).urls[1]


@pytest.mark.parametrize(
    "path", ["/reads/reads?referenceName=one", "/reads/large", "/variants/variants"]
)
async def test_whole_blocks(live: Live, path: str) -> None:
    for url in (await live.get(path)).urls:
        reply = await live.get(url, Origin="https://a.example")
        assert reply.status == 200
        assert reply.headers["Content-Length"] == str(len(reply.body))
        assert reply.headers["Accept-Ranges"] == "bytes"
        etag = reply.headers["ETag"]
        assert etag.startswith('"')
        assert etag.endswith('"')
        assert reply.headers["Access-Control-Allow-Origin"] == "https://a.example"
        assert "ETag" in reply.headers["Access-Control-Expose-Headers"]
        assert "Content-Encoding" not in reply.headers
        assert "Content-Range" not in reply.headers
        head = await live.ask("HEAD", url)
        assert head.body == b""
        assert head.status == 200
        for name in ("Content-Length", "ETag", "Accept-Ranges", "Content-Type"):
            assert head.headers[name] == reply.headers[name]


async def ranged(live: Live, url: str, *values: str, **more: str) -> tuple[int, str | None, bytes]:
    headers = [("Range", value) for value in values]
    headers += [(name.replace("_", "-"), value) for name, value in more.items()]
    async with live.session.get(url, headers=headers) as response:
        return response.status, response.headers.get("Content-Range"), await response.read()


@pytest.mark.security("TU3")
async def test_ranges(live: Live) -> None:
    """The table of a block of n bytes."""
    url = await body_url(live)
    whole = (await live.get(url)).body
    n = len(whole)
    for asked, low, high in (
        ("bytes=20-29", 20, 30),
        ("bytes=20-", 20, n),
        ("bytes=-5", n - 5, n),
        (f"bytes={n - 10}-{n + 50}", n - 10, n),
        ("bytes=0-0", 0, 1),
        (f"bytes={n - 1}-", n - 1, n),
        ("bytes=0-", 0, n),
        (f"bytes=-{n + 500}", 0, n),
        (f"bytes=0-{'9' * 18}", 0, n),
        ("BYTES=1-2", 1, 3),
    ):
        assert await ranged(live, url, asked) == (
            206,
            f"bytes {low}-{high - 1}/{n}",
            whole[low:high],
        ), asked
    for asked in (
        *(f"bytes={n}-", "bytes=30-20", "bytes=-0", "bytes=1-2,4-5", "bytes=", "bytes=-"),
        *("bytes=a-b", "bytes=1 - 2", "bytes=٣-٤", f"bytes={'9' * 19}-", f"bytes=0-{'9' * 30}"),
        *("bytes=-1-2", "bytes=+1-2", "bytes=0x1-2"),
    ):
        status, content_range, body = await ranged(live, url, asked)
        assert (status, content_range) == (416, f"bytes */{n}"), asked
        assert b'"InvalidRange"' in body
    for asked in ("lines=1-2", "", "nonsense"):
        assert await ranged(live, url, asked) == (200, None, whole)
    assert (await ranged(live, url, "bytes=1-2", "bytes=3-4"))[0] == 416


async def test_random_ranges_of_a_large_block(live: Live) -> None:
    url = await body_url(live, "/reads/large")
    whole = (await live.get(url)).body
    draw = random.Random(1)
    n = len(whole)
    for _ in range(40):
        low = draw.randrange(n)
        high = min(n, low + draw.choice((1, 100, 100_000, 300_000, n)))
        status, _, body = await ranged(live, url, f"bytes={low}-{high - 1}")
        assert (status, body == whole[low:high]) == (206, True)
        head = await live.ask("HEAD", url, headers={"Range": f"bytes={low}-{high - 1}"})
        assert (head.status, head.headers["Content-Length"]) == (206, str(high - low))


async def test_resumed_transfers_equal_whole_ones(live: Live) -> None:
    """As htslib resumes: `bytes=N-` wherever the connection broke."""
    url = await body_url(live, "/reads/large?referenceName=one&start=500&end=17000")
    whole = (await live.get(url)).body
    received = b""
    draw = random.Random(2)
    while len(received) < len(whole):
        async with live.session.get(url, headers={"Range": f"bytes={len(received)}-"}) as response:
            received += await response.content.read(draw.randrange(1, 400_000))
            response.close()
    assert received == whole


@pytest.mark.security("TU3")
async def test_conditions(live: Live) -> None:
    url = await body_url(live)
    whole = await live.get(url)
    etag = whole.headers["ETag"]
    for value in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        reply = await live.get(url, If_None_Match=value)
        assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", etag)
    assert (await live.get(url, If_None_Match='"other"')).status == 200
    assert (await ranged(live, url, "bytes=1-3", If_Range=etag))[0] == 206
    for value in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT", ""):
        status, _, body = await ranged(live, url, "bytes=1-3", If_Range=value)
        assert (status, body) == (200, whole.body), value


async def test_blocks_are_the_same_on_every_replica(live: Live, data: Path) -> None:
    url = await body_url(live)
    first = await live.get(url)
    async with serving(settings_of(data)) as other:
        token = url.removeprefix(live.base)
        second = await other.get(token)
        assert (second.body, second.headers["ETag"]) == (first.body, first.headers["ETag"])
        back = await live.get((await body_url(other)).removeprefix(other.base))
        assert back.body == first.body


@pytest.mark.security("TU1")
async def test_capability_of_another_secret(live: Live, data: Path) -> None:
    async with serving(settings_of(data, secret=OTHER_SECRET)) as other:
        token = (await body_url(live)).removeprefix(live.base)
        assert (await other.get(token)).error == (401, "InvalidAuthentication")
        token = (await body_url(other)).removeprefix(other.base)
        assert (await live.get(token)).error == (401, "InvalidAuthentication")


@pytest.mark.security("TU1")
async def test_capability_for_another_origin(live: Live, data: Path) -> None:
    async with serving(settings_of(data, public_url="https://x.example")) as other:
        token = (await body_url(live)).removeprefix(live.base)
        assert (await other.get(token)).error == (401, "InvalidAuthentication")


@pytest.mark.security("TU1")
async def test_tampered_capabilities(live: Live) -> None:
    """Every byte counts; every refusal is the same."""
    url = await body_url(live, "/variants/variants?referenceName=one&start=1&end=2")
    prefix, _, token = url.rpartition("/")
    draw = random.Random(3)
    letters = string.ascii_letters + string.digits + "-_"
    replies = set()
    forged = []
    for at, letter in enumerate(token):
        other = draw.choice([each for each in letters if each != letter])
        forged.append(token[:at] + other + token[at + 1 :])
    forged += [token + "=", token + "%0A", token + "A", token[:-1], token.replace("v1.", "v2.")]
    forged += [".".join(token.split(".")[:3]), token.replace(".k1.", ".k2."), "v1.k1..", "x", "v1"]
    forged += [token.upper(), token + "." + token, "%00", "a" * 7_000]
    for each in forged:
        reply = await live.get(f"{prefix}/{each}")
        assert reply.error == (401, "InvalidAuthentication"), each
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="htsget"'
        replies.add(reply.body)
    assert len(replies) == 1


@pytest.mark.security("TU2")
async def test_capability_says_all(live: Live) -> None:
    """Nothing else in the request changes what is sent."""
    url = await body_url(live)
    whole = (await live.get(url)).body
    for query in ("?id=variants", "?referenceName=two&start=0", "?class=header", "?format=CRAM"):
        assert (await live.get(url + query)).body == whole
    assert (await live.get(url, Authorization="Bearer nonsense")).body == whole


@pytest.mark.security("TU6")
async def test_bearer_and_capability_are_not_exchanged(live: Live) -> None:
    token = (await body_url(live)).rpartition("/")[2]
    assert (await live.get("/blocks/token", Authorization=f"Bearer {token}")).error[0] == 401
    assert (await live.get(f"/reads/{token}")).error == (404, "NotFound")
    assert (await live.get(f"/variants/{token}")).error == (404, "NotFound")


@pytest.mark.security("TU1")
async def test_expired_capability(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    async with serving(settings_of(data, ticket_lifetime=10)) as live:
        urls = (await live.get("/reads/reads")).urls
        now[0] += 9
        assert [(await live.get(url)).status for url in urls] == [200, 200]
        now[0] += 2
        for url in urls:
            reply = await live.get(url)
            assert reply.error == (401, "InvalidAuthentication")
            assert "expired" in reply.json["message"]


async def test_header_urls_do_not_expire_before_their_ticket(data: Path) -> None:
    """Tickets may share a header's URL; each still lasts its time, or most of it."""
    async with serving(settings_of(data, ticket_lifetime=10)) as live:
        first = (await live.get("/reads/reads")).urls[0]
        for _ in range(3):
            assert (await live.get((await live.get("/reads/reads")).urls[0])).status == 200
        assert (await live.get(first)).status == 200


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    for name in (
        "reads.bam",
        "reads.bam.bai",
        "only.bam",
        "only.bam.bai",
        "large.bam",
        "large.bam.bai",
    ):
        shutil.copy2(data / name, tmp_path / name)
    return tmp_path


@pytest.mark.security("TU5")
async def test_replaced_between_ticket_and_block(copy: Path) -> None:
    async with serving(settings_of(copy)) as live:
        tickets = [await live.get(f"/reads/reads{query}") for query in ("", "?referenceName=one")]
        assert (await live.get(tickets[0].urls[1])).status == 200
        (copy / "fresh").write_bytes((copy / "only.bam").read_bytes())
        (copy / "fresh").rename(copy / "reads.bam")
        for url in (url for ticket in tickets for url in ticket.urls):
            reply = await live.get(url)
            assert reply.error == (409, "InvalidInput")
            assert "new ticket" in reply.json["message"]
        again = await live.whole(await live.get("/reads/reads"))
        assert inflated(again) == inflated((copy / "only.bam").read_bytes())
        stale = await live.get("/reads/reads?referenceName=one")
        assert stale.error == (500, "InternalServerError")


@pytest.mark.security("TU5")
async def test_changed_in_place_between_ticket_and_block(copy: Path) -> None:
    async with serving(settings_of(copy)) as live:
        url = await body_url(live, "/reads/large")
        assert (await live.get(url)).status == 200
        with (copy / "large.bam").open("r+b") as file:
            file.seek(100_000)
            file.write(b"changed")
        assert (await live.get(url)).error == (409, "InvalidInput")


async def test_removed_between_ticket_and_block(copy: Path) -> None:
    async with serving(settings_of(copy)) as live:
        url = await body_url(live)
        (copy / "reads.bam").unlink()
        assert (await live.get(url)).error == (404, "NotFound")
        assert (await live.get("/reads/reads")).error == (404, "NotFound")


async def test_index_removed_or_replaced(copy: Path) -> None:
    async with serving(settings_of(copy)) as live:
        assert (await live.get("/reads/reads?referenceName=one")).status == 200
        index = (copy / "reads.bam.bai").read_bytes()
        (copy / "reads.bam.bai").unlink()
        assert (await live.get("/reads/reads?referenceName=one")).error == (400, "InvalidRange")
        shutil.copy2(copy / "only.bam.bai", copy / "reads.bam.bai")
        os.utime(copy / "reads.bam.bai")
        reply = await live.get("/reads/reads?referenceName=one")
        assert reply.error == (500, "InternalServerError")
        assert "reads" in reply.json["message"]
        (copy / "reads.bai").write_bytes(index)
        (copy / "reads.bam.bai").unlink()
        assert (await live.get("/reads/reads?referenceName=one")).status == 200


async def test_objects_that_appear_later(copy: Path) -> None:
    async with serving(settings_of(copy)) as live:
        assert (await live.get("/reads/later")).error == (404, "NotFound")
        shutil.copy2(copy / "only.bam", copy / "later.bam")
        assert (await live.get("/reads/later")).status == 200


async def test_a_client_that_goes_away(live: Live) -> None:
    url = await body_url(live, "/reads/large")
    before = open_descriptors()
    for _ in range(20):
        async with live.session.get(url) as response:
            await response.content.read(1_000)
            response.close()
    whole = await live.get(url)
    assert whole.headers["Content-Length"] == str(len(whole.body))
    for _ in range(50):
        if open_descriptors() <= before + 4:
            break
        await asyncio.sleep(0.05)
    assert open_descriptors() <= before + 4


async def test_many_at_once(live: Live) -> None:
    url = await body_url(live, "/reads/large")
    whole = (await live.get(url)).body
    answers = await asyncio.gather(*(live.get(url) for _ in range(30)))
    assert all(answer.body == whole for answer in answers)


async def test_tickets_at_once_share_the_work(live: Live) -> None:
    replies = await asyncio.gather(*(live.get("/reads/reads?referenceName=one") for _ in range(50)))
    bodies = await asyncio.gather(*(live.get(reply.urls[1]) for reply in replies))
    assert len({body.body for body in bodies}) == 1
    assert len({body.headers["ETag"] for body in bodies}) == 1
