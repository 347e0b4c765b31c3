"""Science: which rows each optimizer step sees, whatever runs it today."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from recipe.schema import Science

# An unseeded torch.Generator starts here. Accelerate 0.23 gave the sampler such a generator on several
# processes, so a recipe written for more than one process has this order whatever its seed.
UNSEEDED = 67280421310721


@dataclass(frozen=True)
class Schedule:
    """The order in which a recipe's optimizer steps see the rows.

    Attributes:
        rows: Training rows.
        global_batch_size: Pairs of one optimizer step.
        steps_per_epoch: Full optimizer steps of one pass over the rows.
        steps: Optimizer steps in all.
    """

    rows: int
    batch_size: int
    accumulation: int
    processes: int
    epochs: int
    steps: int
    seed: int

    @property
    def global_batch_size(self) -> int:
        """Pairs of one optimizer step."""
        return self.batch_size * self.accumulation * self.processes

    @property
    def steps_per_epoch(self) -> int:
        """Full optimizer steps of one pass; the micro-batches left over go into the next epoch's first."""
        return max(1, self._rounds_per_epoch // self.accumulation)

    @property
    def warmed_by(self) -> int:
        """Optimizer steps of one pass, rounded up: where an epoch counts as seen."""
        return math.ceil(self._rounds_per_epoch / self.accumulation)

    @property
    def _rounds_per_epoch(self) -> int:
        """Micro-batches of one process in one pass."""
        return math.ceil(self.rows / (self.batch_size * self.processes))

    def row_ids(self) -> list[int]:
        """Return the row of each pair in order: `steps` x `global_batch_size` places in the training rows."""
        stream = self._endless()
        return [next(stream) for _ in range(self.steps * self.global_batch_size)]

    def _endless(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(UNSEEDED if self.processes > 1 else self.seed)
        round_size = self.batch_size * self.processes
        while True:
            order = torch.randperm(self.rows, generator=generator).tolist()
            torch.randperm(
                self.rows, generator=generator
            )  # the sampler drew a second one and used none of it
            filled = -len(order) % round_size  # a last round that is not full begins the epoch again
            yield from order
            for place in range(filled):
                yield order[place % len(order)]


def schedule_of(science: Science, rows: int) -> Schedule:
    """Return the schedule of a recipe over `rows` training rows."""
    batch, accumulation, processes = (
        science.per_device_train_batch_size,
        science.gradient_accumulation_steps,
        science.num_processes,
    )
    once = Schedule(rows, batch, accumulation, processes, science.num_train_epochs, 0, science.seed)
    steps = science.max_steps if science.max_steps > 0 else science.num_train_epochs * once.steps_per_epoch
    return Schedule(rows, batch, accumulation, processes, science.num_train_epochs, steps, science.seed)
