"""The stages of evaluation: one a suite and subject. Each ends up whole in `eval/SUITE/WEIGHTS`."""

import contextlib
from functools import partial
from pathlib import Path
from typing import get_args

from recipe.disk import tree_sha256
from recipe.errors import UserError
from recipe.evaluate.result import FOLDER
from recipe.evaluate.subject import Subject, Weights
from recipe.evaluate.suite import SUITES, Evaluating, Suite
from recipe.evaluation import ChatBenchmark
from recipe.progress import Reporter
from recipe.run import Run, Stage
from recipe.schema import Recipe, canonical_sha256, whole_path


def name_of(suite: str, weights: Weights) -> str:
    """Return the name of a stage: `evaluate-smoke`, `evaluate-smoke-base`."""
    return f"evaluate-{suite}" + ("" if weights == "adapter" else f"-{weights}")


def evaluation(suite: str, weights: Weights = "adapter", *, yes: bool = False) -> Stage:
    """Return the stage of a suite on a subject.

    Args:
        suite: Its name.
        weights: Whose.
        yes: Whether what it costs was agreed to.
    """
    known, name = SUITES[suite], name_of(suite, weights)
    return Stage(
        name=name,
        does=known.does
        + {"adapter": "", "merged": ", the merged weights", "base": ", the base alone"}[weights],
        needs=("fetch", "curate", "train", *(("merge",) if weights == "merged" else ())),
        outputs=(f"{FOLDER}/{suite}/{weights}",),
        reads=("science", *(f"evaluation.{key}" for key in known.reads)),
        work=partial(_work, known, weights, yes),
        outside=None if known.alone else partial(_local_data, suite),
        scratch=(_kept(name),),
    )


def evaluations_of(recipe: Recipe) -> tuple[Stage, ...]:
    """Return the stages that a recipe's evaluation takes and that need nothing from outside of the run."""
    found = []
    for suite in recipe.evaluation.suites:
        if SUITES[suite].alone:
            found.append(evaluation(suite))
            if recipe.evaluation.against_base(suite):
                found.append(evaluation(suite, "base"))
    return tuple(found)


def suite_of(stage: str) -> tuple[Suite, Weights] | None:
    """Return the suite and the weights that a stage's name is of, if it is one of these."""
    for suite in SUITES.values():
        for weights in get_args(Weights):
            if stage == name_of(suite.name, weights):
                return suite, weights
    return None


def _work(
    suite: Suite, weights: Weights, yes: bool, run: Run, out: Path, reporter: Reporter
) -> dict[str, object]:
    module = suite.load()
    module.check(run, weights)
    for place in (run.path(FOLDER), run.path(FOLDER, suite.name), run.path(FOLDER, suite.name, weights)):
        if place.exists() and not place.is_dir():
            raise UserError(f"{place}: no folder, where results are to go; remove it")
    folder, kept = out / FOLDER / suite.name / weights, run.path(_kept(name_of(suite.name, weights)))
    folder.mkdir(parents=True)
    kept.mkdir(exist_ok=True)
    try:
        return module.measure(Evaluating(suite.name, Subject(run, weights), folder, kept, reporter, yes))
    except BaseException:
        with contextlib.suppress(OSError):
            kept.rmdir()  # where nothing was kept yet
        raise


def _local_data(suite: str, run: Run) -> str:
    """Return one sha256 over the local files that take the place of the data sets of a suite's benchmarks."""
    found = {}
    for task, name in run.recipe.evaluation.benchmark_data.items():
        if (task in get_args(ChatBenchmark)) != (suite == "chat"):
            continue  # another suite's: new rows of MMLU's are no reason to pay a judge again
        place = whole_path(name)
        facts = tree_sha256(place.parent, place.name) if place.exists() else {}
        found[task] = {file: about["sha256"] for file, about in facts.items()}
    return canonical_sha256(found)


def _kept(name: str) -> str:
    return f".{name}"
