"""What the two public compliance suites ask, in our own words; and the suites where they are."""

import asyncio
import importlib
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.refget.aliases import NamedSequence
from server.refget.registry import Alias
from server.refget.seqcol import canonical
from tests.server.refget.served_files import Served, serving_refget

MD5 = "6681ac2f62509cfc220d78751b8dc524"
TRUNC512 = "959cb1883fc1ca9ae1394ceb475a356ead1ecceff5824ae7"
GA4GH = "SQ.lZyxiD_ByprhOUzrR1o1bq0ezO_1gkrn"
PHIX = "3332ed720ac7eaa9b3655c06f6b9e196"
LENGTH = 230_218
TEXT = "text/vnd.ga4gh.refget.v1.0.0+plain,text/vnd.ga4gh.refget.v2.0.0+plain"
JSON = "application/vnd.ga4gh.refget.v1.0.0+json,application/vnd.ga4gh.refget.v2.0.0+json"

SEQUENCES = {
    "TTGGGGAA": "SQ.iYtREV555dUFKg2_agSJW6suquUyPpMw",
    "GGAA": "SQ.YBbVX0dLKG1ieEDCiMmkrTZFt_Z5Vdaj",
    "GCGC": "SQ.AcLxtBuKEPk_7PGE_H4dGElwZHCujwH6",
}
COMPARED = ["lengths", "name_length_pairs", "names", "sequences", "sorted_sequences"]
# Records; the digest; those of names, lengths, sequences, sorted_name_length_pairs.
COLLECTIONS = {
    "base": (
        "chrX TTGGGGAA chr1 GGAA chr2 GCGC",
        "XZlrcEGi6mlopZ2uD8ObHkQB1d0oDwKk",
        "Fw1r9eRxfOZD98KKrhlYQNEdSRHoVxAG",
        "cGRMZIb3AVgkcAfNv39RN7hnT5Chk7RX",
        "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr",
        "zjM1Ie9m0zFbqsAnZ6jAJSXuFpKTr40J",
    ),
    "different_names": (
        "X TTGGGGAA 1 GGAA 2 GCGC",
        "QvT5tAQ0B8Vkxd-qFftlzEk2QyfPtgOv",
        "lrCv6NNXom7AC9tKFWqhcLLZsrcgJIqq",
        "cGRMZIb3AVgkcAfNv39RN7hnT5Chk7RX",
        "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr",
        "1FQEGOQQ-m0NmZ0R-eeJEfnH1ayqJQ0T",
    ),
    "different_order": (
        "chr1 GGAA chr2 GCGC chrX TTGGGGAA",
        "Tpdsg75D4GKCGEHtIiDSL9Zx-DSuX5V8",
        "dOAOfPGkf3wAf3CUsbjVTKhY9Wq2DL6f",
        "x5qpE4FtMkvlwpKIzvHs3a02Nex5tthp",
        "7t6Ulz6OeUWu6FBxntbvFKOl8w3icl2h",
        "zjM1Ie9m0zFbqsAnZ6jAJSXuFpKTr40J",
    ),
    "pair_swap": (
        "chr2 TTGGGGAA chr1 GGAA chrX GCGC",
        "UNGAdNDmBbQbHihecPPFxwTydTcdFKxL",
        "gSWbV6khfIsnlQTyw1PmlQ8G7VRfIWbU",
        "cGRMZIb3AVgkcAfNv39RN7hnT5Chk7RX",
        "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr",
        "rL5OQOnFba8yyz7lS-0-hgZvwcQsiajN",
    ),
    "subset": (
        "chrX TTGGGGAA chr1 GGAA",
        "sv7GIP1K0qcskIKF3iaBmQpaum21vH74",
        "iyNUhtfR0TALytlmxK1Zx1_q3frkZyAd",
        "7-_HdxYiRf-AJLBKOTaJUdxXrUkIXs6T",
        "3ZP38SZcoc9wN7jsRyNSP9mQ1a3TUoUF",
        "AvGYsdgtJpTLKYil3eLddJxwrE5OfKhE",
    ),
    "swap_wo_coords": (
        "chrX TTGGGGAA chr2 GGAA chr1 GCGC",
        "aVzHaGFlUDUNF2IEmNdzS_A8lCY0stQH",
        "QX5ur-faw5nXis8HXUK2kMxgY5MTGVRn",
        "cGRMZIb3AVgkcAfNv39RN7hnT5Chk7RX",
        "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr",
        "zjM1Ie9m0zFbqsAnZ6jAJSXuFpKTr40J",
    ),
}
BASE = COLLECTIONS["base"]


