import base64
import json
import string
import timeit
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.capability import (
    MAX_BODY,
    Capability,
    CapabilityCodec,
    CapabilityError,
    CapabilityTooLong,
    ExpiredCapability,
    InvalidCapability,
    derive,
    mac,
)
from formats.regions import UNBOUNDED, Interval, merge

KEY = bytes(range(32))
NOW = 1_790_000_000
ALPHABET = string.ascii_letters + string.digits + "-_"

PLAIN = Capability(
    endpoint="reads",
    object_id="kg/NA12878",
    fingerprint="123456-1700000000000000000",
    format="BAM",
    data_class="body",
    ticket_id="AAECAwQFBgcICQoLDA0ODw",
    intervals=(Interval(19, 1_000_000, 1_010_000),),
    part=2,
    parts=2,
)


def codec(
    *,
    keys: dict[str, bytes] | None = None,
    signing_kid: str = "k1",
    audience: str = "https://htsget.example.org",
    clock: Callable[[], float] = lambda: NOW,
) -> CapabilityCodec:
    return CapabilityCodec(
        keys or {"k1": KEY}, signing_kid=signing_kid, audience=audience, lifetime=600, clock=clock
    )


def sealed(claims: object, *, raw: bytes | None = None) -> str:
    """A text with a right MAC over any claims: what a defect of ours could seal."""
    data = json.dumps(claims, sort_keys=True, separators=(",", ":")).encode()
    body = base64.urlsafe_b64encode(raw or data).rstrip(b"=").decode()
    return f"v1.k1.{body}.{mac(derive(KEY, b'htsgate capability v1'), 'k1', body)}"


def claims_of(token: str) -> dict[str, object]:
    body = token.split(".")[2]
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def test_vector() -> None:
    body = "eyJhdWQiOiJkIiwiZXhwIjoxNzkwMDAwNjAwLCJpYXQiOjE3OTAwMDAwMDAsIm9iaiI6Im8tMTcifQ"
    assert mac(KEY, "k1", body) == "2Ct8UQVX4JXopVJ0lB_ZRmliuBUxt3Xnsm1dRD9wYUo"


def test_derive_is_hkdf() -> None:
    # RFC 5869, test case 3: no salt, no info; the first 32 bytes of its output.
    okm = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert derive(b"\x0b" * 22, b"").hex() == okm


@pytest.mark.security("TU1")
def test_keys_of_other_purposes_verify_nothing() -> None:
    token = codec().seal(PLAIN)
    body = token.split(".")[2]
    with pytest.raises(InvalidCapability):
        codec().open(f"v1.k1.{body}.{mac(KEY, 'k1', body)}")


intervals = st.lists(
    st.builds(
        lambda reference, start, length: Interval(reference, start, start + length),
        st.integers(0, 90),
        st.integers(0, 2**32 - 1),
        st.integers(1, 2**31),
    ),
    max_size=20,
).map(merge)

capabilities = st.builds(
    Capability,
    endpoint=st.sampled_from(["reads", "variants"]),
    object_id=st.text(max_size=40).filter(lambda t: "\0" not in t and t.isprintable()),
    fingerprint=st.text(ALPHABET, max_size=40),
    format=st.sampled_from(["BAM", "CRAM", "VCF", "BCF"]),
    data_class=st.sampled_from(["header", "body"]),
    ticket_id=st.text(ALPHABET, max_size=22),
    intervals=st.none() | intervals,
    unplaced=st.booleans(),
    sent_until=st.integers(0, UNBOUNDED),
    cut=st.none() | st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)),
    part=st.integers(1, 9999),
    parts=st.integers(1, 9999),
    principal=st.text(ALPHABET, max_size=43),
    expires=st.integers(NOW + 1, NOW + 600),
)


@given(capabilities)
def test_round_trip(capability: Capability) -> None:
    token = codec().seal(capability)
    assert codec().open(token) == capability
    assert set(token) <= set(ALPHABET + ".")


