"""Which files, and so which sequences and collections, are for everybody."""

import os
from collections.abc import Sequence
from glob import glob
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalog import ServedLocation
from server.database import Database
from server.refget.digests import Digests
from server.refget.identifiers import AliasId, TruncatedId
from server.refget.registry import Source
from server.refget.restriction import Folder, RestrictedFile, Restriction
from server.refget.views import Views
from storage_backends.local import LocalBackend
from tests.server.refget.sequence_files import residues, write
from tests.server.refget.written_files import write_down

DATA = frozenset({"urn:data"})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/closed/a.fa", RestrictedFile("closed/a", DATA)),
        ("/closed/a/b.fasta.gz", RestrictedFile("closed/a/b", DATA)),
        ("/closed/a.fa.2bit", RestrictedFile("closed/a.fa", DATA)),
        ("/closed/a.fna.gz", RestrictedFile("closed/a", DATA)),
        ("/closedother/a.fa", None),
        ("/closed/open/a.fa", None),  # in an open location as well
        ("/closed/named.fa", None),
        ("/closed/some/x1.fa", None),
        ("/closed/some/deep/x1.fa", RestrictedFile("closed/some/deep/x1", DATA)),
        ("/open/a.fa", None),
        ("/elsewhere/a.fa", None),
        ("closed/a.fa", None),
        ("/plain/a.fa", RestrictedFile("a")),
        ("/plain/closed/a.fa", RestrictedFile("")),  # the id means another file
        ("/plain/other/a.fa", RestrictedFile("other/a")),
        ("/files/one.fa", RestrictedFile("single/one", DATA)),
        ("/files/one.fa.gz", None),
        ("/files/two.fa", None),
        ("s3://bucket/prefix/a.fa", RestrictedFile("bucket/a", DATA)),
        ("s3://bucket/prefixed/a.fa", None),
    ],
)
def test_what_a_url_tells(url: str, expected: RestrictedFile | None) -> None:
    folders = [
        Folder("/closed/", "closed", controlled=True, datasets=DATA),
        Folder("/closed/open/", "open"),
        Folder("/open/"),
        Folder("/plain/", controlled=True),
        Folder("/files/one.fa", "single", controlled=True, datasets=DATA),
        Folder("s3://bucket/prefix/", "bucket", controlled=True, datasets=DATA),
    ]
    restriction = Restriction(folders, ["/closed/named.fa", "/closed/some/x?.fa"])
    assert restriction.file(url) == expected
    assert not restriction.is_empty


def test_open_servers_restrict_nothing() -> None:
    restriction = Restriction([Folder("/open/", "open")])
    assert restriction.is_empty
    assert restriction.file("/open/a.fa") is None
    views = Views(Database(), restriction)
    assert views.everything is views.public


def test_locations(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.fa", b"")
    backend = LocalBackend(tmp_path / "data")
    closed = ServedLocation("x", "urn:data", backend, controlled=True)
    only = ServedLocation("y", "", backend, only="a.fa", controlled=True)
    for location, expected in (
        (closed, RestrictedFile("x/a", DATA)),
        (only, RestrictedFile("y/a")),
    ):
        restriction = Restriction.of([location])
        assert restriction.file(backend.describe("a.fa")) == expected
        assert restriction.file(backend.describe("a.fa") + ".fa") != expected


TREE = [
    f"{folder}{name}"
    for folder in ("", "a/", "b/", "a/b/", "a/.h/", "a/b/a/", ".h/")
    for name in ("a.fa", "b.fa", "ab.fa", ".h.fa")
]
PARTS = st.sampled_from(["a", "b", "*", "**", "?", "[ab]", ".*", "a*"])
LAST = st.sampled_from(["a.fa", "*.fa", "?.fa", "*", "**", "[!a]*.fa", ".*", "a[b].fa", "*b*"])


@given(parts=st.lists(PARTS, max_size=4), last=LAST)
def test_patterns_mean_what_they_find(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], last: str
) -> None:
    root = tmp_path_factory.getbasetemp() / "patterns"
    if not root.exists():
        for name in TREE:
            write(root / name, b"")
    pattern = "/".join([str(root), *parts, last])
    matched = glob(pattern, recursive=True)  # noqa: PTH207 - as the operator's patterns are read
    found = {name for name in matched if Path(name).is_file()}
    restriction = Restriction([Folder(f"{root}/", controlled=True)], [pattern])
    public = {str(root / name) for name in TREE if restriction.file(str(root / name)) is None}
    assert public == found


