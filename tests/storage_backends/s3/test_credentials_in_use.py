import asyncio
import threading

import pytest

from storage_backends.base import StorageUnavailable
from storage_backends.s3_credentials import CredentialsInUse
from storage_backends.sigv4 import Credentials


class Provider:
    """Gives other credentials whenever it is told to, as slowly as it is told to."""

    def __init__(self) -> None:
        self.number = 1
        self.changing = True
        self.fails = False
        self.asked: list[bool] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, renew: bool) -> tuple[Credentials | None, bool]:
        self.asked.append(renew)
        self.go.wait()
        if self.fails:
            raise StorageUnavailable("no credentials")
        if not self.number:
            return None, False
        return Credentials(f"ASIA{self.number}", "secret"), self.changing


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credentials(provider: Provider, clock: Clock) -> CredentialsInUse:
    return CredentialsInUse(provider, clock)


async def name(credentials: CredentialsInUse) -> str:
    found = await credentials.get()
    return found.access_key if found is not None else ""


async def test_many_wait_for_one(credentials: CredentialsInUse, provider: Provider) -> None:
    provider.go.clear()
    waiting = [asyncio.ensure_future(name(credentials)) for _ in range(10)]
    await asyncio.sleep(0.05)
    waiting[0].cancel()
    provider.go.set()
    assert await asyncio.gather(*waiting[1:]) == ["ASIA1"] * 9
    assert provider.asked == [False]


async def test_what_never_changes_is_asked_for_once(
    credentials: CredentialsInUse, provider: Provider, clock: Clock
) -> None:
    provider.changing = False
    first = await credentials.get()
    clock.now += 1e9
    assert await credentials.get() is first
    assert provider.asked == [False]


async def test_nobody_waits_for_a_refresh_in_time(
    credentials: CredentialsInUse, provider: Provider, clock: Clock
) -> None:
    assert await name(credentials) == "ASIA1"
    clock.now += 59
    assert await name(credentials) == "ASIA1"
    assert provider.asked == [False]
    provider.number = 2
    provider.go.clear()
    clock.now += 2
    assert await name(credentials) == "ASIA1"  # while a thread is still waiting
    assert await name(credentials) == "ASIA1"
    provider.go.set()
    await asyncio.sleep(0.1)
    assert await name(credentials) == "ASIA2"
    assert provider.asked == [False, False]


async def test_what_may_have_expired_is_waited_for(
    credentials: CredentialsInUse, provider: Provider, clock: Clock
) -> None:
    assert await name(credentials) == "ASIA1"
    provider.number = 2
    clock.now += 10_000
    assert await name(credentials) == "ASIA2"


async def test_failures_are_told_when_there_is_nothing_else(
    credentials: CredentialsInUse, provider: Provider, clock: Clock
) -> None:
    provider.fails = True
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await credentials.get()
    provider.fails = False
    assert await name(credentials) == "ASIA1"
    provider.fails = True
    clock.now += 61
    assert await name(credentials) == "ASIA1"  # good for some minutes yet
    clock.now += 1_000
    with pytest.raises(StorageUnavailable):
        await credentials.get()


async def test_renewals_are_few(
    credentials: CredentialsInUse, provider: Provider, clock: Clock
) -> None:
    assert await name(credentials) == "ASIA1"
    provider.number = 2
    renewed = await asyncio.gather(*(credentials.renew() for _ in range(10)))
    assert {each.access_key for each in renewed if each is not None} == {"ASIA2"}
    clock.now += 4
    await credentials.renew()
    assert provider.asked == [False, True]
    clock.now += 2
    await credentials.renew()
    assert provider.asked == [False, True, True]


async def test_none_are_searched_for_once_a_minute(
    credentials: CredentialsInUse, provider: Provider, clock: Clock
) -> None:
    provider.number = 0
    assert await credentials.get() is None
    clock.now += 50
    assert await credentials.renew() is None
    assert provider.asked == [False]
    clock.now += 20
    provider.number = 1
    assert await credentials.renew() is not None
    assert await name(credentials) == "ASIA1"
    assert provider.asked == [False, True]


async def test_closing(credentials: CredentialsInUse, provider: Provider) -> None:
    credentials.close()
    provider.go.clear()
    waiting = asyncio.ensure_future(credentials.get())
    await asyncio.sleep(0.05)
    credentials.close()
    with pytest.raises(StorageUnavailable):
        await waiting
    provider.go.set()
