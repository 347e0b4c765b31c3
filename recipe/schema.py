"""A recipe: its *science* decides which model comes out, its *execution* only how fast and where.

How the model is measured (*evaluation*) and what it is called (*release*) decide neither.

A recipe is flat YAML with the alignment-handbook's own key names; `SECTION_OF` sorts each key into its
section. Code that reads one section never reads the other, but where they meet: in the plan, and in what the trainer
is told.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recipe.evaluation import Evaluation
from recipe.gpus import GPUS, gpu_named
from recipe.section import Positive, Section

Source = Literal["builtin", "local", "hub"]
BUILTIN = "builtin:"
MASKING = ("eager", "sdpa")  # implementations of attention that can hide a token from the others
DATA_SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")


def source_of(name: str) -> Source:
    """Say where a base or a data set named in a recipe comes from.

    `builtin:` names are made on the spot; a name that starts like a path, ends like a data file, or exists is
    local; all else is a repository of the Hub.
    """
    if name.startswith(BUILTIN):
        return "builtin"
    if name.startswith(("/", "./", "../", "~")) or name.endswith(DATA_SUFFIXES) or Path(name).exists():
        return "local"
    return "hub"


def placeless(name: str) -> str:
    """Return a base's or data set's name without the folder that a local one lies in.

    Where it lies is not science; what is in it is, and `recipe.fetch` pins that by sha256.
    """
    return f"local:{whole_path(name).name}" if source_of(name) == "local" else name


def split_column(name: str) -> tuple[str, str | None]:
    """Return the file and the column that `FILE` or `FILE:COLUMN` names; a file that has a colon is found too."""
    file, colon, column = name.rpartition(":")
    if Path(name).expanduser().is_file() or "/" in column or not (colon and file and column):
        return name, None
    return file, column


def whole_path(name: str | Path) -> Path:
    """Return an absolute path without `..` and `~`; links are not followed, as what they lead to has other names."""
    return Path(os.path.abspath(Path(name).expanduser()))  # noqa: PTH100 - resolve() follows links


def is_commit(revision: str) -> bool:
    """Whether `revision` is a full commit id, the only revision that can't move."""
    return len(revision) == 40 and all(character in "0123456789abcdef" for character in revision)


