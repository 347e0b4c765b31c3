"""Execution: the memory that a training needs on one device, and which layers it recomputes so that it fits.

A recomputed layer keeps its input alone for the backward pass, and runs forward a second time. What another one keeps
is measured, not guessed: `activations` runs a layer or two of the base, adapted as the recipe says, on fake tensors.
"""

import copy
import math
from dataclasses import dataclass
from typing import cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    AttentionInterface,
    AutoModel,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)
from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE

from recipe.errors import UserError
from recipe.flops import Size
from recipe.pack import VOCAB_CHUNK
from recipe.packed import TOKENS
from recipe.schema import Execution, Recipe

UNMASKED = "notus_unmasked"
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
OPTIMIZER_STATES = {"rmsprop": 1, "adamw_torch": 2, "sgd": 0}  # float32 values a parameter
TRL_VOCAB_CHUNK = 32768  # VOCAB_CHUNK of TRL's own head, which `engine: trl` goes through
RESERVE = 1_000_000_000  # the process itself: a CUDA context, the libraries, their workspaces; about as much on a CPU
ROUGH = (
    70  # bytes a token and unit of width; of 20 families that can be measured in bfloat16 most keep 25 to 70
)
MARGIN = 0.06  # of a device, left to the allocator: packs differ in size, and so do the holes that they leave


@dataclass(frozen=True)
class Kept:
    """Bytes that are kept for the backward pass, of `tokens` tokens: `fixed + each * tokens`.

    `fixed` are copies of weights in the dtype of autocast: small, but where the base itself is float32.
    """

    fixed: float
    each: float

    def bytes(self, tokens: int) -> float:
        """Return the bytes that `tokens` tokens keep."""
        return self.fixed + self.each * tokens


@dataclass(frozen=True)
class Activations:
    """What is kept by one decoder layer, by one that is recomputed, and by all that is not a decoder layer.

    `measured` is false where the base's family can't be run on fake tensors: then it is `ROUGH`.
    """

    layer: Kept
    recomputed: Kept
    ends: Kept
    measured: bool = True


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


def base_dtype(config: PretrainedConfig, recipe: Recipe) -> str:
    """Return the dtype of the base in memory, by its name."""
    asked = recipe.science.torch_dtype
    return asked if asked != "auto" else str(config.dtype or "bfloat16").removeprefix("torch.")


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


def activations(config: PretrainedConfig, recipe: Recipe) -> Activations:
    """Measure what the adapted base keeps for the backward pass: every storage once, and no weight.

    One layer and two, of one sequence and of two, give what a layer keeps of a token, and the rest. Where layers are of
    several types, it is the type that keeps most.

    It is an upper figure where Liger's RMSNorm, SwiGLU and rotary embedding take the place of Transformers' own.
    Attention over packs is taken to keep what FlashAttention does: the block masks of FlexAttention on a GPU, and the
    keys that are copied together on a CPU, are not in it.
    """
    science, text = recipe.science, config.get_text_config()
    padded = recipe.execution.engine == "trl" and recipe.execution.attn_implementation != "flash_attention_2"
    attention = recipe.execution.attn_implementation if padded else UNMASKED
    # Eager attention keeps all scores of a sequence, the others as much of a token in any.
    length = science.max_length if padded else 256
    run = _Run(getattr(torch, base_dtype(config, recipe)), attention, padded, length)
    adapter = (science.lora_r, *sorted(science.lora_target_modules))
    key = (text.to_json_string(use_diff=False), science.bf16, adapter, run)
    if key not in _ACTIVATIONS:
        types = sorted(set(getattr(text, "layer_types", None) or ["all alike"]))
        each = [_measure(_of_type(text, kind), recipe, run) for kind in types]
        found = [one for one in each if one is not None]
        _ACTIVATIONS[key] = max(found, key=lambda one: one.layer.each) if found else _rough(text, recipe, run)
    return _ACTIVATIONS[key]


