"""Data URLs of controlled data under attack: what is altered, borrowed, old or too much."""

import asyncio
import base64
import json
import random
import shutil
import socket
import string
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from auth.capability import CapabilityCodec
from server.access.live_streams import MOST_STREAMS
from tests.server.access.denials import READS, Bench, bench, sameness
from tests.server.access.guarded import Guarded, guarded
from tests.server.live import Reply
from tests.support.bgzf_layout import inflated
from tests.support.broker import Broker

IN_GENE = f"{READS}?referenceName=one&start=2000&end=30000"
LETTERS = string.ascii_letters + string.digits + "-_"


def administrators(broker: Broker) -> list[dict[str, str]]:
    return [{"iss": broker.issuer, "sub": "desk"}]


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    """A location whose files a test may change."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("reads", "only", "large"):
        shutil.copy2(data / f"{name}.bam", folder / f"{name}.bam")
        shutil.copy2(data / f"{name}.bam.bai", folder / f"{name}.bam.bai")
    shutil.copy2(data / "variants.bcf", folder / "variants.bcf")
    shutil.copy2(data / "variants.bcf.csi", folder / "variants.bcf.csi")
    return folder


@pytest.fixture
async def at(copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Bench]:
    revoked = tmp_path / "revoked"
    revoked.touch()
    async with guarded(copy, tmp_path, administrators=administrators, revoked=str(revoked)) as site:
        with bench(site, caplog) as found:
            yield found


def refuted(reply: Reply) -> None:
    assert reply.error == (401, "InvalidAuthentication")
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="htsget"'


@pytest.mark.security("TU1")
async def test_altered_capabilities(at: Bench) -> None:
    """Every character counts, and every refusal is the same."""
    url = (await at.site.get(IN_GENE, "bob")).urls[1]
    prefix, _, token = url.rpartition("/")
    draw = random.Random(3)
    forged = []
    for number, letter in enumerate(token):
        other = draw.choice([each for each in LETTERS if each != letter])
        forged.append(token[:number] + other + token[number + 1 :])
    version, kid, body, mac = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    wider = json.dumps(claims | {"exp": claims["exp"] + 9}, sort_keys=True, separators=(",", ":"))
    rewritten = base64.urlsafe_b64encode(wider.encode()).rstrip(b"=").decode()
    forged += [
        *(token + end for end in ("=", "%0A", "A", ".")),
        *(f"v2.{kid}.{body}.{mac}", f"{version}.k2.{body}.{mac}", f"{version}.{body}.{mac}"),
        *(f"{version}.{kid}.{rewritten}.{mac}", f"{kid}.{body}.{mac}", f"{version}.{kid}..{mac}"),
        *(token[:-1], token.upper(), "v1", "%00"),
    ]
    before = len(await at.site.records())
    at.opened.clear()
    at.caplog.clear()
    replies = [await at.site.live.get(f"{prefix}/{each}") for each in forged]
    assert {sameness(each) for each in replies} == {sameness(replies[0])}
    refuted(replies[0])
    assert at.opened == []
    said = [("data.denied", "capability.invalid")] * len(forged)
    await at.recorded(before, said, (token, *forged[-20:-14]), *replies)
    assert (await at.site.live.get(url)).status == 200


@pytest.mark.security("TU1")
async def test_macs_are_compared_in_constant_time(
    at: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a key that is not known."""
    compared = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("auth.capability.hmac.compare_digest", spy)
    url = (await at.site.get(IN_GENE, "bob")).urls[1]
    for changed in (url[:-2] + "AA", url.replace(".k1.", ".k9.")):
        refuted(await at.site.live.get(changed))
    assert len(compared) == 2


@pytest.mark.security("TU2")
async def test_a_capability_says_all(at: Bench) -> None:
    """Object, endpoint, format and class are those it was sealed for, whatever the request says."""
    url = (await at.site.get(IN_GENE, "bob")).urls[1]
    whole = (await at.site.live.get(url)).body
    for query in ("?class=header", "?format=CRAM", "?referenceName=two&start=0", "?id=study/large"):
        assert (await at.site.live.get(url + query)).body == whole
    token = url.rpartition("/")[2]
    for path in (f"/reads/{token}", f"/variants/{token}", f"/reads/study/large/{token}"):
        reply = await at.site.live.get(path)
        assert reply.status == 401
        assert (await at.site.get(path, "alice")).error == (404, "NotFound")
    for path in (f"/blocks/{token}/x", f"/blocks/study/large/{token}", f"/blocks/x/{token}"):
        assert (await at.site.live.get(path)).status == 404


