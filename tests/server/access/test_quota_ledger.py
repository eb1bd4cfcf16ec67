"""Quotas over transactions, threads and processes, on both databases."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, event, func, select

from auth.decision import Limits
from auth.quota import QuotaExceeded
from formats.regions import UNBOUNDED
from server.access import quota_counters, quota_coverage
from server.access.quota_ledger import Charged, QuotaLedger
from server.access.quota_tables import COUNTERS, COVERAGE, STREAMS
from server.access.stream_leases import LEASE_SECONDS
from server.database import Database

KEY = bytes(range(32))
NOON = 20_000 * 86_400 + 43_200.0
ALICE, TWIN, BOB = ("https://a/", "alice"), ("https://b/", "alice"), ("https://a/", "bob")
Region = tuple[str, int, int]


@dataclass(slots=True)
class Account:
    """A ledger at a time, and one who asks it."""

    database: Database
    now: float = NOON
    limits: Limits = field(default_factory=Limits)
    ledger: QuotaLedger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = QuotaLedger(self.database, KEY, clock=lambda: self.now)

    def charge(
        self,
        *regions: Region,
        who: tuple[tuple[str, str], ...] = (ALICE,),
        limits: Limits | None = None,
        dataset: str = "D",
        object_id: str = "reads/a",
        **more: Any,
    ) -> Charged:
        work = partial(
            self.ledger.charge,
            identities=who,
            dataset=dataset,
            object_id=object_id,
            intervals=regions,
            limits=self.limits if limits is None else limits,
            now=self.now,
            **more,
        )
        return self.database.run(work, writing=True)

    def refusal(self, *regions: Region, **more: Any) -> tuple[str, int]:
        with pytest.raises(QuotaExceeded) as error:
            self.charge(*regions, **more)
        return error.value.rule, error.value.retry_after

    def begin(self, length: int = 0, *, who: tuple[tuple[str, str], ...] = (ALICE,)) -> str:
        work = partial(
            self.ledger.begin_stream,
            identities=who,
            dataset="D",
            limits=self.limits,
            now=self.now,
            length=length,
        )
        lease = self.database.run(work, writing=True)
        self.ledger.hold(lease)
        return lease

    def rows(self, table: Table) -> Sequence[Any]:
        return self.database.run(lambda connection: connection.execute(select(table)).all())

    def count(self, table: Table) -> int:
        return len(self.rows(table))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as found:
        yield found


@pytest.fixture
def account(database: Database) -> Account:
    return Account(database)


def test_no_limits_no_trace(account: Account) -> None:
    assert account.charge(("chr1", 0, 100), ("chr1", 50, 200), ("*", 0, UNBOUNDED)) == Charged(200)
    assert not account.count(COVERAGE)
    assert not account.count(COUNTERS)


@pytest.mark.parametrize(
    ("limits", "regions", "rule"),
    [
        (Limits(regions_per_request=2), [("1", 0, 1), ("1", 5, 6), ("2", 0, 1)], "regions"),
        (Limits(bases_per_request=10), [("1", 0, 6), ("2", 0, 5)], "bases"),
        (Limits(bases_per_request=10**9), [("1", 0, UNBOUNDED)], "bases"),
    ],
)
def test_one_request(account: Account, limits: Limits, regions: list[Region], rule: str) -> None:
    assert account.refusal(*regions, limits=limits) == (f"quota.{rule}_per_request", 0)
    account.charge(*regions[:1], limits=Limits(regions_per_request=1))
    account.charge(("1", 0, 10), ("1", 0, 10), limits=Limits(bases_per_request=10))


def test_regions_that_were_asked_for(account: Account) -> None:
    limits = Limits(regions_per_request=2)
    clipped = [("1", at, at + 1) for at in range(0, 20, 2)]
    assert account.charge(*clipped, limits=limits, regions=1).bases == 10
    assert account.refusal(limits=limits, regions=3)[0] == "quota.regions_per_request"


@pytest.mark.security("TR10")
@pytest.mark.parametrize(
    ("limits", "rule", "retry"),
    [
        (Limits(distinct_bases_per_object=50_000), "quota.distinct_bases_per_object", 0),
        (Limits(bases_per_day=50_000), "quota.bases_per_day", 43_200),
    ],
)
def test_walking_a_contig_ends_at_the_budget(
    account: Account, limits: Limits, rule: str, retry: int
) -> None:
    account.limits = limits
    for step in range(50):
        charged = account.charge(("chr1", step * 1000, step * 1000 + 1000))
        assert charged == Charged(1000, 1000)
    for step in range(50, 100):
        assert account.refusal(("chr1", step * 1000, step * 1000 + 1000)) == (rule, retry)
    assert account.refusal(("chr2", 0, 1)) == (rule, retry), "another reference, the same object"
    assert account.charge(("chr1", 7000, 9000)) == Charged(2000, 0)


@pytest.mark.security("TR10")
def test_a_view_that_is_refreshed_costs_nothing(account: Account) -> None:
    account.limits = Limits(distinct_bases_per_object=1000, bases_per_day=1000)
    assert account.charge(("chr1", 0, 1000)).distinct_bases == 1000
    for _ in range(20):
        assert account.charge(("chr1", 0, 1000)) == Charged(1000, 0)
        assert account.charge(("chr1", 10, 20), ("chr1", 15, 900)) == Charged(890, 0)


@pytest.mark.security("L25")
def test_differencing_is_charged_the_union(account: Account) -> None:
    account.limits = Limits(distinct_bases_per_object=150)
    assert account.charge(("1", 0, 100)).distinct_bases == 100
    assert account.charge(("1", 0, 150)).distinct_bases == 50
    assert account.refusal(("1", 149, 151))[0] == "quota.distinct_bases_per_object"


@pytest.mark.security("TR10")
def test_linked_identities_share(account: Account) -> None:
    account.limits = Limits(distinct_bases_per_object=100, bases_per_day=100)
    account.charge(("1", 0, 60), who=(ALICE, TWIN))
    assert account.refusal(("1", 60, 101), who=(TWIN,))[0] == "quota.bases_per_day"
    assert account.charge(("1", 60, 100), who=(TWIN,)).distinct_bases == 40
    assert account.refusal(("1", 100, 101), who=(TWIN, ALICE))[0] == "quota.bases_per_day"
    assert account.charge(("1", 60, 100), who=(ALICE, TWIN)).distinct_bases == 0
    assert account.charge(("1", 500, 600), who=(BOB,)).distinct_bases == 100


@pytest.mark.security("TR10")
def test_linking_and_unlinking_make_no_budget_new(account: Account) -> None:
    account.limits = Limits(distinct_bases_per_object=100)
    account.charge(("1", 0, 60), who=(ALICE,))
    account.charge(("1", 1000, 1030), who=(TWIN,))
    assert account.refusal(("1", 60, 71), who=(ALICE, TWIN))[0] == "quota.distinct_bases_per_object"
    account.charge(("1", 60, 70), who=(ALICE, TWIN))
    assert account.charge(("1", 0, 70), ("1", 1000, 1030), who=(ALICE, TWIN)).distinct_bases == 0
    assert account.refusal(("1", 3000, 3001), who=(ALICE,))
    assert account.refusal(("1", 3000, 3001), who=(TWIN,))


def test_objects_datasets_and_days(account: Account) -> None:
    account.limits = Limits(distinct_bases_per_object=100, bases_per_day=150)
    account.charge(("1", 0, 100))
    assert account.refusal(("1", 0, 60), object_id="reads/b") == ("quota.bases_per_day", 43_200)
    account.charge(("1", 0, 50), object_id="reads/b")
    account.charge(("1", 0, 100), dataset="E")
    account.now += 86_400
    assert account.charge(("1", 0, 100)) == Charged(100, 100), "the day is new, the object is not"
    assert account.refusal(("1", 100, 101))[0] == "quota.distinct_bases_per_object"
    account.now += 20 * 86_400
    account.charge(("1", 0, 1))
    days = select(COVERAGE.c.day).distinct()
    found = account.database.run(lambda connection: connection.execute(days).scalars().all())
    assert sorted(found) == [0, 20_022]


def test_requests_of_a_minute(account: Account) -> None:
    account.limits = Limits(requests_per_minute=3)
    account.now = NOON + 20.5
    for _ in range(3):
        account.charge()
    assert account.refusal() == ("quota.requests_per_minute", 40)
    assert account.charge(who=(BOB,)) == Charged(0)
    account.now = NOON + 60
    account.charge()
    account.now += 7200
    account.charge()
    assert account.count(COUNTERS) == 1


def test_of_nobody(account: Account) -> None:
    account.limits = Limits(bases_per_day=10)
    account.charge(("1", 0, 10), who=())
    assert account.refusal(("1", 10, 11), who=(("", ""),))


def test_no_names_are_kept(account: Account) -> None:
    account.charge(("1", 0, 10), limits=Limits(bases_per_day=10, distinct_bases_per_object=10))
    for table in (COVERAGE, COUNTERS):
        rows = account.rows(table)
        assert rows
        assert "alice" not in repr(rows)
        assert "https" not in repr(rows)


def test_many_references(account: Account) -> None:
    account.limits = Limits(distinct_bases_per_object=10_000, bases_per_day=10_000)
    regions = [(f"contig{number}", 0, 10) for number in range(600)]
    assert account.charge(*regions).distinct_bases == 6000
    assert account.charge(*regions, who=(ALICE, TWIN)) == Charged(6000, 0)
    assert account.charge(*regions, ("another", 0, 5)).distinct_bases == 5


@pytest.mark.security("TR10")
@pytest.mark.parametrize(
    "limits", [Limits(bases_per_day=1000), Limits(distinct_bases_per_object=1000)]
)
def test_parallel_requests_never_exceed_the_limit(database_url: str, limits: Limits) -> None:
    with closing(Database(database_url)) as one, closing(Database(database_url)) as other:
        accounts = [Account(one, limits=limits), Account(other, limits=limits)]

        def ask(number: int) -> bool:
            at = number * 100
            try:
                accounts[number % 2].charge(("1", at, at + 100), who=(ALICE, TWIN))
            except QuotaExceeded:
                return False
            return True

        with ThreadPoolExecutor(50) as threads:
            passed = list(threads.map(ask, range(50)))
        assert sum(passed) == 10
        bases = select(func.sum(COVERAGE.c.bases)).group_by(COVERAGE.c.identity)
        assert one.run(lambda each: each.execute(bases).scalars().all()) == [1000, 1000]


ASKING = """
import sys
from auth.decision import Limits
from auth.quota import QuotaExceeded
from server.access.quota_ledger import QuotaLedger
from server.database import Database

