"""`htsgate explain`: what the server does and sends for one region of one object."""

import argparse
import asyncio
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from formats.errors import FormatError, UnknownReference
from formats.regions import UNBOUNDED, UNPLACED, Region
from server.catalog import Catalog, DataObject
from server.cli.explanation import Explanation, explain_region
from server.cli.findings import printable
from server.cli.locations import location_settings, opened
from server.cli.region import parse_region
from server.config import ConfigurationError, Settings
from server.errors import HtsgetError, UnsupportedFormat
from server.model import Endpoint, Format
from server.reachability import reason
from server.slicing.library import Library
from server.slicing.slicers import Slicer
from storage_backends.base import StorageError

_MOST_SHOWN = 12
"""Chunks, containers and segments that are listed one by one."""


def explain(options: argparse.Namespace) -> int:
    """Print the explanation; 1 when the data cannot be sliced."""
    try:
        item, region, told = asyncio.run(_explain(location_settings(options), options))
    except (FormatError, StorageError) as error:
        why = reason(error) if isinstance(error, StorageError) else str(error)
        print(f"htsgate: {options.id}: {why}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(_as_json(item, region, told), indent=2))
    else:
        _show(item, region, told)
    return 0


async def _explain(
    settings: Settings, options: argparse.Namespace
) -> tuple[DataObject, Region, Explanation]:
    async with opened(settings) as (catalog, library):
        item = await _resolve(catalog, options)
        slicer = await library.slicer(item, indexed=True)
        region = _region(options.region, item, slicer)
        told = await _answer(library, item, slicer, region)
    return item, region, told


async def _answer(
    library: Library, item: DataObject, slicer: Slicer, region: Region
) -> Explanation:
    header = await library.header(item)
    return await library.reading(
        item, lambda source: explain_region(source, header, slicer, region)
    )


async def _resolve(catalog: Catalog, options: argparse.Namespace) -> DataObject:
    """The object that the server would answer with, on the first endpoint that has the id."""
    for endpoint in Endpoint:
        if options.endpoint not in (None, endpoint):
            continue
        asked = Format(options.format or endpoint.formats[0])
        if asked not in endpoint.formats:
            continue
        try:
            return await catalog.resolve(endpoint, options.id, asked)
        except UnsupportedFormat:
            (other,) = (kind for kind in endpoint.formats if kind is not asked)
            default = "" if options.format else ", which a request gets that names no format"
            raise ConfigurationError(
                f"{options.id}: there is no {asked}{default}; use --format {other}"
            ) from None
        except HtsgetError:
            continue
    raise ConfigurationError(f"{options.id}: no such object in these locations")


def _region(text: str, item: DataObject, slicer: Slicer) -> Region:
    def is_known(name: str) -> bool:
        try:
            slicer.locate(Region(name))
        except UnknownReference:
            return False
        return True

    if text == UNPLACED and item.endpoint is Endpoint.VARIANTS:
        raise ConfigurationError("* stands for reads without a place; these are variants")
    try:
        return parse_region(text, is_known)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _as_json(item: DataObject, region: Region, told: Explanation) -> dict[str, Any]:
    return {
        "id": item.object_id,
        "endpoint": item.endpoint,
        "format": item.format,
        "file": printable(item.backend.describe(item.key)),
        "index": item.index_key,
        "region": {
            "referenceName": region.reference_name,
            "start": region.start,
            "end": None if region.end == UNBOUNDED else region.end,
        },
        "bounds": told.bounds and told.bounds._asdict(),
        "chunks": told.chunks,
        "containers": told.containers,
        "decoded": told.decoded,
        "segments": [
            {"kind": "re-encoded", "bytes": len(segment)}
            if isinstance(segment, bytes)
            else {
                "kind": "verbatim",
                "bytes": len(segment),
                "start": segment.start,
                "end": segment.end,
            }
            for segment in told.segments
        ],
        "bytes": {
            "header": told.header,
            "reencoded": told.reencoded,
            "verbatim": told.verbatim,
            "eof": told.eof,
            "total": told.total,
            "plain": told.plain,
        },
        "records": told.records,
        "notes": told.notes,
    }


def _show(item: DataObject, region: Region, told: Explanation) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")

    def row(name: str, *lines: str) -> None:
        grid.add_row(name, Text("\n".join(lines)))

    row("object", f"{item.object_id}, {item.endpoint}, {item.format}")
    row("file", printable(item.backend.describe(item.key)))
    row("index", printable(item.index_key or "-"))
    row("region", _region_text(region))
    cram = item.format is Format.CRAM
    if told.bounds is not None:
        low, high = _virtual(told.bounds.start), _virtual(told.bounds.end)
        row("window", f"{low} to {high} (block in the file : offset in the block)")
    if cram:
        row("containers", *_listed([f"at {offset:,}" for offset in told.containers]))
    else:
        chunks = [f"{_virtual(begin)} to {_virtual(end)}" for begin, end in told.chunks]
        row("chunks", *_listed(chunks))
    row("decoded", f"{told.decoded:,} {'containers, cut' if cram else 'BGZF blocks'}")
    parts = [f"{told.header:,} bytes header"]
    for segment in told.segments:
        if isinstance(segment, bytes):
            parts.append(f"{len(segment):,} bytes re-encoded")
        else:
            parts.append(f"{len(segment):,} bytes verbatim, {segment.start:,} to {segment.end:,}")
    row("sent", *_listed(parts), f"{told.eof:,} bytes EOF marker")
    row("total", f"{told.total:,} bytes: {told.reencoded:,} of the body re-encoded,"
        f" {told.verbatim:,} verbatim")  # fmt: skip
    row("records", f"{told.records:,}")
    whole = "containers" if cram else "blocks"
    times = f", {told.plain / told.total:.1f} times as much" if told.total else ""
    row("instead of", f"{told.plain:,} bytes in whole {whole}{times}")
    for note in told.notes:
        row("note", note)
    Console(soft_wrap=True).print(grid)


def _region_text(region: Region) -> str:
    if region.reference_name == UNPLACED:
        return "* (reads without a place)"
    end = "the end" if region.end == UNBOUNDED else f"{region.end:,}"
    return f"{region.reference_name}, {region.start:,} to {end} (0-based, end excluded)"


def _virtual(offset: int) -> str:
    return f"{offset >> 16:,}:{offset & 0xFFFF:,}"


def _listed(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST_SHOWN:
        return lines or ["none"]
    return [*lines[:_MOST_SHOWN], f"and {len(lines) - _MOST_SHOWN:,} more"]
