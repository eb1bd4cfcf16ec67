"""`python -m conformance.demo`: the suite at its strictest against `htsgate demo`."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conformance.cli import main as judge
from conformance.dataset import load_dataset
from conformance.description import DEMO
from conformance.official.serving import NotServed, await_data, serving

_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of the suite; arguments are its own, besides the URL."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        directory = Path(name)
        try:
            with serving(directory, "demo", "--directory", name) as url:
                sequences = load_dataset(DEMO).circular
                await_data(url, [f"/sequence/{each}/metadata" for each in sequences], _SECONDS)
                token = str(directory / "access" / "token")
                return judge(
                    [url, "--token-file", token, "--level", "exact", *(arguments or sys.argv[1:])]
                )
        except NotServed as reason:
            sys.stderr.write(f"conformance: {reason}\n")
            return 2


if __name__ == "__main__":
    sys.exit(main())
