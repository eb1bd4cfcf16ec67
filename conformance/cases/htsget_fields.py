"""`fields`, `tags` and `notags`: hints, by which an answer may hold less, but never less than was
asked for (htsget 1.3.0: Field filtering)."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from conformance.case import Requirement, Skipped, case, require
from conformance.cases.htsget_ticket import form
from conformance.dataset import DataObject
from conformance.records import Record, Region
from conformance.refusals import refused
from conformance.site import Site, region_query

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY

FIELDS = (
    "QNAME",
    "FLAG",
    "RNAME",
    "POS",
    "MAPQ",
    "CIGAR",
    "RNEXT",
    "PNEXT",
    "TLEN",
    "SEQ",
    "QUAL",
)
"""The fields of BAM that `fields` can name, in the order of SAM's columns."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """A line of SAM: its columns, with RNEXT spelled out, and its optional fields by their tags."""

    columns: tuple[str, ...]
    tags: Mapping[str, str]

    def fields(self, *names: str) -> tuple[str, ...]:
        """The columns of these names."""
        return tuple(self.columns[FIELDS.index(name)] for name in names)


@dataclass(frozen=True, slots=True)
class Sample:
    """A few reads of an object in a format: the region they are all that overlaps."""

    data: DataObject
    format: str
    region: Region
    reads: tuple[Alignment, ...]

    def ask(self, site: Site, **hints: str) -> list[Alignment]:
        """The reads of the region, asked for with hints."""
        query = {**region_query(self.region, self.format), **hints}
        return alignments(site.records(self.data, query).records)

    @property
    def tags(self) -> list[str]:
        """All tags of the reads, each once."""
        return sorted({tag for read in self.reads for tag in read.tags})

    def __str__(self) -> str:
        return f"{self.data} as {self.format}, {self.region}"


def alignments(records: Iterable[Record]) -> list[Alignment]:
    """The lines of SAM that records are."""
    found = []
    for record in records:
        columns = record.text.split("\t")
        if columns[6] == "=":
            columns[6] = columns[2]
        tags = {each[:2]: each for each in columns[11:]}
        found.append(Alignment(tuple(columns[:11]), tags))
    return found


def samples(site: Site) -> Iterator[Sample]:
    """Samples around the middle read of each object with reads, in each of its formats. Raises
    `Skipped` when there are none."""
    known = [each for each in site.known("reads") if each[1].placed]
    if not known:
        raise Skipped("no read of the description's objects has a place")
    for (data, format), truth in known:
        placed = max(truth.placed.values(), key=len)
        middle = placed[len(placed) // 2]
        region = Region(middle.reference, middle.start, middle.start + 1)
        yield Sample(data, format, region, tuple(alignments(truth.within(region))))


def tagged(site: Site) -> list[Sample]:
    """The samples whose reads have tags. Raises `Skipped` when there are none."""
    found = [each for each in samples(site) if each.tags]
    if not found:
        raise Skipped("no read of the description's objects has a tag")
    return found


@case("htsget.fields.each", MUST, "htsget 1.3.0, Field filtering")
def each_field(site: Site) -> None:
    """Each field of the table can be asked for alone, and no read lacks it then."""
    for sample in samples(site):
        for name in FIELDS:
            _keeps(sample, sample.ask(site, fields=name), _columns(name), f"fields={name}: it")


@case("htsget.fields.several", MUST, "htsget 1.3.0, Field filtering")
def several_fields(site: Site) -> None:
    """A list of fields can be asked for, and no read lacks one of them then."""
    for names in (("QNAME", "FLAG", "POS"), ("RNAME", "CIGAR", "SEQ"), FIELDS):
        for sample in samples(site):
            listed = ",".join(names)
            found = sample.ask(site, fields=listed)
            _keeps(sample, found, _columns(*names), f"fields={listed}: one")


@case("htsget.fields.qualities", MUST, "htsget 1.3.0, Field filtering")
def qualities_with_bases(site: Site) -> None:
    """With `QUAL` come the bases too, or the file would not be valid."""
    for sample in samples(site):
        _keeps(sample, sample.ask(site, fields="QUAL"), _columns("SEQ"), "fields=QUAL: SEQ")


@case("htsget.fields.unknown", MAY, "htsget 1.3.0, Field filtering")
def unknown_field(site: Site) -> None:
    """A field that is none of BAM's is refused as `InvalidInput`."""
    for data in site.objects("reads"):
        for names in ("NAME", "QNAME,XXXX"):
            refused(site.ask(data, {**form(data), "fields": names}), "InvalidInput")


@case("htsget.fields.tags", MUST, "htsget 1.3.0, Query parameters: tags")
def tags_included(site: Site) -> None:
    """A tag that `tags` names is there, and so are all columns."""
    for sample in tagged(site):
        for tag in sample.tags:
            _keeps(sample, sample.ask(site, tags=tag), _with_tags(tag), f"tags={tag}: {tag}")


@case("htsget.fields.tags-none", MUST, "htsget 1.3.0, Query parameters: tags")
def no_tags(site: Site) -> None:
    """`tags=`, for no tags, is no error, and all columns are there."""
    for sample in samples(site):
        _keeps(sample, sample.ask(site, tags=""), _columns(*FIELDS), "tags=: a column")


@case("htsget.fields.notags", MUST, "htsget 1.3.0, Query parameters: notags")
def tags_excluded(site: Site) -> None:
    """What `notags` does not name is there: all other tags, and all columns."""
    for sample in samples(site):
        for tag in (*sample.tags, "X0"):
            others = [each for each in sample.tags if each != tag]
            _keeps(sample, sample.ask(site, notags=tag), _with_tags(*others), f"notags={tag}: more")


@case("htsget.fields.tags-and-notags", SHOULD, "htsget 1.3.0, Query parameters: tags, notags")
def tags_in_both(site: Site) -> None:
    """A tag both in `tags` and in `notags` is refused as `InvalidInput`."""
    for data in site.objects("reads"):
        for tags, notags in (("NM", "NM"), ("NM,MD", "RG,MD")):
            refused(site.ask(data, {**form(data), "tags": tags, "notags": notags}), "InvalidInput")


def _columns(*names: str) -> Callable[[Alignment], object]:
    return lambda read: read.fields(*names)


def _with_tags(*tags: str) -> Callable[[Alignment], object]:
    return lambda read: (read.columns, [read.tags.get(tag) for tag in tags])


def _keeps(
    sample: Sample,
    found: list[Alignment],
    part: Callable[[Alignment], object],
    what: str,
) -> None:
    """Raise `Failed` unless that part of each read of the sample is among those found."""
    wanted, having = (Counter(str(part(read)) for read in reads) for reads in (sample.reads, found))
    missing = (wanted - having).total()
    require(not missing, f"{sample}, {what} is lacking in {missing} of {len(sample.reads)} reads")
