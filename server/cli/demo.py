"""`htsgate demo`: makes a small data set, serves it, and prints commands to try."""

import argparse
import hashlib
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pysam
from pydantic import SecretStr

from server.cli.demo_clinic import CLINIC, FOLDER, clinic_instructions, prepare_clinic
from server.config import (
    ConfigurationError,
    DatabaseSection,
    RefgetSection,
    ServerSection,
    Settings,
    is_loopback,
)
from server.demo_data import CLINIC_FILES, FILES, make_clinic_data, make_demo_data
from server.location_settings import Location
from server.serve import AddressTaken, serve

DEFAULT_PORT = 8080

_MANIFEST = "htsgate-demo.json"
_FILES = (*FILES, *(f"{CLINIC}/{name}" for name in CLINIC_FILES))
_SERVED = ("demo.bam", "demo.cram", "demo.vcf.gz", "demo.bcf", "demo.fa")
_CIRCULAR = ("chrM",)
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - the answer to it


def demo(options: argparse.Namespace) -> int:
    """Serve the demo data until told to stop; the exit status."""
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # its terminal was closed
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with _directory(options.directory) as directory:
        prepare(directory)
        guarded = is_loopback(options.host)
        if guarded:
            settings = prepare_clinic(directory, _SERVED, _CIRCULAR)
        else:
            settings = _open_settings(directory)

        def announce(url: str, _: str) -> None:
            text = instructions(url, directory, guarded=guarded)
            print(f"htsgate serves {url}\n\n{text}", flush=True)

        port = DEFAULT_PORT if options.port is None else options.port
        try:
            return serve(_listening(settings, options.host, port), announce)
        except AddressTaken:
            if options.port is not None:
                raise
        print(f"htsgate: port {port} is taken, so a free one is used", file=sys.stderr)
        return serve(_listening(settings, options.host, 0), announce)


def prepare(directory: Path) -> None:
    """Have the data in `directory`, which is made if need be; files of an earlier demo are reused.

    Raises `ConfigurationError` when a file stands in the way that no demo made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigurationError(f"{directory}: not a directory, and none can be made") from error
    made = _made_before(directory / _MANIFEST)
    if not made and os.path.lexists(directory / FOLDER):
        raise ConfigurationError(f"{directory / FOLDER} was not made by a demo; name another")
    present = [name for name in _FILES if os.path.lexists(directory / name)]
    for name in present:
        path = directory / name
        if not path.is_file() or _digest(path) != made.get(name):
            raise ConfigurationError(f"{path} was not made by a demo; name another directory")
    if len(present) == len(_FILES):
        return
    with tempfile.TemporaryDirectory(dir=directory, prefix=".htsgate-demo-") as name:
        new = Path(name)
        make_demo_data(new)
        (new / CLINIC).mkdir()
        make_clinic_data(new / CLINIC)
        digests = {name: _digest(new / name) for name in _FILES}
        (new / _MANIFEST).write_text(json.dumps(digests, indent=2) + "\n")
        for name in (_MANIFEST, *_FILES):
            (directory / name).parent.mkdir(exist_ok=True)
            (new / name).replace(directory / name)


def instructions(url: str, directory: Path, *, guarded: bool = False) -> str:
    """Commands that work as they are printed, and how a browser shows the data. `guarded`: the
    controlled data are served, too."""
    for anywhere, here in _ANYWHERE.items():
        url = url.replace(f"//{anywhere}:", f"//{here}:")
    reads, variants = f"{url}/reads/demo", f"{url}/variants/demo"
    region = "referenceName=chr1&start=100000&end=101000"
    fasta = shlex.quote(str(directory / "demo.fa"))
    with pysam.AlignmentFile(str(directory / "demo.bam")) as alignments:
        md5 = alignments.header.to_dict()["SQ"][0]["M5"]
    if guarded:
        clinic = clinic_instructions(url, directory)
    else:
        clinic = "Controlled data are for 127.0.0.1 alone, where they need no https.\n"
    return f"""\
The data are made up. These are open to whoever reaches this server, and lie in
{directory}
Copy a line; each answer holds exactly the records of its region (0-based, end excluded).

# the header of the reads
samtools view -H "{reads}?class=header"
# the reads of a region, from BAM
samtools view "{reads}?{region}"
# the reads of a region, from CRAM
samtools view -T {fasta} "{reads}?format=CRAM&{region}"
# the reads without a place
samtools view "{reads}?referenceName=*"
# the same, with the reference from this server (refget)
REF_PATH="{url}/sequence/%s" samtools view "{reads}?format=CRAM&{region}"
# residues of that reference, by its MD5, and the collections that the server knows
curl "{url}/sequence/{md5}?start=100000&end=100060"
curl "{url}/list/collection"
# the variants of a region, from VCF
bcftools view -H "{variants}?referenceName=chr2&start=20000&end=40000"
# the variants of a region, from BCF
bcftools view -H "{variants}?format=BCF&referenceName=chr2&start=20000&end=40000"
# the ticket that these programs get first; a browser shows it too
curl "{reads}?{region}"

In igv.js, whose reference is made of demo.fa and demo.fa.fai, these are tracks:
{{"type": "alignment", "sourceType": "htsget", "format": "bam", "url": "{reads}"}}
{{"type": "variant", "sourceType": "htsget", "format": "vcf", "url": "{variants}"}}

{clinic}
Ctrl-C ends the demo.
"""


@contextmanager
def _directory(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="htsgate-demo-") as name:
        yield Path(name)


def _open_settings(directory: Path) -> Settings:
    return Settings(
        locations=tuple(Location(url=str(directory / name)) for name in _SERVED),
        refget=RefgetSection(circular=_CIRCULAR),
        database=DatabaseSection(url=SecretStr("sqlite://")),
    )


def _listening(settings: Settings, host: str, port: int) -> Settings:
    """Of the demo alone: neither the environment nor other files of the directory have a say."""
    return settings.model_copy(update={"server": ServerSection(host=host, port=port)})


def _made_before(manifest: Path) -> dict[str, str]:
    try:
        made = json.loads(manifest.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        made = None
    if not isinstance(made, dict):
        raise ConfigurationError(f"{manifest} was not made by a demo; name another directory")
    return made


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _leave(*_: object) -> None:
    """Leave by an exception while the data are made, so that the temporary directory goes too."""
    sys.exit(128 + signal.SIGTERM)
