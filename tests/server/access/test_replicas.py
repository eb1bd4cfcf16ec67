"""Several real servers on one database: they agree, and what is withdrawn stops on all of them."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.server.access.guarded import grant, person
from tests.server.access.replicas import (
    ADMINISTRATOR,
    Download,
    Refused,
    Shared,
    abandon,
    at,
    fetched,
    heavy_folder,
    shared,
)
from tests.support.postgres import PostgresServer
from tests.support.processes import ServerProcess, eventually
from tests.support.stores import StaticStore

SMALL = "/reads/study/small"
GONE = "/reads/study/gone"
HEAVY = "/reads/study/heavy"
SECONDS = 1.0  # in which a withdrawal is in effect everywhere
SLACK = 0.6  # for a machine that is busy, and for the time that asking takes

LIMITED = grant(
    "G-DAILY", person("ISSUER", "frank"), more="[grant.limits]\nbases_per_day = 10_000"
) + grant("G-STREAMS", person("ISSUER", "grace"), more="[grant.limits]\nconcurrent_streams = 3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return heavy_folder(tmp_path_factory.mktemp("replicas"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def agreeing(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shared, list[ServerProcess]]]:
    """A server of one process and one of two, for tests that leave them as they were."""
    home = tmp_path_factory.mktemp("agreeing")
    with ExitStack() as stack:
        url = f"sqlite:///{home}/htsgate.db"
        if request.param == "postgresql":
            postgres: PostgresServer = request.getfixturevalue("postgres")
            url = stack.enter_context(postgres.database())
        site = stack.enter_context(shared(home, url, folder, policy=LIMITED))
        with site.together(1, 2) as servers:
            yield site, servers
            for each in servers:
                assert each.stop() == 0
                assert "Traceback" not in each.log


@pytest.fixture
def pair(agreeing: tuple[Shared, list[ServerProcess]]) -> list[ServerProcess]:
    return agreeing[1]


@pytest.fixture
def site(agreeing: tuple[Shared, list[ServerProcess]]) -> Shared:
    return agreeing[0]


def often(ask: Callable[[], int]) -> set[int]:
    """What several connections get: all workers are asked, as good as certainly."""
    return {ask() for _ in range(6)}


@pytest.mark.security("TU4")
def test_what_one_gives_the_others_honour(site: Shared, pair: list[ServerProcess]) -> None:
    one, two = pair
    bodies = {
        b"".join(fetched(at(server, url)).body for url in site.ask(giver, SMALL, "alice").urls)
        for giver in pair
        for server in (one, two, two, two)
    }
    assert len(bodies) == 1
    assert len(bodies.pop()) > 10_000


@pytest.mark.security("TU4")
def test_what_is_withdrawn_at_one(site: Shared, pair: list[ServerProcess]) -> None:
    one, two = pair
    given = [site.ask(each, GONE, "alice").urls[1] for each in pair]

    def states(server: ServerProcess) -> set[int]:
        found = often(lambda: site.ask(server, GONE, "alice").status)
        for url in given:
            found |= often(partial(lambda each: fetched(at(server, each)).status, url))
        return found

    assert states(one) == states(two) == {200}
    statement = {"action": "withdraw", "object": "study/gone"}
    assert site.ask(one, "/admin/consent", "alice", body=statement).status == 403
    assert site.ask(one, "/admin/consent", ADMINISTRATOR, body=statement).status == 200
    recorded = time.monotonic()
    assert states(one) == {404}  # at once
    time.sleep(max(0.0, recorded + SECONDS - time.monotonic()))
    assert states(two) == {404}
    assert site.ask(two, HEAVY, "alice").status == 200
    restored = site.command("consent", "restore", "--object", "study/gone")
    assert restored.returncode == 0
    time.sleep(SECONDS)
    assert states(one) == states(two) == {200}
    site.withdraw("study/gone")
    time.sleep(SECONDS)
    assert states(one) == states(two) == {404}
    statements = [each["action"] for each in site.events("consent.updated")]
    assert statements == ["withdraw", "restore", "withdraw"]


@pytest.mark.security("TU4")
def test_files_that_all_obey(site: Shared, pair: list[ServerProcess]) -> None:
    url = site.ask(pair[0], SMALL, "alice").urls[1]

    def everywhere(ask: Callable[[ServerProcess], int]) -> set[int]:
        return set().union(*(often(partial(ask, each)) for each in pair))

    def tickets(sub: str) -> set[int]:
        return everywhere(lambda server: site.ask(server, SMALL, sub).status)

    def blocks() -> set[int]:
        def ask(server: ServerProcess) -> int:
            try:
                return fetched(at(server, url)).status
            except OSError:  # it was on its way when the right ended
                return 0

        return everywhere(ask)

    def soon(*expected: set[int]) -> None:
        """Files are looked at every second at most; asking takes a while, too."""
        eventually(lambda: (tickets("alice"), tickets("zoe"), blocks()) == expected, 10)

    soon({200}, {404}, {200})
    text = site.policy.read_text()
    site.policy.write_text(text.replace('sub = "alice"', 'sub = "zoe"'))
    soon({404}, {200}, {404})
    site.policy.write_text(text)
    soon({200}, {404}, {200})
    site.revoked.write_text(f"{site.broker.issuer}|alice\n")
    soon({401}, {404}, {404})
    site.revoked.write_text("")
    soon({200}, {404}, {200})


def test_limits_that_all_count(site: Shared, pair: list[ServerProcess]) -> None:
    """Whoever asks all of them at once gets no more."""

    def ask(number: int) -> int:
        start = number * 1000
        query = f"?referenceName=one&start={start}&end={start + 1000}"
        return site.ask(pair[number % 2], SMALL + query, "frank").status

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(24)))
    assert sorted(answers) == [200] * 10 + [429] * 14


@pytest.mark.security("TU8")
def test_streams_that_all_count(site: Shared, pair: list[ServerProcess]) -> None:
    url = site.ask(pair[0], HEAVY, "grace").urls[1]

    def ended() -> list[dict[str, Any]]:
        return site.events("data.done", "data.aborted")

    def begin(number: int) -> Download | int:
        try:
            return Download(at(pair[number % 2], url), pace=0)
        except Refused as refusal:
            return refusal.status

    def begun(count: int) -> list[Download]:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(begin, range(count)))
        refused = [each for each in answers if isinstance(each, int)]
        assert refused == [429] * len(refused)
        return [each for each in answers if isinstance(each, Download)]

    for _ in range(2):
        running = begun(6)
        assert len(running) == 3
        for each in running:
            each.close()
        for _ in range(10):  # who leaves before the answer holds nothing either
            abandon(at(pair[0], url))
        time.sleep(0.3)
        eventually(lambda: len(site.events("data.intent")) == len(ended()), 10)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and its key in one file, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate")
    path = tmp_path / "tls.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-keyout", str(path), "-out", str(tmp_path / "chain.pem")]
    subprocess.run(make, check=True, capture_output=True)
    path.write_text(path.read_text() + (tmp_path / "chain.pem").read_text())
    return path


@pytest.mark.security("TU4")
@pytest.mark.parametrize(
    ("way", "database_url"),
    [("local", "sqlite"), ("tls", "postgresql"), ("store", "sqlite")],
    indirect=["database_url"],
)
def test_withdrawn_in_mid_download(
    way: str,
    folder: Path,
    tmp_path: Path,
    database_url: str,
    request: pytest.FixtureRequest,
) -> None:
    """Also for a client that takes nothing, and has its transfer wait."""
    with shared(tmp_path, database_url, folder) as site:
        if way == "tls":
            path = str(request.getfixturevalue("certificate"))
            site.configure(tls_certificate=path, tls_key=path)
        elif way == "store":
            store: StaticStore = request.getfixturevalue("static_store")
            store.put_tree(folder)
            site.locations[0] |= store.location()
            site.configure()
        with site.together(1, 1) as (one, two):
            url = at(one, site.ask(two, HEAVY, "alice").urls[1])
            with closing(Download(url)) as slow, closing(Download(url, pace=0)) as still:
                time.sleep(0.5)
                assert not slow.ended
                statement = {"action": "withdraw", "object": "study/heavy"}
                assert site.ask(two, "/admin/consent", ADMINISTRATOR, body=statement).status == 200
                withdrawn = time.monotonic()
                slow.wait()
                assert slow.ended - withdrawn < SECONDS + SLACK
                eventually(lambda: len(site.events("data.aborted")) == 2, SECONDS + SLACK)
                still.go_on()
                still.wait()
                assert not slow.is_whole
                assert not still.is_whole
            intents, ends = site.events("data.intent"), site.events("data.aborted")
            assert {each["outcome"] for each in ends} == {"consent.withdrawn"}
            told = {each["req"]: each["bytes"] for each in ends}
            for intent, download in zip(intents, (slow, still), strict=True):
                # What the systems on the way held besides is a few megabytes.
                assert download.received <= told[intent["req"]] < download.received + (12 << 20)
            for _ in range(20):  # whoever comes after gets a descriptor that was in use
                assert fetched(f"{one.url}/health/live").status == 200
            assert one.stop() == two.stop() == 0
            assert "Traceback" not in one.log + two.log


@pytest.mark.parametrize(
    ("workers", "database_url"), [(1, "postgresql"), (2, "sqlite")], indirect=["database_url"]
)
def test_told_to_end_in_mid_download(
    workers: int, folder: Path, tmp_path: Path, database_url: str
) -> None:
    """It may be finished; then the trail is closed."""
    with shared(tmp_path, database_url, folder) as site:
        with site.together(workers) as (server,):
            url = site.ask(server, HEAVY, "alice").urls[1]
            with closing(Download(url)) as slow:
                time.sleep(0.3)
                server.process.terminate()
                time.sleep(0.5)
                assert not slow.ended
                slow.go_on()
                slow.wait()
                assert slow.is_whole
            assert server.process.wait(timeout=20) == 0
        (done,) = site.events("data.done")
        assert done["bytes"] == slow.length
        ends = [each["event"] for each in site.events("data.done", "audit.stopped")]
        assert ends.count("audit.stopped") == workers
        assert ends[-1] == "audit.stopped"
        verified = site.command("audit", "verify", "--checkpoints", str(site.checkpoints))
        assert verified.returncode == 0, verified.stdout
        assert "without a recorded end" not in verified.stdout
