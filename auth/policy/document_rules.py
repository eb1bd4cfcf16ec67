"""What the tables of a policy must be to each other, and what keeps a dataset from leaving raw."""

from collections import Counter
from collections.abc import Iterable, Iterator

from auth.errors import InvalidConfiguration
from auth.policy.document import ALL, PANEL, Dataset, Deny, Grant, PolicyDocument
from auth.tables import nearest
from formats.regions import UNPLACED


def check_document(document: PolicyDocument) -> None:
    """Refuse, with `InvalidConfiguration`, a policy that contradicts itself."""
    for kind, ids in (
        ("dataset", [each.id for each in document.datasets]),
        ("deny", [each.id for each in document.denies]),
        ("grant", [each.id for each in document.grants]),
    ):
        for each, number in Counter(ids).items():
            if number > 1:
                raise InvalidConfiguration(f"{kind} {each}: there are {number} of this id")
    datasets = {each.id: each for each in document.datasets}
    grants = {each.id for each in document.grants}
    restricted = restrictions(document)
    for place, rule in _rules(document):
        if rule.dataset not in datasets:
            raise InvalidConfiguration(
                f"{place}.dataset: there is no {rule.dataset}; {nearest(rule.dataset, datasets)}"
            )
        _check_panels(place, rule, datasets[rule.dataset], document)
    for deny in document.denies:
        for each in deny.except_for - grants:
            raise InvalidConfiguration(
                f"deny {deny.id}.except_for: there is no grant {each}; {nearest(each, grants)}"
            )
    for grant in document.grants:
        dataset = datasets[grant.dataset]
        if grant.who.public and dataset.withdrawn is not None:
            raise InvalidConfiguration(
                f"grant {grant.id}: public = true, but people can withdraw from {dataset.id}:"
                " what everybody has, nobody can take back"
            )
        if grant.delivery == "direct":
            _check_direct(grant)
        if grant.projection.mode == "blocks":
            _check_blocks(grant, restricted.get(grant.dataset))
    for expectation in document.expectations:
        word, _, name = expectation.outcome.partition(":")
        if word == "allow" and name not in grants:
            raise InvalidConfiguration(
                f"expect {expectation.number}: there is no grant {name}; {nearest(name, grants)}"
            )


def _rules(document: PolicyDocument) -> Iterator[tuple[str, Grant | Deny]]:
    yield from ((f"grant {each.id}", each) for each in document.grants)
    yield from ((f"deny {each.id}", each) for each in document.denies)


def _check_panels(
    place: str, rule: Grant | Deny, dataset: Dataset, document: PolicyDocument
) -> None:
    assemblies = set()
    for text in rule.regions:
        if not text.startswith(PANEL):
            continue
        name = text.removeprefix(PANEL)
        panel = document.panels.get(name)
        if panel is None:
            raise InvalidConfiguration(
                f"{place}.regions: there is no panel {name}; {nearest(name, document.panels)}"
            )
        if panel.seqcol and panel.seqcol != dataset.seqcol:
            raise InvalidConfiguration(
                f"{place}: panel {name} is for the collection {panel.seqcol}, dataset {dataset.id}"
                f" has {dataset.seqcol or 'none'}: regions of another build open other genes"
            )
        assemblies.add(panel.assembly)
    if len(assemblies - {""}) > 1:
        raise InvalidConfiguration(f"{place}: its panels are for several builds")


def _check_direct(grant: Grant) -> None:
    """13.2: presigned URLs open whole files, whatever was asked for."""
    if grant.projection.mode != "blocks":
        raise InvalidConfiguration(f'grant {grant.id}: delivery = "direct" needs mode = "blocks"')
    if ALL not in grant.regions:
        raise InvalidConfiguration(
            f'grant {grant.id}: delivery = "direct" hands out whole files; it needs'
            ' regions = ["all", "*"]'
        )
    for name in ("bytes_per_day", "concurrent_streams"):
        if getattr(grant.limits, name):
            raise InvalidConfiguration(
                f'grant {grant.id}: delivery = "direct" cannot keep limits.{name}: nobody counts'
                " what the store sends"
            )


def _check_blocks(grant: Grant, restriction: str | None) -> None:
    """6.2: stored bytes hold every record, sample, field and header line."""
    why = limitation(grant)
    if why is None and grant.classes != {"header", "body"}:
        why = "it does not grant both header and body"
    why = why or restriction
    if why is not None:
        raise InvalidConfiguration(
            f'grant {grant.id}: mode = "blocks" sends files as they are stored, but {why}; use'
            ' mode = "exact"'
        )


def limitation(grant: Grant) -> str | None:
    """What of an object a grant leaves out; None where it gives all of it."""
    projection = grant.projection
    if ALL not in grant.regions:
        return "it is limited to regions"
    if UNPLACED not in grant.regions and "reads" in grant.endpoints:
        return 'it leaves out unplaced reads (regions = ["all", "*"])'
    if projection.mode == "header" or "body" not in grant.classes:
        return "it gives headers only"
    if projection.unsupported:
        return f"it is limited by {', '.join(projection.unsupported)}"
    if projection.header != "full":
        return 'it shows a redacted header (header = "full" would not)'
    return None


def restrictions(document: PolicyDocument) -> dict[str, str]:
    """Why objects of datasets must not leave raw or presigned, for those that must not."""
    why: dict[str, str] = {}
    for dataset in document.datasets:
        if dataset.withdrawn is not None:
            why[dataset.id] = "participants can withdraw from the dataset"
    for deny in document.denies:
        why.setdefault(deny.dataset, f"deny {deny.id} takes something away")
    for grant in document.grants:
        limited = limitation(grant)
        if limited is not None:
            why.setdefault(grant.dataset, f"grant {grant.id}: {limited}")
    return why


def region_limited(rules: Iterable[Grant | Deny]) -> bool:
    """Whether any of them speaks of places, which mean something on one collection only."""
    return any(text not in (ALL, UNPLACED) for rule in rules for text in rule.regions)
