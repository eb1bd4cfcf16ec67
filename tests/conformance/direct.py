"""The suite's client without a connection to the broken server, which most time would go into."""

import io
from collections.abc import Mapping

import urllib3
from urllib3.util import parse_url

from conformance.http import Client
from tests.conformance.broken_server import BrokenServer, Request


class DirectClient(Client):
    """Asks a broken server of the same process. A connection is made to any other, and for what is
    about the connection itself: answers that are cut, not counted, or sent in chunks."""

    def __init__(self, server: BrokenServer) -> None:
        super().__init__(timeout=10)
        self._server = server

    def _begun(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        if not url.startswith(f"{self._server.url}/"):
            return super()._begun(method, url, headers, body)
        target = parse_url(url)
        sent = {"host": str(target.netloc), "accept-encoding": "identity"}
        sent["user-agent"] = "htsgate-conformance"
        sent |= {name.lower(): value for name, value in headers.items()}
        if body is not None:
            sent["content-length"] = str(len(body))
        answer = self._server.answer(Request(method, target.request_uri, sent, body or b""))
        if answer.cut or not answer.counted or "transfer-encoding" in answer.headers:
            return super()._begun(method, url, headers, body)
        fields = dict(answer.headers)
        if method != "HEAD":
            fields.pop("content-length", None)
            if answer.status not in (204, 304):
                fields["content-length"] = str(len(answer.body))
        return urllib3.HTTPResponse(
            io.BytesIO(b"" if method == "HEAD" else answer.body),
            headers=fields,
            status=answer.status,
            preload_content=False,
            request_method=method,
        )
