"""The base and the adapter that all modes train, the same to the bit, and what a process used."""

import os
import resource
import sys
import time
from dataclasses import asdict

import torch
from peft import LoraConfig
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    MistralConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from benchmarks.work import Result, Spent, Work
from recipe.hush import hush_libraries

PAD = 2  # what fills up, where something does
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def quiet() -> None:
    """Keep the libraries quiet; what is measured speaks for itself."""
    os.environ["TQDM_DISABLE"] = "1"
    hush_libraries(bars=False)


def base(work: Work, attn_implementation: str) -> PreTrainedModel:
    """Return the base, its weights drawn where it is trained."""
    set_seed(work.seed)
    config = MistralConfig(**asdict(work.shape))
    with torch.device(work.device):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=DTYPES[work.dtype], attn_implementation=attn_implementation
        )
    assert isinstance(model, PreTrainedModel)
    return model


def adapter(work: Work) -> LoraConfig:
    """Return the recipe's adapter, without the dropout that it never had."""
    return LoraConfig(
        r=work.lora_r,
        lora_alpha=work.lora_alpha,
        target_modules=list(work.lora_target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )


@torch.no_grad()
def seed_adapter(model: torch.nn.Module, work: Work) -> None:
    """Draw the adapter's weights anew, whatever was drawn before: the same in all modes, and on all devices."""
    generator = torch.Generator().manual_seed(work.seed)
    for name, weight in model.named_parameters():
        if "lora_" not in name:
            continue
        drawn = torch.zeros(weight.shape)  # on the CPU, or each device had draws of its own
        if "lora_A" in name:
            weight.copy_(torch.nn.init.kaiming_uniform_(drawn, a=5**0.5, generator=generator))
        elif work.b_std:
            weight.copy_(torch.nn.init.normal_(drawn, std=work.b_std, generator=generator))


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that nothing is tokenized with: the trainers ask it for the padding token."""
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words, eos_token="</s>", pad_token="</s>"
    )


def parameters(model: torch.nn.Module) -> int:
    """Return how many parameters the base has, the adapter not counted."""
    return sum(weight.numel() for name, weight in model.named_parameters() if "lora_" not in name)


def now() -> Spent:
    """Return the time, to take another from, with nothing left to do on a GPU."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return Spent(time.perf_counter(), time.process_time())


class Watch(TrainerCallback):
    """Takes the time from the first measured step's begin to the last step's end, and counts what went through.

    Args:
        work: What is done.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.step = 0  # that runs, or was the last to
        self.reference = Spent(0.0, 0.0)
        self._losses = [torch.zeros((), dtype=torch.float64) for _ in work.steps]
        self._tokens = 0
        self._started: Spent | None = None
        self._ended: Spent | None = None

    def begin(self, step: int) -> None:
        """Take note that an optimizer step begins."""
        self.step = step
        if step == self.work.warmup:
            self._started = now()

    def count(self, loss: torch.Tensor, tokens: int) -> None:
        """Add a micro-batch's share of the step's loss, and the tokens that went through the policy for it."""
        self._losses[self.step] = self._losses[self.step].to(loss.device) + loss.detach()
        if self.step >= self.work.warmup:
            self._tokens += tokens

    def end(self) -> None:
        """Take note that an optimizer step has ended."""
        if self.step == len(self._losses) - 1:
            self._ended = now()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Begin a step of a trainer."""
        self.begin(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """End a step of a trainer."""
        self.end()

    def result(self, model: torch.nn.Module, recomputed: float) -> Result:
        """Return what was done, with such a share of the layers computed a second time."""
        assert self._started is not None
        assert self._ended is not None
        return Result(
            losses=[loss.item() for loss in self._losses],
            pairs=len(self.work.measured),
            tokens=self._tokens,
            train=self._ended - self._started,
            reference=self.reference,
            reference_pairs=len(self.work.rows),
            recomputed=recomputed,
            parameters=parameters(model),
            threads=torch.get_num_threads(),
            **_memory(),
        )


def cap_memory(most: int) -> None:
    """Let torch have so many bytes of the GPU at most, if there is one; 0 for all."""
    if most and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, most / total))


def _memory() -> dict[str, int]:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return {
            "peak_bytes": torch.cuda.max_memory_allocated(),
            "reserved_bytes": torch.cuda.max_memory_reserved(),
        }
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "reserved_bytes": 0}
