"""Libraries that are too old are told of, or stop the start."""

from importlib.metadata import PackageNotFoundError

import pytest
from aiohttp import http_parser

from server import serve as serving
from server.config import ConfigurationError, load_settings
from server.dependency_floors import shortfalls


def test_what_is_installed_will_do() -> None:
    assert shortfalls() == []


@pytest.mark.security("TC4")
@pytest.mark.parametrize(
    ("required", "have", "is_short"),
    [
        ("aiohttp>=3.14.3", "3.14.2", True),
        ("aiohttp>=3.14.3", "3.9.99", True),
        ("aiohttp>=3.14.3", "3.14.3", False),
        ("aiohttp>=3.14.3", "3.14.10", False),
        ("aiohttp>=3.14.3", "4", False),
        ("pyjwt[crypto]>=2.15.1", "2.15", True),
        ("pyjwt[crypto]>=2.15.1", "2.15.1.post1", False),
        ("deflate>=0.9", "0.9.0", False),
        ("rich>=14", "13.9.4", True),
        ("rich>=14", "unknown", True),
    ],
)
def test_versions(required: str, have: str, is_short: bool) -> None:
    found = shortfalls([required], lambda name: have)
    assert bool(found) is is_short
    assert all(have in each for each in found)


@pytest.mark.security("TC4")
def test_what_cannot_be_told_is_short() -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    assert len(shortfalls(["aiohttp>=3.14.3"], absent)) == 1


@pytest.mark.security("TC4")
def test_the_parser_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    assert ["parser" in each for each in shortfalls([])] == [True]


@pytest.mark.security("TC4")
@pytest.mark.parametrize("outdated", ["warn", "refuse"])
def test_by_setting(
    outdated: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "shortfalls", lambda: ["aiohttp is 3.0"])
    # The next thing is the port; that one stops it.
    monkeypatch.setattr(serving, "_listen", lambda settings: 1 / 0)
    settings = load_settings(None, {"server": {"outdated": outdated}})
    if outdated == "refuse":
        with pytest.raises(ConfigurationError, match=r"server.outdated: aiohttp is 3.0"):
            serving.serve(settings, lambda url, address: None)
        return
    with pytest.raises(ZeroDivisionError):
        serving.serve(settings, lambda url, address: None)
    assert "aiohttp is 3.0" in caplog.text
