"""What the command takes; apart from it, for a parser needs none of the libraries that it does."""

import argparse
import math
from pathlib import Path

from conformance.case import Requirement

LEVELS = [each.name.lower() for each in Requirement]

DESCRIPTION = "Judge a server by htsget 1.3, refget 1.x and 2.0, and Sequence Collections 1.0."

EPILOG = """\
Exit status: 0, the server passes all that the level asks for; 1, something failed; 2, nothing could
be judged, or the arguments cannot be used. The environment variable CONFORMANCE_TOKEN stands for
--token-file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("url", metavar="URL", nargs="?", help="base URL of the server")
    _add_data(parser.add_argument_group("what the server has"))
    _add_choice(parser.add_argument_group("what is judged"))
    _add_connection(parser.add_argument_group("how the server is asked"))
    _add_reports(parser.add_argument_group("what is told"))
    _add_instead(parser.add_argument_group("instead of judging a server"))


def _add_data(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--data", type=Path, metavar="FILE", help="a description (default: of htsgate's demo)"
    )
    for endpoint, default in (("reads", "BAM"), ("variants", "VCF")):
        group.add_argument(
            f"--{endpoint}",
            action="append",
            default=[],
            metavar="ID[,FORMAT…]",
            help=f"an id of {endpoint} and its formats (default: {default}), instead of --data",
        )
    group.add_argument(
        "--token-file", type=Path, metavar="FILE", help="a bearer token, for what is not open"
    )


def _add_choice(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--level", choices=LEVELS, default="should", help="what counts as failure (should)"
    )
    for option, words in (
        ("--only", "a case, or all whose names begin so; repeatable"),
        ("--skip", "the same, to leave out"),
    ):
        group.add_argument(option, action="append", default=[], metavar="NAME", help=words)


def _add_connection(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--ca", type=Path, metavar="FILE", help="PEM certificates to trust")
    group.add_argument("--insecure", action="store_true", help="trust any certificate")
    group.add_argument(
        "--timeout", type=_seconds, default=30.0, metavar="SECONDS", help="for an answer (30)"
    )


def _add_reports(group: "argparse._ArgumentGroup") -> None:
    for name, words in (
        ("json", "write the report of the GA4GH testbed"),
        ("junit", "write JUnit's XML"),
        ("html", "write a page"),
    ):
        group.add_argument(f"--{name}", metavar="FILE", help=f"{words}; - is standard output")
    how_much = group.add_mutually_exclusive_group()
    how_much.add_argument("--verbose", action="store_true", help="print the requests of each case")
    how_much.add_argument("--quiet", action="store_true", help="print the verdict only")


def _add_instead(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--list", action="store_true", help="list all cases; --json FILE as JSON")
    group.add_argument("--markdown", action="store_true", help="with --list: for the documentation")
    group.add_argument(
        "--digest",
        type=Path,
        action="append",
        metavar="FILE",
        help="print what a description says of a file",
    )
    group.add_argument(
        "--reference", type=Path, metavar="FASTA", help="with --digest: what a CRAM needs"
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError
    return seconds
