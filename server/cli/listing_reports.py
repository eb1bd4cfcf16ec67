"""What `htsgate check` says of locations before it looks at their files."""

from collections.abc import Iterable, Iterator

from server.cli.findings import Report, printable
from server.reachability import NOTHING_SERVABLE, unlisted, unreachable
from server.survey import Listing

_UNLISTABLE = (
    "a web folder cannot be listed, so nothing of it was looked at. Ids work all the same, but"
    " FASTA files in it are not found; name a file by its URL to have it looked at"
)


def passed_over(listings: Iterable[Listing]) -> Iterator[Report]:
    """What keeps files of the locations from being found at all."""
    for each in listings:
        for error in each.errors:
            report = Report(printable(str(error.filename or each.location.backend.describe())), "-")
            report.problem("file", f"cannot be read: {error.strerror or error}")
            yield report
        for path in each.links:
            report = Report(printable(str(path)), "-")
            where = "leaves the location" if path.exists() else "leads nowhere"
            report.note("file", f"link {where}; not served")
            yield report


async def not_listed(listing: Listing) -> Iterator[Report]:
    """What is to be said of a location whose files are not known, or not all, or that has none."""
    report = Report(printable(listing.location.backend.describe()), "-")
    if listing.failure is not None:
        report.problem("location", unlisted(listing.failure))
    elif not listing.listable:
        why = await unreachable(listing.location)
        if why is not None:
            report.problem("location", why)
        else:
            report.note("location", _UNLISTABLE)
    elif not listing.keys and not listing.errors:
        report.note("location", f"holds {NOTHING_SERVABLE}")
    return iter([report] if report.findings else [])
