"""`python -m conformance URL`: is this server what the GA4GH specifications ask for?"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from conformance.case import Requirement
from conformance.cases import select
from conformance.dataset import BadDescription, DataObject, Dataset, load_dataset
from conformance.http import Client
from conformance.reports.table import print_result, print_summary
from conformance.run import run

DEMO = Path(__file__).with_name("demo.toml")
"""The description of what `htsgate demo` serves."""

LEVELS = [each.name.lower() for each in Requirement]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("url", metavar="URL", help="base URL of the server")
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="what the server has; default: htsgate's demo"
    )
    for endpoint, format in (("reads", "BAM"), ("variants", "VCF")):
        parser.add_argument(
            f"--{endpoint}",
            action="append",
            default=[],
            metavar="ID[,FORMAT…]",
            help=f"an id of {endpoint} and its formats (default: {format}); instead of --data",
        )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="a bearer token")
    parser.add_argument("--level", choices=LEVELS, default="should", help="what counts as failure")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="these cases")
    parser.add_argument("--skip", action="append", default=[], metavar="NAME", help="not these")
    parser.add_argument("--ca", metavar="FILE", help="PEM certificates to trust")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS")


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the server passes; 1: it does not; 2: nothing was judged."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    add_arguments(parser)
    return command(parser.parse_args(arguments))


def command(options: argparse.Namespace) -> int:
    """Run what the arguments ask for; the exit status."""
    try:
        dataset = _dataset(options)
    except (BadDescription, OSError) as error:
        sys.stderr.write(f"conformance: {error}\n")
        return 2
    console = Console()
    report = run(
        options.url,
        dataset,
        select(options.only, options.skip),
        Requirement[options.level.upper()],
        Client(options.timeout, options.ca),
        lambda result: print_result(console, result),
    )
    print_summary(console, report)
    if not report.judged:
        return 2
    return 0 if report.passed else 1


def _dataset(options: argparse.Namespace) -> Dataset:
    token = options.token_file.read_text().strip() if options.token_file else None
    token = token or os.environ.get("CONFORMANCE_TOKEN")
    if not options.reads and not options.variants:
        return load_dataset(options.data or DEMO, token)
    objects = tuple(
        _named(text, endpoint)
        for endpoint in ("reads", "variants")
        for text in getattr(options, endpoint)
    )
    return Dataset("named on the command line", objects, token=token)


def _named(text: str, endpoint: str) -> DataObject:
    name, *formats = text.split(",")
    default = {"reads": "BAM", "variants": "VCF"}[endpoint]
    return DataObject(endpoint, name, tuple(each.upper() for each in formats) or (default,))
