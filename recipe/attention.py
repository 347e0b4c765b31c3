"""Execution: attention within a pack, where two answers share their prompt.

A token sees its prompt and its own answer up to itself, nothing of the other answer and nothing of other pairs, and no
token that is masked. It is registered with Transformers under a name and gets its pack with each forward call, so that
any base goes through it whose attention is called by Transformers' interface (the Llama and Mistral families).

On CUDA it is FlexAttention with a block mask over the pack; elsewhere two small calls a pair, which is not quadratic in
the pack. Both have the same rule, `sees`.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import repeat_kv

from recipe.pack import PROMPT, Pack

NAME = "notus_pairs"
BLOCK = 128  # tokens of a block of FlexAttention's
GRAPHS = 64


def pairs_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: object,  # noqa: ARG001 - the interface passes one
    scaling: float | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within a pack; called by the model's attention layers.

    Args:
        module: The layer, unused but for what Transformers' own wrapper reads of it.
        query: (1, heads, T, head width).
        key: (1, key heads, T, head width).
        value: As `key`.
        attention_mask: Not used: the pack says who sees whom.
        scaling: Of the scores.
        sliding_window: Tokens that a token sees, itself included; by true positions.
        options: `pack`, as the model was called with.

    Returns:
        (1, T, heads, head width), and no weights.
    """
    pack: Pack | None = options.get("pack")
    if pack is None:
        raise ValueError(
            "this model was made for packs: load it with another attn_implementation to call it otherwise"
        )
    if query.is_cuda:
        return over_blocks(module, query, key, value, pack, sliding_window, scaling), None
    return over_pairs(query, key, value, pack, sliding_window, scaling), None


def over_blocks(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    pack: Pack,
    sliding_window: int | None,
    scaling: float | None,
) -> torch.Tensor:
    """Attend in one call over the blocks of the pack that somebody sees: (1, T, heads, head width)."""
    mask = _once(pack, sliding_window, lambda: block_mask(pack, sliding_window))
    _allow_graphs()
    if torch.is_autocast_enabled(query.device.type):  # it takes one dtype, and autocast knows nothing of it
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    out: torch.Tensor
    out, _ = flex_attention_forward(module, query, key, value, mask, scaling=scaling)
    return out


def over_pairs(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    pack: Pack,
    sliding_window: int | None,
    scaling: float | None,
) -> torch.Tensor:
    """Attend in two calls a pair: (1, T, heads, head width)."""
    masks = _once(
        pack, sliding_window, lambda: [pair_mask(pack, n, sliding_window) for n in range(pack.pairs)]
    )
    repeats = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, repeats), repeat_kv(value, repeats)
    outs = []
    for (start, chosen, rejected, end), (first, second) in zip(pack.spans, masks, strict=True):
        both = slice(start, rejected)
        outs.append(attend(query[:, :, both], key[:, :, both], value[:, :, both], first, scaling))
        keys, values = (
            torch.cat([one[:, :, start:chosen], one[:, :, rejected:end]], dim=2) for one in (key, value)
        )
        outs.append(attend(query[:, :, rejected:end], keys, values, second, scaling))
    fill = query.shape[2] - pack.spans[-1].end
    outs.append(outs[0].new_zeros(*query.shape[:2], fill, value.shape[-1]))
    return torch.cat(outs, dim=2).transpose(1, 2).contiguous()


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Return the attention of (1, heads, queries, width) over (1, heads, keys, width) under a bool mask."""
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)


def sees(pack: Pack, query: torch.Tensor, key: torch.Tensor, sliding_window: int | None) -> torch.Tensor:
    """Say whether the tokens at the places `query` see those at the places `key` (which broadcast): bool.

    A sequence's first token sees itself even where it is masked: the softmax of nothing is not a number. Nobody sees
    such a one, and nothing is learnt from it.
    """
    return rule_of(pack, sliding_window)(query, key)


def rule_of(pack: Pack, sliding_window: int | None) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return `sees` of a pack, over plain tensors: FlexAttention compiles it once for all packs."""
    positions, pair, side, visible = pack.positions, pack.pair, pack.side, pack.visible

    def rule(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        back = positions[query] - positions[key]
        same = (pair[query] == pair[key]) & ((side[key] == PROMPT) | (side[key] == side[query]))
        near = back >= 0 if sliding_window is None else (back >= 0) & (back < sliding_window)
        alone = (query == key) & (positions[query] == 0)
        return (same & near & visible[key]) | alone

    return rule


def pair_mask(pack: Pack, number: int, sliding_window: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return who sees whom in pair `number`: of prompt and chosen, and of rejected over prompt and rejected."""
    start, chosen, rejected, end = pack.spans[number]
    first, prompt, last = (
        torch.arange(*bounds, device=pack.positions.device)
        for bounds in ((start, rejected), (start, chosen), (rejected, end))
    )
    over = torch.cat([prompt, last])
    return (
        sees(pack, first[:, None], first[None], sliding_window),
        sees(pack, last[:, None], over[None], sliding_window),
    )


def block_mask(pack: Pack, sliding_window: int | None) -> BlockMask:
    """Return who sees whom in the whole pack, for FlexAttention.

    It is made a row of blocks at a time: the whole of it, token by token, would take as much memory as a layer.
    """
    length = len(pack.input_ids)
    count = -(-length // BLOCK)
    every = torch.arange(count * BLOCK, device=pack.positions.device)
    inside, every = every < length, every.clamp(max=length - 1)
    seen = []
    for start in range(0, count * BLOCK, BLOCK):
        rows = slice(start, start + BLOCK)
        square = sees(pack, every[rows, None], every[None], sliding_window) & inside[rows, None] & inside
        seen.append(square.view(BLOCK, count, BLOCK).sum((0, 2)))
    tokens = torch.stack(seen)
    full = tokens == BLOCK * BLOCK
    some = (tokens > 0) & ~full
    rule = rule_of(pack, sliding_window)

    def mask(_: torch.Tensor, __: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return rule(query, key)

    return BlockMask.from_kv_blocks(
        *_in_order(some), *_in_order(full), BLOCK_SIZE=BLOCK, mask_mod=mask, seq_lengths=(length, length)
    )


def _in_order(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how many blocks each row of blocks has, and which first: int32 (1, 1, rows) and (1, 1, rows, columns)."""
    first = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[None, None], first.int()[None, None]


@functools.cache
def _allow_graphs() -> None:
    """Let Dynamo compile as often as there are windows, with and without gradients: up to three graphs each.

    Beyond its limit it runs FlexAttention uncompiled, with all scores in memory.
    """
    torch._dynamo.config.recompile_limit = max(GRAPHS, torch._dynamo.config.recompile_limit)


def _once(pack: Pack, window: int | None, make: Callable[[], Any]) -> Any:
    """Make a pack's masks in the first layer that needs them, and keep them for the others."""
    if window not in pack.masks:
        pack.masks[window] = make()
    return pack.masks[window]


AttentionInterface.register(NAME, pairs_attention)
