"""On how many processes and nodes a run trains, and torchrun for more than one."""

import contextlib
import gc
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import elastic_launch
from torch.distributed.run import config_from_args, parse_args

from recipe.disk import read_json, write_json, write_text
from recipe.errors import InterruptedRunError, UserError, ending_signals, full_disk
from recipe.load import build_recipe
from recipe.meeting import gloo_between, meeting, wait_for_node_0
from recipe.progress import Reporter
from recipe.resume.names import CHECKPOINTS, steps_in
from recipe.resume.notice import EndedError, ending_with
from recipe.run import Run, Stage
from recipe.schema import Execution, Recipe
from recipe.secret import SIGNING, environment_without
from recipe.sharing import others_lost

LOCK_SECONDS = 30  # another node of this run folder has no more to do in it than to let go
RECIPE, MISTAKE, MET, STUCK, ENDED = "recipe.json", "user-error", "met", "stuck", "ended"
# Of ranks that are started again: in a store that outlives them they would find where those before them listened.
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
PARENT = "parent"  # the process that starts the ranks
CODE_LOST, CODE_STUCK = 70, 71  # exit codes of ranks: others are gone, nothing moves


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
        InterruptedRunError: A rank was lost, or all are stuck.
        RuntimeError: A rank failed; its traceback is above, or on another node.
        SystemExit: This process was ended by a signal, and the ranks with it.
    """
    with tempfile.TemporaryDirectory(prefix="notus-") as folder:
        aside = Path(folder)
        write_text(aside / PARENT, str(os.getpid()))
        # Not the run folder's: that may be node 0's, of another execution.
        write_json(aside / RECIPE, {"name": run.recipe.name, "values": run.recipe.flat()})
        options = [*meeting(run.nodes), f"--nproc-per-node={devices}", "-m", "recipe.launch"]
        options += [str(run.folder), str(out), str(aside), "quiet" if quiet else "loud"]
        threads = max(1, (os.cpu_count() or 1) // devices)
        ours = {"OMP_NUM_THREADS": str(threads), **OWN_STORE, **gloo_between(run.nodes)}
        try:
            wait_for_node_0(run.nodes)
            with _environment(ours | environment_without(SIGNING)):
                failed = run_ranks(options)
        except (DistError, RendezvousError):  # another node is not there, or not any more
            failed = {0: CODE_LOST}
        if (aside / MISTAKE).is_file():
            raise UserError((aside / MISTAKE).read_text(encoding="utf-8"))
        if failed:
            _tell(run, failed, devices * run.nodes.count, aside)


def _tell(run: Run, failed: Mapping[int, int], ranks: int, aside: Path) -> NoReturn:
    """Say why training has ended: the exit codes of ranks tell."""
    nodes = run.nodes
    if not (aside / MET).exists():
        raise UserError(
            f"--rdzv-endpoint {nodes.endpoint}: the {nodes.count} nodes did not meet there; "
            "start each once, with a port of node 0 that all of them reach, and none once node 0 has trained"
        )
    steps = steps_in(run.path(CHECKPOINTS))
    again = "run the same command again" + (f", it goes on after step {steps[0]}" if steps else "")
    if nodes.count > 1:
        again = "run the same commands again on all nodes, and it goes on from node 0's last checkpoint"
    if (aside / STUCK).is_file():
        raise InterruptedRunError(f"{(aside / STUCK).read_text(encoding='utf-8')}; {again}")
    lost = {rank: -code for rank, code in failed.items() if code < 0}
    ended = {rank: code - 128 for rank, code in failed.items() if code > 128}  # by a signal to it alone
    if lost or ended:
        rank, number = next(iter((lost or ended).items()))
        how = "was lost" if lost else "was ended"
        name = signal.Signals(number).name
        raise InterruptedRunError(f"training: rank {rank} of {ranks} {how} ({name}); {again}")
    if set(failed.values()) <= {CODE_LOST, CODE_STUCK}:
        what = "another node, or the way to it," if nodes.count > 1 else "a rank"
        raise InterruptedRunError(f"training on {nodes}: {what} was lost; {again}")
    if nodes.count > 1:
        message = (
            f"training on {nodes} ended with code 1; the cause may be on another node: "
            "the first traceback of all nodes shows it"
        )
    else:
        message = f"training on {ranks} processes ended: ranks {sorted(failed)} failed"
    raise RuntimeError(message)


def run_ranks(options: Sequence[str]) -> dict[int, int]:
    """Run ranks by torchrun's own launcher, in this process: whatever ends it, they end with it.

    Args:
        options: torchrun's.

    Returns:
        The exit codes of those that failed, by rank; negative ones are signals'.

    Raises:
        SystemExit: A signal has ended this process, and so the ranks, which had their time to save.
    """
    for name in list(logging.root.manager.loggerDict):  # what they would say, we say
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    before = {number: signal.getsignal(number) for number in (*ending_signals(), signal.SIGQUIT)}
    handled = f"--signals-to-handle={','.join(number.name for number in before)}"  # SIGHUP not under nohup
    arguments = parse_args([handled, *options])  # type: ignore[no-untyped-call]
    config, command, given = config_from_args(arguments)
    try:
        elastic_launch(config, command)(*given)
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    except SignalException as error:
        raise ended_by(error.sigval) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return {}


def ended_by(number: int) -> SystemExit:
    """Say that a signal has ended this command; return what to raise then."""
    sys.stderr.write(f"notus: ended by {signal.Signals(number).name}\n")
    return SystemExit(128 + number)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Have these variables, and no others, in the block: the launcher gives its own to the ranks."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _rank() -> None:
    """Train as one rank of torchrun's."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # outside of training there is nothing to be saved
    folder, out, aside = map(Path, sys.argv[1:4])
    loud = sys.argv[4] == "loud" and os.environ["RANK"] == "0"
    first_here = os.environ["LOCAL_RANK"] == "0"
    if not aside.is_dir():  # whoever started this rank has ended meanwhile
        end_at_once(CODE_LOST)
    (aside / MET).touch()  # torchrun starts no rank before all nodes are there
    for said in (MISTAKE, STUCK, ENDED):  # by ranks before these
        (aside / said).unlink(missing_ok=True)

    restarts = os.environ["TORCHELASTIC_RESTART_COUNT"]
    if first_here and restarts != "0":
        of = os.environ["TORCHELASTIC_MAX_RESTARTS"]
        sys.stderr.write(
            f"notus: a rank was lost; the ranks of this node are started again ({restarts} of {of})\n"
        )
    from recipe.hush import hush_libraries

    hush_libraries(bars=False)
    from recipe.agreement import refuse_mixture
    from recipe.train import fit

    # Not whose child this is now: by the time that the imports take, that may be who takes in orphans.
    with ending_with(int((aside / PARENT).read_text(encoding="utf-8")), aside / ENDED):
        try:
            run = Run(folder, build_recipe(**read_json(aside / RECIPE), where=str(folder)))
            if int(os.environ["GROUP_WORLD_SIZE"]) > 1:
                refuse_mixture(run)
            fit(run, out, Reporter(quiet=not loud), aside)
        except UserError as error:
            # Every rank finds the same mistake and ends well, so that torchrun adds nothing to the one line.
            if first_here:
                write_text(aside / MISTAKE, str(error))
        except EndedError as error:
            end_at_once(128 + error.number if error.number else CODE_LOST)
        except Exception as error:
            if (full := full_disk(error)) is not None:
                write_text(aside / MISTAKE, full)
            elif aside.is_dir() and not others_lost(error):  # else who started this rank has ended
                raise
            elif int(os.environ["GROUP_WORLD_SIZE"]) > 1:  # which node can't be reached
                sys.stderr.write(
                    f"rank {os.environ['RANK']}: {(str(error).strip() or repr(error)).splitlines()[0]}\n"
                )
            end_at_once(CODE_LOST)
        leave_group()


def end_at_once(code: int) -> NoReturn:
    """End this process without waiting for what its group of ranks may still be waiting for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


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
