"""What opens data is taken out of what is told, however it got in."""

import json

import pytest

from conformance.redaction import LONGEST_MESSAGE, Redaction

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.c2lnbmF0dXJlLW9mLWl0"  # noqa: S105
CAPABILITY = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"


@pytest.fixture
def redaction() -> Redaction:
    clean = Redaction()
    clean.learn_headers({"Authorization": f"Bearer {TOKEN}", "Range": "bytes=0-65535"})
    ticket = {
        "htsget": {
            "urls": [
                {"url": f"http://host/blocks/{CAPABILITY}"},
                {"url": f"http://store/bucket.bam?signature={CAPABILITY[:10]}"},
                {"url": "http://host/x", "headers": {"X-Api-Key": "k3y-of-block"}},
                {"url": "relative/of/ticket"},
                {"url": "data:;base64,AAAA"},
                {"url": 7},
                "nothing",
            ]
        }
    }
    clean.learn_ticket("http://host/reads/demo?format=BAM", json.dumps(ticket).encode())
    return clean


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"Bearer {TOKEN}", "Bearer [token]"),
        (f"{TOKEN} and {TOKEN}", "[token] and [token]"),
        (f"cut: {TOKEN[:30]}", "cut: [token]"),
        (f"cut: {TOKEN[-30:]} off", "cut: [token] off"),
        (f"b'{TOKEN[10:40]}'", "b'[token]'"),
        (f"quoted%3A{TOKEN}%3D", "quoted%3A[token]%3D"),
        ("no key k3y-of-block here", "no key [token] here"),
        ("Range bytes=0-65535 is no secret", "Range bytes=0-65535 is no secret"),
        (f"GET /blocks/{CAPABILITY} answers 500", "GET /blocks/… answers 500"),
        (f"<http://host/blocks/{CAPABILITY}>", "<http://host/blocks/…>"),
        (f"/bucket.bam?signature={CAPABILITY[:10]}", "/…"),
        ("at /reads/relative/of/ticket", "at /reads/…"),
        ("x" * 200, "x" * 24 + "…"),
        ("\x1b[31mred\x07\x00", "\\x1b[31mred\\x07\\x00"),
        ("\u202eright to left\ud800", "\\u202eright to left\\ud800"),
        ("two\nlines\tand é", "two\nlines and é"),
        ("", ""),
    ],
)
def test_what_is_told(redaction: Redaction, said: str, told: str) -> None:
    assert redaction(said) == told


def test_where_a_block_has_moved_is_secret(redaction: Redaction) -> None:
    redaction.learn_redirect(f"http://host/blocks/{CAPABILITY}", "http://store/a/b?sign=short")
    assert redaction("GET /a/b?sign=short 403") == "GET /a/… 403"
    redaction.learn_redirect("http://host/reads/demo", "http://other/reads/demo")
    assert redaction("GET /reads/demo 200") == "GET /reads/demo 200"


def test_a_ticket_that_leads_to_itself_hides_nothing() -> None:
    clean = Redaction()
    body = b'{"htsget": {"urls": [{"url": "/reads/demo"}]}}'
    clean.learn_ticket("http://host/reads/demo", body)
    assert clean("GET /reads/demo?format=BAM 200") == "GET /reads/demo?format=BAM 200"


@pytest.mark.parametrize(
    "body",
    [
        b'{"htsget": {"urls": 3}}',
        b'{"htsget": ["urls"]}',
        b'["urls"]',
        b'{"urls": ',
        b'{"htsget": {"urls": [{"url": "http://[bad/"}]}}',
        b'"urls"' + b"[" * 100_000,
    ],
)
def test_whatever_a_server_sends_is_read(body: bytes) -> None:
    clean = Redaction()
    clean.learn_ticket("http://host/reads/demo", body)
    assert clean("text") == "text"


def test_words_are_no_tokens_unless_they_are_known_to_be() -> None:
    clean = Redaction()
    clean.learn_headers({"Authorization": "Bearer", "Cookie": "", "X-Token": "invalid"})
    clean.learn_token(None)
    clean.learn_token("")
    assert clean("Bearer invalid") == "Bearer invalid"
    clean.learn_token("s3cret")
    assert clean("Bearer s3cret") == "Bearer [token]"


def test_long_messages_are_cut(redaction: Redaction) -> None:
    told = redaction(f"{TOKEN} " * 1000)
    assert len(told) < LONGEST_MESSAGE + 40
    assert told.endswith(f"… ({1000 * (len(TOKEN) + 1)} characters)")
    assert TOKEN[:8] not in told
