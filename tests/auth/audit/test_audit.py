"""The chain, what a record may hold, and checkpoints; by vectors, the published example, and every
way to spoil a chain."""

import base64
import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from auth.audit.chain import (
    GENESIS,
    Anchor,
    ChainVerifier,
    Entry,
    Fault,
    canonical,
    chained,
    verify_chain,
)
from auth.audit.checkpoints import (
    Checkpoint,
    check_checkpoints,
    new_key,
    read_key,
    read_public_key,
    write_key,
)
from auth.audit.record import MAX_TEXT, Draft, Pii, cleaned, pseudonym
from auth.errors import InvalidConfiguration

TEST_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def chain_of(payloads: list[bytes]) -> list[Entry]:
    entries: list[Entry] = []
    previous = GENESIS
    for seq, payload in enumerate(payloads, 1):
        previous = chained(previous, seq, payload)
        entries.append(Entry(seq, payload, previous))
    return entries


def test_vectors() -> None:
    first = canonical({"ts": "2026-11-22T12:00:00.000Z", "event": "audit.started"})
    assert first == b'{"event":"audit.started","ts":"2026-11-22T12:00:00.000Z"}'
    assert len(first) == 57
    second = b'{"event":"ticket.intent","req":"r-1","ts":"2026-11-22T12:00:01.000Z"}'
    one, two = chain_of([first, second])
    assert one.hash.hex() == "c9eaf4be1fd4f323f8f8170a4bca9e98c382ce8b85becf210bd9dbc87358f429"
    assert two.hash.hex() == "42b3d807c8c8a999ea27cd2e5c5334cfa657d675938c1e2a48420eec9b7f96f0"


# ---- the published example


@pytest.fixture(scope="module")
def example(shared_data: Path) -> dict[str, Any]:
    path = shared_data.parent / "reference" / "audit-record-example.json"
    if not path.is_file():
        pytest.skip("the example of the specification is not here")
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def test_the_examples_chain(example: dict[str, Any]) -> None:
    entries = [
        Entry(each["seq"], canonical(each["payload"]), bytes.fromhex(each["hash"]))
        for each in example["records"]
    ]
    checkpoint = Checkpoint.from_json(example["checkpoint"])
    assert len(entries) == 6
    assert verify_chain(entries, [checkpoint.anchor]) is None


def test_the_examples_checkpoint(example: dict[str, Any]) -> None:
    checkpoint = Checkpoint.from_json(example["checkpoint"])
    assert checkpoint.is_signed_by(TEST_KEY.public_key().public_bytes_raw())
    assert not replace(checkpoint, seq=5).is_signed_by(None)
    assert replace(checkpoint, signature=b"", public_key=b"").signed(TEST_KEY) == checkpoint
    assert checkpoint.as_json() == example["checkpoint"]


def test_the_examples_pseudonyms(example: dict[str, Any]) -> None:
    for row in example["pii_side_table"]:
        assert pseudonym(bytes.fromhex(row["salt"]), row["value"]) == row["hmac"]


def test_the_examples_records_can_be_written(example: dict[str, Any]) -> None:
    names = {Pii(row["kind"], row["value"]): row["hmac"] for row in example["pii_side_table"]}
    persons = {value: pii for pii, value in names.items()}

    def named(value: Any) -> Any:
        """With the identifiers in place of their pseudonyms."""
        if isinstance(value, dict):
            if set(value) == {"pii"}:
                return persons[value["pii"]]
            return {
                name: persons[each] if name == "pii" else named(each)
                for name, each in value.items()
            }
        return [named(each) for each in value] if isinstance(value, list) else value

    for record in example["records"]:
        draft = Draft(named(record["payload"]))
        assert draft.payload(names) == canonical(record["payload"])
    projection = example["projection_example"]
    assert len(canonical(projection["canonical_of"])) > 100


# ---- canonical JSON

_VALUES = st.recursive(
    st.text() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_VALUES)
def test_canonical_form(value: object) -> None:
    try:
        data = canonical(value)
    except ValueError:  # nested too deep
        return
    assert data.isascii()
    assert json.loads(data) == value
    assert canonical(json.loads(data)) == data
    assert data == json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), None, [1.0], {"a": None}, {1: "a"}, (1,), 1 << 63, -(1 << 63) - 1, b"x"],
)
def test_what_has_no_canonical_form(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical(value)


def test_depth_is_bounded() -> None:
    value: Any = "x"
    for _ in range(16):
        value = [value]
    assert canonical(value)
    with pytest.raises(ValueError, match="deep"):
        canonical([value])


# ---- TA1: every way to spoil a chain

_PAYLOADS = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=2).map(canonical),
    min_size=1,
    max_size=12,
)


