"""Before the cases: is there a server at all, and does it have what the cases would ask for?"""

import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from conformance.http import Unreachable
from conformance.site import Site

_NOT_OPEN = frozenset({401, 403, 404})


class CannotJudge(Exception):
    """Cases would tell nothing; says why, and what to do."""


def usable_url(text: str | None) -> str:
    """The base URL without a slash at its end. Raises `CannotJudge` when it is none."""
    if text is None:
        raise CannotJudge("which server? Name its URL, as in https://htsget.example.org")
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine or any(not each.isprintable() or each.isspace() for each in text):
        raise CannotJudge(f"{text!r} is no URL: it is written https://host, http://host:port/path")
    if "@" in parts.netloc:  # not shown again: it may be a password
        raise CannotJudge("a URL with a user or password: tokens are given by --token-file")
    if parts.query or parts.fragment:
        raise CannotJudge(f"{text!r}: what is asked for is added to a base URL, without ? and #")
    return text.rstrip("/")


def find_server(site: Site) -> None:
    """Raise `CannotJudge` when there is no server. Any answer tells of one: what it should be, the
    cases judge."""
    asked = _tried(lambda: site.client.get(f"{site.base}/"))
    first = next(iter(site.dataset.objects), None)
    if asked is not None and first is not None:
        asked = asked if _tried(lambda: site.ask(first)) else None
    site.client.noted()
    if asked is not None:
        raise CannotJudge(f"no server answers at {site.base}: {_plain(asked)}")


def has_objects(site: Site) -> bool:
    """Whether the server has an open object of the description, as far as can be told."""
    try:
        statuses = {site.ask(data).status for data in site.dataset.objects}
    except Unreachable:
        return True
    finally:
        site.client.noted()
    return not statuses <= _NOT_OPEN


def _tried(ask: Callable[[], object]) -> Unreachable | None:
    try:
        ask()
    except Unreachable as error:
        return error
    return None


def _plain(error: Unreachable) -> str:
    """What went wrong at the bottom, as the operating system or OpenSSL says it."""
    reason: BaseException = error
    while (below := reason.__cause__ or reason.__context__) is not None:
        reason = below
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {reason.verify_message} (see --ca)"
    if isinstance(reason, ssl.SSLError):
        return f"it speaks no TLS that we do: {reason.reason}"
    if isinstance(reason, TimeoutError):
        return "nothing came in time (see --timeout)"
    return (reason.strerror if isinstance(reason, OSError) else None) or str(reason)