def _unmasked_attention(
    module: torch.nn.Module,  # noqa: ARG001 - the interface passes one
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: object,  # noqa: ARG001
    scaling: float | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Stand in for attention that needs no mask and does not repeat the keys: what FlashAttention keeps."""
    out = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(UNMASKED, _unmasked_attention)

_BASES: dict[str, PreTrainedModel] = {}
_ACTIVATIONS: dict[object, Activations] = {}


@dataclass(frozen=True)
class _Run:
    dtype: torch.dtype
    attention: str
    masked: bool
    length: int


def _peak_of_layers(layers: int, every: int, layer: float, recomputed: float) -> float:
    """Return the most bytes that the layers keep: after the forward pass, or when the last one is run again.

    Backward goes from the last layer to the first, and gives free what it has passed.
    """
    count = recomputed_layers(layers, every)
    after_forward = (layers - count) * layer + count * recomputed
    passed = layers - 1 - (count - 1) * every if count else layers
    return after_forward + max(0, 1 - passed) * layer


def _measure(config: PretrainedConfig, recipe: Recipe, run: _Run) -> Activations | None:
    """Return what one layer of `config` and the ends keep, or None where its family can't be run so."""
    try:
        one, two = (_linear(_shrunk(config, layers), recipe, run) for layers in (1, 2))
    except Exception:  # any family's own code runs here: some can't be cut to a layer, or look at values
        return None
    layer = Kept(two.fixed - one.fixed, two.each - one.each)
    ends = Kept(max(0.0, one.fixed - layer.fixed), max(0.0, one.each - layer.each))
    return Activations(layer, _input(config, run), ends)


def _rough(config: PretrainedConfig, recipe: Recipe, run: _Run) -> Activations:
    each = ROUGH * int(config.hidden_size) * (1 if recipe.science.bf16 or run.dtype.itemsize == 2 else 2)
    return Activations(Kept(0, each), _input(config, run), Kept(0, 0), measured=False)


def _input(config: PretrainedConfig, run: _Run) -> Kept:
    return Kept(0, run.dtype.itemsize * int(config.hidden_size))


def _linear(config: PretrainedConfig, recipe: Recipe, run: _Run) -> Kept:
    """Return what a base of so few layers keeps, from one sequence and from two."""
    model, mode = _adapted(config, recipe, run)
    with mode:
        first, second = (
            kept_bytes(model, rows, run.length, masked=run.masked, bf16=recipe.science.bf16)
            for rows in (1, 2)
        )
    each = (second - first) / run.length
    return Kept(first - each * run.length, each)


def kept_bytes(model: torch.nn.Module, rows: int, length: int, *, masked: bool, bf16: bool) -> int:
    """Return the bytes that a forward pass keeps for the backward pass: every storage once, and no weight.

    Args:
        model: The adapted base without its head, real or fake, on the CPU.
        rows: Sequences of the batch.
        length: Tokens of each.
        masked: Whether attention gets a mask, as it does where sequences are padded.
        bf16: Whether it runs under autocast.
    """
    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
    seen: dict[int, torch.UntypedStorage] = {}  # holds on to them: no two at one address

    def count(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage._cdata not in weights:
            seen[storage._cdata] = storage
        return saved

    mask = torch.ones(rows, 1, length, length, dtype=torch.bool) if masked else None
    with saved_tensors_hooks(count, lambda saved: saved), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        model(
            input_ids=torch.zeros(rows, length, dtype=torch.long),
            attention_mask=mask,
            position_ids=torch.arange(length).expand(rows, -1),
            use_cache=False,
        )
    return sum(storage.nbytes() for storage in seen.values())


def _adapted(config: PretrainedConfig, recipe: Recipe, run: _Run) -> tuple[PreTrainedModel, FakeTensorMode]:
    """Return the base of `config`, headless, with the adapter in float32, and the mode that its fake weights are of."""
    science = recipe.science
    with torch.device("meta"):
        try:
            model = _headless(config, run.dtype, run.attention)
        except ValueError:  # a family that has no such attention
            model = _headless(config, run.dtype, "eager")
        model.requires_grad_(False)
        targets = list(science.lora_target_modules)
        inject_adapter_in_model(LoraConfig(r=science.lora_r, target_modules=targets), model)
    model.enable_input_require_grads()  # type: ignore[no-untyped-call]  # the first layer then keeps as much as the others
    mode = FakeTensorMode()
    with mode:
        for path, module in model.named_modules():
            for name, weight in module._parameters.items():
                if weight is not None:
                    lora = ".lora_" in path
                    empty = torch.empty(weight.shape, dtype=torch.float32 if lora else weight.dtype)
                    module._parameters[name] = torch.nn.Parameter(empty, requires_grad=lora)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return model.train(), mode


def _headless(config: PretrainedConfig, dtype: torch.dtype, attention: str) -> PreTrainedModel:
    model: PreTrainedModel = AutoModel.from_config(  # type: ignore[no-untyped-call]
        config, dtype=dtype, attn_implementation=attention
    )
    return model


def _shrunk(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    return config


def _of_type(config: PretrainedConfig, kind: str) -> PretrainedConfig:
    """Return a configuration of two layers of one type."""
    config = copy.deepcopy(config)
    if vars(config).get("layer_types"):  # else it follows from other keys
        config.layer_types = [kind, kind]
    return config
