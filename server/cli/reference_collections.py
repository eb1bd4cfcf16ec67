"""What `htsgate check` says of the sequences that a file refers to, or holds: which collection they
are, and whether they are served. It looks at what is written down and digests nothing."""

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from server.cli.findings import Report, printable
from server.config import ConfigurationError, Settings, database_url
from server.database import Database, DatabaseMissing, DatabaseUnavailable
from server.model import Endpoint
from server.refget.collection_match import CollectionMatcher, Likeness, Match
from server.refget.header_references import HeaderReference, references_of
from server.slicing.fasta_files import FastaFile, StoredFasta
from storage_backends.local import fingerprint_of

_MOST_NAMED = 3

_LIKENESS = {
    Likeness.SAME: "its references are collection {}",
    Likeness.REORDERED: "its references are those of collection {}, in another order",
    Likeness.RENAMED: "its references are the sequences of collection {}, by other names",
    Likeness.COORDINATES: "its references have the names and lengths of collection {}",
    Likeness.SHARED: "{of_them} of its {all} references are sequences of collection {}",
}


@contextmanager
def opened_matcher(
    settings: Settings, fastas: Iterable[FastaFile], reports: list[Report]
) -> Iterator[CollectionMatcher | None]:
    """What knows collections; None where no file was written down so far, or where the database
    does not answer, which is reported. Nothing is changed.

    Raises `ConfigurationError`.
    """
    url = database_url(settings)
    if url is None:
        yield None
        return
    try:
        database = Database(url, read_only=True)
    except DatabaseMissing:
        yield None
        return
    except DatabaseUnavailable as error:
        report = Report("database", "-")
        report.problem("database", f"{error}; collections of sequences were not looked at")
        reports.append(report)
        yield None
        return
    except ValueError as error:
        raise ConfigurationError(f"database.url: {error}") from error
    try:
        yield CollectionMatcher(database, (each.name for each in fastas))
    finally:
        database.close()


def look_at_collection(matcher: CollectionMatcher, text: str, report: Report) -> None:
    """Report which collection the references of a header are, and the M5s that are not served."""
    references = references_of(text)
    if not references or matcher.is_empty():
        return
    found = matcher.match(references)
    if found.match is not None:
        _tell(found.match, references, report)
    elif report.format in Endpoint.READS.formats:  # headers of variants often name a few contigs
        report.note("collection", "its references are those of no collection")
    if found.unserved:
        count, told = len(found.unserved), sum(each.md5 is not None for each in references)
        names = [f"{each.name} (M5 {each.md5})" for each in found.unserved]
        report.note("m5", f"{count:,} of {told:,} M5s are not served: {_some(names)}")
    elif any(each.md5 for each in references):
        report.fact("m5", "every M5 is served")


async def look_at_digests(matcher: CollectionMatcher, file: FastaFile, report: Report) -> None:
    """Report which collection a FASTA file is, or that nobody knows yet."""
    if isinstance(file, StoredFasta):
        fingerprint = (await file.backend.stat(file.key)).fingerprint
    else:
        fingerprint = fingerprint_of(os.stat(file.name))  # noqa: PTH116 - at once
    written = await asyncio.to_thread(matcher.written, file.name)
    if written is None or not written.complete or written.fingerprint != fingerprint:
        report.note(
            "collection", "its sequences are not yet digested; serving it does so, or `refget add`"
        )
    elif written.collection is not None:
        report.fact("collection", f"it is collection {written.collection}")


def _tell(match: Match, references: Sequence[HeaderReference], report: Report) -> None:
    name = f"{match.collection} ({printable(match.url)})"
    total = len(references)
    message = _LIKENESS[match.likeness].format(name, of_them=f"{match.shared:,}", all=f"{total:,}")
    if match.differing:
        report.note("collection", f"{message}, but other sequences: {_some(match.differing)}")
    elif match.likeness is Likeness.SHARED and match.shared < total:
        report.note("collection", message)
    else:
        report.fact("collection", message)


def _some(names: Sequence[str]) -> str:
    more = " and others" if len(names) > _MOST_NAMED else ""
    return printable(", ".join(names[:_MOST_NAMED])) + more
