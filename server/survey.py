"""Every data object and FASTA file of the locations, whether it can be served or not."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from server.catalog import EXTENSIONS, Catalog, ServedLocation
from server.model import Endpoint, Format

FASTA = (".fa", ".fasta", ".fna", ".fa.gz", ".fasta.gz", ".fna.gz", ".fa.bgz", ".fasta.bgz")
"""The extensions by which reference sequences are found."""

SERVABLE = (*(extension for each in EXTENSIONS.values() for extension in each), *FASTA)
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


def unmatched(patterns: Sequence[str]) -> Iterator[str]:
    """The patterns of FASTA files that match nothing."""
    return (pattern for pattern in patterns if not glob(pattern, recursive=True))  # noqa: PTH207


def passed_over(
    catalog: Catalog,
    on_error: Callable[[OSError], None],
    on_link: Callable[[Path], None],
) -> None:
    """Walk the locations for what is not served: what cannot be read, and links that leave."""
    for location in catalog.locations:
        if location.only is None:

            def link(key: str, location: ServedLocation = location) -> None:
                path = location.backend.path(key)
                if _is_servable(key) or path.is_dir():
                    on_link(path)

            for _ in location.backend.keys(on_error=on_error, on_link=link):
                pass


def warnings(paths: Sequence[Path], catalog: Catalog, patterns: Sequence[str]) -> Iterator[str]:
    """What an operator should know when the server starts; looks no further than it must.

    `paths` are those of the catalog's locations, as the operator names them.
    """
    for path, location in zip(paths, catalog.locations, strict=True):
        if not os.access(path, os.R_OK) or not location.backend.available():
            yield f"{path}: cannot be read"
        elif location.only is None and not any(map(_is_servable, location.backend.keys())):
            yield f"{path}: holds no BAM, CRAM, VCF, BCF or FASTA file that can be served"
    for pattern in unmatched(patterns):
        yield f"refget.sequences: nothing matches {pattern}"


def _is_servable(key: str) -> bool:
    return key.endswith(SERVABLE)


def _keys(catalog: Catalog) -> Iterator[tuple[ServedLocation, str]]:
    for location in catalog.locations:
        keys = location.backend.keys() if location.only is None else iter((location.only,))
        for key in keys:
            yield location, key
