"""The part of `/openapi.json` that describes reference sequences and their collections."""

from typing import Any

_TEXT = {"type": "string"}
_POSITION = {"type": "integer", "minimum": 0, "maximum": 4294967295}
_PAGE = {"type": "integer", "minimum": 0}
_PLAIN = "text/vnd.ga4gh.refget.v2.0.0+plain"
_JSON = "application/vnd.ga4gh.refget.v2.0.0+json"
_DOWNLOADS = {
    "fasta": "as FASTA",
    "fai": "the index of that FASTA",
    "chrom.sizes": "names and lengths",
    "dict": "as a SAM dictionary",
}


def refget_paths() -> dict[str, Any]:
    """The paths of refget Sequences 2.0 and Sequence Collections 1.0."""
    return {**_sequences(), **_collections()}


def _sequences() -> dict[str, Any]:
    identifier = _in_path("id", "MD5, SQ. digest, TRUNC512, namespace:alias or name")
    return {
        "/sequence/service-info": _get("GA4GH service-info", media=_JSON),
        "/sequence/{id}/metadata": _get(
            "digests, length and names of a sequence", [identifier], media=_JSON, missing=True
        ),
        "/sequence/{id}": _get(
            "residues of a sequence",
            [
                identifier,
                _in_query("start", _POSITION, "0-based, inclusive"),
                _in_query("end", _POSITION, "0-based, exclusive"),
                {"name": "Range", "in": "header", "schema": _TEXT, "description": "of residues"},
            ],
            media=_PLAIN,
            missing=True,
            more={
                "206": "the range that was asked for",
                "400": "start, end or Range is malformed",
                "406": "no media type that is accepted",
                "409": "several sequences have this name",
                "416": "outside the sequence",
            },
        ),
    }


def _collections() -> dict[str, Any]:
    digest = _in_path("digest", "of a collection")
    level = _in_query("level", {"enum": ["1", "2"]}, "1: digests, 2: arrays (the default)")
    pages = [_in_query("page", _PAGE, "from 0"), _in_query("page_size", _PAGE, "results of a page")]
    compared = [_in_path("a", "of a collection"), _in_path("b", "of another")]
    attribute = _in_path("attribute", "of the schema")
    paths = {
        "/service-info": _get("GA4GH service-info of collections, with their schema"),
        "/collection/{digest}": _get("a collection", [digest, level], missing=True),
        "/comparison/{a}/{b}": _get("two collections compared", compared, missing=True),
        "/comparison/{a}": {
            "post": {
                **_get("a collection compared with one at level 2", compared[:1])["get"],
                "requestBody": {"content": {"application/json": {}}},
            }
        },
        "/list/collection": _get("the digests of collections, filtered by attributes", pages),
        "/list/attributes/{attribute}": _get("the digests of an attribute", [attribute, *pages]),
        "/attribute/collection/{attribute}/{digest}": _get(
            "the array of an attribute", [attribute, digest], missing=True
        ),
    }
    for name, text in _DOWNLOADS.items():
        summary = f"a collection {text}"
        paths[f"/collection/{{digest}}/{name}"] = _get(
            summary, [digest], media="text/plain", missing=True
        )
    return paths


def _get(
    summary: str,
    parameters: list[dict[str, Any]] | None = None,
    *,
    media: str = "application/json",
    missing: bool = False,
    more: dict[str, str] | None = None,
) -> dict[str, Any]:
    texts = {**({"404": "not known here"} if missing else {}), **(more or {})}
    responses: dict[str, Any] = {"200": {"description": summary, "content": {media: {}}}}
    responses |= {status: {"description": text} for status, text in texts.items()}
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def _in_path(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT, "description": text}


def _in_query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": text}
