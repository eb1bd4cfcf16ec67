"""What commands that look at locations share: their arguments, and what these open."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from server.app import open_catalog, open_library
from server.catalog import Catalog
from server.config import ConfigurationError, Settings, database_url, load_settings
from server.slicing.library import Library


def add_locations(parser: argparse.ArgumentParser) -> None:
    """Add `[NAME=]LOCATION ...` and `--config FILE`."""
    parser.add_argument(
        "locations",
        nargs="*",
        metavar="[NAME=]LOCATION",
        help="directory, file, s3://bucket/prefix or https://host/prefix",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML settings")


def location_settings(
    options: argparse.Namespace, server: dict[str, Any] | None = None, *, allow_none: bool = False
) -> Settings:
    """The settings of a command; `server` holds flags of that section. `allow_none`: reference
    sequences are enough.

    Raises `ConfigurationError`, also when there is no location.
    """
    flags: dict[str, Any] = {"server": server or {}}
    locations: Sequence[str] = options.locations
    if locations:
        flags["locations"] = [_location(text) for text in locations]
    settings = load_settings(options.config, flags)
    if not settings.locations and not (allow_none and _has_sequences(settings)):
        raise ConfigurationError(
            "name a directory, a file, s3://bucket/prefix or https://host/prefix"
        )
    return settings


def _has_sequences(settings: Settings) -> bool:
    return bool(settings.refget.sequences) or database_url(settings) is not None


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Catalog, Library]]:
    """The catalog and library of the settings, for as long as the block runs."""
    catalog = open_catalog(settings)
    library = open_library(settings, catalog)
    for location in catalog.locations:
        location.backend.start(asyncio.get_running_loop())
    try:
        yield catalog, library
    finally:
        await library.close()
        for location in catalog.locations:
            await location.backend.close()


def _location(text: str) -> dict[str, str]:
    name, separator, url = text.partition("=")
    if separator and "/" not in name:
        return {"name": name, "url": url}
    return {"url": text}
