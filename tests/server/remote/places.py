"""A folder in a store, whichever kind that is, and what the store was asked for it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.config import Settings, load_settings
from tests.server.live import SECRET
from tests.support.store_log import RequestLog
from tests.support.stores import RunningStore, StaticStore


@dataclass(frozen=True, slots=True)
class Place:
    """Where a test puts its objects; `where` is what nobody outside may learn."""

    store: str
    log: RequestLog
    put: Callable[[str, bytes | Path], None]
    delete: Callable[[str], None]
    location: dict[str, Any]
    where: tuple[str, ...]

    def settings(self, *, revalidate: float = 300.0, **cache: Any) -> Settings:
        """Settings of a server of this place, which takes what it knows to be true so long."""
        kept = {"revalidate_seconds": revalidate, **cache}
        flags = {"locations": [self.location], "server": {"secret": SECRET}, "cache": kept}
        return load_settings(None, flags)


def place_in_bucket(store: RunningStore, folder: str = "inner-folder") -> Place:
    """A folder in a bucket of its own."""
    bucket = store.new_bucket()
    return Place(
        store.name,
        store.log,
        lambda key, data: store.put(bucket, f"{folder}/{key}", data),
        lambda key: store.delete(bucket, f"{folder}/{key}"),
        store.location(bucket, folder),
        (bucket, folder, store.endpoint_url.removeprefix("http://"), "amazonaws"),
    )


def place_over_http(store: StaticStore, folder: str) -> Place:
    """A folder behind HTTP."""
    return Place(
        store.name,
        store.log,
        lambda key, data: store.put(f"{folder}/{key}", data),
        lambda key: store.delete(f"{folder}/{key}"),
        store.location(folder),
        (folder, store.endpoint_url.removeprefix("http://")),
    )
