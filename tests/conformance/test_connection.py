"""How the command reaches a server: certificates that it trusts, tokens that it sends."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from conformance.cli import main
from tests.conformance.broken_server import BrokenServer, Request, Response, Sound
from tests.conformance.conftest import FEW
from tests.support.demo_site import make_certificates

pytestmark = pytest.mark.usefixtures("bare_environment")


class HasNothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a server, and the authority that vouches for it, which nobody knows."""
    authority, certificate, key = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), HasNothing) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", authority
        server.shutdown()
        thread.join()


def test_certificates(https: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    url, authority = https
    asked = [url, "--reads", "a", *FEW, "--quiet"]
    assert main(asked) == 2
    assert "its certificate is not trusted" in capsys.readouterr().err
    assert main([*asked, "--ca", str(authority)]) == 1
    assert main([*asked, "--insecure"]) == 1
    out, err = capsys.readouterr()
    assert out.count("2 failures") == 2
    assert err == ""


def test_http_where_https_is_asked_for(
    empty: BrokenServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([empty.url.replace("http", "https")]) == 2
    assert "it speaks no TLS" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["file", "environment"])
def test_tokens_are_sent_and_not_told(
    empty: BrokenServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    token, heard = "correct-horse-battery-staple", set()

    def hears(request: Request, _: Sound) -> Response:
        heard.add(request.headers.get("authorization"))
        said = f"I heard {request.headers.get('authorization')}"
        return Response(200, {}, said.encode())

    empty.defect = hears
    arguments = []
    if way == "file":
        (tmp_path / "token").write_text(f"{token}\n")
        arguments = ["--token-file", str(tmp_path / "token")]
    else:
        monkeypatch.setenv("CONFORMANCE_TOKEN", token)
    page = tmp_path / "page.html"
    main([empty.url, "--reads", "a", *FEW, *arguments, "--html", str(page), "--verbose"])
    assert f"Bearer {token}" in heard
    out, err = capsys.readouterr()
    assert "I heard Bearer [token]" in out
    assert token not in out + err + page.read_text()


def test_a_token_is_for_all_where_nothing_is_controlled(
    empty: BrokenServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str | None] = []

    def hears(request: Request, _: Sound) -> Response:
        heard.append(request.headers.get("authorization"))
        return Response(404, {})

    empty.defect = hears
    (tmp_path / "data.toml").write_text('[[reads]]\nid = "a"')
    (tmp_path / "token").write_text("a-token-for-all")
    options = ["--data", str(tmp_path / "data.toml"), "--token-file", str(tmp_path / "token")]
    assert main([empty.url, *options, *FEW, "--quiet"]) == 1
    assert "Bearer a-token-for-all" in heard
