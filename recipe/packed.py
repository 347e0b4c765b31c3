"""The packed engine: the same optimizer steps as `recipe.trainer`'s, in dense micro-batches under a token budget."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from recipe.attention import BLOCK
from recipe.batches import Row, places_of, references
from recipe.pack import lay
from recipe.packing import pack
from recipe.schedule import Schedule
from recipe.tokenized import SIDES, arrays_of, lengths_of
from recipe.trainer import PreferenceTrainer

MicroBatch = dict[str, Any]
"""`pack`, a `Pack`, its `weight`, float32 (pairs,), its `row`, int64 (pairs,), and perhaps `reference`, as
`recipe.batches` has them."""

# On a CPU small packs stay in its cache; on a GPU large ones fill it, and lengths that recur are compiled once.
TOKENS = {"cpu": 1200, "cuda": 4096}
MULTIPLE = {"cpu": 1, "cuda": BLOCK}


def collate(rows: Sequence[Row], multiple: int = 1) -> MicroBatch:
    """Return rows as one micro-batch, filled up to a multiple of so many tokens."""
    laid = lay(rows, multiple)
    return {"pack": laid, "weight": laid.weight, "row": places_of(rows), **references(rows)}


def length_of(row: Row) -> int:
    """Return the tokens of a pair, its prompt once."""
    return sum(len(row[f"{side}_ids"]) for side in SIDES)


def with_reference(rows: Dataset, reference: torch.Tensor) -> Dataset:
    """Return rows that know their answers' log-probabilities under the base, float64 (rows, 2)."""
    return rows.add_column("reference", reference.tolist())


class StepPacks(TorchDataset[list[MicroBatch]]):
    """The optimizer steps after the first `done`, each as the micro-batches of one device.

    Args:
        rows: The training rows, tokenized.
        schedule: Which of them each step sees.
        tokens: The budget of a micro-batch.
        multiple: A micro-batch is filled up to a multiple of so many tokens.
        devices: How many there are.
        device: Which this is.
        done: How many steps are left out.
    """

    def __init__(
        self,
        rows: Dataset,
        schedule: Schedule,
        tokens: int,
        multiple: int,
        devices: int,
        device: int,
        done: int = 0,
    ) -> None:
        self.rows, self.schedule, self.tokens, self.multiple = rows, schedule, tokens, multiple
        self.devices, self.device, self.done = devices, device, done
        self.places = schedule.places()
        self.lengths = lengths_of(rows).sum(1)  # tokens of a pair, its prompt once

    def __len__(self) -> int:
        return self.schedule.steps - self.done

    def __getitem__(self, place: int) -> list[MicroBatch]:
        step = self.done + place
        size = self.schedule.global_batch_size
        places = self.places[step * size : (step + 1) * size]
        seen = [place for place in places if place.weight]
        # As many for each device, where the step has places to spare.
        seen += [place for place in places if not place.weight][: -len(seen) % self.devices]
        lengths = self.lengths[[place.row for place in seen]].tolist()
        mine = pack(lengths, self.tokens, self.devices)[self.device]
        here = [seen[pair] for pairs in mine for pair in pairs]
        rows = iter(arrays_of(self.rows, [place.row for place in here]))
        weighted = (
            {**row, "weight": place.weight, "row": place.row} for row, place in zip(rows, here, strict=True)
        )
        return [collate(list(itertools.islice(weighted, len(pairs))), self.multiple) for pairs in mine]


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
        kind = self.accelerator.device.type
        self._tokens_of_pack = tokens or TOKENS.get(kind, TOKENS["cpu"])
        self._multiple = MULTIPLE.get(kind, 1)
        self.data_collator = functools.partial(collate, multiple=self._multiple)

    def know_reference(self, train: torch.Tensor, heldout: torch.Tensor) -> None:
        """Take the answers' log-probabilities under the base as known: float64 (rows, 2), of all rows."""
        assert isinstance(self.eval_dataset, Dataset)
        self._rows = with_reference(self._rows, train)
        self.eval_dataset = with_reference(self.eval_dataset, heldout)

    @property
    def micro_batch(self) -> str:
        """How large a micro-batch of this process is."""
        return f"{self._tokens_of_pack} tokens"

    def micro_batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """Return rows that are only scored as micro-batches, by their places."""
        [packs] = pack([length_of(row) for row in rows], self._tokens_of_pack, devices=1)
        return packs

    def get_train_dataloader(self) -> DataLoader[list[MicroBatch]]:
        """Return the optimizer steps in order, of this device: they are dealt already."""
        steps = StepPacks(
            self._rows,
            self._schedule,
            self._tokens_of_pack,
            self._multiple,
            self.accelerator.num_processes,
            self.accelerator.process_index,
            self._done,
        )
        return DataLoader(steps, batch_size=None, shuffle=False)

    def _add_gradients(
        self, model: torch.nn.Module, inputs: list[MicroBatch], num_items_in_batch: object = None
    ) -> torch.Tensor:
        """Add the gradient of one optimizer step; return its loss, of this device's share."""
        model.train()
        loss = torch.zeros((), device=self.accelerator.device)
        for micro_batch in inputs:
            if self.ending():
                break
            loss += self._add_gradient(model, micro_batch)
        return loss

    def _prepare_inputs(self, inputs: MicroBatch) -> MicroBatch:
        return self._on_device(inputs)

    def _add_gradient(self, model: torch.nn.Module, micro_batch: MicroBatch) -> torch.Tensor:
        inputs = self._on_device(micro_batch)
        with self.compute_loss_context_manager():
            mean = self._compute_loss(model, inputs)
        # The step's loss is a sum over its pairs; the devices' shares of it are averaged when they meet.
        share = len(inputs["weight"]) * self.accelerator.num_processes / self._schedule.global_batch_size
        loss: torch.Tensor = mean * share
        self.accelerator.backward(loss)
        return loss.detach()

    def _tokens(self, inputs: MicroBatch) -> int:
        return len(inputs["pack"].input_ids)

    def _answer_logps(self, model: torch.nn.Module, inputs: MicroBatch) -> torch.Tensor:
        logps: torch.Tensor = model(pack=inputs["pack"])
        return logps
