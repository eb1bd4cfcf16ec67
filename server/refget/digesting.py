"""Digests of every record of a file, in one pass over its bytes."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field

from formats.bgzf import block_size
from formats.errors import CorruptData
from formats.fasta import FaiEntry, GziEntry
from formats.fasta_index import Event, RecordBegins, RecordEnds, inflated_pieces, scan_fasta
from formats.source import ByteSource
from formats.twobit import TwoBitReader, parse_twobit
from server.refget.digests import SequenceDigester
from server.refget.flat_store import FlatStore, FlatWriter
from server.refget.record_reader import BGZF_MAGIC, PIECE, fai_of
from server.refget.registry import FileKind, Record
from server.refget.seqcol import MAX_NAME

_TWOBIT = (b"\x1a\x41\x27\x43", b"\x43\x27\x41\x1a")


class UnevenLines(CorruptData):
    """A record cannot be read by offset where it is."""


@dataclass(frozen=True, slots=True)
class DigestedRecord:
    """A record; `m5` where SAM's differs from its MD5; `is_flat`: it was stored flat."""

    record: Record
    m5: str | None
    is_flat: bool


@dataclass(slots=True)
class DigestingPass:
    """One pass. `wanted` tells of a position whether that record is to be digested; `flat` is where
    to store those that are. `blocks` grows as those of a BGZF file are come by.

    Iterating raises `CorruptData`, `UnevenLines` and storage errors.
    """

    source: ByteSource
    kind: FileKind
    executor: Executor | None = None
    flat: FlatStore | None = None
    wanted: Callable[[int], bool] = lambda position: True
    blocks: list[GziEntry] = field(default_factory=list)

    def __iter__(self) -> Iterator[DigestedRecord]:
        events = self._twobit() if self.kind is FileKind.TWOBIT else self._fasta()
        position = -1
        digester: SequenceDigester | None = None
        writer: FlatWriter | None = None
        is_even = True
        with ExitStack() as writing:
            for event in events:
                if isinstance(event, bytes):
                    if digester is not None:
                        letters = digester.update(event)
                        if writer is not None:
                            writer.add(letters)
                        # It would be taken for a header where it stands at the start of a read.
                        is_even = is_even and b">" not in event
                elif isinstance(event, RecordBegins):
                    position += 1
                    is_even, writer = True, None
                    if len(event.name) > MAX_NAME:
                        raise CorruptData("the name of a record is too long")
                    wanted = self.wanted(position)
                    digester = SequenceDigester(self.executor) if wanted else None
                    if wanted and self.flat is not None:
                        writer = writing.enter_context(self.flat.write())
                elif digester is not None:
                    digests, length = digester.finish()
                    entry = event.entry if is_even else None
                    if writer is not None:
                        writer.keep(digests, length)
                        writing.close()
                    elif entry is None:
                        raise UnevenLines(f"the lines of {event.name} are of uneven length")
                    entry = entry or FaiEntry(event.name, event.length, 0, 0, 0)
                    entry = entry._replace(name=_storable(event.name))
                    record = Record(position, entry, digests, length)
                    yield DigestedRecord(record, digester.m5, writer is not None)

    def _fasta(self) -> Iterator[Event]:
        if self.source.read(0, 2) == BGZF_MAGIC:
            return scan_fasta(inflated_pieces(self.source, self.blocks))
        size = self.source.size
        return scan_fasta(self.source.read(at, at + PIECE) for at in range(0, size, PIECE))

    def _twobit(self) -> Iterator[Event]:
        reader = TwoBitReader(self.source)
        for entry in parse_twobit(self.source):
            yield RecordBegins(entry.name, "")
            for at in range(0, entry.length, PIECE):
                yield reader.residues(entry, at, min(at + PIECE, entry.length))
            yield RecordEnds(entry.name, entry.length, fai_of(entry))


def _storable(name: str) -> str:
    """A name as databases can hold it; where that differs the file makes no collection."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text.replace("\0", "\ufffd")


def kind_of(source: ByteSource) -> FileKind:
    """What a file is, by its first bytes. Raises `CorruptData` for one that cannot be served."""
    start = source.read(0, 1 << 16)
    if start[:4] in _TWOBIT:
        return FileKind.TWOBIT
    if start[:2] == BGZF_MAGIC:
        try:
            block_size(start)
        except CorruptData:
            raise CorruptData(
                "compressed by gzip, which cannot be read from the middle: compress it by bgzip"
            ) from None
    elif not start.lstrip().startswith(b">"):
        raise CorruptData("neither FASTA nor 2bit")
    return FileKind.FASTA
