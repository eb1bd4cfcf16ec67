"""Residues as FASTA, in lines of 60, of a size that is known before anything is read."""

from collections.abc import AsyncGenerator, AsyncIterator

import numpy as np

LINE = 60
"""Residues in a line."""


def text_size(residues: int) -> int:
    """Bytes of so many residues in lines, each with its end."""
    return residues + -(-residues // LINE)


def residue_before(position: int) -> int:
    """The first residue of the line that holds this byte of the text."""
    return position // (LINE + 1) * LINE


def in_lines(residues: bytes) -> bytes:
    """Residues in lines, also the last one with its end."""
    full = len(residues) // LINE
    text = np.full((full, LINE + 1), ord("\n"), np.uint8)
    text[:, :LINE] = np.frombuffer(residues, np.uint8, full * LINE).reshape(full, LINE)
    rest = residues[full * LINE :]
    return text.tobytes() + rest + b"\n" * bool(rest)


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same for residues that come in pieces of any size."""
    rest = b""
    async for piece in pieces:
        residues = rest + piece if rest else piece
        whole = len(residues) // LINE * LINE
        rest = residues[whole:]
        if whole:
            yield in_lines(residues[:whole])
    if rest:
        yield in_lines(rest)
