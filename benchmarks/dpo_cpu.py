"""How fast DPO trains on a CPU: TRL with the recipe as written, TRL at its best, and ours.

    python benchmarks/dpo_cpu.py [--quick] [--dataset FILE --tokenizer DIR] [--out FILE]

All get the same rows in the same steps, base and adapter; each runs in a process of its own, in turn, several times.
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))  # a clone need not be installed

from benchmarks.contest import MICRO_BATCHES
from benchmarks.device import cores, cpu_name, versions
from benchmarks.isolate import Isolated
from benchmarks.rows import drawn_rows, rows_of_file
from benchmarks.work import Measured, Mode, Result, Shape, Work, max_difference, mean_tokens, run
from recipe.disk import write_json
from recipe.errors import UserError
from recipe.progress import Reporter

AS_WRITTEN = Mode("TRL, as written", "trl", micro_batch=2, checkpointing=True, reference_once=False)
SMALL = Shape(
    hidden_size=384, intermediate_size=1344, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2
)


def main(
    dataset: Annotated[Path | None, typer.Option(help="Preference data. [default: drawn lengths]")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="The folder of a tokenizer for --dataset.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write all that was measured as JSON.")] = None,
    quick: Annotated[
        bool, typer.Option(help="A smaller base, fewer pairs, each mode once: to see that it works.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 3,
    pairs: Annotated[int, typer.Option(min=4, help="Pairs of a step, a multiple of 4.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each mode runs.")] = 2,
    budget: Annotated[
        int, typer.Option(min=0, help="Tokens of our packs. [default: what the engine takes by itself]")
    ] = 0,
) -> None:
    """Measure DPO on a CPU."""
    reporter = Reporter()
    if not reporter.console.is_terminal:
        reporter.console.width = 100  # a log has no width of its own
    if quick:
        steps, rounds = 2, 1
    try:
        work = _work(dataset, tokenizer, SMALL if quick else Shape(), steps, pairs, reporter)
    except UserError as error:
        reporter.errors.print(f"dpo_cpu: {error}", markup=False)
        raise typer.Exit(2) from None
    mine = Mode(f"ours, packs of {budget:,} tokens" if budget else "ours", "ours", budget=budget)
    heats, measured = compete(work, mine, rounds, reporter)
    report = summary(work, heats, measured, rounds)
    show(report, heats, measured, reporter)
    if out is not None:
        write_json(out, report)


def _work(
    dataset: Path | None, tokenizer: Path | None, shape: Shape, steps: int, pairs: int, reporter: Reporter
) -> Work:
    if pairs % max(MICRO_BATCHES):
        raise UserError(
            f"--pairs {pairs}: give a multiple of {max(MICRO_BATCHES)}, TRL's largest micro-batch"
        )
    if dataset is None:
        return Work(drawn_rows(steps * pairs, shape.vocab_size, seed=0), pairs, shape)
    if tokenizer is None:
        raise UserError("--dataset: give a --tokenizer too, the folder of one")
    rows = rows_of_file(dataset, tokenizer, steps * pairs, reporter)
    largest = max(max(ids) for row in rows for ids in row.values())
    return Work(rows, pairs, replace(shape, vocab_size=max(shape.vocab_size, largest + 1)))


def at_best() -> list[Mode]:
    """Return the settings of TRL that may be its fastest."""
    return [
        Mode(
            f"TRL, micro-batch {micro_batch}{', recompute' * checkpointing}",
            "trl",
            micro_batch=micro_batch,
            checkpointing=checkpointing,
        )
        for checkpointing in (False, True)
        for micro_batch in MICRO_BATCHES
    ]


def compete(work: Work, mine: Mode, rounds: int, reporter: Reporter) -> tuple[list[Measured], list[Measured]]:
    """Return the heats of TRL's settings, fastest first, and as written, at best and ours, over all rounds.

    A heat is the first step. The fastest by the clock, and by the time of all cores, which others that compute
    meanwhile change less, then run in turn with the other two; the faster one over all rounds is TRL at its best.
    """
    first = replace(work, rows=work.steps[0])
    isolated = Isolated("forkserver")
    heats = sorted(
        (
            Measured(mode, [isolated.call(run, mode, first)])
            for mode in reporter.track(at_best(), "heats", len(at_best()))
        ),
        key=lambda heat: -heat.pairs_per_second,
    )
    modes = [AS_WRITTEN, *finalists_of(heats), mine]
    turns = [place for _ in range(rounds) for place in range(len(modes))]
    results: list[list[Result]] = [[] for _ in modes]
    for place in reporter.track(turns, "modes, in turn", len(turns)):
        results[place].append(isolated.call(run, modes[place], work))
    as_written, *trl, ours = (Measured(mode, found) for mode, found in zip(modes, results, strict=True))
    return heats, [as_written, max(trl, key=lambda one: one.pairs_per_second), ours]


def finalists_of(heats: list[Measured]) -> list[Mode]:
    """Return the fastest mode by the clock, and the one by the time of all cores, if that is another."""
    by_clock = max(heats, key=lambda heat: heat.pairs_per_second).mode
    by_cores = min(heats, key=lambda heat: heat.cpu_seconds_per_pair).mode
    return [by_clock] if by_clock == by_cores else [by_clock, by_cores]


def summary(work: Work, heats: list[Measured], measured: list[Measured], rounds: int) -> dict[str, Any]:
    """Return all that was measured, for a JSON file."""
    as_written, best, mine = measured
    return {
        "ratio": mine.pairs_per_second / as_written.pairs_per_second,
        "ratio_best": mine.pairs_per_second / best.pairs_per_second,
        "ratio_cpu_seconds": as_written.cpu_seconds_per_pair / mine.cpu_seconds_per_pair,
        "ratio_best_cpu_seconds": best.cpu_seconds_per_pair / mine.cpu_seconds_per_pair,
        "max_loss_difference": max(max_difference(mine.losses, other.losses) for other in (as_written, best)),
        "modes": [one.as_dict() for one in measured],
        "heats": [heat.as_dict() for heat in heats],
        "rounds": rounds,
        "pairs": len(work.rows),
        "pairs_per_step": work.pairs_per_step,
        "mean_tokens": mean_tokens(work.rows),
        "model": {**asdict(work.shape), "parameters": mine.results[0].parameters},
        "threads": mine.results[0].threads,
        "cpu": cpu_name(),
        "cores": cores(),
        "settings": work.settings(),
        "versions": versions(),
        "python": sys.version.split()[0],
    }


def show(report: dict[str, Any], heats: list[Measured], measured: list[Measured], reporter: Reporter) -> None:
    """Print the tables."""
    tokens, model = report["mean_tokens"], report["model"]
    as_written, *_ = measured
    reporter.head(f"DPO on {report['cpu']}, {report['threads']} threads")
    reporter.say(
        f"{report['pairs']} pairs in {len(as_written.losses)} steps: {tokens['prompt']:.0f} tokens of prompt, "
        f"{tokens['chosen']:.0f} of chosen, {tokens['rejected']:.0f} of rejected\n"
        f"a Mistral of {model['parameters'] / 1e6:.0f}M parameters, float32; TRL {report['versions']['trl']}; "
        f"medians of {report['rounds']}\n"
    )
    reporter.table(
        ("", "pairs/s", "speed", "CPU s/pair", "tokens/pair", "peak RSS", "last loss"),
        [
            (
                one.mode.name,
                f"{one.pairs_per_second:.3f}",
                f"{one.pairs_per_second / as_written.pairs_per_second:.2f}x",
                f"{one.cpu_seconds_per_pair:.2f}",
                f"{one.tokens_per_pair:,.0f}",
                f"{one.peak_bytes / 2**30:.2f} GiB",
                f"{one.losses[-1]:.6f}",
            )
            for one in measured
        ],
    )
    reporter.say(f"\nTRL's settings, on {heats[0].results[0].pairs} pairs; reference once")
    reporter.table(
        ("", "pairs/s", "CPU s/pair", "tokens/pair", "peak RSS"),
        [
            (
                heat.mode.name,
                f"{heat.pairs_per_second:.3f}",
                f"{heat.cpu_seconds_per_pair:.2f}",
                f"{heat.tokens_per_pair:,.0f}",
                f"{heat.peak_bytes / 2**30:.2f} GiB",
            )
            for heat in heats
        ],
    )
    reporter.say(
        f"\nratio {report['ratio']:.2f}   ratio_best {report['ratio_best']:.2f}   "
        f"max_loss_difference {report['max_loss_difference']:.1e}"
    )


if __name__ == "__main__":
    typer.run(main)
