"""What checkpoints cost: bytes, the seconds that training waits for one, and those from a notice to a file on the disk.

    python benchmarks/checkpoint.py [--rounds N] [--folder DIR] [--out FILE]

Measured twice: by the embedded recipe, trained with a checkpoint every few steps and without any, in turn; and with
weights and optimizer state of a recipe's full size, held by an optimizer and saved by the code that training has.
"""

import functools
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar, cast

import torch
import typer
from transformers import AutoConfig, AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))  # a clone need not be installed

from benchmarks.device import cores, cpu_name, versions
from recipe.disk import write_json
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.resume.checkpoint import Checkpoints
from recipe.resume.names import steps_in
from recipe.resume.state import snapshot
from recipe.schema import Recipe
from recipe.trainer import PreferenceTrainer

T = TypeVar("T")
ROOT = Path(__file__).absolute().parents[1]
EVERY = 4  # steps, in the small training that is saved often
WIDE = 4096  # as Mistral's layers are


def main(
    recipe: Annotated[str, typer.Option(help="Whose full size.")] = "notus-7b-v1-lora",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each is measured.")] = 3,
    folder: Annotated[Path | None, typer.Option(help="Where to write. [default: a temporary one]")] = None,
    out: Annotated[Path | None, typer.Option(help="Write what was measured as JSON.")] = None,
) -> None:
    """Measure what checkpoints cost."""
    reporter = Reporter()
    loaded = load_recipe(recipe)
    assert loaded.execution.save_minutes is not None
    with tempfile.TemporaryDirectory(dir=folder, prefix="notus-") as place:
        small = small_training(Path(place), rounds, reporter)
        full = full_size(loaded, Path(place), rounds, reporter)
        full |= from_signal_to_exit(full["weights"], Path(place), rounds, reporter)
    between = 60 * loaded.execution.save_minutes
    found = {
        "cpu": cpu_name(),
        "cores": cores(),
        "rounds": rounds,
        "every_minutes": loaded.execution.save_minutes,
        "small": small,
        "full": full,
        "share_waiting": full["copy_seconds"] / between,
        "share_all": (full["copy_seconds"] + full["write_seconds"]) / between,
        "versions": versions(),
    }
    reporter.head(f"Checkpoints on {found['cpu']}, {found['cores']} cores; medians of {rounds}")
    reporter.table(
        ("", "embedded recipe", f"{recipe}'s size"),
        [
            ("trained weights", f"{small['weights']:,}", f"{full['weights']:,}"),
            ("bytes of a checkpoint", f"{small['bytes'] / 1e6:.2f} MB", f"{full['bytes'] / 1e6:.1f} MB"),
            ("training waits", "", f"{full['copy_seconds']:.3f} s"),
            ("written and on the disk, beside training", "", f"{full['write_seconds']:.2f} s"),
            ("read, its bytes checked", "", f"{full['read_seconds']:.2f} s"),
            ("from SIGTERM to the exit of a training", "", f"{full['exit_seconds']:.2f} s"),
            ("training takes longer, a checkpoint", f"{small['seconds_each']:+.3f} s", ""),
        ],
    )
    reporter.say(
        f"\none every {loaded.execution.save_minutes:g} minutes: {found['share_waiting']:.3%} of the time waiting, "
        f"{found['share_all']:.3%} if all of it were waited for"
    )
    if out is not None:
        write_json(out, found)


def small_training(place: Path, rounds: int, reporter: Reporter) -> dict[str, Any]:
    """Train the embedded recipe with checkpoints and without, in turn."""
    often = ["--set", "save_strategy=steps", "--set", f"save_steps={EVERY}"]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    run = place / "run"
    with reporter.bar("trainings", 2 * rounds) as bar:
        for _ in range(rounds):
            for saves in (False, True):
                command = [sys.executable, "-m", "notus", "train", "smoke", "--run", str(run), "--quiet"]
                command += ["--set", "save_minutes=null", *(often if saves else ()), "--restart", "--yes"]
                subprocess.run(command, cwd=ROOT, check=True)
                metrics = json.loads((run / "training" / "metrics.json").read_text(encoding="utf-8"))
                seconds[saves].append(metrics["train_seconds"])
                bar.advance()
    checkpoints = metrics["steps"] // EVERY
    smoke = load_recipe("smoke")
    weights = [tuple(shape) for shape in _adapter_shapes(run)]
    size = _written(place / "small", weights, smoke)[1]
    return {
        "seconds_without": median(seconds[False]),
        "seconds_with": median(seconds[True]),
        "checkpoints": checkpoints,
        "seconds_each": (median(seconds[True]) - median(seconds[False])) / checkpoints,
        "weights": sum(torch.Size(shape).numel() for shape in weights),
        "bytes": size,
    }


