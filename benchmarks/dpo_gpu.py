"""How fast DPO trains a 7B on one GPU: as in 2023, TRL as written and at its best, and ours.

    python benchmarks/dpo_gpu.py [--out FILE]

The base has Mistral 7B's shape and random weights, made on the card. All modes get the same rows in the same steps,
base and adapter; each candidate runs once, in a process of its own, within 40 GB, or, where the table says so, the
whole card. Without a GPU this is a dry run: one small layer, every mode, and figures that mean nothing.
"""

import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))  # a clone need not be installed

from benchmarks.contest import CAP, MICRO_BATCHES, Contest, Entry, Outcome, entries
from benchmarks.device import Device, find_device, measure_products, versions
from benchmarks.flops import needed, spent
from benchmarks.isolate import Isolated, UnfinishedError
from benchmarks.rows import drawn_rows
from benchmarks.work import Mode, Result, Shape, Work, max_difference, mean_tokens, run
from recipe.disk import write_json
from recipe.progress import Reporter

MISTRAL_7B = Shape(
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)
DRY = Shape(
    vocab_size=512,
    hidden_size=64,
    intermediate_size=224,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=1,
)
LEARNING_RATE = 5e-7  # the recipe's
B_STD = 0.1  # with B at 0 all losses are ln 2; with this they are as far from it as late in a training
WARMUP = 1
SECONDS = 450.0
DRY_CANDIDATES = 2
DRY_RUN = "DRY RUN: no GPU here. One small layer on the CPU, some of each mode: the figures mean nothing."


