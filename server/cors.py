"""CORS and the security headers of every response: tickets, data blocks, errors.

As htsget has it ("CORS"), the request's origin is copied, never with credentials: a browser's page
may read what its own token or a data URL opens, and nothing that a cookie would.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

SECURITY_HEADERS = {
    "Server": "htsgate",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
EXPOSED = "Content-Range, Content-Length, ETag, Accept-Ranges, Retry-After"
MAX_AGE = "2592000"  # 30 days, in seconds

# What may be copied into a response: printable, short, and nothing else.
_ORIGIN = re.compile(r"null|[A-Za-z][A-Za-z0-9+.-]{0,31}://[A-Za-z0-9._~:\[\]%-]{1,300}")
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")


@dataclass(frozen=True, slots=True)
class Cors:
    """Which origins may read the answers: those listed, or all when `allowed_origins` is None."""

    allowed_origins: frozenset[str] | None = None

    async def on_response_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Completes the header of every response; a handler of the application's signal."""
        headers = response.headers
        headers.update(SECURITY_HEADERS)
        headers[hdrs.VARY] = f"{headers[hdrs.VARY]}, Origin" if hdrs.VARY in headers else "Origin"
        origin = self.allowed(request)
        if origin is not None:
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    def preflight(self, *methods: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The OPTIONS handler of a resource that knows these methods.

        It asks for no credential and looks at nothing but the request's header, so its answer is
        the same for every object.
        """
        allow = ", ".join((*methods, "OPTIONS"))

        async def answer(request: web.Request) -> web.Response:
            response = web.Response(status=204, headers={hdrs.ALLOW: allow})
            asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
            if asked in methods and self.allowed(request) is not None:
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = ", ".join(methods)
                response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = MAX_AGE
                names = ", ".join(request.headers.getall(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, []))
                if _HEADER_NAMES.fullmatch(names):
                    response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = names
            return response

        return answer

    def allowed(self, request: web.Request) -> str | None:
        """The origin of the request if it may read the answer."""
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if len(origins) != 1 or not _ORIGIN.fullmatch(origins[0]):
            return None
        if self.allowed_origins is not None and origins[0] not in self.allowed_origins:
            return None
        return origins[0]
