"""What a training ran in and on, as it is recorded."""

import importlib.metadata
import json
from pathlib import Path

import pytest
import torch

from recipe.environment import cpu_name, environment, packages
from recipe.load import load_recipe
from recipe.nodes import ALONE, Nodes


def test_training_records_it(trained: Path) -> None:
    found = json.loads((trained / "training" / "environment.json").read_text())
    assert set(found) == {"execution", "hardware", "packages", "platform", "python", "steps"}
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    assert found["hardware"]["nodes"] == 1
    assert (
        found["hardware"]["devices"]
        == json.loads((trained / "training" / "metrics.json").read_text())["devices"]
    )
    assert found["hardware"]["memory_bytes"] > 2**28
    if not torch.cuda.is_available():
        assert (found["hardware"]["gpus"], found["hardware"]["driver"], found["hardware"]["cuda"]) == (
            [],
            None,
            None,
        )


def test_of_the_execution_only_what_training_reads() -> None:
    found = environment(load_recipe("notus-7b-v1-lora"), ALONE, 1, [])["execution"]
    assert found["engine"] == "packed"
    assert not [key for key in found if key.startswith("assumed_")]
    assert "gpu_hour_usd" not in found
    assert "runtime" not in found


def test_every_distribution_is_there_once_by_its_normalized_name() -> None:
    found = packages()
    assert list(found) == sorted(found)
    assert found["huggingface-hub"] == importlib.metadata.version("huggingface_hub")
    assert all(name == name.lower() and "_" not in name for name in found)


def test_the_gpus_are_those_of_this_node_s_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        name, total_memory = "NVIDIA A100-SXM4-40GB", 42_405_855_232

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: Card())
    found = environment(load_recipe("smoke"), Nodes(2, 0, "node0:1"), 8, [])["hardware"]
    assert (found["nodes"], found["devices"]) == (2, 8)
    assert found["gpus"] == [{"name": Card.name, "memory_bytes": Card.total_memory}] * 4


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD  EPYC 7B13\n", "AMD EPYC 7B13"),
        ("processor: 0\nHardware\t: BCM2835\n", "BCM2835"),
    ],
)
def test_the_processor_s_name(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_name(tmp_path / "cpuinfo") == name
