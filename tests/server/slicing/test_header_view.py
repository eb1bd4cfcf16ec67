"""Headers by a view: valid, the same for slices and alone, and without what records do not need."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pysam
import pysam.bcftools
import pytest

from formats.bgzf import compress
from formats.cram import parse_header
from formats.errors import CorruptData
from formats.regions import Interval
from formats.source import BytesSource
from server.model import Format
from server.slicing.header_view import HeaderView, view_header
from server.slicing.selection import Selection
from server.slicing.slicers import read_stream_header
from tests.formats.byte_records import bam_header, bcf_header
from tests.server.slicing.confined import shelve
from tests.support import sample_reads, sample_variants
from tests.support.bgzf_layout import chunked, inflated, reblock, write_bgzf
from tests.support.oracle import Oracle, decode, first_difference, passes_quickcheck
from tests.support.sample_bams import write_bam
from tests.support.sample_crams import write_cram
from tests.support.sample_recipes import Sample, SampleUnavailable
from tests.support.sample_variants import write_bcf, write_vcf
from tests.support.samples import RECIPES, Samples, shared_samples

CANARY = "CANARY"
MINIMAL = HeaderView(minimal=True)
MARK = "chr1:1-900000; policy sha256:0a1b"
MARKED = HeaderView(minimal=True, marks=(MARK,))
MIDDLE = Selection((Interval(0, 20_000, 60_000), Interval(1, 0, 30_000)))


def planted_sam() -> str:
    """Reads under a header with a secret wherever free text may stand; read groups not sorted."""
    lines = sample_reads.small_reads().splitlines()
    records = "\n".join(line for line in lines if not line.startswith("@"))
    extra = f"UR:file:///{CANARY}/x.fa\tDS:{CANARY}\tAH:*\tAS:/{CANARY}/hg19\tSP:{CANARY}:x\txx:{CANARY}"
    md5 = "\tM5:" + "0123456789abcdef" * 2
    header = [f"@HD\tVN:1.6\tSO:coordinate\tSS:coordinate:{CANARY}"]
    header += [line + md5 + "\t" + extra for line in lines if line.startswith("@SQ")]
    header += [f"@RG\tID:unused\tSM:{CANARY}_A\tPL:{CANARY}"]
    private = "\t".join(f"{tag}:{CANARY}" for tag in ("LB", "DS", "CN", "DT", "PU", "PM", "FO"))
    header += [f"@RG\tID:g2\tSM:{CANARY}_B\tPL:ILLUMINA\t{private}"]
    header += [f"@RG\tID:g1\tSM:{CANARY}_A\t{private}"]
    header += [f"@PG\tID:{CANARY}\tPN:{CANARY}\tVN:1\tCL:bwa mem /{CANARY}/in.fq\tDS:{CANARY}"]
    header += [f"@CO\t{CANARY}", f"@CO\tlast of {CANARY}"]
    return "\n".join(header) + "\n" + records + "\n"


def planted_vcf() -> str:
    """Variants under a header with a secret wherever free text may stand."""
    text = sample_variants.plain_variants()
    text = re.sub(r'Description="[^"]*"', f'Description="{CANARY}",Source="{CANARY}"', text)
    text = re.sub(
        r"(##contig=<ID=[^,]*),", rf'\1,assembly=file:///{CANARY}.fa,species="{CANARY}",', text
    )
    secrets = [
        f"##bcftools_viewCommand=view -s {CANARY} /data/{CANARY}/in.bcf; Date=now",
        f"##source={CANARY}",
        f"##reference=file:///{CANARY}.fa",
        f"##SAMPLE=<ID={CANARY},Description={CANARY}>",
        f"##PEDIGREE=<ID={CANARY},Father={CANARY}>",
        f"##META=<ID={CANARY},Type=String,Number=.,Values=[{CANARY}]>",
        f'##FILTER=<ID=also,Description="{CANARY}">',
    ]
    first, _, rest = text.partition("\n")
    return "\n".join((first, *secrets, rest))


def build_bam(path: Path) -> None:
    write_bam(path, planted_sam())
    pysam.index(str(path))


def build_picard(path: Path) -> None:
    """Blocks that hold the end of the header and the first records."""
    whole = path.with_name("whole.bam")
    write_bam(whole, planted_sam())
    reblock(whole, path, 65_498)
    whole.unlink()
    pysam.index(str(path))


def build_cram(*options: str) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        fasta = None
        if "no_ref=1" not in options:
            fasta = path.with_name("genome.fa")
            sample_reads.write_fasta(fasta, sample_reads.SMALL_CONTIGS)
            pysam.faidx(str(fasta))
        text = planted_sam()
        if fasta is not None:
            # htslib finds the bases by @SQ M5, which it then writes itself.
            text = re.sub(r"\tM5:\w+", "", text)
        write_cram(path, text, *options, "seqs_per_slice=300", fasta=fasta)
        pysam.index(str(path))

    return build


def build_vcf(path: Path) -> None:
    write_vcf(path, planted_vcf())
    pysam.tabix_index(str(path), preset="vcf", force=True)


def build_vcf_in_blocks(path: Path) -> None:
    write_bgzf(path, chunked(planted_vcf().encode(), 65_280))
    pysam.tabix_index(str(path), preset="vcf", force=True)


def build_bcf(path: Path) -> None:
    write_bcf(path, planted_vcf())
    pysam.bcftools.index(str(path))


def build_bcf_by_order(path: Path) -> None:
    """Keys and contigs numbered by the order of their lines, among lines that are dropped."""
    build_bcf(path)
    stream = inflated(path.read_bytes())
    length = int.from_bytes(stream[5:9], "little")
    text = re.sub(rb",IDX=\d+", b"", stream[9 : 9 + length])
    stream = stream[:5] + len(text).to_bytes(4, "little") + text + stream[9 + length :]
    write_bgzf(path, chunked(stream, 60_000))
    pysam.bcftools.index("-f", str(path))


BUILDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "BAM": (f"{CANARY}.bam", build_bam),
    "BAM by Picard": (f"{CANARY}.bam", build_picard),
    "CRAM 2.1": (f"{CANARY}.cram", build_cram("version=2.1", "no_ref=1")),
    "CRAM 3.0": (f"{CANARY}.cram", build_cram("version=3.0", "no_ref=1")),
    "CRAM 3.0 with reference": (f"{CANARY}.cram", build_cram("version=3.0")),
    "CRAM 3.1": (
        f"{CANARY}.cram",
        build_cram("version=3.1", "no_ref=1", "slices_per_container=3"),
    ),
    "VCF": (f"{CANARY}.vcf.gz", build_vcf),
    "VCF by bgzip": (f"{CANARY}.vcf.gz", build_vcf_in_blocks),
    "BCF": (f"{CANARY}.bcf", build_bcf),
    "BCF by order": (f"{CANARY}.bcf", build_bcf_by_order),
}


@pytest.fixture(scope="module", params=BUILDS)
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A file whose header holds canaries, beside its index."""
    name, build = BUILDS[request.param]
    path = tmp_path_factory.mktemp("planted") / name
    build(path)
    fasta = path.with_name("genome.fa")
    return Sample(name, path, path, True, fasta if fasta.exists() else None)


