"""The profile of tickets that every client reads, and how selections are divided among URLs."""

import json
import random
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.regions import UNBOUNDED, Interval, merge
from server.htsget.ticket import _cuts, _grouped
from server.slicing.selection import Selection
from tests.server.live import Live, serving, settings_of
from tests.server.slicing.sorted_streams import Stream, open_stream
from tests.support.bgzf_layout import BGZF_EOF, bgzf_blocks, inflated


@pytest.fixture(scope="module")
def large(data: Path) -> Stream:
    stream = open_stream(data / "large.bam")
    assert len(stream.data) > 4 << 20
    return stream


async def test_keys_and_order(live: Live) -> None:
    for path in (
        "/reads/reads",
        "/reads/reads?referenceName=one",
        "/reads/reads?format=CRAM",
        "/variants/variants",
        "/variants/variants?format=BCF&referenceName=empty",
    ):
        reply = await live.get(path)
        text = reply.body.decode()
        assert text.startswith('{"htsget":{"format":')
        document = json.loads(text)
        assert list(document) == ["htsget"]
        assert set(document["htsget"]) == {"format", "urls"}
        urls = document["htsget"]["urls"]
        assert len(urls) == 2
        for each in urls:
            assert list(each) == ["url", "headers", "class"]
            assert each["headers"] == {}
            assert each["url"].startswith(f"{live.base}/blocks/v1.")
            assert "?" not in each["url"]
        assert [each["class"] for each in urls] == ["header", "body"]


async def test_the_strict_client_accepts_every_answer(live: Live, data: Path) -> None:
    del data
    for query in ("", "?referenceName=one&start=5&end=900000", "?class=header"):
        for endpoint, object_id in (
            ("reads", "reads"),
            ("reads", "large"),
            ("variants", "variants"),
        ):
            url = live.client.url(endpoint, object_id)
            answer = await live.client.ticket("GET", url.join(url.with_query(query[1:])))
            assert answer.data


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("htsget.example.org", "http://htsget.example.org"),
        ("htsget.example.org:8443", "http://htsget.example.org:8443"),
        ("[::1]:80", "http://[::1]:80"),
        ("evil.example/path", None),
        ("evil.example?x", None),
        ("user@evil.example", None),
        ("evil.example#", None),
        ('evil"example', None),
        ("evil example", None),
        ("evil.example:99999999", None),
        ("", None),
        ("a" * 300, None),
    ],
)
async def test_host(live: Live, host: str, origin: str | None) -> None:
    """What does not look like an authority is not repeated."""
    reply = await live.get("/reads/reads", Host=host)
    assert reply.status in (200, 400)
    if reply.status == 200:
        expected = origin or live.base
        assert all(url.startswith(f"{expected}/blocks/v1.") for url in reply.urls)
    else:
        assert host.encode() not in reply.body or not host


async def test_forwarded_headers_are_not_believed(live: Live) -> None:
    reply = await live.get(
        "/reads/reads",
        X_Forwarded_Host="evil.example",
        X_Forwarded_Proto="https",
        Forwarded="host=evil.example",
    )
    assert all(url.startswith(f"{live.base}/blocks/") for url in reply.urls)


@pytest.mark.parametrize("public", ["https://h.example", "https://h.example/", "https://h/a/b"])
async def test_public_url(data: Path, public: str) -> None:
    async with serving(settings_of(data, public_url=public)) as live:
        for host in ("other.example", "h.example"):
            reply = await live.get("/reads/reads", Host=host)
            prefix = public.rstrip("/")
            assert all(url.startswith(f"{prefix}/blocks/v1.") for url in reply.urls)
            for url in reply.urls:
                assert (await live.get(url.removeprefix(prefix))).status == 200


async def test_many_regions(live: Live, data: Path) -> None:
    """Thousands of regions: several URLs, none too long for a proxy, every record once."""
    regions = [
        {"referenceName": "one", "start": at * 170, "end": at * 170 + 40} for at in range(5_000)
    ]
    reply = await live.post("/reads/reads", {"regions": regions})
    assert len(reply.urls) > 2
    assert all(len(url) < 8_000 for url in reply.urls)
    classes = [each["class"] for each in reply.json["urls"]]
    assert classes == ["header"] + ["body"] * (len(classes) - 1)
    stream = open_stream(data / "reads.bam")
    intervals = tuple(Interval(0, at * 170, at * 170 + 40) for at in range(5_000))
    answered = inflated(await live.whole(reply))
    assert answered.endswith(stream.overlapping(intervals))
    header = inflated(await live.whole(await live.get("/reads/reads?class=header")))
    assert answered == header + stream.overlapping(intervals)