@pytest.mark.security("TU3")
async def test_ranges_stay_within_the_block(at: Bench, copy: Path) -> None:
    url = (await at.site.get(IN_GENE, "bob")).urls[1]
    whole = await at.site.live.get(url)
    n, source = len(whole.body), (copy / "reads.bam").stat().st_size
    assert n != source
    etag = whole.headers["ETag"]
    answers = [
        ("bytes=0-", 206, whole.body),
        (f"bytes=10-{n + 10_000}", 206, whole.body[10:]),
        ("bytes=-500", 206, whole.body[-500:]),
        (f"bytes=-{source}", 206, whole.body),
        (f"bytes={n - 1}-{'9' * 18}", 206, whole.body[-1:]),
        (f"bytes={n}-", 416, None),
        (f"bytes={n}-{source}", 416, None),
        ("bytes=30-20", 416, None),
        ("bytes=0-1,5-9", 416, None),
        ("bytes=\u0663-\u0664", 416, None),
        (f"bytes={'9' * 30}-", 416, None),
        ("lines=0-5", 200, whole.body),
    ]
    for asked, status, body in answers:
        reply = await at.site.live.get(url, Range=asked)
        assert reply.status == status, asked
        assert body in (None, reply.body), asked
        told = str(dict(reply.headers)) + ("" if status != 416 else reply.body.decode())
        assert str(source) not in told
        assert reply.headers.get("Content-Range", f"/{n}").endswith(f"/{n}")
    twice = [("Range", "bytes=0-1"), ("Range", "bytes=5-9")]
    async with at.site.live.session.get(url, headers=twice) as response:
        assert response.status == 416
    for value, status in ((etag, 206), ('"other"', 200), ("Wed, 21 Oct 2015 07:28:00 GMT", 200)):
        reply = await at.site.live.get(url, Range="bytes=3-5", If_Range=value)
        assert (reply.status, reply.body) == (
            (status, whole.body[3:6]) if status == 206 else (200, whole.body)
        )


async def withdraw(site: Guarded, tmp_path: Path) -> None:
    statement = json.dumps({"action": "withdraw", "object": "study/reads"}).encode()
    assert (await site.ask("POST", "/admin/consent", "desk", data=statement)).status == 200


async def remove_grant(site: Guarded, tmp_path: Path) -> None:
    site.policy.write_text(site.policy.read_text().replace('sub = "bob"', 'sub = "zoe"'))


async def tighten(site: Guarded, tmp_path: Path) -> None:
    site.policy.write_text(site.policy.read_text().replace("one:1001-60000", "one:1001-20000"))


async def revoke(site: Guarded, tmp_path: Path) -> None:
    (tmp_path / "revoked").write_text(f"{site.broker.issuer}|bob\n")


@pytest.mark.security("TU4")
@pytest.mark.parametrize(
    ("change", "status", "rules"),
    [
        (withdraw, 404, {"consent.withdrawn"}),
        (remove_grant, 404, {"object.not_visible"}),
        (tighten, 403, {"region.not_granted"}),
        (revoke, 404, {"token.revoked"}),
    ],
)
async def test_a_right_that_ends_after_the_ticket(
    at: Bench,
    tmp_path: Path,
    change: Callable[[Guarded, Path], Awaitable[None]],
    status: int,
    rules: set[str],
) -> None:
    urls = (await at.site.get(IN_GENE, "bob")).urls
    other = (await at.site.get("/reads/study/only", "alice")).urls
    assert [(await at.site.live.get(url)).status for url in urls] == [200, 200]
    await change(at.site, tmp_path)
    async with asyncio.timeout(5):
        while (await at.site.live.get(urls[1])).status == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    for url in urls:
        before = len(await at.site.records())
        at.opened.clear()
        at.caplog.clear()
        reply = await at.site.live.get(url)
        assert reply.error[0] == status
        assert at.opened == []
        records = (await at.site.records())[before:]
        assert {each["event"] for each in records} == {"data.denied"}
        assert [each["rule"] for each in records] == list(rules)
        capability = url.rpartition("/")[2]
        assert capability not in json.dumps(records) + at.caplog.text
        assert records[0]["tid"] not in reply.body.decode()
    assert [(await at.site.live.get(url)).status for url in other] == [200, 200]


@pytest.mark.security("TU5")
async def test_a_file_that_is_replaced(at: Bench, copy: Path) -> None:
    urls = (await at.site.get(READS, "alice")).urls
    assert (await at.site.live.get(urls[1])).status == 200
    (copy / "fresh").write_bytes((copy / "only.bam").read_bytes())
    (copy / "fresh").rename(copy / "reads.bam")
    for url in urls:
        assert (await at.site.live.get(url)).error == (409, "InvalidInput")
    body = await at.site.fetch(READS, "alice")
    assert inflated(body) == inflated((copy / "only.bam").read_bytes())


