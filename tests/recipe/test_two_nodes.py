"""Two nodes of one training, the cable between them cut, and each of them ended in every way."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from recipe.resume.names import CHECKPOINTS, steps_in
from tests.recipe.nodes import Cable, Node, start, two_machines, why_no_namespaces
from tests.support import Outcome, fresh
from tests.tiny import write_tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_no_namespaces()), reason=f"no network namespace: {why_no_namespaces()}"),
]

STEPS = 150
TIMEOUT = 10  # seconds of `step_timeout`
SOON = 25  # seconds that an end takes at most, beside what is waited for
EVERY_STEP = ("--set", "save_strategy=steps", "--set", "save_steps=1")
AGAIN = "run the same commands again on all nodes, and it goes on from node 0's last checkpoint"


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of some seconds of training."""
    return write_tiny(tmp_path_factory.mktemp("long"), max_steps=STEPS)


@pytest.fixture(scope="module")
def alone(long: Path) -> bytes:
    """The adapter that two processes of one machine make."""
    run = long.parent / "alone"
    ended = fresh(
        "train", long, "--run", run, "--quiet", "--set", "devices=2", cwd=long.parent, OMP_NUM_THREADS="1"
    )
    assert ended.code == 0, ended.err
    return adapter_of(run)


@pytest.fixture
def cable() -> Iterator[Cable]:
    """Two machines, and what connects them."""
    with two_machines() as cable:
        yield cable


Both = tuple[Node, Node]
StartOne = Callable[..., Node]
StartBoth = Callable[..., Both]


@pytest.fixture
def start_one(cable: Cable, long: Path, tmp_path: Path) -> StartOne:
    """Start the training on one of the nodes, with a run folder of its own."""

    def start_one(node: int, *options: object, **env: str) -> Node:
        sets = ("--set", "devices=1", "--set", f"step_timeout={TIMEOUT}", *options)
        return start(cable, node, long, tmp_path / f"run-{node}", *sets, **env)

    return start_one


@pytest.fixture
def start_both(start_one: StartOne) -> StartBoth:
    """Start the training on both nodes."""

    def start_both(*options: object, **env: str) -> Both:
        return start_one(0, *options, **env), start_one(1, *options, **env)

    return start_both


def adapter_of(run: Path) -> bytes:
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


def step_of(run: Path) -> int:
    """Return the step after which the last checkpoint is."""
    return next(iter(steps_in(run / CHECKPOINTS)), 0)


def wait_for_step(both: Both, step: int, seconds: float = 90) -> int:
    """Wait until node 0 has a checkpoint after a step or a later one; return which."""
    until = time.monotonic() + seconds
    while (found := step_of(both[0].run)) < step:
        for node in both:
            assert node.process.poll() is None, node.end().err
        assert time.monotonic() < until, f"no step after {found} in {seconds} s"
        time.sleep(0.05)
    assert found < STEPS - 20, "too fast for this test"
    return found


def ends(cable: Cable, both: Both, within: float) -> tuple[Outcome, Outcome]:
    """Wait for the end of both, and make sure that nothing is left of them."""
    until = time.monotonic() + within
    zero, one = (node.end(until - time.monotonic()) for node in both)
    assert cable.processes(0) == cable.processes(1) == []
    return zero, one


def last_line(outcome: Outcome) -> str:
    return outcome.err.rstrip("\n").rpartition("\n")[2]


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def settled(run: Path) -> int:
    """Return the last step that a run has a checkpoint of, once the one that is being written is there."""
    step = -1
    while step != (step := step_of(run)):
        time.sleep(1)
    return step


def assert_it_ends_as_one_machine_does(cable: Cable, both: Both, step: int, alone: bytes) -> None:
    """Check that training goes on from a step on to its end, and to the adapter of an undisturbed run."""
    zero, one = ends(cable, both, 120)
    assert (zero.code, one.code) == (0, 0), zero.err + one.err
    assert f"training goes on after step {step} of {STEPS}" in zero.out
    assert "node 1 of 2 has done its part" in one.out
    log = map(json.loads, (both[0].run / "training" / "log.jsonl").read_text("utf-8").splitlines())
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, STEPS + 1))
    assert adapter_of(both[0].run) == alone
    assert not any((node.run / CHECKPOINTS).exists() for node in both)


