"""The controlled half of `htsgate demo`: a policy, an issuer, a token, and commands to try."""

import json
import os
import shlex
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path

from server.config import ConfigurationError, Settings
from server.dev_issuer import DevIssuer, open_dev_issuer

CLINIC = "clinic"
FOLDER = "access"
"""Where policy, keys, token, settings and database are, in the demo's directory."""

_ISSUER = "https://dev.htsgate.example/"
_SUBJECT = "ada"
_DAY = 86_400

_POLICY = f"""\
# Who may see what of the demo's clinic. Edit it while the demo runs: it is read again at once.
schema = "htsget-policy/1"
custodian = "Data access committee of a hospital that does not exist"

[[dataset]]
id = "clinic"
objects = ["reads/clinic/*", "variants/clinic/*"]
samples = "samples.csv"                # whose data an object holds

[[grant]]
id = "G-1"
dataset = "clinic"
reason = "Decision 1: one gene, for {_SUBJECT}"
[grant.who]
all_of = [{{ iss = "{_ISSUER}", sub = "{_SUBJECT}" }}]
[grant.what]
endpoints = ["reads", "variants"]
classes = ["header", "body"]
regions = ["chr2:40001-60000"]         # 1-based, both ends included
[grant.how]
partial = "deny"                       # "clip" sends the permitted part of a larger region
header = "minimal"                     # "full" sends the file's own header
[grant.limits]
bases_per_day = 1_000_000

[[expect]]                             # what must be true, or the policy is not taken
at = 2026-01-01
subject = {{ iss = "{_ISSUER}", sub = "{_SUBJECT}" }}
request = {{ endpoint = "reads", object = "clinic/case-7", format = "BAM", region = "chr2:1-100" }}
outcome = "deny"
"""
_SAMPLES = """\
object,sample,participant
reads/clinic/case-7,JANE-ROE,P-7
variants/clinic/case-7,S-0007,P-7
"""


def prepare_clinic(
    directory: Path, served: Iterable[str], circular: Iterable[str] = ()
) -> Settings:
    """Have in `directory` what access control needs, with a new token; the settings that serve the
    files in `served` openly, and the clinic by policy. `circular`: names of circular sequences.

    Policy and key are left as they are if they are there. Raises `ConfigurationError`.
    """
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, text in (("policy.toml", _POLICY), ("samples.csv", _SAMPLES)):
        if not (folder / name).exists():
            _write(folder / name, text)
    try:
        issuer = open_dev_issuer(_ISSUER, folder / "issuer-key.pem", folder / "issuer-jwks.json")
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    token = issuer.access_token(_SUBJECT, audience="htsgate", now=time.time(), lifetime=_DAY)
    _write(folder / "token", token + "\n")
    text = _settings(directory, issuer, served, circular)
    _write(folder / "htsgate.toml", text)
    return Settings.model_validate(tomllib.loads(text))


def clinic_instructions(url: str, directory: Path) -> str:
    """Commands that work as they are printed, in one shell and in this order."""
    htsgate = _program()
    reads, variants = f"{url}/reads/clinic/case-7", f"{url}/variants/clinic/case-7"
    gene = "referenceName=chr2&start=40000&end=40200"
    outside = "referenceName=chr2&start=1000&end=2000"
    who = f"{_ISSUER}|{_SUBJECT}"
    bearer = '-H "Authorization: Bearer $(cat "$DEMO/token")"'
    return f"""\
The reads and variants of a clinic are controlled, by policy.toml in
{directory / FOLDER}
{_SUBJECT} may see one gene, chr2:40,001-60,000. These lines are for one shell, in this order:

export DEMO={shlex.quote(str(directory / FOLDER))}
# nobody: 401
curl "{reads}?{gene}"
# {_SUBJECT}, by a token in a file, which samtools sends over http only if it is told so
export HTS_AUTH_LOCATION="$DEMO/token"
export HTS_ALLOW_UNENCRYPTED_AUTHORIZATION_HEADER='I understand the risks'
# reads in the gene, with a header that names nobody; variants in it
samtools view -h "{reads}?{gene}"
bcftools view -H "{variants}?referenceName=chr2&start=40000&end=60000"
# outside it: 403, and why
curl {bearer} "{reads}?{outside}"
{htsgate} policy explain "{who}" clinic/case-7 chr2:1,001-2,000 --policy "$DEMO/policy.toml"
# the audit trail, and who was given what
{htsgate} audit tail --config "$DEMO/htsgate.toml"
{htsgate} audit report --config "$DEMO/htsgate.toml"
# the patient withdraws: 404, as if there were no such file; and comes back
{htsgate} consent withdraw --participant P-7 --config "$DEMO/htsgate.toml"
curl {bearer} "{reads}?{gene}"
{htsgate} consent restore --participant P-7 --config "$DEMO/htsgate.toml"
"""


def _settings(
    directory: Path, issuer: DevIssuer, served: Iterable[str], circular: Iterable[str]
) -> str:
    folder = directory / FOLDER
    locations = (
        f'[[locations]]\nurl = {_quoted(directory / name)}\naccess = "open"\n' for name in served
    )
    return f"""\
# The settings of this demo, written anew at each start.
{"".join(locations)}
[[locations]]
name = "clinic"
url = {_quoted(directory / CLINIC)}

[auth]
policy = {_quoted(folder / "policy.toml")}

[[auth.issuers]]
issuer = "{issuer.issuer}"
audience = "htsgate"
jwks_file = {_quoted(folder / "issuer-jwks.json")}
algorithms = ["{issuer.algorithm}"]

[refget]
circular = [{", ".join(map(_quoted, circular))}]

[database]
url = {_quoted(f"sqlite:///{folder / 'htsgate.db'}")}
"""


def _quoted(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False)


def _write(path: Path, text: str) -> None:
    """Have a file of ours alone, whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


def _program() -> str:
    """How to call this program again, from wherever that is."""
    started = Path(sys.argv[0])
    if started.name != "htsgate":
        return f"{shlex.quote(sys.executable)} -m server"
    found = shutil.which("htsgate")
    if found is not None and os.path.samefile(found, started):  # noqa: PTH121 - of two texts
        return "htsgate"
    return shlex.quote(str(started.absolute()))
