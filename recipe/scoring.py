"""Log-probabilities of many rows without learning from them: the reference's, and the held-out figures'.

Rows are scored in shards, and a shard's rows in micro-batches that depend on the shard alone: so two passes over the
same rows, on whatever devices, round alike.
"""

import torch
from datasets import Dataset

from recipe.progress import Bar
from recipe.trainer import PreferenceTrainer

SHARD = 128


def shards(rows: int) -> list[range]:
    """Return the rows of each shard, by their places."""
    return [range(start, min(start + SHARD, rows)) for start in range(0, rows, SHARD)]


def score(trainer: PreferenceTrainer, rows: Dataset, bar: Bar) -> torch.Tensor:
    """Return the summed log-probability of each answer under the trainer's model as it is now, on this process.

    Args:
        trainer: Gives the model, its micro-batches, the device and the precision.
        rows: A shard, tokenized.
        bar: Moved on by the rows.

    Returns:
        float64 tensor of shape (rows, 2): chosen, rejected.
    """
    model, accelerator = trainer.tuned, trainer.accelerator
    each = rows.to_list()
    found = torch.zeros(len(each), 2, dtype=torch.float64)
    training = model.training
    model.to(accelerator.device).eval()
    with torch.no_grad(), accelerator.autocast():
        for places in trainer.micro_batches(each):
            logps = trainer.answer_logps(model, [each[place] for place in places])
            found[places] = logps.cpu().view(2, -1).T
            trainer.pulse()
            bar.advance(len(places))
    model.train(training)
    return found
