"""Held-out reward accuracy, margin and loss, pair by pair.

The trainer's own evaluation averages the means of its batches; here every pair counts once.
"""

from dataclasses import asdict, dataclass

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch.nn import functional

from recipe.progress import Reporter
from recipe.scoring import score, shards
from recipe.trainer import PreferenceTrainer


@dataclass(frozen=True)
class HeldOut:
    """What a policy does on the held-out pairs.

    Attributes:
        pairs: How many there are.
        loss: Mean DPO loss (sigmoid), nats.
        accuracy: Share of pairs whose chosen answer has strictly the higher reward.
        margin: Mean of the chosen reward less the rejected one, beta included.
        likelier: Share of pairs whose chosen answer is strictly the likelier one under the policy alone.
    """

    pairs: int
    loss: float
    accuracy: float
    margin: float
    likelier: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def heldout_logps(trainer: PreferenceTrainer, rows: Dataset, title: str, reporter: Reporter) -> torch.Tensor:
    """Return the summed log-probability of each answer under the trainer's policy as it is now.

    Args:
        trainer: Gives the model and the way it is called.
        rows: Rows as `recipe.batches.PairCollator` takes them.
        title: What the progress bar says.
        reporter: Shows it.

    Returns:
        float64 tensor of shape (rows, 2): chosen, rejected. The same on every process.
    """
    accelerator = trainer.accelerator
    mine = shards(len(rows))[accelerator.process_index :: accelerator.num_processes]
    with reporter.bar(title, sum(map(len, mine))) as bar:
        found = [(shard.start, score(trainer, rows.select(shard), bar)) for shard in mine]
    if accelerator.num_processes > 1:
        found = gather_object(found)
    return torch.cat([logps for _, logps in sorted(found, key=lambda one: one[0])])


def each_pair(policy: torch.Tensor, reference: torch.Tensor, beta: float) -> dict[str, torch.Tensor]:
    """Return what `HeldOut` averages, pair by pair.

    Args:
        policy: Summed log-probabilities, float64 of shape (rows, 2): chosen, rejected.
        reference: The base's, likewise.
        beta: The recipe's.

    Returns:
        float64 tensors of shape (rows,), by the names of `HeldOut`'s figures.
    """
    rewards = beta * (policy - reference)
    margins = rewards[:, 0] - rewards[:, 1]
    return {
        "loss": -functional.logsigmoid(margins),
        "accuracy": (margins > 0).double(),
        "margin": margins,
        "likelier": (policy[:, 0] > policy[:, 1]).double(),
    }


def compare(policy: torch.Tensor, reference: torch.Tensor, beta: float) -> HeldOut:
    """Return the held-out figures of `policy` against `reference`, both (rows, 2) summed log-probabilities."""
    found = each_pair(policy, reference, beta)
    return HeldOut(len(policy), **{name: values.mean().item() for name, values in found.items()})
