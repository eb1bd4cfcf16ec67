"""To whom tickets for controlled data were given: any replica may have to judge the right anew."""

import json
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, String, Table, Text, delete, insert, select

from auth.decision import AccessRequest
from auth.principal import Principal
from auth.principal_json import from_json, to_json
from formats.regions import Region
from server.database import METADATA, Database

TICKETS = Table(
    "tickets",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("principal", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)

_MOST_KEPT = 1 << 18  # regions and visas, each ticket counted as 64: some 50 MB


@dataclass(frozen=True, slots=True)
class Holder:
    """The caller of a ticket, and the request as it was granted."""

    principal: Principal
    request: AccessRequest


class TicketStore:
    """The table, with what was looked up of late."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[str, Holder] = OrderedDict()
        self._size = 0

    def keep(self, connection: Connection, ticket_id: str, holder: Holder, expires: int) -> None:
        """Write one down, in the transaction of its audit record."""
        connection.execute(
            insert(TICKETS).values(
                id=ticket_id,
                principal=to_json(holder.principal),
                request=_request_to_json(holder.request),
                expires=expires,
            )
        )

    def remember(self, ticket_id: str, holder: Holder) -> None:
        """Spare the look-up of one that was written down."""
        if ticket_id in self._kept:
            return
        self._kept[ticket_id] = holder
        self._size += _size(holder)
        while self._size > _MOST_KEPT:
            self._size -= _size(self._kept.popitem(last=False)[1])

    async def find(self, ticket_id: str) -> Holder | None:
        """The holder of a ticket; None when there is none any more. Raises
        `DatabaseUnavailable`."""
        kept = self._kept.get(ticket_id)
        if kept is not None:
            return kept
        query = select(TICKETS.c.principal, TICKETS.c.request).where(TICKETS.c.id == ticket_id)
        row = await self._database.execute(lambda each: each.execute(query).one_or_none())
        if row is None:
            return None
        holder = Holder(from_json(row.principal), _request_from_json(row.request))
        self.remember(ticket_id, holder)
        return holder

    async def forget_expired(self, now: int) -> None:
        """Remove what no capability can name any more."""
        old = delete(TICKETS).where(TICKETS.c.expires < now - 3600)
        await self._database.execute(lambda each: each.execute(old))


def _size(holder: Holder) -> int:
    return 64 + len(holder.request.regions or ()) + len(holder.principal.visas)


def _request_to_json(request: AccessRequest) -> str:
    regions = request.regions
    return json.dumps(
        {
            "endpoint": request.endpoint,
            "object_id": request.object_id,
            "format": request.format,
            "data_class": request.data_class,
            "regions": None
            if regions is None
            else [[each.reference_name, each.start, each.end] for each in regions],
            "datasets": sorted(request.datasets),
            "peer": request.peer,
        }
    )


def _request_from_json(text: str) -> AccessRequest:
    members = json.loads(text)
    regions = members.pop("regions")
    datasets = frozenset(members.pop("datasets"))
    located = None if regions is None else tuple(Region(*each) for each in regions)
    return AccessRequest(**members, regions=located, datasets=datasets)
