"""Ranks of a training, on one node and on several, and how they end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from recipe.agreement import refuse_differing
from recipe.errors import UserError
from recipe.launch import leave_group, micro_batch_size
from recipe.load import load_recipe
from recipe.nodes import ALONE, Nodes, nodes_from
from recipe.progress import Reporter
from recipe.run import Run, Stage
from tests.support import ROOT, Cli, Outcome

SECONDS = 300  # more than any of these takes
HERE = ("--nnodes", "2", "--rdzv-endpoint", "127.0.0.1:29500")


def threads() -> Counter[str]:
    """Return the names of this process's threads, and how many have each."""
    return Counter(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in Linux's /proc")
def test_a_rank_that_has_left_its_group_has_none_of_its_threads(tmp_path: Path) -> None:
    before = threads()
    store = distributed.FileStore(str(tmp_path / "store"), 1)  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    model = DistributedDataParallel(torch.nn.Linear(2, 2))
    model(torch.ones(1, 2)).sum().backward()
    model.cycle = model  # as a trainer is one
    del model
    group_s = set(threads()) - set(before)
    assert group_s
    leave_group()
    assert not set(threads()) & group_s
    leave_group()  # where there is no group, nothing


# Which node this is


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--nnodes", "2", "--node-rank", "5"), "--node-rank 5: of 2 node(s) it can be 0 to 1"),
        (("--nnodes", "2", "--node-rank", "-1"), "--node-rank -1: of 2 node(s) it can be 0 to 1"),
        (
            ("--node-rank", "1"),
            "--node-rank 1: of 1 node(s) it can be 0; for more than one node give --nnodes",
        ),
        (("--nnodes", "0"), "--nnodes 0: give 1 or more"),
        (("--nnodes", "2"), "--node-rank: not given; say which of the 2 nodes this is, 0 to 1"),
        (("--nnodes", "2", "--node-rank", "1"), "--rdzv-endpoint: not given; give HOST:PORT of node 0"),
        ((*HERE[:3], "host", "--node-rank", "1"), "--rdzv-endpoint host: must be HOST:PORT"),
        ((*HERE[:3], "host:0", "--node-rank", "1"), "--rdzv-endpoint host:0: must be HOST:PORT"),
        ((*HERE[:3], "host:http", "--node-rank", "1"), "--rdzv-endpoint host:http: must be HOST:PORT"),
        (
            (*HERE, "--node-rank", "1", "--set", "devices=3"),
            "devices: 16 pairs a step can't be dealt evenly to 3 on each of 2 nodes",
        ),
        (
            (*HERE, "--node-rank", "1", "--set", "micro_batch_size=16"),
            "micro_batch_size: 16 x 2 device(s) does not divide the recipe's 16 pairs a step",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["train", "run"])
def test_what_can_t_be_is_one_line_and_nothing_is_written(
    command: str,
    options: tuple[str, ...],
    says: str,
    tiny: Path,
    tmp_path: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PET_RDZV_CONF", "timeout=5")  # should it come to a meeting
    line = cli(command, tiny / "tiny.yaml", "--run", tmp_path / "run", *options).mistake
    assert says in line
    assert not (tmp_path / "run").exists()


def test_nodes_are_as_the_options_or_the_environment_say(
    tiny: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nodes_from(1, None, None) == nodes_from(1, 0, "host:1") == ALONE
    assert nodes_from(3, 2, "host:29500") == Nodes(3, 2, "host:29500")
    assert nodes_from(2, 0, "[::1]:29500").port == 29500
    monkeypatch.setenv("MASTER_ADDR", "first")
    monkeypatch.setenv("MASTER_PORT", "1234")
    assert nodes_from(2, 1, None).endpoint == "first:1234"
    assert nodes_from(2, 1, "host:29500").endpoint == "host:29500"
    monkeypatch.setenv("PET_NNODES", "2")
    monkeypatch.setenv("PET_NODE_RANK", "7")
    line = cli("train", tiny / "tiny.yaml", "--run", tmp_path / "run").mistake
    assert "--node-rank 7: of 2 node(s)" in line
    monkeypatch.setenv("PET_NODE_RANK", "1")
    monkeypatch.setenv("PET_RDZV_ENDPOINT", "nowhere")
    line = cli("train", tiny / "tiny.yaml", "--run", tmp_path / "run").mistake
    assert "--rdzv-endpoint nowhere" in line


def test_a_micro_batch_is_of_all_nodes_devices() -> None:
    recipe = load_recipe("smoke")
    assert recipe.science.global_batch_size == 16
    assert micro_batch_size(recipe, 4, 2) == micro_batch_size(recipe, 8) == 2
    with pytest.raises(UserError, match="to 8 on each of 4 nodes"):
        micro_batch_size(recipe, 8, 4)


# What the nodes agree on


def test_ranks_that_are_alike_may_train() -> None:
    refuse_differing([(0, {"beta": 0.1}), (0, {"beta": 0.1}), (1, {"beta": 0.1})])


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"beta": 0.5, "seed": 1}, "node 1: beta is 0.5, on node 0 it is 0.1"),
        ({"beta": 0.1, "seed": 2}, "node 1: seed is 2, on node 0 it is 1"),
        ({"beta": 0.1}, "node 1: seed is None, on node 0 it is 1"),
        (
            {"mistake": "model_name_or_path: there is no /base"},
            "node 1: model_name_or_path: there is no /base",
        ),
    ],
)
def test_a_rank_that_differs_is_named(other: dict[str, object], says: str) -> None:
    same = {"beta": 0.1, "seed": 1}
    with pytest.raises(UserError) as refused:
        refuse_differing([(0, same), (0, same), (1, other), (1, other)])
    assert says in str(refused.value)


