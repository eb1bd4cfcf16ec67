"""What a case works with: the server, what is known of its data, and what was learnt on the way."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, urlencode

import pysam
from pysam.utils import SamtoolsError

from conformance.case import Failed, Skipped
from conformance.dataset import FORMATS, DataObject, Dataset
from conformance.http import LONGEST_BODY, Answer, Client, Unreachable
from conformance.records import Records, Region, TooLarge, Undecodable, decode, read
from conformance.seqcol import Collections
from conformance.sequences import Sequences
from conformance.ticket import Block, Ticket, fetch_block, read_ticket

Form = tuple[DataObject, str]
"""An object, and one of its formats."""

MOST_BLOCKS = 10_000
"""URLs of a ticket that are followed."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A ticket followed to its end: what its URLs led to, in order, and the file they make."""

    ticket: Ticket
    parts: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    @property
    def blocks(self) -> Iterator[tuple[Block, bytes]]:
        return zip(self.ticket.blocks, self.parts, strict=True)


class Site:
    """A server under test. What is asked for twice is asked for once where a case says so; what
    cannot be had raises `Failed` or `Skipped`."""

    def __init__(self, url: str, dataset: Dataset, client: Client, resources: ExitStack) -> None:
        self.base = url.rstrip("/")
        self.dataset = dataset
        self.client = client
        self._resources = resources
        self._truths: dict[tuple[str, str, str], Records | str] = {}

    # -- where things are ------------------------------------------------------------------------

    def objects(self, endpoint: str | None = None) -> tuple[DataObject, ...]:
        """The open objects (of an endpoint). Raises `Skipped` when there are none."""
        found = tuple(each for each in self.dataset.objects if endpoint in (None, each.endpoint))
        if not found:
            raise Skipped(f"the description names no {endpoint or 'objects'}")
        return found

    def forms(self, endpoint: str | None = None) -> tuple[Form, ...]:
        """The open objects (of an endpoint), each with each of its formats."""
        return tuple((each, format) for each in self.objects(endpoint) for format in each.formats)

    def endpoint(self, name: str) -> str:
        """The URL of `reads`, `variants`, `sequence` or `collections` (the root of those)."""
        default = "" if name == "collections" else f"/{name}"
        return self.base + self.dataset.paths.get(name, default)

    def url(self, data: DataObject, query: Mapping[str, object] | None = None) -> str:
        """Where tickets of an object are asked for."""
        text = urlencode({name: str(value) for name, value in (query or {}).items()})
        address = f"{self.endpoint(data.endpoint)}/{quote(data.id, safe='/')}"
        return f"{address}?{text}" if text else address

    # -- htsget ----------------------------------------------------------------------------------

    def ask(
        self,
        data: DataObject,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """What the server answers to a request for a ticket, whatever that is."""
        return self.client.get(self.url(data, query), {**self.bearer, **(headers or {})})

    def post(
        self, data: DataObject, body: bytes, query: Mapping[str, object] | None = None
    ) -> Answer:
        """What the server answers to a POST, whatever that is."""
        headers = {"Content-Type": "application/json", **self.bearer}
        return self.client.request("POST", self.url(data, query), headers, body)

    @property
    def bearer(self) -> Mapping[str, str]:
        """The headers that open data are asked for with; none unless all of a server is closed."""
        token = self.dataset.token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def ticket(self, data: DataObject, query: Mapping[str, object] | None = None) -> Ticket:
        """A ticket. Raises `Failed` when there is none."""
        return read_ticket(self.ask(data, query), FORMATS[data.endpoint][0])

    def fetch(self, ticket: Ticket) -> Fetched:
        """All that a ticket leads to. Raises `Failed` when something is refused or breaks, and
        `Skipped` when it is too much."""
        if len(ticket.blocks) > MOST_BLOCKS:
            raise Skipped(f"{ticket.answer} with more than {MOST_BLOCKS} URLs")
        parts: list[bytes] = []
        left = LONGEST_BODY
        for block in ticket.blocks:
            try:
                parts.append(fetch_block(self.client, block))
            except Unreachable as error:
                raise Failed(str(error)) from None
            left -= len(parts[-1])
            if left < 0:
                raise Skipped(f"{ticket.answer}, and leads to more than {LONGEST_BODY} bytes")
        return Fetched(ticket, tuple(parts))

    def records(self, data: DataObject, query: Mapping[str, object] | None = None) -> Records:
        """What the file holds that a ticket leads to. Raises `Failed` when it is no file."""
        return self.decoded(data, self.fetch(self.ticket(data, query)))

    def decoded(self, data: DataObject, fetched: Fetched) -> Records:
        """What a fetched file holds. Raises `Failed` when it is none, and `Skipped` when it holds
        too much."""
        format = fetched.ticket.format
        reference = self.reference(data) if format == "CRAM" else None
        try:
            return decode(fetched.data, format, reference)
        except (Undecodable, KeyError) as error:
            where = fetched.ticket.answer
            raise Failed(f"{where}, and htslib cannot read the {format}: {error}") from None
        except TooLarge as error:
            raise Skipped(f"{fetched.ticket.answer}, and {error}") from None

    def truth(self, data: DataObject, format: str) -> Records:
        """What an object holds: the description's file, or the server's whole answer, which must
        have the records that the description counts. Raises `Skipped` when neither can be had, so
        that a case fails for what it is about alone."""
        key = (data.endpoint, data.id, format)
        if key not in self._truths:
            self._truths[key] = self._find_truth(data, format)
        found = self._truths[key]
        if isinstance(found, str):
            raise Skipped(found)
        return found

    def known(self, endpoint: str | None = None) -> list[tuple[Form, Records]]:
        """What objects (of an endpoint) hold, in each of the formats of which that is known. Raises
        `Skipped` when it is of none."""
        found: list[tuple[Form, Records]] = []
        reasons: list[Skipped] = []
        for form in self.forms(endpoint):
            try:
                found.append((form, self.truth(*form)))
            except Skipped as reason:
                reasons.append(reason)
        if not found:
            raise reasons[0]
        return found

    def _find_truth(self, data: DataObject, format: str) -> Records | str:
        known = data.truths.get(format)
        try:
            if known and known.path:
                reference = self.reference(data) if format == "CRAM" else None
                return read(known.path, format, reference, alone=True)
            whole = self.records(data, {"format": format})
        except (Failed, Skipped, Undecodable, TooLarge) as error:
            return f"what {data} holds as {format} is not known: {error}"
        if known and whole.bases and known.digest not in (None, whole.digest):
            return f"the whole of {data} as {format} is not what the description says"
        return whole

    # -- references ------------------------------------------------------------------------------

    def reference(self, data: DataObject) -> Path | None:
        """A FASTA file that an object's CRAM is decoded with: the description's, or one made of
        sequences that the server gives by the digests in the header. None: there is none."""
        return data.reference or self._references.get(data.id)

    @cached_property
    def _references(self) -> dict[str, Path]:
        directory = Path(self._resources.enter_context(TemporaryDirectory(prefix="conformance-")))
        made = {}
        for number, data in enumerate(self.dataset.objects):
            if "CRAM" in data.formats and data.reference is None:
                path = directory / f"{number}.fa"
                if self._write_reference(data, path):
                    made[data.id] = path
        return made

    def _write_reference(self, data: DataObject, path: Path) -> bool:
        try:
            header = self.fetch(self.ticket(data, {"format": "CRAM", "class": "header"}))
            lines = decode(header.data, "CRAM").header.splitlines()
            sequences = [each for each in map(_fields, lines) if {"SN", "M5"} <= each.keys()]
            if sum(int(each.get("LN", 0)) for each in sequences) > LONGEST_BODY:
                return False
            with path.open("wb") as fasta:
                for fields in sequences:
                    url = f"{self.endpoint('sequence')}/{quote(fields['M5'])}"
                    residues = self.client.get(url, self.bearer).expect(200).body
                    fasta.write(f">{fields['SN']}\n".encode() + residues + b"\n")
            pysam.faidx(str(path))
        except (Failed, Skipped, Undecodable, TooLarge, Unreachable, SamtoolsError):
            return False
        return bool(sequences)

    # -- refget ----------------------------------------------------------------------------------

    @cached_property
    def sequences(self) -> Sequences:
        """The sequences of the server."""
        return Sequences(
            self.client,
            self.endpoint("sequence"),
            self.bearer,
            lambda: self.sequence_ids,
            self.dataset.circular,
        )

    @property
    def refget(self) -> Sequences:
        """The sequences. Raises `Skipped` when the server has no such protocol."""
        if not self.sequences.offered:
            raise Skipped(f"no sequences are offered: {self.sequences.service_info}")
        return self.sequences

    @cached_property
    def collections(self) -> Collections:
        """The collections of sequences of the server."""
        url, digests = self.endpoint("collections"), self.dataset.collections
        return Collections(self.client, url, self.bearer, digests)

    @property
    def seqcol(self) -> Collections:
        """The collections. Raises `Skipped` when the server has no such protocol."""
        if not self.collections.offered:
            raise Skipped(f"no collections are offered: {self.collections.listed}")
        return self.collections

    @cached_property
    def sequence_ids(self) -> tuple[str, ...]:
        """Ids of sequences: the description's, or the digests in the headers of the reads, or those
        in collections; the shortest sequences first. Empty: there are none."""
        if self.dataset.sequences:
            return self.dataset.sequences
        found: dict[str, int] = {}
        for data in self.dataset.objects:
            if data.endpoint != "reads":
                continue
            try:
                header = self.records(data, {"class": "header", "format": data.formats[0]}).header
            except (Failed, Skipped):
                continue
            for fields in map(_fields, header.splitlines()):
                if "M5" in fields:
                    found[fields["M5"]] = int(fields.get("LN", 0))
        if not found:
            found = self.collections.sequences
        return tuple(sorted(found, key=found.__getitem__))


def _fields(line: str) -> dict[str, str]:
    """What an @SQ line of a header says; nothing of other lines."""
    kind, *fields = line.split("\t")
    return dict(each.split(":", 1) for each in fields if ":" in each) if kind == "@SQ" else {}


def region_query(region: Region, format: str | None = None) -> dict[str, Any]:
    """The query of a region (in a format)."""
    query: dict[str, Any] = {"format": format} if format else {}
    query["referenceName"] = region.reference
    if region.start is not None:
        query["start"] = region.start
    if region.end is not None:
        query["end"] = region.end
    return query