@pytest.mark.parametrize("size", [1 << 20, 3 << 19])
async def test_large_slices_get_several_urls(data: Path, large: Stream, size: int) -> None:
    async with serving(settings_of(data, max_block_bytes=size)) as live:
        header = inflated(await live.whole(await live.get("/reads/large?class=header")))
        for query, intervals in (
            ("", None),
            ("?referenceName=one", (Interval(0, 0, 1 << 60),)),
            ("?referenceName=one&start=900&end=17000", (Interval(0, 900, 17_000),)),
        ):
            reply = await live.get(f"/reads/large{query}")
            assert len(reply.urls) > 4
            pieces = [(await live.get(url)).body for url in reply.urls]
            for piece in pieces:
                assert len(piece) <= size
                assert sum(length for _, length, _ in bgzf_blocks(piece)) == len(piece)
            joined = b"".join(pieces)
            assert joined.endswith(BGZF_EOF)
            assert joined.count(BGZF_EOF) == 1
            expected = (
                b"".join(each.data for each in large.records)
                if intervals is None
                else large.overlapping(intervals)
            )
            assert inflated(joined) == header + expected


async def test_many_regions_of_large_slices(data: Path, large: Stream) -> None:
    regions = [(100, 9_000), (9_010, 9_020), (9_030, 18_500), (18_510, 18_600)]
    body = {"regions": [{"referenceName": "one", "start": s, "end": e} for s, e in regions]}
    body["regions"].append({"referenceName": "*"})
    async with serving(settings_of(data, max_block_bytes=1 << 20)) as live:
        header = inflated(await live.whole(await live.get("/reads/large?class=header")))
        reply = await live.post("/reads/large", body)
        expected = large.overlapping(tuple(Interval(0, s, e) for s, e in regions))
        assert inflated(await live.whole(reply)) == header + expected


@dataclass(frozen=True, slots=True)
class Even:
    """A slicer of a file in which a base takes a byte."""

    size: int

    def extent(self, interval: Interval) -> tuple[int, int]:
        return min(interval.start, self.size), min(interval.end, self.size)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3_000), st.integers(1, 900)), max_size=25),
    st.integers(1, 400),
)
@settings(deadline=None)
def test_groups(drawn: list[tuple[int, int, int]], limit: int) -> None:
    """Every interval in one group, or cut into tiles; groups in order and within the limit."""
    intervals = merge(Interval(ref, start, start + length) for ref, start, length in drawn)
    slicer = Even(4_000)
    groups: list[Selection] = list(_grouped(slicer, intervals, None, 4_000, limit))  # type: ignore[arg-type]
    seen: list[Interval] = []
    before: Interval | None = None
    for group in groups:
        assert group.intervals
        sent = before.end if before and before.reference == group.intervals[0].reference else 0
        if group.cut is None:
            assert group.sent_until == sent
            assert sum(end - start for _, start, end in group.intervals) <= limit
            seen += group.intervals
            before = group.intervals[-1]
            continue
        (interval,) = group.intervals
        first = not seen or seen[-1] != interval
        assert (group.cut[0] == 0) == first
        if first:
            seen.append(interval)
            sent_at_first = sent
        assert group.sent_until == sent_at_first
        if group.cut[1] == UNBOUNDED:
            before = interval
    assert tuple(seen) == intervals


@given(st.integers(0, 5_000), st.integers(0, 1 << 20), st.integers(1, 5_000))
def test_cuts(start: int, length: int, limit: int) -> None:
    cuts = _cuts(start, start + length, limit)
    if cuts == [None]:
        assert length <= limit
        return
    borders = [cut for cut in cuts if cut is not None]
    assert borders[0][0] == 0
    assert borders[-1][1] == UNBOUNDED  # the file's size is nobody's business
    assert all(a[1] == b[0] for a, b in pairwise(borders))
    assert all(low <= high for low, high in borders)


def test_hostile_extents_do_not_make_endless_tickets() -> None:
    class Hostile:
        def extent(self, interval: Interval) -> tuple[int, int]:
            del interval
            return 0, 1 << 48

    groups = list(_grouped(Hostile(), (Interval(0, 1, 2),), None, 5_000, 1_000))  # type: ignore[arg-type]
    assert len(groups) <= 6


@pytest.mark.parametrize(("placed", "unplaced", "parts"), [(900, 3_950, 1), (900, 3_800, 2)])
def test_reads_without_a_place_join_the_last_block_if_they_fit(
    placed: int, unplaced: int, parts: int
) -> None:
    class Slicer:
        def extent(self, interval: Interval) -> tuple[int, int]:
            del interval
            return 0, placed

    intervals = (Interval(0, 1, 2),)
    groups = list(_grouped(Slicer(), intervals, unplaced, 4_000, 1_000))  # type: ignore[arg-type]
    assert len(groups) == parts
    assert [group.unplaced for group in groups] == [False] * (parts - 1) + [True]
    assert list(_grouped(Slicer(), (), unplaced, 4_000, 1_000)) == [  # type: ignore[arg-type]
        Selection((), unplaced=True)
    ]


@pytest.mark.parametrize("seed", range(6))
async def test_however_many_regions_fit_into_urls(live: Live, seed: int) -> None:
    draw = random.Random(seed)
    for count in (300, 430, 1_000, 10_000):
        starts = (draw.randrange(130_000_000) for _ in range(count))
        regions = [{"referenceName": "one", "start": s, "end": s + 150} for s in starts]
        reply = await live.post("/reads/reads", {"regions": regions})
        assert reply.status == 200, reply.body
        assert all(len(url) < 8_000 for url in reply.urls)
