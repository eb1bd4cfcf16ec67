"""What changes for whom between two policies: which bases they gain and lose, and on what terms."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

from auth.policy.document import Grant
from auth.policy.evaluation import Policy
from auth.policy.region_sets import NOTHING, RegionSet
from auth.policy.rights import Territories
from auth.policy.version import canonical
from auth.tables import canonical_json


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one dataset at one endpoint for one kind of caller.

    `who` is canonical JSON; `grants` are those of either policy. `gained`, `lost`: of the bases of
    all projections together. `terms`: the names of what else is different.
    """

    dataset: str
    endpoint: str
    who: str
    grants: tuple[str, ...]
    gained: RegionSet
    lost: RegionSet
    terms: tuple[str, ...]


_Key = tuple[str, str, str]
_Way = dict[str, object]


def compare(old: Policy, new: Policy) -> list[Change]:
    """All changes of rights, by dataset, endpoint and caller; renamed grants change nothing."""
    before, after = _rights(old), _rights(new)
    bases_before, bases_after = _bases(old, before), _bases(new, after)
    changes = []
    for key in sorted(before.keys() | after.keys()):
        olds, news = before.get(key, []), after.get(key, [])
        had, has = bases_before.get(key, NOTHING), bases_after.get(key, NOTHING)
        change = Change(
            dataset=key[0],
            endpoint=key[1],
            who=key[2],
            grants=tuple(dict.fromkeys(each.id for each in (*olds, *news))),
            gained=has.difference(had),
            lost=had.difference(has),
            terms=tuple(
                _terms([_way(old, each) for each in olds], [_way(new, each) for each in news])
            ),
        )
        if not (change.gained.is_empty and change.lost.is_empty) or change.terms:
            changes.append(change)
    return changes


def changed_datasets(old: Policy, new: Policy) -> dict[str, tuple[str, ...]]:
    """The datasets that are defined otherwise, with the names of what is different."""
    before = {name: _plain(each) for name, each in old.datasets.items()}
    after = {name: _plain(each) for name, each in new.datasets.items()}
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            found[name] = ("added" if name in after else "removed",)
        elif before[name] != after[name]:
            had, has = before[name], after[name]
            found[name] = tuple(key for key in sorted(has) if has[key] != had.get(key))
    return found


def _rights(policy: Policy) -> dict[_Key, list[Grant]]:
    found: dict[_Key, list[Grant]] = {}
    for grant in policy.document.grants:
        if grant.who.is_nobody:
            continue
        who = canonical_json(canonical(grant.who)).decode()
        for endpoint in grant.endpoints:
            found.setdefault((grant.dataset, endpoint, who), []).append(grant)
    return found


def _bases(policy: Policy, rights: dict[_Key, list[Grant]]) -> dict[_Key, RegionSet]:
    territories = Territories(policy.document)
    return {
        key: reduce(
            RegionSet.union,
            (
                territories.of((policy.rights[grant.id],), (key[0],), key[1])
                for grant in grants
                if "body" in policy.rights[grant.id].classes
            ),
            NOTHING,
        )
        for key, grants in rights.items()
    }


def _terms(olds: list[_Way], news: list[_Way]) -> Iterator[str]:
    """What besides regions is different: by name, where both policies grant something."""
    if not (olds and news):
        yield "added" if news else "removed"
        return
    before, after = ({canonical_json(way) for way in each} for each in (olds, news))
    if before != after:
        for name in sorted(olds[0]):
            had, has = ({canonical_json(way[name]) for way in each} for each in (olds, news))
            if had != has:
                yield name


def _way(policy: Policy, grant: Grant) -> _Way:
    whole = _plain(grant)
    projection = whole.pop("projection")
    for name in ("id", "dataset", "reason", "who", "endpoints", "regions"):
        del whole[name]
    needed = list(policy.rights[grant.id].unsupported)
    return {**whole, **(projection if isinstance(projection, dict) else {}), "unserved": needed}


def _plain(value: object) -> dict[str, object]:
    plain = canonical(value)
    return plain if isinstance(plain, dict) else {}
