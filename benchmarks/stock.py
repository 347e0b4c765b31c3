"""TRL's DPOTrainer, its own batches, log-probabilities and loss, over token ids and an order that it is given."""

import tempfile
from typing import Any
from unittest import mock

import torch
from datasets import Dataset
from torch.utils.data import Sampler, SequentialSampler
from transformers import PrinterCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from benchmarks.base import PAD, Watch, adapter, base, now, quiet, seed_adapter, tokenizer
from benchmarks.wide import WideCollator, add_wide_head
from benchmarks.work import Mode, Result, Work
from recipe.engine import on_one_device


def stock(mode: Mode, work: Work) -> Result:
    """Train with TRL."""
    quiet()
    watch = Watch(work)
    # It names a file of its cache by a hash of all weights, 14 GB on one core. Here each process has its own files.
    unhashed = mock.patch("trl.trainer.dpo_trainer.hash_module", return_value="the base")
    widened = mock.patch("trl.trainer.dpo_trainer.add_fused_lm_head", add_wide_head)
    with tempfile.TemporaryDirectory() as folder, unhashed, widened:
        trainer = _Stock(
            watch=watch,
            model=base(work, "sdpa"),
            args=_arguments(mode, work, folder),
            train_dataset=Dataset.from_list(
                [{name: ids for name, ids in row.items() if name.endswith("_ids")} for row in work.rows]
            ),
            processing_class=tokenizer(),
            data_collator=WideCollator(PAD),
            peft_config=adapter(work),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(watch)
        tuned = trainer.model
        assert isinstance(tuned, torch.nn.Module)
        seed_adapter(tuned, work)
        trainer.train()
    return watch.result(tuned, float(bool(mode.checkpointing)))


def _arguments(mode: Mode, work: Work, folder: str) -> DPOConfig:
    args = DPOConfig(
        output_dir=folder,
        seed=work.seed,
        beta=work.beta,
        max_length=None,  # the rows are truncated
        precompute_ref_log_probs=mode.reference_once,
        disable_dropout=True,
        use_liger_kernel=mode.fused,
        learning_rate=work.learning_rate,
        lr_scheduler_type="constant",
        optim="rmsprop",
        max_grad_norm=work.max_grad_norm,
        bf16=work.dtype == "bfloat16",
        use_cpu=work.device == "cpu",
        max_steps=len(work.steps),
        per_device_train_batch_size=mode.micro_batch,
        gradient_accumulation_steps=work.pairs_per_step // mode.micro_batch,
        activation_checkpointing=bool(mode.checkpointing),
        activation_checkpointing_kwargs={"use_reentrant": False} if mode.checkpointing else None,
        logging_strategy="no",
        logging_nan_inf_filter=False,  # it waits for the GPU at each micro-batch
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=work.device == "cuda",
    )
    on_one_device(args)
    return args


class _Stock(DPOTrainer):
    """DPOTrainer as it is, but that it tokenizes and shuffles nothing; it is watched."""

    def __init__(self, *, watch: Watch, **kwargs: Any) -> None:
        self.watch = watch
        super().__init__(**kwargs)

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset

    def _get_train_sampler(self, train_dataset: object = None) -> Sampler[int]:
        assert isinstance(self.train_dataset, Dataset)
        return SequentialSampler(self.train_dataset)

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        if self.watch.work.warmup:
            super()._precompute_ref_logps(dataset.select(range(2 * batch_size)), "warm-up", batch_size)
        started = now()
        found = super()._precompute_ref_logps(dataset, name, batch_size)
        self.watch.reference = now() - started
        return found

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *more: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(model, inputs, *more)  # type: ignore[no-untyped-call]
        self.watch.count(loss, inputs["input_ids"].numel())
        return loss
