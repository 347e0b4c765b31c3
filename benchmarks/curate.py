"""How fast feedback becomes pairs and an audit: ours, and the same by `datasets.map` as a notebook has it.

    python benchmarks/curate.py [--prompts N] [--rounds N] [--scale 10] [--keep DIR] [--out FILE]

Both get the same made feedback (`ultrafeedback.py`), in turn, each in a process of its own; both have to choose the
same answers. Ours has to find every fault that was planted, to the row.
"""

import hashlib
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))  # a clone need not be installed

from benchmarks.device import cores, cpu_name
from benchmarks.uf_marks import PROMPTS, STATS
from benchmarks.ultrafeedback import write
from benchmarks.watched import Watched, watched
from recipe.disk import read_json, write_json
from recipe.progress import Reporter

if TYPE_CHECKING:
    from benchmarks.curate_map import ByMap
    from benchmarks.curate_ours import Ours

MADE_BY = ("ultrafeedback.py", "uf_marks.py", "uf_texts.py", "uf_truth.py", STATS.name)
PACKAGES = ("polars", "pyarrow", "datasets")


class Made(NamedTuple):
    """A made set: its rows, and the truth about them."""

    raw: Path
    truth: Path


def main(
    out: Annotated[Path | None, typer.Option(help="Write all that was measured as JSON.")] = None,
    prompts: Annotated[int, typer.Option(min=200, help="Rows, of four answers each.")] = PROMPTS,
    seed: Annotated[int, typer.Option(min=0, help="Of the made feedback.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each is run.")] = 3,
    scale: Annotated[
        int, typer.Option(min=1, help="Curate so many times the rows as well, ours only; 1 for not.")
    ] = 1,
    keep: Annotated[
        Path | None, typer.Option(help="The folder where made feedback is kept for the next time.")
    ] = None,
    audit: Annotated[bool, typer.Option(help="Have datasets.map count the audit's figures too.")] = True,
) -> None:
    """Measure curation."""
    reporter = Reporter()
    if not reporter.console.is_terminal:
        reporter.console.width = 100  # a log has no width of its own
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="notus-curate-")))
        folder = keep or work / "made"
        folder.mkdir(parents=True, exist_ok=True)
        made = make(folder, prompts, seed, reporter)
        report = compete(made, work, rounds, reporter, audit=audit)
        report |= hold_to_truth(made, work, reporter)
        if scale > 1:
            report["scale"] = at_scale(folder, prompts, scale, seed, work, report["ours"], reporter)
            peaks = (report["peak_gb"], report["scale"]["peak_gb"])
            report |= {"peak_gb_of_scales": peaks, "time_ratio_of_scales": report["scale"]["time_ratio"]}
    report |= {"prompts": prompts, "seed": seed, "rounds": rounds, **machine()}
    show(report, reporter)
    if out is not None:
        write_json(out, report)


def make(folder: Path, prompts: int, seed: int, reporter: Reporter) -> Made:
    """Make feedback, or take that which lies there from an earlier time, if this code would make the same."""
    name = f"ultrafeedback-{prompts}-{seed}-{_code()}"
    made = Made(folder / f"{name}.jsonl", folder / f"{name}-truth.json")
    if not all(path.is_file() for path in made):
        truth = write(made.raw, prompts, seed, reporter)
        write_json(made.truth, truth)
    return made


def _code() -> str:
    digest = hashlib.sha256()
    for name in MADE_BY:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:8]


def compete(made: Made, work: Path, rounds: int, reporter: Reporter, *, audit: bool) -> dict[str, Any]:
    """Run both in turn, and return what they took, with what both chose compared."""
    from benchmarks.curate_map import by_map
    from benchmarks.curate_ours import as_original

    ours: list[Watched[Ours]] = []
    theirs: list[Watched[ByMap]] = []
    pairs = work / "map.parquet"
    for turn in reporter.track(range(2 * rounds), "ours and datasets.map, in turn", 2 * rounds):
        if turn % 2 == 0:
            shutil.rmtree(work / "ours", ignore_errors=True)
            ours.append(watched(as_original, made.raw, work / "ours"))
        else:
            with tempfile.TemporaryDirectory(dir=work) as cache:  # a cold one each time
                theirs.append(watched(by_map, made.raw, Path(cache), pairs, audit))
    report = summary(ours, theirs)
    report["choice"] = compare(work / "ours" / "feedback.parquet", pairs)
    report["bytes"] = made.raw.stat().st_size
    report["map_audits"] = audit
    return report