@given(_PAYLOADS)
def test_a_chain_verifies(payloads: list[bytes]) -> None:
    entries = chain_of(payloads)
    anchors = [Anchor(each.seq, each.hash) for each in entries]
    assert verify_chain(entries) is None
    assert verify_chain(entries, reversed(anchors)) is None
    for cut in range(len(entries)):
        start = anchors[cut - 1] if cut else Anchor(0, GENESIS)
        rest = ChainVerifier(anchors, start)
        assert not any(rest.add(each) for each in entries[cut:])
        assert rest.finish() is None


@pytest.mark.security("TA1")
@given(_PAYLOADS, st.data())
def test_an_edit_is_found(payloads: list[bytes], data: st.DataObject) -> None:
    entries = chain_of(payloads)
    at = data.draw(st.integers(0, len(entries) - 1))
    byte = data.draw(st.integers(0, len(entries[at].payload) - 1))
    spoilt = bytearray(entries[at].payload)
    spoilt[byte] ^= data.draw(st.integers(1, 255))
    entries[at] = entries[at]._replace(payload=bytes(spoilt))
    fault = verify_chain(entries)
    assert fault is not None
    assert fault.seq == at + 1


@pytest.mark.security("TA1")
@given(_PAYLOADS, st.data(), st.booleans())
def test_a_removal_is_found(payloads: list[bytes], data: st.DataObject, renumbered: bool) -> None:
    entries = chain_of([*payloads, b'{"last":1}'])
    at = data.draw(st.integers(0, len(payloads) - 1))
    del entries[at]
    if renumbered:
        entries = [each._replace(seq=seq) for seq, each in enumerate(entries, 1)]
    fault = verify_chain(entries)
    assert fault is not None
    assert fault.seq == at + 1


@pytest.mark.security("TA1")
@given(_PAYLOADS, st.data(), st.booleans())
def test_an_insertion_is_found(
    payloads: list[bytes], data: st.DataObject, is_chained: bool
) -> None:
    entries = chain_of(payloads)
    at = data.draw(st.integers(0, len(entries) - 1))
    previous = entries[at - 1].hash if at else GENESIS
    payload = b'{"inserted":1}'
    forged = Entry(at + 1, payload, chained(previous, at + 1, payload) if is_chained else GENESIS)
    later = [each._replace(seq=each.seq + 1) for each in entries[at:]]
    fault = verify_chain([*entries[:at], forged, *later])
    assert fault is not None
    assert fault.seq == (at + 2 if is_chained else at + 1)
    twice = verify_chain([*entries[: at + 1], *entries[at:]])
    assert twice is not None
    assert twice.seq == at + 2


@pytest.mark.security("TA1")
@given(_PAYLOADS, st.data(), st.booleans())
def test_another_order_is_found(
    payloads: list[bytes], data: st.DataObject, renumbered: bool
) -> None:
    entries = chain_of([*payloads, b'{"last":1}'])
    one, other = sorted(
        data.draw(
            st.lists(st.sampled_from(range(len(entries))), min_size=2, max_size=2, unique=True)
        )
    )
    entries[one], entries[other] = entries[other], entries[one]
    if renumbered:
        entries = [each._replace(seq=seq) for seq, each in enumerate(entries, 1)]
    fault = verify_chain(entries)
    assert fault is not None
    assert fault.seq == one + 1


@pytest.mark.security("TA1")
@given(_PAYLOADS, st.data())
def test_a_cut_is_found_by_an_anchor(payloads: list[bytes], data: st.DataObject) -> None:
    entries = chain_of(payloads)
    left = data.draw(st.integers(0, len(entries) - 1))
    anchored = entries[data.draw(st.integers(left, len(entries) - 1))]
    cut = entries[:left]
    assert verify_chain(cut) is None
    fault = verify_chain(cut, [Anchor(anchored.seq, anchored.hash)])
    assert fault is not None
    assert fault.seq == left + 1
    assert "missing" in fault.reason


@pytest.mark.security("TA1")
@given(_PAYLOADS, st.data())
def test_a_chain_written_anew_is_found_by_an_anchor(
    payloads: list[bytes], data: st.DataObject
) -> None:
    entries = chain_of(payloads)
    at = data.draw(st.integers(0, len(entries) - 1))
    anchors = [Anchor(each.seq, each.hash) for each in entries[at:]]
    anew = chain_of([*payloads[:at], b'{"forged":1}', *payloads[at + 1 :]])
    assert verify_chain(anew) is None
    assert verify_chain(anew, anchors) == Fault(at + 1, "an anchor has another hash for it")


