"""Execution: a micro-batch of pairs as tensors, laid end to end, each prompt once.

A pair lies as prompt, chosen, rejected. Positions count as if each answer followed its prompt directly, and both
answers' first tokens are predicted from the prompt's last one.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MethodType
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel
from trl.kernels import ChunkedLogProbFunction

from recipe.errors import UserError

PROMPT, CHOSEN, REJECTED = range(3)
SIDES = ("prompt", "chosen", "rejected")
# Columns of the logits that are in memory at a time: on a CPU as many as stay in its cache.
VOCAB_CHUNK = {"cpu": 2048, "cuda": 8192}
NOBODY = -1  # the pair of a token that fills up


class Span(NamedTuple):
    """Where a pair lies in its pack: places in its tokens."""

    start: int
    chosen: int
    rejected: int
    end: int


@dataclass(frozen=True, eq=False)
class Pack:
    """A micro-batch. T tokens, those that fill it up included, N predicted tokens, P pairs.

    Attributes:
        input_ids: int64 (T,).
        positions: int64 (T,), from 0 for each pair, going on after the prompt for both answers.
        pair: int64 (T,), the place of each token's pair in the pack; NOBODY of those that fill up.
        side: int64 (T,), PROMPT, CHOSEN or REJECTED.
        visible: bool (T,), whether later tokens may attend to a token.
        sources: int64 (N,), the token from whose hidden state one is predicted.
        targets: int64 (N,), the id that is there.
        answers: int64 (N,), the answer it belongs to: pair for the chosen ones, P + pair for the rejected ones.
        weight: float32 (P,), what each pair's loss counts; see `recipe.schedule.Place`.
        spans: Where the pairs lie.
        masks: What attention makes of it, once for all layers: by the sliding window of the layer.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    pair: torch.Tensor
    side: torch.Tensor
    visible: torch.Tensor
    sources: torch.Tensor
    targets: torch.Tensor
    answers: torch.Tensor
    weight: torch.Tensor
    spans: tuple[Span, ...]

    masks: dict[int | None, Any] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return len(self.spans)

    def to(self, device: torch.device) -> "Pack":
        """Return the pack with its tensors on `device`, and no masks yet."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return replace(self, masks={}, **tensors)


def lay(rows: Sequence[Mapping[str, Any]], multiple: int = 1) -> Pack:
    """Lay rows (`prompt_ids`, `prompt_mask`, ... and perhaps a `weight`) end to end.

    Args:
        rows: The pairs.
        multiple: Fill up at the end to a multiple of so many tokens, with some that nobody sees.
    """
    sides = [[np.asarray(row[f"{side}_ids"], np.int64) for side in SIDES] for row in rows]
    lengths = np.array([[len(ids) for ids in row] for row in sides], np.int64)  # (P, 3)
    assert lengths[:, PROMPT].all(), "no prompt's last token to predict the answers from"
    flat = lengths.ravel()
    ends = flat.cumsum().reshape(lengths.shape)
    total = int(ends[-1, REJECTED])
    fill = -total % multiple
    pairs = np.arange(len(rows))

    def each(values: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return to each token what is said of its side: (P, 3), or of all pairs' (3,)."""
        return np.broadcast_to(values, lengths.shape).ravel().repeat(flat)

    place = np.arange(total)
    within = place - each(ends - lengths)
    side = each(np.arange(len(SIDES)))
    learnt = side != PROMPT
    prompt_end = each(ends[:, [PROMPT]])
    seen = [np.asarray(row[f"{name}_mask"], np.bool_) for row in rows for name in SIDES]
    tokens = _tensor(np.concatenate([ids for row in sides for ids in row]), fill)
    return Pack(
        input_ids=tokens,
        positions=_tensor(within + learnt * each(lengths[:, [PROMPT]]), fill),
        pair=_tensor(each(pairs[:, None]), fill, NOBODY),
        side=_tensor(side, fill, PROMPT),
        visible=_tensor(np.concatenate(seen), fill),
        sources=_tensor(np.where(within == 0, prompt_end, place)[learnt] - 1),
        targets=tokens[:total][torch.from_numpy(learnt)],
        answers=_tensor(each(pairs[:, None] + [0, 0, len(rows)])[learnt]),
        weight=torch.tensor([row.get("weight", 1.0) for row in rows], dtype=torch.float32),
        spans=tuple(
            Span(end[PROMPT] - length[PROMPT], *end)
            for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
        ),
    )


def _tensor(values: npt.NDArray[Any], fill: int = 0, value: int = 0) -> torch.Tensor:
    """Return values as a tensor, with `fill` times `value` at the end."""
    return torch.from_numpy(np.concatenate([values, np.full(fill, value, values.dtype)]))


def answer_logps(hidden: torch.Tensor, head: torch.nn.Linear, pack: Pack) -> torch.Tensor:
    """Return the summed log-probability of each answer, float64 (2 P,): the chosen ones, then the rejected ones.

    A sum of hundreds in float32 would be rounded to more than what one optimizer step moves it.

    Args:
        hidden: (T, width), the last hidden states.
        head: The model's output embedding.
        pack: The micro-batch.
    """
    logps, *_ = ChunkedLogProbFunction.apply(  # type: ignore[no-untyped-call]
        hidden[pack.sources],
        head.weight,
        head.bias,
        pack.targets,
        1.0,
        VOCAB_CHUNK.get(hidden.device.type, VOCAB_CHUNK["cpu"]),
        None,
        1.0,
        ("log_probs",),
    )
    sums = torch.zeros(2 * pack.pairs, dtype=torch.float64, device=hidden.device)
    return sums.index_add(0, pack.answers, logps.double())


# What a base's configuration may ask for that neither `answer_logps` nor `recipe.attention` does, and its idle value.
NOT_PACKED: dict[str, object] = {
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "lm_head_multiplier": 1.0,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
    "output_multiplier": 1.0,
}


# The families whose packed log-probabilities and gradients are proven to be those of each pair alone. Others may carry
# state from token to token beside attention (convolutions, linear attention), or have sinks: there pairs would mix.
FAMILIES = ("llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3")


def accept_packs(model: PreTrainedModel) -> None:
    """Give a causal language model a second way to be called: `model(pack=...)` returns `answer_logps`.

    The call goes through the model's own forward, so that what wraps a model (PEFT, DDP) stays around it. TRL does the
    same for its fused head.

    Raises:
        UserError: The base scales or caps its scores or logits, or drops some of them, or is of another family.
    """
    config = model.config.get_text_config()
    for key, idle in NOT_PACKED.items():
        value = getattr(config, key, None)
        if value not in {None, idle}:
            raise UserError(f"engine: packed has no {key}, which the base has ({value}); use `engine: trl`")
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UserError(
            f"engine: packed is for {known}; the base is a {config.model_type}: use `engine: trl`"
        )
    forward = model.forward

    @functools.wraps(type(model).forward)
    def with_packs(self: PreTrainedModel, *arguments: Any, pack: Pack | None = None, **options: Any) -> Any:
        if pack is None:
            return forward(*arguments, **options)
        backbone = self.base_model(
            input_ids=pack.input_ids[None], position_ids=pack.positions[None], pack=pack, use_cache=False
        )
        head = self.get_output_embeddings()  # type: ignore[no-untyped-call]
        return answer_logps(backbone.last_hidden_state[0], cast("torch.nn.Linear", head), pack)

    model.forward = MethodType(with_packs, model)
