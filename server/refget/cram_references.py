"""The sequences of the catalogue, for cutting CRAM files: what their records are stored against.

Restricted sequences too, and also for files that are open: what is cut is stored against the same
sequence again, so of its residues nothing leaves (but the differences that the file holds), and
that it is here is told only of a digest that the header of an open file names.
"""

from dataclasses import dataclass

from server.database import DatabaseUnavailable
from server.refget.catalogue import AmbiguousId, KnownSequence, SequenceCatalogue
from server.refget.files import SequenceFiles, SequenceUnavailable
from server.refget.identifiers import Md5Id
from storage_backends.base import StorageUnavailable


@dataclass(frozen=True, slots=True)
class CatalogueSequence:
    """One sequence; read in threads."""

    known: KnownSequence
    files: SequenceFiles

    def residues(self, start: int, end: int) -> bytes:
        """Residues `[start, end)` in upper case, cut to the sequence; storage errors."""
        end = min(end, self.known.length)
        try:
            return self.files.residues_now(self.known, min(start, end), end)
        except SequenceUnavailable as error:
            raise StorageUnavailable("the reference sequence has changed", 1) from error


@dataclass(frozen=True, slots=True)
class CatalogueReferences:
    """Finds sequences by their MD5; those that files leave unnamed are not its business."""

    catalogue: SequenceCatalogue
    files: SequenceFiles

    def find(self, name: str, length: int, md5: str | None) -> CatalogueSequence | None:
        """The sequence with this MD5 and length, or None; waits for the database."""
        del name
        if md5 is None:
            return None
        try:
            known = self.catalogue.find_now(Md5Id(md5))
        except (AmbiguousId, DatabaseUnavailable):
            return None
        # Of a sequence with more than letters the M5 counts more, and so do positions.
        if known is None or known.length != length or known.digests.md5 != md5:
            return None
        return CatalogueSequence(known, self.files)
