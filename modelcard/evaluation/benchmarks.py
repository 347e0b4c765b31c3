"""What benchmarks are called, and which of their metrics are shares."""

from recipe.evaluate.published import MMLU_2023

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
    MMLU_2023: "MMLU",
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
ALPACA_EVAL_2 = "alpaca_eval_gpt4_baseline"
"""The configuration of AlpacaEval 2's reference answers, another benchmark than the first one."""