def test_the_lifetime_bounds_every_capability() -> None:
    token = codec().seal(replace(PLAIN, expires=NOW + 99_999))
    assert codec().open(token).expires == NOW + 600
    assert codec().open(codec().seal(PLAIN)).expires == NOW + 600


def test_claims_are_canonical_and_short() -> None:
    token = codec().seal(replace(PLAIN, intervals=None))
    assert set(claims_of(token)) == {
        *("aud", "cls", "ep", "exp", "fmt", "fp", "iat", "n", "obj", "tid")
    }
    assert len(codec().seal(PLAIN)) < 400


@pytest.mark.security("TU1")
def test_every_changed_character_fails() -> None:
    token = codec().seal(PLAIN)
    for position in range(len(token)):
        for other in {*ALPHABET, ".", "=", "\n", " ", "\u0661", "\0"} - {token[position]}:
            with pytest.raises(InvalidCapability):
                codec().open(token[:position] + other + token[position + 1 :])
        with pytest.raises(InvalidCapability):
            codec().open(token[:position] + token[position + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "",
        lambda t: t + "=",
        lambda t: t + "\n",
        lambda t: "\n" + t,
        lambda t: t + ".",
        lambda t: "v2" + t[2:],
        lambda t: t.replace(".k1.", ".k2."),
        lambda t: t.replace(".k1.", "."),
        lambda t: t.replace(".k1.", ".."),
        lambda t: ".".join(t.split(".")[:3]),
        lambda t: ".".join(t.split(".")[:2]),
        lambda t: ".".join([*t.split(".")[:2], "A" * 5000, t.split(".")[3]]),
        lambda t: t.swapcase(),
        lambda t: "\u0430" * 100,
        lambda t: "A" * 1_000_000,
    ],
)
def test_other_texts_fail(change: Callable[[str], str]) -> None:
    with pytest.raises(InvalidCapability, match="the data URL is not valid"):
        codec().open(change(codec().seal(PLAIN)))


def test_key_rotation() -> None:
    old = codec().seal(PLAIN)
    both = codec(keys={"k1": KEY, "k2": bytes(32)}, signing_kid="k2")
    new = both.seal(PLAIN)
    assert new.startswith("v1.k2.")
    assert both.open(old) == both.open(new)
    with pytest.raises(InvalidCapability):
        codec().open(new)
    with pytest.raises(InvalidCapability):
        codec(keys={"k1": KEY, "k2": KEY}).open(old.replace(".k1.", ".k2."))


@pytest.mark.security("TU1")
def test_time() -> None:
    token = codec().seal(PLAIN)
    assert codec(clock=lambda: NOW + 599.9).open(token).expires == NOW + 600
    with pytest.raises(ExpiredCapability, match="expired; request a new ticket"):
        codec(clock=lambda: NOW + 600).open(token)
    assert codec(clock=lambda: NOW - 30).open(token).expires == NOW + 600
    with pytest.raises(InvalidCapability, match="not valid"):
        codec(clock=lambda: NOW - 31).open(token)


@pytest.mark.security("TU1")
def test_audience() -> None:
    with pytest.raises(InvalidCapability):
        codec(audience="https://other.example.org").open(codec().seal(PLAIN))


def test_the_forged_helper_seals() -> None:
    claims = claims_of(codec().seal(PLAIN))
    assert codec().open(sealed(claims)) == codec().open(codec().seal(PLAIN))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", "1790000600"),
        ("exp", True),
        ("exp", 1790000600.5),
        ("exp", None),
        ("iat", -1),
        ("ep", "refget"),
        ("ep", ["reads"]),
        ("ep", {}),
        ("cls", "all"),
        ("obj", 7),
        ("fp", None),
        ("n", 1),
        ("n", [1]),
        ("n", [1, 2, 3]),
        ("n", [1, True]),
        ("cut", [1]),
        ("cut", "ab"),
        ("su", "1"),
        ("rg", "!"),
        ("rg", "gY"),
        ("rg", "A"),
        ("rg", "\u00e9"),
        ("rg", 5),
        ("tid", None),
        ("sub", 1),
    ],
)
def test_claims_of_the_wrong_kind_are_refused(name: str, value: object) -> None:
    claims = claims_of(codec().seal(PLAIN))
    with pytest.raises(InvalidCapability):
        codec().open(sealed(claims | {name: value}))