@pytest.fixture
async def suite(shared_data: Path) -> AsyncIterator[Served]:
    """A server of the sequences that the suite of refget asks for."""
    async with serving_refget() as served:
        folder = shared_data / "refget-compliance"
        named = NamedSequence(frozenset(), LENGTH, (Alias("insdc", "BK006935.2"),), MD5)
        await served.add(folder / "I.faa", aliases=[named])
        await served.add(folder / "VI.faa")
        await served.add(folder / "NC.faa", circular=[PHIX])
        yield served


@pytest.fixture
async def collections(tmp_path: Path) -> AsyncIterator[Served]:
    """A server of the six collections that the suite of refget's collections asks for."""
    async with serving_refget() as served:
        for name, (records, digest, *_) in COLLECTIONS.items():
            words = records.split()
            path = tmp_path / f"{name}.fa"
            lines = zip(words[::2], words[1::2], strict=True)
            path.write_text("".join(f">{each}\n{residues}\n" for each, residues in lines))
            assert await served.add(path) == digest
        yield served


async def test_sequences_service_info(suite: Served) -> None:
    for accept in ({}, {"Accept": JSON}):
        reply = await suite.get("/sequence/service-info", **accept)
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("application/vnd.ga4gh.refget.v2.0.0+json")
        refget = reply.json["refget"]
        assert refget["circular_supported"] is True
        assert refget["algorithms"] == ["md5", "ga4gh", "trunc512"]
        assert refget["identifier_types"] == ["insdc"]
        assert refget["subsequence_limit"] is None
        assert reply.json["service"]["supported_api_versions"] == ["1.0"]
        assert reply.json["type"]["artifact"] == "refget-sequence"


@pytest.mark.parametrize("accept", [{}, {"Accept": JSON}])
@pytest.mark.parametrize("name", [MD5, TRUNC512, f"ga4gh:{GA4GH}", "insdc:BK006935.2"])
async def test_metadata(suite: Served, name: str, accept: dict[str, str]) -> None:
    reply = await suite.get(f"/sequence/{name}/metadata", **accept)
    assert reply.status == 200
    metadata = reply.json["metadata"]
    assert (metadata["md5"], metadata["trunc512"], metadata["ga4gh"]) == (MD5, TRUNC512, GA4GH)
    assert metadata["length"] == LENGTH
    assert metadata["aliases"] == [{"alias": "BK006935.2", "naming_authority": "insdc"}]


async def test_metadata_that_there_is_not(suite: Served) -> None:
    assert (await suite.get(f"/sequence/{PHIX}/metadata")).json["metadata"]["length"] == 5386
    assert (await suite.get("/sequence/some1111garbage1111ID/metadata")).status == 404
    assert (await suite.get(f"/sequence/{MD5}/metadata", Accept="embl/some_json")).status == 406


@pytest.mark.parametrize("name", [MD5, TRUNC512, f"ga4gh:{GA4GH}", "insdc:BK006935.2"])
async def test_sequence(suite: Served, shared_data: Path, name: str) -> None:
    lines = (shared_data / "refget-compliance" / "I.faa").read_bytes().split(b"\n")
    whole = b"".join(lines[1:])
    for accept in ({}, {"Accept": TEXT}):
        reply = await suite.get(f"/sequence/{name}", **accept)
        assert (reply.status, reply.body) == (200, whole)
        assert reply.headers["Content-Length"] == str(LENGTH)


async def test_sequence_that_there_is_not(suite: Served) -> None:
    assert (await suite.get("/sequence/Garbagechecksum")).status == 404
    assert (await suite.get(f"/sequence/{MD5}", Accept="embl/some_json")).status == 406


