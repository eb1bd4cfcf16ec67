import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.refget.identifiers import (
    MAX_LENGTH,
    RESERVED_NAMESPACES,
    AliasId,
    Md5Id,
    SequenceId,
    TruncatedId,
    UnknownId,
    parse_id,
)

MD5 = "6681ac2f62509cfc220d78751b8dc524"
TRUNC512 = "959cb1883fc1ca9ae1394ceb475a356ead1ecceff5824ae7"
BASE64URL = "lZyxiD_ByprhOUzrR1o1bq0ezO_1gkrn"
DIGEST = TruncatedId(bytes.fromhex(TRUNC512))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MD5, Md5Id(MD5)),
        (MD5.upper(), Md5Id(MD5)),
        (f"md5:{MD5}", Md5Id(MD5)),
        (f"md5:{MD5.upper()}", Md5Id(MD5)),
        (TRUNC512, DIGEST),
        (TRUNC512.upper(), DIGEST),
        (f"trunc512:{TRUNC512}", DIGEST),
        (f"trunc512:{TRUNC512.upper()}", DIGEST),
        (f"SQ.{BASE64URL}", DIGEST),
        (f"ga4gh:SQ.{BASE64URL}", DIGEST),
        (BASE64URL, DIGEST),
        (f"VMC:GS_{BASE64URL}", DIGEST),
        # what is all hexadecimal is an md5 first, and another digest only by its prefix
        (f"SQ.{MD5}", TruncatedId(base64.urlsafe_b64decode(MD5))),
        ("insdc:BK006935.2", AliasId("insdc", "BK006935.2")),
        ("insdc:CM000663.2", AliasId("insdc", "CM000663.2")),
        ("refseq:NC_001422.1", AliasId("refseq", "NC_001422.1")),
        ("INSDC:BK006935.2", AliasId("INSDC", "BK006935.2")),
        ("ucsc:hg38:chr1", AliasId("ucsc", "hg38:chr1")),
        (f"refseq:{MD5}", AliasId("refseq", MD5)),
        ("chr1", AliasId(None, "chr1")),
        ("HLA-DRB1*15:01:01:01", AliasId(None, "HLA-DRB1*15:01:01:01")),
        ("染色体-1", AliasId(None, "染色体-1")),
        (":chr1", AliasId(None, ":chr1")),
        ("insdc:", AliasId(None, "insdc:")),
        # of the compliance suite
        ("Garbagechecksum", AliasId(None, "Garbagechecksum")),
        ("some1111garbage1111ID", AliasId(None, "some1111garbage1111ID")),
        # near misses
        (MD5[:-1], AliasId(None, MD5[:-1])),
        (f"SQ.{BASE64URL}A", AliasId(None, f"SQ.{BASE64URL}A")),
        (f"sq.{BASE64URL}", AliasId(None, f"sq.{BASE64URL}")),
        (TRUNC512[:-1] + "g", AliasId(None, TRUNC512[:-1] + "g")),
        ("٣" * 32, AliasId(None, "٣" * 32)),
    ],
)
def test_what_an_id_asks_for(text: str, expected: SequenceId) -> None:
    assert parse_id(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * (MAX_LENGTH + 1),
        "chr\0",
        "chr1\n",
        f"{MD5}\n",
        "\ud800",
        "md5:chr1",
        f"md5:{TRUNC512}",
        f"md5: {MD5}",
        f"trunc512:{MD5}",
        f"trunc512:{BASE64URL}",
        f"ga4gh:{BASE64URL}",
        f"ga4gh:SQ.{BASE64URL}=",
        f"ga4gh:GS.{BASE64URL}",
        f"ga4gh:SQ.{BASE64URL[:-1]}+",
        f"VMC:{BASE64URL}",
        f"VMC:GA_{BASE64URL}",
    ],
)
def test_what_no_sequence_can_have(text: str) -> None:
    assert parse_id(text) == UnknownId()


def test_the_longest_id() -> None:
    assert parse_id("a" * MAX_LENGTH) == AliasId(None, "a" * MAX_LENGTH)


@given(st.binary(min_size=24, max_size=24))
def test_every_digest_is_read_in_all_its_forms(digest: bytes) -> None:
    text = base64.urlsafe_b64encode(digest).decode()
    for form in (f"SQ.{text}", f"ga4gh:SQ.{text}", f"VMC:GS_{text}", digest.hex()):
        assert parse_id(form) == TruncatedId(digest)


@given(st.text() | st.text("md5:trunc512ga4gh:SQ.VMC:GS_0aF-_", max_size=60))
def test_any_text_is_an_id(text: str) -> None:
    found = parse_id(text)
    if isinstance(found, AliasId):
        assert found.alias
        assert found.namespace not in RESERVED_NAMESPACES
        assert (f"{found.namespace}:" if found.namespace else "") + found.alias == text
