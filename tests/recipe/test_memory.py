"""The memory that a training needs: against real passes on a CPU, and against the cards that it has to fit."""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.profiler import ProfilerActivity, profile
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from recipe.load import load_recipe
from recipe.memory import (
    MARGIN,
    RESERVE,
    UNMASKED,
    activations,
    choose_checkpointing,
    kept_bytes,
    memory_bytes,
    memory_terms,
    recomputed_layers,
)
from recipe.schema import Recipe

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # PEFT's

GB = 10**9
MISTRAL_7B = AutoConfig.for_model("mistral")
ENGINES = pytest.mark.parametrize("engine", ["packed", "trl"])
DTYPES = pytest.mark.parametrize(
    ("dtype", "bf16"), [("float32", False), ("bfloat16", True), ("float32", True)]
)


def recipe(*overrides: str) -> Recipe:
    return load_recipe("notus-7b-v1-lora", ["gradient_checkpointing=auto", "lora_r=8", *overrides])


def small(layers: int, kind: str = "mistral", **keys: Any) -> PretrainedConfig:
    given = {
        "vocab_size": 512,
        "hidden_size": 128,
        "intermediate_size": 448,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
    }
    return AutoConfig.for_model(kind, **(given | keys))


def tuned(model: PreTrainedModel, of: Recipe) -> torch.nn.Module:
    targets = list(of.science.lora_target_modules)
    adapted: torch.nn.Module = get_peft_model(model, LoraConfig(r=of.science.lora_r, target_modules=targets))
    return adapted.train()


# Activations


@DTYPES
@ENGINES
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_fake_layers_keep_what_real_ones_keep(engine: str, attention: str, dtype: str, bf16: bool) -> None:
    of = recipe(
        f"engine={engine}",
        f"attn_implementation={attention}",
        f"torch_dtype={dtype}",
        f"bf16={str(bf16).lower()}",
        "max_length=48",
        "max_prompt_length=24",
    )
    said, padded = activations(small(5), of), engine == "trl"
    assert said.measured
    base = AutoModel.from_config(  # type: ignore[no-untyped-call]
        small(5), dtype=getattr(torch, dtype), attn_implementation=attention if padded else UNMASKED
    )
    model = tuned(base, of)
    base.enable_input_require_grads()
    kept = kept_bytes(model, 3, 48, masked=padded, bf16=bf16)
    assert kept == pytest.approx(5 * said.layer.bytes(3 * 48) + said.ends.bytes(3 * 48), rel=1e-3)


def test_eager_attention_keeps_its_scores() -> None:
    eager, sdpa = (
        activations(MISTRAL_7B, recipe("engine=trl", f"attn_implementation={name}")).layer.each
        for name in ("eager", "sdpa")
    )
    scores = 32 * 1024 * 2  # of one token in one layer, bfloat16: heads x length
    assert eager > sdpa + 2 * scores


def test_a_base_in_float32_keeps_copies_of_its_weights() -> None:
    # Autocast makes them, and the backward pass to a frozen layer's input needs them.
    layer = activations(MISTRAL_7B, recipe("torch_dtype=float32")).layer
    assert layer.fixed > 2 * 218e6  # parameters of a layer
    assert activations(MISTRAL_7B, recipe("torch_dtype=bfloat16")).layer.fixed < 5e6


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_layers_that_keep_most_stand_for_all(attention: str) -> None:
    # Convolutions and attention: which keeps more depends on whether the scores are kept.
    of = recipe("engine=trl", f"attn_implementation={attention}", "lora_target_modules=[w1]")
    conv, full, mixed = (
        activations(small(2, "lfm2", layer_types=types), of)
        for types in (["conv"] * 2, ["full_attention"] * 2, ["conv", "full_attention"])
    )
    assert conv.measured
    assert full.measured
    assert conv.layer.each != full.layer.each
    assert mixed.layer.each == max(conv.layer.each, full.layer.each)


def test_a_family_that_can_not_be_measured_gets_a_rough_figure() -> None:
    bloom = AutoConfig.for_model("bloom", hidden_size=64, n_head=4, n_layer=2)
    found = activations(bloom, recipe("engine=trl", "lora_target_modules=[query_key_value]"))
    assert not found.measured
    assert found.layer.each == 70 * 64


# The whole, against a real training step


@pytest.mark.slow
@DTYPES
@pytest.mark.parametrize("every", [0, 1, 2])
def test_a_real_step_needs_no_more_and_not_much_less(every: int, dtype: str, bf16: bool) -> None:
    of = recipe("engine=packed", f"torch_dtype={dtype}", f"bf16={str(bf16).lower()}")
    terms = memory_terms(small(6), of, 3 * 128, every)
    said = terms["activations"] + terms["gradients"]
    real = peak_of_layers(of, every, rows=3, length=128)
    assert 0.75 * said < real < said


