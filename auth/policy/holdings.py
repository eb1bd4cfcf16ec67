"""The grants that a caller holds, in groups of one projection, and what a group answers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from math import inf

from auth.decision import AccessRequest, Limits, Projection
from auth.policy.grants import Met
from auth.policy.region_sets import RegionSet
from auth.policy.rights import Right, RightsIndex, Territories, TerritoryKey
from auth.policy.rules import Rule
from auth.principal import Visa
from formats.regions import Region

Regions = Sequence[Region] | None
_NAMES = tuple(each.name for each in fields(Limits))


@dataclass(frozen=True, slots=True)
class Holding:
    """A right that is in force for a caller, and by what."""

    right: Right
    met: Met

    @property
    def until(self) -> float:
        """When it ends, in seconds since the epoch."""
        return min(self.right.ends, self.met.until)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Holdings of one dataset that show records alike, in file order, with keys of their regions:
    each by itself (`own`), all together (`united`), and those together that may send a part
    (`clipping`). `datasets` are all that the object belongs to.
    """

    holdings: tuple[Holding, ...]
    own: tuple[TerritoryKey, ...]
    united: TerritoryKey
    clipping: TerritoryKey
    territories: Territories
    dataset: str
    datasets: tuple[str, ...]
    endpoint: str
    projection: Projection
    unsupported: tuple[str, ...]
    delivery: str

    def covers(self, request: AccessRequest) -> bool:
        """Whether it has all regions asked for; a header has none."""
        return request.data_class == "header" or self.territories.at(self.united).covers(
            request.regions
        )

    def shows(self, request: AccessRequest) -> bool:
        """Whether it shows all fields and tags that are asked for by name."""
        allowed = self.projection.fields
        return (allowed is None or request.fields is None or request.fields <= allowed) and not (
            request.tags and request.tags & self.projection.tags_deny
        )

    def whole(self, request: AccessRequest) -> "Answer":
        """All that is asked for: by the first grant that has it alone, or by those that have some
        of it together."""
        for holding, key in zip(self.holdings, self.own, strict=True):
            own = self.territories.at(key)
            if request.data_class == "header" or own.covers(request.regions):
                return self._answer((holding,), own)
        return self._part(request.regions, clipped=False)

    def part(self, request: AccessRequest) -> "Answer | None":
        """What it has of what is asked for, by grants that may send a part."""
        if not self.territories.at(self.clipping).meets(request.regions):
            return None
        return self._part(request.regions, clipped=True)

    def _part(self, regions: Regions, *, clipped: bool) -> "Answer":
        held = tuple(
            holding
            for holding, key in zip(self.holdings, self.own, strict=True)
            if (holding.right.clips or not clipped) and self.territories.at(key).meets(regions)
        )
        rights = (each.right for each in held)
        permitted = self.territories.of(rights, self.datasets, self.endpoint)
        return self._answer(held, permitted, clipped=clipped)

    def _answer(
        self, held: tuple[Holding, ...], permitted: RegionSet, *, clipped: bool = False
    ) -> "Answer":
        return Answer(
            group=self,
            grant_ids=tuple(each.right.id for each in held),
            permitted=permitted,
            clipped=clipped,
            public=all(each.right.who.public for each in held),
            limits=tightest([each.right.limits for each in held]),
            visas=tuple(dict.fromkeys(visa for each in held for visa in each.met.visas)),
            until=min((each.until for each in held), default=inf),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a group gives, by which of its grants, and until when. `public`: everybody has it."""

    group: Group
    grant_ids: tuple[str, ...]
    permitted: RegionSet
    clipped: bool
    public: bool
    limits: Limits
    visas: tuple[Visa, ...]
    until: float


def group_holdings(
    holdings: Iterable[Holding],
    datasets: tuple[str, ...],
    territories: Territories,
    index: RightsIndex,
    endpoint: str,
) -> tuple[Group, ...]:
    """Holdings by what they may be united with, each group where its first grant stands."""

    def key(held: Iterable[Holding]) -> TerritoryKey:
        return territories.key((each.right for each in held), datasets, endpoint)

    # What another dataset of the object denies counts here, too.
    found: dict[tuple[int, bool], list[Holding]] = {}
    for holding in holdings:
        is_denied = index.denies_samples(holding.right.id, datasets)
        found.setdefault((holding.right.group, is_denied), []).append(holding)
    return tuple(
        Group(
            holdings=tuple(held),
            own=tuple(key((each,)) for each in held),
            united=key(held),
            clipping=key(each for each in held if each.right.clips),
            territories=territories,
            dataset=index.dataset_ids[held[0].right.dataset],
            datasets=datasets,
            endpoint=endpoint,
            projection=held[0].right.projection,
            unsupported=_without_samples(held[0].right.unsupported, is_denied=is_denied),
            delivery=held[0].right.delivery,
        )
        for (_, is_denied), held in found.items()
    )


def _without_samples(unsupported: tuple[str, ...], *, is_denied: bool) -> tuple[str, ...]:
    return ("samples", *unsupported) if is_denied and "samples" not in unsupported else unsupported


def answer(
    groups: Iterable[Group],
    request: AccessRequest,
    trace: Callable[[str], None] | None,
    *,
    as_written: bool,
) -> tuple[Answer | None, Rule, tuple[str, ...]]:
    """The answer of the first group that has all that is asked for, else of the first that may
    send a part; without one, why, and what of the projections cannot be served."""
    rule = Rule.REGION
    unsupported: dict[str, None] = {}
    rest: list[Group] = []
    for group in groups:
        whole = group.covers(request)
        if not whole or not group.shows(request):
            rest.append(group)
            if whole:
                rule = Rule.FIELDS
            _told(trace, group, "shows not all fields or tags" if whole else "has not all regions")
        elif group.unsupported and not as_written:
            unsupported.update(dict.fromkeys(group.unsupported))
            _told(trace, group, f"needs {', '.join(group.unsupported)}, not served yet")
        else:
            _told(trace, group, "has all that is asked for")
            return group.whole(request), Rule.ALLOWED, ()
    for group in rest:
        part = group.part(request)
        if part is None:
            continue
        if group.unsupported and not as_written:
            unsupported.update(dict.fromkeys(group.unsupported))
            _told(trace, group, f"may send a part, but needs {', '.join(group.unsupported)}")
            continue
        _told(trace, group, "may send a part of it")
        return part, Rule.ALLOWED, ()
    if unsupported:
        return None, Rule.PROJECTION, tuple(unsupported)
    return None, rule, ()


def _told(trace: Callable[[str], None] | None, group: Group, what: str) -> None:
    if trace is not None:
        ids = ", ".join(each.right.id for each in group.holdings)
        trace(f"{ids} (dataset {group.dataset}, {group.projection.boundary}) {what}")


def tightest(limits: Sequence[Limits]) -> Limits:
    """The least of each limit, where 0 is none."""
    if len(limits) == 1:
        return limits[0]
    values = {name: [getattr(each, name) for each in limits] for name in _NAMES}
    return Limits(**{name: min(filter(None, each), default=0) for name, each in values.items()})
