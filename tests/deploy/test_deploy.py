"""Tasks and scripts of `deploy/` are sound as far as shellcheck and a run with fakes can tell, and broken ones are not.

What SkyPilot says of them is `nox -s deploy`'s.
"""

import shutil
from pathlib import Path

import pytest

from tests.deploy.check import IMAGE, Ran, refusal, run_task, scripts, shellcheck
from tests.deploy.defects import OF_COMMANDS, OF_SHELL, Defect
from tests.support import ROOT

DEPLOY, RECIPES = ROOT / "deploy", ROOT / "recipe" / "recipes"
FILES = sorted(file for file in DEPLOY.rglob("*") if file.suffix in {".sh", ".yaml"})
TASKS = ("gcp-spot.yaml", "kubernetes.yaml")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of `deploy/`, to break, beside the recipes."""
    (tmp_path / "copy" / "recipe").mkdir(parents=True)
    (tmp_path / "copy" / "recipe" / "recipes").symlink_to(RECIPES)
    return Path(shutil.copytree(DEPLOY, tmp_path / "copy" / "deploy"))


def broken(folder: Path, defect: Defect) -> None:
    """Put a defect into a copy."""
    file = folder / defect.file
    text = file.read_text(encoding="utf-8")
    assert defect.old in text
    file.write_text(text.replace(defect.old, defect.new), encoding="utf-8")


def refusals(ran: Ran) -> list[str]:
    """Return what our command line refuses of what a task called."""
    return [why for words in ran.notus if (why := refusal(words, RECIPES)) is not None]


def place(folder: Path, name: str) -> Path:
    """Return an empty folder."""
    (made := folder / name).mkdir()
    return made


def test_nothing_is_left_unchecked() -> None:
    assert {file.name for file in FILES} == {"gcp-spot.yaml", "kubernetes.yaml", "stages.sh", "startup.sh"}
    assert [where for file in FILES for where, _ in scripts(file)] == [
        "startup.sh", "gcp-spot.yaml: run", "kubernetes.yaml: run", "kubernetes.yaml: hook 1", "stages.sh",
    ]  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_shell_is_sound(file: Path) -> None:
    assert shellcheck(file) == []


@pytest.mark.parametrize("defect", OF_SHELL, ids=str)
def test_shell_that_is_not_is_noticed(defect: Defect, copied: Path) -> None:
    broken(copied, defect)
    assert defect.said in "\n".join(shellcheck(copied / defect.file))


@pytest.mark.parametrize("task", TASKS)
def test_one_node_does_every_stage(task: str, tmp_path: Path) -> None:
    ran = run_task(DEPLOY / task, tmp_path)
    assert (ran.code, ran.said, refusals(ran)) == (0, "", [])
    assert [words[0] for words in ran.notus] == ["doctor", "fetch", "train", "card", "publish"]
    assert ran.notus[-1][-2:] == ["--hub", "remote"]


@pytest.mark.parametrize("task", TASKS)
def test_several_nodes_train_together_and_the_first_publishes(task: str, tmp_path: Path) -> None:
    first, second = (
        run_task(DEPLOY / task, place(tmp_path, f"node{rank}"), rank=rank, nodes=2) for rank in (0, 1)
    )
    for ran, rank in ((first, 0), (second, 1)):
        assert (ran.code, ran.said, refusals(ran)) == (0, "", [])
        train = ran.notus[2]
        assert train[-6:] == [
            "--nnodes", "2", "--node-rank", str(rank), "--rdzv-endpoint", "10.0.0.1:29500",
        ]  # fmt: skip
    assert [words[0] for words in first.notus] == ["doctor", "fetch", "train", "card", "publish"]
    assert [words[0] for words in second.notus] == ["doctor", "fetch", "train"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("stages", "called"), [('{"fetch": {}}', 3), ('{"fetch": {}, "train": {}}', 0)])
def test_another_node_has_nothing_to_do_once_the_first_has_trained(
    task: str, stages: str, called: int, copied: Path, tmp_path: Path
) -> None:
    text = (copied / task).read_text(encoding="utf-8")
    run = "/runs/$NOTUS_NAME"
    seed = f"mkdir -p {run} && echo '{{\"stages\": {stages}}}' > {run}/manifest.json"
    (copied / task).write_text(text.replace("  set -euo pipefail\n", f"  set -euo pipefail; {seed}\n", 1))
    ran = run_task(copied / task, place(tmp_path, "node"), rank=1, nodes=2)
    assert (ran.code, ran.said, len(ran.notus)) == (0, "", called)


@pytest.mark.parametrize("defect", OF_COMMANDS, ids=str)
def test_a_wrong_command_line_is_noticed(defect: Defect, copied: Path, tmp_path: Path) -> None:
    broken(copied, defect)
    tasks = (defect.file,) if defect.file in TASKS else ("gcp-spot.yaml",)
    for task in tasks:
        ran = run_task(copied / task, place(tmp_path, task), nodes=2)
        assert defect.said in "\n".join([ran.said, *refusals(ran)])


def test_the_network_and_the_gpus_are_never_of_one_container(tmp_path: Path) -> None:
    ran = run_task(DEPLOY / "gcp-spot.yaml", tmp_path)
    containers = {words[words.index(IMAGE) + 1]: words for _, *words in ran.calls if words[0] == "run"}
    online = {name for name, words in containers.items() if "bridge" in words}
    assert online == {"fetch", "publish"}
    for name, words in containers.items():
        assert ("--gpus" in words) is (name not in online)
        assert any("hf_token" in word for word in words) is (name in online)
        assert {"--read-only", "--cap-drop", "--security-opt", "--init", "--sig-proxy=false"} <= set(words)
        assert "hf_none" not in " ".join(words)  # who may ask Docker could read it
