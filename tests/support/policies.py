"""A policy with something of everything, its panels, and people to ask it about."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from auth.decision import AccessRequest, Consent, Decision
from auth.policy.evaluation import NothingWithdrawn, Policy
from auth.policy.panels import parse_region
from auth.principal import Principal, Visa
from formats.regions import Region

DATASET = "https://data.example/datasets/HEART"
OPEN = "https://data.example/datasets/OPEN"
SEQCOL = "sjNNwm4zov3Dl0FRWbRTcZwzqrTQKIqL"
COMMITTEE = "https://dac.example"
STATUS = "https://doi.org/10.1038/s41431-018-0219-y"
ISSUER = "https://login.example/"
NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()

GENES = "chr1\t1000\t2000\tA\nchr2\t5000\t6000\tB\nchr3\t100\t200\tC\n"
HIDDEN = "chr3\t150\t160\tnobody may know\n"

POLICY = f"""
schema = "htsget-policy/1"
custodian = "Committee of the heart"

[panel.genes]
bed = "panels/genes.bed"
sha256 = "{hashlib.sha256(GENES.encode()).hexdigest()}"
assembly = "GRCh38"
seqcol = "{SEQCOL}"

[panel.hidden]
bed = "panels/hidden.bed"
sha256 = "{hashlib.sha256(HIDDEN.encode()).hexdigest()}"
assembly = "GRCh38"
seqcol = "{SEQCOL}"

[[dataset]]
id = "{DATASET}"
objects = ["reads/heart/*", "variants/heart/joint"]
samples = "samples.csv"
withdrawn = "withdrawn.csv"
consent_max_age = "24h"
duo = ["DUO:0000042", "DUO:0000025"]
seqcol = "{SEQCOL}"

[[dataset]]
id = "{OPEN}"
objects = ["reads/open/**", "variants/open/**"]
seqcol = "{SEQCOL}"

[[deny]]
id = "D-1"
dataset = "{DATASET}"
regions = ["panel:hidden"]
except_for = ["G-TEAM"]

[[grant]]
id = "G-TEAM"
dataset = "{DATASET}"
reason = "treatment"
[[grant.who.all_of]]
iss = "{ISSUER}"
sub = "clinician"
[grant.what]
endpoints = ["reads", "variants"]
formats = ["BAM", "CRAM", "VCF", "BCF"]
classes = ["header", "body"]
regions = ["all", "*"]
samples = "all"
[grant.how]
header = "full"
[grant.valid]
from = 2026-01-01
until = 2026-12-31

[[grant]]
id = "G-GENES"
dataset = "{DATASET}"
reason = "decision 1"
[grant.who]
clients = ["igv"]
networks = ["10.20.0.0/16", "2001:db8::/32"]
[[grant.who.all_of]]
visa = "ControlledAccessGrants"
value = "{DATASET}"
source = "{COMMITTEE}"
max_assertion_age = "365d"
[grant.what]
endpoints = ["reads"]
formats = ["BAM", "CRAM"]
classes = ["header", "body"]
regions = ["panel:genes", "chr1:11845780-11848345"]
[grant.limits]
bases_per_request = 5_000_000
bytes_per_day = 7_000_000
requests_per_minute = 60
[grant.valid]
from = 2026-02-01
until = 2027-01-31

[[grant]]
id = "G-MASKED"
dataset = "{DATASET}"
reason = "decision 2"
[[grant.who.all_of]]
visa = "ControlledAccessGrants"
value = "{DATASET}/masked"
source = "{COMMITTEE}"
[grant.what]
endpoints = ["reads"]
classes = ["header", "body"]
regions = ["panel:genes"]
fields = ["QNAME", "POS", "SEQ"]
tags_deny = ["SA", "XA"]
[grant.how]
boundary = "mask"

[[grant]]
id = "G-CLIP"
dataset = "{DATASET}"
reason = "browsers"
[grant.who]
any_of = [{{ iss = "{ISSUER}", sub = "browser" }}]
[grant.what]
endpoints = ["reads", "variants"]
classes = ["header", "body"]
regions = ["panel:genes"]
[grant.how]
partial = "clip"
[grant.limits]
bases_per_day = 1_000_000

[[grant]]
id = "G-OPEN"
dataset = "{OPEN}"
reason = "release"
[grant.who]
public = true
[grant.what]
endpoints = ["reads", "variants"]
classes = ["header", "body"]
regions = ["all", "*"]
[grant.how]
mode = "blocks"
header = "full"
delivery = "direct"

