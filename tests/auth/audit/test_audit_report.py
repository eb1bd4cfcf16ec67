"""What is made of records, whatever they hold."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from auth.audit.chain import BEGINNING, GENESIS, Entry, canonical, chained
from auth.audit.report import AccessReport, Wanted
from auth.audit.verdict import judge, read_payload

_EVENTS = ["ticket.intent", "ticket.denied", "data.intent", "data.done", "data.aborted"]
_ANYTHING = st.recursive(
    st.sampled_from(["t1", "t2", "chr1", ""]) | st.booleans() | st.integers(-3, 3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["pii", "client_id", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)
_NAMES = ["req", "tid", "n", "subject", "peer", "authorised", "grant_ids", "bytes", "count", "ts"]
_RECORDS = st.builds(
    lambda event, members: {**members, "event": event},
    st.sampled_from([*_EVENTS, "audit.dropped", "data.", "x"]),
    st.dictionaries(st.sampled_from(_NAMES), _ANYTHING),
)


@given(st.lists(_RECORDS, max_size=12))
def test_odd_records_break_nothing(records: list[dict[str, Any]]) -> None:
    entries: list[Entry] = []
    previous = GENESIS
    report = AccessReport(Wanted())
    for seq, record in enumerate(records, 1):
        payload = canonical(record)
        previous = chained(previous, seq, payload)
        entries.append(Entry(seq, payload, previous))
        report.add(read_payload(payload))
    for access in report.accesses():
        assert isinstance(access.region_text, str)
        assert access.outcome
    verdict = judge("c", entries, [], None, must_sign=False)
    assert verdict.is_good
    assert verdict.records == len(records)


def test_payloads_that_are_no_objects() -> None:
    assert [read_payload(each) for each in (b"", b"[]", b"1", b"[" * 100_000)] == [{}] * 4


def test_intents_without_an_end() -> None:
    def record(event: str, req: str, part: int = 0) -> bytes:
        return canonical({"event": event, "req": req, "tid": "t", "n": [part, 2]})

    payloads = [
        record("data.intent", "a"),
        record("data.intent", "a", 1),
        record("data.intent", "b"),
        record("data.done", "a", 1),
        record("data.aborted", "b"),
        record("data.done", "c"),
        canonical({"event": "audit.dropped", "count": 7}),
    ]
    entries: list[Entry] = []
    previous = BEGINNING.hash
    for seq, payload in enumerate(payloads, 1):
        previous = chained(previous, seq, payload)
        entries.append(Entry(seq, payload, previous))
    verdict = judge("c", entries, [], None, must_sign=False)
    assert [(each["req"], each["n"]) for each in verdict.unfinished] == [("a", [0, 2])]
    assert (verdict.dropped, verdict.anchored, verdict.checkpoints) == (7, 0, 0)
