"""The page needs nothing but itself, and nothing that a server says becomes a part of it."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from conformance.case import Outcome, Requirement
from conformance.reports.page import POLICY, html_page
from conformance.run import Report

VOID = {"meta", "br", "input"}


class Page(HTMLParser):
    """The elements with their attributes, and the text; raises when they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def hostile(report: Report) -> Report:
    """Every text that is not ours tries to become an element or an attribute."""
    attack = '"><img src=x onerror=alert(1)><script>alert(2)</script><a href="javascript:alert(3)">'
    results = tuple(
        replace(
            each,
            case=replace(each.case, name=f"{each.case.name}{attack}", clause=attack, title=attack),
            message=attack,
            exchanges=(attack,),
        )
        for each in report.results
    )
    return replace(report, url=f"http://host/{attack}", dataset=attack, results=results)


def test_nothing_that_a_server_says_is_markup(report: Report) -> None:
    page = Page(html_page(hostile(report)))
    assert not {"script", "img", "a", "iframe", "link", "form"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert not {"src", "href", "srcset", "action"} & attributes.keys(), tag
    assert any("<script>alert(2)</script>" in each for each in page.text)


def test_it_loads_nothing(report: Report) -> None:
    text = html_page(report)
    (policy,) = [each for each in Page(text).all("meta") if "http-equiv" in each]
    assert policy == {"http-equiv": "Content-Security-Policy", "content": POLICY}
    assert POLICY.startswith("default-src 'none'; style-src 'unsafe-inline'")
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert not re.search(r"url\(|@import|image-set|expression", style)


def test_every_case_is_told_in_full(report: Report) -> None:
    page = Page(html_page(report))
    text = "".join(page.text)
    for each in report.results:
        for part in (each.case.name, each.case.clause, each.message.split("\r")[0]):
            assert part in text
        assert all(line in text for line in "\n".join(each.exchanges).split("\r"))
    assert [each["id"] for each in page.all("tr") if "id" in each] == [
        each.case.name for each in report.results
    ]


def test_tables_and_bars_can_be_heard(report: Report) -> None:
    page = Page(html_page(report))
    assert page.all("html") == [{"lang": "en"}]
    assert all(each.get("scope") in {"col", "row", "rowgroup"} for each in page.all("th"))
    bars = [each["aria-label"] for each in page.all("span") if each.get("role") == "img"]
    assert bars[:2] == ["1 passed", "1 failed"]
    assert len(page.all("h1")) == 1
    outcomes = [each for each in page.text if re.fullmatch(r"\S [a-z]+", each)]
    assert outcomes == [
        "✓ passed",
        "✗ failed",
        "! warned",
        "? error",
        "✓ passed",
        "○ skipped",
        "✓ passed",
        "○ skipped",
    ]


def test_the_filter_names_what_there_is(report: Report, sound_report: Report) -> None:
    def choices(of: Report) -> list[str | None]:
        return [each.get("id") for each in Page(html_page(of)).all("input")]

    assert choices(report) == [None, *(f"show-{each}" for each in Outcome)]
    assert choices(sound_report) == [None, "show-passed"]


@pytest.mark.parametrize("count", [0, 1])
def test_a_run_that_was_cut_short_is_a_page_too(report: Report, count: int) -> None:
    page = Page(html_page(replace(report, results=report.results[:count])))
    assert any("Interrupted after" in each for each in page.text)


def test_the_verdict_is_told(sound_report: Report) -> None:
    page = Page(html_page(replace(sound_report, level=Requirement.EXACT)))
    assert any("at level exact" in each and each.startswith("✓ Passes") for each in page.text)


def test_a_browser_shows_it_and_asks_for_nothing(report: Report, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    (tmp_path / "page.html").write_text(
        html_page(hostile(report)).encode("utf-8", "replace").decode(), encoding="utf-8"
    )
    done = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--dump-dom",
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "htsget.ticket.one" in done.stdout
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said
