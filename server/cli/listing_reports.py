"""What `htsgate check` says of locations before it looks at their files."""

from collections.abc import Iterable, Iterator

from server.cli.findings import Report
from server.cli.inspection import printable
from server.reachability import reason, unreachable
from server.survey import Listing
from storage_backends.base import StorageDenied


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


async def unlisted(listing: Listing) -> list[Report]:
    """A report of a location whose files are not known, and why; else none."""
    report = Report(printable(listing.location.backend.describe()), "-")
    if not listing.listable:
        why = await unreachable(listing.location)
        if why is not None:
            report.problem("location", why)
        else:
            report.note(
                "location",
                "a web server cannot be asked what it holds, so nothing was looked at; ids work"
                " all the same. Name a file by its URL to have that checked",
            )
    elif isinstance(listing.failure, StorageDenied):
        report.problem(
            "location",
            f"cannot be listed, so nothing was looked at: {reason(listing.failure)}; ids work all"
            " the same where reading is allowed, but FASTA files in it are not found",
        )
    elif listing.failure is not None:
        report.problem("location", reason(listing.failure))
    return [report] if report.findings else []