def peak_of_layers(of: Recipe, every: int, rows: int, length: int) -> int:
    """Return the most bytes that passes through 6 layers have at a time, beside weights and their gradients."""
    base = AutoModel.from_config(  # type: ignore[no-untyped-call]
        small(6), dtype=getattr(torch, of.science.torch_dtype), attn_implementation=UNMASKED
    )
    if every:
        base.activation_checkpointing_enable({"use_reentrant": False}, every_n_layers=every)
    model, ids = tuned(base, of), torch.zeros(rows, length, dtype=torch.long)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=of.science.bf16):
            hidden = model(input_ids=ids, use_cache=False).last_hidden_state
        hidden.sum().backward()

    step()  # the gradients of the adapter are there
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    assert seen.profiler is not None
    changes = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes: list[int] = [event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())]
    return max(accumulate(sizes), default=0)


# At real size


@ENGINES
def test_a_7b_base_fits_the_cards_that_it_was_trained_on(engine: str) -> None:
    of = recipe(f"engine={engine}", "lora_r=64")
    every = choose_checkpointing(MISTRAL_7B, of, 4096, 40 * GB)
    assert every > 1
    assert memory_bytes(MISTRAL_7B, of, 4096, every) < 38 * GB
    assert choose_checkpointing(MISTRAL_7B, of, 4096, 80 * GB) == 0
    assert choose_checkpointing(MISTRAL_7B, of, 8192, 40 * GB) == 1
    assert choose_checkpointing(MISTRAL_7B, of, 4096, 24 * GB) == 1
    assert memory_bytes(MISTRAL_7B, of, 4096, 1) < 24 * GB


def test_the_terms_are_what_they_say() -> None:
    of = recipe("lora_r=64", "engine=packed")
    terms = memory_terms(MISTRAL_7B, of, 4096, 0)
    assert terms["base"] == 2 * 7_241_732_096
    assert terms["adapter"] == 4 * 4 * 54_525_952  # weights, gradient, buckets, square_avg
    assert terms["reserve"] == RESERVE
    assert terms["head"] == 4 * 4096 * 8192 + 8 * 4096 * 4096
    assert terms["gradients"] == pytest.approx(terms["activations"] / 32, rel=0.1)
    found, of_all = activations(MISTRAL_7B, of), memory_terms(MISTRAL_7B, of, 4096, 1)
    # The last layer is run again while the inputs of all others are there.
    whole = 32 * found.recomputed.bytes(4096) + found.layer.bytes(4096) + found.ends.bytes(4096)
    assert of_all["activations"] == math.ceil(whole)
    adam = memory_terms(MISTRAL_7B, recipe("lora_r=64", "engine=packed", "optim=adamw_torch"), 4096, 0)
    assert adam["adapter"] - terms["adapter"] == 4 * 54_525_952
    assert adam["base"] == terms["base"]


def test_the_fewer_layers_are_recomputed_the_more_is_needed() -> None:
    of = recipe("lora_r=64")
    needed = [memory_bytes(MISTRAL_7B, of, 4096, every) for every in (1, 2, 4, 8, 16, 32, 0)]
    assert needed == sorted(set(needed))
    assert [recomputed_layers(32, every) for every in (0, 1, 2, 3, 31, 32)] == [0, 32, 16, 11, 2, 1]


def test_transformers_recomputes_as_many_layers_as_are_counted() -> None:
    for every in (1, 2, 4, 5, 6, 7):
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(small(6))  # type: ignore[no-untyped-call]
        model.activation_checkpointing_enable({"use_reentrant": False}, every_n_layers=every)
        layers = [layer.gradient_checkpointing for layer in model.model.layers]
        assert sum(layers) == recomputed_layers(6, every)


# What the recipe asks for


@pytest.mark.parametrize(("asked", "every"), [("true", 1), ("false", 0), ("3", 3), ("1", 1)])
@pytest.mark.parametrize("device", [None, 1, 10**15])
def test_a_recipe_that_says_it_is_obeyed(asked: str, every: int, device: int | None) -> None:
    of = recipe(f"gradient_checkpointing={asked}")
    assert choose_checkpointing(MISTRAL_7B, of, 4096, device) == every


@pytest.fixture
def needs() -> Callable[[int], int]:
    """Return what is needed by how many layers one is recomputed."""
    of = recipe()
    return lambda every: memory_bytes(MISTRAL_7B, of, 4096, every)


def test_auto_recomputes_the_least_that_fits(needs: Callable[[int], int]) -> None:
    of = recipe()
    assert choose_checkpointing(MISTRAL_7B, of, 4096, None) == 0
    for every in (0, 32, 8, 4, 2, 1):
        just = int(needs(every) / (1 - MARGIN)) + 1
        chosen = choose_checkpointing(MISTRAL_7B, of, 4096, just)
        assert recomputed_layers(32, chosen) == recomputed_layers(32, every)
        less = choose_checkpointing(MISTRAL_7B, of, 4096, just - 10**7)
        assert every == 1 or recomputed_layers(32, less) > recomputed_layers(32, every)
    assert choose_checkpointing(MISTRAL_7B, of, 4096, 1) == 1  # the least that there is
