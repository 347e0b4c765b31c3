"""A recipe's *evaluation*: how the model is measured, and how good it has to be to be released.

No model depends on it: the same science with another evaluation is the same run.
"""

import difflib
from typing import Annotated, Literal

from pydantic import Field, field_validator

from recipe.evaluate import SUITE_NAMES, SuiteName
from recipe.section import Positive, Section

ChatBenchmark = Literal["alpaca_eval", "mt_bench"]
Dollars = Annotated[float, Field(ge=0)]


class UnderBase(Section):
    """A floor that moves with the base: not worse than its figure by more than this."""

    under_base: Annotated[float, Field(ge=0)]


class Evaluation(Section):
    """How the model is measured, and what a release asks of it."""

    evaluate: list[SuiteName] = []  # the suites that a release needs
    floors: dict[str, float | UnderBase] = {}  # SUITE/TASK/METRIC: no worse than that
    evaluate_limit: Positive | None = None  # samples of each task, for a try
    evaluate_batch_size: Positive = 8

    # lm-eval's benchmarks
    benchmark_data: dict[str, str] = {}  # a task: local file or folder, in the place of the Hub's data set
    benchmark_revisions: dict[str, str] = {}  # a data set's path on the Hub: its commit
    benchmark_chat_template: bool = False
    benchmark_tasks: Annotated[list[str], Field(min_length=1)] | None = None  # null: the leaderboard's seven

    # answers that are written
    sample_answers: Annotated[int, Field(ge=0)] = 8  # of base and model, side by side
    answer_tokens: Positive = 1024
    answer_temperature: Annotated[float, Field(ge=0)] = 0.0  # 0: greedy
    answer_seed: Annotated[int, Field(ge=0, lt=2**32)] = 42

    # answers that are judged
    chat_benchmarks: Annotated[list[ChatBenchmark], Field(min_length=1)] = ["alpaca_eval", "mt_bench"]
    alpaca_annotator: str = "alpaca_eval_gpt4"
    judge: str | None = None  # the model's name at its endpoint
    judge_url: str | None = None  # null: the environment's OPENAI_BASE_URL
    judge_usd: Annotated[list[Dollars], Field(min_length=2, max_length=2)] | None = (
        None  # a million tokens in, out
    )
    judge_requests: Positive = 4  # at the same time
    judge_timeout: Annotated[float, Field(gt=0)] = 120.0  # seconds

    @field_validator("floors", mode="before")
    @classmethod
    def _of_a_figure(cls, value: object) -> object:
        for name, floor in value.items() if isinstance(value, dict) else ():
            suite, *rest = str(name).split("/")
            if len(rest) < 2 or not all(rest):
                raise ValueError(f"floors: {name!r} names no figure; write SUITE/TASK/METRIC")
            if suite not in SUITE_NAMES:
                near = difflib.get_close_matches(suite, SUITE_NAMES, n=1, cutoff=0)[0]
                raise ValueError(f"floors: {name!r} is of no suite; did you mean {near!r}?")
            relative = isinstance(floor, dict) and floor.keys() == {"under_base"}
            number = floor["under_base"] if relative else floor
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if not (isinstance(floor, UnderBase) or (is_number and not (relative and number < 0))):
                raise ValueError(
                    f"floors: {name}: give a number or {{under_base: x}}, x from 0 on, not {floor!r}"
                )
        return value

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites that a release needs: those named, and those that a floor is of."""
        return tuple(dict.fromkeys([*self.evaluate, *(name.split("/")[0] for name in self.floors)]))

    def against_base(self, suite: str) -> bool:
        """Whether a floor of this suite needs the base's figures."""
        return any(
            isinstance(floor, UnderBase) and name.startswith(f"{suite}/")
            for name, floor in self.floors.items()
        )
