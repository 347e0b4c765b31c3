"""A recipe's schedule, as a person reads it."""

from collections import Counter

from recipe.errors import UserError
from recipe.plan import make_plan
from recipe.progress import Reporter
from recipe.schedule import Schedule, schedule_of
from recipe.schema import Recipe

SHOWN = 6  # rows of a step


def schedule_for(recipe: Recipe, rows: int | None) -> Schedule:
    """Return a recipe's schedule over `rows` training rows, or over as many as its plan counts.

    Raises:
        UserError: No number is given and the plan knows none.
    """
    rows = rows or make_plan(recipe).train_rows
    if rows is None:
        raise UserError(f"{recipe.name}: its rows are not known before they are here; give them by --rows")
    return schedule_of(recipe.science, rows)


def show_schedule(schedule: Schedule, reporter: Reporter) -> None:
    """Print the figures of a schedule, and its first steps and those around each epoch's end."""
    steps = schedule.step_rows()
    seen = Counter(Counter(row for step in steps for row in step).values())
    reporter.head(f"{len(steps)} optimizer steps of {schedule.global_batch_size} pairs")
    reporter.table(
        ("", ""),
        [
            ("rows", f"{schedule.rows:,}"),
            (
                "micro-batches",
                f"{schedule.rounds_per_epoch:,} an epoch, for each of {schedule.processes} process(es)",
            ),
            ("steps an epoch", f"{schedule.steps_per_epoch:,}"),
            ("ends at epoch", f"{schedule.epochs_after(len(steps)):.2f}"),
            ("rows seen", ", ".join(f"{times} times: {count:,}" for times, count in sorted(seen.items()))),
        ],
        right=False,
    )
    reporter.head("some steps, and the rows they begin with")
    ends = {
        schedule.steps_per_epoch * epoch for epoch in range(1, len(steps) // schedule.steps_per_epoch + 1)
    }
    chosen = sorted({1, 2, *ends, *(end + 1 for end in ends), len(steps)} & set(range(1, len(steps) + 1)))
    reporter.table(
        ("step", "epoch", "pairs", "first rows"),
        [
            (
                step,
                f"{schedule.epochs_after(step - 1):.4f}",
                len(steps[step - 1]),
                " ".join(map(str, steps[step - 1][:SHOWN])) + " ...",
            )
            for step in chosen[:20]
        ],
    )