@pytest.mark.parametrize(
    ("query", "length"),
    [
        ("start=10&end=10", 0),
        ("start=10&end=20", 10),
        ("start=10&end=11", 1),
        ("start=230208", 10),
        ("end=5", 5),
        ("start=230217&end=230218", 1),
        ("start=0", LENGTH),
        ("&end=230218", LENGTH),
        ("start=0&end=230218", LENGTH),
        ("start=1&end=230218", LENGTH - 1),
        ("start=230217", 1),
        ("end=0", 0),
    ],
)
async def test_start_and_end(suite: Served, query: str, length: int) -> None:
    for slash in ("", "/"):
        reply = await suite.get(f"/sequence/{MD5}{slash}?{query}", Accept=TEXT)
        assert reply.status == 200
        assert reply.headers["Content-Length"] == str(length)
        assert len(reply.body) == length
        if query == "start=10&end=20":
            assert reply.body == b"CCCACACACC"


@pytest.mark.parametrize(
    ("query", "residues"),
    [
        ("start=5374&end=5", b"ATCCAACCTGCAGAGTT"),
        ("start=5374&end=0", b"ATCCAACCTGCA"),
        ("start=5380&end=25", b"CCTGCAGAGTTTTATCGCTTCCATGACGCAG"),
    ],
)
async def test_circular(suite: Served, query: str, residues: bytes) -> None:
    reply = await suite.get(f"/sequence/{PHIX}?{query}")
    assert (reply.status, reply.body) == (200, residues)


@pytest.mark.parametrize(
    ("md5", "query", "status"),
    [
        (MD5, "start=abc&end=20", 400),
        (MD5, "start=-10&end=-29", 400),
        (MD5, "start=abc", 400),
        (PHIX, "start=67&end=5387", 416),
        (PHIX, "start=5386&end=5375", 416),
        (PHIX, "start=5386&end=5386", 416),
        (PHIX, "start=5386&end=5", 416),
        (MD5, "start=220218&end=671", 416),
    ],
)
async def test_start_and_end_that_are_wrong(
    suite: Served, md5: str, query: str, status: int
) -> None:
    assert (await suite.get(f"/sequence/{md5}?{query}")).status == status


@pytest.mark.parametrize(
    ("byte_range", "length"),
    [
        ("10-19", 10),
        ("10-230217", LENGTH - 10),
        ("10-999999", LENGTH - 10),
        ("0-230217", LENGTH),
        ("0-999999", LENGTH),
        ("0-0", 1),
        ("230217-230217", 1),
    ],
)
async def test_range(suite: Served, byte_range: str, length: int) -> None:
    reply = await suite.get(f"/sequence/{MD5}", Range=f"bytes={byte_range}")
    assert reply.status == 206
    assert reply.headers["Content-Length"] == str(length) == str(len(reply.body))


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("units=20-30", 400),
        ("bytes=ab-19", 400),
        ("bytes=-10--19", 400),
        ("bytes=10--19", 400),
        ("bytes=-10-", 400),
        ("bytes==10-19", 400),
        ("bytes=5387-5391", 416),
        ("bytes=9999-99999", 416),
        ("bytes=5386-5387", 416),
        ("bytes=5386-5386", 416),
        ("bytes=100-10", 416),
        ("bytes=5385-10", 416),
    ],
)
async def test_range_that_is_wrong(suite: Served, value: str, status: int) -> None:
    assert (await suite.get(f"/sequence/{PHIX}", Range=value)).status == status


async def test_collections_structure(collections: Served) -> None:
    info = (await collections.get("/service-info")).json
    assert info["type"] == {"group": "org.ga4gh", "artifact": "refget-seqcol", "version": "1.0.0"}
    assert {"names", "lengths", "sequences"} <= set(info["seqcol"]["schema"]["properties"])
    for path in ("/list/collection", *(f"/list/attributes/{name}" for name in COMPARED)):
        page = (await collections.get(path)).json
        assert page["results"] == sorted(page["results"])
        assert page["pagination"] == {"page": 0, "page_size": 100, "total": len(page["results"])}
    assert len((await collections.get("/list/collection")).json["results"]) == 6