def summary(ours: "list[Watched[Ours]]", theirs: "list[Watched[ByMap]]") -> dict[str, Any]:
    """Return times (medians) and memory (the most).

    `ratio` is of what comes after the rows were read, of both: into columns by us, into Arrow by load_dataset. (What
    ours writes, feedback.parquet too, is in it.) `ratio_with_load` is of all that both did.
    """
    whole, reading = (
        median(getattr(one.value, name).seconds for one in ours) for name in ("whole", "reading")
    )
    after = median(one.value.whole.seconds - one.value.reading.seconds for one in ours)
    cpu, reading_cpu = (
        median(getattr(one.value, name).cpu_seconds for one in ours) for name in ("whole", "reading")
    )
    load, mapped = (median(getattr(one.value, name).seconds for one in theirs) for name in ("load", "map"))
    mapped_cpu = median(one.value.map.cpu_seconds for one in theirs)
    return {
        "ratio": mapped / after,
        "ratio_with_load": (load + mapped) / whole,
        "ratio_cpu_seconds": mapped_cpu / (cpu - reading_cpu),
        "peak_gb": max(one.peak_bytes for one in ours) / 1e9,
        "ours": {
            "seconds": whole,
            "seconds_reading": reading,
            "seconds_after": after,
            "cpu_seconds": cpu,
            "cpu_seconds_after": cpu - reading_cpu,
            "runs": [asdict(one.value) for one in ours],
        },
        "map": {
            "seconds": mapped,
            "seconds_load": load,
            "cpu_seconds": mapped_cpu,
            "peak_gb": max(one.peak_bytes for one in theirs) / 1e9,
            "pairs": theirs[0].value.pairs,
            "runs": [{"load": asdict(one.value.load), "map": asdict(one.value.map)} for one in theirs],
        },
    }


def compare(feedback: Path, pairs: Path) -> dict[str, Any]:
    """Count the rows of which both make a pair with the same chosen text, and a rejected answer that is rated lower.

    Args:
        feedback: Our feedback.parquet.
        pairs: The pairs by datasets.map.
    """
    import pyarrow.parquet as pq

    columns = ["row", "chosen_response", "chosen_avg_rating", "rejected_avg_rating"]
    theirs = {
        row: rest
        for row, *rest in zip(*pq.read_table(pairs, columns=columns).to_pydict().values(), strict=True)
    }
    equal = lower = count = 0
    rows = pq.ParquetFile(feedback).iter_batches(1024, columns=["row", "chosen", "rejected", "completions"])
    for batch in rows:
        for row in batch.to_pylist():
            if row["chosen"] is None:
                continue
            count += 1
            chosen, rejected = (row["completions"][row[side]] for side in ("chosen", "rejected"))
            text, rating, other = theirs.get(row["row"], (None, 0, 0))
            equal += (text, rating) == (chosen["response"], chosen["rating"])
            lower += rejected["rating"] < chosen["rating"] and other < rating
    return {
        "pairs": count,
        "pairs_by_map": len(theirs),
        "same_chosen": equal,
        "rejected_lower": lower,
        "equal": count == len(theirs) == equal == lower,
    }


def hold_to_truth(made: Made, work: Path, reporter: Reporter) -> dict[str, Any]:
    """Compare our audit with what was planted: of the timed run, and with the lowest rejected, by each rule."""
    from benchmarks.curate_ours import as_zephyr, by_lowest
    from benchmarks.curate_truth import mismatches

    truth = read_json(made.truth)
    found = mismatches(truth, work / "ours", "ratings", left_out=False)
    for by in reporter.track(("ratings", "overall_score"), "held to the truth", 2):
        shutil.rmtree(work / "lowest", ignore_errors=True)
        watched(by_lowest, made.raw, work / "lowest", by)
        found += [f"by {by}: {one}" for one in mismatches(truth, work / "lowest", by, left_out=True)]
    shutil.rmtree(work / "lowest")
    watched(as_zephyr, made.raw, work / "lowest")
    used = {
        name: read_json(work / folder / "data.json")["rows_used"]
        for name, folder in (("ratings", "ours"), ("overall_score", "lowest"))
    }
    return {"truth": "missed" if found else "found again", "mismatches": found, "pairs_by_rule": used}


