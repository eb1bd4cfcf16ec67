"""The report as one HTML page that needs nothing else: no script, no file, no network."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from types import MappingProxyType

from conformance.case import Outcome, Requirement
from conformance.reports.verdict import (
    SPECIFICATIONS,
    Part,
    level_met,
    protocols,
    suite_version,
    verdict,
)
from conformance.run import Report, Result

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy of the page: should an answer of a server slip in, it can do nothing."""

SIGNS: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.PASSED: "✓",
        Outcome.FAILED: "✗",
        Outcome.WARNED: "!",
        Outcome.SKIPPED: "○",
        Outcome.ERROR: "?",
    }
)
_QUOTED = re.compile("`([^`]+)`")


def html_page(report: Report) -> str:
    """The page. Whatever comes from the server or the command line is escaped."""
    style = files("conformance.reports").joinpath("page.css").read_text(encoding="utf-8")
    parts = protocols(report)
    title = f"Conformance of {escape(report.url)}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="verdict {"passed" if report.passed else "failed"}">{_verdict(report)}</p>
{_facts(report)}
</header>
<main>
{_summary(parts)}
{_filter(report.counts)}
{"".join(map(_protocol, parts))}</main>
</body>
</html>
"""


def _verdict(report: Report) -> str:
    sign = SIGNS[Outcome.PASSED if report.passed else Outcome.FAILED]
    sentence = verdict(report)
    return f"{sign} {escape(sentence[:1].upper() + sentence[1:])}."


def _facts(report: Report) -> str:
    seconds = (report.ended - report.started).total_seconds()
    facts = {
        "Level": report.level.name,
        "Judged by": report.dataset,
        "Started": f"{report.started:%Y-%m-%d %H:%M:%S} UTC",
        "Took": f"{seconds:.1f} s",
        "Suite": f"htsgate conformance {suite_version()}",
    }
    entries = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>\n" for name, value in facts.items())
    return f"<dl>\n{entries}</dl>"


def _summary(parts: Iterable[Part]) -> str:
    heads = "".join(f'<th scope="col" class="number">{each}</th>' for each in Outcome)
    rows = "".join(
        _counts(part if number == 0 else None, level, counts)
        for part in parts
        for number, (level, counts) in enumerate(part.requirements)
    )
    return (
        '<table class="summary">\n<thead><tr><th scope="col">protocol</th>'
        f'<th scope="col">requirement</th>{heads}<th scope="col">share</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table>"
    )


def _counts(part: Part | None, level: Requirement, counts: Counter[Outcome]) -> str:
    """A row of the summary; `part`: the protocol whose first row it is."""
    first = ""
    if part is not None:
        met, rows = level_met(part), len(part.requirements)
        note = f'<br><span class="clause">{escape(met)}</span>' if met else ""
        first = f'<th scope="rowgroup" rowspan="{rows}">{escape(part.name)}{note}</th>'
    numbers = "".join(f'<td class="number">{counts[each]}</td>' for each in Outcome)
    total = counts.total()
    bar = "".join(
        f'<span class="{each}" style="width:{100 * counts[each] / total:.2f}%"></span>'
        for each in Outcome
        if counts[each]
    )
    said = ", ".join(f"{counts[each]} {each}" for each in Outcome if counts[each])
    return (
        f'<tr>{first}<th scope="row">{level.name}</th>{numbers}'
        f'<td><span class="bar" role="img" aria-label="{said}">{bar}</span></td></tr>\n'
    )


def _filter(counts: Counter[Outcome]) -> str:
    shown = "".join(
        f'<label><input type="radio" name="show" id="show-{each}"> '
        f"{each} ({counts[each]})</label>\n"
        for each in Outcome
        if counts[each]
    )
    return (
        "<fieldset>\n<legend>Show cases</legend>\n"
        f'<label><input type="radio" name="show" checked> all ({counts.total()})</label>\n'
        f"{shown}</fieldset>"
    )


def _protocol(part: Part) -> str:
    title = escape(SPECIFICATIONS.get(part.name, part.name))
    return f"<section>\n<h2>{title}</h2>\n{''.join(map(_group, part.groups))}</section>\n"


def _group(part: Part) -> str:
    heads = "".join(
        f'<th scope="col">{each}</th>' for each in ("outcome", "requirement", "case", "clause")
    )
    rows = "".join(map(_row, part.results))
    return (
        f'<section>\n<h3><code>{escape(part.name)}</code></h3>\n<table class="cases">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</section>\n"
    )


def _row(result: Result) -> str:
    case = result.case
    title = _QUOTED.sub(r"<code>\1</code>", escape(case.title))
    why = f'<pre class="why">{escape(result.message)}</pre>' if result.message else ""
    return (
        f'<tr class="{result.outcome}" id="{escape(case.name)}">'
        f'<td class="outcome">{SIGNS[result.outcome]} {result.outcome}</td>'
        f"<td>{case.requirement.name}</td>"
        f'<td><code>{escape(case.name)}</code> <span class="title">{title}</span>'
        f"{why}{_requests(result)}</td>"
        f'<td class="clause">{escape(case.clause)}</td></tr>\n'
    )


def _requests(result: Result) -> str:
    if not result.exchanges:
        return ""
    lines = escape("\n".join(result.exchanges))
    about = f"requests, {1000 * result.seconds:.0f} ms"
    return f"<details><summary>{about}</summary><pre>{lines}</pre></details>"
