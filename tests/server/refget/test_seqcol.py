import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.refget.seqcol import (
    ATTRIBUTES,
    MAX_LENGTH,
    MAX_NAME,
    Collection,
    InvalidCollection,
    canonical,
    canonical_pair,
    read_level2,
    schema,
    sha512t24u,
)

LEVEL_2 = ["names", "lengths", "sequences", "name_length_pairs", "sorted_sequences"]

# The files of the compliance suite, and the digests it expects: the collection's, of names, of
# sequences, name_length_pairs, sorted_name_length_pairs, lengths and sorted_sequences.
FILES = {
    "base": "chrX TTGGGGAA chr1 GGAA chr2 GCGC",
    "different_names": "X TTGGGGAA 1 GGAA 2 GCGC",
    "different_order": "chr1 GGAA chr2 GCGC chrX TTGGGGAA",
    "pair_swap": "chr2 TTGGGGAA chr1 GGAA chrX GCGC",
    "subset": "chrX TTGGGGAA chr1 GGAA",
    "swap_wo_coords": "chrX TTGGGGAA chr2 GGAA chr1 GCGC",
}
L_844, L_448, L_84 = (
    "cGRMZIb3AVgkcAfNv39RN7hnT5Chk7RX",
    "x5qpE4FtMkvlwpKIzvHs3a02Nex5tthp",
    "7-_HdxYiRf-AJLBKOTaJUdxXrUkIXs6T",
)
ALL_SORTED, TWO_SORTED = "KgWo6TT1Lqw6vgkXU9sYtCU9xwXoDt6M", "p5sNbnAUithQJ3oxrBL3YXTNig08SNKB"
EXPECTED = {
    "base": (
        "XZlrcEGi6mlopZ2uD8ObHkQB1d0oDwKk Fw1r9eRxfOZD98KKrhlYQNEdSRHoVxAG "
        "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr B9MESWM8k-hK_OeQK8bZNAG74pLY0Ujq "
        f"zjM1Ie9m0zFbqsAnZ6jAJSXuFpKTr40J {L_844} {ALL_SORTED}"
    ),
    "different_names": (
        "QvT5tAQ0B8Vkxd-qFftlzEk2QyfPtgOv lrCv6NNXom7AC9tKFWqhcLLZsrcgJIqq "
        "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr m88geMfgGBZ7VpYgQKCB4P9z-mhKJ-nj "
        f"1FQEGOQQ-m0NmZ0R-eeJEfnH1ayqJQ0T {L_844} {ALL_SORTED}"
    ),
    "different_order": (
        "Tpdsg75D4GKCGEHtIiDSL9Zx-DSuX5V8 dOAOfPGkf3wAf3CUsbjVTKhY9Wq2DL6f "
        "7t6Ulz6OeUWu6FBxntbvFKOl8w3icl2h a6JbVltjGqj5fEr01M0qjqCmlLLQ_P7N "
        f"zjM1Ie9m0zFbqsAnZ6jAJSXuFpKTr40J {L_448} {ALL_SORTED}"
    ),
    "pair_swap": (
        "UNGAdNDmBbQbHihecPPFxwTydTcdFKxL gSWbV6khfIsnlQTyw1PmlQ8G7VRfIWbU "
        "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr yjUFKuKCURANxHar4JDF5ABOn6FJ-T8m "
        f"rL5OQOnFba8yyz7lS-0-hgZvwcQsiajN {L_844} {ALL_SORTED}"
    ),
    "subset": (
        "sv7GIP1K0qcskIKF3iaBmQpaum21vH74 iyNUhtfR0TALytlmxK1Zx1_q3frkZyAd "
        "3ZP38SZcoc9wN7jsRyNSP9mQ1a3TUoUF b_TLfweI2gfClgj57gcTFtEOMJ_daWd4 "
        f"AvGYsdgtJpTLKYil3eLddJxwrE5OfKhE {L_84} {TWO_SORTED}"
    ),
    "swap_wo_coords": (
        "aVzHaGFlUDUNF2IEmNdzS_A8lCY0stQH QX5ur-faw5nXis8HXUK2kMxgY5MTGVRn "
        "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr suXpFjcxpyUDOkBgNEakNEXtLlyxtjJr "
        f"zjM1Ie9m0zFbqsAnZ6jAJSXuFpKTr40J {L_844} {ALL_SORTED}"
    ),
}