def at_scale(
    folder: Path, prompts: int, scale: int, seed: int, work: Path, once: dict[str, Any], reporter: Reporter
) -> dict[str, Any]:
    """Curate many times the rows, and return how much longer it took."""
    from benchmarks.curate_ours import as_original

    large = make(folder, scale * prompts, seed, reporter)
    with reporter.working(f"ours, {scale} times the rows"):
        found = watched(as_original, large.raw, work / "large")
    from benchmarks.curate_truth import mismatches

    return {
        "times": scale,
        "seconds": found.value.whole.seconds,
        "cpu_seconds": found.value.whole.cpu_seconds,
        "time_ratio": found.value.whole.seconds / once["seconds"],
        "cpu_ratio": found.value.whole.cpu_seconds / once["cpu_seconds"],
        "peak_gb": found.peak_bytes / 1e9,
        "bytes": large.raw.stat().st_size,
        "mismatches": mismatches(read_json(large.truth), work / "large", "ratings", left_out=False),
    }


def machine() -> dict[str, Any]:
    """Return where it was measured, with what."""
    from importlib.metadata import version

    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in PACKAGES},
    }


def show(report: dict[str, Any], reporter: Reporter) -> None:
    """Print the table."""
    ours, theirs, choice = report["ours"], report["map"], report["choice"]
    reporter.head(f"Curation on {report['cpu']}, {report['cores']} cores")
    reporter.say(
        f"{report['prompts']:,} prompts of four answers, {report['bytes'] / 1e6:,.0f} MB of JSONL; "
        f"medians of {report['rounds']}\n"
    )
    with_load = theirs["seconds"] + theirs["seconds_load"]
    rows: list[tuple[str, float, float | None, float | None, float | None]] = [
        (
            "datasets.map, 2 processes",
            theirs["seconds"],
            theirs["cpu_seconds"],
            report["ratio"],
            theirs["peak_gb"],
        ),
        ("ours, after reading", ours["seconds_after"], ours["cpu_seconds_after"], 1.0, None),
        (
            "datasets.map with load_dataset",
            with_load,
            None,
            report["ratio_with_load"],
            None,
        ),
        ("ours, all of it", ours["seconds"], ours["cpu_seconds"], 1.0, report["peak_gb"]),
    ]
    if "scale" in report:
        many = report["scale"]
        name = f"ours, {many['times']} times the rows"
        rows.append((name, many["seconds"], many["cpu_seconds"], many["time_ratio"], many["peak_gb"]))
    reporter.table(
        ("", "seconds", "CPU s", "of ours", "peak GB"),
        [
            (
                name,
                f"{wall:.1f}",
                *(
                    "" if one is None else f"{one:.{digits}f}"
                    for one, digits in zip(rest, (1, 2, 2), strict=True)
                ),
            )
            for name, wall, *rest in rows
        ],
    )
    reporter.say(
        f"\n{choice['pairs']:,} pairs; the same chosen by both: {choice['same_chosen']:,}; "
        f"the truth was {report['truth']}"
    )
    by_rule = ", ".join(f"{count:,} by {by}" for by, count in report["pairs_by_rule"].items())
    reporter.say(f"pairs by the rules of argilla's data set and of H4's: {by_rule}")
    for one in (*report["mismatches"], *report.get("scale", {}).get("mismatches", ())):
        reporter.say(f"  {one}")
    reporter.say(
        f"ratio {report['ratio']:.1f}   ratio_with_load {report['ratio_with_load']:.1f}   "
        f"peak_gb {report['peak_gb']:.2f}"
    )


if __name__ == "__main__":
    typer.run(main)
