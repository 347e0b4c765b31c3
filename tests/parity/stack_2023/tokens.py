"""Rows as token ids, masks and labels: trl 0.7.4's collator."""

import json
from pathlib import Path
from typing import Any

from trl.trainer.utils import DPODataCollatorWithPadding  # type: ignore[attr-defined]  # gone today

from .chat import load_tokenizer, texts_of


def dump_tokens(tokenizer: Path, rows: Path, out: Path, max_length: int, max_prompt_length: int) -> str:
    """Write a JSON object a row: its place, then ids and masks of prompt, chosen and rejected, then the labels.

    The answers stand there without the prompt; the labels are those of prompt and answer, as the collator has them.
    """
    loaded = load_tokenizer(str(tokenizer))
    collator = DPODataCollatorWithPadding(loaded, max_length=max_length, max_prompt_length=max_prompt_length)
    count = 0
    with rows.open(encoding="utf-8") as lines, out.open("w", encoding="utf-8") as dump:
        for place, line in enumerate(lines):
            texts = texts_of(json.loads(line), loaded)
            found = collator.tokenize_batch_element(texts["prompt"], texts["chosen"], texts["rejected"])
            dump.write(json.dumps({"row": place, **_parts(found)}) + "\n")
            count += 1
    return f"tokens: {count} rows in {out}"


def _parts(found: dict[str, Any]) -> dict[str, list[int]]:
    start = len(found["prompt_input_ids"])
    parts = {"prompt_ids": found["prompt_input_ids"], "prompt_mask": found["prompt_attention_mask"]}
    for side in ("chosen", "rejected"):
        ids, mask = found[f"{side}_input_ids"], found[f"{side}_attention_mask"]
        if ids[:start] != parts["prompt_ids"] or mask[:start] != parts["prompt_mask"]:
            raise ValueError(f"the {side} answer does not go on after the prompt")
        parts |= {f"{side}_ids": ids[start:], f"{side}_mask": mask[start:]}
    return parts | {f"{side}_labels": found[f"{side}_labels"] for side in ("chosen", "rejected")}
