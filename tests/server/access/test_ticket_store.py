"""What is kept of tickets in memory is bounded, however much they name."""

from functools import partial
from pathlib import Path

from auth.decision import AccessRequest
from auth.principal import Principal
from formats.regions import Region
from server.access.ticket_store import Holder, TicketStore
from server.database import Database


def holder(count: int) -> Holder:
    regions = tuple(Region("one", 10 * each, 10 * each + 1) for each in range(count))
    return Holder(Principal("i", "s"), AccessRequest("reads", "x", "BAM", regions=regions))


async def test_large_tickets_are_kept_for_a_shorter_time(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/state.db")
    try:
        store, large = TicketStore(database), holder(10_000)
        for number in range(100):
            await database.execute(
                partial(store.keep, ticket_id=str(number), holder=large, expires=1 << 40),
                writing=True,
            )
            store.remember(str(number), large)
        assert sum(len(each.request.regions or ()) for each in store._kept.values()) < 300_000
        assert await store.find("0") == large  # by its row
        assert await store.find("99") is large
        assert await store.find("none") is None
        for number in range(10_000):
            store.remember(f"small {number}", holder(1))
        assert 2_000 < len(store._kept) < 5_000
    finally:
        database.close()
