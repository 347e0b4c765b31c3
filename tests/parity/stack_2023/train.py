"""DPO with LoRA: trl 0.7.4's DPOTrainer over peft 0.6.1, on real processes, with every step dumped."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PrinterCallback, TrainingArguments, set_seed
from trl import DPOTrainer  # type: ignore[attr-defined]  # exported differently today

from .chat import load_tokenizer, texts_of
from .processes import gathered, in_processes


@dataclass(frozen=True)
class Recipe:
    """Inputs, output and recipe; the names are the command's."""

    model: Path
    rows: Path
    test_size: int
    out: Path
    learning_rate: float
    warmup_ratio: float
    beta: float
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    bf16: bool
    batch_size: int
    accumulation: int
    epochs: int
    seed: int
    max_length: int
    max_prompt_length: int


def dump_training(recipe: Recipe, processes: int) -> str:
    """Train, and write what happened into the folder `recipe.out`.

    - initial_adapter.safetensors: LoRA's tensors before training, under the names of a saved adapter;
    - final_adapter/: as peft saves it;
    - steps.json: an object an optimizer step: `loss`, the mean of its micro-batches' means; `rewards/chosen` and
      `rewards/rejected`, means over all its pairs; `learning_rate` of this very step; `grad_norm` before clipping;
      and, by micro-batch, then rank, then place, `prompts` and `losses` of the pairs;
    - facts.json: sizes, and `dropout`: the p of all dropout modules as training began.
    """
    recipe.out.mkdir(parents=True, exist_ok=True)
    in_processes(processes, _train, recipe)
    steps = json.loads((recipe.out / "steps.json").read_text(encoding="utf-8"))
    losses = [step["loss"] for step in steps]
    return f"train: {len(steps)} steps, loss {losses[0]:.4f} ... {losses[-1]:.4f}, in {recipe.out}"


