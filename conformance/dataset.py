"""What a server has that a suite can ask for: a description in TOML, or a few names."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from conformance.records import Region

T = TypeVar("T")

FORMATS = {"reads": ("BAM", "CRAM"), "variants": ("VCF", "BCF")}
"""The formats of a datatype; the first is the default (htsget 1.3.0, Query parameters)."""


class BadDescription(Exception):
    """The description cannot be used; says where and why."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What an object holds in a format: a local file, or the number of its records and the SHA-256
    of their lines. What is not known is None."""

    path: Path | None = None
    records: int | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class DataObject:
    """An id of one endpoint (`reads` or `variants`), and what is known of it.

    `reference`: a local FASTA that its CRAM is decoded with.
    """

    endpoint: str
    id: str
    formats: tuple[str, ...]
    truths: Mapping[str, Truth] = field(default_factory=dict)
    reference: Path | None = None

    def __str__(self) -> str:
        return f"{self.endpoint}/{self.id}"


@dataclass(frozen=True, slots=True)
class Controlled:
    """An object that a token is needed for, what the token opens of it, and what it does not.

    `forbidden`: a region that it does not; None when it opens all of the object.
    """

    object: DataObject
    token: str
    permitted: Region | None = None
    forbidden: Region | None = None
    other: DataObject | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """All that cases are judged by. Paths are those of the endpoints, below the server's URL.

    `sequences`: ids of sequences; `circular`: those that are circular; `collections`: digests.
    Where they are empty, what the server itself lists is taken.
    """

    name: str
    objects: tuple[DataObject, ...] = ()
    controlled: Controlled | None = None
    token: str | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    sequences: tuple[str, ...] = ()
    circular: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()


def load_dataset(path: Path, token: str | None = None) -> Dataset:
    """The description in a file; local paths in it are relative to it. `token`: of the controlled
    object. Raises `BadDescription`."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadDescription(f"{path}: {error}") from None
    try:
        return _dataset(document, path.parent, token)
    except BadDescription as error:
        raise BadDescription(f"{path}: {error}") from None


def _dataset(document: Mapping[str, Any], base: Path, token: str | None) -> Dataset:
    known = {"name", "reads", "variants", "controlled", "paths", "refget", "seqcol"}
    _only(document, known, "the description")
    objects = [
        _object(entry, endpoint, base)
        for endpoint in FORMATS
        for entry in _list(document.get(endpoint, []), f"[[{endpoint}]]", dict)
    ]
    refget, seqcol = document.get("refget", {}), document.get("seqcol", {})
    _only(refget, {"sequences", "circular"}, "[refget]")
    _only(seqcol, {"collections"}, "[seqcol]")
    paths = document.get("paths", {})
    _only(paths, {*FORMATS, "sequence", "collections"}, "[paths]")
    controlled = document.get("controlled")
    return Dataset(
        name=str(document.get("name", "unnamed")),
        objects=tuple(objects),
        controlled=_controlled(controlled, base, token) if controlled and token else None,
        paths=dict(zip(paths, _list([*paths.values()], "[paths]", str), strict=True)),
        sequences=_list(refget.get("sequences", []), "[refget] sequences", str),
        circular=_list(refget.get("circular", []), "[refget] circular", str),
        collections=_list(seqcol.get("collections", []), "[seqcol] collections", str),
    )


def _object(entry: Mapping[str, Any], endpoint: str, base: Path) -> DataObject:
    where = f"[[{endpoint}]]"
    _only(entry, {"id", "formats", "truth", "reference"}, where)
    if not isinstance(entry.get("id"), str):
        raise BadDescription(f"{where} has no id")
    listed = _list(entry.get("formats", [FORMATS[endpoint][0]]), f"{where} formats", str)
    formats = tuple(each.upper() for each in listed)
    wrong = [each for each in formats if each not in FORMATS[endpoint]]
    if wrong or not formats:
        raise BadDescription(f"{where} {entry['id']}: no format of {endpoint}: {wrong}")
    known = entry.get("truth", {})
    _only(known, {*formats}, f"{where} {entry['id']}, truth")
    truths = {
        name: _truth(each, f"{where} {entry['id']}, truth.{name}", base)
        for name, each in known.items()
    }
    reference = entry.get("reference")
    if reference is not None and not (isinstance(reference, str) and (base / reference).is_file()):
        raise BadDescription(f"{where} {entry['id']}: no such file: {reference}")
    return DataObject(
        endpoint, entry["id"], formats, truths, base / reference if reference else None
    )


def _truth(entry: object, where: str, base: Path) -> Truth:
    if isinstance(entry, str):
        path = base / entry
        if not path.is_file():
            raise BadDescription(f"{where}: no such file: {path}")
        return Truth(path)
    if not isinstance(entry, dict):
        raise BadDescription(f"{where}: neither a file nor records and digest")
    _only(entry, {"records", "digest"}, where)
    records, found = entry.get("records"), entry.get("digest")
    if not isinstance(records, int | None) or not isinstance(found, str | None):
        raise BadDescription(f"{where}: records is a number, digest a text")
    return Truth(None, records, found)


def _controlled(entry: Mapping[str, Any], base: Path, token: str) -> Controlled:
    where = "[controlled]"
    _only(entry, {"endpoint", "id", "permitted", "forbidden", "other"}, where)
    endpoint = entry.get("endpoint", "reads")
    if endpoint not in FORMATS or not isinstance(entry.get("id"), str):
        raise BadDescription(f"{where} needs an endpoint, reads or variants, and an id")
    data = _object({"id": entry["id"]}, endpoint, base)
    other = entry.get("other")
    return Controlled(
        data,
        token,
        _region(entry.get("permitted"), where),
        _region(entry.get("forbidden"), where),
        _object({"id": other}, endpoint, base) if other else None,
    )


def _region(entry: object, where: str) -> Region | None:
    if entry is None:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("reference"), str):
        raise BadDescription(f"{where}: a region is {{reference, start, end}}")
    _only(entry, {"reference", "start", "end"}, where)
    start, end = entry.get("start"), entry.get("end")
    if not isinstance(start, int | None) or not isinstance(end, int | None):
        raise BadDescription(f"{where}: start and end of a region are numbers")
    return Region(entry["reference"], start, end)


def _list(entry: object, where: str, kind: type[T]) -> tuple[T, ...]:
    if not isinstance(entry, list) or not all(isinstance(each, kind) for each in entry):
        raise BadDescription(f"{where} is no list of {'tables' if kind is dict else 'texts'}")
    return tuple(entry)


def _only(entry: object, known: set[str], where: str) -> None:
    if not isinstance(entry, dict):
        raise BadDescription(f"{where} is no table")
    unknown = sorted(set(entry) - known)
    if unknown:
        raise BadDescription(f"{where}: unknown: {', '.join(unknown)}")
