"""A downloaded release, loaded in each documented way by a process of its own that can't reach the Hub."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, cast

from recipe.secret import SIGNING, TOKENS, environment_without


class Question(TypedDict):
    """What is to be loaded.

    Attributes:
        probe: The run's folder of prompts and logits.
        cache: A Hub cache that holds the files, and the base.
        repos: Repository and commit id by kind.
        data: The data set's files, if it is part of the release.
    """

    probe: str
    cache: str
    repos: dict[str, list[str]]
    data: str | None


class Answer(TypedDict):
    """What was found.

    Attributes:
        differences: The largest difference of a logit from the run's, by the way to load.
        scale: The largest logit of the run's.
        rows: How many pairs each split of the data set has.
    """

    differences: dict[str, float]
    scale: float
    rows: dict[str, int]


class LoadError(Exception):
    """The release can't be loaded; `said` is all that was said about it."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


Load = Callable[[Question], Answer]


def load_in_a_process(question: Question) -> Answer:
    """Load a release as a consumer does, from the cache alone: without network, and without any secret.

    Raises:
        LoadError: It can't be loaded.
    """
    home = Path(question["cache"]).parent
    here = str(Path(__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-m", "publish.loading"],
        input=json.dumps(question),
        env=environment_without((*TOKENS, *SIGNING))
        | {"HF_HOME": str(home), "HF_HUB_CACHE": question["cache"], "HF_DATASETS_CACHE": f"{home}/datasets"}
        | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        | {"PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        said = ended.stderr.strip()
        raise LoadError((said.splitlines() or [f"exit code {ended.returncode}"])[-1], said)
    return cast(Answer, json.loads(ended.stdout.splitlines()[-1]))


def load(question: Question) -> Answer:
    """Load the release in this process, in each documented way, and compare logits with the run's."""
    from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from recipe.merge import largest_difference, logits_of

    rows = {}
    if question["data"] is not None:
        from datasets import load_dataset

        rows = {split: len(part) for split, part in load_dataset(question["data"]).items()}
    probe = Path(question["probe"])
    saved = load_file(probe / "logits.safetensors")
    prompts = json.loads((probe / "probe.json").read_text(encoding="utf-8"))["input_ids"]
    expected = {
        name: [saved[f"{name}.{place}"] for place in range(len(prompts))] for name in ("adapter", "merged")
    }
    (adapter, adapter_at), (merged, merged_at) = question["repos"]["adapter"], question["repos"]["merged"]
    config = PeftConfig.from_pretrained(adapter, revision=adapter_at)
    base = AutoModelForCausalLM.from_pretrained(config.base_model_name_or_path, revision=config.revision)
    by_peft = logits_of(PeftModel.from_pretrained(base, adapter, revision=adapter_at), prompts)
    del base
    by_auto = logits_of(AutoPeftModelForCausalLM.from_pretrained(adapter, revision=adapter_at), prompts)
    by_merged = logits_of(AutoModelForCausalLM.from_pretrained(merged, revision=merged_at), prompts)
    return {
        "rows": rows,
        "differences": {
            "PeftModel": largest_difference(expected["adapter"], by_peft),
            "AutoPeftModelForCausalLM": largest_difference(expected["adapter"], by_auto),
            "AutoModelForCausalLM": largest_difference(expected["merged"], by_merged),
        },
        "scale": max(logits.abs().max().item() for logits in expected["adapter"]),
    }


if __name__ == "__main__":
    print(json.dumps(load(json.load(sys.stdin))))  # noqa: T201 - the answer to the parent
