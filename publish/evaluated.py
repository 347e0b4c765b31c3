"""Whether a model was measured as its recipe asks, and is as good: the suites that are missing, the floors not met."""

import difflib
from collections.abc import Iterator, Mapping, Sequence

from modelcard.evaluation.benchmarks import AVERAGE
from modelcard.facts.alike import difference, is_whole, rows_of
from modelcard.facts.evaluation import read_evaluation
from modelcard.facts.scores import Judge, Score
from recipe.evaluate.published import LEADERBOARD
from recipe.evaluate.stage import evaluation, name_of, suite_of
from recipe.evaluate.subject import Weights
from recipe.evaluate.suite import SUITES
from recipe.evaluation import Evaluation, UnderBase
from recipe.run import Run

SHOTS: Mapping[tuple[str | None, str], int] = {
    ("leaderboard", task): one.shots for one in LEADERBOARD for task, _, _ in one.figures
}
OURS: tuple[Weights, ...] = ("adapter", "merged")  # whose figures count, in this order
MOST_WITHOUT_VERDICT = 0.05
"""Share of a judge's answers that may hold none where a floor rests on them."""


def shortcomings(run: Run) -> list[str]:
    """Return what a run's evaluation lacks of what its recipe asks for, a line each.

    Raises:
        UserError: A result can't be used: it is another model's, say.
    """
    asked = run.recipe.evaluation
    if not asked.suites:
        return []
    found = read_evaluation(run)
    scores = [score for score in (found.scores if found else ()) if score.suite in asked.suites]
    outdated = dict(_outdated(run, scores))
    known = [score for score in scores if score.suite not in outdated.values()]
    missing = [
        line
        for suite in asked.suites
        if suite not in outdated.values() and (line := _missing(asked, suite, known))
    ]
    have = {score.suite for score in known}
    floors = [
        line
        for name, floor in asked.floors.items()
        if name.split("/")[0] in have and (line := _under(asked, name, floor, known))
    ]
    return [*missing, *outdated, *floors]


def rests_on(run: Run) -> list[str]:
    """Return the suites that a recipe asks for, and which of them have imported figures only."""
    found = read_evaluation(run)
    ours = [score for score in (found.scores if found else ()) if score.weights in OURS and not score.figures]
    measured = {score.suite for score in ours if score.origin.imported is None}
    return [suite if suite in measured else f"{suite} (imported)" for suite in run.recipe.evaluation.suites]


def _missing(asked: Evaluation, suite: str, scores: Sequence[Score]) -> str | None:
    """Return what of a suite was not measured: imported files may have a part of it, or be of some samples."""
    ours = [score for score in scores if score.suite == suite and score.weights in OURS]
    if not ours:
        return f"{suite} not evaluated; `notus evaluate` does, or `notus evaluate import`"
    if suite not in asked.evaluate:  # a floor is of it, and looks for its own figure
        return None
    count = [score for score in ours if score.limit in (None, asked.evaluate_limit)]
    if not count:
        return f"{suite} evaluated on some samples only; evaluate without a limit"
    lacking = []
    for weights in {score.weights for score in count}:
        tasks = {score.task for score in count if score.weights == weights}
        lacking.append([names[0] for names in _tasks(asked, suite) if not tasks.intersection(names)])
    if least := min(lacking, key=len):
        return f"{suite} evaluated but for {', '.join(least)}; `notus evaluate` does all of it"
    return None


def _tasks(asked: Evaluation, suite: str) -> list[tuple[str, ...]]:
    """Return the tasks that a suite's figures are of, each by the names that it has had."""
    if suite == "chat":
        return [(name,) for name in asked.chat_benchmarks]
    if suite == "leaderboard" and asked.benchmark_tasks is None:
        return [tuple(task for task, _, _ in one.figures) for one in LEADERBOARD]
    return []  # a group of lm-eval's need not have a figure by its own name