database, passed = Database(sys.argv[1]), 0
ledger = QuotaLedger(database, bytes(range(32)))
for step in range(40):
    at = int(sys.argv[2]) * 100_000 + step * 50
    try:
        database.run(lambda connection: ledger.charge(
            connection, identities=[("i", "s")], dataset="D", object_id="o",
            intervals=[("1", at, at + 50)], limits=Limits(distinct_bases_per_object=1000),
            now=1.79e9,
        ), writing=True)
    except QuotaExceeded:
        continue
    passed += 1
print(passed)
"""


@pytest.mark.security("TR10")
def test_several_processes(database_url: str) -> None:
    Database(database_url).close()
    root = Path(__file__).parents[3]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASKING, database_url, str(number)],
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    found = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sum(found) == 20


@given(
    st.lists(
        st.tuples(
            st.sampled_from([(ALICE,), (TWIN,), (ALICE, TWIN), (BOB,)]),
            st.lists(
                st.tuples(st.sampled_from("12"), st.integers(0, 30), st.integers(0, 30)),
                max_size=4,
            ),
        ),
        max_size=12,
    ),
    st.integers(5, 40),
)
@settings(max_examples=60)
def test_against_sets_of_bases(
    requests: list[tuple[tuple[tuple[str, str], ...], list[Region]]], most: int
) -> None:
    limits = Limits(distinct_bases_per_object=most)
    had: dict[tuple[str, str], set[tuple[str, int]]] = {}
    with closing(Database()) as database:
        account = Account(database, limits=limits)
        for who, regions in requests:
            asked = {(name, at) for name, start, end in regions for at in range(start, end)}
            together = set().union(*(had.get(each, set()) for each in who))
            if asked <= together or len(asked | together) <= most:
                charged = account.charge(*regions, who=who)
                assert charged == Charged(len(asked), len(asked - together))
                for each in who:
                    had[each] = had.get(each, set()) | asked
            else:
                assert account.refusal(*regions, who=who)[0] == "quota.distinct_bases_per_object"


async def test_streams(account: Account) -> None:
    account.limits = Limits(concurrent_streams=2)
    one, other = account.begin(), account.begin(who=(ALICE, TWIN))
    assert one != other
    for who in ((ALICE,), (ALICE, TWIN)):
        with pytest.raises(QuotaExceeded, match="concurrent_streams") as error:
            account.begin(who=who)
        assert error.value.retry_after > 0
    assert account.begin(who=(TWIN,))
    assert account.begin(who=(BOB,))
    await account.ledger.end_stream(one, 5)
    await account.ledger.end_stream(one, 5)
    assert account.begin()
    assert not account.count(COUNTERS), "nothing limits bytes"


async def test_streams_of_a_process_that_died(account: Account) -> None:
    account.limits = Limits(concurrent_streams=1)
    account.begin()
    account.now += LEASE_SECONDS - 1
    with pytest.raises(QuotaExceeded):
        account.begin()
    account.now += 1
    account.begin()
    assert account.count(STREAMS) == 1


async def test_streams_are_renewed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.access.quota_ledger.HEARTBEAT_SECONDS", 0.0)
    account.limits = Limits(concurrent_streams=2)
    other = Account(account.database, limits=account.limits)
    assert await account.ledger.heartbeat() == frozenset()
    mine, theirs = account.begin(), other.begin()
    for _ in range(4):
        account.now += LEASE_SECONDS / 2
        assert await account.ledger.heartbeat() == frozenset()
    assert account.begin(), "the other process is thought dead"
    other.now = account.now
    assert await other.ledger.heartbeat() == {theirs}
    assert await other.ledger.heartbeat() == frozenset()
    account.now += LEASE_SECONDS
    lost = await account.ledger.heartbeat()
    assert mine in lost
    assert len(lost) == 2
    await account.ledger.end_stream(mine, 0)


async def test_bytes_of_a_day(account: Account) -> None:
    account.limits = Limits(bytes_per_day=1000)
    lease = account.begin(600, who=(ALICE, TWIN))
    with pytest.raises(QuotaExceeded, match="bytes_per_day") as error:
        account.begin(401, who=(TWIN,))
    assert error.value.retry_after == 43_200
    await account.ledger.end_stream(lease, 100)
    await account.ledger.end_stream(lease, 100)
    lease = account.begin(900)
    with pytest.raises(QuotaExceeded):
        account.begin(0)
    await account.ledger.end_stream(lease, 900)
    with pytest.raises(QuotaExceeded):
        account.begin(1)
    account.begin(900, who=(TWIN,))
    account.now += 86_400
    account.begin(1000)


async def test_bytes_that_were_not_announced(account: Account) -> None:
    account.limits = Limits(bytes_per_day=1000)
    await account.ledger.end_stream(account.begin(), 999)
    await account.ledger.end_stream(account.begin(), 5)
    with pytest.raises(QuotaExceeded):
        account.begin()


@pytest.mark.security("TU8")
def test_ten_thousand_streams_at_once(database_url: str) -> None:
    limits = Limits(concurrent_streams=4)
    with closing(Database(database_url)) as database:
        account = Account(database, limits=limits)

        def begin_many(connection: Connection) -> int:
            begun = 0
            for _ in range(1000):
                try:
                    account.ledger.begin_stream(
                        connection,
                        identities=[ALICE],
                        dataset="D",
                        limits=limits,
                        now=NOON,
                        length=10,
                    )
                except QuotaExceeded:
                    continue
                begun += 1
            return begun

        with ThreadPoolExecutor(10) as threads:
            found = threads.map(lambda _: database.run(begin_many, writing=True), range(10))
        assert sum(found) == 4


async def test_a_database_that_is_gone_ends_no_answer(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    account.limits = Limits(concurrent_streams=2)
    lease = account.begin()
    STREAMS.drop(account.database._engine)
    await account.ledger.end_stream(lease, 3)
    assert "still counts" in caplog.text


def test_what_is_old_is_found_by_an_index(tmp_path: Path) -> None:
    plans: list[str] = []

    def work(connection: Connection) -> None:
        @event.listens_for(connection, "before_cursor_execute")
        def _(_c: object, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
            if statement.startswith("DELETE"):
                rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans.extend(str(row[-1]) for row in rows)

        quota_counters.forget(connection, 1_790_000_000)
        quota_coverage.forget(connection, 1_790_000_000)

    with closing(Database(f"sqlite:///{tmp_path}/state.db")) as opened:
        opened.run(work, writing=True)
    assert len(plans) >= 2
    assert not [each for each in plans if each.startswith("SCAN")]