@pytest.mark.parametrize("name", ["aud", "cls", "ep", "exp", "fmt", "fp", "iat", "n", "obj", "tid"])
def test_missing_claims_are_refused(name: str) -> None:
    claims = claims_of(codec().seal(PLAIN))
    del claims[name]
    with pytest.raises(InvalidCapability):
        codec().open(sealed(claims))


@pytest.mark.parametrize("raw", [b"[]", b"{", b"\xff", b'{"a":1,"a":2}', b"[" * 2000, b"1"])
def test_bodies_that_are_not_claims_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidCapability):
        codec().open(sealed(None, raw=raw))


def test_too_long() -> None:
    with pytest.raises(CapabilityTooLong):
        codec().seal(replace(PLAIN, object_id="x" * MAX_BODY))
    many = tuple(Interval(0, 10 * n, 10 * n + 5) for n in range(9))
    with pytest.raises(CapabilityTooLong):
        codec().split(replace(PLAIN, object_id="x" * MAX_BODY, intervals=many))


def panel(count: int, references: int = 1) -> tuple[Interval, ...]:
    each = count // references
    return tuple(
        Interval(reference, start, start + 150)
        for reference in range(references)
        for start in range(1_000_000, 1_000_000 + each * 25_000, 25_000)
    )


def test_several_hundred_regions_fit_one_url() -> None:
    assert codec().fits(replace(PLAIN, intervals=panel(350)))
    assert len(codec().split(replace(PLAIN, intervals=panel(350)))) == 1


@settings(max_examples=50)
@given(
    st.integers(1, 6000), st.integers(1, 30), st.booleans(), st.integers(0, 1000), st.integers(0, 9)
)
def test_split(count: int, references: int, unplaced: bool, sent: int, longer: int) -> None:
    whole = replace(
        PLAIN,
        intervals=panel(max(count, references), references),
        unplaced=unplaced,
        sent_until=sent,
        object_id="x" * 100 * longer,
    )
    assert whole.intervals is not None
    parts = codec().split(whole)
    for number, part in enumerate(parts, 1):
        token = codec().seal(replace(part, part=number, parts=len(parts)))
        assert len(token) <= MAX_BODY + 50
    assert sum((part.intervals or () for part in parts), ()) == whole.intervals
    assert [part.unplaced for part in parts] == [False] * (len(parts) - 1) + [unplaced]
    assert parts[0].sent_until == sent
    for before, part in pairwise(parts):
        assert before.intervals
        assert part.intervals
        last, first = before.intervals[-1], part.intervals[0]
        assert part.sent_until == (last.end if last.reference == first.reference else 0)
    if len(parts) > 1:  # greedy: none could have taken half as many again
        assert len(parts) <= len(whole.intervals) // 100 * (1 + longer) + 2


def test_ten_thousand_regions_are_a_few_dozen_urls() -> None:
    assert len(codec().split(replace(PLAIN, intervals=panel(10_000, 24)))) < 40


@pytest.mark.parametrize(
    "keys", [{"k1": b"short"}, {"a.b": KEY, "k1": KEY}, {"": KEY, "k1": KEY}, {"k" * 17: KEY}]
)
def test_bad_keys(keys: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"a (key|secret)"):
        codec(keys=keys)


def test_the_signing_key_must_be_there() -> None:
    with pytest.raises(KeyError):
        codec(signing_kid="k9")


def test_one_tree() -> None:
    assert issubclass(InvalidCapability, CapabilityError)
    assert issubclass(CapabilityTooLong, CapabilityError)


def test_speed() -> None:
    one = codec()
    token = one.seal(PLAIN)
    rounds = 500
    seconds = min(
        timeit.repeat(lambda: (one.seal(PLAIN), one.open(token)), number=rounds, repeat=7)
    )
    # About 25 us; the bound is wide because a test machine is a busy one.
    assert seconds / rounds < 250e-6