def _outdated(run: Run, scores: Sequence[Score]) -> Iterator[tuple[str, str]]:
    """Yield what to tell of results that no finished evaluation left as they are, with their suites.

    That takes in what lies there after a kill, of other settings perhaps, or was put there by hand.
    """
    stages = {name: of for name in run.manifest.get("stages", {}) if (of := suite_of(name))}
    measured = [score for score in scores if score.origin.imported is None and score.task != AVERAGE]
    for score in measured:
        assert score.suite is not None
        stages[name_of(score.suite, score.weights)] = SUITES[score.suite], score.weights
    for name, (suite, weights) in stages.items():
        if suite.name in run.recipe.evaluation.suites and not run.is_current(evaluation(suite.name, weights)):
            yield f"{name} is not of this run and recipe as they are now; evaluate again", suite.name
    for file, suite_name, weights in dict.fromkeys((one.file, one.suite, one.weights) for one in measured):
        assert suite_name is not None
        entry = run.done(name_of(suite_name, weights))
        if entry is not None and file not in entry["outputs"]:
            yield f"{file} is of no evaluation of this run; remove it", suite_name


def _under(asked: Evaluation, name: str, floor: float | UnderBase, scores: Sequence[Score]) -> str | None:
    """Return why a figure is not as the recipe asks, if it is not."""
    suite, *task, metric = name.split("/")
    of_suite = [score for score in scores if score.suite == suite]
    try:
        ours = _figure(asked, of_suite, "/".join(task), metric, OURS)
    except _NoFigureError as error:
        return f"{name}: {error}"
    way = -1 if ours.higher_is_better is False else 1
    if not isinstance(floor, UnderBase):
        worse = way * ours.value < way * floor
        most = "at most " if way < 0 else ""
        return f"{name} is {ours.value:.4g}, and the recipe asks for {most}{floor:g}" if worse else None
    try:
        base = _figure(asked, of_suite, "/".join(task), metric, ("base",))
    except _NoFigureError as error:
        return f"{name}: of the base {error}; `notus evaluate RECIPE --suite {suite} --against base`"
    if differs := difference(ours, base):
        return f"{name}: {differs}, so that they say nothing of each other; evaluate both alike"
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


def _figure(
    asked: Evaluation, scores: Sequence[Score], task: str, metric: str, whose: Sequence[Weights]
) -> Score:
    """Return the one figure that is meant."""
    for weights in whose:
        of_task = [score for score in scores if score.task == task and score.weights == weights]
        named = [score for score in of_task if metric in {score.metric, f"{score.metric},{score.filter}"}]
        if named:
            return _that_counts(asked, named)
    have = sorted({f"{score.task}/{score.metric}" for score in scores if score.weights in whose})
    near = difflib.get_close_matches(f"{task}/{metric}", have, n=1, cutoff=0)
    raise _NoFigureError("no such figure" + (f" (nearest: {near[0]})" if near else ""))


def _that_counts(asked: Evaluation, named: Sequence[Score]) -> Score:
    """Return the one figure of a name that was measured as it has to be."""
    shots = SHOTS.get((named[0].suite, named[0].task))
    found = [score for score in named if shots is None or score.shots in (None, shots)]
    if not found:
        raise _NoFigureError(
            f"measured with {named[0].shots} examples in the prompt, and the leaderboard has {shots}; evaluate as it "
            "does"
        )
    (first, *others) = found
    if others:
        either = " or ".join(f"{score.metric},{score.filter}" for score in found)
        raise _NoFigureError(f"there are several; name {either}")
    if first.limit is not None:
        raise _NoFigureError(f"measured on {first.limit:g} samples only; evaluate without a limit")
    local = asked.benchmark_data.keys() & {first.task, *first.holds}  # then these rows are what is asked for
    if first.suite == "leaderboard" and not is_whole(first) and not local:
        raise _NoFigureError(
            f"measured on {first.samples:,} samples, and the benchmark has {rows_of(first):,}; evaluate all of it"
        )
    if (judge := first.origin.judge) and judge.without_verdict > MOST_WITHOUT_VERDICT * _judgements(
        first, judge
    ):
        raise _NoFigureError(
            f"{judge.without_verdict:,} of {_judgements(first, judge):,} answers have no verdict; name another "
            "annotator (alpaca_annotator) or judge, and evaluate again"
        )
    if first.suite == "leaderboard" and first.origin.chat_template != asked.benchmark_chat_template:
        how = ("with", "without") if first.origin.chat_template else ("without", "with")
        raise _NoFigureError(f"measured {how[0]} the chat template, and the recipe asks for it {how[1]}")
    return first


def _judgements(score: Score, judge: Judge) -> int:
    """Return how many answers were judged; where the file does not say, those counted and those without a verdict."""
    return judge.judgements or (score.samples or 0) + judge.without_verdict