def interrupted(cable: Cable, both: Both, node: int | None = None) -> int:
    """Check that training has ended on both nodes, one line on each, and return from which step on it has to go on.

    Args:
        cable: Between them.
        both: The nodes.
        node: The one that was ended from outside, and need not say so.
    """
    outcomes = ends(cable, both, TIMEOUT + SOON)
    for rank, outcome in enumerate(outcomes):
        if rank != node:
            assert outcome.code == 1, outcome.err
            assert last_line(outcome).startswith("notus: training")
            assert last_line(outcome).endswith(AGAIN)
        assert "Traceback" not in outcome.err
    assert step_of(both[1].run) == 0
    return step_of(both[0].run)


def stuck(cable: Cable, both: Both) -> int:
    """Likewise, after nothing has come from the other node for too long."""
    step = interrupted(cable, both)
    for rank, node in enumerate(both):
        outcome = node.end()
        assert "training: no answer came from the other ranks for" in last_line(outcome)
        assert f"rank {rank}: nothing was done for {TIMEOUT} s; its stack:" in outcome.err
        assert "in all_reduce" in outcome.err
        # A step is so short here that its checkpoint may be left out, the one before being written still.
        said = re.search(rf" {TIMEOUT} s after step (\d+)", last_line(outcome))
        assert said, outcome.err
        assert step <= int(said[1]) <= step + 2
    cable.mend()
    return step


def lose_all(cable: Cable, both: Both) -> int:
    cable.swallow()
    return stuck(cable, both)


def pull_out(cable: Cable, both: Both) -> int:
    cable.cut()
    return stuck(cable, both)


def end_node(node: int, cable: Cable, both: Both) -> int:
    """A node is told to end, as a spot machine is."""
    both[node].signal(signal.SIGTERM)
    step = interrupted(cable, both, node)
    outcome = both[node].end()
    assert outcome.code == 128 + signal.SIGTERM, outcome.err
    assert "notus: ended by SIGTERM" in outcome.err
    assert f"notus: there is a checkpoint after step {step} of {STEPS}" in both[0].end().err
    return step


def kill_node_1(cable: Cable, both: Both) -> int:
    """Its first process is killed; its ranks have to notice."""
    both[1].signal(signal.SIGKILL)
    return interrupted(cable, both, 1)


def crash_node_0(cable: Cable, both: Both) -> int:
    cable.crash(0)
    return interrupted(cable, both, 0)


DISASTERS: list[Callable[[Cable, Both], int]] = [
    lose_all,
    pull_out,
    partial(end_node, 0),
    partial(end_node, 1),
    kill_node_1,
    crash_node_0,
]


def test_whatever_ends_one_node_ends_both_and_the_same_commands_go_on_to_the_same_adapter(
    cable: Cable, start_both: StartBoth, alone: bytes
) -> None:
    step = 0
    for disaster in DISASTERS:
        both = start_both(*EVERY_STEP)
        reached = wait_for_step(both, step + 3)
        if not step:  # a short cut is none: TCP sends again what was lost
            cable.swallow()
            time.sleep(0.5)
            before = step_of(both[0].run)
            time.sleep(2.5)
            assert step_of(both[0].run) == before
            cable.mend()
            reached = wait_for_step(both, before + 3, TIMEOUT + 10)
        then, step = step, disaster(cable, both)
        assert step >= reached
        assert not then or f"training goes on after step {then} of {STEPS}" in both[0].end().out

    assert_it_ends_as_one_machine_does(cable, start_both(), step, alone)


def test_with_restarts_ranks_that_are_lost_are_started_again_and_a_node_that_is_may_come_back(
    cable: Cable, start_one: StartOne, start_both: StartBoth, alone: bytes
) -> None:
    options = (*EVERY_STEP, "--max-restarts", 2)
    both = start_both(*options)
    step = wait_for_step(both, 3)
    (rank_0,) = [pid for pid in cable.processes(0) if b"recipe.launch" in command_line(pid)]
    os.kill(rank_0, signal.SIGKILL)
    wait_for_step(both, step + 3)
    both[1].signal(signal.SIGKILL)
    both[1].process.wait()
    step = settled(both[0].run)
    both = (both[0], start_one(1, *options))
    assert_it_ends_as_one_machine_does(cable, both, step, alone)


def test_nodes_whose_cable_is_cut_do_not_meet_and_say_where(cable: Cable, start_both: StartBoth) -> None:
    cable.swallow()
    outcomes = ends(cable, start_both("--quiet", PET_RDZV_CONF="timeout=5"), 60)
    for outcome in outcomes:
        assert outcome.code == 2, outcome.err
        assert last_line(outcome).startswith(
            "notus: --rdzv-endpoint 10.77.0.1:29500: the 2 nodes did not meet"
        )