def main(
    out: Annotated[Path | None, typer.Option(help="Write all that was measured as JSON.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="No mode goes on after so long.")] = SECONDS,
    pairs: Annotated[
        int | None,
        typer.Option(min=4, help="Pairs of a step, a multiple of 4. [default: 32; 4 in a dry run]"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps that are measured, after one.")] = 2,
) -> None:
    """Measure DPO of a 7B on one GPU."""
    until = time.monotonic() + seconds
    reporter = Reporter()
    if not reporter.console.is_terminal:
        reporter.console.width = 100  # a log has no width of its own
    if pairs is not None and pairs % max(MICRO_BATCHES):
        mistake = f"--pairs {pairs}: give a multiple of {max(MICRO_BATCHES)}, TRL's largest micro-batch"
        reporter.errors.print(f"dpo_gpu: {mistake}", markup=False)
        raise typer.Exit(2)
    device, isolated = _device()
    dry = device.kind == "cpu"
    reporter.head(f"DPO of {'one small layer' if dry else 'a 7B'} on {device.name}")
    if dry:
        reporter.say(DRY_RUN)
    work = work_for(device, pairs or (4 if dry else 32), steps)
    products = isolated.call(measure_products, work.shape, device.kind, 128 if dry else 8192, seconds=seconds)
    wanted = entries(whole=dry or device.memory > 1.1 * CAP, fused=not dry and "liger-kernel" in versions())
    if dry:  # some of each
        wanted = [replace(entry, candidates=entry.candidates[:DRY_CANDIDATES]) for entry in wanted]
    outcomes = _measure(work, wanted, isolated, until, reporter)
    report = summary(work, device, products, outcomes)
    show(report, reporter)
    if out is not None:
        write_json(out, report)


def _device() -> tuple[Device, Isolated]:
    """Return the device, and processes that can use it."""
    spawned = Isolated("spawn")
    device = spawned.call(find_device)
    forked = Isolated("forkserver")
    try:
        # What the libraries did at their import may keep a fork from the GPU.
        found = forked.call(find_device)
    except UnfinishedError:
        return device, spawned
    return device, forked if found == device else spawned


def work_for(device: Device, pairs: int, steps: int) -> Work:
    """Return what is done on a device; the measured rows have the mean lengths of real ones by themselves."""
    shape = DRY if device.kind == "cpu" else MISTRAL_7B
    return Work(
        rows=[
            *drawn_rows(WARMUP * pairs, shape.vocab_size, seed=1),
            *drawn_rows(steps * pairs, shape.vocab_size, seed=0),
        ],
        pairs_per_step=pairs,
        shape=shape,
        device=device.kind,
        dtype="bfloat16",
        warmup=WARMUP,
        b_std=B_STD,
        learning_rate=LEARNING_RATE,
    )


def _measure(
    work: Work, wanted: list[Entry], isolated: Isolated, until: float, reporter: Reporter
) -> list[Outcome]:
    with reporter.bar("modes", sum(len(entry.candidates) for entry in wanted)) as bar:

        def tell(name: str, said: str) -> None:
            bar.note(f"{name}  {said}")
            if said:
                bar.advance()

        def measure(mode: Mode, left: float) -> Result:
            return isolated.call(run, mode, work, seconds=left)

        return Contest(measure, until, tell).run(wanted)


def summary(
    work: Work, device: Device, products: dict[str, float], outcomes: list[Outcome]
) -> dict[str, Any]:
    """Return all that was measured, for a JSON file.

    A mode's `loss_difference` is the largest relative one from TRL's as written, over the steps.
    """
    ceiling = max(products.values())
    needs = needed(work)
    written = next(outcome.best for outcome in outcomes if outcome.entry.name == "TRL, as written")
    modes: list[dict[str, Any]] = []
    for outcome in outcomes:
        best = outcome.best
        row: dict[str, Any] = {"entry": outcome.entry.name, "memory_cap": outcome.entry.candidates[0].memory}
        if best is not None:
            result = best.results[0]
            useful = needs * best.pairs_per_second
            row |= best.as_dict() | {
                "reserved_bytes": result.reserved_bytes,
                "useful_flops": useful,
                "useful_share_of_ceiling": useful / ceiling,
                "spent_flops": spent(best.mode, work, result) * best.pairs_per_second,
                "loss_difference": max_difference(best.losses, written.losses) if written else None,
            }
        row["candidates"] = [
            outcome.measured[place].as_dict()
            if place in outcome.measured
            else {**vars(mode), "left_out": outcome.reasons[place]}
            for place, mode in enumerate(outcome.entry.candidates)
        ]
        modes.append(row)
    speeds = {row["entry"]: row["pairs_per_second"] for row in modes if "pairs_per_second" in row}
    return {
        "dry_run": device.kind == "cpu",
        "device": asdict(device),
        "versions": versions(),
        "settings": work.settings(),
        "mean_tokens": mean_tokens(work.measured),
        "needed_flop_per_pair": needs,
        "product_flops": products,
        "ceiling_flops": ceiling,
        "ratios": {
            f"{one} / {other}": speeds[one] / speeds[other]
            for one in speeds
            for other in speeds
            if one.startswith("ours") and not other.startswith("ours")
        },
        "max_loss_difference": max(
            (row["loss_difference"] for row in modes if row.get("loss_difference") is not None), default=None
        ),
        "modes": modes,
    }


def show(report: dict[str, Any], reporter: Reporter) -> None:
    """Print the tables."""
    tokens, settings = report["mean_tokens"], report["settings"]
    reporter.say(
        f"{settings['steps'] - settings['warmup']} steps of {settings['pairs_per_step']} pairs after "
        f"{settings['warmup']}: {tokens['prompt']:.0f} tokens of prompt, {tokens['chosen']:.0f} of chosen, "
        f"{tokens['rejected']:.0f} of rejected\n"
        f"{settings['dtype']}; TRL {report['versions']['trl']}, torch {report['versions']['torch']}; "
        f"matrix products reach {report['ceiling_flops'] / 1e12:,.2f} TFLOP/s\n"
    )
    columns = ("", "pairs/s", "peak GiB", "useful", "of ceiling", "spent", "last loss", "differs")
    reporter.table(columns, [_line(row) for row in report["modes"]])
    reporter.say(
        "\nuseful: TFLOP/s of what the work needs, each prompt once; spent: with padding and recomputation;\n"
        "differs: the losses from those of TRL as written; all within 40 GB but for the whole card\n"
    )
    reporter.table(
        ("candidates", "pairs/s", "peak GiB", "recomputed", ""),
        [
            (
                one["name"] + (", whole card" if not one["memory"] else ""),
                f"{one['pairs_per_second']:.3f}" if "results" in one else "",
                f"{one['peak_bytes'] / 2**30:.1f}" if "results" in one else "",
                f"{one['results'][0]['recomputed']:.0%}" if "results" in one else "",
                "the fastest" if one["name"] == row.get("name") else one.get("left_out", ""),
            )
            for row in report["modes"]
            for one in row["candidates"]
        ],
    )
    for name, ratio in report["ratios"].items():
        reporter.say(f"{name}: {ratio:.2f}x")
    if report["dry_run"]:
        reporter.say(DRY_RUN)


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    if "results" not in row:
        return (row["entry"], row["candidates"][0]["left_out"], *[""] * 6)
    return (
        row["entry"],
        f"{row['pairs_per_second']:.3f}",
        f"{row['peak_bytes'] / 2**30:.1f}",
        f"{row['useful_flops'] / 1e12:,.1f}",
        f"{row['useful_share_of_ceiling']:.0%}",
        f"{row['spent_flops'] / 1e12:,.1f}",
        f"{row['losses'][-1]:.6f}",
        "" if row["loss_difference"] is None else f"{row['loss_difference']:.1e}",
    )


if __name__ == "__main__":
    typer.run(main)
