"""Two recipes that differ in their data only, side by side: which data make the better adapter.

Both are trained, each in its own run folder, and both adapters are held against both test sets. What is found is a pure
function of the two runs; it lies in one file, and the log-probabilities that it took beside it.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recipe.compare.figure import as_svg
from recipe.compare.result import FORMAT, SIDES, Result, compute, made_from
from recipe.disk import file_sha256, read_json, write_json, write_text
from recipe.errors import UserError
from recipe.fetch import base_files, local_path, tokenizer_files
from recipe.logps import let_go
from recipe.made_by import image
from recipe.progress import Reporter
from recipe.run import Run, Stage
from recipe.schema import Recipe, Science, source_of, whole_path

# The keys of the science that say what the data are; in all others the two recipes must be the same.
DATA_KEYS = frozenset(
    {
        "dataset",
        "dataset_revision",
        "dataset_format",
        "dataset_splits",
        "binarize_by",
        "binarize_rejected",
        "binarize_min_margin",
        "only_sources",
        "drop_sources",
        "fix_scores",
        "overrides",
        "contamination",
        "drop_contaminated",
        "leave_out",
        "test_size",
    }
)


def differing_data(a: Recipe, b: Recipe) -> dict[str, list[Any]]:
    """Return the keys of the data in which two recipes differ, with both values.

    Raises:
        UserError: They differ in other science as well, or in none.
    """
    one, two = (recipe.science.canonical() for recipe in (a, b))
    other = [key for key in one if key not in DATA_KEYS and one[key] != two[key]]
    if other:
        said = "; ".join(f"{key}: {one[key]} and {two[key]}" for key in other)
        raise UserError(
            f"{a.name} and {b.name}: they differ in more than their data ({said}); "
            f"give both the same, as by --set {other[0]}={one[other[0]]}"
        )
    one, two = (recipe.science.model_dump(mode="json") for recipe in (a, b))
    differs = {key: [one[key], two[key]] for key in one if one[key] != two[key] and key in DATA_KEYS}
    if not differs:
        raise UserError(
            f"{a.name} and {b.name}: their data are the same; change a key of one of them by --set-a or --set-b"
        )
    return differs


def open_runs(recipes: tuple[Recipe, Recipe], folders: tuple[Path, Path], out: Path) -> tuple[Run, Run]:
    """Open the run folders of A and B, after all that can be refused before anything is run.

    Args:
        recipes: A and B.
        folders: Where they are run.
        out: Where the result will be written.

    Raises:
        UserError: The recipes can't be compared, the folders are one, or something else lies in the way.
    """
    a, b = recipes
    differing_data(a, b)
    if folders[0].resolve() == folders[1].resolve():
        raise UserError(f"{folders[0]}: the run folder of both; name another with --run-a or --run-b")
    for recipe in recipes:
        if recipe.execution.runtime == "docker" and not image():
            raise UserError(
                f"{recipe.name}: its runtime is docker, but compare starts no container; add --set runtime=venv, or "
                "call it in the image"
            )
    _refuse_foreign_file(out)
    _refuse_other_local_base(a.science, b.science)
    with naming("a"):
        one = Run(folders[0], a)
    with naming("b"):
        return one, Run(folders[1], b)


def compare_runs(
    runs: tuple[Run, Run], stages: Sequence[Stage], out: Path, reporter: Reporter
) -> tuple[Result, dict[str, Any]]:
    """Bring both runs, hold both adapters against both test sets, and write what was found.

    Args:
        runs: As `open_runs` has them.
        stages: Those up to train.
        out: The file of the result; log-probabilities and a figure are kept beside it.
        reporter: Shows the progress.

    Returns:
        The result, and what each stage of each run did.

    Raises:
        UserError: What a stage finds wrong, or that the bases are not the same after all.
    """
    done: dict[str, Any] = {side: {} for side in SIDES}
    with contextlib.ExitStack() as stack:
        for side, run in zip(SIDES, runs, strict=True):
            with naming(side):
                stack.enter_context(run.locked())
        for part in (stages[:1], stages[1:]):  # a base that differs is noticed before anything is trained
            for side, run in zip(SIDES, runs, strict=True):
                reporter.head(f"{side.upper()}: {run.recipe.name} in {run.folder}")
                with naming(side):
                    done[side] |= run.bring(part, reporter)
                let_go()
            _refuse_other_base(runs)
        differs = differing_data(runs[0].recipe, runs[1].recipe)
        result = _known(out, {"made_from": made_from(runs), "differs": differs})
        if result is None:
            result = compute(runs, differs, out.with_suffix(".logps"), reporter)
        _write(out, result)
    return result, done


@contextlib.contextmanager
def naming(side: str) -> Iterator[None]:
    """Have a line about a run folder name the option of its side."""
    try:
        yield
    except UserError as error:
        raise type(error)(re.sub(r"--run\b(?!-)", f"--run-{side}", str(error))) from None


def _known(out: Path, facts: Result) -> Result | None:
    """Return the result that lies there, if it is of the same runs."""
    if not out.is_file():
        return None
    found: Result = read_json(out)
    return found if all(found.get(name) == value for name, value in facts.items()) else None


def _write(out: Path, result: Result) -> None:
    """Write the result and its figure, the same bytes for the same result; what lies there already is left."""
    figure, svg = out.with_suffix(".svg"), as_svg(result)
    if not figure.is_file() or figure.read_text(encoding="utf-8") != svg:
        write_text(figure, svg)
    if not out.is_file() or read_json(out) != result:
        write_json(out, result)


def _refuse_foreign_file(out: Path) -> None:
    """Refuse to write over what is no comparison, or where nothing can be written."""
    if out.suffix != ".json":
        raise UserError(f"{out}: the result is JSON; give --out a name that ends in .json")
    if out.exists():
        try:
            found = read_json(out)["format"]
        except (OSError, ValueError, KeyError, TypeError):
            found = None
        if not str(found).startswith(FORMAT.rpartition("-")[0]):
            raise UserError(f"{out}: there, and not a comparison; name another with --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out.parent}: can't be made ({error.strerror}); name another with --out") from None


def _refuse_other_local_base(a: Science, b: Science) -> None:
    """Refuse bases or tokenizers that only share the name of their folder."""
    for key, files in (("model_name_or_path", base_files), ("tokenizer", tokenizer_files)):
        names = [getattr(science, key) for science in (a, b)]
        if None in names or any(source_of(name) != "local" for name in names):
            continue
        folders = [local_path(name, key) for name in names]
        if whole_path(folders[0]) == whole_path(folders[1]):
            continue
        one, two = ({file.name: file_sha256(file) for file in files(folder)} for folder in folders)
        if one != two:
            raise UserError(f"{key}: {folders[0]} and {folders[1]} are not the same; give both recipes one")


def _refuse_other_base(runs: tuple[Run, Run]) -> None:
    """Refuse runs whose bases were not the same when they were fetched, as `main` of a repository moves."""
    one, two = (read_json(run.path("inputs", "inputs.json")) for run in runs)
    for what in ("base", "tokenizer"):
        if one[what].get("sha256") != two[what].get("sha256"):
            raise UserError(
                f"{runs[0].folder} and {runs[1].folder}: of another {what} ({one[what]['revision']} and "
                f"{two[what]['revision']}); remove one of them, and compare again"
            )
