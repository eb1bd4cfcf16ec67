"""Every data object and FASTA file of the locations, whether it can be served or not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from server.catalog import EXTENSIONS, Catalog, ServedLocation
from server.model import Endpoint, Format

FASTA = (".fa", ".fasta", ".fna", ".fa.gz", ".fasta.gz", ".fna.gz", ".fa.bgz", ".fasta.bgz")
"""The extensions by which reference sequences are found."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that has the extension of a format, and the id under which it is looked for."""

    location: ServedLocation
    key: str
    endpoint: Endpoint
    format: Format
    object_id: str

    @property
    def path(self) -> Path:
        """Where it lies on disk."""
        return self.location.backend.path(self.key)


def data_files(catalog: Catalog) -> Iterator[DataFile]:
    """The data files of all locations, location by location, sorted by directory."""
    for location, key in _keys(catalog):
        for endpoint in Endpoint:
            for kind in endpoint.formats:
                for extension in EXTENSIONS[kind]:
                    if key.endswith(extension):
                        stem = key.removesuffix(extension)
                        object_id = f"{location.name}/{stem}" if location.name else stem
                        yield DataFile(location, key, endpoint, kind, object_id)


def fasta_files(catalog: Catalog, patterns: Sequence[str]) -> Iterator[Path]:
    """The FASTA files of all locations and those that match `patterns`, each once."""
    paths = [location.backend.path(key) for location, key in _keys(catalog) if key.endswith(FASTA)]
    for pattern in patterns:
        paths += map(Path, sorted(glob(pattern, recursive=True)))  # noqa: PTH207
    return iter(dict.fromkeys(paths))


def _keys(catalog: Catalog) -> Iterator[tuple[ServedLocation, str]]:
    for location in catalog.locations:
        keys = location.backend.keys() if location.only is None else iter((location.only,))
        for key in keys:
            yield location, key
