"""`htsgate`, also `python -m server`."""

import sys
from importlib import import_module
from pathlib import Path


def main() -> int:
    """Run the command line; its exit status."""
    home = Path(__file__).resolve().parents[1]
    for package in ("formats", "storage_backends", "auth"):
        found = import_module(package).__file__
        if found is None or Path(found).resolve().parents[1] != home:
            print(
                f"htsgate: another package called {package} is in the way: {found}", file=sys.stderr
            )
            return 1
    return int(import_module("server.cli").run(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