# The real files of the shared data: collection, names, lengths, sequences, name_length_pairs,
# sorted_name_length_pairs, sorted_sequences, and the digest of the array of md5.
REAL = {
    "Saccharomyces_cerevisiae.R64-1-1.fa.bgz.fa.gz": (
        "ia9g4Myony-xxLsSc7eQOC_NdClGgPGu vuArU-PGosMktWU-OsQr0VOTR0C0oLT2 "
        "fSZ-qxtOfqLVR06z5XD2tuVNVl1oKbKk RnA6LWXvIP0qTlauMdh9_SB-niey1SgY "
        "FQ7F8KvmjkfNxF3SYJi8UyDgqZzR-hk5 5B_JV0rZ_u5TzXqntPnpSG62S4pUsb4L "
        "diyPQYCRG37hE2IHuGGWOb3SNHIuB8IT IHf0M0rZ_EVn0CSjOGqFgI-b5xB1TWwb"
    ),
    "ce.fa": (
        "WPg6NNLsGJGsMl2UNpe2es7-cqkXO1d0 faKOZowzNCYOKEPFm4sqs5Zldfo45qXb "
        "FDjgpb4YtVkMqaL3PdSkqLvAM4N2NOZj hrXGUsLlTo1ElSczDvCkbjsh7dP-FaqX "
        "lpgdYvGvErLgFyQNIoNa11VepxgdLNj2 ILBEOj3LNIISM2b3u5DXQ6UR93O0_IOS "
        "K9r2awZm9IDUyvcIc7LeLIv5SHpT_enS DUpiOQskFEfHb33Omvd7ltN8qOHGIGRj"
    ),
    "Homo_sapiens_assembly18.trimmed.fasta.gz": (
        "1n_RQGG-A99fKA9Z_sM-rb4FtIMbWppO bzWFNg03xUSvfGZIsolJo4uBmNHPaSBb "
        "ewBCHpgs1Qa2ku3seL7xrUwg91oyo664 fbSiKtX7pyR2CbvhzGl9xKABW32DEKLM "
        "9MtAs_qd7iYQeIutUmFX9kLarllAUaSL wxIICjmtJ5qZkvn3FXplVDlXqbk-C_Hm "
        "fbSiKtX7pyR2CbvhzGl9xKABW32DEKLM PeUeHhUzGabwL6tYMnBzzu6dfXcdlrIf"
    ),
}


def sequence_digest(bases: bytes) -> str:
    return "SQ." + base64.urlsafe_b64encode(hashlib.sha512(bases).digest()[:24]).decode()


def collection(name: str) -> Collection:
    names, bases = (FILES[name].split()[at::2] for at in (0, 1))
    sequences = [sequence_digest(each.encode()) for each in bases]
    return Collection(names, [len(each) for each in bases], sequences)