[[expect]]
at = 2026-06-01
subject = {{ client_id = "igv", peer = "10.20.3.4", visas = ["ControlledAccessGrants"] }}
request = {{ endpoint = "reads", object = "heart/a", format = "BAM", region = "chr2:5001-6000" }}
outcome = "allow:G-GENES"
[[expect]]
at = 2026-06-01
subject = {{ public = true }}
request = {{ endpoint = "reads", object = "reads/open/a/b", format = "BAM", region = "all" }}
outcome = "allow:G-OPEN"
[[expect]]
at = 2026-06-01
subject = {{ sub = "somebody else" }}
request = {{ endpoint = "reads", object = "heart/a", format = "BAM", region = "chr2:5001-6000" }}
outcome = "not_found"
[[expect]]
at = 2026-06-01
subject = {{ visas = [{{ type = "ControlledAccessGrants", value = "{DATASET}/masked" }}] }}
request = {{ endpoint = "reads", object = "heart/a", format = "BAM", region = "chr2:5001-6000" }}
outcome = "allow:G-MASKED"
"""


def write_policy(folder: Path, text: str = POLICY, name: str = "policy.toml") -> Path:
    """A policy file with all that `POLICY` names beside it."""
    (folder / "panels").mkdir(parents=True, exist_ok=True)
    (folder / "panels" / "genes.bed").write_text(GENES)
    (folder / "panels" / "hidden.bed").write_text(HIDDEN)
    (folder / "samples.csv").write_text("object,sample,participant\nreads/heart/a,S-1,P-1\n")
    (folder / "withdrawn.csv").write_text("participant,effective_from\n")
    path = folder / name
    path.write_text(text)
    return path


def grant(
    id: str,  # noqa: A002 - as in the file
    regions: Iterable[str] = ("all", "*"),
    *,
    sub: str = "me",
    dataset: str = "D",
    what: str = "",
    how: str = "",
    rest: str = "",
    who: str | None = None,
    endpoints: str = '["reads"]',
) -> str:
    """A `[[grant]]`, by default to one person."""
    listed = ", ".join(f'"{each}"' for each in regions)
    asked = f'any_of = [{{ iss = "{ISSUER}", sub = "{sub}" }}]' if who is None else who
    classes = "" if "classes" in what else 'classes = ["header", "body"]'
    return f"""
[[grant]]
id = "{id}"
dataset = "{dataset}"
reason = "a test"
[grant.who]
{asked}
[grant.what]
endpoints = {endpoints}
{classes}
regions = [{listed}]
{what}
[grant.how]
{how}
{rest}
"""


def head(objects: str = '["reads/d/*", "variants/d/*", "refget/*"]', more: str = "") -> str:
    """The begin of a policy with the dataset `D`."""
    dataset = f'[[dataset]]\nid = "D"\nobjects = {objects}\n{more}\n'
    return f'schema = "htsget-policy/1"\n{dataset}'


def visa(
    value: str = DATASET,
    type: str = "ControlledAccessGrants",  # noqa: A002 - as in the visa
    *,
    source: str = COMMITTEE,
    by: str = "dac",
    asserted: float = NOW - 1000,
    exp: float = NOW + 1000,
) -> Visa:
    """A visa that was read and trusted."""
    return Visa("https://visas.example/", "v", type, value, source, by, int(asserted), int(exp))


def person(sub: str = "me", *visas: Visa, **more: object) -> Principal:
    """Somebody who proved it."""
    identities = frozenset(((ISSUER, sub),))
    return Principal(iss=ISSUER, sub=sub, visas=visas, identities=identities, **more)  # type: ignore[arg-type]


def asking(
    object_id: str = "d/a",
    *regions: str,
    endpoint: str = "reads",
    format: str = "BAM",
    **more: object,
) -> AccessRequest:
    """A request for regions as samtools writes them; none is the whole object."""
    asked = tuple(Region("*") if each == "*" else parse_region(each) for each in regions)
    return AccessRequest(endpoint, object_id, format, regions=asked or None, **more)  # type: ignore[arg-type]


def ask(
    policy: Policy,
    principal: Principal,
    request: AccessRequest,
    *,
    consent: Consent | None = None,
    now: float = NOW,
) -> Decision:
    """What policy decides, and has to decide again when asked twice."""
    consent = consent or NothingWithdrawn()
    decision = policy.decide(principal, request, consent=consent, now=now)
    assert policy.decide(principal, request, consent=consent, now=now) == decision
    assert policy.explain(principal, request, consent=consent, now=now)[0] == decision
    return decision
