"""Grants made ready to be asked: found by what a caller has, with the regions that remain of them.

RightsIndex   the grants of a policy, by dataset and key; the datasets of an object
Right         one grant, compiled
Territories   what is left of the regions of grants when denials are taken away, united
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from math import inf

from auth.decision import Limits, Projection
from auth.policy.document import ALL, PANEL, Deny, PolicyDocument
from auth.policy.grants import Key, Who, keys_of
from auth.policy.object_patterns import PatternIndex
from auth.policy.panels import Panel, parse_region
from auth.policy.region_sets import EVERYTHING, NOTHING, PLACED, RegionSet
from auth.principal import Principal
from formats.regions import UNPLACED, Region

_MOST_BORDERS = 32 << 20  # of sets kept for being asked again: 256 MiB
_BORDERS_OF_ONE = 64  # what a set costs besides

RegionTexts = tuple[str, ...]
TerritoryKey = tuple[frozenset[int], bool]
_Part = tuple[RegionTexts, frozenset[RegionTexts]]


@dataclass(frozen=True, slots=True, eq=False)
class Right:
    """A grant as it is asked. `order`: its place in the file. `group`: equal for grants whose
    regions may be united: those of one dataset that show records alike. `begins`, `ends`: seconds
    since the epoch, half-open. `unsupported`: what of its projection is not served yet.
    """

    order: int
    id: str
    dataset: int
    group: int
    who: Who
    endpoints: frozenset[str]
    formats: frozenset[str]
    classes: frozenset[str]
    regions: RegionTexts
    projection: Projection
    unsupported: tuple[str, ...]
    clips: bool
    delivery: str
    limits: Limits
    begins: float
    ends: float

    def gives(self, format: str, data_class: str, endpoint: str) -> tuple[bool, bool]:
        """Whether it gives a format, and a class of data. Sequences have no format."""
        return endpoint == "refget" or format in self.formats, data_class in self.classes


class RightsIndex:
    """All rights of a policy. Finding those of a caller costs what that caller has, not how many
    grants there are."""

    def __init__(self, document: PolicyDocument) -> None:
        self.dataset_ids = tuple(each.id for each in document.datasets)
        self._numbers = {name: number for number, name in enumerate(self.dataset_ids)}
        self._patterns = PatternIndex(
            (pattern, number)
            for number, dataset in enumerate(document.datasets)
            for pattern in dataset.objects
        )
        # Without projection a sample cannot be left out; where regions are named as well, those
        # are taken away whole.
        self._sample_denies: dict[str, list[Deny]] = {}
        for deny in document.denies:
            if deny.samples is not None and not deny.regions:
                self._sample_denies.setdefault(deny.dataset, []).append(deny)
        self.rights = tuple(self._rights(document))
        self._by_key: list[dict[Key, list[Right]]] = [{} for _ in self.dataset_ids]
        rarities: list[Counter[Key]] = [Counter() for _ in self.dataset_ids]
        for right in self.rights:
            rarities[right.dataset].update(atom.key for atom in right.who.atoms)
        for right in self.rights:
            if not right.who.is_nobody:
                for key in right.who.keys(rarities[right.dataset].__getitem__):
                    self._by_key[right.dataset].setdefault(key, []).append(right)

    def datasets_of(self, endpoint: str, object_id: str, named: Collection[str]) -> tuple[int, ...]:
        """The numbers of an object's datasets, sorted: by the patterns, and `named` by whoever
        holds the object, as far as the policy knows them."""
        found = self._patterns.match(f"{endpoint}/{object_id}")
        if not named:
            return found
        known = {self._numbers[name] for name in named if name in self._numbers}
        return tuple(sorted(known.union(found)))

    def datasets_below(self, prefix: str) -> frozenset[str]:
        """The datasets that may have objects whose `endpoint/id` begins with a prefix."""
        return frozenset(self.dataset_ids[number] for number in self._patterns.below(prefix))

    def candidates(self, principal: Principal, datasets: Sequence[int]) -> list[Right]:
        """The rights that a caller may have in datasets, in file order."""
        found: dict[int, Right] = {}
        for dataset in datasets:
            index = self._by_key[dataset]
            for key in keys_of(principal):
                for right in index.get(key, ()):
                    found[right.order] = right
        return [found[order] for order in sorted(found)]

    def denies_samples(self, grant: str, datasets: Iterable[str]) -> bool:
        """Whether samples are taken away from a grant, on an object of some datasets."""
        return any(
            grant not in deny.except_for
            for dataset in datasets
            for deny in self._sample_denies.get(dataset, ())
        )

    def _rights(self, document: PolicyDocument) -> Iterable[Right]:
        groups: dict[tuple[object, ...], int] = {}
        for order, grant in enumerate(document.grants):
            unsupported = grant.projection.unsupported
            if "samples" not in unsupported and self.denies_samples(grant.id, (grant.dataset,)):
                unsupported = ("samples", *unsupported)
            header_only = grant.projection.mode == "header"
            yield Right(
                order=order,
                id=grant.id,
                dataset=self._numbers[grant.dataset],
                group=groups.setdefault(
                    (grant.dataset, grant.projection, unsupported, grant.delivery), len(groups)
                ),
                who=grant.who,
                endpoints=grant.endpoints,
                formats=grant.formats,
                classes=grant.classes & {"header"} if header_only else grant.classes,
                regions=grant.regions,
                projection=grant.projection,
                unsupported=unsupported,
                clips=grant.partial == "clip",
                delivery=grant.delivery,
                limits=grant.limits,
                begins=-inf if grant.begins is None else _midnight(grant.begins),
                ends=inf if grant.ends is None else _midnight(grant.ends + timedelta(days=1)),
            )


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


class Territories:
    """What rights open on an object of some datasets: their regions without those denied.

    Made when they are first asked for, and kept as far as there is room, since one set may have a
    panel's 200,000 intervals and serve ten thousand grants. Others hold keys, not sets.
    """

    def __init__(self, document: PolicyDocument) -> None:
        self._panels = document.panels
        self._denies: dict[str, list[Deny]] = {}
        for deny in document.denies:
            if deny.regions:
                self._denies.setdefault(deny.dataset, []).append(deny)
        self._parts: list[_Part] = []
        self._numbers: dict[_Part, int] = {}
        self._kept: OrderedDict[object, RegionSet] = OrderedDict()
        self._borders = 0

    def of(self, rights: Iterable[Right], datasets: Iterable[str], endpoint: str) -> RegionSet:
        """The united regions of rights; the denials of all the datasets count for each of them."""
        return self.at(self.key(rights, datasets, endpoint))

    def key(self, rights: Iterable[Right], datasets: Iterable[str], endpoint: str) -> TerritoryKey:
        """What `at` gives the same regions for. Of endpoints only reads know unplaced records."""
        parts = ((right.regions, self._denied(right.id, datasets)) for right in rights)
        return frozenset(map(self._number, parts)), endpoint == "reads"

    def at(self, key: TerritoryKey) -> RegionSet:
        """The regions that a key stands for."""
        numbers, has_unplaced = key
        if len(numbers) == 1:
            (number,) = numbers
            found = self._part(number)
        else:
            parts = map(self._part, numbers)
            found = self._kept_or(numbers, lambda: reduce(RegionSet.union, parts, NOTHING))
        return found if has_unplaced else found.for_placed_records()

    def _part(self, number: int) -> RegionSet:
        texts, denied = self._parts[number]
        if not denied and len(texts) == 1 and texts[0].startswith(PANEL):
            return region_set(texts, self._panels)
        return self._kept_or(number, lambda: self._without(texts, denied))

    def _without(self, texts: RegionTexts, denied: Iterable[RegionTexts]) -> RegionSet:
        taken = (region_set(each, self._panels) for each in denied)
        return reduce(RegionSet.difference, taken, region_set(texts, self._panels))

    def _number(self, part: _Part) -> int:
        number = self._numbers.get(part)
        if number is None:
            number = self._numbers[part] = len(self._parts)
            self._parts.append(part)
        return number

    def _denied(self, grant: str, datasets: Iterable[str]) -> frozenset[RegionTexts]:
        return frozenset(
            deny.regions
            for dataset in datasets
            for deny in self._denies.get(dataset, ())
            if grant not in deny.except_for
        )

    def _kept_or(self, key: object, make: Callable[[], RegionSet]) -> RegionSet:
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = make()
            self._borders += found.size + _BORDERS_OF_ONE
            while self._borders > _MOST_BORDERS and len(self._kept) > 1:
                self._borders -= self._kept.popitem(last=False)[1].size + _BORDERS_OF_ONE
        return found


def region_set(texts: RegionTexts, panels: Mapping[str, Panel]) -> RegionSet:
    """The set that the texts of a rule name together."""
    regions = []
    found = NOTHING
    for text in texts:
        if text == ALL:
            found = found.union(PLACED)
        elif text == UNPLACED:
            regions.append(Region(UNPLACED))
        elif text.startswith(PANEL):
            found = found.union(panels[text.removeprefix(PANEL)].regions)
        else:
            regions.append(parse_region(text))
    if found is PLACED and regions == [Region(UNPLACED)]:
        return EVERYTHING
    return found.union(RegionSet.of(regions)) if regions else found
