"""The commands that measure a model, or take in what others measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from commandline import work
from commandline.options import Image, Json, Quiet, RecipeName, RunFolder, Runtime, Set
from recipe.errors import UserError
from recipe.evaluate import SUITE_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recipe.evaluate.subject import Weights
    from recipe.progress import Reporter
    from recipe.run import Stage
    from recipe.schema import Recipe


class MeasureUnlessNamed(TyperGroup):
    """`evaluate RECIPE ...` measures; `evaluate import ...` is the one command that is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in that goes without saying."""
        if not args or args[0] not in self.commands:
            args = [MEASURE, *args]
        return super().parse_args(ctx, args)


MEASURE = "measure"


def measure(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", metavar="NAME", help=f"Of {', '.join(SUITE_NAMES)}. [default: the recipe's]"),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="base", help="Measure the base alone too.")
    ] = None,
    weights: Annotated[
        str, typer.Option("--weights", help="`adapter`, over its base, or `merged`.")
    ] = "adapter",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Take so many samples of each task, for a try.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print tasks, shots, metrics, data and requests; do nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Agree to what a judge costs, as it is estimated.")
    ] = False,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a model, and its base beside it, by suites; the results lie in the run's `eval/`.

    What was measured elsewhere is taken in by `notus evaluate import FILE...`.
    """
    from recipe.evaluate.stage import evaluation

    overrides = [*(set_ or ()), *([f"evaluate_limit={limit}"] if limit else ())]
    loaded, reporter = work.load(recipe, overrides), work.reporter_for(quiet, as_json)
    suites = _suites(suite, loaded)
    subjects = {name: _subjects(weights, against, loaded, name) for name in suites}
    if dry_run:
        work.answer(show_suites(loaded, run, subjects, reporter), as_json)
        return
    order = [
        *(part for name in suites for part in ("--suite", name)),
        *(("--against", against) if against else ()),
        "--weights", weights, *(["--yes"] if yes else []),
    ]  # fmt: skip
    wanted = [evaluation(name, whose, yes=yes) for name in suites for whose in subjects[name]]
    if loaded.evaluation.evaluate_limit:
        _refuse_a_try_over_results(loaded, run, wanted)
    if work.in_image(
        "evaluate",
        loaded,
        run,
        (runtime, image),
        reporter,
        evaluate=(tuple(suites), tuple(order)),
        as_json=as_json,
    ):
        return
    work.answer(work.bring_evaluations(loaded, run, reporter, wanted), as_json)


def take_in(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Results of lm-eval, alpaca_eval, MT-Bench.")
    ],
    recipe: Annotated[str, typer.Option("--recipe", help="Whose run they are of.")] = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="`adapter`, `merged` or `base`, where the files don't say."),
    ] = None,
    called: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What the model is called in them.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Take existing results into the run, as they are."""
    from recipe.evaluate.imports import import_files

    loaded, reporter = work.load(recipe, set_), work.reporter_for(quiet, as_json)
    opened = work.open_run(loaded, run)
    with work.nothing_left_of_a_mistake(opened), opened.locked():
        work.answer(import_files(opened, files, reporter, weights=_weights(weights), called=called), as_json)


def show_suites(
    loaded: "Recipe", run: Path | None, subjects: "dict[str, list[Weights]]", reporter: "Reporter"
) -> dict[str, Any]:
    """Print what suites would do, each on its subjects, and return it."""
    from dataclasses import asdict

    from recipe.evaluate.suite import SUITES

    opened, told = work.open_run(loaded, run), {}
    for name, of_suite in subjects.items():
        suite = SUITES[name]
        module = suite.load()
        lines = list(module.plan(opened))
        reporter.head(f"{name}: {suite.does}; on {' and '.join(of_suite)}")
        reporter.table(
            ("task", "shots", "metric", "data", "requests"),
            [
                (
                    line.task,
                    "-" if line.shots is None else line.shots,
                    line.metric,
                    line.data,
                    _requests(line.requests, line.exact),
                )
                for line in lines
            ],
            right=False,
        )
        for note in dict.fromkeys(line.note for line in lines if line.note):
            reporter.say(f"  {note}")
        counted = sum((line.requests or 0) * (len(of_suite) if line.of_base else 1) for line in lines)
        exact = all(line.exact for line in lines)
        reporter.say(f"  {_requests(counted, exact)} requests in all")
        told[name] = [asdict(line) for line in lines]
        module.check(opened, of_suite[0])  # behind the plan: that holds whatever is missing yet
    return {"plan": told, "subjects": subjects}


def _refuse_a_try_over_results(loaded: "Recipe", run: Path | None, wanted: "Sequence[Stage]") -> None:
    """Refuse to put figures of some samples in the place of those of all: hours of work, or a judge's pay."""
    from recipe.evaluate.stage import suite_of

    opened = work.open_run(loaded, run)
    whole = loaded.evaluation.model_copy(update={"evaluate_limit": None})
    unlimited = work.open_run(loaded.model_copy(update={"evaluation": whole}), run)
    for stage in wanted:
        measured = suite_of(stage.name)
        limited = measured is not None and "evaluate_limit" in measured[0].reads
        if limited and not opened.is_current(stage) and unlimited.is_current(stage):
            raise UserError(
                f"{opened.path(*stage.outputs)}: has figures of all samples, whose place those of some would take; "
                "leave the limit out, or remove that folder"
            )


def _requests(count: int | None, exact: bool) -> str:
    return "-" if count is None else f"{count:,}" if exact else f"about {count:,}"


def _suites(named: list[str] | None, loaded: "Recipe") -> list[str]:
    for name in named or ():
        if name not in SUITE_NAMES:
            raise UserError(f"--suite {name}: must be one of {', '.join(SUITE_NAMES)}")
    found = list(dict.fromkeys(named or loaded.evaluation.suites))
    if not found:
        raise UserError(
            f"{loaded.name} names no suites to `evaluate`; name some with --suite: {', '.join(SUITE_NAMES)}"
        )
    return found


def _subjects(weights: str, against: str | None, loaded: "Recipe", suite: str) -> "list[Weights]":
    """Return whose weights a suite measures: the base's too if it is asked for, or a floor is under it."""
    if weights not in {"adapter", "merged"}:
        raise UserError(
            f"--weights {weights}: must be adapter or merged; the base is measured with --against base"
        )
    if against not in {None, "base"}:
        raise UserError(f"--against {against}: must be base")
    whose = _weights(weights)
    assert whose is not None
    return [whose, "base"] if against or loaded.evaluation.against_base(suite) else [whose]


def _weights(named: str | None) -> "Weights | None":
    if named not in {None, "adapter", "merged", "base"}:
        raise UserError(f"--weights {named}: must be adapter, merged or base")
    return named  # type: ignore[return-value]


app = typer.Typer(
    cls=MeasureUnlessNamed,
    help="Measure a model, or take in results: `evaluate import FILE...`.",
    no_args_is_help=False,
)
app.command(MEASURE, hidden=True)(measure)
app.command("import")(take_in)
