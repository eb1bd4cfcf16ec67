"""The command line: one module for each command that does more than call another part."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from server.config import ConfigurationError, load_settings
from server.serve import serve


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status. 2: the arguments or settings cannot be used."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        status: int = options.command(options)
    except (ConfigurationError, OSError) as error:
        print(f"htsgate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="htsgate", description="Serve exact slices of genomic files over GA4GH htsget."
    )
    parser.add_argument(
        "--log-level", default="warning", choices=("debug", "info", "warning", "error")
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("serve", help="serve directories and files")
    add.add_argument("locations", nargs="*", metavar="[NAME=]LOCATION", help="directory or file")
    add.add_argument("--config", type=Path, metavar="FILE", help="TOML settings")
    add.add_argument("--host", help="address to listen on (127.0.0.1)")
    add.add_argument("--port", type=int, help="port to listen on (8080)")
    add.add_argument("--workers", type=int, help="server processes (1)")
    add.set_defaults(command=_serve)
    return parser


def _serve(options: argparse.Namespace) -> int:
    flags: dict[str, Any] = {}
    section = {name: getattr(options, name) for name in ("host", "port", "workers")}
    flags["server"] = {name: value for name, value in section.items() if value is not None}
    if options.locations:
        flags["locations"] = [_location(text) for text in options.locations]
    settings = load_settings(options.config, flags)
    if not settings.locations:
        raise ConfigurationError("name a directory or a file to serve")
    return serve(settings, lambda url: print(f"htsgate serves {url}", flush=True))


def _location(text: str) -> dict[str, str]:
    name, separator, url = text.partition("=")
    if separator and "/" not in name:
        return {"name": name, "url": url}
    return {"url": text}
