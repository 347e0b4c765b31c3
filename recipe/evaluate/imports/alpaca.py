"""alpaca_eval's annotations, with the win rate computed of them as alpaca_eval does, and its leaderboards."""

import math
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from recipe.errors import UserError
from recipe.evaluate.imports.found import Asked, Found, Source, is_finite
from recipe.evaluate.imports.named import pick
from recipe.evaluate.published import ALPACA_EVAL_INSTRUCTIONS
from recipe.evaluate.result import figures
from recipe.evaluate.whose import refuse_older

TASK = "alpaca_eval"
BY = {"name": "alpaca_eval", "url": "https://github.com/tatsu-lab/alpaca_eval"}
# Of the data set, by the answers that others are compared with.
CONFIGS = {"text_davinci_003": "alpaca_eval", "gpt4_1106_preview": "alpaca_eval_gpt4_baseline"}
MOST = 0.95  # of the instructions have a verdict: a leaderboard does not say how many were asked
MISSING = -1  # what alpaca_eval keeps in the place of a preference that it did not get
COUNTS = {"wins": "n_wins", "losses": "n_wins_base", "draws": "n_draws", "characters": "avg_length"}
# alpaca_eval's names of a figure and of its standard error
FIGURES = {
    "win_rate": "standard_error", "discrete_win_rate": None, "length_controlled_winrate": "lc_standard_error"
}  # fmt: skip
NUMBERS = {*COUNTS.values(), "n_total", *FIGURES, *filter(None, FIGURES.values())}
MEND = "annotate again with alpaca_eval"


def is_annotations(content: Any) -> bool:
    """Whether a file has annotations, a row each."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(row, dict) and {"preference", "generator_2"} <= row.keys() for row in content)
    )


def is_leaderboard(content: Any) -> bool:
    """Whether a file is a leaderboard, a row a model, in the texts of a CSV file."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(row, dict) and {"win_rate", "standard_error"} <= row.keys() for row in content)
        and isinstance(content[0]["win_rate"], str)
    )


def take_annotations(source: Source, asked: Asked) -> Found:
    """Return the win rate of the run's model, of annotations.

    Raises:
        UserError: They are another model's, of several references or annotators, older than the weights, or none.
    """
    every: list[dict[str, Any]] = source.content
    name, weights = pick(asked, [str(row["generator_2"]) for row in every], str(source))
    rows = [row for row in every if row["generator_2"] == name]
    preferences = [_preference(row["preference"], source) for row in rows]
    reference, annotator = (_only(rows, key, source) for key in ("generator_1", "annotator"))
    dates = sorted(str(date) for row in rows if (date := row.get("preference_date") or row.get("date")))
    if weights != "base":
        refuse_older(asked.run, _seconds(dates[-1]) if dates else None, str(source), mend=MEND)
    found = win_rate(preferences)
    if not found["n_total"]:
        raise UserError(f"{source}: no annotation of {name} has a preference; {MEND}")
    if all(is_finite(row.get("glm_preference")) for row in rows):
        of_glm = [row["glm_preference"] for row in rows]
        found |= {"length_controlled_winrate": _percent(of_glm), "lc_standard_error": _percent_stderr(of_glm)}
    judge = {
        "model": annotator,
        "endpoint": None,
        "annotator": annotator,
        "from": dates[0][:10] if dates else None,
        "to": dates[-1][:10] if dates else None,
        "judgements": len(rows),
        "without_verdict": len(rows) - found["n_total"],
    }
    return Found(
        suite="chat",
        weights=weights,
        was="alpaca_eval's annotations",
        content=_content(
            found,
            len(rows),
            limited=len(rows) < ALPACA_EVAL_INSTRUCTIONS,
            date=_seconds(dates[-1]) if dates else None,
        ),
        by=BY,
        data=_data(CONFIGS.get(str(reference))),
        judge=judge,
        details={
            "called": name,
            "reference": reference,
            **_counts(found),
            "characters": round(statistics.fmean(len(str(row.get("output_2", ""))) for row in rows)),
        },
    )


