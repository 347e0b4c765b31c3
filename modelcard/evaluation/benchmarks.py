"""What benchmarks are called, which of their metrics count, and what the Open LLM Leaderboard of 2023 was made of."""

from dataclasses import dataclass

# What they are called; any other by its task.
TITLES = {
    "alpaca_eval": "AlpacaEval",
    "arc_challenge": "ARC (challenge)",
    "arc_easy": "ARC (easy)",
    "drop": "DROP",
    "gsm8k": "GSM8K",
    "gsm8k_cot": "GSM8K (chain of thought)",
    "heldout": "Held-out preference pairs",
    "hellaswag": "HellaSwag",
    "hendrycksTest": "MMLU",
    "ifeval": "IFEval",
    "mmlu": "MMLU",
    "mmlu_pro": "MMLU-Pro",
    "mt_bench": "MT-Bench",
    "open_llm_leaderboard": "Open LLM Leaderboard, average",
    "truthfulqa_gen": "TruthfulQA (generation)",
    "truthfulqa_mc": "TruthfulQA (multiple choice)",
    "truthfulqa_mc1": "TruthfulQA (one true answer)",
    "truthfulqa_mc2": "TruthfulQA (several true answers)",
    "winogrande": "Winogrande",
}
AVERAGE, AVERAGE_METRIC = "open_llm_leaderboard", "average"
# lm-eval's metrics that are shares, from 0 to 1: people read them in percent.
SHARES = (
    "acc", "acc_bytes", "acc_mutual_info", "acc_norm", "average", "bypass_acc", "em", "exact_match", "f1",
    "inst_level_loose_acc", "inst_level_strict_acc", "mc1", "mc2", "pass@1", "prompt_level_loose_acc",
    "prompt_level_strict_acc", "right",
)  # fmt: skip
MMLU_SUBJECTS = 57
ALPACA_EVAL_2 = "alpaca_eval_gpt4_baseline"
"""The configuration of AlpacaEval 2's reference answers, another benchmark than the first one."""

Figure = tuple[str, str, str]
"""Task, metric and filter."""


@dataclass(frozen=True)
class Benchmark:
    """One of the leaderboard's seven.

    Attributes:
        name: As it is in `original.json`.
        figures: Which figure of lm-eval's it is, today's and that of 2023.
        shots: Examples in its prompt.
    """

    name: str
    figures: tuple[Figure, ...]
    shots: int


LEADERBOARD = (
    Benchmark("ARC", (("arc_challenge", "acc_norm", "none"),), 25),
    Benchmark("HellaSwag", (("hellaswag", "acc_norm", "none"),), 10),
    Benchmark("MMLU", (("mmlu", "acc", "none"), ("hendrycksTest", "acc", "none")), 5),
    Benchmark("TruthfulQA", (("truthfulqa_mc2", "acc", "none"), ("truthfulqa_mc", "mc2", "none")), 0),
    Benchmark("Winogrande", (("winogrande", "acc", "none"),), 5),
    Benchmark("GSM8K", (("gsm8k", "exact_match", "strict-match"), ("gsm8k", "acc", "none")), 5),
    Benchmark("DROP", (("drop", "f1", "none"),), 3),
)


def benchmark_of(figure: Figure) -> Benchmark | None:
    """Return which of the leaderboard's seven a figure is."""
    return next((one for one in LEADERBOARD if figure in one.figures), None)