# A run folder that nodes share


QUIET = Reporter(quiet=True)


def counting(ran: list[str]) -> Stage:
    """Return a stage that notes in `ran` that it worked."""

    def work(run: Run, out: Path, _: Reporter) -> dict[str, object]:
        (out / "made").write_text("made")
        ran.append("made")
        return {"files": 1}

    return Stage("make", "a file", (), ("made",), ("science",), work)


def test_what_is_up_to_date_is_read_under_another_s_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    at_the_first_look(monkeypatch, lambda: pytest.fail("it waits"))
    run = Run(tmp_path / "run", load_recipe("smoke"), Nodes(2, 1, "host:1"))
    assert run.bring_beside([counting(ran)], QUIET)["make"]["ran"]
    before = {path: path.stat().st_mtime_ns for path in run.folder.iterdir() if path.name != ".lock"}
    with FileLock(run.path(".lock"), timeout=0):
        said = run.bring_beside([counting(ran)], QUIET)
    assert said == {"make": {"stage": "make", "ran": False, "files": 1}}
    assert ran == ["made"]
    assert before == {path: path.stat().st_mtime_ns for path in run.folder.iterdir() if path.name != ".lock"}


def at_the_first_look(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> list[float]:
    """Do something where a node first waits, and return the seconds of each wait."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        assert len(waits) < 5
        if len(waits) == 1:
            do()

    monkeypatch.setattr("recipe.run.time.sleep", sleep)
    return waits


def test_a_node_waits_for_who_is_at_work_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    one = Run(tmp_path / "run", load_recipe("smoke"), Nodes(2, 0, "host:1"))
    other = Run(tmp_path / "run", load_recipe("smoke"), Nodes(2, 1, "host:1"))
    with one.locked():
        waits = at_the_first_look(monkeypatch, lambda: one.bring([counting(ran)], QUIET))
        said = other.bring_beside([counting(ran)], Reporter())
    assert ran == ["made"]
    assert not said["make"]["ran"]
    assert len(waits) == 1
    assert f"{tmp_path / 'run'}: another notus works here; waiting for it to make" in capsys.readouterr().out


def test_a_node_does_what_who_was_at_work_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    run = Run(tmp_path / "run", load_recipe("smoke"), Nodes(2, 1, "host:1"))
    run.folder.mkdir()
    lock = FileLock(run.path(".lock"), timeout=0)
    lock.acquire()
    waits = at_the_first_look(monkeypatch, lock.release)
    assert run.bring_beside([counting(ran)], QUIET)["make"]["ran"]
    assert ran == ["made"]
    assert len(waits) == 1


def test_a_node_does_not_wait_in_another_science_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Run(tmp_path / "run", load_recipe("smoke", ["beta=0.5"]))
    mine = Run(tmp_path / "run", load_recipe("smoke"), Nodes(2, 1, "host:1"))
    with other.locked():
        at_the_first_look(monkeypatch, lambda: other.bring([counting([])], QUIET))
        with pytest.raises(UserError, match=r"made by another science \(beta was 0.5, now 0.1\)"):
            mine.bring_beside([counting([])], QUIET)


# Two nodes, on one machine


@dataclass
class Node:
    """A `notus train` that runs, with a run folder and what it prints."""

    process: subprocess.Popen[bytes]
    run: Path
    printed: Path

    def end(self, seconds: float = SECONDS) -> Outcome:
        """Wait for its end."""
        code = self.process.wait(seconds)
        out, err = (self.printed.with_suffix(suffix).read_text() for suffix in (".out", ".err"))
        return Outcome(code, out, err)


@pytest.fixture
def endpoint() -> str:
    """A port of this machine that is free."""
    with socket.create_server(("", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def start(tiny: Path, tmp_path: Path, endpoint: str) -> Iterator[Callable[..., Node]]:
    """Start one of two nodes; at the end of the test it has ended."""
    with contextlib.ExitStack() as stack:

        def start(rank: int, run: Path, *options: object, **env: str) -> Node:
            command = [sys.executable, "-m", "notus", "train", tiny / "tiny.yaml", "--run", run, *options]
            command += ["--nnodes", 2, "--node-rank", rank, "--rdzv-endpoint", endpoint]
            printed = tmp_path / f"node-{rank}"
            out, err = (
                stack.enter_context(printed.with_suffix(suffix).open("wb")) for suffix in (".out", ".err")
            )
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=tiny,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **env},
                stdout=out,
                stderr=err,
            )
            stack.callback(process.wait, SECONDS)
            stack.callback(process.terminate)  # it ends its ranks
            return Node(process, run, printed)

        yield start


Start = Callable[..., Node]


def losses_of(run: Path) -> list[float]:
    log = (run / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["loss"] for record in map(json.loads, log) if "loss" in record]


def processes_of(run: Path) -> dict[int, bytes]:
    """Return the command lines of the processes that were started for a run folder."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found[int(path.parent.name)] = path.read_bytes()
    return {pid: line for pid, line in found.items() if str(run).encode() in line}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "engine", "shared"),
    [(1, "trl", False), (1, "packed", True), (2, "packed", False), (2, "trl", True)],
)
def test_two_nodes_have_the_losses_of_one_process(
    trained: Path, tmp_path: Path, start: Start, devices: int, engine: str, shared: bool
) -> None:
    runs = [tmp_path / "run"] * 2 if shared else [tmp_path / "zero", tmp_path / "one"]
    sets = ("--set", f"devices={devices}", "--set", f"engine={engine}")
    nodes = [start(rank, run, *sets) for rank, run in enumerate(runs)]
    zero, one = (node.end() for node in nodes)
    assert (zero.code, one.code) == (0, 0), zero.err + one.err
    assert losses_of(runs[0]) == pytest.approx(losses_of(trained), rel=1e-6)
    assert max(losses_of(trained)) - min(losses_of(trained)) > 1e-3
    metrics = json.loads((runs[0] / "training" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["devices"] == 2 * devices
    assert "node 1 of 2 has done its part; the adapter is in the run folder of node 0" in one.out
    assert "training 3/3" in zero.out
    assert "training 3/3" not in one.out
    assert {"adapter", "training"} <= {path.name for path in runs[0].iterdir()}
    if not shared:
        left = {path.name for path in runs[1].iterdir()}
        assert left - {".lock", "reference", "tokens"} == {"manifest.json", "recipe.yaml", "inputs", "data"}


@pytest.mark.slow
def test_a_node_with_other_data_is_refused_on_both(tiny: Path, tmp_path: Path, start: Start) -> None:
    rows = (tiny / "feedback.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    other = tmp_path / "other" / "feedback.jsonl"
    other.parent.mkdir()
    other.write_text("".join(rows[1:]), encoding="utf-8")
    nodes = [
        start(0, tmp_path / "zero", "--quiet"),
        start(1, tmp_path / "one", "--quiet", "--set", f"dataset={other}"),
    ]
    lines = [node.end().mistake for node in nodes]
    assert lines[0] == lines[1]
    assert "node 1: data/train.parquet is sha256-" in lines[0]
    assert not (tmp_path / "zero" / "adapter").exists()


@pytest.mark.slow
def test_where_the_ranks_of_a_node_die_all_nodes_end_and_say_so(tmp_path: Path, start: Start) -> None:
    sets = ("--quiet", "--set", "max_steps=1000")
    zero, one = (start(rank, tmp_path / name, *sets) for rank, name in enumerate(("zero", "one")))
    started = time.monotonic()
    while not (zero.run / ".train.partial" / "training").exists():  # TensorBoard's: training has begun
        assert zero.process.poll() is None
        assert time.monotonic() - started < SECONDS
        time.sleep(0.1)
    ranks = [
        pid
        for pid, line in processes_of(one.run).items()
        if b"recipe.launch" in line and b"torch." not in line
    ]
    assert len(ranks) == 1
    os.kill(ranks[0], signal.SIGKILL)
    says = (
        "training on node 0 of 2: another node, or the way to it, was lost",
        "training: rank 1 of 2 was lost (SIGKILL)",
    )
    for node, line in zip((zero, one), says, strict=True):
        ended = node.end(60)
        assert ended.code == 1
        last = ended.err.splitlines()[-1]
        assert line in last
        assert "run the same commands again on all nodes" in last
        assert not processes_of(node.run)
    assert not (zero.run / "adapter").exists()


@pytest.mark.slow
def test_nodes_that_do_not_meet_say_where(tmp_path: Path, start: Start) -> None:
    ended = start(0, tmp_path / "zero", "--quiet", PET_RDZV_CONF="timeout=3").end(60)
    assert ended.code == 2
    last = ended.err.splitlines()[-1]
    assert last.startswith("notus: --rdzv-endpoint 127.0.0.1:")
    assert "the 2 nodes did not meet there" in last


@pytest.mark.slow
def test_a_port_in_use_is_the_user_s_to_change(tmp_path: Path, endpoint: str, start: Start) -> None:
    with socket.create_server(("", int(endpoint.rpartition(":")[2]))):
        line = start(0, tmp_path / "zero", "--quiet").end(60).mistake
    assert f"--rdzv-endpoint {endpoint}: node 0 can't listen on this port (Address already in use)" in line
