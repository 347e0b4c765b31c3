"""Science: which rows each optimizer step sees, whatever runs it today."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice

import torch

from recipe.schema import Science

# An unseeded torch.Generator starts here. Accelerate 0.23 gave the sampler such a generator on several
# processes, so a recipe written for more than one process has this order whatever its seed.
UNSEEDED = 67280421310721


@dataclass(frozen=True)
class Schedule:
    """The order in which a recipe's optimizer steps see the rows.

    Attributes:
        rows: Training rows, at least 1.
        batch_size: Pairs of one micro-batch of one process, as the recipe was written.
        accumulation: Micro-batches of each process in one optimizer step.
        processes: How many processes the recipe was written for.
        steps: Optimizer steps in all.
        seed: The recipe's.
    """

    rows: int
    batch_size: int
    accumulation: int
    processes: int
    steps: int
    seed: int

    @property
    def global_batch_size(self) -> int:
        """Pairs of one optimizer step."""
        return self.batch_size * self.accumulation * self.processes

    @property
    def steps_per_epoch(self) -> int:
        """Full optimizer steps of one pass; the micro-batches left over go into the next epoch's first."""
        micro_batches = math.ceil(self.rows / (self.batch_size * self.processes))  # of each process
        return max(1, micro_batches // self.accumulation)

    def row_ids(self) -> list[int]:
        """Return the row of each pair in order: `steps` x `global_batch_size` places in the training rows."""
        return list(islice(self._endless(), self.steps * self.global_batch_size))

    def _endless(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(UNSEEDED if self.processes > 1 else self.seed)
        round_size = self.batch_size * self.processes
        while True:
            order = torch.randperm(self.rows, generator=generator).tolist()
            torch.randperm(self.rows, generator=generator)  # the sampler drew another and used none of it
            yield from order
            # A last round of micro-batches that is not full is filled from the epoch's beginning.
            yield from islice(cycle(order), -len(order) % round_size)


def schedule_of(science: Science, rows: int) -> Schedule:
    """Return the schedule of a recipe over `rows` training rows."""
    schedule = Schedule(
        rows=rows,
        batch_size=science.per_device_train_batch_size,
        accumulation=science.gradient_accumulation_steps,
        processes=science.num_processes,
        steps=science.max_steps,
        seed=science.seed,
    )
    if science.max_steps > 0:
        return schedule
    return replace(schedule, steps=science.num_train_epochs * schedule.steps_per_epoch)
