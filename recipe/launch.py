"""On how many processes a run trains, and torchrun for more than one."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from recipe.errors import UserError
from recipe.schema import Execution, Recipe

ENDING_SECONDS = 30


def devices_for(execution: Execution) -> int:
    """Return how many processes to train on: one a GPU, or as many as asked for.

    Raises:
        UserError: More are asked for than there are GPUs, where there are any.
    """
    gpus = torch.cuda.device_count()
    if execution.devices == "auto":
        return max(1, gpus)
    if gpus and execution.devices > gpus:
        raise UserError(f"devices: {execution.devices} asked for, but this machine has {gpus} GPU(s)")
    return execution.devices


def micro_batch_size(recipe: Recipe, devices: int) -> int:
    """Return the pairs of one micro-batch: as asked for, or as many as the recipe was written for and fit.

    Raises:
        UserError: The recipe's pairs of a step can't be dealt evenly to so many devices in such micro-batches.
    """
    pairs, asked = recipe.science.global_batch_size, recipe.execution.micro_batch_size
    if pairs % devices:
        raise UserError(f"devices: {pairs} pairs a step can't be dealt evenly to {devices}; choose a divisor")
    if asked is None:
        most = min(recipe.science.per_device_train_batch_size, pairs // devices)
        return max(size for size in range(1, most + 1) if pairs % (size * devices) == 0)
    if pairs % (asked * devices):
        raise UserError(
            f"micro_batch_size: {asked} x {devices} device(s) does not divide the recipe's {pairs} pairs a step; "
            "choose one that does"
        )
    return asked


def launch(folder: Path, out: Path, devices: int, *, quiet: bool) -> None:
    """Run the train stage of the run in `folder` under torchrun, on this machine.

    Raises:
        UserError: What a rank found wrong with the user's input.
        RuntimeError: A rank failed; its traceback is above.
    """
    said = out / ".user-error"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    command += ["-m", "recipe.launch", str(folder), str(out), "quiet" if quiet else "loud"]
    threads = max(1, (os.cpu_count() or 1) // devices)
    code = _run_to_the_end(command, {"OMP_NUM_THREADS": str(threads), **os.environ})
    if said.is_file():
        text = said.read_text(encoding="utf-8")
        said.unlink()
        raise UserError(text)
    if code:
        message = f"training on {devices} processes ended with code {code}"
        raise RuntimeError(message)


def _run_to_the_end(command: list[str], environment: dict[str, str]) -> int:
    """Run torchrun; whatever ends this process by a signal it can see, the ranks end with it."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with subprocess.Popen(command, env=environment) as process:
            try:
                return process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()  # torchrun passes it on to the ranks, and waits for them
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(ENDING_SECONDS)
                    process.kill()
    finally:
        signal.signal(signal.SIGTERM, before)


def _rank() -> None:
    """Train as one rank of torchrun's."""
    from recipe.load import build_recipe, read_resolved
    from recipe.progress import Reporter
    from recipe.run import Run
    from recipe.train import fit

    folder, out, loudness = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    first = os.environ["RANK"] == "0"
    try:
        name, values = read_resolved(folder)
        run = Run(folder, build_recipe(name, values, where=str(folder)))
        fit(run, out, Reporter(quiet=loudness == "quiet" or not first))
    except UserError as error:
        # Every rank finds the same mistake and ends well, so that torchrun adds nothing to the one line.
        if first:
            (out / ".user-error").write_text(str(error), encoding="utf-8")
    leave_group()


def leave_group() -> None:
    """End the process group, and the threads that it has.

    Gloo's threads let go of an exchange's tensors when they get to it, and abort the process if Python has ended by
    then. The group ends only when all that holds on to it is gone, the trainer's cycles included.
    """
    gc.collect()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _rank()
