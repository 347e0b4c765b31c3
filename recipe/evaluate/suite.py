"""The suites: which there are, and what each has to have. A new one is a module, and an entry here."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from recipe.errors import UserError
from recipe.evaluate.subject import Subject, Weights
from recipe.progress import Reporter
from recipe.run import Run


@dataclass(frozen=True)
class Planned:
    """A line of a suite's plan.

    Attributes:
        task: What is measured.
        shots: Examples in the prompt; None where that says nothing.
        metric: What becomes of it.
        data: Which, with revision, or where they lie.
        requests: To the model, or to the judge; None where nobody knows.
        exact: Whether they were counted; else they are as published.
        note: What else is to be said.
        of_base: Whether the base alone is asked as well, where it is measured beside the model.
    """

    task: str
    shots: int | None
    metric: str
    data: str
    requests: int | None
    exact: bool = True
    note: str = ""
    of_base: bool = True


@dataclass(frozen=True)
class Evaluating:
    """A suite at work on a subject.

    Attributes:
        suite: Its name.
        subject: Whose weights are measured.
        out: Where results go; it becomes `eval/SUITE/WEIGHTS` once all of them are there.
        kept: What outlives a kill, until all is done; a suite looks whether it is of the same subject and settings.
        reporter: Tells people.
        yes: Whether a price was agreed to beforehand.
    """

    suite: str
    subject: Subject
    out: Path
    kept: Path
    reporter: Reporter
    yes: bool = False

    @property
    def run(self) -> Run:
        """The run."""
        return self.subject.run


class Measures(Protocol):
    """What the module of a suite has."""

    def check(self, run: Run, weights: Weights) -> None:
        """Refuse what would stop it, before any work.

        Raises:
            UserError: Says what.
        """

    def plan(self, run: Run) -> Sequence[Planned]:
        """Return what it would do, without a network; nothing need be trained."""

    def measure(self, evaluating: Evaluating) -> dict[str, object]:
        """Write results into `evaluating.out`, and return what to tell, by label."""


@dataclass(frozen=True)
class Suite:
    """A suite.

    Attributes:
        name: As recipes name it.
        does: One line for plans.
        module: That does it.
        alone: Whether it needs nothing from outside of the run: `publish` brings it by itself.
        reads: The keys of the recipe's evaluation that decide its results. Of `benchmark_data` what lies there does,
            wherever that is.
        extra: What to install it by, if Notus alone does not do.
        packages: The modules that come with that.
    """

    name: str
    does: str
    module: str
    alone: bool
    reads: tuple[str, ...]
    extra: str | None = None
    packages: tuple[str, ...] = ()

    def load(self) -> Measures:
        """Return its module.

        Raises:
            UserError: It is not installed.
        """
        if package := self.lacks():
            raise UserError(
                f"{self.name}: {package} is not installed; `pip install 'notus[{self.extra}]'`, in a clone "
                f"`pip install '.[{self.extra}]'`"
            )
        return cast("Measures", importlib.import_module(self.module))

    def lacks(self) -> str | None:
        """Return a package that it needs and that is not installed."""
        return next((name for name in self.packages if importlib.util.find_spec(name) is None), None)


_TASKS = ("evaluate_limit", "evaluate_batch_size")
_ANSWERS = ("answer_tokens", "answer_temperature", "answer_seed")
SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            name="preference",
            does="held-out pairs, and answers side by side",
            module="recipe.evaluate.preference",
            alone=True,
            reads=("sample_answers", "answer_tokens", "evaluate_batch_size"),
        ),
        Suite(
            name="smoke",
            does="small tasks of Notus's own, by lm-eval",
            module="recipe.evaluate.smoke",
            alone=True,
            reads=_TASKS,
            extra="evaluate",
            packages=("lm_eval",),
        ),
        Suite(
            name="leaderboard",
            does="the Open LLM Leaderboard's tasks, by lm-eval",
            module="recipe.evaluate.leaderboard",
            alone=False,
            reads=(
                *_TASKS,
                "benchmark_revisions",
                "benchmark_chat_template",
                "benchmark_tasks",
            ),
            extra="evaluate",
            packages=("lm_eval",),
        ),
        Suite(
            name="chat",
            does="AlpacaEval and MT-Bench, by a judge",
            module="recipe.evaluate.chat",
            alone=False,
            reads=(
                *_TASKS,
                *_ANSWERS,
                "benchmark_revisions",
                "chat_benchmarks",
                "alpaca_annotator",
                "judge",
                "judge_url",
            ),
            extra="chat",
            packages=("alpaca_eval", "openai"),
        ),
    )
}
