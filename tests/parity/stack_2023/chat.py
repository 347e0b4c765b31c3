"""Rows as texts: prompt, chosen, rejected, as the scripts of 2023 made them through the chat template."""

from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

# Renders what alignment-handbook's default template renders: every turn under its role, each with EOS and a newline.
ZEPHYR = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    "{% endfor %}"
)


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer as alignment-handbook's `get_tokenizer` did, with the options of the DPO scripts."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    tokenizer.truncation_side = "left"
    tokenizer.model_max_length = min(tokenizer.model_max_length, 2048)
    tokenizer.chat_template = ZEPHYR
    return tokenizer


def texts_of(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Return prompt, chosen and rejected of a row, which is one of Argilla's or one of messages.

    Argilla's columns go through the rule of Notus v1's `run_dpo.py`: an empty system turn, the instruction. Messages go
    through that of alignment-handbook v0.2.0's `data.py`: the prompt is the first turn if that is a system's (else an
    empty one) and the first user turn; the answers are all turns after the first, whoever speaks in them. So the user's
    turn of a row with a system turn stands in the prompt and in the answers.
    """
    if "instruction" in row:
        first = {"role": "system", "content": ""}
        question = {"role": "user", "content": row["instruction"]}
        chosen, rejected = (
            [{"role": "assistant", "content": row[f"{side}_response"]}] for side in ("chosen", "rejected")
        )
    else:
        first = row["chosen"][0]
        if first["role"] != "system":
            first = {"role": "system", "content": ""}
        question = next(turn for turn in row["chosen"] if turn["role"] == "user")
        chosen, rejected = row["chosen"][1:], row["rejected"][1:]
    return {
        "prompt": _render(tokenizer, [first, question], add_generation_prompt=True),
        "chosen": _render(tokenizer, chosen).removeprefix("<|assistant|>\n"),
        "rejected": _render(tokenizer, rejected).removeprefix("<|assistant|>\n"),
    }


def _render(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], add_generation_prompt: bool = False
) -> str:
    return str(
        tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
    )
