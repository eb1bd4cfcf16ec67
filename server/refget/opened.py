"""The parts that serve reference sequences, opened together and closed in turn."""

from dataclasses import dataclass

from server.database import Database
from server.refget.file_locator import FileLocator
from server.refget.files import SequenceFiles
from server.refget.location_ingest import LocationIngest
from server.refget.upstream import UpstreamSequences
from server.refget.views import Views


@dataclass(frozen=True, slots=True)
class Refget:
    """Everything that refget needs and that lives as long as the application."""

    database: Database
    locator: FileLocator
    files: SequenceFiles
    views: Views
    ingest: LocationIngest
    upstream: UpstreamSequences

    async def start(self) -> None:
        """Begin to write down what the locations hold."""
        await self.ingest.start()

    async def close(self) -> None:
        """Stop, those who use the others first."""
        await self.ingest.close()
        await self.upstream.close()
        await self.files.close()
        await self.locator.close()
        self.database.close()
