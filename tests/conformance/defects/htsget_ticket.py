"""Tickets that are not as they should be."""

from typing import Any

from tests.conformance.breaking import breaks, changed
from tests.conformance.broken_server import Request, Response, Sound


@breaks("htsget.ticket.single-key")
def another_key_behind(request: Request, sound: Sound) -> Response:
    return changed(request, sound, lambda document: document.update(trace="1"))


@breaks("htsget.ticket.format")
def format_in_lower_case(request: Request, sound: Sound) -> Response:
    return changed(
        request,
        sound,
        lambda document: document["htsget"].update(format=document["htsget"]["format"].lower()),
    )


@breaks("htsget.ticket.urls")
def relative_urls(request: Request, sound: Sound) -> Response:
    def relative(document: dict[str, Any]) -> None:
        for each in document["htsget"]["urls"]:
            each["url"] = "/" + each["url"].split("/", 3)[3]

    return changed(request, sound, relative)


@breaks("htsget.ticket.md5")
def md5_of_something_else(request: Request, sound: Sound) -> Response:
    return changed(request, sound, lambda document: document["htsget"].update(md5="0" * 32))
