"""The model that was tuned, what was made of it, and the format of its prompts."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import safe_open

from modelcard.facts.missing import Artifact, missing
from recipe.disk import file_sha256
from recipe.run import Run

# What of a model's configuration decides how many parameters it has; what a plan needs to know before the base is here.
SIZES = (
    "head_dim", "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads",
    "tie_word_embeddings", "vocab_size",
)  # fmt: skip
ADAPTER = "adapter/adapter_model.safetensors"
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class Base:
    """The model that was tuned."""

    name: str
    revision: str
    source: str
    parameters: int
    dtype: str
    model_type: str
    sizes: dict[str, int | bool]


@dataclass(frozen=True)
class Adapter:
    """The adapter's file."""

    sha256: str
    bytes: int
    parameters: int
    dtype: str


@dataclass(frozen=True)
class Merge:
    """The merged weights, held against base and adapter on a few prompts."""

    dtype: str
    prompts: int
    largest_difference: float
    """Of a logit, between the merged weights and base plus adapter."""
    moved_by_training: float
    """How far training moved a logit, at most."""


def read_base(run: Run) -> Base:
    """Read what was tuned.

    Raises:
        MissingFactError: An artifact is not there.
    """
    inputs = Artifact(run, "inputs", "inputs.json")
    config = Artifact(run, "merged", "config.json")  # the base's, but for the dtype
    found: dict[str, int | bool] = config()
    return Base(
        name=inputs("base", "name"),
        revision=inputs("base", "revision"),
        source=inputs("base", "source"),
        parameters=inputs("base", "parameters"),
        dtype=DTYPES.get(inputs("base", "dtype"), inputs("base", "dtype")),
        model_type=config("model_type"),
        sizes={key: found[key] for key in SIZES if found.get(key) is not None},
    )


def read_adapter(run: Run) -> Adapter:
    """Read what the adapter's file is.

    Raises:
        MissingFactError: It is not there.
    """
    path = run.path(ADAPTER)
    if not path.is_file():
        raise missing(path.name)
    parameters, dtypes = 0, set()
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - not a dictionary
            part = file.get_slice(name)
            parameters += prod(part.get_shape())
            dtypes.add(DTYPES.get(part.get_dtype(), part.get_dtype()))
    # The file's own hash: a card must not give the manifest's word for it.
    return Adapter(file_sha256(path), path.stat().st_size, parameters, " and ".join(sorted(dtypes)))


def read_merge(run: Run) -> Merge:
    """Read how far merging moved the model.

    Raises:
        MissingFactError: An artifact is not there.
    """
    probe = Artifact(run, "probe", "probe.json")
    return Merge(
        probe("dtype"), len(probe("prompts")), probe("largest_logit_difference"), probe("moved_by_training")
    )


def prompt_template(folder: Path) -> str:
    """Return the text that a prompt becomes, `{prompt}` in its place, by the tokenizer in `folder`."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():  # nor is it looked for elsewhere
        raise missing("tokenizer.json")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "{prompt}"}], tokenize=False, add_generation_prompt=True
    )
    assert isinstance(text, str)
    return text