def test_an_anchor_of_the_start() -> None:
    entries = chain_of([b"{}", b"{}"])
    verifier = ChainVerifier([Anchor(1, GENESIS)], Anchor(1, entries[0].hash))
    assert verifier.add(entries[1]) == Fault(1, "an anchor has another hash for it")


# ---- records


class Word(StrEnum):
    ONE = "one"


def test_a_record() -> None:
    pii = Pii("sub", "https://issuer.example/|someone")
    draft = Draft(
        {
            "event": "ticket.intent",
            "subject": {"pii": pii, "client_id": "igv"},
            "peer": Pii("peer", "10.0.0.1"),
            "who": [Pii("peer", "10.0.0.2")],
            "tid": None,
            "word": Word.ONE,
            "n": (0, 1),
            "yes": True,
            "name": "Zoë\n",
        }
    )
    assert draft.event == "ticket.intent"
    assert draft.identifiers == [pii, Pii("peer", "10.0.0.1"), Pii("peer", "10.0.0.2")]
    payload = draft.payload(
        {pii: "aa", Pii("peer", "10.0.0.1"): "bb", Pii("peer", "10.0.0.2"): "cc"}
    )
    assert payload == (
        b'{"event":"ticket.intent","n":[0,1],"name":"Zo\\u00eb\\n","peer":{"pii":"bb"},'
        b'"subject":{"client_id":"igv","pii":"aa"},"who":[{"pii":"cc"}],"word":"one","yes":true}'
    )
    assert canonical(json.loads(payload)) == payload


