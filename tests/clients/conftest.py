"""What tests of clients share: the demo over http and https, and a proxy that breaks downloads."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from tests.support.cutting_proxy import CuttingProxy, cutting
from tests.support.demo_site import Site, demo_site


class Cut(Protocol):
    """`cutting`, whose proxy runs until the test ends."""

    def __call__(
        self, url: str, after: int, *, times: int = 1, reset: bool = False
    ) -> CuttingProxy: ...


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The servers that clients are run against; they change nothing there."""
    with demo_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def cut() -> Iterator[Cut]:
    """Start a proxy: `cut(site.url, after=200_000)` breaks the first download off after so many
    bytes; its `url` goes to the client, its `requests` say what the client did."""
    with ExitStack() as stack:

        def start(url: str, after: int, *, times: int = 1, reset: bool = False) -> CuttingProxy:
            return stack.enter_context(cutting(url, after, times=times, reset=reset))

        yield start
