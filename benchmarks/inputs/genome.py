"""A FASTA file like a genome's: long chromosomes, stretches of N at their ends, repeats in lower
case."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

WIDTH = 60
FULL = MappingProxyType({"chr1": 200_000_000, "chr2": 60_000_000, "chr3": 40_000_000})
QUICK = MappingProxyType({"chr1": 1_500_000, "chr2": 500_000})

_GAP = 10_000
_REPEAT = 400  # bases of a repeat, and of what is between two, on average


def genome(directory: Path, *, quick: bool) -> Path:
    """The file, in a folder of its own; made when it is first asked for."""
    path = directory / "genome" / "genome.fa"
    if not path.is_file():
        path.parent.mkdir()
        write_genome(path, QUICK if quick else FULL)
        time.sleep(0.1)  # what was just written is not yet trusted to stay as it is
    return path


def write_genome(path: Path, lengths: Mapping[str, int]) -> None:
    """Write a FASTA file and its `.fai`; the same bytes every time."""
    random = np.random.default_rng(11)
    index = []
    with path.open("wb") as file:
        for name, length in lengths.items():
            file.write(f">{name}\n".encode())
            index.append(f"{name}\t{length}\t{file.tell()}\t{WIDTH}\t{WIDTH + 1}\n")
            whole = length // WIDTH * WIDTH
            residues = _residues(random, length)
            lines = np.full((whole // WIDTH, WIDTH + 1), ord("\n"), np.uint8)
            lines[:, :WIDTH] = residues[:whole].reshape(-1, WIDTH)
            file.write(lines.data)
            if whole < length:
                file.write(residues[whole:].tobytes() + b"\n")
    path.with_name(f"{path.name}.fai").write_text("".join(index))


def _residues(random: np.random.Generator, length: int) -> NDArray[np.uint8]:
    letters = np.frombuffer(b"ACGT", np.uint8)
    residues: NDArray[np.uint8] = letters[random.integers(0, 4, length, np.uint8)]
    runs = random.integers(1, 2 * _REPEAT, length // _REPEAT + 2)
    is_repeat = np.resize(np.array([False, True]), len(runs)).repeat(runs)[:length]
    residues[: len(is_repeat)][is_repeat] |= np.uint8(0x20)
    residues[:_GAP] = residues[-_GAP:] = ord("N")
    return residues