def plain(data: bytes) -> bytes:
    """The bytes as they are, and inflated; of a CRAM its header is."""
    if data[:4] == b"CRAM":
        return data + parse_header(BytesSource(data)).text.encode()
    return data + inflated(data)


def regions_of(selection: Selection, oracle: Oracle) -> list[tuple[str, int | None, int | None]]:
    names = list(oracle.contigs)
    return [(names[number], start, end) for number, start, end in selection.intervals or ()]


@pytest.mark.security("TL3")
async def test_canaries_are_nowhere(planted: Sample) -> None:
    """Not in slices, not in whole files, not in the header alone; before they were."""
    shelf = await shelve(planted)
    try:
        assert CANARY.encode() in plain(await shelf.header(None, closed=True))
        for view in (MINIMAL, MARKED):
            header = await shelf.header(view)
            for selection in (MIDDLE, Selection(), Selection(()), Selection((), unplaced=True)):
                answer = await shelf.answer(view, selection)
                assert answer.startswith(header)
                assert CANARY.encode() not in plain(answer)
                # htslib begins a CRAM with the path that it was written to.
                assert bytes(planted.path)[:9] not in plain(answer)
                assert (MARK.encode() in plain(answer)) is (view is MARKED)
            assert CANARY.encode() not in plain(await shelf.header(view, closed=True))
    finally:
        await shelf.library.close()


@pytest.mark.security("TL1")
async def test_records_mean_what_they_meant(planted: Sample) -> None:
    """Read groups, keys, filters, contigs: records decode as they do in the file itself."""
    oracle = Oracle(planted)
    shelf = await shelve(planted)
    try:
        for view in (MINIMAL, MARKED, HeaderView(minimal=False, marks=(MARK,))):
            whole = decode(await shelf.answer(view, Selection()), planted)
            assert not first_difference(oracle.records, whole.records)
            part = decode(await shelf.answer(view, MIDDLE), planted)
            expected = oracle.select(regions_of(MIDDLE, oracle))
            assert expected
            assert not first_difference(expected, part.records)
            assert (f"htsgate_restriction={MARK}" in part.header) is bool(view.marks)
    finally:
        await shelf.library.close()


async def test_read_groups_of_records(planted: Sample) -> None:
    if planted.endpoint != "reads":
        pytest.skip("of reads")
    shelf = await shelve(planted)
    try:
        answer = decode(await shelf.answer(MINIMAL, Selection()), planted)
    finally:
        await shelf.library.close()
    assert {line.partition("\tRG:Z:")[2].split("\t")[0] for line in answer.records} == {"g1", "g2"}
    header = pysam.AlignmentHeader.from_text(answer.header).to_dict()
    assert header["HD"] == {"VN": "1.6", "SO": "coordinate"}
    assert header["RG"] == [
        {"ID": "unused", "SM": "sample1"},
        {"ID": "g2", "SM": "sample2", "PL": "ILLUMINA"},
        {"ID": "g1", "SM": "sample1"},
    ]
    assert header["PG"] == [{"ID": "htsgate", "PN": "htsgate"}]
    assert set().union(*header["SQ"]) == {"SN", "LN", "M5"}
    assert "CO" not in header