class Science(Section):
    """What decides the model: base, data, template, LoRA, DPO, optimizer, order of the data, seed."""

    # base
    model_name_or_path: str
    model_revision: str = "main"
    torch_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    bf16: bool = False
    tokenizer: str | None = None  # another folder or repository than the base's own
    tokenizer_revision: str = "main"

    # data
    dataset: str
    dataset_revision: str = "main"
    dataset_format: Literal["auto", "ultrafeedback", "argilla", "pairs", "messages", "sharegpt"] = "auto"
    dataset_splits: Annotated[list[str], Field(min_length=1, max_length=2)] = ["train"]
    binarize_by: Literal["ratings", "overall_score"] = "ratings"
    binarize_rejected: Literal["random", "lowest", "next", "other"] = "random"
    binarize_min_margin: Annotated[float, Field(ge=0)] = 0.0
    only_sources: Annotated[list[str], Field(min_length=1)] | None = None
    drop_sources: list[str] = []
    fix_scores: Literal["none", "openbmb"] = "none"
    overrides: str | None = None  # a file of corrections by row id
    contamination: list[str] = []  # files of benchmarks that the prompts are compared with
    drop_contaminated: Literal["none", "exact", "13-gram", "8-gram"] = "none"
    test_size: Positive = 2000
    leave_out: list[Literal["empty_prompt", "empty_response", "equal_answers", "equal_ratings"]] = [
        "empty_prompt",
        "empty_response",
        "equal_answers",
        "equal_ratings",
    ]

    # text
    chat_template: Literal["zephyr", "tokenizer"] = "tokenizer"
    tokenization: Literal["current", "zephyr-2023"] = "current"
    max_length: Positive = 1024
    max_prompt_length: Positive = 512

    # LoRA
    use_peft: Literal[True] = True
    lora_r: Positive
    lora_alpha: Positive
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    lora_target_modules: Annotated[list[str], Field(min_length=1)]

    # DPO
    beta: Annotated[float, Field(gt=0)] = 0.1
    loss_type: Literal["sigmoid"] = "sigmoid"

    # optimizer and schedule
    learning_rate: Annotated[float, Field(gt=0)]
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    optim: Literal["rmsprop", "adamw_torch", "sgd"] = "rmsprop"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    num_train_epochs: Positive = 1
    max_steps: Annotated[int, Field(ge=-1)] = -1

    # The three together are the pairs of an optimizer step and their order. They say how the recipe was
    # written, not how many devices run it today: that is execution.
    per_device_train_batch_size: Positive
    gradient_accumulation_steps: Positive = 1
    num_processes: Positive = 1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42

    @model_validator(mode="after")
    def _room_for_an_answer(self) -> "Science":
        if self.max_prompt_length >= self.max_length:
            message = (
                f"max_prompt_length ({self.max_prompt_length}) must be less than max_length "
                f"({self.max_length}), or no token of an answer is left"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _tokenizer_with_files(self) -> "Science":
        if self.tokenizer and self.tokenizer_source == "builtin":
            raise ValueError(f"tokenizer: {self.tokenizer} is none; give a folder or a Hub repository")
        return self

    @model_validator(mode="after")
    def _zephyr_template_in_2023(self) -> "Science":
        if self.tokenization == "zephyr-2023" and self.chat_template != "zephyr":
            message = "tokenization: zephyr-2023 knows the zephyr template only; set `chat_template: zephyr`"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _something_to_drop(self) -> "Science":
        if self.drop_contaminated != "none" and not self.contamination:
            raise ValueError("drop_contaminated: nothing to compare with; name files in `contamination`")
        both = sorted(set(self.only_sources or ()) & set(self.drop_sources))
        if both:
            raise ValueError(f"drop_sources: {both[0]} is in only_sources too; take it out of one")
        return self

    @property
    def global_batch_size(self) -> int:
        """Pairs of one optimizer step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * self.num_processes

    @property
    def base_source(self) -> Source:
        """Where the base comes from."""
        return source_of(self.model_name_or_path)

    @property
    def tokenizer_source(self) -> Source:
        """Where the tokenizer comes from: the base's place, if it has none of its own."""
        return self.base_source if self.tokenizer is None else source_of(self.tokenizer)

    @property
    def files(self) -> dict[str, str]:
        """The local files that the data are corrected by and compared with: each as the recipe has it, with its key."""
        found = {} if self.overrides is None else {self.overrides: "overrides"}
        return found | {split_column(name)[0]: "contamination" for name in self.contamination}

    def with_files(self, rename: Callable[[str], str]) -> dict[str, Any]:
        """Return the keys that name those files, each file's name replaced by what `rename` makes of it."""
        overrides = None if self.overrides is None else rename(self.overrides)
        named = [split_column(name) for name in self.contamination]
        columns = [rename(file) + ("" if column is None else f":{column}") for file, column in named]
        return {"overrides": overrides, "contamination": columns}

    @property
    def dataset_source(self) -> Source:
        """Where the data come from."""
        return source_of(self.dataset)

    @property
    def unpinned(self) -> list[str]:
        """The keys whose Hub repository is not named by a full commit id."""
        keys = []
        if self.base_source == "hub" and not is_commit(self.model_revision):
            keys.append("model_revision")
        if self.tokenizer and self.tokenizer_source == "hub" and not is_commit(self.tokenizer_revision):
            keys.append("tokenizer_revision")
        if self.dataset_source == "hub" and not is_commit(self.dataset_revision):
            keys.append("dataset_revision")
        return keys

    def canonical(self) -> dict[str, Any]:
        """Return the science as plain values: a local path by its last name only, a set in order."""
        values = self.model_dump(mode="json")
        values["leave_out"] = sorted(set(values["leave_out"]))
        places = ("model_name_or_path", "tokenizer", "dataset")
        return (
            values
            | {key: placeless(values[key]) for key in places if values[key] is not None}
            | self.with_files(lambda name: f"local:{whole_path(name).name}")
        )


class Execution(Section):
    """How fast and where: devices, micro-batches, memory, logs. Another execution, the same losses."""

    runtime: Literal["venv", "docker"] = "venv"  # docker: the stages run in the image, without a network
    accelerator: Literal["any", "cuda"] = "any"  # cuda: refuse a machine without a GPU
    devices: Positive | Literal["auto"] = "auto"
    micro_batch_size: Positive | None = None
    per_device_eval_batch_size: Positive = 4
    gradient_checkpointing: bool | Literal["auto"] | Positive = "auto"  # N: one decoder layer in N
    gradient_checkpointing_kwargs: dict[str, bool] = {"use_reentrant": False}
    engine: Literal["packed", "trl"] = "packed"
    pack_tokens: Positive | None = None  # of a micro-batch of the packed engine
    fused_kernels: bool = True  # of the packed engine, on a GPU, where they are installed
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] = "sdpa"  # of the trl engine
    logging_steps: Positive = 1
    evaluation_strategy: Literal["no", "epoch"] = "no"
    save_strategy: Literal["no", "steps", "epoch"] = "no"  # checkpoints by optimizer steps
    save_steps: Positive = 100  # with `steps`
    save_minutes: Annotated[float, Field(gt=0)] | None = 5.0  # and by time, whatever the strategy
    save_total_limit: Annotated[int, Field(ge=2)] | None = 2  # one to go back to, should the last be torn
    step_timeout: Annotated[float, Field(gt=0)] = 1800.0  # seconds of a micro-batch; then training is stuck
    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = ["tensorboard"]

    # What the plan takes for granted until the base, the data and the GPUs are here.
    assumed_model_type: str | None = None
    assumed_config: dict[str, int | bool] = {}
    assumed_dataset_rows: Positive | None = None
    assumed_mean_tokens: dict[Literal["prompt", "chosen", "rejected", "padded"], Positive] | None = None
    assumed_gpu: str | None = None
    assumed_gpus: Positive | None = None  # of all nodes
    # Of the GPU's peak, until a run has measured it. 8 A100s reached 0.31 with the zephyr recipe in 2023.
    assumed_share_of_peak: Annotated[float, Field(gt=0, le=1)] = 0.3
    gpu_hour_usd: Annotated[float, Field(gt=0)] | None = None  # without it the plan says no cost

    @field_validator("gradient_checkpointing", mode="before")
    @classmethod
    def _which_layers(cls, value: object) -> object:
        if value == "auto" or isinstance(value, bool) or (isinstance(value, int) and value > 0):
            return value
        message = f"gradient_checkpointing: give true, false, auto or every how many layers, not {value!r}"
        raise ValueError(message)

    @field_validator("assumed_mean_tokens")
    @classmethod
    def _of_all_sides(cls, value: dict[str, int] | None) -> dict[str, int] | None:
        missing = {"prompt", "chosen", "rejected"} - set(value or {"prompt", "chosen", "rejected"})
        if missing:
            raise ValueError(
                f"assumed_mean_tokens: {min(missing)} is missing; give prompt, chosen and rejected"
            )
        return value

    @field_validator("assumed_gpu")
    @classmethod
    def _known_gpu(cls, value: str | None) -> str | None:
        if value is not None and gpu_named(value) is None:
            known = ", ".join(gpu.name for gpu in GPUS)
            raise ValueError(f"assumed_gpu: {value!r} is not among the known ones: {known}")
        return value