@pytest.mark.security("TU6")
async def test_credentials_are_not_exchanged(at: Bench) -> None:
    urls = (await at.site.get(IN_GENE, "bob")).urls
    capability, token = urls[1].rpartition("/")[2], at.site.token("alice")
    await at.refused(token=capability, rule="token.syntax")
    for path in (f"/blocks/{token}", "/blocks/x", "/blocks/study%2Freads"):
        refuted(
            await at.refused(
                path,
                headers={"Authorization": f"Bearer {token}"},
                event="data.denied",
                rule="capability.invalid",
                secrets=(token,),
            )
        )


@pytest.mark.security("TU7")
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "TRACE", "PROPFIND"])
async def test_other_methods(at: Bench, method: str) -> None:
    url = (await at.site.get(IN_GENE, "bob")).urls[1]
    at.opened.clear()
    assert (await at.site.live.ask(method, url)).error == (405, "InvalidInput")
    assert at.opened == []
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        headers = {name: method}
        assert (await at.site.live.ask("HEAD", url, headers=headers)).status == 200
        assert (await at.site.live.ask("GET", url, headers=headers)).status == 200


@pytest.mark.security("TU8")
async def test_too_many_fetches_of_one_capability(at: Bench) -> None:
    """Clients that do not read hold as many blocks as one caller may have; the next gets none."""
    url = (await at.site.get("/reads/study/large", "alice")).urls[1]
    path = url.removeprefix(at.site.live.base)
    host, port = at.site.live.base.removeprefix("http://").split(":")
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    writers, statuses = [], []

    async def fetch() -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        writers.append(writer)
        writer.write(request)
        statuses.append(int((await reader.readline()).split()[1]))

    try:
        async with asyncio.timeout(60):
            for _ in range(5):
                await asyncio.gather(*(fetch() for _ in range(40)))
        assert statuses.count(200) == MOST_STREAMS
        assert statuses.count(429) == 200 - MOST_STREAMS
        refused = await at.site.live.get(url)
        assert refused.error == (429, "TooManyRequests")
        assert int(refused.headers["Retry-After"]) > 0
        bob = await at.site.get(IN_GENE, "bob")
        assert (await at.site.live.get(bob.urls[1])).status == 200
    finally:
        for writer in writers:
            writer.transport.abort()
    async with asyncio.timeout(20):
        while (await at.site.live.get(url, Range="bytes=0-1")).status != 206:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    denied = await at.site.events("data.denied")
    assert {each["rule"] for each in denied} == {"quota.concurrent_streams"}


@pytest.mark.security("TU9")
async def test_a_ticket_from_another_network(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    public = "https://htsget.example"
    proxied = {"trusted_proxies": ["127.0.0.1/32"], "public_url": public}
    async with guarded(copy, tmp_path, server=proxied, bind_address=True) as site:
        with bench(site, caplog) as at:
            here = {"X-Forwarded-For": "198.51.100.7"}
            urls = (await site.ask("GET", IN_GENE, "bob", headers=here)).urls
            for path in (url.removeprefix(public) for url in urls):
                assert (await site.live.ask("GET", path, headers=here)).status == 200
                for headers in (
                    {},
                    {"X-Forwarded-For": "198.51.100.8"},
                    {"X-Forwarded-For": "198.51.100.7, 203.0.113.9"},
                    {"Forwarded": "for=198.51.100.7", "X-Real-IP": "198.51.100.7"},
                ):
                    reply = await at.refused(
                        path,
                        headers=headers,
                        event="data.denied",
                        rule="capability.address",
                        secrets=(path.rpartition("/")[2],),
                    )
                    refuted(reply)
            assert "198.51.100.7" not in "".join(urls)


@pytest.mark.security("TU9", "TH2")
async def test_addresses_that_strangers_claim(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without trusted proxies, an address is the connection's."""
    async with guarded(copy, tmp_path, bind_address=True) as site:
        url = (await site.get(IN_GENE, "bob", X_Forwarded_For="198.51.100.7")).urls[1]
        assert (await site.live.get(url, X_Forwarded_For="203.0.113.9")).status == 200


@pytest.mark.security("TU1")
async def test_expired_capabilities(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = 0.0
    real = CapabilityCodec.__init__

    def init(self: CapabilityCodec, *args: object, **options: object) -> None:
        clock = options["clock"]
        assert callable(clock)
        real(self, *args, **options | {"clock": lambda: clock() + ahead})  # type: ignore[arg-type]

    monkeypatch.setattr(CapabilityCodec, "__init__", init)
    async with guarded(copy, tmp_path) as site:
        with bench(site, caplog) as at:
            url = (await site.get(IN_GENE, "bob")).urls[1]
            ahead = 601.0
            path, secret = url.removeprefix(site.live.base), url.rpartition("/")[2]
            rule = "capability.expired"
            reply = await at.refused(path, event="data.denied", rule=rule, secrets=(secret,))
            refuted(reply)
            assert "new ticket" in reply.json["message"]
