"""What benchmarks are as they were published: of how many parts and questions, and the Open LLM Leaderboard of 2023.

Facts, each in this one place, for what measures, what imports and what shows; nothing heavy is imported for them.
"""

from dataclasses import dataclass

MMLU_2023 = "hendrycksTest"
"""MMLU, as lm-eval called it in 2023: its tasks are `hendrycksTest-SUBJECT`."""
MMLU_SUBJECTS = 57
ALPACA_EVAL_INSTRUCTIONS = 805
MT_BENCH_QUESTIONS = 80  # of two turns each

Figure = tuple[str, str, str]
"""Task, metric and filter."""


@dataclass(frozen=True)
class Benchmark:
    """One of the leaderboard's seven.

    Attributes:
        name: As the leaderboard had it.
        figures: Which figure of lm-eval's it is, today's and that of 2023.
        shots: Examples in its prompt.
    """

    name: str
    figures: tuple[Figure, ...]
    shots: int


LEADERBOARD = (
    Benchmark("ARC", (("arc_challenge", "acc_norm", "none"),), 25),
    Benchmark("HellaSwag", (("hellaswag", "acc_norm", "none"),), 10),
    Benchmark("MMLU", (("mmlu", "acc", "none"), (MMLU_2023, "acc", "none")), 5),
    Benchmark("TruthfulQA", (("truthfulqa_mc2", "acc", "none"), ("truthfulqa_mc", "mc2", "none")), 0),
    Benchmark("Winogrande", (("winogrande", "acc", "none"),), 5),
    Benchmark("GSM8K", (("gsm8k", "exact_match", "strict-match"), ("gsm8k", "acc", "none")), 5),
    Benchmark("DROP", (("drop", "f1", "none"),), 3),
)
"""The tasks of November 2023, in the leaderboard's order."""
ROWS_AND_REQUESTS = {
    "arc_challenge": (1_172, 4_687),
    "hellaswag": (10_042, 4 * 10_042),
    "mmlu": (14_042, 4 * 14_042),
    "truthfulqa_mc2": (817, 5_882),
    "winogrande": (1_267, 2 * 1_267),
    "gsm8k": (1_319, 1_319),
    "drop": (9_536, 9_536),
}
"""By lm-eval's task of today, its rows and the requests of all of them: a question has as many as it has choices."""


def benchmark_of(figure: Figure) -> Benchmark | None:
    """Return which of the leaderboard's seven a figure is."""
    return next((one for one in LEADERBOARD if figure in one.figures), None)
