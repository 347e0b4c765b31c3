"""Figures as a table: a line a figure, a column each for this model, its base, and the models it is read beside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelcard.evaluation.benchmarks import ALPACA_EVAL_2, AVERAGE
from modelcard.evaluation.measured import WHOSE, Measured, figure, in_percent, metric_name, title
from modelcard.facts.alike import is_whole, rows_of
from modelcard.facts.original import Published
from modelcard.facts.scores import Score
from modelcard.words import cell, joined, plural
from recipe.evaluate.published import benchmark_of
from recipe.evaluate.subject import Weights

OURS, BASE = "this model", "its base"


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is, and the figures."""

    labels: tuple[str, ...]
    figures: tuple[str, ...]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Figures under the names of whose they are.

    Attributes:
        labels: Heads of the columns that say what a line is.
        heads: Of the figures' columns.
        rows: The lines.
        published: Whether some columns are of figures that others published.
    """

    labels: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    published: bool = False

    def __bool__(self) -> bool:
        """Whether it has a line."""
        return bool(self.rows)

    @property
    def markdown(self) -> str:
        """The table in Markdown: figures to the right, and so what is a number before them."""
        ends = ["---:" if head in ("shots", "questions", "pairs") else "---" for head in self.labels]
        lines = [[*self.labels, *self.heads], [*ends, *["---:"] * len(self.heads)]]
        for row in self.rows:
            cells = [cell(one) for one in (*row.labels, *row.figures)]
            lines.append([f"**{one}**" if one else one for one in cells] if row.strong else cells)
        head, rule, *rest = lines
        return "\n".join(
            [f"| {' | '.join(head)} |", f"|{'|'.join(rule)}|", *(f"| {' | '.join(line)} |" for line in rest)]
        )


@dataclass(frozen=True)
class Shown:
    """The figures of a section, and what holds for all of them.

    Attributes:
        table: Those that people compare.
        more: Those that they look up.
        by: Who measured, in a phrase.
        on: Whose weights were measured, where these are not the repository's own.
        limited: What was measured on some of its samples only, as `TASK (LIMIT)`.
        cut: Prompts that were longer than the model reads, as `TASK (COUNT of ALL)`.
        chat_template: Whether prompts were put into the chat template.
    """

    table: Table
    more: Table | None
    by: str
    on: str | None
    limited: tuple[str, ...]
    cut: tuple[str, ...]
    chat_template: bool


def shown(found: Measured, kind: Weights, table: Table, more: Table | None = None) -> Shown:
    """Return a section with what its figures' files say of all of them.

    Args:
        found: The figures.
        kind: Of the repository.
        table: The figures that people compare.
        more: Those that they look up.
    """
    limits = {score.task: score.limit for score in (*found.ours, *found.base) if score.limit is not None}
    return Shown(
        table=table,
        more=more if more else None,
        by=_by([*found.ours, *found.base]),
        on=WHOSE[found.weights] if found.weights != kind else None,
        limited=tuple(f"`{task}` ({limit:g})" for task, limit in limits.items()),
        cut=tuple(f"`{task}` ({cut:,} of {every:,})" for task, (cut, every) in found.cut.items()),
        chat_template=any(score.origin.chat_template for score in found.ours),
    )


def compared(
    scores: Sequence[Score],
    found: Measured,
    labels: Mapping[str, Callable[[Score], str]],
    beside: Published | None = None,
) -> Table:
    """Return figures beside the base's, where it was measured, and beside published ones of the same name.

    Args:
        scores: The figures, a line each.
        found: The section that they are of.
        labels: What a line is called, by the column's head.
        beside: Published figures.
    """
    based = any(map(found.of_base, scores))
    published = {
        score: beside.benchmarks[name] for score in scores if beside and (name := published_name(score))
    }
    heads = [OURS, *([BASE] if based else [])]
    if beside and published:
        heads += [name.split("/")[-1] for name in (beside.model, beside.control)]
    rows = []
    for score in scores:
        figures = [figure(score), *([figure(found.of_base(score))] if based else [])]
        if published:
            figures += [f"{value:.2f}" for value in published[score]] if score in published else ["-", "-"]
        rows.append(
            Row(tuple(label(score) for label in labels.values()), tuple(figures), score.task == AVERAGE)
        )
    return Table(tuple(labels), tuple(heads), tuple(rows), published=bool(published))


def published_name(score: Score) -> str | None:
    """Return what a figure is called where it was published, if it is one of those: of the whole benchmark."""
    if not is_whole(score):
        return None
    if score.task == AVERAGE or (score.task, score.metric) in (
        ("alpaca_eval", "win_rate"),
        ("mt_bench", "score"),
    ):
        return title(score) if score.dataset.config != ALPACA_EVAL_2 else None
    benchmark = benchmark_of((score.task, score.metric, score.filter))
    return benchmark.name if benchmark and score.shots in (benchmark.shots, None) else None


def name(score: Score) -> str:
    """Return what a line of the benchmarks' table is called; a figure of the leaderboard's as that called it."""
    if score.task == AVERAGE:
        return "Average of the seven"
    benchmark = benchmark_of((score.task, score.metric, score.filter))
    if rows_of(score) and score.limit is None and not is_whole(score):
        local = "local " if (score.dataset.path or "").startswith("local:") else ""
        return f"{title(score)} ({plural(score.samples or 0, f'{local}row')})"
    return (benchmark.name if benchmark else title(score)) + (
        f" (mean of {score.parts} parts)" if score.parts else ""
    )


def shots(score: Score) -> str:
    """Return how many examples are in the prompt."""
    return ("" if score.task == AVERAGE else "-") if score.shots is None else str(score.shots)


def metric(score: Score) -> str:
    """Return which figure it is, whether it is none in percent, and whether less is more."""
    if score.task == AVERAGE:
        return ""
    notes = [
        *(["as it is"] if in_percent(score) is None else []),
        *(["lower is better"] if score.higher_is_better is False else []),
    ]
    return metric_name(score) + (f" ({', '.join(notes)})" if notes else "")


def _by(scores: Sequence[Score]) -> str:
    said = {}
    for by in (score.origin.by for score in scores):
        said[by] = f"[{by.name}]({by.url})" if by.url else by.name
        said[by] += f" {by.version}" if by.version else ""
    found = {score.origin.imported for score in scores if score.origin.imported}
    files = sorted(f"`{one.file}` ({one.was})" for one in found)
    return joined(list(dict.fromkeys(said.values()))) + (f", imported from {joined(files)}" if files else "")
