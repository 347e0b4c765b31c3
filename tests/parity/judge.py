"""Runs the 2023 stack in its own environment and reads what it wrote."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from recipe.progress import Reporter
from tests.parity import cases
from tests.parity.cases import ScheduleCase, TrainingCase


@dataclass(frozen=True)
class Training:
    """What a training did, step by step, and its adapter after and, if it was looked at, before."""

    steps: list[dict[str, Any]]
    initial: dict[str, torch.Tensor] | None
    final: dict[str, torch.Tensor]


class Judge:
    """The 2023 stack.

    Args:
        folder: Where its files are, or go.
        python: The interpreter of its environment; None to read only.
    """

    def __init__(self, folder: Path, python: Path | None) -> None:
        self.folder, self.python = folder, python
        self.tokenizer = folder / "tokenizer"

    def run(
        self,
        files: Sequence[Path],
        short: Path,
        small_tokenizer: Path,
        schedules: Sequence[ScheduleCase],
        trainings: Sequence[TrainingCase],
        reporter: Reporter,
    ) -> None:
        """Do all of it, under a progress bar."""
        self.folder.mkdir(parents=True, exist_ok=True)
        work: list[tuple[str, list[object]]] = [
            ("tokenizer", [self.tokenizer]),
            *(
                ("model", [small_tokenizer, model, "--dtype", model.name.partition("-")[2]])
                for model in sorted({self.model(case) for case in trainings})
            ),
            *(("tokens", self._tokens(path)) for path in files),
            *(("schedule", self._schedule(case)) for case in schedules),
            *(("train", self._train(case, short)) for case in trainings),
        ]
        with reporter.bar("the 2023 stack", len(work)) as bar:
            for command, arguments in work:
                bar.note(command)
                self._do(command, *arguments)
                bar.advance()

    def model(self, case: TrainingCase) -> Path:
        """Return the folder of a training's base."""
        return self.folder / ("model-bfloat16" if case.bf16 else "model-float32")

    def tokens(self, file: Path) -> list[dict[str, Any]]:
        """Return a file's rows as its tokens, masks and labels."""
        return cases.read_lines(self.folder / f"{file.stem}.tokens.jsonl")

    def schedule(self, case: ScheduleCase) -> list[list[int]]:
        """Return the rows of each optimizer step."""
        steps: list[list[int]] = json.loads(self._schedule_file(case).read_text(encoding="utf-8"))
        return steps

    def training(self, case: TrainingCase) -> Training:
        """Return what a training did."""
        folder = self.folder / case.name
        return Training(
            steps=json.loads((folder / "steps.json").read_text(encoding="utf-8")),
            initial=load_file(folder / "initial_adapter.safetensors"),
            final=load_file(folder / "final_adapter" / "adapter_model.safetensors"),
        )

    def _do(self, command: str, *arguments: object) -> None:
        assert self.python is not None
        subprocess.run(
            [str(self.python), "-m", "stack_2023", command, *map(str, arguments)],
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def _tokens(self, path: Path) -> list[object]:
        return [
            "--tokenizer",
            self.tokenizer,
            "--rows",
            path,
            "--out",
            self.folder / f"{path.stem}.tokens.jsonl",
        ]

    def _schedule(self, case: ScheduleCase) -> list[object]:
        return [*_options(vars(case)), "--out", self._schedule_file(case)]

    def _schedule_file(self, case: ScheduleCase) -> Path:
        return self.folder / f"schedule-{'-'.join(str(value) for value in vars(case).values())}.json"

    def _train(self, case: TrainingCase, rows: Path) -> list[object]:
        options = {
            "test_size": cases.HELD_OUT,
            "batch_size": cases.BATCH_SIZE,
            "accumulation": case.accumulation,
            "processes": case.processes,
            "epochs": cases.EPOCHS,
            "learning_rate": cases.LEARNING_RATE,
            "lora_r": cases.LORA_R,
            "max_length": cases.MAX_LENGTH,
            "max_prompt_length": cases.MAX_PROMPT_LENGTH,
        }
        bf16 = ["--bf16"] if case.bf16 else []
        return [
            "--model",
            self.model(case),
            "--rows",
            rows,
            "--out",
            self.folder / case.name,
            *_options(options),
            *bf16,
        ]


def _options(values: dict[str, Any]) -> list[object]:
    return [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", value)]