def posted(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.mark.parametrize("name", FILES)
def test_the_collections_of_the_compliance_suite(name: str) -> None:
    found = collection(name)
    level1 = found.level1()
    order = ["names", "sequences", "name_length_pairs", "sorted_name_length_pairs", "lengths"]
    digests = [level1[each] for each in [*order, "sorted_sequences"]]
    assert [found.digest, *digests] == EXPECTED[name].split()
    assert level1.keys() == ATTRIBUTES.keys()


@pytest.mark.parametrize("name", REAL)
def test_the_collections_of_real_files(name: str, shared_data: Path) -> None:
    names: list[str] = []
    lengths: list[int] = []
    sequences: list[str] = []
    md5s: list[str] = []
    with pysam.FastaFile(str(shared_data / "fasta" / name)) as fasta:
        for reference, length in zip(fasta.references, fasta.lengths, strict=True):
            bases = fasta.fetch(reference).upper().encode()
            names.append(reference)
            lengths.append(length)
            sequences.append(sequence_digest(bases))
            md5s.append(hashlib.md5(bases, usedforsecurity=False).hexdigest())
    found = Collection(names, lengths, sequences)
    level1 = found.level1()
    order = [*LEVEL_2[:4], "sorted_name_length_pairs", "sorted_sequences"]
    digests = [found.digest, *(level1[each] for each in order), sha512t24u(canonical(md5s))]
    assert digests == REAL[name].split()


@pytest.mark.parametrize(
    ("names", "lengths", "sequences", "top", "digests"),
    [
        (
            ["chr1", "chr2", "chr3"],
            [248956422, 242193529, 198295559],
            [
                "SQ.2YnepKM7OkBoOrKmvHbGqguVfF9amCST",
                "SQ.lwDyBi432Py-7xnAISyQlnlhWDEaBPv2",
                "SQ.Eqk6_SvMMDCc6C-uEfickOUWTatLMDQZ",
            ],
            "sjNNwm4zov3Dl0FRWbRTcZwzqrTQKIqL",
            {
                "lengths": "5K4odB173rjao1Cnbk5BnvLt9V7aPAa2",
                "names": "g04lKdxiYtG3dOGeUC5AdKEifw65G0Wp",
                "sequences": "rD29ZKmEqwwHRXjiQ36p6UMZQ5hemmsb",
                "name_length_pairs": "UehRI2awhWecANdwztdiIGPXv8xkHggG",
                "sorted_name_length_pairs": "ydhV5UJwuvk3o1ygTJljBrzhyUI8stjc",
            },
        ),
        (
            ["A", "B", "C"],
            [1216, 970, 1788],
            [
                "SQ.OL3sVAcd_5IZaDxUkH-yQkLmBz2iwY0s",
                "SQ.kny8cdhEEPHXoNlXmps8NQapGtUKZlM9",
                "SQ.DA-GLdXVihnYKs-fBS5MMgqMi7tVMJbt",
            ],
            "Zjx9_tD2o-1yKB6RR2v2g3W9c5ufydUc",
            {
                "lengths": "QWhPI-Cll_0Y5NJ_2krRryuV97vzhbgJ",
                "names": "1zOnTYE5slcISev72o62ySxbssEXeoUL",
                "sequences": "uPCc00rq-daL3zPnzYH-sBg9_z7HpB8B",
                "name_length_pairs": "bHPtLJo5hFjYOrtEd5oq8lcgPlpZdyqp",
            },
        ),
        (
            ["chr1", "chr2", "chr3"],
            [0, 0, 0],
            [
                "SQ.2648ae1bacce4ec4b6cf337dcae37816",
                "SQ.907112d17fcb73bcab1ed1c72b97ce68",
                "SQ.1511375dc2dd1b633af8cf439ae90cec",
            ],
            "KxZO6qIbVNCIKtQj0WR3fwzg2rsJLlC3",
            {"sequences": "ixJdEJlNBgz5U49vfIUqmq3kD4oOtLpd"},
        ),
    ],
)
def test_known_collections(
    names: list[str], lengths: list[int], sequences: list[str], top: str, digests: dict[str, str]
) -> None:
    found = Collection(names, lengths, sequences)
    assert found.digest == top
    assert found.level1().items() >= digests.items()


def test_each_step_of_the_encoding() -> None:
    base = collection("base")
    arrays = base.canonical_level2()
    assert list(arrays) == LEVEL_2
    assert arrays["names"] == b'["chrX","chr1","chr2"]'
    assert arrays["lengths"] == b"[8,4,4]"
    assert arrays["sequences"] == (
        b'["SQ.iYtREV555dUFKg2_agSJW6suquUyPpMw","SQ.YBbVX0dLKG1ieEDCiMmkrTZFt_Z5Vdaj",'
        b'"SQ.AcLxtBuKEPk_7PGE_H4dGElwZHCujwH6"]'
    )
    assert arrays["name_length_pairs"] == (
        b'[{"length":8,"name":"chrX"},{"length":4,"name":"chr1"},{"length":4,"name":"chr2"}]'
    )
    assert sha512t24u(canonical_pair("chrX", 8)) == "chDD8A4S8YZKNNctCimHasAA2Dn596SZ"
    pairs = [
        "IWFt7HQ4XoMk34U27BKO-4szSRifP6H5",
        "chDD8A4S8YZKNNctCimHasAA2Dn596SZ",
        "enZNOGccwFbN9yJ3YZVifFTFCVA9hIpH",
    ]
    assert sha512t24u(canonical(pairs)) == base.level1()["sorted_name_length_pairs"]
    level1 = base.level1()
    top = canonical({name: level1[name] for name in ("sequences", "names")})
    assert top == (
        b'{"names":"Fw1r9eRxfOZD98KKrhlYQNEdSRHoVxAG",'
        b'"sequences":"0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr"}'
    )
    assert sha512t24u(top) == base.digest
    assert sha512t24u(b"") == "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXc"


def test_names_beyond_ascii_stay_as_they_are() -> None:
    names = ["染色体-1", "染色体-2", "染色体-3"]
    assert sha512t24u(canonical(names)) == "EiYgJtUfGyad7wf5atL5OG4Fkzohp2qe"


ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def rfc8785(value: Any) -> bytes:
    """Sections 3.2.2 and 3.2.3 written out, for all but fractions."""
    if isinstance(value, str):
        text = ""
        for character in value:
            code = ord(character)
            text += ESCAPES.get(code, f"\\u{code:04x}" if code < 32 else character)
        return b'"' + text.encode("utf-8") + b'"'
    if isinstance(value, list):
        return b"[" + b",".join(rfc8785(each) for each in value) + b"]"
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return b"{" + b",".join(rfc8785(n) + b":" + rfc8785(v) for n, v in ordered) + b"}"
    if isinstance(value, bool) or value is None:
        return {None: b"null", True: b"true", False: b"false"}[value]
    return str(value).encode()


_ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_NUMBER = st.integers(-MAX_LENGTH, MAX_LENGTH)


@given(
    st.recursive(
        st.none() | st.booleans() | _NUMBER | _ANY_TEXT,
        lambda each: (
            st.lists(each) | st.dictionaries(st.text(st.characters(max_codepoint=127)), each)
        ),
    )
)
def test_canonical_json_is_that_of_rfc_8785(value: object) -> None:
    assert canonical(value) == rfc8785(value)


@given(_ANY_TEXT, _NUMBER)
def test_canonical_pairs_are_canonical(name: str, length: int) -> None:
    assert canonical_pair(name, length) == rfc8785({"name": name, "length": length})


_SEQUENCES = st.binary(min_size=24, max_size=24).map(
    lambda digest: "SQ." + base64.urlsafe_b64encode(digest).decode()
)
_NAMES = st.text(min_size=1, max_size=8).filter(str.isprintable)
_RECORDS = st.lists(st.tuples(_NAMES, st.integers(0, MAX_LENGTH), _SEQUENCES), max_size=6)


@given(_RECORDS)
def test_levels_agree(records: list[tuple[str, int, str]]) -> None:
    names, lengths = [name for name, _, _ in records], [length for _, length, _ in records]
    found = Collection(names, lengths, [sequence for _, _, sequence in records])
    level1, level2 = found.level1(), found.level2()
    assert list(level2) == LEVEL_2
    for name, array in level2.items():
        assert found.canonical_level2()[name] == rfc8785(array)
        assert level1[name] == sha512t24u(rfc8785(array))
    each_pair = zip(names, lengths, strict=True)
    pairs = sorted(sha512t24u(rfc8785({"name": n, "length": at})) for n, at in each_pair)
    assert level1["sorted_name_length_pairs"] == sha512t24u(rfc8785(pairs))
    body = posted({**level2, "sorted_name_length_pairs": pairs})
    assert read_level2(body).level2 == level2
    assert read_level2(body).digest == found.digest
    assert read_level2(posted({n: level2[n] for n in LEVEL_2[:3]})).level2 == level2


SQ = "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2"


@pytest.mark.parametrize(
    ("names", "lengths", "sequences"),
    [
        (["a"], [1], []),
        (["a", "b"], [1], [SQ]),
        ([""], [1], [SQ]),
        (["a\n"], [1], [SQ]),
        (["\ud800"], [1], [SQ]),
        (["a" * (MAX_NAME + 1)], [1], [SQ]),
        (["a"], [-1], [SQ]),
        (["a"], [MAX_LENGTH + 1], [SQ]),
        (["a"], [True], [SQ]),
        (["a"], [1], [f"ga4gh:{SQ}"]),
        (["a"], [1], [SQ[3:]]),
        (["a"], [1], [SQ + "\n"]),
    ],
)
def test_what_is_no_collection(
    names: Sequence[str], lengths: Sequence[int], sequences: Sequence[str]
) -> None:
    with pytest.raises(InvalidCollection):
        Collection(names, lengths, sequences)


def test_the_schema() -> None:
    found = schema("https://example.org/seqcol.json")
    assert json.loads(json.dumps(found)) == found
    assert found["$id"] == "https://example.org/seqcol.json"
    assert found["required"] == ["names", "lengths", "sequences"]
    assert found["ga4gh"] == {
        "inherent": ["names", "sequences"],
        "transient": ["sorted_name_length_pairs"],
    }
    properties = found["properties"]
    assert isinstance(properties, dict)
    assert {name: (each["type"], each["collated"]) for name, each in properties.items()} == {
        "names": ("array", True),
        "lengths": ("array", True),
        "sequences": ("array", True),
        "name_length_pairs": ("array", True),
        "sorted_name_length_pairs": ("array", False),
        "sorted_sequences": ("array", False),
    }
    kinds = {name: each["items"]["type"] for name, each in properties.items()}
    assert kinds["lengths"] == "integer"
    assert kinds["name_length_pairs"] == "object"
