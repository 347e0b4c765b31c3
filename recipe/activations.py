"""Execution: what a decoder layer keeps for its backward pass, measured on tensors without data.

A layer or two of the base, adapted as the recipe says, run forward as training runs them.
"""

import copy
from dataclasses import dataclass

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AutoModel, PretrainedConfig, PreTrainedModel

from recipe.schema import Recipe

UNMASKED = "notus_unmasked"
ROUGH = (
    70  # bytes a token and unit of width; of 20 families that can be measured in bfloat16 most keep 25 to 70
)


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


def base_dtype(config: PretrainedConfig, recipe: Recipe) -> str:
    """Return the dtype of the base in memory, by its name."""
    asked = recipe.science.torch_dtype
    return asked if asked != "auto" else str(config.dtype or "bfloat16").removeprefix("torch.")


_ACTIVATIONS: dict[object, Activations] = {}


@dataclass(frozen=True)
class _Run:
    dtype: torch.dtype
    attention: str
    masked: bool
    length: int


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
