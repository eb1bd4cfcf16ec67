"""Whoever may not see an object learns nothing of it: neither by what is answered nor by when."""

import asyncio
import json
import math
import random
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from server.app import LIBRARY
from server.slicing.library import Library
from tests.server.access.denials import Bench, bench, sameness
from tests.server.access.guarded import Guarded, guarded
from tests.support.broker import Broker

FLOOR = 0.025  # seconds: what the shortest refusal takes
PAIRS = 120
SUSPICIOUS = 1e-4  # the probability below which two samples are taken to differ
VERSIONS = ("aiohttp", "python", "pysam", "htslib", "sqlalchemy", "yarl", "uvicorn")


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    """A location whose files a test may change."""
    folder = tmp_path / "a place nobody may know"
    folder.mkdir()
    for name in ("reads.bam", "reads.bam.bai", "only.bam", "only.bam.bai", "variants.vcf.gz"):
        shutil.copy2(data / name, folder / name)
    return folder


def administrators(broker: Broker) -> list[dict[str, str]]:
    return [{"iss": broker.issuer, "sub": "desk"}]


@pytest.fixture
async def at(copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Bench]:
    async with guarded(copy, tmp_path, administrators=administrators) as site:
        with bench(site, caplog) as found:
            yield found


async def withdraw(site: Guarded, name: str) -> None:
    statement = json.dumps({"action": "withdraw", "object": name}).encode()
    assert (await site.ask("POST", "/admin/consent", "desk", data=statement)).status == 200


HIDDEN = (
    "/reads/study/reads",  # forbidden
    "/reads/study/only",  # forbidden; withdrawn, in some tests
    "/reads/study/none",  # unknown
    "/reads/study/no/such",
    "/reads/study/reads/",
    "/reads/study/reads.bai",
    "/reads/study/reads.bam.csi",
    "/variants/study/reads",  # of the other endpoint
    "/reads/study/variants",
    "/reads/study/reads?format=CRAM",  # in another format
    "/reads/study/none?format=CRAM",
    "/reads/study/reads?class=header",
    "/reads/study/reads?referenceName=one&start=5&end=9",
    "/reads/study/reads?referenceName=none",
    "/reads/study/%2e%2e/reads",
)


@pytest.mark.security("TE1")
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_whatever_is_hidden_looks_the_same(at: Bench, method: str) -> None:
    """Unknown, forbidden, withdrawn, of the wrong endpoint or format, for one who may see none."""
    await withdraw(at.site, "study/only")
    at.opened.clear()
    replies = []
    for path in HIDDEN:
        if method != "POST" or "?" not in path:
            data = b"" if method == "POST" else None
            replies.append(await at.site.ask(method, path, "mallory", data=data))
    assert {each.status for each in replies} == {404}
    assert len({sameness(each) for each in replies}) == 1
    assert at.opened == []
    denied = await at.site.events("ticket.denied")
    assert len(denied) == len(replies)
    assert {each["rule"] for each in denied} == {"object.not_visible"}


@pytest.mark.security("TE1", "TL4")
async def test_who_may_see_others_cannot_tell_withdrawn_from_unknown(at: Bench) -> None:
    ticket = await at.site.get("/reads/study/only", "alice")
    await withdraw(at.site, "study/only")
    paths = ("/reads/study/only", "/reads/study/none", "/variants/study/reads", "/reads/study/x/y")
    replies = [await at.site.get(path, "alice") for path in paths]
    replies += [await at.site.get("/reads/study/reads", "mallory")]
    replies += [await at.site.live.get(url) for url in ticket.urls]
    assert {each.error for each in replies} == {(404, "NotFound")}
    assert len({sameness(each) for each in replies}) == 1
    assert (await at.site.get("/reads/study/reads", "alice")).status == 200


@pytest.mark.security("TE3")
async def test_nobody_learns_what_there_is(at: Bench) -> None:
    replies = []
    for path in HIDDEN:
        reply = await at.refused(path, event="ticket.denied", rule="credential.missing")
        replies.append(sameness(reply))
    assert len(set(replies)) == 1
    for path in HIDDEN:
        head = await at.site.ask("HEAD", path)
        assert sameness(head)[:2] == replies[0][:2]
        bad = await at.refused(path, "no-token", rule="token.syntax")
        assert bad.error == (401, "InvalidAuthentication")


@pytest.mark.security("TE3")
async def test_preflights_do_not_look(at: Bench) -> None:
    at.opened.clear()
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    replies = [await at.site.live.ask("OPTIONS", path, headers=asked) for path in HIDDEN[:9]]
    assert len({sameness(each) for each in replies}) == 1
    assert "Access-Control-Allow-Credentials" not in replies[0].headers
    assert at.opened == []


async def test_existence_that_need_not_be_hidden(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(copy, tmp_path, hide_existence=False) as site:
        with bench(site, caplog) as at:
            for path in HIDDEN:
                reply = await at.site.get(path, "mallory")
                assert reply.error == (403, "PermissionDenied")
            assert at.opened == []
            assert (await site.get("/reads/study/reads")).status == 401
            # Who may have it is told that there is none.
            assert (await site.get("/reads/study/none", "alice")).error == (404, "NotFound")


def probability(one: Sequence[float], other: Sequence[float]) -> float:
    """Of ranks that differ as much, were both of one distribution (Mann-Whitney, two-sided)."""
    ranked = sorted([(each, 0) for each in one] + [(each, 1) for each in other])
    ranks = sum(rank for rank, (_, which) in enumerate(ranked, 1) if which == 0)
    n, m = len(one), len(other)
    u = ranks - n * (n + 1) / 2
    deviation = math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(u - n * m / 2) / deviation / math.sqrt(2))


