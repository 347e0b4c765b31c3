"""Files of results as others write them, that a test may spoil."""

from typing import Any

SUBJECTS = [f"subject_{number}" for number in range(57)]  # MMLU has as many


def leaderboard_of_2023() -> dict[str, Any]:
    """Return a file of the Open LLM Leaderboard's of November 2023, with all seven tasks."""
    results: dict[str, Any] = {
        "harness|arc:challenge|25": {
            "acc": 0.61, "acc_stderr": 0.0142, "acc_norm": 0.6459, "acc_norm_stderr": 0.0139,
        },
        "harness|hellaswag|10": {
            "acc": 0.66, "acc_stderr": 0.0047, "acc_norm": 0.8478, "acc_norm_stderr": 0.0036,
        },
        **{
            f"harness|hendrycksTest-{subject}|5": {
                "acc": 0.5 + place / 1000, "acc_stderr": 0.04, "acc_norm": 0.5, "acc_norm_stderr": 0.04,
            }
            for place, subject in enumerate(SUBJECTS)
        },
        "harness|truthfulqa:mc|0": {"mc1": 0.38, "mc1_stderr": 0.017, "mc2": 0.5437, "mc2_stderr": 0.0152},
        "harness|winogrande|5": {"acc": 0.794, "acc_stderr": 0.0114},
        "harness|drop|3": {"em": 0.002, "em_stderr": 0.0005, "f1": 0.0891, "f1_stderr": 0.0014},
        "harness|gsm8k|5": {"acc": 0.1516, "acc_stderr": 0.0099},
    }  # fmt: skip
    return {
        "config_general": {
            "model_name": "notus/tiny", "model_sha": "0" * 40, "model_dtype": "torch.bfloat16", "model_size": "14 GB",
            "lighteval_sha": "494ee12240e716e804ae9ea834f84a2c864c07ca", "num_few_shot_default": 0,
            "num_fewshot_seeds": 1, "override_batch_size": 1, "max_samples": None, "start_time": 1781075.6,
        },
        "results": {"all": {"acc": 0.62, "acc_stderr": 0.032, "mc2": 0.5437}, **results},
        "versions": {"all": 0, **dict.fromkeys(results, 1), "harness|arc:challenge|25": 0},
    }  # fmt: skip


def annotations(**preferences: list[float | None]) -> list[dict[str, Any]]:
    """Return alpaca_eval's annotations of models, by name (`_` is `-`), with their preferences."""
    return [
        {
            "instruction": f"Question {place}?", "output_1": "Yes.", "generator_1": "text_davinci_003",
            "dataset": "helpful_base", "output_2": "No, " * (place + 1), "generator_2": name.replace("_", "-"),
            "annotator": "alpaca_eval_gpt4", "preference": preference, "price_per_example": 0.02,
        }
        for name, of_model in preferences.items()
        for place, preference in enumerate(of_model)
    ]  # fmt: skip


LEADERBOARD_CSV = """\
,win_rate,standard_error,n_wins,n_wins_base,n_draws,n_total,mode,avg_length,discrete_win_rate,length_controlled_winrate
gpt4,95.27950310559006,0.7162830842441165,761,32,12,805,minimal,1365,95.27950310559006,
tiny-adapter,91.41791044776119,0.9885386037851024,735,69,0,804,community,1139,91.41791044776119,80.5
zephyr-7b-beta,90.5977584059776,1.0287080531312012,727,75,1,803,community,1444,90.5977584059776,76.29202319983864
"""


def judgements(model: str = "tiny-adapter", questions: int = 80) -> list[dict[str, Any]]:
    """Return FastChat's judgements of a model: from 5 to 9, two less in the second turn, one without a score."""
    rows = [
        {
            "question_id": 81 + number, "model": model, "judge": ["gpt-4", "single-v1"], "user_prompt": "...",
            "judgment": "Rating: [[...]]", "score": 5 + number % 5 - 2 * (turn - 1), "turn": turn,
            "tstamp": 4102444800.0 + number,  # later than the run of any test
        }
        for turn in (1, 2)
        for number in range(questions)
    ]  # fmt: skip
    rows[0]["score"] = -1
    return rows
