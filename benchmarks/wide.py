"""TRL's sums of log-probabilities as float64, as ours are.

A sum of thousands as float32 is rounded to about 1e-4: by this alone, TRL's losses of the same rows in micro-batches of
1 and of 2 are 7e-6 apart. What is to be seen is whether two modes compute the same.
"""

import functools
from typing import Any

import torch
from transformers import PreTrainedModel
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

KNOWN = ("ref_chosen_logps", "ref_rejected_logps")


def add_wide_head(model: PreTrainedModel, **options: Any) -> None:
    """Add TRL's fused head to a model; the log-probabilities that come out of it are then float64."""
    add_fused_lm_head(model, **options)
    forward = model.forward

    @functools.wraps(forward)
    def widened(*arguments: Any, **inputs: Any) -> Any:
        found = forward(*arguments, **inputs)
        found.log_probs = found.log_probs.double()
        return found

    model.forward = widened


class WideCollator(DataCollatorForPreference):
    """TRL's collator, which keeps a reference that was computed ahead as float64."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the rows as a batch."""
        batch: dict[str, Any] = super().torch_call(examples)
        known = [name for name in KNOWN if name in batch]
        return batch | {
            name: torch.tensor([row[name] for row in examples], dtype=torch.float64) for name in known
        }
