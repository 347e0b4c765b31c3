"""A release from one container to a Hub in another, on a network of their own; consumed from outside."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docker.conftest import Hardened
from tests.docker.support import until
from tests.support import fresh

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.images import Image

pytestmark = pytest.mark.docker
SECRET = f"hf_{uuid.uuid4().hex}"
CONSUMER = """
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
import torch
at = {"pretrained_model_name_or_path": "notus/smoke-lora-adapter", "revision": "v0.1.0"}
model = AutoPeftModelForCausalLM.from_pretrained(**at)
tokenizer = AutoTokenizer.from_pretrained(**at)
chat = [{"role": "user", "content": "What is the capital of France?"}]
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
out = model.generate(**ids, max_new_tokens=24, do_sample=False)
print(tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))
"""


@pytest.fixture(scope="module")
def hub(
    docker: "DockerClient", image: "Image", tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Container]":
    """The embedded Hub, in a container on a network that leads nowhere else."""
    root = tmp_path_factory.mktemp("hub")
    root.chmod(0o777)
    network = docker.networks.create(f"notus-{uuid.uuid4().hex[:8]}", internal=True)
    server = docker.containers.run(
        image,
        ["hub", "serve", "--root", "/hub", "--host", "0.0.0.0"],
        detach=True,
        network=str(network.name),
        hostname="hub",
        name=f"{network.name}-hub",
        volumes={str(root): {"bind": "/hub", "mode": "rw"}},
        read_only=True,
        cap_drop=["ALL"],
        user="10001",
    )
    try:
        until(lambda: True if b"HF_TOKEN=" in server.logs() else None)
        server.reload()
        yield server
    finally:
        server.remove(force=True, v=True)
        network.remove()


def test_the_main_job_in_containers(
    docker: "DockerClient", hub: "Container", hardened: Hardened, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    runs.chmod(0o777)
    network, settings = next(iter(hub.attrs["NetworkSettings"]["Networks"].items()))
    token = hub.logs().decode().partition("HF_TOKEN=")[2].split()[0]
    secret = tmp_path / "token"
    secret.write_text(token)
    secret.chmod(0o644)
    mounts = [f"{runs}:/work/runs"]

    ended = hardened("card", mounts=mounts)
    assert ended.code == 0, ended.err
    online = [
        "--network",
        network,
        "--env",
        f"HF_ENDPOINT=http://{hub.name}:8484",
        "--env",
        "HF_HUB_DISABLE_XET=1",
    ]
    ended = hardened(
        "run", "--hub", "remote",
        mounts=[*mounts, f"{secret}:/run/secrets/hf_token:ro"],
        options=[*online, "--env", "HF_TOKEN_PATH=/run/secrets/hf_token"],
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "read back: every file's hash" in ended.out

    release = json.loads((runs / "smoke" / "release.json").read_text())
    assert set(release["repositories"]) == {"base", "adapter", "merged"}
    outside = f"http://{settings['IPAddress']}:8484"
    ended = fresh(
        "verify", "--run", runs / "smoke", "--hub", "remote", "--json", cwd=tmp_path, HF_ENDPOINT=outside
    )
    assert json.loads(ended.out)["ok"], ended.err
    answer = subprocess.run(
        [sys.executable, "-c", CONSUMER],
        env={"HF_ENDPOINT": outside, "HF_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()
    for place in (ended.out, ended.err, (runs / "smoke" / "manifest.json").read_text()):
        assert token not in place


def test_the_token_is_nowhere_to_be_read(
    docker: "DockerClient", image: "Image", trained: Path, tiny: Path, tmp_path: Path
) -> None:
    """A release with a token that the Hub refuses: it has been sent there, and shows nowhere else."""
    from tests.docker.support import container_of, started

    run = tmp_path / "run"
    arguments = ("publish", tiny / "tiny.yaml", "--run", run, "--hub", "remote", "--image", image.id)
    with started(*arguments, cwd=tiny, HF_TOKEN=SECRET, HF_ENDPOINT="http://127.0.0.1:9") as process:
        container = container_of(docker, "fetch")
        facts = json.dumps(container.attrs)
        there = bytes(container.exec_run(["cat", "/run/secrets/hf_token"]).output)  # type: ignore[arg-type]
        processes = subprocess.run(
            ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True
        ).stdout
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 2, said
    assert there.decode() == SECRET
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for place in (facts, processes, said, json.dumps(image.history()), json.dumps(image.attrs)):
        assert SECRET not in place
    assert not any(SECRET.encode() in content for content in written)
