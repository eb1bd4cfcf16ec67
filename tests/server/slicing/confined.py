"""Answers of a library for samples, as bytes: a header by a view and a body by a selection."""

from dataclasses import dataclass
from pathlib import Path

from server.catalog import Catalog, DataObject, ServedLocation
from server.model import Endpoint, Format
from server.slicing.cram_slicer import CramServices
from server.slicing.fasta_files import FastaOnDisk
from server.slicing.header_view import HeaderView
from server.slicing.library import Library, Plan
from server.slicing.selection import Selection
from server.slicing.workers import WorkerPool
from storage_backends.local import LocalBackend
from tests.support.sample_recipes import Sample


@dataclass(frozen=True)
class Shelf:
    """A library with the folder of the one sample that it serves."""

    library: Library
    item: DataObject
    path: Path

    async def header(self, view: HeaderView | None, *, closed: bool = False) -> bytes:
        """The header block of a view."""
        return self._bytes(await self.library.plan_header(self.item, closed=closed, view=view))

    async def answer(
        self, view: HeaderView | None, selection: Selection, *, strict: bool = True
    ) -> bytes:
        """A whole file: header by a view, body by a selection, EOF marker."""
        plan = await self.library.plan_body(self.item, selection, closing=True, strict=strict)
        return await self.header(view) + self._bytes(plan)

    def _bytes(self, plan: Plan) -> bytes:
        data = self.path.read_bytes()
        pieces = [
            each if isinstance(each, bytes) else data[each.start : each.end]
            for each in plan.segments
        ]
        return b"".join(pieces)


async def shelve(sample: Sample, *, references: bool = True) -> Shelf:
    """A library for a sample; `references`: with the FASTA file that decodes it."""
    fasta = [FastaOnDisk(sample.reference)] if sample.reference and references else []
    services = CramServices(WorkerPool(1), lambda: fasta, 1 << 20)
    library = Library(services, index_bytes=1 << 26, plan_bytes=1 << 26, threads=2)
    directory = sample.path.parent
    catalog = Catalog([ServedLocation("", "", LocalBackend(directory))])
    endpoint = Endpoint(sample.endpoint)
    object_id = sample.object_id.rpartition("/")[2]
    item = await catalog.resolve(endpoint, object_id, Format(sample.format))
    return Shelf(library, item, sample.path)
