"""`python -m tests.parity --judge PYTHON --out DIR [--rows FILE]`: run both sides, compare, print the table.

Ends with code 1 if anything differs that must not.
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from recipe.disk import write_json
from recipe.progress import Reporter
from tests.parity import cases, ours
from tests.parity.compare import (
    REWARDS_TOLERANCE,
    TOLERANCE,
    Finding,
    compare_gradients,
    compare_schedules,
    compare_tokens,
    compare_trainings,
)
from tests.parity.judge import Judge, Training

LEAST_ROWS = 2000


def main(
    judge: Annotated[Path, typer.Option(help="The Python of the 2023 environment.")],
    out: Annotated[Path, typer.Option(help="Where all files go; made anew.")],
    rows: Annotated[Path | None, typer.Option(help="Preference data to tokenize as well.")] = None,
    differences: Annotated[
        bool, typer.Option(help="Measure the differences that are known as well.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="Print the table only.")] = False,
) -> None:
    """Hold the recipe against the 2023 stack."""
    shutil.rmtree(out, ignore_errors=True)
    reporter = Reporter(quiet=quiet)
    files = cases.write_rows(out / "rows", rows)
    short = out / "rows" / "short.jsonl"
    # Not resolved: a virtual environment's Python is a link, and is what it is by the link's place.
    theirs = Judge((out / "2023").resolve(), judge.absolute())
    small = cases.write_small_tokenizer(out / "small-tokenizer")
    theirs.run(
        [file.resolve() for file in files],
        short.resolve(),
        small.resolve(),
        cases.SCHEDULES,
        [*cases.TRAININGS, *([cases.BF16] if differences else [])],
        reporter,
    )
    findings = compare_all(theirs, files, short, out / "ours", reporter)
    show(findings, Reporter())
    write_json(out / "parity.json", [vars(finding) | {"holds": finding.holds} for finding in findings])
    if differences:
        show_differences(theirs, short, out / "ours", reporter)
    raise typer.Exit(0 if all(finding.holds for finding in findings) else 1)


def compare_all(
    theirs: Judge, files: list[Path], short: Path, folder: Path, reporter: Reporter
) -> list[Finding]:
    """Run our side and return what was found."""
    findings: list[Finding] = []
    with reporter.bar("this stack", len(files) + len(cases.SCHEDULES) + len(cases.EXECUTIONS)) as bar:
        for file in files:
            mine = ours.tokens(file, theirs.tokenizer)
            findings.append(compare_tokens(file.stem, theirs.tokens(file), mine))
            bar.advance()
        compared = sum(finding.compared for finding in findings)
        findings.append(Finding("tokens: all rows", compared, differ=0, least=LEAST_ROWS))
        for schedule in cases.SCHEDULES:
            mine_steps = ours.schedule(schedule)
            findings.append(compare_schedules(str(schedule), theirs.schedule(schedule), mine_steps))
            bar.advance()
        for number, (what, case, changed) in enumerate(cases.EXECUTIONS):
            place = folder / f"execution-{number}"
            trained = ours.training(case, theirs.model(case), short, place, **changed)
            findings += compare_trainings(what, theirs.training(case), trained)
            bar.advance()
    return findings


def show(findings: list[Finding], reporter: Reporter) -> None:
    """Print the table."""
    reporter.head("parity with transformers 4.35.0, trl 0.7.4, peft 0.6.1, accelerate 0.23.0")
    reporter.table(
        ("", "compared", "differ", "at most", ""),
        [
            (
                finding.what,
                f"{finding.compared:,}",
                "" if finding.differ is None else finding.differ,
                "" if finding.difference is None else f"{finding.difference:.1e}",
                "ok"
                if finding.holds
                else f"DIFFERS, first at {finding.first}"
                if finding.differ
                else "DIFFERS",
            )
            for finding in findings
        ],
    )
    failed = sum(not finding.holds for finding in findings)
    reporter.say(
        "\ntokens: rows with any other token id, mask or label. steps: optimizer steps with other rows; by training\n"
        "rows, pairs of a micro-batch x accumulation x processes. The others are trainings, step by step; their\n"
        f"differences are relative, up to {TOLERANCE:g} is rounding (rewards {REWARDS_TOLERANCE:g}). "
        f"{failed or 'None'} of {len(findings)} comparisons failed."
    )


def show_differences(theirs: Judge, short: Path, folder: Path, reporter: Reporter) -> None:
    """Measure what is known to differ, and print it beside what it differs by."""
    rows = []
    known = reporter.track(cases.DIFFERENCES, "known differences", len(cases.DIFFERENCES))
    for number, (what, case, changed) in enumerate(known):
        mine = ours.training(case, theirs.model(case), short, folder / f"known-{number}", **changed)
        rows.append(_difference(what, theirs.training(case), mine))
    float32, bf16 = theirs.training(cases.TRAININGS[0]), theirs.training(cases.BF16)
    rows.append(_difference("the 2023 stack's own bf16 from its float32", float32, bf16))
    Reporter().head("known differences, relative, the largest of the run")
    Reporter().table(("", "first gradient", "loss", "adapter"), rows)


def _difference(what: str, theirs: Training, ours: Training) -> tuple[str, ...]:
    found = {one.what: one.difference for one in compare_trainings("", theirs, ours)}
    first, *_ = compare_gradients(theirs.steps, ours.steps)
    return what, f"{first:.1e}", f"{found[': loss']:.1e}", f"{found[': adapter after']:.1e}"


if __name__ == "__main__":
    typer.run(main)
