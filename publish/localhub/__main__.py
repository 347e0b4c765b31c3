"""`python -m publish.localhub --root DIR --port N`: serve, and print the address once it answers."""

import argparse
import sys
from pathlib import Path

from publish.localhub.server import serve
from recipe.errors import UserError


def _say(endpoint: str) -> None:
    sys.stdout.write(endpoint + "\n")
    sys.stdout.flush()


def main() -> int:
    """Return the exit code: 2 where the user can mend it, with one line on stderr."""
    parser = argparse.ArgumentParser(prog="publish.localhub", description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--child", action="store_true", help="stop when stdin is closed")
    asked = parser.parse_args()
    try:
        serve(asked.root, asked.port, on_ready=_say, while_open=sys.stdin.fileno() if asked.child else None)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
