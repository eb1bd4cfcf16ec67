"""All cases: one module for each part of a specification, in the order of a report."""

from collections.abc import Iterable

from conformance.case import Case, cases_of
from conformance.cases import (
    htsget_auth,
    htsget_blocks,
    htsget_cors,
    htsget_errors,
    htsget_exact,
    htsget_fields,
    htsget_files,
    htsget_parameters,
    htsget_post,
    htsget_post_regions,
    htsget_records,
    htsget_regions,
    htsget_service_info,
    htsget_ticket,
    refget_metadata,
    refget_range,
    refget_sequence,
    refget_service_info,
    refget_subsequence,
    seqcol_attribute,
    seqcol_collection,
    seqcol_comparison,
    seqcol_list,
    seqcol_service_info,
)

_MODULES = (
    htsget_ticket,
    htsget_parameters,
    htsget_regions,
    htsget_fields,
    htsget_post,
    htsget_post_regions,
    htsget_files,
    htsget_records,
    htsget_exact,
    htsget_blocks,
    htsget_errors,
    htsget_cors,
    htsget_auth,
    htsget_service_info,
    refget_service_info,
    refget_sequence,
    refget_subsequence,
    refget_range,
    refget_metadata,
    seqcol_service_info,
    seqcol_collection,
    seqcol_attribute,
    seqcol_comparison,
    seqcol_list,
)

CASES: tuple[Case, ...] = tuple(case for module in _MODULES for case in cases_of(module))
"""Every case of the suite, each name once."""


def select(only: Iterable[str], without: Iterable[str]) -> tuple[Case, ...]:
    """The cases whose names are, or begin with, one of `only` (none given: all), and of none of
    `without`: whole parts of names, as in `htsget.post`."""
    chosen, refused = [*only], [*without]
    return tuple(
        each
        for each in CASES
        if (not chosen or _among(each.name, chosen)) and not _among(each.name, refused)
    )


def _among(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