@pytest.mark.parametrize(
    "event", [{}, {"event": 1}, {"event": "a", "ms": 1.5}, {"event": "a", "n": 1 << 63}]
)
def test_what_is_no_record(event: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Draft(event)


def test_programs_are_printable_and_short() -> None:
    (ua,) = Draft({"event": "a", "ua": Pii("ua", "sam\r\ntools é" + "x" * 500)}).identifiers
    assert ua.value == "samtools " + "x" * 191


JWT = f"eyJhbGciOiJFUzI1NiJ9.{'eyJzdWIiOiIx' * 5}.{'aB3-_' * 17}"
_CLAIMS = base64.urlsafe_b64encode(b'{"aud":"x","cls":"body"}').decode()
CAPABILITY = f"v1.k1.{_CLAIMS}.{'aB3-_' * 8}x"


@pytest.mark.security("TA4")
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"reads/{JWT}", "aB3-_"),
        (f"reads/{JWT[: JWT.rindex('.')]}", "eyJzdWIi"),
        (f"/blocks/{CAPABILITY}", "aB3-_"),
        ("Authorization: Bearer opaque-token-123", "opaque"),
        ("basic dXNlcjpwYXNz", "dXNl"),
        ("https://b.s3/k?X-Amz-Signature=0123abcd&x=1", "0123abcd"),
        ("https://b.s3/k?AWSAccessKeyId=a&Signature=0123abcd%3D", "0123abcd"),
        ("postgresql://user:pass@db/x", "pass"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE", "MHcC"),
        ("reads/" + "ACGT" * 20, "ACGT"),
        ("reads/" + "acgtn" * 20, "acgt"),
        ("x" * 3000 + JWT, "eyJ"),
        ("x" * (MAX_TEXT - 20) + JWT, "eyJ"),
    ],
)
def test_what_no_record_holds(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in Draft({"event": "a", "object": text, "list": [text]}).payload({}).decode()


@pytest.mark.parametrize(
    "text",
    [
        "reads/cardio/7f3a",
        "sha256:585be8baf92682c15da67e8c328a4eb8ddc8eec2f5555311539adc31c18e458c",
        "https://data.hospital.example/datasets/CARDIO-01",
        "https://login.example|someone@broker.example",
        "size=104857600;mtime_ns=1788000000000000000;etag=-",
        "htslib/1.24 libcurl/7.88.1",
        "variants/v1.2.3/joint.release-2026-11-22",
        "GATTACA",
    ],
)
def test_what_stays_as_it_is(text: str) -> None:
    assert cleaned(text) == text


_PIECES = st.sampled_from(
    [
        JWT,
        "Bearer abcdefghijkl",
        "dpop  abcdefghijkl",
        "a://b:c@d",
        "?Signature=ab",
        "?x-amz-credential=ab",
        "access_token=x",
        "client_secret=",
        "-----BEGIN KEY-----",
        *"ACGTNacgtn@:/= \n\0é",
        "ACGTACGTACGTACGTACGT",
        "acgtnacgtnacgtn",
        "chr1",
    ]
)


@given(st.lists(st.lists(_PIECES, max_size=12).map("".join), max_size=6))
def test_the_quick_look_misses_nothing(texts: list[str]) -> None:
    """What needs no cleaning by the quick look is what cleaning leaves alone."""
    record = json.loads(Draft({"event": "a", "texts": texts, "more": {"x": texts}}).payload({}))
    assert record["texts"] == record["more"]["x"] == [cleaned(each) for each in texts]


@given(st.text(max_size=5000))
def test_texts_are_bounded_and_clean(text: str) -> None:
    kept = cleaned(text)
    assert len(kept) <= MAX_TEXT
    assert "\0" not in kept
    kept.encode()


def test_texts_that_are_no_unicode() -> None:
    assert cleaned("a\0b\ud800") == "a\ufffdb\ufffd"
    assert (
        Draft({"event": "a", "x": Pii("sub", "a\0\udcff")}).identifiers[0].value == "a\ufffd\ufffd"
    )


# ---- checkpoints


def checkpoints_of(entries: list[Entry], key: Ed25519PrivateKey | None) -> list[Checkpoint]:
    made: list[Checkpoint] = []
    previous = GENESIS
    for each in entries:
        one = Checkpoint("c", each.seq, each.hash, f"2026-11-22T12:00:0{each.seq}.000Z", previous)
        made.append(one.signed(key) if key else one)
        previous = one.digest
    return made


def test_checkpoints_are_written_and_read() -> None:
    for key in (TEST_KEY, None):
        (made,) = checkpoints_of(chain_of([b"{}"]), key)
        assert Checkpoint.from_line(json.dumps(made.as_json()).encode()) == made


@given(st.binary(max_size=200) | _VALUES.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_checkpoint(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Checkpoint.from_line(line)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("body.seq", "6"),
        ("body.seq", 1.0),
        ("body.hash", "00"),
        ("body.hash", "zz" * 32),
        ("body.prev_checkpoint", None),
        ("body.schema", "htsget-audit-checkpoint/2"),
        ("body.more", "x"),
        ("signature", 1),
        ("signature", "!!"),
        ("public_key", "x"),
    ],
)
def test_what_is_hardly_a_checkpoint(place: str, value: object) -> None:
    (made,) = checkpoints_of(chain_of([b"{}"]), TEST_KEY)
    document: Any = made.as_json()
    *where, name = place.split(".")
    (document["body"] if where else document)[name] = value
    with pytest.raises(ValueError, match=r".+"):
        Checkpoint.from_json(document)


def test_signatures_are_checked() -> None:
    entries = chain_of([b"{}"] * 3)
    good = checkpoints_of(entries, TEST_KEY)
    key = TEST_KEY.public_key().public_bytes_raw()
    judged = check_checkpoints([*good, *good], "c", key, must_sign=True)
    assert judged.anchors == tuple(each.anchor for each in good)
    assert (judged.faults, judged.missing) == ((), 0)
    other = check_checkpoints(checkpoints_of(entries, new_key()), "c", key, must_sign=True)
    assert other.anchors == ()
    assert len(other.faults) == 3
    unsigned = checkpoints_of(entries, None)
    assert len(check_checkpoints(unsigned, "c", key, must_sign=True).faults) == 3
    assert check_checkpoints(unsigned, "c", None, must_sign=False).faults == ()
    forged = [*good[:2], replace(good[2], hash=GENESIS)]
    (fault,) = check_checkpoints(forged, "c", None, must_sign=False).faults
    assert fault.startswith("the checkpoint of record 3 at 2026-11-22T12:00:03.000Z")
    assert fault.endswith("has a signature that is not right")
    assert len(check_checkpoints(good, "d", key, must_sign=True).faults) == 3


@pytest.mark.security("TA1")
def test_checkpoints_that_fork_or_miss() -> None:
    good = checkpoints_of(chain_of([b"{}"] * 3), TEST_KEY)
    anew = checkpoints_of(chain_of([b'{"a":1}'] * 3), TEST_KEY)
    assert check_checkpoints([good[0], good[2]], "c", None, must_sign=True).missing == 1
    (fault,) = check_checkpoints([*good, anew[0]], "c", None, must_sign=True).faults
    assert "follows the same one" in fault


def test_keys() -> None:
    key = new_key()
    private, public = write_key(key)
    raw = key.public_key().public_bytes_raw()
    assert read_key(private).private_bytes_raw() == key.private_bytes_raw()
    assert [read_public_key(each) for each in (private, public, raw.hex().encode())] == [raw] * 3


@pytest.mark.parametrize("data", [b"", b"x", b"00", b"-----BEGIN PUBLIC KEY-----", b"\xff" * 40])
def test_what_is_no_key(data: bytes) -> None:
    with pytest.raises(InvalidConfiguration):
        read_key(data)
    with pytest.raises(InvalidConfiguration):
        read_public_key(data)
