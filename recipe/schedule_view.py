"""A recipe's schedule, as a person reads it."""

from collections import Counter

from recipe.progress import Reporter
from recipe.schedule import Schedule

SHOWN = 6  # rows of a step
SOME = 20  # steps


def show_schedule(schedule: Schedule, reporter: Reporter) -> None:
    """Print the figures of a schedule, and its first steps and those around each epoch's end."""
    steps = schedule.step_rows()
    seen = Counter(Counter(row for step in steps for row in step).values())
    processes = f"{schedule.processes} processes" if schedule.processes > 1 else "one process"
    reporter.head(f"{len(steps)} optimizer steps, {schedule.global_batch_size} pairs a full one")
    reporter.table(
        ("", ""),
        [
            ("rows", f"{schedule.rows:,}"),
            (
                "micro-batches",
                f"{schedule.rounds_per_epoch:,} an epoch on each of {processes}, of {schedule.batch_size} pairs",
            ),
            ("steps an epoch", f"{schedule.steps_per_epoch:,}"),
            ("ends at epoch", f"{schedule.epochs_after(len(steps)):.2f}"),
            (
                "rows seen",
                ", ".join(f"{count:,} rows {times} times" for times, count in sorted(seen.items())),
            ),
        ],
        right=False,
    )
    reporter.head("some steps, and the rows they begin with")
    ends = {
        schedule.steps_per_epoch * epoch for epoch in range(1, len(steps) // schedule.steps_per_epoch + 1)
    }
    chosen = sorted({1, 2, *ends, *(end + 1 for end in ends), len(steps)} & set(range(1, len(steps) + 1)))
    reporter.table(
        ("step", "from epoch", "pairs", "first rows"),
        [
            (
                step,
                f"{schedule.epochs_after(step - 1):.4f}",
                len(steps[step - 1]),
                " ".join(map(str, steps[step - 1][:SHOWN])) + " ...",
            )
            for step in (*chosen[:SOME], *chosen[SOME:][-1:])
        ],
        right=False,
    )
