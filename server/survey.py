"""Every data object and FASTA file of the locations, whether it can be served or not.

What lists keys waits for the store: not on the event loop.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from server.catalog import EXTENSIONS, Catalog, ServedLocation
from server.model import Endpoint, Format
from server.slicing.fasta_files import FastaFile, FastaOnDisk, StoredFasta
from storage_backends.base import (
    DescriptorLender,
    KeyLister,
    ObjectNotFound,
    StorageDenied,
    StorageError,
)

FASTA = (".fa", ".fasta", ".fna", ".fa.gz", ".fasta.gz", ".fna.gz", ".fa.bgz", ".fasta.bgz")
"""The extensions by which reference sequences are found."""

SEQUENCES = (*FASTA, ".2bit")
"""The extensions of all files that sequences are served from."""

SERVABLE = (*(extension for each in EXTENSIONS.values() for extension in each), *SEQUENCES)
"""The extensions of all files that a location is of use for."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that has the extension of a format, and the id under which it is looked for."""

    location: ServedLocation
    key: str
    endpoint: Endpoint
    format: Format
    object_id: str

    @property
    def name(self) -> str:
        """What the operator knows it by."""
        return self.location.backend.describe(self.key)


@dataclass(slots=True)
class Listing:
    """What a location holds that can be served, in the order of its store.

    `errors` and `links`, which lead nowhere or out of the location, are what was passed over on
    disk; `failure` is what kept a store from listing all. Where `listable` is false nobody can tell
    what there is.
    """

    location: ServedLocation
    listable: bool = True
    keys: list[str] = field(default_factory=list)
    errors: list[OSError] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    failure: StorageError | None = None

    def data_files(self) -> Iterator[DataFile]:
        """The data files among the keys."""
        for key in self.keys:
            for endpoint in Endpoint:
                for kind in endpoint.formats:
                    for extension in EXTENSIONS[kind]:
                        if key.endswith(extension):
                            stem, name = key.removesuffix(extension), self.location.name
                            object_id = f"{name}/{stem}" if name else stem
                            yield DataFile(self.location, key, endpoint, kind, object_id)


def listing(location: ServedLocation) -> Listing:
    """List a location; of one that serves a single file, that."""
    backend = location.backend
    if location.only is not None:
        return Listing(location, keys=[location.only])
    if not isinstance(backend, KeyLister):
        return Listing(location, listable=False)
    found = Listing(location)

    def link(key: str) -> None:
        path = Path(backend.describe(key))  # there are links on disk only
        if key.endswith(SERVABLE) or path.is_dir():
            found.links.append(path)

    try:
        for key in backend.keys(on_error=found.errors.append, on_link=link):
            if key.endswith(SERVABLE):
                found.keys.append(key)
    except StorageError as error:
        found.failure = error
    return found


def fasta_files(catalog: Catalog, patterns: Sequence[str]) -> Iterator[FastaFile]:
    """The FASTA files of all locations and those on disk that match `patterns`, each once.

    A location that cannot be listed, or refuses to be, has none. Ends with the `StorageError` of
    one that could not be listed now.
    """
    yield from _of_all(catalog, patterns, FASTA)


def sequence_files(
    catalog: Catalog, patterns: Sequence[str], known: Iterable[str] = ()
) -> Iterator[FastaFile]:
    """The FASTA and 2bit files that are served: those on disk, in locations or by `patterns`, and
    those of the `known` URLs that lie in a remote location. No store is asked what it holds."""
    local: list[ServedLocation] = []
    remote: list[ServedLocation] = []
    for each in catalog.locations:
        (local if isinstance(each.backend, DescriptorLender) else remote).append(each)
    yield from _among(map(listing, local), patterns, SEQUENCES)
    folders = [(each.backend.describe().rstrip("/") + "/", each.backend) for each in remote]
    for url in known:
        for folder, backend in folders:
            if url.startswith(folder):
                yield StoredFasta(backend, url[len(folder) :])
                break


def fasta_among(listings: Iterable[Listing], patterns: Sequence[str]) -> Iterator[FastaFile]:
    """The FASTA files that are listed and those on disk that match `patterns`, each once."""
    return _among(listings, patterns, FASTA)


def _of_all(
    catalog: Catalog, patterns: Sequence[str], extensions: tuple[str, ...]
) -> Iterator[FastaFile]:
    # What is on disk first: who finds it there need not wait for a store to list what it has.
    local = [each for each in catalog.locations if isinstance(each.backend, DescriptorLender)]
    yield from _among(map(listing, local), patterns, extensions)
    failure: StorageError | None = None
    for location in catalog.locations:
        if location not in local:
            each = listing(location)
            yield from _among([each], (), extensions)
            if not isinstance(each.failure, StorageDenied | ObjectNotFound):
                failure = each.failure or failure
    if failure is not None:
        raise failure


def _among(
    listings: Iterable[Listing], patterns: Sequence[str], extensions: tuple[str, ...]
) -> Iterator[FastaFile]:
    files: dict[str, FastaFile] = {}
    others = tuple(each for each in SEQUENCES if each not in extensions)
    for each in listings:
        for key in each.keys:
            if key.endswith(extensions):
                stored = StoredFasta(each.location.backend, key)
                files.setdefault(stored.name, stored)
    for pattern in patterns:
        for name in sorted(glob(pattern, recursive=True)):  # noqa: PTH207
            if not name.endswith(others):
                files.setdefault(name, FastaOnDisk(Path(name)))
    return iter(files.values())


def unmatched(patterns: Sequence[str]) -> Iterator[str]:
    """The patterns of files on disk that match nothing."""
    return (
        pattern
        for pattern in patterns
        if "://" not in pattern and not glob(pattern, recursive=True)  # noqa: PTH207
    )
