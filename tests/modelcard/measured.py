"""Result files of every suite as a run has them, with made-up figures, written by what writes the real ones."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from recipe.evaluate.result import figures, write_result
from recipe.evaluate.subject import Subject, Weights
from recipe.evaluate.suite import Evaluating
from recipe.progress import Reporter
from recipe.run import Run

HARNESS = {
    "name": "lm-evaluation-harness", "version": "0.4.13",
    "url": "https://github.com/EleutherAI/lm-evaluation-harness",
}  # fmt: skip
ALPACA_EVAL = {"name": "alpaca_eval", "version": "0.6.6", "url": "https://github.com/tatsu-lab/alpaca_eval"}
FASTCHAT = {"name": "FastChat", "version": "0.2.36", "url": "https://github.com/lm-sys/FastChat"}
OURS = {"name": "Notus", "version": "0.1.0"}
COMMIT = "210d026faf9955653af8916fad021475a3f00453"
Result = tuple[str, float, float | None, bool]
# Task: Hub data set, configuration, split; shots; samples; version; by metric and filter value, standard error.
LEADERBOARD: dict[str, tuple[tuple[str, str | None, str], int, int, int, dict[str, tuple[float, float]]]] = {
    "arc_challenge": (
        ("allenai/ai2_arc", "ARC-Challenge", "test"), 25, 1172, 1,
        {"acc,none": (0.6126, 0.0142), "acc_norm,none": (0.6425, 0.014)},
    ),
    "hellaswag": (
        ("Rowan/hellaswag", None, "validation"), 10, 10042, 1,
        {"acc,none": (0.6535, 0.0047), "acc_norm,none": (0.8461, 0.0036)},
    ),
    "mmlu": (("cais/mmlu", None, "test"), 5, 14042, 2, {"acc,none": (0.6281, 0.0039)}),
    "truthfulqa_mc2": (
        ("truthfulqa/truthful_qa", "multiple_choice", "validation"), 0, 817, 3, {"acc,none": (0.5437, 0.0152)},
    ),
    "winogrande": (
        ("allenai/winogrande", "winogrande_xl", "validation"), 5, 1267, 1, {"acc,none": (0.7901, 0.0114)},
    ),
    "gsm8k": (
        ("openai/gsm8k", "main", "test"), 5, 1319, 3,
        {"exact_match,strict-match": (0.3457, 0.0131), "exact_match,flexible-extract": (0.3503, 0.0131)},
    ),
    "drop": (
        ("EleutherAI/drop", None, "validation"), 3, 9536, 3, {"em,none": (0.0021, 0.0005), "f1,none": (0.0894, 0.0014)},
    ),
}  # fmt: skip
SUBJECTS = ("mmlu_abstract_algebra", "mmlu_anatomy")


class Measured:
    """Puts results of suites into a run's `eval/`.

    Args:
        run: The run.
        weights: Whose.
        limit: Samples of each task, as if no more were taken.
    """

    def __init__(self, run: Run, weights: Weights = "adapter", limit: int | None = None) -> None:
        self.run = run
        self.weights = weights
        self.limit = limit

    def leaderboard(self, shift: float = 0.0, without: tuple[str, ...] = ()) -> list[Path]:
        """Write a file of each of the seven tasks, all figures moved by `shift`."""
        paths = []
        for task, (data, shots, samples, version, values) in LEADERBOARD.items():
            if task not in without:
                content = _lm_eval(task, shots, samples, version, values, shift)
                path, config, split = data
                facts = {"path": path, "config": config, "split": split, "revision": COMMIT}
                members = SUBJECTS if task == "mmlu" else (task,)
                paths.append(
                    self._write(
                        "leaderboard", task, content, HARNESS,
                        data={
                            one: facts | ({"config": one.removeprefix("mmlu_")} if task == "mmlu" else {})
                            for one in members
                        },
                        details={"cut": 3 if task == "drop" else 0, "requests": samples, "seconds": 1.5},
                    )
                )  # fmt: skip
        return paths

    def chat(self, win_rate: float = 88.31, score: float = 7.06) -> list[Path]:
        """Write AlpacaEval's and MT-Bench's files."""
        judge = {
            "model": "gpt-4", "answered_as": ["gpt-4-0613"], "endpoint": "api.openai.com",
            "annotator": "alpaca_eval_gpt4", "from": "2026-03-02", "to": "2026-03-03", "without_verdict": 3,
        }  # fmt: skip
        alpaca = figures(
            "alpaca_eval",
            {"win_rate": (win_rate, 1.12), "discrete_win_rate": (win_rate + 0.1, None)},
            samples=802,
        )
        bench = figures(
            "mt_bench",
            {"score": (score, None), "first_turn": (score + 0.2, None), "second_turn": (score - 0.2, None)},
            samples=80,
        )
        categories = (
            "writing",
            "roleplay",
            "reasoning",
            "math",
            "coding",
            "extraction",
            "stem",
            "humanities",
        )
        return [
            self._write(
                "chat", "alpaca_eval", alpaca, ALPACA_EVAL, judge=judge,
                data={"alpaca_eval": {
                    "path": "tatsu-lab/alpaca_eval", "config": "alpaca_eval", "split": "eval", "revision": COMMIT,
                }},
                details={"reference": "text_davinci_003"},
            ),
            self._write(
                "chat", "mt_bench", bench, FASTCHAT, judge=judge | {"annotator": "single-v1", "without_verdict": 0},
                data={"mt_bench": {"path": "builtin:mt_bench", "config": None, "split": None, "revision": "sha256:ab"}},
                details={"by_category": [
                    {"category": name, "questions": 10, "score": score + (place - 3.5) / 2}
                    for place, name in enumerate(categories)
                ]},
            ),
        ]  # fmt: skip

    def preference(self, samples: int = 8) -> Path:
        """Write the held-out pairs' file; of tuned weights with answers beside the base's."""
        tuned = self.weights != "base"
        values: dict[str, tuple[float, float | None]] = {
            "likelier": (0.55, None),
            "likelier_per_token": (0.59, None),
        }
        intervals = {"likelier,none": [0.43, 0.67], "likelier_per_token,none": [0.47, 0.71]}
        details: dict[str, Any] = {"pairs": 64, "chosen_longer": 0.625}
        if tuned:
            values |= {
                "accuracy": (0.8281, None), "margin": (0.4312, None), "loss": (0.5123, None),
                "length_controlled_accuracy": (0.8021, None),
            }  # fmt: skip
            intervals |= {
                "accuracy,none": [0.7344, 0.9219], "margin,none": [0.35, 0.52], "loss,none": [0.48, 0.54],
                "length_controlled_accuracy,none": [0.69, 0.9],
            }  # fmt: skip
            details |= {
                "by_source": [
                    {
                        "source": name, "pairs": pairs, "accuracy": [0.8, 0.6, 0.95], "margin": [0.4, 0.3, 0.5],
                    }
                    for name, pairs in (("flan_v2|cot", 40), ("sharegpt", 24))
                ],
                "length_controlled": {
                    "chosen_longer": {"pairs": 40, "accuracy": 0.85},
                    "chosen_shorter": {"pairs": 24, "accuracy": 0.7542},
                },
            }  # fmt: skip
        content = figures("heldout", values, samples=64, higher_is_better={"loss": False})
        path = self._write(
            "preference", "heldout", content, OURS,
            data={"heldout": {
                "path": "local:feedback.jsonl", "config": None, "split": "heldout", "revision": "sha256:cd",
            }},
            intervals={"heldout": intervals}, details=details,
        )  # fmt: skip
        if tuned:
            rows = [
                {
                    "id": f"{place:016x}", "source": "sharegpt", "prompt": f"Question {place}?\n\n```\ncode\n```",
                    "chosen": "Yes.", "base": f"</details>\n# No {place}", "tuned": "word " * 400, "base_cut": False,
                    "tuned_cut": True,
                }
                for place in range(samples)
            ]  # fmt: skip
            path.with_name("samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def smoke(self, shift: float = 0.0) -> Path:
        """Write a file of two small tasks."""
        content = _lm_eval("smoke_reply", 0, 32, 1, {"acc,none": (0.5625, 0.089)}, shift)
        other = _lm_eval("smoke_answer", 0, 16, 1, {"right,none": (0.25, 0.11)}, shift)
        for key, found in other.items():
            content[key] |= found
        return self._write(
            "smoke", "smoke", content, HARNESS,
            data={
                task: {"path": "builtin:smoke", "config": task, "split": "test", "revision": "sha256:ef"}
                for task in content["results"]
            },
        )  # fmt: skip

    def _write(
        self, suite: str, name: str, content: dict[str, Any], by: dict[str, str], **about: Any
    ) -> Path:
        folder = self.run.path("eval", suite, self.weights)
        folder.mkdir(parents=True, exist_ok=True)
        evaluating = Evaluating(suite, Subject(self.run, self.weights), folder, folder, Reporter(quiet=True))
        content = {"config": {"limit": self.limit}, **content}
        return write_result(folder, name, deepcopy(content), evaluating, by=by, **about)


def everything(run: Run, *, base: bool = True) -> None:
    """Put results of every suite into a run, of its adapter and of its base."""
    for weights in ("adapter", "base") if base else ("adapter",):
        measured = Measured(run, weights)
        back = -0.012 if weights == "base" else 0.0
        measured.leaderboard(back)
        measured.smoke(4 * back)
        measured.preference()
        measured.chat(88.31 + 100 * back, 7.06 + 10 * back)


def _lm_eval(
    task: str, shots: int, samples: int, version: int, values: dict[str, tuple[float, float]], shift: float
) -> dict[str, Any]:
    """Return one task's content as lm-eval has it; MMLU's with two of its subjects."""
    found: dict[str, Any] = {
        "results": {task: {"alias": task}},
        "group_subtasks": {task: []},
        "configs": {task: {"task": task}},
        "versions": {task: version},
        "n-shot": {task: shots},
        "higher_is_better": {task: {}},
        "n-samples": {task: {"original": samples, "effective": samples}},
    }
    for key, (value, stderr) in values.items():
        metric, by = key.split(",")
        found["results"][task] |= {key: value + shift, f"{metric}_stderr,{by}": stderr}
        found["higher_is_better"][task][metric] = True
    if task == "mmlu":
        found["group_subtasks"] = {task: list(SUBJECTS)}
        for place, subject in enumerate(SUBJECTS):
            found["results"][subject] = {"alias": f" - {subject}", "acc,none": 0.3 + place / 2 + shift}
            found["n-shot"][subject], found["versions"][subject] = shots, 1
            found["n-samples"][subject] = {"original": samples // 2, "effective": samples // 2}
            found["configs"][subject] = {"task": subject}
        del found["n-samples"][task], found["configs"][task]
    return found