class Release(Section):
    """Names: what the model is called and where it goes. No number of the model depends on them."""

    model_name: str
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$")] = "v0.1.0"
    hub_model_id: str
    hub_merged_model_id: str
    hub_base_model_id: str | None = None
    hub_dataset_id: str | None = None  # where `publish --data` puts the pairs
    private: bool = False
    license: str = "apache-2.0"
    dataset_license: str | None = None  # of the pairs: what the feedback's licence allows, not the model's
    language: list[str] = ["en"]
    developers: str | None = None
    banner: str | None = None  # of the cards: `builtin:notus`, or a PNG of yours
    banner_alt: str | None = None  # what it shows, for who can't see it; a PNG of yours needs it
    story: str | None = None  # paragraphs of yours, in Markdown, above what the cards say themselves
    why_name: str | None = None
    license_reason: str | None = None
    sources: dict[str, str] = {}  # links by what they lead to: code, paper, demo
    collection: str | None = None  # the title under which the Hub groups the repositories
    tags: list[str] = ["dpo", "preference", "lora"]


class Recipe(BaseModel):
    """A whole recipe, by section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    science: Science
    execution: Execution
    evaluation: Evaluation
    release: Release

    @model_validator(mode="after")
    def _masks_within_a_text(self) -> "Recipe":
        # FlashAttention takes a mask for padding: it would drop the masked tokens' own predictions as well.
        padded = self.execution.engine == "trl"
        masking = self.execution.attn_implementation in MASKING
        if padded and self.science.tokenization == "zephyr-2023" and not masking:
            use = " or ".join(MASKING)
            message = f"attn_implementation: tokenization zephyr-2023 masks tokens within a text; use {use}"
            raise ValueError(message)
        return self

    @property
    def science_sha256(self) -> str:
        """Canonical hash of the science: the same for every spelling of the same recipe."""
        return canonical_sha256(self.science.canonical())

    def flat(self) -> dict[str, Any]:
        """Return every key and its value, in the sections' order, as a recipe file would have them."""
        return {
            key: value
            for section in (self.science, self.execution, self.evaluation, self.release)
            for key, value in section.model_dump(mode="json").items()
        }


SECTIONS: Mapping[str, type[Section]] = {
    "science": Science,
    "execution": Execution,
    "evaluation": Evaluation,
    "release": Release,
}
SECTION_OF: Mapping[str, str] = {key: name for name, cls in SECTIONS.items() for key in cls.model_fields}


def canonical_sha256(value: object) -> str:
    """Return the sha256 (hex) of `value` as JSON with sorted keys and no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
