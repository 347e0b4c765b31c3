"""What a card may say: typed facts, each read from an artifact of the run.

A fact whose artifact is missing raises with its name. Nothing is looked up, measured or guessed here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe.disk import read_json
from recipe.load import build_recipe
from recipe.merge import read_probe
from recipe.run import Run
from recipe.schema import Recipe

# What of a model's configuration decides how many parameters it has; what a plan needs to know before the base is here.
SIZES = (
    "head_dim", "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads",
    "tie_word_embeddings", "vocab_size",
)  # fmt: skip


class MissingFactError(Exception):
    """A card needs a fact whose artifact the run does not have."""


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
class Data:
    """The preference data."""

    name: str
    revision: str | None
    source: str
    format: str
    by: str | None
    rows_in: int
    train: int
    heldout: int
    left_out: dict[str, int]
    differ: float | None
    faulty: int | None
    sha256: dict[str, str]
    published: str | None
    """The repository that the pairs are published in, in the same release."""


@dataclass(frozen=True)
class Training:
    """What was trained, on what, and what the held-out pairs said."""

    metrics: dict[str, Any]
    science: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    image: dict[str, str | None]


@dataclass(frozen=True)
class Facts:
    """All that the cards of a run say."""

    recipe: Recipe
    science_sha256: str
    base: Base
    data: Data
    training: Training
    probe: dict[str, Any]
    prompt_template: str
    adapter_sha256: str
    adapter_bytes: int


def read_facts(run: Run, *, with_data: bool = False) -> Facts:
    """Read the facts of a run whose stages up to `merge` are done.

    Args:
        run: The run.
        with_data: Whether the pairs are published in the same release.

    Raises:
        MissingFactError: An artifact is not there.
    """
    try:
        inputs = read_json(run.path("inputs", "inputs.json"))
        data = read_json(run.path("data", "data.json"))
        metrics = read_json(run.path("training", "metrics.json"))
        probe = read_probe(run.folder)
        config = read_json(run.path("merged", "config.json"))  # the base's, but for the dtype
        stages = run.manifest["stages"]
        trained = stages["train"]
        adapter = trained["outputs"]["adapter/adapter_model.safetensors"]
        template = prompt_template(run.path("adapter"))
    except FileNotFoundError as error:
        message = f"the card needs {Path(str(error.filename)).name}, which this run does not have"
        raise MissingFactError(message) from error
    except KeyError as error:
        message = f"the card needs {error}, which this run's manifest does not have"
        raise MissingFactError(message) from error
    base, source, audit = inputs["base"], inputs["data"], data["ultrafeedback"]
    return Facts(
        recipe=run.recipe,
        science_sha256=run.recipe.science_sha256,
        base=Base(
            base["name"],
            base["revision"],
            base["source"],
            base["parameters"],
            probe["dtype"],
            config["model_type"],
            {key: config[key] for key in SIZES if config.get(key) is not None},
        ),
        data=Data(
            name=source["name"],
            revision=source["revision"],
            source=source["source"],
            format=data["format"],
            by=data["by"],
            rows_in=data["rows_in"],
            train=data["train"],
            heldout=data["heldout"],
            left_out=data["left_out"],
            differ=audit["chosen_differs_share"] if audit else None,
            faulty=audit["faulty_completions"] if audit else None,
            sha256=source["sha256"],
            published=run.recipe.release.hub_dataset_id if with_data else None,
        ),
        training=Training(
            metrics,
            run.recipe.science.canonical(),
            trained["versions"],
            trained["seconds"],
            {"digest": None, "revision": None, "build": None, **trained.get("image", {})},
        ),
        probe=probe,
        prompt_template=template,
        adapter_sha256=adapter["sha256"],
        adapter_bytes=adapter["size"],
    )


def for_others(facts: Facts) -> Recipe:
    """Return the recipe without places of the machine that it ran on.

    A local base is named by the repository and the tag that it is released under, and what the plan has to know before
    it is there is said; local data are named by their last name.
    """
    recipe, science = facts.recipe, facts.recipe.science
    values = recipe.flat()
    if facts.base.source == "local" and recipe.release.hub_base_model_id:
        values |= {"model_name_or_path": facts.base.name, "model_revision": facts.base.revision}
        values |= {"assumed_model_type": facts.base.model_type, "assumed_config": facts.base.sizes}
    for key, source in (("tokenizer", science.tokenizer_source), ("dataset", science.dataset_source)):
        if values[key] is not None and source == "local":
            values[key] = f"./{Path(values[key]).name}"
    values |= science.with_files(lambda name: f"./{Path(name).name}")
    return build_recipe(recipe.name, values, where=recipe.name)


def prompt_template(folder: Path) -> str:
    """Return the text that a prompt becomes, `{prompt}` in its place, by the tokenizer in `folder`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "{prompt}"}], tokenize=False, add_generation_prompt=True
    )
    assert isinstance(text, str)
    return text
