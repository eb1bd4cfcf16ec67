"""The composition root: what settings make of the application."""

from pathlib import Path

import pytest

from server.app import create_app
from server.config import ConfigurationError
from tests.server.live import Live, serving, settings_of


@pytest.mark.parametrize("name", ["nothing", "notes.txt", "reads.bam.bai"])
def test_locations_that_cannot_be_served(data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "reads.bam.bai").write_text("x")
    with pytest.raises(ConfigurationError, match=name):
        create_app(settings_of(data, tmp_path / name))


def test_weak_secret(data: Path) -> None:
    with pytest.raises(ConfigurationError):
        create_app(settings_of(data, secret="a" * 40))


async def test_health(live: Live) -> None:
    for path in ("/health/live", "/health/ready"):
        reply = await live.get(path)
        assert (reply.status, reply.body) == (200, b'{"status": "ok"}')
        assert (await live.ask("HEAD", path)).status == 200


async def test_readiness(tmp_path: Path) -> None:
    """A location that is gone: not ready, but alive; and no word of which."""
    (tmp_path / "gone").mkdir()
    async with serving(settings_of(tmp_path, tmp_path / "gone")) as live:
        assert (await live.get("/health/ready")).status == 200
        (tmp_path / "gone").rmdir()
        reply = await live.get("/health/ready")
        assert reply.status == 503
        assert b"gone" not in reply.body
        assert (await live.get("/health/live")).status == 200


async def test_every_answer_has_the_security_headers(live: Live) -> None:
    block = (await live.get("/reads/reads")).urls[1]
    for path in ("/reads/reads", "/reads/nope", "/nope", "/blocks/x", "/health/live", block,
                 "/reads/service-info", "/variants/variants"):  # fmt: skip
        for method in ("GET", "HEAD", "OPTIONS", "PUT"):
            reply = await live.ask(method, path)
            assert reply.headers["Server"] == "htsgate"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Referrer-Policy"] == "no-referrer"
            assert "Origin" in reply.headers["Vary"]
            assert b"aiohttp" not in reply.body


async def test_allowed_origins(data: Path) -> None:
    async with serving(settings_of(data, cors_origins=["https://a.example"])) as live:
        block = (await live.get("/reads/reads")).urls[1]
        for path in ("/reads/reads", "/reads/nope", block):
            allowed = await live.get(path, Origin="https://a.example")
            assert allowed.headers["Access-Control-Allow-Origin"] == "https://a.example"
            refused = await live.get(path, Origin="https://b.example")
            assert "Access-Control-Allow-Origin" not in refused.headers
            assert refused.status == allowed.status


async def test_limits_of_requests(data: Path) -> None:
    settings = settings_of(data, max_regions=3, max_body_bytes=1024)
    async with serving(settings) as live:
        region = {"referenceName": "one"}
        assert (await live.post("/reads/reads", {"regions": [region] * 3})).status == 200
        reply = await live.post("/reads/reads", {"regions": [region] * 4})
        assert reply.error == (413, "PayloadTooLarge")
        reply = await live.post("/reads/reads", b" " * 1100)
        assert reply.error == (413, "PayloadTooLarge")


async def test_no_cache_at_all(data: Path) -> None:
    """Caches of no size change nothing but the cost."""
    settings = settings_of(data)
    small = settings.cache.model_copy(update={"index_bytes": 0, "plan_bytes": 0, "descriptors": 1})
    async with serving(settings.model_copy(update={"cache": small})) as live:
        without = await live.whole(await live.get("/reads/reads?referenceName=one&end=90000"))
        other = await live.whole(await live.get("/variants/variants?referenceName=one"))
    async with serving(settings) as live:
        reply = await live.get("/reads/reads?referenceName=one&end=90000")
        assert await live.whole(reply) == without
        assert await live.whole(await live.get("/variants/variants?referenceName=one")) == other


async def test_no_location() -> None:
    async with serving(settings_of()) as live:
        assert (await live.get("/reads/x")).error == (404, "NotFound")
        assert (await live.get("/reads/service-info")).status == 200


async def test_a_link_that_is_named(data: Path, tmp_path: Path) -> None:
    """Whoever names a link means the file that it leads to, wherever that lies."""
    (tmp_path / "only.bam").symlink_to(data / "only.bam")
    async with serving(settings_of(tmp_path / "only.bam")) as live:
        assert (await live.get("/reads/only?referenceName=one")).status == 200
        assert (await live.get("/reads/reads")).status == 404
