"""Result files as lm-evaluation-harness writes them today, and as it wrote them in 2023."""

from copy import deepcopy
from typing import Any

TODAY: dict[str, Any] = {
    "results": {
        "arc_challenge": {
            "alias": "arc_challenge", "acc,none": 0.6126, "acc_stderr,none": 0.0142, "acc_norm,none": 0.6459,
            "acc_norm_stderr,none": 0.014, "sample_len": 1172,
        },
        "gsm8k": {
            "alias": "gsm8k", "exact_match,strict-match": 0.1516, "exact_match_stderr,strict-match": 0.0099,
            "exact_match,flexible-extract": 0.18, "exact_match_stderr,flexible-extract": "N/A",
        },
        "mmlu": {"alias": "mmlu", "acc,none": 0.6303, "acc_stderr,none": 0.0039},
        "mmlu_humanities": {"alias": " - humanities", "acc,none": 0.58, "acc_stderr,none": 0.0067},
        "mmlu_world_religions": {"alias": "  - world_religions", "acc,none": 0.8421, "acc_stderr,none": 0.028},
        "mmlu_stem": {"alias": " - stem", "acc,none": 0.53, "acc_stderr,none": 0.0086},
        "mmlu_astronomy": {"alias": "  - astronomy", "acc,none": 0.6776, "acc_stderr,none": 0.038},
        "truthfulqa_mc2": {"alias": "truthfulqa_mc2", "acc,none": 0.5437, "acc_stderr,none": 0.0152},
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 12.25, "word_perplexity_stderr,none": "N/A"},
    },
    "groups": {
        "mmlu": {"alias": "mmlu", "acc,none": 0.6303, "acc_stderr,none": 0.0039},
        "mmlu_humanities": {"alias": " - humanities", "acc,none": 0.58, "acc_stderr,none": 0.0067},
        "mmlu_stem": {"alias": " - stem", "acc,none": 0.53, "acc_stderr,none": 0.0086},
    },
    "group_subtasks": {
        "mmlu": ["mmlu_humanities", "mmlu_stem"],
        "mmlu_humanities": ["mmlu_world_religions"],
        "mmlu_stem": ["mmlu_astronomy"],
        "arc_challenge": [], "gsm8k": [], "truthfulqa_mc2": [], "wikitext": [],
    },
    "configs": {
        "arc_challenge": {
            "task": "arc_challenge", "dataset_path": "allenai/ai2_arc", "dataset_name": "ARC-Challenge",
            "test_split": "test", "validation_split": "validation", "num_fewshot": 25,
        },
        "gsm8k": {"dataset_path": "gsm8k", "dataset_name": "main", "test_split": "test", "num_fewshot": 5},
        "mmlu_world_religions": {"dataset_path": "cais/mmlu", "dataset_name": "world_religions", "test_split": "test"},
        "mmlu_astronomy": {"dataset_path": "cais/mmlu", "dataset_name": "astronomy", "test_split": "test"},
        "truthfulqa_mc2": {
            "dataset_path": "truthful_qa", "dataset_name": "multiple_choice", "validation_split": "validation",
        },
        "wikitext": {"dataset_path": "EleutherAI/wikitext_document_level", "test_split": "test"},
    },
    "versions": {"arc_challenge": 1.0, "gsm8k": 3.0, "mmlu": 2, "truthfulqa_mc2": 3.0, "wikitext": 2.0},
    "n-shot": {
        "arc_challenge": 25, "gsm8k": 5, "mmlu_world_religions": 5, "mmlu_astronomy": 5, "truthfulqa_mc2": 0,
    },
    "higher_is_better": {
        "arc_challenge": {"acc": True, "acc_norm": True}, "wikitext": {"word_perplexity": False},
    },
    "n-samples": {"arc_challenge": {"original": 1172, "effective": 1172}},
    "config": {
        "model": "hf", "model_args": "pretrained=notus/tiny,revision=v0.1.0,dtype=float32", "batch_size": "8",
        "limit": None, "bootstrap_iters": 100000,
    },
    "git_hash": "0123abc",
    "date": 1700000000.0,
    "model_source": "hf",
    "model_name": "notus/tiny",
}  # fmt: skip

OF_2023: dict[str, Any] = {
    "results": {
        "hendrycksTest-abstract_algebra": {
            "acc": 0.3, "acc_stderr": 0.046, "acc_norm": 0.3, "acc_norm_stderr": 0.046,
        },
        "hendrycksTest-anatomy": {"acc": 0.6, "acc_stderr": 0.042, "acc_norm": 0.6, "acc_norm_stderr": 0.042},
        "truthfulqa_mc": {"mc1": 0.38, "mc1_stderr": 0.017, "mc2": 0.5437, "mc2_stderr": 0.0152},
    },
    "versions": {
        "hendrycksTest-abstract_algebra": 1, "hendrycksTest-anatomy": 1, "truthfulqa_mc": 1,
    },
    "config": {
        "model": "hf-causal-experimental", "model_args": "pretrained=notus/tiny-base,peft=notus/tiny-adapter",
        "num_fewshot": 5, "batch_size": "2", "device": "cuda:0", "no_cache": True, "limit": None,
        "bootstrap_iters": 100000, "description_dict": {},
    },
}  # fmt: skip


def today() -> dict[str, Any]:
    """Return a result file of today that a test may spoil."""
    return deepcopy(TODAY)


def of_2023() -> dict[str, Any]:
    """Return a result file of 2023 that a test may spoil."""
    return deepcopy(OF_2023)
