"""The errors of the formats layer.

    FormatError
    ├── CorruptData        the bytes break their format's specification
    ├── UnknownReference   a reference name that neither header nor index knows
    ├── UnindexableRange   regions asked of data that cannot be sliced by region
    ├── MissingReference   a sequence that decoding needs and nobody has configured
    └── LimitExceeded      valid data that would take too much work

Messages describe the data, never where it is kept; `server.errors` decides what a client may read.
"""


class FormatError(Exception):
    """Base of everything this package raises."""


class CorruptData(FormatError):
    """Data or index bytes that break their specification, or do not belong together."""


class UnknownReference(FormatError):
    """A reference name that neither the header nor the index knows."""


class UnindexableRange(FormatError):
    """A region asked of an object that cannot be sliced: no index, or not coordinate-sorted."""


class MissingReference(FormatError):
    """A reference sequence that decoding CRAM needs and that no configured FASTA file holds."""


class LimitExceeded(FormatError):
    """Data that are valid as far as they were read, and would take too much to read on."""