def take_leaderboard(source: Source, asked: Asked) -> Found:
    """Return the figures of the run's model, of a leaderboard.

    Raises:
        UserError: It is not on it, or its row has no figure.
    """
    rows: list[dict[str, str]] = source.content
    column = next(iter(rows[0]))  # pandas' index: it has no name, or one of somebody's
    name, weights = pick(asked, [row[column] for row in rows], str(source))
    (row, *others) = [row for row in rows if row[column] == name]
    if others:
        raise UserError(f"{source}: holds {name} twice; remove the row that does not count")
    found = {key: _number(row[key], f"{key} of {name}", source) for key in row if key in NUMBERS and row[key]}
    if "win_rate" not in found:
        raise UserError(f"{source}: {name} has no win_rate; {MEND}")
    total = int(found.get("n_total", ALPACA_EVAL_INSTRUCTIONS))
    return Found(
        suite="chat",
        weights=weights,
        was="alpaca_eval's leaderboard",
        content=_content(found, total, limited=total < MOST * ALPACA_EVAL_INSTRUCTIONS, date=None),
        by=BY,
        data=_data(None),
        details={"called": name, **_counts(found)},
    )


def win_rate(preferences: Sequence[float | None]) -> dict[str, Any]:
    """Return win rates and their standard error in percent, and counts, as alpaca_eval's `get_winrate` does.

    Args:
        preferences: 1: the reference is better; 2: the model is; 1.5, or 0 as it once was: neither; between them: how
            likely. None is left out.

    Returns:
        `win_rate`, `standard_error` (NaN of less than two), `discrete_win_rate`, `n_wins`, `n_wins_base`, `n_draws` and
        `n_total`.
    """
    wins = [0.5 if one == 0 else one - 1 for one in preferences if one is not None]
    whole = [one if one == 0.5 else float(round(one)) for one in wins]
    return {
        "win_rate": _percent(wins),
        "standard_error": _percent_stderr(wins),
        "discrete_win_rate": _percent(whole),
        "n_wins": sum(one > 0.5 for one in wins),
        "n_wins_base": sum(one < 0.5 for one in wins),
        "n_draws": sum(one == 0.5 for one in wins),
        "n_total": len(wins),
    }


def _percent(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) * 100 if values else math.nan


def _percent_stderr(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) * 100 if len(values) > 1 else math.nan


def _preference(value: Any, source: Source) -> float | None:
    """Return an annotation's preference; None where there is none."""
    if value in (None, MISSING) or (isinstance(value, float) and math.isnan(value)):
        return None
    if not is_finite(value) or not (value == 0 or 1 <= value <= 2):
        raise UserError(f"{source}: {value!r} is no preference: 1, 2, what lies between, 0 or null; {MEND}")
    return float(value)


def _counts(found: Mapping[str, Any]) -> dict[str, int]:
    return {name: round(found[key]) for name, key in COUNTS.items() if key in found}


def _data(config: str | None) -> dict[str, Any]:
    return {TASK: {"path": "tatsu-lab/alpaca_eval", "config": config, "split": "eval", "revision": None}}


def _content(found: Mapping[str, Any], samples: int, *, limited: bool, date: float | None) -> dict[str, Any]:
    """Return the figures as lm-eval would write them."""
    values = {}
    for name, error in FIGURES.items():
        if name in found:
            stderr = found.get(error) if error else None
            values[name] = (found[name], stderr if is_finite(stderr) else None)
    content = figures(TASK, values, samples=samples)
    content["n-samples"][TASK]["effective"] = int(found.get("n_total", samples))
    return content | {"config": {"limit": samples if limited else None}, "date": date}


def _only(rows: Sequence[Mapping[str, Any]], key: str, source: Source) -> str | None:
    """Return the one value that all rows have."""
    values = list(dict.fromkeys(row.get(key) for row in rows))
    if len(values) > 1:
        raise UserError(f"{source}: of several {key}: {', '.join(map(str, values))}; keep the rows of one")
    return values[0]


def _seconds(date: str) -> float | None:
    try:
        return datetime.fromisoformat(date).timestamp()
    except ValueError:
        return None


def _number(text: str, what: str, source: Source) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{source}: {what} is {text!r}, no number; copy the file again")
    return number
