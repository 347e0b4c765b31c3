"""Science: which rows each optimizer step sees, whatever runs it today.

The order is that of Transformers 4.35.0 with Accelerate 0.23.0, on as many processes as the recipe was written for.
It is a pure function of `Schedule`'s fields; `nox -s parity` holds it against those libraries.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, cycle, islice, pairwise

import torch

from recipe.schema import Science

# An unseeded torch.Generator starts here. Accelerate 0.23 gave the sampler such a generator on several
# processes, so a recipe written for more than one process has this order whatever its seed.
UNSEEDED = 67280421310721

Round = list[int]
"""The rows of one micro-batch of every process, in the order of the processes."""


@dataclass(frozen=True)
class Place:
    """A place in an optimizer step.

    Attributes:
        row: The training row that is there.
        weight: What its loss counts, in units of 1 / global batch size. 1 but in a short micro-batch, whose mean was
            as much as that of a full one; 0 is a place that is filled for the step's size alone.
    """

    row: int
    weight: float


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
    def round_size(self) -> int:
        """Pairs of one micro-batch of every process."""
        return self.batch_size * self.processes

    @property
    def global_batch_size(self) -> int:
        """Pairs of one optimizer step."""
        return self.round_size * self.accumulation

    @property
    def rounds_per_epoch(self) -> int:
        """Micro-batches of each process in one pass over the rows."""
        return math.ceil(self.rows / self.round_size)

    @property
    def steps_per_epoch(self) -> int:
        """Full optimizer steps of one pass; the micro-batches left over go into the next epoch's first."""
        return max(1, self.rounds_per_epoch // self.accumulation)

    def step_ends(self) -> list[int]:
        """Return for each optimizer step how many rounds are done after it."""
        if self.rounds_per_epoch > self.accumulation:
            return [step * self.accumulation for step in range(1, self.steps + 1)]
        # An epoch that is no longer than a step ends one with what it has, and the count to the next goes on. On
        # several processes 2023 did so with gradients that they had not shared; here they are.
        ends = (end for end in count(1) if end % self.accumulation == 0 or end % self.rounds_per_epoch == 0)
        return list(islice(ends, self.steps))

    def epochs_after(self, step: int) -> float:
        """Return how many passes over the rows are done after optimizer step `step` (from 1; 0 is the beginning)."""
        return self._ends[step] / self.rounds_per_epoch

    def step_rows(self) -> list[list[int]]:
        """Return the rows of each optimizer step: round by round, in each process by process."""
        return [[row for rows in rounds for row in rows] for rounds in self._steps()]

    def places(self) -> list[Place]:
        """Return `steps` x `global_batch_size` places: what each step learns from, and how much of each."""
        return self._places

    @cached_property
    def _places(self) -> list[Place]:
        places = []
        for rounds in self._steps():
            step = []
            for rows in rounds:
                step += [Place(row, self.round_size / len(rows)) for row in rows]
                step += [Place(rows[0], 0.0)] * (self.round_size - len(rows))
            places += step + [Place(step[0].row, 0.0)] * (self.global_batch_size - len(step))
        return places

    def _steps(self) -> Iterator[list[Round]]:
        rounds = self._rounds()
        for before, after in pairwise(self._ends):
            yield list(islice(rounds, after - before))

    @cached_property
    def _ends(self) -> list[int]:
        return [0, *self.step_ends()]

    def _rounds(self) -> Iterator[Round]:
        """Yield the rounds without end, epoch after epoch."""
        for order in self._orders():
            if self.processes > 1:
                # A last round that is not full is filled from the epoch's beginning; one process leaves it short.
                order += islice(cycle(order[:]), -len(order) % self.round_size)  # noqa: PLW2901
            for start in range(0, len(order), self.round_size):
                yield order[start : start + self.round_size]

    def _orders(self) -> Iterator[list[int]]:
        """Yield each epoch's permutation of the rows."""
        if self.processes > 1:
            generator = torch.Generator().manual_seed(UNSEEDED)
            while True:
                yield torch.randperm(self.rows, generator=generator).tolist()
                torch.randperm(self.rows, generator=generator)  # the sampler drew another and used none of it
        # Torch's own generator, as the trainer seeded it; an evaluation drew from it as well, which is left out here:
        # how often a run is evaluated must not change the model.
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            _draw(generator)  # the loader's seed for its workers
            shuffler = torch.Generator().manual_seed(_draw(generator))
            yield torch.randperm(self.rows, generator=shuffler).tolist()


def _draw(generator: torch.Generator) -> int:
    """Return a seed as torch's loaders and samplers draw one."""
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())


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
