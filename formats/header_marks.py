"""Remarks of this server in a header: what an answer is confined to, for programs and people."""

import re
from collections.abc import Iterable

KEY = "htsgate_restriction"
"""What a remark begins with, in `@CO` lines of SAM as in `##` lines of VCF."""

_ODD = re.compile(r"[^ -;=?-~]")  # what could end a line, or begin the structured value of a VCF


def sam_marks(marks: Iterable[str]) -> str:
    """Remarks as lines of a SAM header."""
    return "".join(f"@CO\t{KEY}={_ODD.sub('?', mark)}\n" for mark in marks)


def vcf_marks(marks: Iterable[str]) -> str:
    """Remarks as lines of a VCF header."""
    return "".join(f"##{KEY}={_ODD.sub('?', mark)}\n" for mark in marks)
