"""Who may see what: a policy that was loaded whole, and decides about requests.

Deny by default. Grants of one projection unite their regions, grants of different projections never
mix; denials are taken from each; what asks for more than a group has is refused or, by `partial =
"clip"`, cut. A `Policy` never changes: what it remembers are answers of a pure function.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.decision import AccessRequest, Consent, Decision, Outcome
from auth.errors import InvalidConfiguration
from auth.policy.document import Dataset, PolicyDocument, read_document
from auth.policy.document_rules import check_document, restrictions
from auth.policy.expectations import Expectation
from auth.policy.grants import ClaimAtom, VisaAtom
from auth.policy.holdings import Answer, Group, Holding, answer, group_holdings
from auth.policy.rights import Right, RightsIndex, Territories
from auth.policy.rules import Rule
from auth.policy.version import policy_version
from auth.principal import Principal
from auth.tables import parse_document
from auth.tokens.signatures import check_signature

MAX_BYTES = 64 << 20
"""Of a policy file."""

_MOST_STANDINGS = 2048

Trace = Callable[[str], None]


class NothingWithdrawn:
    """Consent where nobody has withdrawn anything."""

    version = ""

    def withheld(self, dataset: str, object_id: str, at: float) -> str | None:
        """Nothing is."""
        del dataset, object_id, at
        return None


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a caller has on an object's datasets, true for `since <= now < until`. `rule`: what a
    request meets when it gets no further than the groups; `visible`: whether it may know that."""

    principal: Principal
    since: float
    until: float
    visible: bool
    dataset: str = ""
    rule: Rule = Rule.NOT_VISIBLE
    groups: tuple[Group, ...] = ()


