"""From an object id to the data object and index that it names, by look-up in the configured
locations.

The id is the path below its location without the format's extension; a named location prefixes its
name. Index files have no id.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from server.errors import NotFound, UnsupportedFormat
from server.model import Endpoint, Format
from storage_backends.base import (
    DescriptorLender,
    ObjectNotFound,
    ObjectStat,
    StorageBackend,
    StorageDenied,
)

EXTENSIONS = {
    Format.BAM: (".bam",),
    Format.CRAM: (".cram",),
    Format.VCF: (".vcf.gz", ".vcf.bgz"),
    Format.BCF: (".bcf",),
}
"""The extensions by which each format is found."""

_INDEXES = {
    Format.BAM: (".csi", ".bai"),
    Format.CRAM: (".crai",),
    Format.VCF: (".csi", ".tbi"),
    Format.BCF: (".csi",),
}
_MAX_ID = 1024


@dataclass(frozen=True, slots=True)
class ServedLocation:
    """A location as the catalog sees it. `only`: the key of the one file it serves, or None for
    all. `direct`: clients may fetch interiors from the store itself. `controlled`: policy decides.
    """

    name: str
    dataset: str
    backend: StorageBackend
    only: str | None = None
    direct: bool = False
    controlled: bool = False
    is_local: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Asked for each block, and the question takes microseconds.
        object.__setattr__(self, "is_local", isinstance(self.backend, DescriptorLender))

    def holds(self, other: "ServedLocation") -> bool:
        """Whether all that another location serves can be had here, too."""
        ours, theirs = (each.backend.identity.partition("?")[0] for each in (self, other))
        if self.only is not None:
            return (ours, self.only) == (theirs, other.only)
        return f"{theirs.rstrip('/')}/".startswith(f"{ours.rstrip('/')}/")


@dataclass(frozen=True, slots=True)
class DataObject:
    """A data object and its index as they are now. `index_key` is None when there is no index."""

    object_id: str
    endpoint: Endpoint
    format: Format
    location: ServedLocation
    key: str
    stat: ObjectStat
    index_key: str | None
    index_stat: ObjectStat | None

    @property
    def backend(self) -> StorageBackend:
        """Where the bytes are."""
        return self.location.backend


class Catalog:
    """Finds data objects. Remembers where it found them; every answer is checked against the
    store."""

    def __init__(self, locations: Sequence[ServedLocation], remembered: int = 65_536) -> None:
        self.locations = tuple(locations)
        self._named = {each.name: each for each in self.locations if each.name}
        self._unnamed = tuple(each for each in self.locations if not each.name)
        self._found: OrderedDict[tuple[str, Format], DataObject] = OrderedDict()
        self._remembered = remembered

    async def resolve(self, endpoint: Endpoint, object_id: str, asked: Format | None) -> DataObject:
        """The data object that `object_id` names on an endpoint, in the format asked for or the
        default one.

        It may be some seconds old where the store is remote; see `renew`. Raises `NotFound`, or
        `UnsupportedFormat` when the id exists in the endpoint's other format only.
        """
        wanted = asked or endpoint.formats[0]
        found = await self._find(endpoint, object_id, wanted)
        if found is not None:
            return found
        for other in endpoint.formats:
            if other is not wanted and await self._find(endpoint, object_id, other) is not None:
                raise UnsupportedFormat(
                    f"this object is available as {other} only; ask for format={other}"
                )
        raise NotFound("no such object")

    async def renew(self, item: DataObject) -> DataObject:
        """The data object, and its index, as the store says they are now."""
        try:
            await item.backend.stat(item.key, fresh=True)
        except ObjectNotFound as error:
            raise NotFound from error
        if item.index_key is not None:
            with suppress(ObjectNotFound):
                await item.backend.stat(item.index_key, fresh=True)
        return await self.resolve(item.endpoint, item.object_id, item.format)

    async def _find(self, endpoint: Endpoint, object_id: str, wanted: Format) -> DataObject | None:
        found = self._found.get((object_id, wanted))
        if found is not None:
            try:
                return await self._refresh(found)
            except ObjectNotFound:
                self._found.pop((object_id, wanted), None)
        if len(object_id) > _MAX_ID or not object_id.isprintable():
            return None
        refusal: StorageDenied | None = None
        for location, stem in self._candidates(object_id):
            keys = [stem + extension for extension in EXTENSIONS[wanted]]
            keys = [key for key in keys if location.only in (None, key)]
            try:
                first = await _first(location.backend, keys)
            except StorageDenied as error:
                refusal = error  # another location may have it
                continue
            if first is not None:
                return await self._remember(
                    DataObject(object_id, endpoint, wanted, location, *first, None, None)
                )
        if refusal is not None:
            raise refusal
        return None

    def _candidates(self, object_id: str) -> Iterator[tuple[ServedLocation, str]]:
        """Where an id can be: in the location that it names, else in those without a name."""
        name, slash, rest = object_id.partition("/")
        named = self._named.get(name) if slash else None
        if named is not None:
            yield named, rest
            return
        for location in self._unnamed:
            yield location, object_id

    async def _refresh(self, found: DataObject) -> DataObject:
        """The object as it is now; `ObjectNotFound` when it, or the index it had, is gone."""
        stat = await found.backend.stat(found.key)
        if found.index_key is None:
            return await self._remember(replace(found, stat=stat))
        index_stat = await found.backend.stat(found.index_key)
        if stat == found.stat and index_stat == found.index_stat:
            return found
        # They change together: what is known of the other may be too old.
        await found.backend.stat(found.index_key, fresh=True)
        stat = await found.backend.stat(found.key, fresh=True)
        return await self._remember(replace(found, stat=stat))

    async def _remember(self, found: DataObject) -> DataObject:
        """The object with its index, the first of the customary names that exists."""
        # Who may not list is refused what is not there, too: the object is served without.
        with suppress(StorageDenied):
            index = await _first(found.backend, list(index_keys(found.key, found.format)))
            if index is not None:
                found = replace(found, index_key=index[0], index_stat=index[1])
        self._found[(found.object_id, found.format)] = found
        if len(self._found) > self._remembered:
            self._found.popitem(last=False)
        return found


async def _first(backend: StorageBackend, keys: Sequence[str]) -> tuple[str, ObjectStat] | None:
    """The first of some keys that names an object; a remote store is asked for all at once."""
    answers = await asyncio.gather(*map(backend.stat, keys), return_exceptions=True)
    refusal: StorageDenied | None = None
    for key, answer in zip(keys, answers, strict=True):
        if isinstance(answer, ObjectStat):
            return key, answer
        if isinstance(answer, StorageDenied):
            refusal = answer  # S3 says so of what is not there to those who may not list
        elif not isinstance(answer, ObjectNotFound):
            raise answer
    if refusal is not None:
        raise refusal
    return None


def index_keys(key: str, wanted: Format) -> Iterator[str]:
    """The customary names of an object's index, in the order that htslib prefers."""
    stem = key.rsplit(".", 1)[0]
    for extension in _INDEXES[wanted]:
        yield key + extension
        yield stem + extension
