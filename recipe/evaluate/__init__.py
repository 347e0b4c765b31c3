"""How good a model is: suites that measure it, alone and beside its base, and what they write into `eval/`."""

from typing import Literal, get_args

SuiteName = Literal["preference", "smoke", "leaderboard", "chat"]
SUITE_NAMES: tuple[str, ...] = get_args(SuiteName)
