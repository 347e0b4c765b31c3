"""A base, feedback, and a recipe over both: so small that every stage runs in seconds."""

from pathlib import Path
from typing import Any

import yaml


def write_tiny(folder: Path, config: dict[str, int] | None = None, **keys: Any) -> Path:
    """Write `base/` (an untrained Mistral), `feedback.jsonl` (64 rows) and `tiny.yaml` over both; return the recipe.

    Args:
        folder: Where to.
        config: Sizes of the base that are to be others than the embedded one's.
        **keys: Of the recipe.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from recipe.builtin import make_feedback, write_feedback
    from recipe.builtin.base import base_config
    from recipe.builtin.tokenizer import train_tokenizer
    from recipe.prompt.templates import ZEPHYR_CHAT_TEMPLATE

    tokenizer = train_tokenizer([str(row["instruction"]) for row in make_feedback(64)] * 20)
    tokenizer.chat_template = ZEPHYR_CHAT_TEMPLATE
    sizes = base_config(len(tokenizer))
    for name, size in (config or {}).items():
        setattr(sizes, name, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(sizes)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    write_feedback(folder / "feedback.jsonl", 64)
    recipe = {
        "extends": "smoke",
        "model_name_or_path": str(folder / "base"),
        "dataset": str(folder / "feedback.jsonl"),
        "test_size": 8,
        "lora_r": 4,
        "hub_model_id": "notus/tiny-adapter",
        "hub_merged_model_id": "notus/tiny",
        "hub_base_model_id": "notus/tiny-base",
        **keys,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path