@pytest.mark.parametrize("name", COLLECTIONS)
async def test_collection(collections: Served, name: str) -> None:
    records, digest, *level1 = COLLECTIONS[name]
    names, residues = records.split()[::2], records.split()[1::2]
    sequences = [SEQUENCES[each] for each in residues]
    arrays = [names, list(map(len, residues)), sequences]
    found = (await collections.get(f"/collection/{digest}?level=1")).json
    order = ("names", "lengths", "sequences", "sorted_name_length_pairs")
    assert [found[each] for each in order] == level1
    assert set(found) == {*COMPARED, "sorted_name_length_pairs"}
    for query in ("", "?level=2"):
        level2 = (await collections.get(f"/collection/{digest}{query}")).json
        assert [level2["names"], level2["lengths"], level2["sequences"]] == arrays
        assert level2["sorted_sequences"] == sorted(sequences)
        assert list(level2) == COMPARED
    for attribute, value, its_digest in zip(order[:3], arrays, level1[:3], strict=True):
        path = f"/attribute/collection/{attribute}/{its_digest}"
        assert (await collections.get(path)).json == value
    transient = f"/attribute/collection/sorted_name_length_pairs/{level1[3]}"
    assert (await collections.get(transient)).status == 404


async def test_list_filters(collections: Served) -> None:
    _, digest, names, lengths, sequences, pairs = BASE
    alike = {
        "names": (names, 1),
        "lengths": (lengths, 4),
        "sequences": (sequences, 4),
        "sorted_name_length_pairs": (pairs, 3),
    }
    for attribute, (value, count) in alike.items():
        found = (await collections.get(f"/list/collection?{attribute}={value}")).json
        assert digest in found["results"]
        assert found["pagination"]["total"] == count == len(found["results"])
    both = f"lengths={lengths}&sorted_name_length_pairs={pairs}"
    found = (await collections.get(f"/list/collection?{both}")).json["results"]
    assert found == sorted([digest, COLLECTIONS["swap_wo_coords"][1]])


# What is common, where it is not 3; the order, of the attributes that are compared.
DIFFERENCES: dict[str, tuple[dict[str, int], list[bool | None]]] = {
    "base": ({}, [True] * 5),
    "different_names": ({"name_length_pairs": 0, "names": 0}, [True, None, None, True, True]),
    "different_order": ({}, [False, False, False, False, True]),
    "pair_swap": ({"name_length_pairs": 1}, [True, True, False, True, True]),
    "subset": (dict.fromkeys(COMPARED, 2), [None, True, True, True, True]),
    "swap_wo_coords": ({}, [True, False, False, True, True]),
}


@pytest.mark.parametrize("name", DIFFERENCES)
async def test_comparison(collections: Served, name: str) -> None:
    counts, order = DIFFERENCES[name]
    a, b = BASE[1], COLLECTIONS[name][1]
    expected = {
        "digests": {"a": a, "b": b},
        "attributes": {"a_only": [], "b_only": [], "a_and_b": COMPARED},
        "array_elements": {
            "a_count": dict.fromkeys(COMPARED, 3),
            "b_count": dict.fromkeys(COMPARED, 2 if name == "subset" else 3),
            "a_and_b_count": {**dict.fromkeys(COMPARED, 3), **counts},
            "a_and_b_same_order": dict(zip(COMPARED, order, strict=True)),
        },
    }
    found = await collections.get(f"/comparison/{a}/{b}")
    assert canonical(found.json) == canonical(expected)
    level2 = await collections.get(f"/collection/{b}?level=2")
    posted = await collections.ask("POST", f"/comparison/{a}", data=level2.body)
    assert canonical(posted.json) == canonical(expected)


def imported(name: str) -> Any:
    """A module of a suite, or skip."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError:
            pytest.skip(f"without the package of {name}")


async def test_suite_of_sequences(suite: Served) -> None:
    runner = imported("compliance_suite.test_runner").TestRunner(f"{suite.base}/")
    await asyncio.to_thread(runner.run_tests)
    results = {each["name"]: each["result"] for each in runner.results}
    assert [name for name, result in results.items() if result == -1] == []
    assert sorted(name for name, result in results.items() if result == 0) == [
        "test_info_api_version",
        "test_sequence_circular_support_false_errors",
    ]


async def test_suite_of_collections(collections: Served) -> None:
    run = imported("refget.compliance").run_compliance
    report = await asyncio.to_thread(run, collections.base)
    assert (report["total"], report["failed"]) == (65, 0), report
