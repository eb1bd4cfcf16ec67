"""The words of the htsget protocol that every part of the server shares."""

from enum import StrEnum


class Format(StrEnum):
    """A file format, as a ticket names it."""

    BAM = "BAM"
    CRAM = "CRAM"
    VCF = "VCF"
    BCF = "BCF"


class DataClass(StrEnum):
    """The part of a file that a data block holds: its header, or records."""

    HEADER = "header"
    BODY = "body"


class Endpoint(StrEnum):
    """One of the two ticket endpoints."""

    READS = "reads"
    VARIANTS = "variants"

    @property
    def formats(self) -> tuple[Format, ...]:
        """What the endpoint serves; the first is its default."""
        if self is Endpoint.READS:
            return (Format.BAM, Format.CRAM)
        return (Format.VCF, Format.BCF)
