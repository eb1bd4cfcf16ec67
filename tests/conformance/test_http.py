"""The client of the suite: what it sends where, and what it puts up with."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from conformance import http
from conformance.case import Failed, Skipped
from conformance.http import Answer, Broken, Client, Unreachable
from conformance.ticket import read_ticket
from tests.conformance.broken_server import BrokenServer, Request, Response, Sound, broken_server

NOBODY = "http://127.0.0.1:9"
SECRETS = {"Authorization": "Bearer a-token", "X-Token": "a-token", "Cookie": "a=b"}


@pytest.fixture
def server() -> Iterator[BrokenServer]:
    with broken_server(NOBODY) as server:
        yield server


def redirects(server: BrokenServer, place: str, status: int = 302) -> list[Request]:
    """Let the server redirect all but `/end`; what it is sent."""
    seen: list[Request] = []

    def answer(request: Request, _: Sound) -> Response:
        seen.append(request)
        if request.path == "/end":
            return Response(200, {}, b"here")
        return Response(status, {"location": place})

    server.defect = answer
    return seen


def test_tokens_are_kept_within_a_host(server: BrokenServer) -> None:
    other = f"{server.url.replace('127.0.0.1', 'localhost')}/end"
    for place, everywhere, sent in (
        ("/end", False, True),
        (other, False, False),
        (other, True, True),
    ):
        seen = redirects(server, place)
        headers = {**SECRETS, "Accept": "text/plain"}
        answer = Client().request("GET", f"{server.url}/x", headers, everywhere=everywhere)
        assert answer.body == b"here"
        assert seen[-1].headers["accept"] == "text/plain"
        assert {name.lower() in seen[-1].headers for name in SECRETS} == {sent}


def test_a_redirect_from_https_to_http_takes_no_token_along() -> None:
    safe, plain = urlsplit("https://a/x"), urlsplit("http://a/x")
    assert http._leaves(safe, plain)
    assert not http._leaves(plain, safe)


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://host/x", "http://[", "data:,x"])
def test_no_scheme_but_http_is_followed(server: BrokenServer, place: str) -> None:
    redirects(server, place)
    with pytest.raises(Broken, match=r"no http\(s\) URL"):
        Client().get(f"{server.url}/x")
    with pytest.raises(Unreachable):
        Client().get(place.replace("data:,x", "file:///etc/passwd"))


def test_redirects_end(server: BrokenServer) -> None:
    seen = redirects(server, "/again")
    with pytest.raises(Unreachable, match="more than 5 redirects"):
        Client().get(f"{server.url}/x")
    assert len(seen) == 6


def test_a_server_that_is_asked_too_much_is_given_time(server: BrokenServer) -> None:
    seen: list[Request] = []

    def answer(request: Request, _: Sound) -> Response:
        seen.append(request)
        wait = request.path.strip("/")
        return Response(429, {"retry-after": wait}) if len(seen) == 1 else Response(200, {}, b"x")

    server.defect = answer
    assert Client().get(f"{server.url}/0").body == b"x"
    assert len(seen) == 2
    seen.clear()
    with pytest.raises(Unreachable, match="in 3600 seconds"):
        Client().get(f"{server.url}/3600")
    assert len(seen) == 1


def test_see_other_is_fetched_by_get(server: BrokenServer) -> None:
    seen = redirects(server, "/end", 303)
    assert Client().request("POST", f"{server.url}/x", {}, b"{}").status == 200
    assert [(each.method, each.body) for each in seen] == [("POST", b"{}"), ("GET", b"")]


def test_an_answer_may_be_too_long(server: BrokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_BODY", 1000)
    client = Client()
    for headers in ({}, {"transfer-encoding": "chunked"}):
        server.defect = lambda *_, headers=headers: Response(200, headers, bytes(1001))
        with pytest.raises(Skipped, match="more than 1000 bytes"):
            client.get(f"{server.url}/x")
    server.defect = lambda *_: Response(200, {}, bytes(1000))
    assert len(client.get(f"{server.url}/x").body) == 1000


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_that_comes_drop_by_drop_ends(chunked: bool) -> None:
    done = threading.Event()
    head = "Transfer-Encoding: chunked" if chunked else "Content-Length: 100000"

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
            while not done.wait(0.05):
                connection.sendall(b"1\r\nx\r\n" if chunked else b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        try:
            with pytest.raises(Broken, match=r"not whole after 0\.3 seconds"):
                Client(longest=0.3).get(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        finally:
            done.set()
            thread.join()


def test_what_is_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer("GET", "http://a/x", 200, {}, b"[" * 100_000)
    for body in (b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"1" * 5000):
        with pytest.raises(Failed, match="no JSON"):
            replace(answer, body=body).json()
    monkeypatch.setattr(http, "LONGEST_DOCUMENT", 10)
    with pytest.raises(Failed, match="too many"):
        answer.json()


@pytest.mark.parametrize("url", ["http://[", "http://[::1/x", "//[a"])
def test_a_ticket_with_what_is_no_url_is_none(url: str) -> None:
    body = f'{{"htsget": {{"urls": [{{"url": "{url}"}}]}}}}'.encode()
    with pytest.raises(Failed, match="a url that is none"):
        read_ticket(Answer("GET", "http://a/x", 200, {}, body), "BAM")


def test_headers_that_a_ticket_asks_for_cannot_make_a_request(server: BrokenServer) -> None:
    with pytest.raises(Unreachable):
        Client().get(f"{server.url}/x", {"X": "a\r\nGET /y HTTP/1.1"})
