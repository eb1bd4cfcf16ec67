"""The measurements, by name."""

from collections.abc import Callable, Iterator

from benchmarks.measure import Row
from benchmarks.rows import access, data, index, policy, refget, remote, residues, slices, ticket
from benchmarks.rows.setting import Setting

Measurement = Callable[[Setting], Iterator[Row]]

MEASUREMENTS: dict[str, Measurement] = {
    "ticket": ticket.tickets,
    "workers": ticket.workers,
    "access": access.tickets,
    "policy": policy.decisions,
    "query": index.queries,
    "cold-load": index.cold_load,
    "large-range": data.large_ranges,
    "small-range": data.small_ranges,
    "tls": data.tls,
    "edges": slices.edges,
    "pysam": slices.re_encoding,
    "flatness": slices.flatness,
    "formats": slices.other_formats,
    "s3-ticket": remote.tickets,
    "s3-interior": remote.interior,
    "s3-block": remote.blocks,
    "subsequence": residues.residues,
    "sequence": refget.requests,
    "chromosome": refget.chromosomes,
    "ingest": residues.ingests,
}
