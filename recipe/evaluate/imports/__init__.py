"""Results that were measured elsewhere, taken into a run as they are: `eval/imported/WEIGHTS/NAME.json`.

A format is a module with a function that knows such a file, and one that says what it holds, and a line in `FORMATS`.
Of all files that are named, all are taken or none.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from recipe.disk import flush_folder
from recipe.errors import UserError
from recipe.evaluate.imports import alpaca, lm_eval, mt_bench
from recipe.evaluate.imports.found import Asked, Found, Source, is_finite
from recipe.evaluate.imports.lm_eval import figures_of
from recipe.evaluate.imports.read import read
from recipe.evaluate.result import FOLDER, IMPORTED, Content, same, write_result
from recipe.evaluate.subject import Subject, Weights
from recipe.evaluate.suite import SUITES, Evaluating
from recipe.progress import Reporter
from recipe.run import Run


class Format(NamedTuple):
    """A kind of file."""

    called: str
    is_one: Callable[[Any], bool]
    take: Callable[[Source, Asked], Found]


FORMATS = (
    Format("lm-eval's results (JSON, of today or of 2023)", lm_eval.is_one, lm_eval.take),
    Format("alpaca_eval's annotations (JSON)", alpaca.is_annotations, alpaca.take_annotations),
    Format("alpaca_eval's leaderboard (CSV)", alpaca.is_leaderboard, alpaca.take_leaderboard),
    Format("FastChat's judgements of single answers (JSONL)", mt_bench.is_one, mt_bench.take),
)

Figure = tuple[Weights, str, str, object]
"""Whose, task, `METRIC,FILTER` and examples."""


class Taken(NamedTuple):
    """A file's results, and where in the run they go."""

    source: Source
    found: Found
    place: Path


def import_files(
    run: Run,
    files: Sequence[Path],
    reporter: Reporter,
    *,
    weights: Weights | None = None,
    called: str | None = None,
) -> dict[str, Any]:
    """Take results into a run; of an earlier file with the same name, in the place of its results.

    Args:
        run: Trained.
        files: Results of lm-eval, alpaca_eval or MT-Bench.
        reporter: Says what was taken.
        weights: Whose they are; None: the files say it. Those of the base have to be asked for.
        called: What the model is called in them; None: as the run calls it.

    Returns:
        `imported`: for each file its `file`, what it `was`, whose figures (`weights`), how many (`figures`), where they
        lie in the run (`place`), and the `limit` of samples if there was one.

    Raises:
        UserError: A file is not known, cut short, of other weights or older than they are, has a figure that is
            none, or contradicts another one or what the run has. Then nothing was taken.
    """
    _ = Subject(run, weights or "base").identity  # refuses a run that has none
    asked = Asked(run, weights, called)
    taken = [_take(read(path), asked) for path in dict.fromkeys(files)]
    _refuse_same_place(taken)
    _refuse_contradictions(run, taken)
    _write(run, taken, reporter)
    told = [_told(one) for one in taken]
    for one in told:
        limit = "" if one["limit"] is None else f", of {one['limit']:g} samples only"
        reporter.say(
            f"  {one['file']}: {one['was']}, {one['figures']} figures of the {one['weights']}{limit}"
        )
    return {"imported": told}


def _take(source: Source, asked: Asked) -> Taken:
    for known in FORMATS:
        if known.is_one(source.content):
            with _as_it_is_written(source, known.called):
                found = known.take(source, asked)
                _try(found)
            return Taken(source, found, Path(FOLDER, IMPORTED, found.weights, f"{source.path.stem}.json"))
    names = ", ".join(known.called for known in FORMATS)
    raise UserError(f"{source}: none of the formats that are known: {names}")


@contextlib.contextmanager
def _as_it_is_written(source: Source, called: str) -> Iterator[None]:
    """Turn what a reader stumbles over, where a file has a list for a number, say, into one line."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{source}: not as {called} are written ({type(error).__name__}: {error}); copy it again, or evaluate again"
        ) from error


def _try(found: Found) -> None:
    """Raise what writing, comparing and telling results would.

    Raises:
        ValueError: They have a value that JSON does not have, or a limit that is no number.
        TypeError: A part of them is of another kind than it has to be.
    """
    about = (found.by, found.data, found.intervals, found.details, found.judge or {})
    json.dumps([found.content, *map(dict, about)], allow_nan=False, ensure_ascii=False).encode()
    if found.suite not in SUITES or found.weights not in get_args(Weights):
        raise ValueError(f"{found.suite}, {found.weights}")
    if len(dict(figures_of(found.content))) == 0:
        raise ValueError("no figures")
    limit = found.content["config"]["limit"]
    if limit is not None and not is_finite(limit):
        raise ValueError(f"limit {limit}")


def _refuse_same_place(taken: Iterable[Taken]) -> None:
    places: dict[Path, Source] = {}
    for one in taken:
        other = places.setdefault(one.place, one.source)
        if other is not one.source:
            raise UserError(
                f"{one.source}: has the name of {other}, whose place it would take; rename one of them"
            )


def _refuse_contradictions(run: Run, taken: Sequence[Taken]) -> None:
    """Refuse two values of one figure, as a card could show neither."""
    replaced = {run.path(*one.place.parts) for one in taken}
    there = [path for path in sorted(run.path(FOLDER).rglob("*.json")) if path not in replaced]
    known: dict[Figure, tuple[float, str]] = {}
    for weights, content, where in [*_contents(run, there), *_new(taken)]:
        for (task, metric, shots), value in figures_of(content):
            other, first = known.setdefault((weights, task, metric, shots), (value, where))
            if not same(other, value):
                name = metric.removesuffix(",none")
                raise UserError(
                    f"{where}: {name} of {task} is {value:g}, and {other:g} in {first}; keep the one that counts"
                )


def _contents(run: Run, paths: Iterable[Path]) -> Iterator[tuple[Weights, Content, str]]:
    """Yield what Notus wrote or took in; what somebody put there by hand the card looks at."""
    for path in paths:
        content = read(path).content
        if lm_eval.is_one(content) and "notus" in content:
            yield content["notus"]["weights"], content, path.relative_to(run.folder).as_posix()


def _new(taken: Iterable[Taken]) -> Iterator[tuple[Weights, Content, str]]:
    for one in taken:
        yield one.found.weights, one.found.content, str(one.source)


def _write(run: Run, taken: Iterable[Taken], reporter: Reporter) -> None:
    """Write results aside, and move them into place once all of them are there."""
    aside = run.path(".import.partial")
    shutil.rmtree(aside, ignore_errors=True)  # of one that was killed
    moves = []
    try:
        for number, (source, found, place) in enumerate(taken):
            folder = aside / str(number)
            folder.mkdir(parents=True)
            subject = Subject(run, found.weights)
            written = write_result(
                folder,
                place.stem,
                found.content,
                Evaluating(found.suite, subject, folder, folder, reporter),
                by=found.by,
                data=found.data,
                intervals=found.intervals,
                judge=found.judge,
                details=found.details,
                imported={"file": source.path.name, "sha256": source.sha256, "was": found.was},
            )
            moves.append((written, run.path(*place.parts)))
        for written, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            written.replace(target)
            flush_folder(target.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _told(taken: Taken) -> dict[str, Any]:
    return {
        "file": str(taken.source),
        "was": taken.found.was,
        "weights": taken.found.weights,
        "suite": taken.found.suite,
        "figures": len(list(figures_of(taken.found.content))),
        "place": taken.place.as_posix(),
        "limit": taken.found.content["config"]["limit"],
    }
