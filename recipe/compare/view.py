"""A comparison, as a person reads it."""

from recipe.compare.result import DIFFERENCE, ENOUGH, SIDES, Result, decimals
from recipe.progress import Reporter

NAMES = ("loss", "accuracy", "margin", "likelier")
KINDS = {
    "same": "same chosen and rejected",
    "other_rejected": "another rejected",
    "other_chosen": "another chosen",
    "both_other": "both others",
    "swapped": "swapped",
    "unmatched": "of a prompt that one has more rows of",
}


def show_comparison(result: Result, reporter: Reporter) -> None:
    """Print what differs, the figures on each test set, and the sentence about them."""
    names = [f"{side.upper()} ({result[side]['run']})" for side in SIDES]
    reporter.head("what differs")
    cells = [(key, *map(_cell, values)) for key, values in result["differs"].items()]
    reporter.table(("key", *names), cells, right=False)
    _show_pairs(result, reporter)
    for side in SIDES:
        _show_test_set(side, result["test_sets"][side], reporter)
    drawn = result["bootstrap"]
    reporter.say(
        f"\n[ ]: {drawn['level']:.0%} of {drawn['resamples']:,} bootstrap resamples of the test rows, the same for A "
        "and B; *: 0 lies outside.\nThey say nothing of what another seed would give. Rewards are relative to the "
        "base; likelier: chosen,\nunder the model alone."
    )
    reporter.head(result["finding"])


def _show_pairs(result: Result, reporter: Reporter) -> None:
    pairs = result["pairs"]
    reporter.head(
        f"pairs: {pairs['prompts_both']:,} prompts in both, {pairs['prompts_only_a']:,} in A only, "
        f"{pairs['prompts_only_b']:,} in B only"
    )
    rows = [
        (label, f"{pairs[kind]:,}", f"{pairs[kind] / max(1, pairs['compared']):.1%}")
        for kind, label in KINDS.items()
        if pairs[kind] or kind != "unmatched"
    ]
    reporter.table(("", "pairs", ""), rows)


def _show_test_set(side: str, found: Result, reporter: Reporter) -> None:
    other, leaks = "B" if side == "a" else "A", found["leaks"]
    reporter.head(
        f"{side.upper()}'s test set: {leaks['rows']:,} rows; {leaks['train_rows_of_other']:,} are training rows of "
        f"{other}'s by their prompt, {leaks['trained_by_other']:,} were trained on"
    )
    if leaks["trained_by_own"]:
        reporter.say(f"{leaks['trained_by_own']:,} have a prompt that {side.upper()} trained on itself")
    _show_figures(f"all {leaks['rows']:,}", found["all"], reporter)
    if 0 < leaks["clean"] < leaks["rows"]:
        _show_figures(f"the {leaks['clean']:,} that neither trained on", found["clean"], reporter)
    elif not leaks["clean"]:
        reporter.say("none is left that neither trained on")
    if leaks["clean"] < min(ENOUGH, leaks["rows"]):
        reporter.say(
            "a larger test_size, or a split of its own to test on, leaves more that neither trained on"
        )


def _show_figures(title: str, found: Result, reporter: Reporter) -> None:
    reporter.say(title)
    reporter.table(("", "base", "A", "B", "B - A", ""), [_row(name, found) for name in NAMES])


def _row(name: str, found: Result) -> tuple[str, ...]:
    difference = found[DIFFERENCE][name]
    digits = decimals(difference)
    base = (
        "-" if name == "accuracy" else f"{found['base'][name]:.{digits}f}"
    )  # none of its rewards is the higher one
    sides = (_interval(found[side][name], f".{digits}f") for side in SIDES)
    return (
        name,
        base,
        *sides,
        _interval(difference, f"+.{digits}f"),
        "*" if difference["excludes_zero"] else "",
    )


def _interval(found: Result, form: str) -> str:
    value, low, high = (format(found[name], form) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _cell(value: object) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