def test_the_rank_test_finds_what_differs() -> None:
    draw = random.Random(1)
    one = [draw.gauss(26, 1) for _ in range(PAIRS)]
    assert probability(one, [draw.gauss(26, 1) for _ in range(PAIRS)]) > SUSPICIOUS
    assert probability(one, [draw.gauss(27, 1) for _ in range(PAIRS)]) < SUSPICIOUS


@pytest.mark.security("TE2")
@pytest.mark.parametrize("sub", ["mallory", ""])
async def test_time_tells_nothing(at: Bench, sub: str) -> None:
    """Also of an object that others use, so that everything of it is at hand."""
    known, unknown = "/reads/study/reads", "/reads/study/nones"
    assert (await at.site.get(known, "alice")).status == 200
    draw = random.Random(2)

    async def measured() -> tuple[list[float], list[float]]:
        times: dict[str, list[float]] = {known: [], unknown: []}
        for _ in range(PAIRS):
            for path in draw.sample((known, unknown), 2):
                began = time.perf_counter()
                reply = await at.site.get(path, sub)
                times[path].append(time.perf_counter() - began)
                assert reply.status == (404 if sub else 401)
        return times[known], times[unknown]

    await measured()
    for _ in range(3):  # something else on the machine may disturb one of them
        one, other = await measured()
        assert min(*one, *other) >= FLOOR
        close = abs(statistics.median(one) - statistics.median(other)) < 0.001
        if probability(one, other) > SUSPICIOUS and close:
            return
    pytest.fail("unknown and forbidden objects are told apart by time")


@pytest.mark.security("TE4")
async def test_what_is_public_names_nothing(at: Bench, copy: Path) -> None:
    assert (await at.site.get("/reads/study/reads", "alice")).status == 200
    for path in (
        *("/reads/service-info", "/variants/service-info", "/sequence/service-info"),
        *("/service-info", "/health/live", "/health/ready", "/openapi.json", "/"),
        *(
            "/metrics",
            "/health",
            "/docs",
            "/admin",
            "/reads/",
            "/reads",
            "/nothing",
            "/favicon.ico",
        ),
    ):
        plain = {"Accept_Encoding": "identity"}
        replies = [
            await at.site.live.get(path, **plain),
            await at.site.get(path, "mallory", **plain),
        ]
        assert sameness(replies[0]) == sameness(replies[1])
        reply = replies[0]
        assert reply.status in (200, 401, 404), path
        assert reply.headers["Server"] == "htsgate"
        text = str(dict(reply.headers)) + reply.body.decode()
        for secret in ("study", str(copy), "nobody may know", "G-ALL", at.site.broker.issuer):
            assert secret not in text, (path, secret)
        for name in VERSIONS:
            assert f"{name}/" not in text.lower(), (path, name)
            assert f"{name} 3" not in text.lower(), (path, name)


def discreet(text: str, copy: Path) -> None:
    for secret in (
        str(copy),
        copy.name,
        ".bam",
        "Traceback",
        "File ",
        "Errno",
        "bucket",
        "127.0.0",
    ):
        assert secret not in text, text


@pytest.mark.security("TE5")
async def test_faults_tell_nothing(
    at: Bench, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that crashes, a file that is damaged, a disk that is gone."""
    path = "/reads/study/reads?referenceName=one&start=2000&end=30000"
    urls = (await at.site.get(path, "alice")).urls

    message = f"decoder died at {copy}/reads.bam in s3://bucket/key"

    async def crash(*args: object, **options: object) -> None:
        raise RuntimeError(message)

    with monkeypatch.context() as patch:
        patch.setattr(Library, "header", crash)
        assert isinstance(at.site.live.app[LIBRARY], Library)
        reply = await at.site.get(path, "alice")
        assert reply.error == (500, "InternalServerError")
        discreet(reply.body.decode() + str(reply.headers), copy)
        assert "bucket" not in at.caplog.text
    (copy / "reads.bam").write_bytes(b"\x1f\x8b\x08\x04 nonsense")
    for each in (path, *urls):
        reply = await at.site.get(each, "alice" if each == path else "")
        assert reply.status in (409, 500)
        discreet(reply.body.decode(), copy)
    shutil.move(copy, tmp_path / "gone")
    for each in ("/reads/study/only", path, *urls):
        reply = await at.site.get(each, "" if "blocks" in each else "alice")
        assert reply.status in (404, 500, 503)
        discreet(reply.body.decode(), copy)
    assert (await at.site.get("/reads/study/only", "mallory")).status == 404
    assert (await at.site.live.get("/health/live")).status == 200
    ready = await at.site.live.get("/health/ready")
    discreet(ready.body.decode(), copy)


@pytest.mark.security("TE5")
async def test_a_decision_point_that_is_down(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_nobody = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = with_nobody.sockets[0].getsockname()[1]
    with_nobody.close()
    await with_nobody.wait_closed()
    async with guarded(copy, tmp_path, decision_point=f"http://127.0.0.1:{port}") as site:
        with bench(site, caplog) as at:
            reply = await at.refused(
                "/reads/study/reads",
                site.token("alice"),
                status=503,
                event="ticket.denied",
                rule="decision_point.unreachable",
                seconds=6,
            )
            assert int(reply.headers["Retry-After"]) > 0
            discreet(reply.body.decode(), copy)
            assert str(port) not in reply.body.decode()
            assert (await site.get("/reads/study/reads", "mallory")).status == 404
