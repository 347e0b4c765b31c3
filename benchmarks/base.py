"""The base and the adapter that all modes train, the same to the bit, and what a process used."""

import os
import resource
import sys
import time
from dataclasses import asdict

import torch
from peft import LoraConfig
from transformers import MistralConfig, MistralForCausalLM, set_seed

from benchmarks.work import Spent, Work
from recipe.hush import hush_libraries


def quiet() -> None:
    """Keep the libraries quiet; what is measured speaks for itself."""
    os.environ["TQDM_DISABLE"] = "1"
    hush_libraries(bars=False)


def base(work: Work, attn_implementation: str) -> MistralForCausalLM:
    """Return the base, float32."""
    set_seed(work.seed)
    config = MistralConfig(**asdict(work.shape))
    config._attn_implementation = attn_implementation
    return MistralForCausalLM(config)


def adapter(work: Work) -> LoraConfig:
    """Return the recipe's adapter, without the dropout that it never had."""
    return LoraConfig(
        r=work.lora_r,
        lora_alpha=work.lora_alpha,
        target_modules=list(work.lora_target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )


def seed_adapter(model: torch.nn.Module, work: Work) -> None:
    """Draw the adapter's weights anew, whatever was drawn before: the same in all modes."""
    generator = torch.Generator().manual_seed(work.seed)
    for name, weight in model.named_parameters():
        if "lora_A" in name:
            torch.nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)


def parameters(model: torch.nn.Module) -> int:
    """Return how many parameters the base has, the adapter not counted."""
    return sum(weight.numel() for name, weight in model.named_parameters() if "lora_" not in name)


def now() -> Spent:
    """Return the time, to take another from."""
    return Spent(time.perf_counter(), time.process_time())


def peak_bytes() -> int:
    """Return the most memory that this process had resident."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
