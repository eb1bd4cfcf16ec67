"""`python -m conformance URL`: is this server what the GA4GH specifications ask for?"""

import argparse
import io
import ssl
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import MappingProxyType

from urllib3.exceptions import InsecureRequestWarning

from conformance.arguments import add_arguments
from conformance.case import Case, Requirement
from conformance.cases import CASES, select
from conformance.dataset import BadDescription
from conformance.description import description, settle
from conformance.http import Client
from conformance.probe import CannotJudge, usable_url
from conformance.records import Undecodable, read
from conformance.reports.junit import junit_xml
from conformance.reports.listing import cases_json, cases_markdown, print_cases
from conformance.reports.page import html_page
from conformance.reports.table import Printer, print_summary, print_verdict
from conformance.reports.testbed import ga4gh_json
from conformance.reports.writing import QuietConsole, Targets, Unwritable, write_output
from conformance.run import Report, Result, run

_REPORTS: Mapping[str, Callable[[Report], str]] = MappingProxyType(
    {"json": ga4gh_json, "junit": junit_xml, "html": html_page}
)
_EXTENSIONS: Mapping[str, str] = MappingProxyType(
    {".bam": "BAM", ".cram": "CRAM", ".vcf.gz": "VCF", ".vcf.bgz": "VCF", ".bcf": "BCF"}
)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the server passes; 1: it does not; 2: nothing was judged."""
    parser = argparse.ArgumentParser(prog="python -m conformance")
    add_arguments(parser)
    return command(parser.parse_args(arguments))


def command(options: argparse.Namespace) -> int:
    """Do what the arguments ask for; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever a server says, and however we are read
            stream.reconfigure(errors="backslashreplace")
    try:
        if options.digest:
            return _digest(options)
        if options.list:
            return _list(options)
        return _judge(options)
    except (BadDescription, CannotJudge, Unwritable) as error:
        reason = str(error)
    except Undecodable as error:
        reason = f"htslib cannot read it: {error}"
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        reason = f"{where}{error.strerror or error}"
    except KeyboardInterrupt:
        return 130
    sys.stderr.write(f"conformance: {reason}\n")
    return 2


def _judge(options: argparse.Namespace) -> int:
    url, cases, described = usable_url(options.url), _cases(options), description(options)
    targets = _targets(options)
    targets.check()
    client = Client(options.timeout, _certificates(options.ca), verify=not options.insecure)
    console = QuietConsole(stderr=targets.takes_output)
    printer = Printer(console, cases, verbose=options.verbose)
    with warnings.catch_warnings():
        if options.insecure:
            warnings.simplefilter("ignore", InsecureRequestWarning)
        dataset = settle(described, url, cases, client, options.token_file)
        level = Requirement[options.level.upper()]
        report = run(url, dataset, cases, level, client, _quiet if options.quiet else printer)
    (print_verdict if options.quiet else print_summary)(console, report)
    targets.write({kind: partial(make, report) for kind, make in _REPORTS.items()})
    return _status(report)


def _quiet(_: Result) -> None:
    """Tell nothing of a case."""


def _status(report: Report) -> int:
    if report.interrupted:
        return 130
    if not report.judged:
        return 2
    return 0 if report.passed else 1


def _list(options: argparse.Namespace) -> int:
    cases = _cases(options)
    if options.markdown:
        write_output(cases_markdown(cases))
    elif options.json:
        targets = Targets({"json": options.json})
        targets.check()
        targets.write({"json": lambda: cases_json(cases)})
    else:
        print_cases(QuietConsole(), cases)
    return 0


def _digest(options: argparse.Namespace) -> int:
    if options.url is not None:
        raise CannotJudge(f"{options.url}: --digest is repeated for each file")
    for path in options.digest:
        format = next((v for k, v in _EXTENSIONS.items() if path.name.lower().endswith(k)), None)
        if format is None:
            raise CannotJudge(f"{path}: its name ends with none of {', '.join(_EXTENSIONS)}")
        if not path.is_file():
            raise CannotJudge(f"{path}: no such file")
        found = read(path, format, options.reference)
        line = f'{{ records = {len(found.records)}, digest = "{found.digest}" }}'
        write_output(f"truth.{format} = {line}\n")
    return 0


def _cases(options: argparse.Namespace) -> tuple[Case, ...]:
    names = {each.name for each in CASES} | {each.group for each in CASES}
    names |= {each.protocol for each in CASES}
    for name in (*options.only, *options.skip):
        if not select([name], []):
            near = get_close_matches(name, names, 1)
            meant = f"; is it {near[0]}?" if near else ", and --list shows all"
            raise CannotJudge(f"no case is called {name}, and no group of them{meant}")
    cases = select(options.only, options.skip)
    if not cases:
        raise CannotJudge("--skip leaves out every case that --only names")
    return cases


def _targets(options: argparse.Namespace) -> Targets:
    wanted = {kind: getattr(options, kind) for kind in _REPORTS}
    return Targets({kind: place for kind, place in wanted.items() if place is not None})


def _certificates(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError) as error:
        reason = "no PEM certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise CannotJudge(f"{path}: {reason}") from None
    return str(path)
