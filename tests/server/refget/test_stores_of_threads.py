"""Files in a store that are read in threads first, as CRAM does, before anything else asked."""

import asyncio

from server.refget.file_locator import FileLocator
from storage_backends.base import StorageBackend
from storage_backends.http import HttpBackend
from tests.support.stores import StaticStore


async def test_a_thread_opens_a_store(static_store: StaticStore) -> None:
    static_store.put("threads/x.fa", b">x\nACGT\n")

    def open_remote(url: str) -> tuple[StorageBackend, str]:
        folder, _, name = url.rpartition("/")
        return HttpBackend(folder), name

    locate = FileLocator(open_remote)
    locate.start(asyncio.get_running_loop())

    def read() -> bytes:
        backend, key = locate(f"{static_store.direct_url}/threads/x.fa")
        with backend.source(key) as source:
            return source.read(0, 100)

    assert await asyncio.to_thread(read) == b">x\nACGT\n"
    await locate.close()
