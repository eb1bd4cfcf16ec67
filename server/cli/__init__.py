"""The command line: one module for each command that does more than call another part."""

import argparse
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from conformance.arguments import add_arguments as add_conformance_arguments
from server.cli import audit, consent, policy, token
from server.cli.locations import add_locations, location_settings
from server.config import ConfigurationError
from server.logs import configure_logging
from server.model import Endpoint, Format
from server.reachability import reason
from server.serve import serve
from storage_backends.base import StorageError


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status. 2: the arguments or settings cannot be used."""
    parser = command_line()
    options, rest = parser.parse_known_args(arguments)
    if rest:  # argparse wants all positionals together; locations may come after options
        if not hasattr(options, "locations") or any(each.startswith("-") for each in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        options.locations += rest
    configure_logging(options.log_level.upper())
    try:
        status: int = options.command(options)
    except ConfigurationError as error:
        print(f"htsgate: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"htsgate: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except StorageError as error:
        print(f"htsgate: {reason(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def command_line() -> argparse.ArgumentParser:
    """The parser of all commands and their options."""
    parser = argparse.ArgumentParser(
        prog="htsgate", description="Serve exact slices of genomic files over GA4GH htsget."
    )
    parser.add_argument(
        "--log-level", default="warning", choices=("debug", "info", "warning", "error")
    )
    parser.add_argument("--version", action="version", version=f"htsgate {version('htsgate')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="serve directories, files, S3 and web folders"))
    _add_demo(commands.add_parser("demo", help="make a small data set, serve it, say what to try"))
    _add_check(commands.add_parser("check", help="look for what is wrong with files and indexes"))
    _add_explain(commands.add_parser("explain", help="show what a region costs and sends"))
    _add_index(commands.add_parser("index", help="build the indexes that are missing"))
    _add_refget(commands.add_parser("refget", help="add reference sequences, list, verify them"))
    policy.add_arguments(commands.add_parser("policy", help="say who may see what, and why"))
    token.add_arguments(commands.add_parser("token", help="mint tokens for tests, look at others"))
    consent.add_arguments(commands.add_parser("consent", help="record who has withdrawn"))
    audit.add_arguments(commands.add_parser("audit", help="verify and report what was sent"))
    _add_conformance(commands.add_parser("conformance", help="judge any server by the protocols"))
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    add_locations(parser)
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (8080)")
    parser.add_argument("--workers", type=int, help="server processes (1)")
    parser.set_defaults(command=_serve)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=_port, help="port to listen on (8080, or a free one)")
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="keep the data there (a temporary directory)"
    )
    parser.set_defaults(command=_demo)


def _add_check(parser: argparse.ArgumentParser) -> None:
    add_locations(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=_check)


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="object id, as in a URL")
    parser.add_argument("region", metavar="REGION", help="as samtools writes it: chr1:1,001-2,000")
    add_locations(parser)
    parser.add_argument(
        "--format", type=str.upper, choices=_names(Format), help="BAM, CRAM, VCF or BCF"
    )
    parser.add_argument("--endpoint", choices=_names(Endpoint), help="reads or variants")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=_explain)


def _add_index(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file or directory on disk")
    parser.set_defaults(command=_index)


def _add_refget(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_refget)
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    add = actions.add_parser("add", help="write down what FASTA and 2bit files hold")
    add.add_argument(
        "files", nargs="+", metavar="FILE", help="on disk, s3://bucket/key or https://host/path"
    )
    add.add_argument("--flat", action="store_true", help="store the sequences once more, for speed")
    add.add_argument(
        "--aliases",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="FILE",
        help="NCBI assembly reports and .dict files",
    )
    add.add_argument(
        "--circular",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="sequences that are circular, by name or digest",
    )
    found = actions.add_parser("list", help="show files, sequences and collections")
    found.add_argument("--json", action="store_true", help="for programs")
    verify = actions.add_parser("verify", help="digest all sequences again, say what changed")
    remove = actions.add_parser("remove", help="forget files, and sequences stored for them only")
    remove.add_argument(
        "targets",
        nargs="+",
        metavar="TARGET",
        help="file, digest of a collection, or id of a stored sequence",
    )
    for each in (add, found, verify, remove):
        each.add_argument("--config", type=Path, metavar="FILE", help="TOML settings")


def _add_conformance(parser: argparse.ArgumentParser) -> None:
    add_conformance_arguments(parser)
    parser.set_defaults(command=_conformance)


def _serve(options: argparse.Namespace) -> int:
    section = {name: getattr(options, name) for name in ("host", "port", "workers")}
    given = {name: value for name, value in section.items() if value is not None}
    settings = location_settings(options, given, allow_none=True)

    def announce(url: str, address: str) -> None:
        listening = f" (listening on {address})" if settings.server.public_url else ""
        print(f"htsgate serves {url}{listening}", flush=True)

    return serve(settings, announce)


# Imported when they run: a server has no need of pysam and rich.


def _demo(options: argparse.Namespace) -> int:
    from server.cli.demo import demo

    return demo(options)


def _check(options: argparse.Namespace) -> int:
    from server.cli.check import check

    return check(options)


def _explain(options: argparse.Namespace) -> int:
    from server.cli.explain import explain

    return explain(options)


def _index(options: argparse.Namespace) -> int:
    from server.cli.index import index

    return index(options)


def _refget(options: argparse.Namespace) -> int:
    from server.cli.refget import refget

    return refget(options)


def _conformance(options: argparse.Namespace) -> int:
    from conformance.cli import command

    return command(options)


def _names(values: type[StrEnum]) -> list[str]:
    return [str(each) for each in values]


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port
