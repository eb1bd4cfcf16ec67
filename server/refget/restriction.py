"""Which files of sequences policy decides about, told by their URLs alone.

A file below a controlled location is restricted. It is public nevertheless when it also lies in an
open location, or when the operator names it among the sequences to serve; what somebody adds or
what comes from another server is public wherever it lies, which the catalogue knows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from server.catalog import ServedLocation
from server.survey import SEQUENCES


@dataclass(frozen=True, slots=True)
class RestrictedFile:
    """A file as policy knows it: its object id, "" where no id can mean it, and the datasets that
    its location names."""

    object_id: str
    datasets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Folder:
    """A location by the URL of its folder, which ends in a slash, or of its only file."""

    url: str
    name: str = ""
    controlled: bool = False
    datasets: frozenset[str] = frozenset()

    def below(self, url: str) -> str | None:
        """The path of a file below the location; None if it is not there."""
        if not self.url.endswith("/"):
            return url.rpartition("/")[2] if url == self.url else None
        return url.removeprefix(self.url) if url.startswith(self.url) else None


class Restriction:
    """The rule above. `named`: files, or patterns of them, that the operator names: `*` and `?`
    stay within one part of a path, `**` is any number of parts."""

    def __init__(self, folders: Iterable[Folder] = (), named: Sequence[str] = ()) -> None:
        folders = tuple(folders)
        self._controlled = tuple(each for each in folders if each.controlled)
        self._open = tuple(each for each in folders if not each.controlled)
        self._names = frozenset(each.name for each in folders if each.name)
        self._named = tuple(named)

    @classmethod
    def of(cls, locations: Iterable[ServedLocation], named: Sequence[str] = ()) -> "Restriction":
        """The rule for the locations that are served, and what `refget.sequences` names."""
        return cls(map(_folder, locations), named)

    @property
    def is_empty(self) -> bool:
        """Whether no file can be restricted."""
        return not self._controlled

    def file(self, url: str) -> RestrictedFile | None:
        """What policy calls a file that was found at a URL; None for a public one."""
        for folder in self._controlled:
            path = folder.below(url)
            if path is not None:
                break
        else:
            return None
        if any(each.below(url) is not None for each in self._open) or self._is_named(url):
            return None
        object_id = _without_extension(path)
        if folder.name:
            return RestrictedFile(f"{folder.name}/{object_id}", folder.datasets)
        first, slash, _ = object_id.partition("/")
        if slash and first in self._names:  # that id means something in another location
            return RestrictedFile("")
        return RestrictedFile(object_id, folder.datasets)

    def among(self, urls: Iterable[str]) -> Mapping[str, RestrictedFile]:
        """The files that are restricted, by their URLs."""
        found = ((url, self.file(url)) for url in urls)
        return {url: file for url, file in found if file is not None}

    def _is_named(self, url: str) -> bool:
        return any(url == each or _matches(each, url) for each in self._named)


def _folder(location: ServedLocation) -> Folder:
    if location.only is None:
        url = location.backend.describe().rstrip("/") + "/"
    else:
        url = location.backend.describe(location.only)
    datasets = frozenset(filter(None, (location.dataset,)))
    return Folder(url, location.name, location.controlled, datasets)


def _without_extension(path: str) -> str:
    for extension in sorted(SEQUENCES, key=len, reverse=True):
        if path.endswith(extension):
            return path.removesuffix(extension)
    return path


def _matches(pattern: str, url: str) -> bool:
    """Whether a pattern is that of a URL, as `glob` has it: what is not sure is not public."""
    parts = pattern.split("/")
    reached = _with_skipped(parts, {0})  # how many parts may have been met so far
    for segment in url.split("/"):
        after: set[int] = set()
        for at in reached - {len(parts)}:
            part = parts[at]
            if segment.startswith(".") and not part.startswith("."):
                continue
            if part == "**":
                after |= {at, at + 1}
            elif fnmatchcase(segment, part):
                after.add(at + 1)
        reached = _with_skipped(parts, after)
    return len(parts) in reached


def _with_skipped(parts: Sequence[str], reached: set[int]) -> set[int]:
    """Places in a pattern with those behind `**`, which may stand for nothing but at the end."""
    for at, part in enumerate(parts[:-1]):
        if part == "**" and at in reached:
            reached.add(at + 1)
    return reached
