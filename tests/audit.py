"""`data/audit.json` as curation writes it: of rated answers, and of rows that came as pairs."""

from copy import deepcopy
from typing import Any

PAIRS: dict[str, Any] = {
    "format": "pairs",
    "rows": 66,
    "rules": {"by": None, "rejected": None, "min_margin": 0.0, "seed": 42, "leave_out": []},
    "by_source": {"flan": {"rows": 66}},
    "left_out": {"equal_answers": {"rows": 2, "ids": ["0123456789abcdef", "0123456789abcde0"]}},
    "noticed": {"duplicate_prompt": {"count": 3, "unit": "row", "ids": ["0123456789abcdef"]}},
    "length": {
        "pairs": 64,
        "chosen_longer": 41,
        "share": 0.640625,
        "mean_chosen": 1203.5,
        "mean_rejected": 801.25,
        "median_ratio": 1.375,
        "by_source": {"flan": 0.625},
        "histogram": [[0, 40], [1, 24]],
    },
    "duplicates": {
        "prompts": 7,
        "rows": 9,
        "groups": [["0123456789abcdef", "0123456789abcde0"]],
        "responses": 11,
        "response_groups": 5,
    },
    "contamination": None,
    "fixes": None,
    "overrides": None,
}

RATED: dict[str, Any] = {
    **PAIRS,
    "format": "ultrafeedback",
    "completions": 264,
    "rules": {
        "by": "ratings",
        "rejected": "lowest",
        "min_margin": 0.75,
        "seed": 42,
        "leave_out": ["empty_prompt", "equal_answers"],
        "only_sources": None,
        "drop_sources": ["truthful_qa", "false_qa"],
        "fix_scores": "openbmb",
        "overrides": "overrides.jsonl",
        "benchmarks": ["truthful_qa.jsonl"],
        "drop_contaminated": "none",
    },
    "by_source": {
        "flan": {"rows": 40, "completions": 160, "mean_rating": 3.875, "mean_score": 6.125},
        "a | b": {"rows": 26, "completions": 104, "mean_rating": None, "mean_score": 5.5},
    },
    "noticed": {
        "score_10_low": {"count": 4, "unit": "completion", "ids": ["0123456789abcdef"]},
        "rating_na": {"count": 17, "unit": "rating", "ids": ["0123456789abcdef"]},
    },
    "choice": {
        "compared": 63,
        "differs": 29,
        "share": 0.460317,
        "by_source": {"flan": {"compared": 38, "differs": 19, "share": 0.5}},
        "by_model": {"gpt-4": {"compared": 10, "differs": 1, "share": 0.1}},
    },
    "suspicious": {
        "score_10": 23,
        "low": 4,
        "between": 6,
        "high": 12,
        "missing": 1,
        "completions": [
            {
                "id": "0123456789abcdef",
                "completion": 2,
                "source": "flan",
                "model": "gpt-4",
                "rating": 1.25,
                "class": "low",
                "critique": "Wrong.",
            }
        ],
    },
    "ties": {
        "top_by_ratings": 31,
        "top_by_score": 21,
        "all_equal_by_ratings": 2,
        "all_equal_by_score": 3,
    },
    "contamination": {
        "files": {"truthful_qa.jsonl": {"texts": 817, "exact": 13, "13-gram": 14, "8-gram": 15}},
        "rows": {"exact": ["0123456789abcdef"], "13-gram": [], "8-gram": []},
        "by_source": {"truthful_qa": 13},
    },
    "fixes": {"rule": "openbmb", "to_1": 104, "kept": 105, "to_annotate": 106, "ids": {"to_1": []}},
    "overrides": {"rows": 107, "completions": 108, "left_out": 0},
}


def rated() -> dict[str, Any]:
    """Return an audit of rated answers that a test may spoil."""
    return deepcopy(RATED)


def pairs() -> dict[str, Any]:
    """Return an audit of rows that came as pairs, which a test may spoil."""
    return deepcopy(PAIRS)
