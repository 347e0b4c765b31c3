"""TRL's DPOTrainer, its own batches, log-probabilities and loss, over token ids and an order that it is given."""

import tempfile
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models
from torch.utils.data import Sampler, SequentialSampler
from transformers import (
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from benchmarks.base import adapter, base, now, parameters, peak_bytes, quiet, seed_adapter
from benchmarks.work import Mode, Result, Spent, Work


def stock(mode: Mode, work: Work) -> Result:
    """Train with TRL."""
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _Stock(
            model=base(work, "sdpa"),
            args=_arguments(mode, work, folder),
            train_dataset=Dataset.from_list(
                [{name: ids for name, ids in row.items() if name.endswith("_ids")} for row in work.rows]
            ),
            processing_class=_tokenizer(),
            peft_config=adapter(work),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(trainer.clock)
        tuned = trainer.model
        assert isinstance(tuned, torch.nn.Module)
        seed_adapter(tuned, work)
        trainer.train()
    each = work.pairs_per_step // mode.micro_batch
    return Result(
        losses=[sum(trainer.losses[at : at + each]) for at in range(0, len(trainer.losses), each)],
        tokens=trainer.tokens,
        train=trainer.clock.spent,
        reference=trainer.reference,
        peak_bytes=peak_bytes(),
        parameters=parameters(tuned),
        threads=torch.get_num_threads(),
    )


def _arguments(mode: Mode, work: Work, folder: str) -> DPOConfig:
    return DPOConfig(
        output_dir=folder,
        seed=work.seed,
        beta=work.beta,
        max_length=None,  # the rows are truncated
        precompute_ref_log_probs=mode.reference_once,
        disable_dropout=True,
        learning_rate=work.learning_rate,
        lr_scheduler_type="constant",
        optim="rmsprop",
        max_grad_norm=work.max_grad_norm,
        bf16=False,
        use_cpu=True,
        max_steps=len(work.steps),
        per_device_train_batch_size=mode.micro_batch,
        gradient_accumulation_steps=work.pairs_per_step // mode.micro_batch,
        gradient_checkpointing=mode.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if mode.checkpointing else None,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that nothing is tokenized with: the trainer asks it for the padding token."""
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words, eos_token="</s>", pad_token="</s>"
    )


class _Clock(TrainerCallback):
    """Takes the time from the first optimizer step's begin to the last one's end."""

    def __init__(self) -> None:
        self.started: Spent | None = None
        self.ended: Spent | None = None

    @property
    def spent(self) -> Spent:
        assert self.started is not None
        assert self.ended is not None
        return self.ended - self.started

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.started = self.started or now()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.ended = now()


class _Stock(DPOTrainer):
    """DPOTrainer as it is, but that it tokenizes and shuffles nothing; it is watched."""

    def __init__(self, *, peft_config: LoraConfig, **kwargs: Any) -> None:
        self.clock = _Clock()
        self.losses: list[float] = []  # of each micro-batch, its share of the step's
        self.tokens = 0
        self.reference = Spent(0.0, 0.0)
        super().__init__(peft_config=peft_config, **kwargs)

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset

    def _get_train_sampler(self, train_dataset: object = None) -> Sampler[int]:
        assert isinstance(self.train_dataset, Dataset)
        return SequentialSampler(self.train_dataset)

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        started = now()
        found = super()._precompute_ref_logps(dataset, name, batch_size)
        self.reference = now() - started
        return found

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *more: Any) -> torch.Tensor:
        self.tokens += inputs["input_ids"].numel()
        loss: torch.Tensor = super().training_step(model, inputs, *more)  # type: ignore[no-untyped-call]
        self.losses.append(loss.item())
        return loss
