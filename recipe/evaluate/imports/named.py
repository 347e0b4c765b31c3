"""Which of the models that a file names is the run's."""

import difflib
from collections.abc import Iterable, Sequence

from recipe.errors import UserError
from recipe.evaluate.imports.found import Asked
from recipe.evaluate.subject import Weights
from recipe.evaluate.whose import TUNED, named_by, ours, repositories
from recipe.run import Run


def pick(asked: Asked, names: Iterable[str], where: str) -> tuple[str, Weights]:
    """Return the name of the run's model among those in a file, and which weights it means.

    Args:
        asked: The run, and what the user says.
        names: Of models, as a benchmark calls them: `zephyr-7b-beta`, say.
        where: The file, as a message calls it.

    Raises:
        UserError: None of them is the run's, or several are.
    """
    there = list(dict.fromkeys(names))
    if asked.called is not None:
        return asked.called, as_called(asked, asked.called, there, where)
    known = [(name, weights) for name in there for weights in _meant(asked.run, name)]
    wanted = TUNED if asked.weights is None else (asked.weights,)
    fits = [(name, weights) for name, weights in known if weights in wanted]
    if len(fits) > 1:
        either = " and ".join(f"{name} ({weights})" for name, weights in fits)
        raise UserError(f"{where}: holds {either}; name one with --as and --weights")
    if fits:
        return fits[0]
    base = next((name for name, weights in known if weights == "base" and asked.weights is None), None)
    if base is not None:
        raise UserError(f"{where}: of {base}, this run's base alone; if that is meant, add --weights base")
    raise UserError(
        f"{where}: of {_some(there)}, and not of this run's {_model(asked)}; {_mend(asked, there)}"
    )


def as_called(asked: Asked, called: str, there: Sequence[str], where: str) -> Weights:
    """Return which weights a name of the user's means.

    Raises:
        UserError: It is not in the file, or is one that the run does not know.
    """
    if called not in there:
        near = difflib.get_close_matches(called, there, n=3, cutoff=0)
        raise UserError(f"{where}: nothing of {called} in it; nearest: {', '.join(near)}")
    weights = asked.weights or next(iter(_meant(asked.run, called)), None)
    if weights is None:
        raise UserError(f"{where}: add --weights adapter, merged or base: which of the run's {called} was")
    return weights


def short_names(run: Run) -> dict[Weights, set[str]]:
    """Return what benchmarks may call a run's weights: the repository, with or without who it is of, in small letters.

    The adapter's is also the recipe's name for the model.
    """
    found = {
        weights: {name.lower(), name.split("/")[-1].lower()} for weights, name in repositories(run).items()
    }
    found["adapter"].add(run.recipe.release.model_name.lower())
    return found


def _meant(run: Run, name: str) -> list[Weights]:
    if by_place := named_by(run, [name]):
        return [by_place]
    return [weights for weights, known in short_names(run).items() if name.lower() in known]


def _model(asked: Asked) -> str:
    among = TUNED if asked.weights is None else (asked.weights,)
    return f"{'base' if asked.weights == 'base' else 'model'} ({ours(asked.run, among)})"


def _mend(asked: Asked, there: Sequence[str]) -> str:
    wanted = repositories(asked.run)[asked.weights or "adapter"].split("/")[-1]
    near = difflib.get_close_matches(wanted, there, n=3, cutoff=0)
    return f"if it is called otherwise, say so with --as (nearest: {', '.join(near)})"


def _some(there: Sequence[str]) -> str:
    return ", ".join(there[:3]) + (f" and {len(there) - 3} others" if len(there) > 3 else "")
