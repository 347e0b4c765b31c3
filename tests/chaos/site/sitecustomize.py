"""Watches a Python process from its start, where its environment asks for it; `tests.chaos.jobs` does."""

import os
import sys

if "NOTUS_CHAOS_SEEN" in os.environ:
    sys.path.insert(0, os.environ["NOTUS_CHAOS_CODE"])
    import watched  # type: ignore[import-not-found]

    sys.path.pop(0)
    watched.start()
