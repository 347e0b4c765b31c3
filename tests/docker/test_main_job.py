"""The main job in the image: the same bytes as outside of it, and nothing that it need not have."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from container import engine
from recipe.disk import file_sha256
from recipe.resume.names import steps_in
from tests.docker.conftest import Hardened
from tests.docker.support import container_of, manifest, started, until
from tests.recipe.evaluate.benchmarks import arc_rows, write_rows
from tests.support import fresh

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

pytestmark = pytest.mark.docker
ADAPTER = "adapter/adapter_model.safetensors"
# So many that it is still training when a test looks.
LONG = ("--set", "max_steps=5000")


def test_the_same_adapter_to_the_byte(trained: Path, tiny: Path, run: Path, image: "Image") -> None:
    ended = fresh("card", tiny / "tiny.yaml", "--run", run, "--runtime", "docker", cwd=tiny)
    assert ended.code == 0, ended.err
    assert file_sha256(run / ADAPTER) == file_sha256(trained / ADAPTER)
    inside, outside = manifest(run), manifest(trained)
    for stage in ("fetch", "curate", "train", "merge"):
        assert inside[stage]["image"]["digest"] == image.id  # type: ignore[index]
        assert "image" not in outside[stage]
    card = (run / "card" / "adapter" / "README.md").read_text()
    assert f"nox -s train -- recipe.yaml --image {image.id}" in card
    revision = image.labels["org.opencontainers.image.revision"]
    built = dict(setting.split("=", 1) for setting in image.attrs["Config"]["Env"])["NOTUS_BUILD"]
    if built:  # else a cache had part in it, and no command makes the same
        assert built.startswith("nox -s image -- --target cpu")
        assert f"git checkout {revision}\n{built}\n" in card
    else:
        assert "git checkout" not in card
    assert str(tiny) not in (run / "card" / "adapter" / "recipe.yaml").read_text()


def test_the_recipe_beside_the_card_rebuilds_the_adapter(
    trained: Path, tiny: Path, tmp_path: Path, image: "Image"
) -> None:
    shutil.copy(trained / "card" / "adapter" / "recipe.yaml", tmp_path)
    shutil.copy(tiny / "feedback.jsonl", tmp_path)
    arguments = ["train", "recipe.yaml", "--run", "again", "--image", str(image.id)]
    # As the Hub would give it: the base is a repository there.
    ended = fresh(*arguments, "--set", f"model_name_or_path={tiny / 'base'}", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert file_sha256(tmp_path / "again" / ADAPTER) == file_sha256(trained / ADAPTER)


def test_an_evaluation_by_local_rows(tiny: Path, run: Path, image: "Image", tmp_path: Path) -> None:
    rows, cache = tmp_path / "arc", run.parent / "hub"
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    write_rows(rows / "train.jsonl", arc_rows(30))
    write_rows(rows / "test.jsonl", arc_rows(4, start=30))
    asked = (
        "evaluate", tiny / "tiny.yaml", "--run", run, "--image", image.id,
        "--suite", "smoke", "--suite", "leaderboard", "--limit", "3",
        "--set", f"benchmark_data={{arc_challenge: {rows}}}", "--set", "benchmark_tasks=[arc_challenge]",
    )  # fmt: skip
    ended = fresh(*asked, cwd=tiny, HF_HUB_CACHE=str(cache))
    assert ended.code == 0, ended.err
    for stage, name in (("evaluate-smoke", "smoke_reply"), ("evaluate-leaderboard", "arc_challenge")):
        assert manifest(run)[stage]["image"]["digest"] == image.id  # type: ignore[index]
        text = (run / "eval" / stage.removeprefix("evaluate-") / "adapter" / f"{name}.json").read_text()
        assert json.loads(text)["n-samples"][name]["effective"] == 3
        assert str(tmp_path) not in text
    again = fresh(*asked, cwd=tiny, HF_HUB_CACHE=str(cache))
    assert again.out.count("up to date") == 5


def test_what_a_training_container_may(docker: "DockerClient", tiny: Path, run: Path, image: "Image") -> None:
    recipe = tiny / "tiny.yaml"
    with started(
        "train", recipe, "--run", run, "--runtime", "docker", *LONG, cwd=tiny, HF_TOKEN="hf_secret"
    ) as process:
        facts = container_of(docker, "train").attrs
        host = facts["HostConfig"]
        assert host["NetworkMode"] == "none"
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert not host["Privileged"]
        assert facts["Config"]["User"].partition(":")[0] not in {"", "0", "root"}
        writable = {
            mount["Destination"] for mount in facts["Mounts"] if mount["RW"] and mount["Type"] == "bind"
        }
        assert writable == {str(run)}
        assert "HF_TOKEN" not in json.dumps(facts)
        assert facts["Image"] == image.id
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("devices", [1, 2])
def test_signals_reach_the_trainer(
    docker: "DockerClient", tiny: Path, run: Path, number: signal.Signals, code: int, devices: int
) -> None:
    recipe = tiny / "tiny.yaml"
    with started(
        "train", recipe, "--run", run, "--runtime", "docker", *LONG, "--set", f"devices={devices}", cwd=tiny
    ) as process:
        assert process.stdout is not None
        said = ""
        while "training" not in said.partition("train: ")[2]:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.send_signal(number)
        assert process.wait(60) == code
        assert "notus: there is a checkpoint after step" in process.stdout.read()
    assert steps_in(run / "checkpoints")
    assert not docker.containers.list(all=True, filters={"label": "notus=train"})
    assert "train" not in manifest(run)
    assert not (run / "adapter").exists()


def test_docker_stop_ends_it_by_itself(docker: "DockerClient", tiny: Path, image: "Image", run: Path) -> None:
    container = docker.containers.run(
        image, ["train", *LONG, "--run", "/tmp/run"], detach=True, network_mode="none", read_only=True
    )
    try:
        until(lambda: True if b"training" in container.logs().partition(b"train: ")[2] else None)
        started_at = time.monotonic()
        container.stop(timeout=60)
        assert time.monotonic() - started_at < 10  # Docker's own patience
        assert b"notus: there is a checkpoint after step" in container.logs()
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 143  # not 137, of an end by force
    finally:
        container.remove(force=True, v=True)


def test_a_signal_while_the_container_starts(
    docker: "DockerClient", image: "Image", monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker.models.containers import Container

    start = Container.start

    def signalled(self: Container, **options: object) -> None:
        signal.raise_signal(signal.SIGTERM)  # the engine refuses it: nothing runs yet
        start(self, **options)

    monkeypatch.setattr(Container, "start", signalled)
    command = ["train", "--run", "/tmp/run", *LONG]
    job = engine.Job(image, command, {}, {}, {}, network="none", gpus=False, user="10001:10001")
    code, _ = engine.run(docker, job, capture=True)
    assert code == 143


def test_a_terminal_that_is_gone(docker: "DockerClient", tiny: Path, run: Path, image: "Image") -> None:
    with started("train", tiny / "tiny.yaml", "--run", run, "--image", image.id, *LONG, cwd=tiny) as process:
        container_of(docker, "train")
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 143
    assert not docker.containers.list(all=True, filters={"label": "notus=train"})


def test_exit_code_and_mistake_come_back(tiny: Path, run: Path, image: "Image") -> None:
    broken = ["--set", "dataset_format=sharegpt"]
    ended = fresh(
        "train", tiny / "tiny.yaml", "--run", run, "--image", image.id, "--quiet", *broken, cwd=tiny
    )
    assert "sharegpt" in ended.mistake


def test_json_is_one_object_on_stdout(tiny: Path, run: Path, image: "Image") -> None:
    ended = fresh("curate", tiny / "tiny.yaml", "--run", run, "--image", image.id, "--json", cwd=tiny)
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert answer["fetch"]["ran"]
    assert answer["curate"]["ran"]


def test_bars_on_a_terminal(tiny: Path, run: Path, image: "Image") -> None:
    notus = f"{sys.executable} -m notus train {tiny / 'tiny.yaml'} --run {run} --image {image.id}"
    ended = subprocess.run(
        ["script", "--quiet", "--return", "--command", f"stty cols 100 rows 30; {notus}", "/dev/null"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout
    assert "━".encode() in ended.stdout
    assert b"\x1b[" in ended.stdout


def test_a_run_folder_that_the_user_may_not_write(hardened: Hardened, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ended = hardened("train", "--run", "/work/runs/x", mounts=[f"{tmp_path}:/work/runs"])
    assert "/work/runs/x: can't be made (Permission denied)" in ended.mistake
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / ".lock").touch()
    ended = hardened("train", "--run", "/work/runs/x", mounts=[f"{tmp_path}:/work/runs"])
    assert "user 10001 may not write here; `chown -R 10001" in ended.mistake


def test_data_that_the_user_may_not_read(tiny: Path, run: Path, image: "Image", tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    shutil.copy(tiny / "feedback.jsonl", data)
    data.chmod(0o600)
    arguments = ["train", tiny / "tiny.yaml", "--run", run, "--image", image.id, "--set", f"dataset={data}"]
    if os.getuid():  # then the container's user is whoever runs this, and may
        assert fresh(*arguments, cwd=tiny).code == 0
        return
    line = fresh(*arguments, cwd=tiny).mistake
    assert not run.exists()
    assert f"{data}: user 10001, as whom the container runs, may not read it; `chmod -R a+rX {data}`" in line


def test_a_run_folder_that_was_not_mounted(hardened: Hardened) -> None:
    assert "can't be made (Read-only file system)" in hardened("train").mistake


def test_an_image_that_is_not_there(tiny: Path, run: Path) -> None:
    ended = fresh("train", tiny / "tiny.yaml", "--run", run, "--image", "notus:nowhere", cwd=tiny)
    assert (
        "notus:nowhere: Docker has no such image; build it with `nox -s image -- --target cpu`"
        in ended.mistake
    )
    assert not run.exists()


@pytest.mark.parametrize("name", ["NOTUS:cpu", "not an image"])
def test_an_image_that_none_could_be(tiny: Path, run: Path, name: str) -> None:
    ended = fresh("train", tiny / "tiny.yaml", "--run", run, "--image", name, cwd=tiny)
    assert f"{name}: Docker has no such image" in ended.mistake


def test_an_image_of_something_else(docker: "DockerClient", tiny: Path, run: Path) -> None:
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    name = "notus-empty:test"
    docker.api.import_image_from_data(empty.getvalue(), "notus-empty", "test")
    try:
        ended = fresh("train", tiny / "tiny.yaml", "--run", run, "--image", name, cwd=tiny)
        assert f"{name}: not an image of Notus" in ended.mistake
        assert not run.exists()
    finally:
        docker.images.remove(name)


def test_a_recipe_for_gpus_where_there_are_none(tiny: Path, run: Path, image: "Image") -> None:
    ended = fresh(
        "train", tiny / "tiny.yaml", "--run", run, "--image", image.id, "--set", "accelerator=cuda", cwd=tiny
    )
    assert "install the NVIDIA driver and the container toolkit" in ended.mistake
