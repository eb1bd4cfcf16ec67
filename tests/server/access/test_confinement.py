"""The central property: whatever the grants and whatever the request, what a client decodes is
what was asked for and permitted, no more and no less; and the header says no more than it may."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pysam
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.server.access.brute_force import (
    EVERYTHING,
    Area,
    Asked,
    Denial,
    Place,
    Rule,
    Verdict,
    judge,
    records_in,
)
from tests.server.access.guarded import Guarded, guarded, person
from tests.server.access.planted import (
    CANARY,
    SAM_ALLOWED,
    VCF_ALLOWED,
    borders_of,
    plant,
)
from tests.server.live import Reply
from tests.server.slicing.sorted_streams import LENGTHS
from tests.support.oracle import UNPLACED, Oracle, decode, first_difference
from tests.support.sample_recipes import Sample

FORMATS = ("BAM", "CRAM", "VCF", "BCF")
ENDPOINTS = ("reads", "variants")
SUBJECTS = ("ann", "ben", "")
DATASETS = {"A": ENDPOINTS, "B": ("reads",)}  # to which endpoints' objects they extend
REQUESTS = 40
Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    verbosity = pysam.set_verbosity(0)  # htslib misses indexes of what is decoded in memory
    yield tmp_path_factory.mktemp("planted")
    pysam.set_verbosity(verbosity)


@pytest.fixture(scope="module")
def files(home: Path) -> dict[str, Sample]:
    return plant(home)


@pytest.fixture(scope="module")
def oracles(files: dict[str, Sample]) -> dict[str, Oracle]:
    return {format: Oracle(sample) for format, sample in files.items()}


def some_of(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    """At least one of them, most often all."""
    part = st.lists(st.sampled_from(values), min_size=1, unique=True).map(tuple)
    return st.one_of(st.just(values), st.just(values), part)


@st.composite
def places(draw: Draw, borders: dict[str, list[int]], *, open_ends: bool = False) -> Place:
    """A stretch of a reference, with a mind to where records begin and end. `open_ends`: some are
    without end, as policies do not know them."""
    name = draw(st.sampled_from(["one", "one", "one", *LENGTHS]))
    length = LENGTHS[name]
    position = st.one_of(
        st.sampled_from(borders[name]),
        st.sampled_from(borders[name]),
        st.integers(0, length // 40),
        st.integers(0, length),
    )
    one, other = sorted((draw(position), draw(position)))
    match draw(st.integers(0, 9)):
        case 0:
            return name, 0, None
        case 1 if open_ends:
            return name, min(one, length - 1), None
    start = min(one, length - 1)
    return name, start, max(other, start + 1)


@st.composite
def grants(draw: Draw, number: int, borders: dict[str, list[int]]) -> Rule:
    region = st.one_of(st.just(EVERYTHING), st.just((UNPLACED, 0, None)), *[places(borders)] * 6)
    return Rule(
        id=f"G-{number}",
        subject=draw(st.sampled_from([*SUBJECTS, "ann", "ben"])),
        dataset=draw(st.sampled_from(["A", "A", "B"])),
        endpoints=draw(some_of(ENDPOINTS)),
        formats=draw(some_of(FORMATS)),
        classes=draw(st.sampled_from([("header", "body")] * 4 + [("header",)])),
        places=tuple(draw(st.lists(region, min_size=1, max_size=4, unique=True))),
        header=draw(st.sampled_from(["minimal", "full"])),
        clips=draw(st.booleans()),
    )


@st.composite
def denials(draw: Draw, number: int, ids: list[str], borders: dict[str, list[int]]) -> Denial:
    return Denial(
        id=f"D-{number}",
        dataset=draw(st.sampled_from(["A", "B"])),
        places=tuple(draw(st.lists(places(borders), min_size=1, max_size=3, unique=True))),
        except_for=tuple(draw(st.lists(st.sampled_from(ids), max_size=2, unique=True))),
    )


@st.composite
def requests(draw: Draw, rules: list[Rule], borders: dict[str, list[int]]) -> Asked:
    """Of all that can be asked; often for just what is granted, or by a base more."""
    endpoint = draw(st.sampled_from(ENDPOINTS))
    granted = [each for rule in rules for each in rule.places if each != EVERYTHING]
    if endpoint == "variants":
        granted = [each for each in granted if each[0] != UNPLACED]
    place = places(borders, open_ends=True)
    if granted:
        place = st.one_of(place, nearly(granted), nearly(granted))
    if endpoint == "reads":
        place = st.one_of(place, place, place, st.just((UNPLACED, 0, None)))
    post = draw(st.booleans())
    some = st.lists(place, min_size=1, max_size=4 if post else 1).map(tuple)
    kind = draw(st.sampled_from(["header", "all", *["some"] * 5]))
    return Asked(
        subject=draw(st.sampled_from([*SUBJECTS, "ann", "ben"])),
        endpoint=endpoint,
        format=draw(st.sampled_from(FORMATS[:2] if endpoint == "reads" else FORMATS[2:])),
        places=draw(some) if kind == "some" else None,
        header=kind == "header",
        post=post,
    )


@st.composite
def nearly(draw: Draw, granted: list[Place]) -> Place:
    """A place that is granted, or a base more of it on one side."""
    name, start, end = draw(st.sampled_from(granted))
    before, after = draw(st.sampled_from([(0, 0), (1, 0), (0, 1)]))
    if name == UNPLACED:
        return name, start, end
    return name, max(0, start - before), None if end is None else min(end + after, LENGTHS[name])


def text_of(place: Place) -> str:
    """A region as policies write it."""
    name, start, end = place
    return name if end is None else f"{name}:{start + 1}-{end}"


def policy(rules: list[Rule], denied: list[Denial], issuer: str) -> str:
    listed = json.dumps
    parts = ['schema = "htsget-policy/1"\ncustodian = "Test"\n']
    for name, endpoints in DATASETS.items():
        objects = [f"{each}/study/*" for each in endpoints]
        parts.append(f'[[dataset]]\nid = "{name}"\nobjects = {listed(objects)}\n')
    parts += [
        f'[[deny]]\nid = "{each.id}"\ndataset = "{each.dataset}"\n'
        f"regions = {listed([text_of(place) for place in each.places])}\n"
        + (f"except_for = {listed(each.except_for)}\n" if each.except_for else "")
        for each in denied
    ]
    for rule in rules:
        who = person(issuer, rule.subject) if rule.subject else "[grant.who]\npublic = true"
        parts.append(
            f'[[grant]]\nid = "{rule.id}"\ndataset = "{rule.dataset}"\nreason = "test"\n{who}\n'
            f"[grant.what]\nendpoints = {listed(rule.endpoints)}\n"
            f"formats = {listed(rule.formats)}\nclasses = {listed(rule.classes)}\n"
            f"regions = {listed([text_of(place) for place in rule.places])}\n"
            f'samples = "all"\n[grant.how]\nheader = "{rule.header}"\n'
            f'partial = "{"clip" if rule.clips else "deny"}"\n'
        )
    return "\n".join(parts)


async def ask(site: Guarded, asked: Asked) -> Reply:
    """Send a request, one way or the other."""
    path = f"/{asked.endpoint}/study/{asked.endpoint}"
    regions = []
    for name, start, end in asked.places or ():
        region: dict[str, str | int] = {"referenceName": name}
        if start:
            region["start"] = start
        if end is not None:
            region["end"] = end
        regions.append(region)
    members: dict[str, Any] = {"format": asked.format}
    if asked.header:
        members["class"] = "header"
    if asked.post:
        if asked.places is not None:
            members["regions"] = regions
        body = json.dumps(members).encode()
        return await site.ask("POST", path, asked.subject, data=body)
    for region in regions:
        members.update(region)
    query = "&".join(f"{name}={value}" for name, value in members.items())
    return await site.get(f"{path}?{query}", asked.subject)


def check_header(header: str, verdict: Verdict, oracle: Oracle) -> None:
    """What a header may say, and that of a clipped answer must."""
    lines = header.splitlines()
    marks = [each for each in lines if "htsgate_restriction=" in each]
    rest = [each for each in lines if each not in marks]
    assert bool(marks) == verdict.clipped
    for each in marks:
        if found := re.search(r"permitted (.+):(\d+)-(\d+)$", each):
            name, first, last = found[1], int(found[2]), int(found[3])
            last = min(last, LENGTHS[name] + 1)
            assert not Area([(name, first - 1, last)]) - verdict.area
    if verdict.header == "full":
        assert rest == oracle.header.splitlines()
        return
    assert CANARY not in header
    allowed = SAM_ALLOWED if oracle.sample.endpoint == "reads" else VCF_ALLOWED
    odd = [each for each in rest if not any(every.fullmatch(each) for every in allowed)]
    assert not odd


@pytest.mark.security("TL1", "TL3", "TL5", "TR4", "TR5", "TR9")
@settings(
    max_examples=15,
    phases=[Phase.generate],  # an example is a server: what fails is said, not made small
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_answers_are_what_is_asked_and_permitted(
    data: st.DataObject,
    home: Path,
    files: dict[str, Sample],
    oracles: dict[str, Oracle],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    borders = borders_of(list(oracles.values()))
    rules = [data.draw(grants(number, borders)) for number in range(data.draw(st.integers(1, 9)))]
    ids = [each.id for each in rules]
    denied = [
        data.draw(denials(number, ids, borders)) for number in range(data.draw(st.integers(0, 3)))
    ]
    directory = tmp_path_factory.mktemp("state")
    refused = 0
    async with guarded(
        home, directory, policy=lambda issuer: policy(rules, denied, issuer)
    ) as site:
        for _ in range(REQUESTS):
            asked = data.draw(requests(rules, borders))
            datasets = [name for name, ends in DATASETS.items() if asked.endpoint in ends]
            verdict = judge(rules, denied, datasets, asked)
            reply = await ask(site, asked)
            assert reply.status == verdict.status, (asked, reply.body)
            if reply.status != 200:
                refused += 1
                continue
            decoded = decode(await site.live.whole(reply), files[asked.format])
            oracle = oracles[asked.format]
            expected = records_in(oracle, verdict.area)
            assert not first_difference(expected, decoded.records), asked
            check_header(decoded.header, verdict, oracle)
        assert len(await site.events("ticket.denied")) == refused