async def test_samtools_and_bcftools_accept_it(planted: Sample, tmp_path: Path) -> None:
    shelf = await shelve(planted)
    try:
        for number, view in enumerate((MINIMAL, MARKED)):
            files = {
                "slice": await shelf.answer(view, MIDDLE),
                "header": await shelf.header(view, closed=True),
                "empty": await shelf.answer(view, Selection(())),
            }
            for name, data in files.items():
                path = tmp_path / f"{name}{number}{planted.path.suffix}"
                path.write_bytes(data)
                accept(path, planted)
    finally:
        await shelf.library.close()


def accept(path: Path, sample: Sample) -> None:
    """Ask both the programs of this machine and those in pysam."""
    tool = "samtools" if sample.endpoint == "reads" else "bcftools"
    commands: list[tuple[str, ...]] = [("view", "-h", str(path))]
    if sample.endpoint == "reads":
        assert passes_quickcheck(path.read_bytes())
        commands.append(("quickcheck", "-u", str(path)))
        if sample.reference is not None:
            commands[0] = ("view", "-h", "-T", str(sample.reference), str(path))
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on PATH")
    for command in commands:
        done = subprocess.run([tool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not re.search("error|warn|truncat", done.stderr, re.IGNORECASE), done.stderr


async def test_views_are_kept_apart(planted: Sample) -> None:
    shelf = await shelve(planted)
    try:
        library, item = shelf.library, shelf.item
        views = [None, MINIMAL, MARKED, HeaderView(minimal=False, marks=(MARK,))]
        plans = [await library.plan_header(item, closed=True, view=view) for view in views]
        assert len({plan.etag for plan in plans}) == len(plans)
        again = [await library.plan_header(item, closed=True, view=view) for view in views]
        assert list(map(id, again)) == list(map(id, plans))
        same = await library.plan_header(item, closed=True, view=HeaderView(minimal=False))
        assert same.etag == plans[0].etag
    finally:
        await shelf.library.close()


@pytest.mark.security("TL3")
def test_what_readers_do_not_see_is_not_sent() -> None:
    """Behind a NUL, in names and texts; behind the columns of a VCF."""
    secret = CANARY.encode()
    columns = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    text = b"##fileformat=VCFv4.3\n" + columns
    headers = {
        Format.BAM: bam_header(b"@CO\tx\0@RG\tID:" + secret, [(b"one\0" + secret, 5)]),
        Format.BCF: bcf_header(text + b"\0##INFO=<ID=" + secret + b">\n"),
        Format.VCF: text + b"##INFO=<ID=" + secret + b">\n",
    }
    for kind, payload in headers.items():
        header = read_stream_header(BytesSource(compress(payload)), kind)
        assert secret in inflated(header.blocks)
        assert secret not in inflated(view_header(header, MINIMAL))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Format.BAM, bam_header(b"@RG\tSM:nameless\n", [])),
        (Format.BAM, bam_header(b"", [(b"", 5)])),
        (Format.BCF, bcf_header(b"##fileformat=VCFv4.3\n")),
        (Format.BCF, bcf_header(b"##INFO=<ID=A,Number=1\n#CHROM\n")),
        (Format.VCF, b"##fileformat=VCFv4.3\n#CHROM\n"),
    ],
)
def test_headers_that_cannot_be_reduced(kind: Format, payload: bytes) -> None:
    """They are refused, and never sent as they are."""
    header = read_stream_header(BytesSource(compress(payload)), kind)
    with pytest.raises(CorruptData):
        view_header(header, MINIMAL)
    assert inflated(header.blocks) == payload


@pytest.mark.exact
@pytest.mark.parametrize("key", [*(recipe.key for recipe in RECIPES), *shared_samples()])
@pytest.mark.security("TL1")
async def test_every_sample(key: str, samples: Samples) -> None:
    """Whatever wrote the file: its records are the same under the least header."""
    try:
        sample = shared_samples().get(key) or samples[key]
    except SampleUnavailable as reason:
        pytest.skip(str(reason))
    oracle = Oracle(sample)
    shelf = await shelve(sample)
    try:
        answer = await shelf.answer(MARKED, Selection())
    finally:
        await shelf.library.close()
    decoded = decode(answer, sample)
    assert not first_difference(oracle.records, decoded.records)
    if sample.endpoint == "reads":
        assert passes_quickcheck(answer)
        groups = re.findall(r"@RG\t.*?\bID:([^\t\n]+)", oracle.header)
        assert re.findall(r"@RG\tID:([^\t\n]+)", decoded.header) == groups
        assert not re.search(r"\t(UR|DS|CL|LB|PU|CN|DT|AH):", decoded.header)
    else:
        kept = r"##(?!fileformat|contig=|FILTER=|INFO=|FORMAT=|ALT=|htsgate_restriction)"
        assert not re.search(kept, decoded.header)
        assert decoded.header.splitlines()[-1] == oracle.header.splitlines()[-1]