def full_size(recipe: Recipe, place: Path, rounds: int, reporter: Reporter) -> dict[str, Any]:
    """Save and read a state of a recipe's size."""
    shapes = lora_shapes(recipe)
    trainer = state_of(shapes, recipe)
    kept = Checkpoints(place / "full", {"science": recipe.science_sha256})
    copy, write, read = [], [], []
    for step in reporter.track(range(1, rounds + 1), "full size", rounds):
        trainer.state.global_step = step
        seconds, checkpoint = timed(lambda: snapshot(cast(PreferenceTrainer, trainer), []))
        copy.append(seconds)
        seconds, path = timed(functools.partial(kept.write, checkpoint))
        write.append(seconds)
        seconds, found = timed(lambda: kept.newest(reporter))
        assert found is not None
        read.append(seconds)
    return {
        "weights": sum(torch.Size(shape).numel() for shape in shapes),
        "bytes": path.stat().st_size,
        "copy_seconds": median(copy),
        "write_seconds": median(write),
        "read_seconds": median(read),
    }


def from_signal_to_exit(weights: int, place: Path, rounds: int, reporter: Reporter) -> dict[str, Any]:
    """End trainings whose adapters have about so many weights, on a base of one wide layer, by SIGTERM."""
    from tests.tiny import write_tiny

    rank = weights // (2 * (WIDE + WIDE) + 2 * (WIDE + WIDE // 4))
    sizes = {"hidden_size": WIDE, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": WIDE // 32}
    recipe = write_tiny(place, {**sizes, "num_hidden_layers": 1}, lora_r=rank, max_steps=1000)
    run, seconds = place / "wide", []
    command = [
        sys.executable,
        "-m",
        "notus",
        "train",
        str(recipe),
        "--run",
        str(run),
        "--set",
        "report_to=[]",
    ]
    for round_ in reporter.track(range(rounds), "signals", rounds):
        with subprocess.Popen(
            [*command, "--set", "save_strategy=steps", "--set", "save_steps=1"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while not any(step > 2 * round_ for step in steps_in(run / "checkpoints")):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            took, code = timed(process.wait)
        assert code == 128 + signal.SIGTERM
        seconds.append(took)
    size = max(path.stat().st_size for path in (run / "checkpoints").iterdir())
    return {"exit_seconds": median(seconds), "exit_longest": max(seconds), "exit_bytes": size}


def lora_shapes(recipe: Recipe) -> list[tuple[int, int]]:
    """Return the shapes of a recipe's LoRA on the base that its plan takes for granted."""
    science, execution = recipe.science, recipe.execution
    assert execution.assumed_model_type is not None
    config = AutoConfig.for_model(execution.assumed_model_type, **execution.assumed_config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    shapes = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name.rpartition(".")[2] in science.lora_target_modules:
            shapes += [(science.lora_r, module.in_features), (module.out_features, science.lora_r)]
    return shapes


def state_of(shapes: list[tuple[int, int]], recipe: Recipe) -> SimpleNamespace:
    """Return what `snapshot` reads of a trainer whose adapter has these shapes, after a step."""
    weights = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    optimizer = torch.optim.RMSprop(weights, lr=recipe.science.learning_rate)
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    model = torch.nn.ParameterDict({f"layer-{place}": weight for place, weight in enumerate(weights)})
    entry = {"loss": 0.6931, "grad_norm": 1.0, "learning_rate": 5e-7, "step": 1, "rewards/chosen": 0.1}
    return SimpleNamespace(
        tuned=model,
        optimizer=optimizer,
        lr_scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0),
        state=SimpleNamespace(global_step=1, log_history=[entry] * 360),
        _tr_loss=torch.zeros(()),
        _total_loss_scalar=0.0,
        _globalstep_last_logged=0,
        sums=None,
        trained_pairs=0.0,
        trained_tokens=0.0,
        first=None,
        clock=SimpleNamespace(state=(0.0, 0.0)),
    )


def timed(do: Callable[[], T]) -> tuple[float, T]:
    """Return how long something took, and what it returned."""
    started = time.perf_counter()
    found = do()
    return time.perf_counter() - started, found


def _adapter_shapes(run: Path) -> list[list[int]]:
    from safetensors import safe_open

    with safe_open(run / "adapter" / "adapter_model.safetensors", "pt") as file:
        return [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - it is no mapping


def _written(folder: Path, shapes: list[tuple[int, ...]], recipe: Recipe) -> tuple[Path, int]:
    trainer = state_of(cast("list[tuple[int, int]]", shapes), recipe)
    path = Checkpoints(folder, {}).write(snapshot(cast(PreferenceTrainer, trainer), []))
    return path, path.stat().st_size


if __name__ == "__main__":
    typer.run(main)
