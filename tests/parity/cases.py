"""What is compared: files of rows, schedules and trainings. Both sides take it from here."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recipe.builtin import make_feedback
from recipe.builtin.base import base_tokenizer
from recipe.curate import Rules, pairs_in_order
from recipe.curate.pair import Reason
from recipe.disk import write_json
from tests.parity.rows import argilla_rows, messages_rows, short_rows

ARGILLA_ROWS, MESSAGES_ROWS = 2000, 500
# 329 to train on: the last micro-batch of an epoch is short, and a step begins with an epoch's leftovers.
SHORT_ROWS, HELD_OUT = 337, 8


@dataclass(frozen=True)
class ScheduleCase:
    """A schedule, in the words of both sides."""

    rows: int
    batch_size: int
    accumulation: int
    processes: int
    epochs: int
    seed: int = 42

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {self.batch_size} x {self.accumulation} x {self.processes}"


@dataclass(frozen=True)
class TrainingCase:
    """A training of the tiny model: what is not the recipe's own."""

    processes: int
    accumulation: int
    bf16: bool = False

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.processes}-processes" + ("-bf16" if self.bf16 else "")

    def __str__(self) -> str:
        processes = "1 process" if self.processes == 1 else f"{self.processes} processes"
        return processes + (", bf16" if self.bf16 else "")


FULL_SIZE = ScheduleCase(rows=61619, batch_size=2, accumulation=32, processes=8, epochs=3)
SCHEDULES = (
    FULL_SIZE,
    ScheduleCase(rows=1000, batch_size=2, accumulation=4, processes=8, epochs=3),
    ScheduleCase(rows=345, batch_size=2, accumulation=8, processes=1, epochs=3, seed=7),
    ScheduleCase(rows=11, batch_size=2, accumulation=4, processes=1, epochs=3),
    ScheduleCase(rows=11, batch_size=2, accumulation=6, processes=1, epochs=3),
    ScheduleCase(rows=11, batch_size=3, accumulation=8, processes=1, epochs=4),
)
TRAININGS = (TrainingCase(processes=1, accumulation=16), TrainingCase(processes=8, accumulation=2))
Variation = tuple[str, TrainingCase, dict[str, object]]
"""A training with some keys of the recipe's execution changed, and what the table calls it."""

EXECUTIONS: tuple[Variation, ...] = (
    ("1 process", TRAININGS[0], {}),
    ("8 processes", TRAININGS[1], {}),
    ("1, packed", TRAININGS[0], {"engine": "packed"}),
    ("8, packed, on 2 devices", TRAININGS[1], {"engine": "packed", "devices": 2}),
    ("8, packed, on 4 devices", TRAININGS[1], {"engine": "packed", "devices": 4}),
)
# What is known to differ, and by choice.
BF16 = TrainingCase(processes=1, accumulation=16, bf16=True)
DIFFERENCES: tuple[Variation, ...] = (
    ("sdpa for eager attention", TRAININGS[0], {"attn_implementation": "sdpa"}),
    ("the same, recomputed", TRAININGS[0], {"attn_implementation": "sdpa", "gradient_checkpointing": True}),
    ("8 processes' recipe on 2 devices", TRAININGS[1], {"devices": 2}),
    ("8 processes' recipe in micro-batches of 8", TRAININGS[1], {"micro_batch_size": 8}),
    ("8 processes' recipe in packs of 200 tokens", TRAININGS[1], {"engine": "packed", "pack_tokens": 200}),
    ("bf16 base and autocast, eager", BF16, {}),
    ("bf16 base and autocast, sdpa", BF16, {"attn_implementation": "sdpa"}),
    ("bf16 base and autocast, packed", BF16, {"engine": "packed"}),
)
# At the recipe's own 5e-7 no loss would leave 0.69 in so few steps, and nothing could be told apart.
LEARNING_RATE = 1e-3
LORA_R = 8
BATCH_SIZE = 2
EPOCHS = 2
MAX_LENGTH, MAX_PROMPT_LENGTH = 96, 48


def write_rows(folder: Path, given: Path | None) -> list[Path]:
    """Write the files of rows that are tokenized at full length, and return them; `short.jsonl` is for training.

    Args:
        folder: Where to.
        given: Any preference data that `recipe.curate` reads, made into conversations here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {"argilla": argilla_rows(ARGILLA_ROWS), "messages": messages_rows(MESSAGES_ROWS)}
    if given is not None:
        files["given"] = list(_conversations(given))
    _write_lines(folder / "short.jsonl", short_rows(SHORT_ROWS))
    for name, rows in files.items():
        _write_lines(folder / f"{name}.jsonl", rows)
    return [folder / f"{name}.jsonl" for name in files]


def write_small_tokenizer(folder: Path) -> Path:
    """Write the embedded base's tokenizer, of Mistral's kind with 1,024 tokens, for both stacks to read.

    A training over Mistral's own 32,000 tokens would spend its time on logits.
    """
    tokenizer = json.loads(base_tokenizer(make_feedback()).backend_tokenizer.to_str())
    tokenizer["model"]["merges"] = [" ".join(pair) for pair in tokenizer["model"]["merges"]]  # as in 2023
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "</s>",
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tokenizer.json", tokenizer)
    write_json(folder / "tokenizer_config.json", config)
    return folder


def write_recipe(path: Path, case: TrainingCase, model: Path, rows: Path, **changed: object) -> Path:
    """Write the recipe of a training: Zephyr's, but for the size of things and what this machine lacks."""
    recipe = {
        "extends": "zephyr-7b-beta-lora",
        "model_name_or_path": str(model),
        "torch_dtype": "auto",
        "bf16": case.bf16,
        "dataset": str(rows),
        "dataset_splits": ["train"],
        "dataset_format": "argilla",
        "test_size": HELD_OUT,
        "max_length": MAX_LENGTH,
        "max_prompt_length": MAX_PROMPT_LENGTH,
        "lora_r": LORA_R,
        "learning_rate": LEARNING_RATE,
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": BATCH_SIZE,
        "gradient_accumulation_steps": case.accumulation,
        "num_processes": case.processes,
        "runtime": "venv",
        "accelerator": "any",
        "devices": 1,
        "engine": "trl",
        "attn_implementation": "eager",
        "gradient_checkpointing": False,
        "evaluation_strategy": "no",
        "logging_steps": 1,
        "report_to": [],
        "hub_base_model_id": "parity/base",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe | changed), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[Any]:
    """Return the values of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    # Escaped, so that no reader can take a character of a text for the end of a line.
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")


def _conversations(path: Path) -> Iterable[dict[str, object]]:
    for _, pair in pairs_in_order([path], rules=Rules(leave_out=frozenset()), dataset_format="auto"):
        if isinstance(pair, Reason):
            continue
        turns = [turn._asdict() for turn in pair.prompt]
        sides = {
            side: [*turns, {"role": "assistant", "content": text}]
            for side, text in (("chosen", pair.chosen), ("rejected", pair.rejected))
        }
        yield {"prompt": next(turn["content"] for turn in turns if turn["role"] == "user"), **sides}