FOLDERS = ["/d/", "/d/e/", "/d/e/f/", "/g/", "/d/one.fa"]
URLS = [f"{folder}{name}" for folder in (*FOLDERS[:4], "/h/") for name in ("one.fa", "two.fa")]


@given(
    placed=st.dictionaries(st.sampled_from(FOLDERS), st.booleans()),
    named=st.sets(st.sampled_from(URLS), max_size=3),
)
def test_every_way_into_the_open_counts(placed: dict[str, bool], named: set[str]) -> None:
    restriction = Restriction(
        [Folder(url, controlled=controlled) for url, controlled in placed.items()], sorted(named)
    )
    for url in URLS:
        holds = [
            controlled
            for folder, controlled in placed.items()
            if url == folder or os.path.commonpath([url, folder]) == folder.rstrip("/")
        ]
        expected = bool(holds) and all(holds) and url not in named
        assert (restriction.file(url) is not None) == expected


SEQUENCES = [residues(50 + seed, seed) for seed in range(4)]
WHERE = {
    "closed": ("/closed/", Source.LOCATION),
    "open": ("/open/", Source.LOCATION),
    "gone": ("/gone/", Source.LOCATION),
    "added": ("/closed/added/", Source.ADDED),
    "cached": ("/flat/", Source.CACHED),
}
FILES = st.lists(
    st.tuples(
        st.sampled_from(sorted(WHERE)),
        st.lists(st.sampled_from(range(len(SEQUENCES))), min_size=1, max_size=3, unique=True),
    ),
    max_size=6,
)


@given(files=FILES)
def test_a_sequence_is_restricted_when_all_its_places_are(
    files: Sequence[tuple[str, list[int]]],
) -> None:
    database = Database()
    try:
        _check(database, files)
    finally:
        database.close()


def _check(database: Database, files: Sequence[tuple[str, list[int]]]) -> None:
    urls, where, collections = [], [], []
    for number, (kind, numbers) in enumerate(files):
        folder, source = WHERE[kind]
        records = {f"{kind}{each}": SEQUENCES[each] for each in numbers}
        url = f"{folder}{number}.fa"
        collections.append(write_down(database, url, records, source=source).digest)
        urls.append(url)
        where.append(kind)
    views = Views(database, Restriction([Folder("/closed/", controlled=True), Folder("/open/")]))
    views.serve([url for url, kind in zip(urls, where, strict=True) if kind in ("closed", "open")])
    for number, text in enumerate(SEQUENCES):
        kinds = {kind for kind, numbers in files if number in numbers}
        wanted = TruncatedId(Digests.from_residues(text).truncated)
        public = views.public.catalogue.find_now(wanted)
        assert (public is not None) == bool(kinds & {"open", "added", "cached"})
        everything = views.everything.catalogue.find_now(wanted)
        assert (everything is not None) == bool(kinds - {"gone"})
        if public is not None:
            assert not {place.url for place in public.places} & views.restricted.keys()
        for kind in WHERE:
            named = views.public.catalogue.find_now(AliasId(None, f"{kind}{number}"))
            assert (named is not None) == (kind in kinds & {"open", "added", "cached"})
    shown, _ = database.run(lambda each: views.public.collections.page(each, [], 0, 100))
    made = zip(collections, where, strict=True)
    assert set(shown) == {each for each, kind in made if kind in ("open", "added", "cached")}
