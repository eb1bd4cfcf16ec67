"""What the actions of `htsgate policy` do."""

import argparse
import json
import time
from collections.abc import Iterable
from typing import Any

from auth.decision import AccessRequest, Decision
from auth.errors import InvalidConfiguration
from auth.policy.diff import Change, changed_datasets, compare
from auth.policy.evaluation import NothingWithdrawn, Policy, load_policy
from auth.policy.expectations import (
    Expectation,
    ExpectedVisa,
    asked_regions,
    read_expectation,
    visas_of,
)
from auth.policy.lint import lint
from auth.policy.region_sets import RegionSet
from auth.principal import ANONYMOUS, Principal
from auth.tables import Table, parse_document
from formats.regions import UNBOUNDED, UNPLACED, Region
from server.cli import policy_reports as reports
from server.config import ConfigurationError

_MOST_REGIONS = 1000
"""Regions of one change that are listed."""


def run(options: argparse.Namespace) -> int:
    """Do what is asked; the exit status. `ConfigurationError` for a file that cannot be used."""
    if options.action == "check":
        return _check(options)
    try:
        actions = {"explain": _explain, "test": _test, "diff": _diff}
        return actions[options.action](options)
    except InvalidConfiguration as error:
        raise ConfigurationError(str(error)) from error


def _check(options: argparse.Namespace) -> int:
    try:
        policy = load_policy(options.policy)
    except InvalidConfiguration as error:
        if options.json:
            print(json.dumps({"usable": False, "error": str(error)}, indent=2))
        else:
            reports.refused(str(error))
        return 1
    notes = lint(policy, time.time())
    document = policy.document
    told = {
        "usable": True,
        "version": policy.version,
        "custodian": document.custodian,
        "audit": document.audit,
        "datasets": len(document.datasets),
        "grants": len(document.grants),
        "denials": len(document.denies),
        "panels": {name: panel.regions.bases for name, panel in document.panels.items()},
        "expectations": len(document.expectations),
        "restricted": dict(policy.restricted_datasets()),
        "notes": [{"about": note.about, "message": note.message} for note in notes],
    }
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        reports.checked(told)
    return 0


def _explain(options: argparse.Namespace) -> int:
    policy = load_policy(options.policy, expectations=False)
    given = Table("explain", {"at": options.at} if options.at else {}, ("at",))
    now = given.moment("at") if options.at else time.time()
    principal = _principal(options, policy, now)
    request = AccessRequest(
        endpoint=options.endpoint,
        object_id=options.id.removeprefix(f"{options.endpoint}/"),
        format=options.format or {"reads": "BAM", "variants": "VCF"}.get(options.endpoint, ""),
        data_class=options.data_class,
        regions=asked_regions(given, (options.region,)),
        datasets=frozenset(options.dataset),
        peer=options.peer,
    )
    decision, steps = policy.explain(principal, request, consent=NothingWithdrawn(), now=now)
    told = {"subject": principal.name or "anonymous", "steps": steps, **_decision(decision)}
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        reports.explained(told)
    return 0 if decision.allowed else 1


def _principal(options: argparse.Namespace, policy: Policy, now: float) -> Principal:
    if options.subject == "anonymous":
        if options.visa or options.claim or options.client:
            raise ConfigurationError("anonymous: nobody has visas, claims or a program")
        return ANONYMOUS
    iss, bar, sub = options.subject.rpartition("|")
    if not (iss and bar and sub):
        raise ConfigurationError(f"{options.subject}: write ISSUER|SUB, or anonymous")
    claims: dict[str, tuple[str, ...]] = {}
    for text in options.claim:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError(f"{text}: write NAME=VALUE")
        claims[name] = (*claims.get(name, ()), value)
    visas = [
        visa
        for text in options.visa
        for visa in visas_of(_visa(text), policy.visa_atoms, (iss, sub), now)
    ]
    return Principal(
        iss=iss,
        sub=sub,
        client_id=options.client,
        visas=tuple(visas),
        identities=frozenset(((iss, sub),)),
        claims=claims,
    )


