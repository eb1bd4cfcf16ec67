"""Reference sequences as different people see them.

What everybody sees is the catalogue as if restricted files were not there: an id of theirs, a name,
a digest is unknown there like any other, by the same queries.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from server.database import Database
from server.refget.catalogue import SequenceCatalogue
from server.refget.collection_store import CollectionStore
from server.refget.restriction import RestrictedFile, Restriction


@dataclass(frozen=True, slots=True)
class View:
    """Sequences and collections, of some of the files in the locations."""

    catalogue: SequenceCatalogue
    collections: CollectionStore

    def serve(self, urls: Iterable[str]) -> None:
        """From now on these are the files in the locations."""
        self.catalogue.serve(urls)
        self.collections.serve(urls)


@dataclass(slots=True)
class Views:
    """`public` is for everybody. `everything` is for the server itself, which slices files against
    sequences that it does not show, and for who may see the `restricted` files (by their URLs)."""

    database: Database
    restriction: Restriction
    public: View = field(init=False)
    everything: View = field(init=False)
    restricted: Mapping[str, RestrictedFile] = field(init=False, default_factory=dict)
    public_urls: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        self.public = self._view()
        self.everything = self.public if self.restriction.is_empty else self._view()

    def serve(self, urls: Sequence[str]) -> None:
        """From now on these are the files in the locations."""
        self.restricted = self.restriction.among(urls)
        self.public_urls = frozenset(urls) - self.restricted.keys()
        self.public.serve(self.public_urls)
        if self.everything is not self.public:
            self.everything.serve(urls)

    def forget(self) -> None:
        """Look everything up anew."""
        self.public.catalogue.forget()
        self.everything.catalogue.forget()

    def _view(self) -> View:
        return View(SequenceCatalogue(self.database), CollectionStore())
