"""The packed engine: the same optimizer steps as `recipe.trainer`'s, in dense micro-batches under a token budget."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from recipe.pack import lay
from recipe.packing import pack
from recipe.schedule import Schedule
from recipe.trainer import PreferenceTrainer, Row

MicroBatch = dict[str, Any]
"""`pack`, a `Pack`, and its `weight`, float32 (pairs,)."""

# On a CPU small packs stay in its cache; on a GPU large ones fill it.
TOKENS = {"cpu": 1200, "cuda": 4096}


def collate(rows: Sequence[Row]) -> MicroBatch:
    """Return rows as one micro-batch."""
    laid = lay(rows)
    return {"pack": laid, "weight": laid.weight}


class StepPacks(TorchDataset[list[MicroBatch]]):
    """The optimizer steps, each as the micro-batches of one device.

    Args:
        rows: The training rows, tokenized.
        schedule: Which of them each step sees.
        tokens: The budget of a micro-batch.
        devices: How many there are.
        device: Which this is.
    """

    def __init__(self, rows: Dataset, schedule: Schedule, tokens: int, devices: int, device: int) -> None:
        self.rows, self.schedule, self.tokens = rows, schedule, tokens
        self.devices, self.device = devices, device
        self.places = schedule.places()

    def __len__(self) -> int:
        return self.schedule.steps

    def __getitem__(self, step: int) -> list[MicroBatch]:
        size = self.schedule.global_batch_size
        places = self.places[step * size : (step + 1) * size]
        seen = [place for place in places if place.weight]
        # As many for each device, where the step has places to spare.
        seen += [place for place in places if not place.weight][: -len(seen) % self.devices]
        rows = [{**self.rows[place.row], "weight": place.weight} for place in seen]
        lengths = [sum(len(row[f"{side}_ids"]) for side in ("prompt", "chosen", "rejected")) for row in rows]
        mine = pack(lengths, self.tokens, self.devices)[self.device]
        return [collate([rows[pair] for pair in pairs]) for pairs in mine]


class PackedTrainer(PreferenceTrainer):
    """PreferenceTrainer whose batch is a whole optimizer step, laid in packs; to Transformers it accumulates nothing.

    The model has been given `recipe.pack.accept_packs`.

    Args:
        tokens: The budget of a micro-batch; None for what suits the device.
        schedule: As PreferenceTrainer's.
        train_dataset: As PreferenceTrainer's.
        kwargs: As PreferenceTrainer's.
    """

    def __init__(
        self, *, tokens: int | None, schedule: Schedule, train_dataset: Dataset, **kwargs: Any
    ) -> None:
        super().__init__(schedule=schedule, train_dataset=train_dataset, data_collator=collate, **kwargs)
        self._steps = StepPacks(
            train_dataset,
            schedule,
            tokens or TOKENS.get(self.accelerator.device.type, TOKENS["cpu"]),
            self.accelerator.num_processes,
            self.accelerator.process_index,
        )

    def get_train_dataloader(self) -> DataLoader[list[MicroBatch]]:
        """Return the optimizer steps in order, of this device: they are dealt already."""
        return DataLoader(self._steps, batch_size=None, shuffle=False)

    def training_step(  # type: ignore[override]  # Transformers' batch is a dict, ours the list that our loader gives
        self, model: torch.nn.Module, inputs: list[MicroBatch], num_items_in_batch: object = None
    ) -> torch.Tensor:
        """Add the gradient of one optimizer step; return its loss, of this device's share."""
        model.train()
        loss = torch.zeros((), device=self.accelerator.device)
        for place, micro_batch in enumerate(inputs):
            last = place == len(inputs) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                loss += self._add_gradient(model, micro_batch)
        return loss

    def floating_point_ops(self, inputs: object) -> int:
        """Return 0: the count of Transformers is for padded batches."""
        return 0

    def _add_gradient(self, model: torch.nn.Module, micro_batch: MicroBatch) -> torch.Tensor:
        inputs = self._on_device(micro_batch)
        with self.compute_loss_context_manager():
            mean = self._compute_loss(model, inputs)
        # The step's loss is a sum over its pairs; the devices' shares of it are averaged when they meet.
        share = len(inputs["weight"]) * self.accelerator.num_processes / self._schedule.global_batch_size
        loss: torch.Tensor = mean * share
        self.accelerator.backward(loss)
        return loss.detach()

    def _answer_logps(self, model: torch.nn.Module, inputs: MicroBatch) -> torch.Tensor:
        logps: torch.Tensor = model(pack=inputs["pack"])
        return logps
