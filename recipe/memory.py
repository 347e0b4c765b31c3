"""Execution: the memory that a training needs on one device, and which layers it recomputes so that it fits.

A recomputed layer keeps its input alone for the backward pass, and runs forward a second time. What another one keeps
is measured, not guessed: see `recipe.activations`.
"""

import math
from typing import cast

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE

from recipe.activations import activations, base_dtype
from recipe.errors import UserError
from recipe.flops import Size
from recipe.pack import VOCAB_CHUNK
from recipe.packed import TOKENS
from recipe.schema import Execution, Recipe

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
OPTIMIZER_STATES = {"rmsprop": 1, "adamw_torch": 2, "sgd": 0}  # float32 values a parameter
TRL_VOCAB_CHUNK = 32768  # VOCAB_CHUNK of TRL's own head, which `engine: trl` goes through
RESERVE = 1_000_000_000  # the process itself: a CUDA context, the libraries, their workspaces; about as much on a CPU
MARGIN = 0.06  # of a device, left to the allocator: packs differ in size, and so do the holes that they leave


def memory_bytes(config: PretrainedConfig, recipe: Recipe, tokens: int, every: int) -> int:
    """Return the bytes of one device's memory that training takes at its peak: the sum of `memory_terms`."""
    return sum(memory_terms(config, recipe, tokens, every).values())


def memory_terms(config: PretrainedConfig, recipe: Recipe, tokens: int, every: int) -> dict[str, int]:
    """Return the bytes of one device's memory that training takes at its peak, by what they are for.

    Args:
        config: The base's configuration.
        recipe: The recipe.
        tokens: Of a micro-batch, padding included. Taken as if all belonged to answers.
        every: Every how many decoder layers one is recomputed; 0: none is.

    Returns:
        base: Its weights in its dtype.
        adapter: Float32: weights, gradient, the optimizer's state, and the buckets in which devices share gradients.
        activations: What all layers keep, at the moment when it is most; see `_peak_of_layers`.
        gradients: Of the activations of the layer that the backward pass is in: as much again as it keeps.
        head: A tile of the logits, of `VOCAB_CHUNK` columns, in float32; the hidden states that it is made from, and
            their gradient in float32.
        reserve: `RESERVE`.
    """
    dtype = base_dtype(config, recipe)
    model = empty_base(config)
    text = config.get_text_config()
    found = activations(config, recipe)
    layer = found.layer.bytes(tokens)
    columns = VOCAB_CHUNK["cuda"] if recipe.execution.engine == "packed" else TRL_VOCAB_CHUNK
    tile = min(tokens, TOKEN_CHUNK_SIZE) * columns  # it has all columns, whatever the vocabulary
    hidden = tokens * int(text.hidden_size)
    terms = {
        "base": model.num_parameters() * BYTES[dtype],
        "adapter": adapter_parameters(model, recipe) * 4 * (3 + OPTIMIZER_STATES[recipe.science.optim]),
        "activations": _peak_of_layers(
            int(text.num_hidden_layers), every, layer, found.recomputed.bytes(tokens)
        )
        + found.ends.bytes(tokens),
        "gradients": found.layer.each * tokens,
        "head": 4 * tile + (2 * BYTES[dtype] + 4) * hidden,
        "reserve": RESERVE,
    }
    return {name: math.ceil(size) for name, size in terms.items()}


def micro_batch_tokens(recipe: Recipe, pairs: int, device: str) -> int:
    """Return the most tokens of a micro-batch, padding included.

    Args:
        recipe: The recipe.
        pairs: Of a micro-batch, with `engine: trl`.
        device: What it lies on, `cpu` or `cuda`.
    """
    longest = 2 * recipe.science.max_length
    if recipe.execution.engine == "trl":
        return pairs * longest
    # A pair that is longer than the budget has a pack to itself.
    return max(recipe.execution.pack_tokens or TOKENS[device], longest)


def choose_checkpointing(
    config: PretrainedConfig, recipe: Recipe, tokens: int, device_bytes: int | None
) -> int:
    """Return every how many decoder layers one is recomputed: what the recipe asks for, or as few as fit.

    Args:
        config: The base's configuration.
        recipe: The recipe.
        tokens: Of a micro-batch, padding included.
        device_bytes: The memory of a device; None where no limit is known.

    Returns:
        0 if no layer is, 1 if each is. For `auto` the one that recomputes least within `device_bytes` less `MARGIN`,
        and 1 if none does; without a limit 0.
    """
    asked = asked_checkpointing(recipe.execution)
    if asked is not None:
        return asked
    if device_bytes is None:
        return 0
    layers = int(config.get_text_config().num_hidden_layers)
    least_first: list[int] = [0, *range(layers, 1, -1)]
    for every in least_first:
        if fits(memory_bytes(config, recipe, tokens, every), device_bytes):
            return every
    return 1


def fits(needed: int, device_bytes: int) -> bool:
    """Whether `needed` bytes leave a device its margin."""
    return needed <= (1 - MARGIN) * device_bytes


def asked_checkpointing(execution: Execution) -> int | None:
    """Return every how many layers `gradient_checkpointing` asks for: 0 for false, 1 for true; None for `auto`."""
    asked = execution.gradient_checkpointing
    return None if asked == "auto" else int(asked)


def recomputed_layers(layers: int, every: int) -> int:
    """Return how many of `layers` decoder layers are recomputed: Transformers counts from the first one."""
    return math.ceil(layers / every) if every else 0


def empty_base(config: PretrainedConfig) -> PreTrainedModel:
    """Return the base without its weights, on the meta device: a 7B model in a second. Not to be changed.

    Raises:
        UserError: It is no causal language model.
    """
    key = config.to_json_string(use_diff=False)
    if key not in _BASES:
        with torch.device("meta"):
            try:
                model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
            except ValueError:
                raise UserError(
                    f"model_name_or_path: {config.model_type} is no causal language model; name one that is"
                ) from None
        _BASES.clear()  # one at a time is enough
        _BASES[key] = model
    return _BASES[key]


_BASES: dict[str, PreTrainedModel] = {}


def adapter_parameters(model: PreTrainedModel, recipe: Recipe) -> int:
    """Return the parameters of the recipe's LoRA on a base."""
    science = recipe.science
    return sum(
        science.lora_r * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.rpartition(".")[2] in science.lora_target_modules
    )


def size_of(model: PreTrainedModel, adapter: int) -> Size:
    """Return what is counted of a base and an adapter of so many parameters."""
    text = model.config.get_text_config()
    head, table = model.get_output_embeddings(), model.get_input_embeddings()  # type: ignore[no-untyped-call]
    tied = head is not None and head.weight is table.weight
    looked_up = 0 if tied else cast("torch.nn.Embedding", table).weight.numel()
    heads = int(text.num_attention_heads)
    width = heads * int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    return Size(model.num_parameters() - looked_up, adapter, int(text.num_hidden_layers), width)


def _peak_of_layers(layers: int, every: int, layer: float, recomputed: float) -> float:
    """Return the most bytes that the layers keep: after the forward pass, or when the last one is run again.

    Backward goes from the last layer to the first, and gives free what it has passed.
    """
    count = recomputed_layers(layers, every)
    after_forward = (layers - count) * layer + count * recomputed
    passed = layers - 1 - (count - 1) * every if count else layers
    return after_forward + max(0, 1 - passed) * layer
