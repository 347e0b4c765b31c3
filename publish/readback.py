"""The release as a consumer gets it: loaded in a process of its own, from a clean cache, over HTTP."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publish.data import DATA, repo_type
from recipe.disk import file_sha256, read_json
from recipe.run import Run

# Loading again what was saved in the same dtype gives the same logits but for the order of additions.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class ReadBack:
    """What came back: each file's sha256 by kind and path, logit differences by the way to load, and problems.

    `rows` are those of each split of the data set, if it was published too.
    """

    sha256: dict[str, dict[str, str]]
    differences: dict[str, float]
    problems: list[str]
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def difference(self) -> float:
        """The largest difference of a logit in any way to load the release."""
        return max(self.differences.values(), default=float("inf"))


def read_back(run: Run, repos: Mapping[str, tuple[str, str]]) -> ReadBack:
    """Download what the Hub has, hash it, load it through PEFT and Transformers, and compare logits with the run's.

    Args:
        run: Its `probe/` holds the prompts and the logits.
        repos: (repository, revision) of `adapter`, `merged` and, if they were published too, `base` and `data`.
    """
    # Beside the run: as large as the release, and /tmp is often small or in memory.
    with tempfile.TemporaryDirectory(prefix=".readback-", dir=run.folder.resolve()) as cache:
        question = {
            "probe": str(run.path("probe").resolve()),
            "repos": {kind: list(at) for kind, at in repos.items()},
        }
        ended = subprocess.run(
            [sys.executable, "-m", "publish.readback"],
            input=json.dumps(question),
            env=os.environ
            | {"HF_HOME": cache, "HF_HUB_CACHE": f"{cache}/hub", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
            | {"HF_DATASETS_CACHE": f"{cache}/datasets", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
            | {"HF_UPDATE_DOWNLOAD_COUNTS": "0"},  # nobody downloads it yet
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode:
        return ReadBack(
            {kind: {} for kind in repos}, {}, [f"the release can't be loaded: {ended.stderr.strip()}"]
        )
    answer = json.loads(ended.stdout.splitlines()[-1])
    allowed = TOLERANCE * answer["scale"]
    problems = [
        f"by {way} the release has other logits than the run ({difference:.3g})"
        for way, difference in answer["differences"].items()
        if difference > allowed
    ]
    if DATA in repos and (wrong := other_rows(run, answer["rows"])):
        problems.append(f"{repos[DATA][0]}: {wrong}")
    return ReadBack(answer["sha256"], answer["differences"], problems, answer["rows"])


def other_rows(run: Run, rows: Mapping[str, int]) -> str:
    """Say how the splits that `datasets` found differ from the run's pairs; "" if they don't."""
    summary = read_json(run.path("data", "data.json"))
    made = {"train": summary["train"], "test": summary["heldout"]}
    return "" if rows == made else f"loaded by datasets it has the rows {dict(rows)}, the run has {made}"


def consume(probe: Path, repos: Mapping[str, list[str]]) -> dict[str, Any]:
    """Hash every file of the release, load it in each documented way, and compare logits with the run's."""
    from huggingface_hub import snapshot_download
    from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from recipe.merge import largest_difference, logits_of

    sha256 = {}
    for kind, (repo, revision) in repos.items():
        folder = Path(snapshot_download(repo, revision=revision, repo_type=repo_type(kind)))
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        sha256[kind] = {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}
    rows = {}
    if DATA in repos:
        from datasets import load_dataset

        rows = {
            split: len(part) for split, part in load_dataset(repos[DATA][0], revision=repos[DATA][1]).items()
        }
    saved = load_file(probe / "logits.safetensors")
    prompts = json.loads((probe / "probe.json").read_text(encoding="utf-8"))["input_ids"]
    expected = {
        name: [saved[f"{name}.{place}"] for place in range(len(prompts))] for name in ("adapter", "merged")
    }
    (adapter, adapter_at), (merged, merged_at) = repos["adapter"], repos["merged"]
    config = PeftConfig.from_pretrained(adapter, revision=adapter_at)
    base = AutoModelForCausalLM.from_pretrained(config.base_model_name_or_path, revision=config.revision)
    by_peft = logits_of(PeftModel.from_pretrained(base, adapter, revision=adapter_at), prompts)
    del base
    by_auto = logits_of(AutoPeftModelForCausalLM.from_pretrained(adapter, revision=adapter_at), prompts)
    by_merged = logits_of(AutoModelForCausalLM.from_pretrained(merged, revision=merged_at), prompts)
    return {
        "sha256": sha256,
        "rows": rows,
        "differences": {
            "PeftModel": largest_difference(expected["adapter"], by_peft),
            "AutoPeftModelForCausalLM": largest_difference(expected["adapter"], by_auto),
            "AutoModelForCausalLM": largest_difference(expected["merged"], by_merged),
        },
        "scale": max(logits.abs().max().item() for logits in expected["adapter"]),
    }


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(consume(Path(asked["probe"]), asked["repos"])))  # noqa: T201 - the answer to the parent