def _train(recipe: Recipe) -> None:
    datasets.disable_progress_bar()
    set_seed(recipe.seed)
    rows = [json.loads(line) for line in recipe.rows.open(encoding="utf-8")]
    # alignment-handbook's get_datasets, then Notus v1's run_dpo.py.
    shuffled = datasets.Dataset.from_list(rows).shuffle(seed=42)
    train = shuffled.train_test_split(test_size=recipe.test_size, seed=recipe.seed, shuffle=True)["train"]
    tokenizer = load_tokenizer(str(recipe.model))
    train = train.map(texts_of, fn_kwargs={"tokenizer": tokenizer}, remove_columns=train.column_names)
    model = AutoModelForCausalLM.from_pretrained(str(recipe.model), torch_dtype="auto")
    # The original loaded onto a device, by way of empty tensors: no draw between its set_seed and LoRA's init. This
    # plain load has drawn.
    set_seed(recipe.seed)
    with TemporaryDirectory() as scratch:
        trainer = _Recorder(
            model,
            None,
            beta=recipe.beta,
            args=TrainingArguments(**_options(recipe, scratch)),
            train_dataset=train,
            tokenizer=tokenizer,
            max_length=recipe.max_length,
            max_prompt_length=recipe.max_prompt_length,
            peft_config=LoraConfig(
                r=recipe.lora_r,
                lora_alpha=recipe.lora_alpha,
                lora_dropout=recipe.lora_dropout,
                bias="none",
                task_type="CAUSAL_LM",
                target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            ),
        )
        first = {name: one.clone() for name, one in get_peft_model_state_dict(trainer.model).items()}
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    steps = trainer.steps_of_all_ranks()
    if not trainer.is_world_process_zero():
        return
    save_file(first, str(recipe.out / "initial_adapter.safetensors"))
    tuned: Any = trainer.model
    tuned.save_pretrained(str(recipe.out / "final_adapter"), safe_serialization=True)
    facts = {"train_rows": len(train), "steps": len(steps), "dropout": trainer.dropout}
    for name, content in (("steps", steps), ("facts", facts)):
        (recipe.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _options(recipe: Recipe, scratch: str) -> dict[str, Any]:
    return {
        "output_dir": scratch,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_ratio": recipe.warmup_ratio,
        "optim": "rmsprop",
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "seed": recipe.seed,
        "bf16": recipe.bf16,
        "use_cpu": True,
        "ddp_backend": "gloo",
        "remove_unused_columns": False,
        "evaluation_strategy": "no",
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "log_level_replica": "error",
    }


class _Recorder(DPOTrainer):
    """Notes each micro-batch's pairs and each step's learning rate and gradient norm; changes nothing."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.steps: list[dict[str, Any]] = []
        self.pending: list[dict[str, list[Any]]] = []
        self.grad_norm = math.nan
        self.dropout: dict[str, Any] = {}
        super().__init__(*arguments, **options)
        self.clip = self.accelerator.clip_grad_norm_
        self.accelerator.clip_grad_norm_ = self._clip

    def get_batch_metrics(self, model: Any, batch: dict[str, Any], *rest: Any, **options: Any) -> Any:
        if not self.dropout:
            modules = [one for one in model.modules() if isinstance(one, torch.nn.Dropout)]
            self.dropout = {"modules": len(modules), "p": sorted({one.p for one in modules})}
        self.pending.append({"prompts": batch["prompt"]})
        return super().get_batch_metrics(model, batch, *rest, **options)  # type: ignore[misc]

    def dpo_loss(self, *arguments: Any, **options: Any) -> Any:
        """All arguments and results: float32 tensors, one number a pair of the micro-batch."""
        found = super().dpo_loss(*arguments, **options)  # type: ignore[misc]
        for name, values in zip(("losses", "rewards/chosen", "rewards/rejected"), found, strict=True):
            self.pending[-1][name] = values.tolist()
        return found

    def create_optimizer(self, *arguments: Any) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = super().create_optimizer(*arguments)
        optimizer.register_step_pre_hook(self._step)
        return optimizer

    def steps_of_all_ranks(self) -> list[dict[str, Any]]:
        """Return what steps.json holds."""
        ranks: list[list[dict[str, Any]]] = gathered(self.steps)
        return [_of_all(*step) for step in zip(*ranks, strict=True)]

    def _clip(self, *arguments: Any, **options: Any) -> Any:
        norm = self.clip(*arguments, **options)
        self.grad_norm = norm.item()
        return norm

    def _step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        learning_rate = optimizer.param_groups[0]["lr"]
        self.steps.append(
            {"learning_rate": learning_rate, "grad_norm": self.grad_norm, "micro_batches": self.pending}
        )
        self.pending = []


def _of_all(*ranks: dict[str, Any]) -> dict[str, Any]:
    """Return one optimizer step from what each rank noted of it.

    Raises:
        ValueError: The ranks stepped with gradients of their own, as they do where an epoch is shorter than an
            optimizer step: the Trainer steps at the epoch's end, but Accelerate did not let DDP average there.
    """
    first = ranks[0]
    for name in ("learning_rate", "grad_norm"):
        if any(rank[name] != first[name] for rank in ranks):
            raise ValueError(f"ranks differ in {name}: {[rank[name] for rank in ranks]}")

    def pairs(name: str) -> list[Any]:
        micro_batches = zip(*(rank["micro_batches"] for rank in ranks), strict=True)
        return [value for micro_batch in micro_batches for one in micro_batch for value in one[name]]

    def mean(name: str) -> float:
        values = pairs(name)
        return math.fsum(values) / len(values)

    # Each micro-batch counts the same, the short one at an epoch's end as well: such was the gradient.
    means = [math.fsum(one["losses"]) / len(one["losses"]) for rank in ranks for one in rank["micro_batches"]]
    return {
        "loss": math.fsum(means) / len(means),
        "rewards/chosen": mean("rewards/chosen"),
        "rewards/rejected": mean("rewards/rejected"),
        "learning_rate": first["learning_rate"],
        "grad_norm": first["grad_norm"],
        "prompts": pairs("prompts"),
        "losses": pairs("losses"),
    }
