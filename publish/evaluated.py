"""Whether a model was measured as its recipe asks, and is as good: the suites that are missing, the floors not met."""

import difflib
from collections.abc import Iterator, Mapping, Sequence

from modelcard.evaluation.benchmarks import LEADERBOARD
from modelcard.facts.evaluation import read_evaluation
from modelcard.facts.scores import Score
from recipe.evaluate.stage import PREFIX, evaluation, suite_of
from recipe.evaluation import UnderBase
from recipe.run import Run

SHOTS: Mapping[tuple[str | None, str], int] = {
    ("leaderboard", task): one.shots for one in LEADERBOARD for task, _, _ in one.figures
}
OURS = ("adapter", "merged")  # whose figures count, in this order


def shortcomings(run: Run) -> list[str]:
    """Return what a run's evaluation lacks of what its recipe asks for, a line each.

    Raises:
        UserError: A result can't be used: it is another model's, say.
    """
    asked = run.recipe.evaluation
    if not asked.suites:
        return []
    found = read_evaluation(run)
    scores = found.scores if found else ()
    stale = dict(_stale(run))
    missing = [
        f"{suite} not evaluated; `notus evaluate` does, or `notus evaluate import`"
        for suite in asked.suites
        if suite not in stale.values()
        and not any(score.suite == suite and score.weights in OURS for score in scores)
    ]
    outdated = [f"{stage} is not of this run and recipe as they are now; evaluate again" for stage in stale]
    known = [score for score in scores if score.suite not in stale.values()]
    have = {score.suite for score in known}
    floors = [
        line
        for name, floor in asked.floors.items()
        if name.split("/")[0] in have and (line := _under(name, floor, known))
    ]
    return [*missing, *outdated, *floors]


def _stale(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the stages whose results are no longer those of the run, with their suites."""
    for name in run.manifest.get("stages", {}):
        if name.startswith(PREFIX) and (measured := suite_of(name)):
            suite, weights = measured
            if suite.name in run.recipe.evaluation.suites and not run.is_current(
                evaluation(suite.name, weights)
            ):
                yield name, suite.name


def _under(name: str, floor: float | UnderBase, scores: Sequence[Score]) -> str | None:
    """Return why a figure is not as the recipe asks, if it is not."""
    suite, *task, metric = name.split("/")
    of_suite = [score for score in scores if score.suite == suite]
    try:
        ours = _figure(of_suite, "/".join(task), metric, OURS)
    except _NoFigureError as error:
        return f"{name}: {error}"
    way = -1 if ours.higher_is_better is False else 1
    if not isinstance(floor, UnderBase):
        worse = way * ours.value < way * floor
        most = "at most " if way < 0 else ""
        return f"{name} is {ours.value:.4g}, and the recipe asks for {most}{floor:g}" if worse else None
    try:
        base = _figure(of_suite, "/".join(task), metric, ("base",))
    except _NoFigureError as error:
        return f"{name}: of the base {error}; `notus evaluate --against base`"
    worse_by = way * (base.value - ours.value)
    if worse_by > floor.under_base:
        side = "above" if way < 0 else "under"
        return (
            f"{name} is {ours.value:.4g}, {worse_by:.2g} {side} the base's {base.value:.4g}, and the recipe allows "
            f"{floor.under_base:g}"
        )
    return None


class _NoFigureError(Exception):
    """There is none that counts; says why."""


def _figure(scores: Sequence[Score], task: str, metric: str, whose: Sequence[str]) -> Score:
    """Return the one figure that is meant."""
    for weights in whose:
        of_task = [score for score in scores if score.task == task and score.weights == weights]
        found = [score for score in of_task if metric in {score.metric, f"{score.metric},{score.filter}"}]
        if len(found) > 1:
            either = " or ".join(f"{score.metric},{score.filter}" for score in found)
            raise _NoFigureError(f"there are several; name {either}")
        if found and found[0].shots not in {None, SHOTS.get((found[0].suite, task), found[0].shots)}:
            raise _NoFigureError(
                f"measured with {found[0].shots} examples in the prompt, and the leaderboard has "
                f"{SHOTS[found[0].suite, task]}; evaluate as it does"
            )
        if found and found[0].limit is not None:
            raise _NoFigureError(f"measured on {found[0].limit:g} samples only; evaluate without a limit")
        if found:
            return found[0]
    have = sorted({f"{score.task}/{score.metric}" for score in scores if score.weights in whose})
    near = difflib.get_close_matches(f"{task}/{metric}", have, n=1, cutoff=0)
    raise _NoFigureError("no such figure" + (f" (nearest: {near[0]})" if near else ""))