class Policy:
    """The rights in a document that `check_document` has nothing against.

    `version` is equal for policies that say the same; `files` are what it was read from, so that
    when one of them changes it may be another.
    """

    def __init__(self, document: PolicyDocument, files: tuple[Path, ...] = ()) -> None:
        self.document = document
        self.version = policy_version(document)
        self.files = files
        self.datasets: Mapping[str, Dataset] = {each.id: each for each in document.datasets}
        self.audit_required = document.audit == "required"
        self._index = RightsIndex(document)
        self.rights: Mapping[str, Right] = {each.id: each for each in self._index.rights}
        self._territories = Territories(document)
        self._restrictions = restrictions(document)
        atoms = [atom for grant in document.grants for atom in grant.who.atoms]
        self.visa_atoms = tuple(dict.fromkeys(a for a in atoms if isinstance(a, VisaAtom)))
        self.claims_used = frozenset(atom.claim for atom in atoms if isinstance(atom, ClaimAtom))
        self._values: dict[str, set[str]] = {}
        for atom in self.visa_atoms:
            self._values.setdefault(atom.type, set()).add(atom.value)
        self._networks = any(grant.who.networks for grant in document.grants)
        self._standings: OrderedDict[tuple[object, ...], _Standing] = OrderedDict()

    @property
    def needs_visas(self) -> bool:
        """Whether some grant is for holders of a visa."""
        return bool(self.visa_atoms)

    def usable_visas(self, visa_type: str, value: str) -> bool:
        """Whether any grant can use a visa of a type and value."""
        values = self._values.get(visa_type)
        if values is None:
            return False
        return value in values or any(
            atom.usable(visa_type, value) for atom in self.visa_atoms if atom.type == visa_type
        )

    def is_restricted(self, dataset: str) -> str | None:
        """Why the objects of a dataset must not be delivered raw or presigned; None: they may."""
        if dataset not in self.datasets:
            return f"the policy knows no dataset {dataset}"
        return self._restrictions.get(dataset)

    def restricted_datasets(self) -> Mapping[str, str]:
        """The datasets whose objects must not be delivered raw or presigned, and why."""
        return self._restrictions

    def direct_conflicts(self, prefix: str, dataset: str | None = None) -> dict[str, str]:
        """Why objects of a location cannot be delivered directly: the datasets that they belong to
        or may belong to, with reasons. `prefix`: what their ids begin with, such as `name/`."""
        may_match = self.datasets_below(prefix)
        names = sorted(may_match if dataset is None else may_match | {dataset})
        return {name: why for name in names if (why := self.is_restricted(name)) is not None}

    def datasets_below(self, prefix: str) -> frozenset[str]:
        """The datasets whose patterns may match an id that begins with a prefix (`""`: any)."""
        below = (self._index.datasets_below(f"{each}/{prefix}") for each in ("reads", "variants"))
        return frozenset().union(*below)

    def names(self, endpoint: str, object_id: str) -> bool:
        """Whether a dataset's patterns match an object, so that policy decides about it."""
        return bool(self._index.datasets_of(endpoint, object_id, ()))

    def datasets_of(self, request: AccessRequest) -> tuple[str, ...]:
        """The datasets that an object belongs to, by patterns and by what holds it."""
        ids = self._index.dataset_ids
        return tuple(ids[number] for number in self._datasets_of(request))

    def decide(
        self, principal: Principal, request: AccessRequest, *, consent: Consent, now: float
    ) -> Decision:
        """What a caller may have of what it asks for (security.md 13.3)."""
        datasets = self._datasets_of(request)
        peer = request.peer if self._networks else ""
        key = (
            id(principal),
            datasets,
            request.endpoint,
            request.format,
            request.data_class,
            peer,
        )
        standing = self._standings.get(key)
        if (
            standing is None
            or standing.principal is not principal
            or not standing.since <= now < standing.until
        ):
            standing = self._standing(principal, request, datasets, now, None)
            self._standings[key] = standing
            if len(self._standings) > _MOST_STANDINGS:
                self._standings.popitem(last=False)
        return self._decide(standing, request, datasets, consent, now, None, as_written=False)

    def explain(
        self,
        principal: Principal,
        request: AccessRequest,
        *,
        consent: Consent,
        now: float,
        as_written: bool = False,
    ) -> tuple[Decision, list[str]]:
        """The decision, and the steps to it, which are for custodians only. `as_written`: also by
        projections that are not served yet."""
        steps: list[str] = []
        datasets = self._datasets_of(request)
        names = ", ".join(self._index.dataset_ids[each] for each in datasets)
        steps.append(f"{request.endpoint}/{request.object_id} belongs to {names or 'no dataset'}")
        standing = self._standing(principal, request, datasets, now, steps.append)
        decision = self._decide(
            standing, request, datasets, consent, now, steps.append, as_written=as_written
        )
        steps.append(f"{decision.outcome}: {decision.rule}")
        return decision, steps

    def answer_to(self, expectation: Expectation) -> str:
        """The outcome of an expectation, in its words."""
        decision, _ = self.explain(
            expectation.principal(self.visa_atoms),
            expectation.request,
            consent=NothingWithdrawn(),
            now=expectation.at,
            as_written=True,
        )
        if not decision.allowed:
            return decision.outcome
        named = expectation.outcome.removeprefix("allow:")
        grants = decision.grant_ids
        return f"allow:{named if named in grants else ','.join(grants)}"

    def _datasets_of(self, request: AccessRequest) -> tuple[int, ...]:
        return self._index.datasets_of(request.endpoint, request.object_id, request.datasets)

    def _standing(
        self,
        principal: Principal,
        request: AccessRequest,
        datasets: tuple[int, ...],
        now: float,
        trace: Trace | None,
    ) -> _Standing:
        """Steps 1 and 2: the grants that are in force for a caller, and what they give."""
        until = inf
        visible: list[Holding] = []
        for right in self._index.candidates(principal, datasets):
            problem = ""
            if request.endpoint not in right.endpoints:
                problem = f"is not for {request.endpoint}"
            elif now >= right.ends:
                problem = "has ended"
            else:
                met = right.who.met(principal, request.peer, now)
                if met is None:
                    problem = "is not for this caller, program or network"
                elif now < right.begins:
                    until = min(until, right.begins)
                    problem = "has not begun"
                else:
                    until = min(until, right.ends, met.until)
                    visible.append(Holding(right, met))
            if trace and problem:
                trace(f"grant {right.id} {problem}")
        if trace and not visible:
            trace("no grant in force lets this caller know of the object")
        if not visible:
            return _Standing(principal, now, until, visible=False)
        kind = request.format, request.data_class, request.endpoint
        usable: list[Holding] = []
        rule = Rule.FORMAT
        for holding in visible:
            has_format, has_class = holding.right.gives(*kind)
            if has_format and has_class:
                usable.append(holding)
            elif has_format:
                rule = Rule.CLASS
            if trace:
                wrong = "" if has_format else f" but not {request.format}"
                wrong = wrong or ("" if has_class else f" but no {request.data_class}")
                trace(f"grant {holding.right.id} is for this caller{wrong}")
        names = tuple(self._index.dataset_ids[each] for each in datasets)
        return _Standing(
            principal,
            now,
            until,
            visible=True,
            dataset=self._index.dataset_ids[visible[0].right.dataset],
            rule=rule,
            groups=group_holdings(usable, names, self._territories, self._index, request.endpoint),
        )

    def _decide(
        self,
        standing: _Standing,
        request: AccessRequest,
        datasets: tuple[int, ...],
        consent: Consent,
        now: float,
        trace: Trace | None,
        *,
        as_written: bool,
    ) -> Decision:
        """Steps 3 to 8, for what the caller has. Consent knows objects as patterns do."""
        principal = standing.principal
        if not standing.visible:
            if principal.is_anonymous:
                return self._refuse(Outcome.UNAUTHENTICATED, Rule.ANONYMOUS, consent)
            return self._refuse(Outcome.NOT_FOUND, Rule.NOT_VISIBLE, consent)
        object_name = f"{request.endpoint}/{request.object_id}"
        for number in datasets:
            name = self._index.dataset_ids[number]
            withheld = consent.withheld(name, object_name, now)
            if withheld is not None:
                if trace:
                    trace(f"consent keeps it back: {withheld}")
                return self._refuse(Outcome.NOT_FOUND, withheld, consent, name)
        found: Answer | None = None
        rule = standing.rule
        details: tuple[str, ...] = ()
        if standing.groups:
            found, rule, details = answer(standing.groups, request, trace, as_written=as_written)
        if found is None:
            return self._refuse(Outcome.DENY, rule, consent, standing.dataset, details)
        group = found.group
        not_after = min(found.until, principal.not_after or inf)
        return Decision(
            outcome=Outcome.ALLOW,
            rule=Rule.PUBLIC if found.public else Rule.ALLOWED,
            policy_version=self.version,
            consent_version=consent.version,
            dataset=group.dataset,
            grant_ids=found.grant_ids,
            projection=group.projection,
            permitted=found.permitted,
            clipped=found.clipped,
            limits=found.limits,
            not_after=0 if not_after == inf else int(not_after),
            visas=found.visas,
            seqcol=self.datasets[group.dataset].seqcol,
            delivery=group.delivery,
            audit_required=self.audit_required and not found.public,
        )

    def _refuse(
        self,
        outcome: Outcome,
        rule: str,
        consent: Consent,
        dataset: str = "",
        details: tuple[str, ...] = (),
    ) -> Decision:
        return Decision(
            outcome=outcome,
            rule=rule,
            policy_version=self.version,
            consent_version=consent.version,
            dataset=dataset,
            audit_required=self.audit_required,
            details=details,
        )


def load_policy(
    path: Path, *, signer: Ed25519PublicKey | None = None, expectations: bool = True
) -> Policy:
    """The policy in a TOML or JSON file with all its panels, if it can be used as a whole.

    `signer`: whose signature must stand in the file beside it, `NAME.sig`. `expectations` False:
    those that do not hold are no reason to refuse. Raises `InvalidConfiguration`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidConfiguration(f"{path.name} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InvalidConfiguration(f"{path.name} is larger than {MAX_BYTES >> 20} MiB")
    if signer is not None:
        check_signature(path, data, signer)
    document = read_document(parse_document(data, path), path.parent)
    check_document(document)
    lists = [file for each in document.datasets for file in (each.samples, each.withdrawn) if file]
    panels = [each.path for each in document.panels.values()]
    policy = Policy(document, (path, *panels, *lists))
    if expectations:
        for each in document.expectations:
            found = policy.answer_to(each)
            if found != each.outcome:
                raise InvalidConfiguration(
                    f"expect {each.number}: {each.outcome} is expected, but it is {found}"
                )
    return policy
