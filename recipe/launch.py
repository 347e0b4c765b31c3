"""On how many processes and nodes a run trains, and torchrun for more than one."""

import contextlib
import gc
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from recipe.disk import read_json, write_json, write_text
from recipe.errors import UserError
from recipe.load import build_recipe
from recipe.nodes import Nodes, interface_of
from recipe.progress import Reporter
from recipe.run import Run, Stage
from recipe.schema import Execution, Recipe
from recipe.secret import SIGNING, environment_without

ENDING_SECONDS = 30
MEETING_SECONDS = 1800  # one node may have a base to download that another has already
LOCK_SECONDS = 30  # another node of this run folder has no more to do in it than to let go
RECIPE, MISTAKE, MET = "recipe.json", "user-error", "met"


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


def refuse_no_gpu(execution: Execution) -> None:
    """Refuse to train for weeks on a CPU what was written for GPUs.

    Raises:
        UserError: The recipe asks for one, and torch can use none here.
    """
    if execution.accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "accelerator: this recipe needs an NVIDIA GPU, and torch can use none here; `notus doctor --gpu` says why, "
            "and `--set accelerator=any` trains without"
        )


def micro_batch_size(recipe: Recipe, devices: int, nodes: int = 1) -> int:
    """Return the pairs of one micro-batch: as asked for, or as many as the recipe was written for and fit.

    Args:
        recipe: The recipe.
        devices: The processes of each node.
        nodes: How many there are.

    Raises:
        UserError: The recipe's pairs of a step can't be dealt evenly to so many devices in such micro-batches.
    """
    pairs, asked = recipe.science.global_batch_size, recipe.execution.micro_batch_size
    many = f"{devices} on each of {nodes} nodes" if nodes > 1 else f"{devices}"
    devices *= nodes
    if pairs % devices:
        raise UserError(f"devices: {pairs} pairs a step can't be dealt evenly to {many}; choose a divisor")
    if asked is None:
        most = min(recipe.science.per_device_train_batch_size, pairs // devices)
        return max(size for size in range(1, most + 1) if pairs % (size * devices) == 0)
    if pairs % (asked * devices):
        raise UserError(
            f"micro_batch_size: {asked} x {devices} device(s) does not divide the recipe's {pairs} pairs a step; "
            "choose one that does"
        )
    return asked


def bring_on_node(run: Run, stages: Sequence[Stage], reporter: Reporter) -> dict[str, dict[str, object]]:
    """Run those of `stages` that are not up to date, as one of several nodes. Return what each did.

    Node 0 owns the run folder from training on. Another one brings what training reads, in a folder of its own or in
    node 0's, trains along, and writes nothing more.

    Args:
        run: The run, as opened by this node.
        stages: The stages, `train` among them.
        reporter: Says what happens here.

    Raises:
        UserError: What a stage or a rank of any node finds wrong with the user's input.
        RuntimeError: A rank failed, here or on another node.
    """
    place = [stage.name for stage in stages].index("train")
    train = stages[place]
    said = run.bring_beside(stages[:place], reporter)
    if run.nodes.first:
        with run.locked(LOCK_SECONDS):
            return said | run.bring(stages[place:], reporter)
    if run.is_current(train):
        reporter.head("train: up to date")
        return said
    reporter.head(f"train: {train.does}, as {run.nodes}; node 0 shows the progress")
    with tempfile.TemporaryDirectory(prefix="notus-") as out:
        train.work(run, Path(out), reporter)
    reporter.say(f"  {run.nodes} has done its part; the adapter is in the run folder of node 0")
    return said | {"train": {"stage": "train", "ran": True, "node": run.nodes.rank, "nodes": run.nodes.count}}


def launch(run: Run, out: Path, devices: int, *, quiet: bool) -> None:
    """Run the train stage under torchrun: its ranks on this machine, together with those of other nodes.

    Args:
        run: The run.
        out: Where rank 0 writes; the other ranks write nothing.
        devices: The ranks here.
        quiet: Show no progress.

    Raises:
        UserError: What a rank of any node found wrong with the user's input, or the nodes did not meet.
        RuntimeError: A rank failed; its traceback is above, or on another node.
    """
    with tempfile.TemporaryDirectory(prefix="notus-") as folder:
        aside = Path(folder)
        # Not the run folder's: that may be node 0's, of another execution.
        write_json(aside / RECIPE, {"name": run.recipe.name, "values": run.recipe.flat()})
        command = [sys.executable, "-m", "torch.distributed.run", *_meeting(run.nodes)]
        command += [f"--nproc-per-node={devices}", "-m", "recipe.launch"]
        command += [str(run.folder), str(out), str(aside), "quiet" if quiet else "loud"]
        threads = max(1, (os.cpu_count() or 1) // devices)
        environment = {"OMP_NUM_THREADS": str(threads), **environment_without(SIGNING)}
        if run.nodes.count > 1 and (interface := interface_of(run.nodes)):
            environment.setdefault("GLOO_SOCKET_IFNAME", interface)
        code = _run_to_the_end(command, environment)
        if (aside / MISTAKE).is_file():
            raise UserError((aside / MISTAKE).read_text(encoding="utf-8"))
        met = (aside / MET).exists()
    if not code:
        return
    if run.nodes.count == 1:
        message = f"training on {devices} processes ended with code {code}"
    elif met:
        message = (
            f"training on {run.nodes} ended with code {code}; the cause may be on another node: "
            "the first traceback of all nodes shows it"
        )
    else:
        raise UserError(
            f"--rdzv-endpoint {run.nodes.endpoint}: the {run.nodes.count} nodes did not meet there; "
            "start each once, with a port of node 0 that all of them reach, and none once node 0 has trained"
        )
    raise RuntimeError(message)


def _meeting(nodes: Nodes) -> list[str]:
    """Return what torchrun is told of the nodes; all of it, as it would take the rest from the environment."""
    if nodes.count == 1:
        # The name of this machine may lead nowhere, as in a container without a network.
        return ["--standalone", "--nnodes=1", "--local-addr=127.0.0.1"]
    if nodes.first:
        try:
            socket.create_server(("", nodes.port)).close()
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise UserError(
                f"--rdzv-endpoint {nodes.endpoint}: node 0 can't listen on this port ({why}); choose another"
            ) from None
    options = [f"--nnodes={nodes.count}", f"--node-rank={nodes.rank}", "--max-restarts=0"]
    # Not c10d, which deals the ranks of the nodes as they come: node 0's first rank has to be the one that writes.
    options += ["--rdzv-backend=static", f"--rdzv-endpoint={nodes.endpoint}", "--rdzv-id=notus"]
    if "PET_RDZV_CONF" not in os.environ:  # where torchrun looks for it
        options.append(f"--rdzv-conf=timeout={MEETING_SECONDS}")
    return options


def _run_to_the_end(command: list[str], environment: dict[str, str]) -> int:
    """Run torchrun; whatever ends this process by a signal it can see, the ranks end with it."""
    with subprocess.Popen(command, env=environment) as process:
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()  # torchrun passes it on to the ranks, and waits for them
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(ENDING_SECONDS)
                process.kill()


def _rank() -> None:
    """Train as one rank of torchrun's."""
    folder, out, aside = map(Path, sys.argv[1:4])
    loud = sys.argv[4] == "loud" and os.environ["RANK"] == "0"
    first_here = os.environ["LOCAL_RANK"] == "0"
    (aside / MET).touch()  # torchrun starts no rank before all nodes are there

    from recipe.hush import hush_libraries

    hush_libraries(bars=False)
    from recipe.agreement import refuse_mixture
    from recipe.train import fit

    try:
        run = Run(folder, build_recipe(**read_json(aside / RECIPE), where=str(folder)))
        if int(os.environ["GROUP_WORLD_SIZE"]) > 1:
            refuse_mixture(run)
        fit(run, out, Reporter(quiet=not loud))
    except UserError as error:
        # Every rank finds the same mistake and ends well, so that torchrun adds nothing to the one line.
        if first_here:
            write_text(aside / MISTAKE, str(error))
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