def _visa(text: str) -> ExpectedVisa:
    first, *rest = text.split()
    visa_type, _, value = first.partition("=")
    more = dict(each.partition("=")[::2] for each in rest)
    if not visa_type or more.keys() - {"source", "by"} or not all(more.values()):
        raise ConfigurationError(f"{text}: write TYPE=VALUE source=URL by=WHO, in one argument")
    return ExpectedVisa(visa_type, value, more.get("source", ""), more.get("by", ""))


def _decision(decision: Decision) -> dict[str, Any]:
    permitted = decision.permitted
    return {
        "outcome": str(decision.outcome),
        "rule": str(decision.rule),
        "dataset": decision.dataset,
        "grants": list(decision.grant_ids),
        "clipped": decision.clipped,
        "permitted": None if not isinstance(permitted, RegionSet) else _regions(permitted),
        "mode": decision.projection.mode,
        "header": decision.projection.header,
        "delivery": decision.delivery,
        "not_after": decision.not_after,
        "unsupported": list(decision.details),
        "policy_version": decision.policy_version,
    }


def _test(options: argparse.Namespace) -> int:
    policy = load_policy(options.policy, expectations=False)
    cases: list[Expectation] = list(policy.document.expectations)
    if options.cases is not None:
        cases += _cases(options)
    results = [
        {
            "number": each.number,
            "object": f"{each.request.endpoint}/{each.request.object_id}",
            "regions": _asked(each.request.regions),
            "expected": each.outcome,
            "found": policy.answer_to(each),
        }
        for each in cases
    ]
    failed = sum(each["expected"] != each["found"] for each in results)
    if options.json:
        print(json.dumps({"cases": results, "failed": failed}, indent=2))
    else:
        reports.tested(results, failed)
    return 1 if failed else 0


def _cases(options: argparse.Namespace) -> list[Expectation]:
    data = options.cases.read_bytes()
    table = Table("", parse_document(data, options.cases), ("expect",))
    return [read_expectation(number, each) for number, each in enumerate(table.tables("expect"), 1)]


def _diff(options: argparse.Namespace) -> int:
    old, new = (load_policy(each, expectations=False) for each in (options.old, options.policy))
    told = {
        "old": old.version,
        "new": new.version,
        "datasets": {name: list(what) for name, what in changed_datasets(old, new).items()},
        "changes": [_change(each) for each in compare(old, new)],
    }
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        reports.compared(told)
    return 1 if told["datasets"] or told["changes"] else 0


def _change(change: Change) -> dict[str, Any]:
    return {
        "dataset": change.dataset,
        "endpoint": change.endpoint,
        "who": json.loads(change.who),
        "grants": list(change.grants),
        "gained": {"bases": _bases(change.gained), "regions": _regions(change.gained)},
        "lost": {"bases": _bases(change.lost), "regions": _regions(change.lost)},
        "terms": list(change.terms),
    }


def _bases(found: RegionSet) -> int | str:
    bases = found.bases
    return "any number of" if bases is None else bases


def _regions(found: RegionSet) -> list[str]:
    """A set as the texts that a custodian would write for it, as far as they can be listed."""
    texts = []
    if found.elsewhere:
        but = ", but on " + ", ".join(sorted(found.borders)) if found.borders else ""
        texts.append(f"all{but}")
    for region in found.regions():
        if len(texts) == _MOST_REGIONS:
            texts.append("…")
            break
        texts.append(_text(region))
    return texts


def _asked(regions: Iterable[Region] | None) -> list[str]:
    return ["all"] if regions is None else list(map(_text, regions))


def _text(region: Region) -> str:
    name = region.reference_name
    if name == UNPLACED or (region.start == 0 and region.end >= UNBOUNDED):
        return name
    end = "" if region.end >= UNBOUNDED else str(region.end)
    return f"{name}:{region.start + 1}-{end}"
