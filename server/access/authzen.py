"""OpenID AuthZEN Authorization API 1.0: what a decision point is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from auth.decision import AccessRequest, Decision
from auth.fetching import Fetched
from auth.policy.region_sets import RegionSet
from auth.policy.rules import Rule
from auth.principal import Principal
from auth.strict_json import strict_json
from formats.regions import UNBOUNDED, UNPLACED, Region

PATH = "/access/v1/evaluation"
BOUNDARIES = ("overlap", "contained", "mask")
"""Each shows less than the one before."""

_MOST_BYTES = 256 << 10
_MOST_GRANTS = 16
_TOLD = {"id", "reason_admin", "reason_user"}  # said to people: nothing to be kept
_OBLIGATIONS = {"regions", "boundary", "fields", "not_after", "grant_ids"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer that was understood. None: it does not restrict that."""

    allowed: bool
    rule: Rule = Rule.ALLOWED
    regions: RegionSet | None = None
    boundary: str = "overlap"
    fields: frozenset[str] | None = None
    not_after: int = 0
    grant_ids: tuple[str, ...] = ()


def question(
    decision: Decision, principal: Principal, request: AccessRequest
) -> dict[str, dict[str, object]]:
    """What is asked, without what differs between equal questions."""
    action = "header" if request.data_class == "header" else "slice"
    regions = request.regions
    return {
        "subject": {
            "type": "anonymous" if principal.is_anonymous else "researcher",
            "id": principal.name or "anonymous",
            "properties": {
                "client_id": principal.client_id,
                "visas": [
                    {
                        "type": visa.type,
                        "value": visa.value,
                        "source": visa.source,
                        "by": visa.by,
                        "exp": visa.exp,
                    }
                    for visa in principal.visas
                ],
            },
        },
        "action": {"name": f"{request.endpoint}.{action}"},
        "resource": {
            "type": "htsget-object",
            "id": f"{request.endpoint}/{request.object_id}",
            "properties": {"dataset": decision.dataset, "seqcol": decision.seqcol},
        },
        "context": {
            "regions": None if regions is None else [_told(each) for each in regions],
            "format": request.format,
            "fields": None if request.fields is None else sorted(request.fields),
            "tags": None if request.tags is None else sorted(request.tags),
            "peer": request.peer,
        },
    }


def _told(region: Region) -> list[str | int]:
    if region.reference_name == UNPLACED:
        return [UNPLACED]
    return [region.reference_name, region.start, region.end]


def verdict_of(answer: Fetched) -> Verdict:
    """What an answer means; `ValueError` for one that means nothing."""
    if answer.status != 200 or answer.content_type != "application/json":
        raise ValueError("not an answer")
    if len(answer.body) > _MOST_BYTES:
        raise ValueError("too large")
    members = strict_json(answer.body)
    if not isinstance(members, dict) or not isinstance(members.get("decision"), bool):
        raise ValueError("no decision")
    if members["decision"] is not True:
        return Verdict(allowed=False, rule=Rule.DECISION_POINT)
    try:
        return _obliged(members)
    except ValueError:
        return Verdict(allowed=False, rule=Rule.OBLIGATION)


def _obliged(members: Mapping[str, object]) -> Verdict:
    """A permission with its conditions; `ValueError` for one that is not understood."""
    context = members.get("context", {})
    if not isinstance(context, dict) or members.keys() - {"decision", "context"}:
        raise ValueError
    ours = context.get("htsget", {})
    if not isinstance(ours, dict) or context.keys() - _TOLD - {"htsget"}:
        raise ValueError
    if ours.keys() - _OBLIGATIONS:
        raise ValueError
    boundary = ours.get("boundary", "overlap")
    not_after = ours.get("not_after")
    if boundary not in BOUNDARIES:
        raise ValueError
    if "not_after" in ours and (type(not_after) is not int or not_after < 1):
        raise ValueError
    grant_ids = _texts(ours.get("grant_ids", []))
    if len(grant_ids) > _MOST_GRANTS:
        raise ValueError
    fields = ours.get("fields")
    return Verdict(
        allowed=True,
        regions=_regions(ours["regions"]) if ours.get("regions") is not None else None,
        boundary=boundary,
        fields=None if fields is None else frozenset(_texts(fields)),
        not_after=not_after or 0,
        grant_ids=tuple(f"pdp:{each}" for each in grant_ids),
    )


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError
    for each in value:
        if not isinstance(each, str) or not 0 < len(each) <= 128 or not each.isprintable():
            raise ValueError
    return value


def _regions(value: object) -> RegionSet:
    if not isinstance(value, list):
        raise ValueError
    regions = []
    for each in value:
        if each == [UNPLACED]:
            regions.append(Region(UNPLACED))
            continue
        if not isinstance(each, list) or len(each) != 3 or type(each[0]) is not str:
            raise ValueError
        name, start, end = each
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= UNBOUNDED:
            raise ValueError
        if name == UNPLACED:
            raise ValueError
        regions.append(Region(name, start, end))
    return RegionSet.of(regions)
