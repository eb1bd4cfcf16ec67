"""What a custodian may not have meant: grants that reach nobody or nothing, and terms of the Data
Use Ontology (DUO) that no clause of a grant upholds. Notes, not refusals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from auth.policy.document import PANEL, Dataset, Deny, Grant
from auth.policy.document_rules import region_limited
from auth.policy.evaluation import Policy
from auth.policy.grants import AFFILIATION, Atom, ClaimAtom, IdentityAtom, VisaAtom
from auth.policy.rights import Territories

_STATUS = "ResearcherStatus"
_TERMS = "AcceptedTermsAndPolicies"
_FORMATS = {"reads": {"BAM", "CRAM"}, "variants": {"VCF", "BCF"}}


@dataclass(frozen=True, slots=True)
class Note:
    """Something to look at. `about`: a table of the policy, such as `grant G-1`."""

    about: str
    message: str


def lint(policy: Policy, now: float) -> list[Note]:
    """All notes on a policy, in file order. `now`: seconds since the epoch."""
    today = datetime.fromtimestamp(now, UTC).date()
    document = policy.document
    territories = Territories(document)
    notes: list[Note] = []
    rules: list[Grant | Deny] = [*document.grants, *document.denies]
    used = {text for rule in rules for text in rule.regions}
    notes += (
        Note(f"panel {name}", "no grant and no denial uses it")
        for name in document.panels
        if PANEL + name not in used
    )
    granted = {grant.dataset for grant in document.grants}
    for dataset in document.datasets:
        about = f"dataset {dataset.id}"
        if dataset.id not in granted:
            notes.append(Note(about, "no grant: nobody sees anything of it"))
        if dataset.withdrawn is not None and dataset.samples is None:
            notes.append(Note(about, "people can withdraw, but nobody mapped samples to them: no"
                              " object of it is served; give samples"))  # fmt: skip
        if not dataset.seqcol and region_limited([r for r in rules if r.dataset == dataset.id]):
            notes.append(Note(about, "its regions are bound to no collection: a file of another"
                              " build would open other genes; give seqcol"))  # fmt: skip
    tested = {each.outcome.partition(":")[2] for each in document.expectations}
    for deny in document.denies:
        if deny.samples is not None:
            what = "in its regions nothing at all" if deny.regions else "nothing of the dataset"
            notes.append(Note(f"deny {deny.id}", "samples cannot be left out yet: until then"
                              f" {what} is served to whom it denies them"))  # fmt: skip
    for grant in document.grants:
        about = f"grant {grant.id}"
        dataset = policy.datasets[grant.dataset]
        notes += (Note(about, text) for text in _reach(grant, dataset))
        if grant.ends is not None and grant.ends < today:
            notes.append(Note(about, f"ended on {grant.ends}"))
        right = policy.rights[grant.id]
        if all(territories.of((right,), (dataset.id,), each).is_empty for each in grant.endpoints):
            notes.append(Note(about, "denials leave nothing of its regions"))
        if right.unsupported:
            notes.append(Note(about, f"needs {', '.join(right.unsupported)}, which is not served"
                              " yet: its holders are refused data until then"))  # fmt: skip
        notes += (Note(about, text) for text in _atoms(grant))
        notes += (Note(about, text) for text in _duo(grant, dataset))
        if grant.id not in tested:
            notes.append(Note(about, "no expectation names it"))
    return notes


def _reach(grant: Grant, dataset: Dataset) -> Iterator[str]:
    if grant.who.is_nobody:
        yield "says not who: it is for nobody"
    for endpoint, formats in _FORMATS.items():
        if endpoint in grant.endpoints and not formats & grant.formats:
            yield f"gives no format of {endpoint}"
    if dataset.objects:
        begins = {pattern.partition("/")[0] for pattern in dataset.objects}
        for endpoint in sorted(grant.endpoints):
            if not begins & {endpoint, "*", "**"}:
                yield f"is for {endpoint}, but no pattern of its dataset begins with {endpoint}/"
    if grant.projection.mode == "header" and "body" in grant.classes:
        yield 'gives no records, for mode = "header"'


def _atoms(grant: Grant) -> Iterator[str]:
    visas = [atom for atom in grant.who.atoms if isinstance(atom, VisaAtom)]
    agreed = {atom.value for atom in visas if atom.type == _TERMS}
    for atom in visas:
        if atom.type == _STATUS and atom.value not in agreed:
            yield f"{_STATUS} is registered access only with {_TERMS} of the same value"
        if not atom.source:
            yield f"takes {atom.type} of any source that is trusted; name the source"
    for each in grant.who.atoms:
        if isinstance(each, ClaimAtom) and not each.iss:
            yield f"takes the claim {each.claim} of any issuer; name the issuer with iss"


_Clause = Callable[[Grant], bool]


def _has(*types: str) -> _Clause:
    return lambda grant: any(
        isinstance(atom, VisaAtom) and atom.type in types for atom in grant.who.atoms
    )


def _has_atom(kind: type[Atom]) -> _Clause:
    return lambda grant: any(isinstance(atom, kind) for atom in grant.who.atoms)


def _decided(grant: Grant) -> bool:
    return not grant.who.public


_ORGANISATION = (_has(AFFILIATION, _TERMS), f"an {AFFILIATION} or {_TERMS} visa")
_COMMITTEE = (_decided, "a committee's decision, so it cannot be public")
_ATTESTED = (_has(_TERMS), f"an {_TERMS} visa with the URL of the terms")
_DUO_CLAUSES: dict[str, tuple[_Clause, str]] = {
    **dict.fromkeys(("0000045", "0000018", "0000046"), _ORGANISATION),
    **dict.fromkeys(("0000006", "0000007", "0000011", "0000042", "0000044"), _COMMITTEE),
    **dict.fromkeys(
        ("0000021", "0000020", "0000019", "0000029", "0000043", "0000012", "0000015", "0000016"),
        _ATTESTED,
    ),
    "0000026": (_has_atom(IdentityAtom), "people by iss and sub"),
    "0000028": (_has(AFFILIATION), f"an {AFFILIATION} visa of the institution"),
    "0000022": (
        lambda grant: grant.who.networks is not None or _has(AFFILIATION)(grant),
        f"an {AFFILIATION} visa or networks",
    ),
    "0000025": (lambda grant: grant.ends is not None, "valid.until"),
}
_RECORDED = {"0000004", "0000024", "0000027"}  # nothing to decide, or said by every grant's reason


def _duo(grant: Grant, dataset: Dataset) -> Iterator[str]:
    for term in dataset.duo:
        code = term.partition(":")[2]
        clause = _DUO_CLAUSES.get(code)
        if clause is None:
            if code not in _RECORDED:
                yield f"{term} of its dataset is not known here: see to it yourself"
        elif not clause[0](grant):
            yield f"{term} of its dataset asks for {clause[1]}"
