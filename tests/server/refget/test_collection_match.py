"""Headers against collections: what they are, nearly are, and only seem to be."""

from collections.abc import Iterator, Mapping

import pytest

from server.database import Database
from server.refget.collection_match import CollectionMatcher, Likeness, Match
from server.refget.header_references import HeaderReference
from server.refget.registry import Alias, Source
from tests.server.refget.written_files import md5_of, write_down

# The worked example of Sequence Collections 1.0, whose digest is known.
BASE = {"chrX": b"TTGGGGAA", "chr1": b"GGAA", "chr2": b"GCGC"}
BASE_DIGEST = "XZlrcEGi6mlopZ2uD8ObHkQB1d0oDwKk"
URL = "/base.fa"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    assert write_down(database, URL, BASE).digest == BASE_DIGEST
    yield database
    database.close()


@pytest.fixture
def matcher(database: Database) -> CollectionMatcher:
    return CollectionMatcher(database, ())


def header(records: Mapping[str, bytes], *, md5s: bool = True) -> list[HeaderReference]:
    return [
        HeaderReference(name, len(residues), md5_of(residues) if md5s else None)
        for name, residues in records.items()
    ]


def test_the_same(matcher: CollectionMatcher) -> None:
    found = matcher.match(header(BASE))
    assert found.match == Match(Likeness.SAME, BASE_DIGEST, URL, 3)
    assert found.unserved == ()
    # Lengths are no part of what a collection is; M5s tell them.
    bare = [each._replace(length=None) for each in header(BASE)]
    assert matcher.match(bare) == found


def test_another_order(matcher: CollectionMatcher) -> None:
    found = matcher.match(header(dict(reversed(BASE.items()))))
    assert found.match == Match(Likeness.REORDERED, BASE_DIGEST, URL, 3)


def test_other_names(matcher: CollectionMatcher) -> None:
    found = matcher.match(header({"X": b"TTGGGGAA", "1": b"GGAA", "2": b"GCGC"}))
    assert found.match == Match(Likeness.RENAMED, BASE_DIGEST, URL, 3)
    swapped = matcher.match(header({"chrX": b"TTGGGGAA", "chr2": b"GGAA", "chr1": b"GCGC"}))
    assert swapped.match == Match(Likeness.RENAMED, BASE_DIGEST, URL, 3)


def test_names_and_lengths(matcher: CollectionMatcher) -> None:
    found = matcher.match(header(BASE, md5s=False))
    assert found.match == Match(Likeness.COORDINATES, BASE_DIGEST, URL, 0)
    assert found.unserved == ()
    partly = [header(BASE)[0], *header(BASE, md5s=False)[1:]]
    assert matcher.match(partly).match == Match(Likeness.COORDINATES, BASE_DIGEST, URL, 1)


def test_names_and_lengths_of_other_sequences(matcher: CollectionMatcher) -> None:
    other = header({**BASE, "chr1": b"AAAA"})
    found = matcher.match(other)
    assert found.match == Match(Likeness.COORDINATES, BASE_DIGEST, URL, 2, ("chr1",))
    assert found.unserved == (other[1],)


def test_some_sequences(matcher: CollectionMatcher, database: Database) -> None:
    write_down(database, "/large.fa", {**BASE, "chr3": b"TTT", "chr4": b"TTTT"})
    some = header({"chr2": b"GCGC", "chr1": b"GGAA"})
    assert matcher.match(some).match == Match(Likeness.SHARED, BASE_DIGEST, URL, 2)
    more = matcher.match(header({**BASE, "decoy": b"ACACAC"}))
    assert more.match == Match(Likeness.SHARED, BASE_DIGEST, URL, 3)
    assert [each.name for each in more.unserved] == ["decoy"]
    most = matcher.match(header({**BASE, "chr3": b"TTT"})).match
    assert most is not None
    assert most.url == "/large.fa"


def test_nothing(matcher: CollectionMatcher) -> None:
    assert matcher.match([]).match is None
    unknown = header({"a": b"A"})
    found = matcher.match(unknown)
    assert (found.match, found.unserved) == (None, tuple(unknown))
    assert matcher.match(header({"a": b"A"}, md5s=False)).match is None
    assert matcher.match([HeaderReference("a", None, None)]).match is None
    assert matcher.match([HeaderReference("a\0\ud800", 1, md5_of(b"GGAA"))]).match is not None


def test_many_references(matcher: CollectionMatcher, database: Database) -> None:
    many = {f"s{number}": b"ACGT" * (number + 1) for number in range(1200)}
    digest = write_down(database, "/many.fa", many).digest
    found = matcher.match(header(many))
    assert found.match == Match(Likeness.SAME, digest, "/many.fa", 1200)
    fewer = dict(list(many.items())[:-1])
    assert matcher.match(header(fewer)).match == Match(Likeness.SHARED, digest, "/many.fa", 1199)


def test_only_what_is_served_counts(database: Database) -> None:
    write_down(database, "/found.fa", {"a": b"AAA", "chr1": b"GGAA"}, source=Source.LOCATION)
    records = header({"a": b"AAA", "chr1": b"GGAA"})
    found = CollectionMatcher(database, ()).match(records)
    assert found.match == Match(Likeness.SHARED, BASE_DIGEST, URL, 1)
    assert found.unserved == (records[0],)
    served = CollectionMatcher(database, ["/found.fa"]).match(records)
    assert served.match is not None
    assert served.match.likeness is Likeness.SAME
    assert served.unserved == ()


def test_an_m5_that_counts_more_than_letters(database: Database) -> None:
    """SAM digests a `*` within a sequence, refget does not."""
    aliases = {"odd": Alias("md5", "0" * 32)}
    digest = write_down(database, "/odd.fa", {"odd": b"AC"}, aliases=aliases).digest
    found = CollectionMatcher(database, ()).match([HeaderReference("odd", 3, "0" * 32)])
    assert found.match == Match(Likeness.SAME, digest, "/odd.fa", 1)
    assert found.unserved == ()


def test_what_is_written(database: Database) -> None:
    matcher = CollectionMatcher(database, ())
    written = matcher.written(URL)
    assert written is not None
    assert (written.fingerprint, written.complete, written.collection) == ("1", True, BASE_DIGEST)
    assert matcher.written("/other.fa") is None
    assert not matcher.is_empty()
    empty = Database()
    assert CollectionMatcher(empty, ()).is_empty()
    write_down(empty, "/found.fa", BASE, source=Source.LOCATION)
    assert CollectionMatcher(empty, ()).is_empty()
    assert not CollectionMatcher(empty, ["/found.fa"]).is_empty()
    empty.close()
