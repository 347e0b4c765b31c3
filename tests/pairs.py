"""Pairs of made-up tokens, a small model of any family over them, and its log-probabilities the long way round."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from recipe.batches import PairCollator

Row = dict[str, Any]
VOCABULARY = 100
SIDES = ("prompt", "chosen", "rejected")


def row(prompt: list[int], chosen: list[int], rejected: list[int], **more: Any) -> Row:
    """Return a row whose every token is seen, unless a mask is given."""
    sides = dict(zip(SIDES, (prompt, chosen, rejected), strict=True))
    ids = {f"{side}_ids": found for side, found in sides.items()}
    return {**ids, **{f"{side}_mask": [1] * len(found) for side, found in sides.items()}, **more}


def drawn(seed: int, pairs: int, *, longest: int = 20, masked: float = 0.2, apart: int = 3) -> list[Row]:
    """Draw rows with tokens masked here and there.

    Every `apart`-th token of a sequence is visible, and the last one of a prompt that is shorter: a token from which
    one is predicted has something to see in a window of `apart` tokens.
    """
    draw = random.Random(seed)
    rows = []
    for _ in range(pairs):
        lengths = {side: draw.randint(1, longest) for side in SIDES}
        ids = {side: [draw.randrange(3, VOCABULARY) for _ in range(lengths[side])] for side in SIDES}
        one = row(*ids.values())
        for side in SIDES:
            before = 0 if side == "prompt" else lengths["prompt"]
            one[f"{side}_mask"] = [
                int(draw.random() > masked or (before + place) % apart == apart - 1)
                for place in range(lengths[side])
            ]
        if lengths["prompt"] < apart:
            one["prompt_mask"][-1] = 1
        rows.append(one)
    return rows


def tiny_model(attention: str, family: str = "mistral", **config: Any) -> PreTrainedModel:
    """Return a model of two layers with weights so large that a wrong mask shows; the same ones every time."""
    keys = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
        "pad_token_id": 0,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            AutoConfig.for_model(family, **{**keys, **config}), attn_implementation=attention
        )
    return model


def padded_logps(model: torch.nn.Module, rows: Sequence[Row]) -> torch.Tensor:
    """Return the answers' summed log-probabilities, chosen ones first, by way of a padded batch and its logits."""
    batch = PairCollator(0)(rows)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logps = logits[:, :-1].log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    sums: torch.Tensor = (logps * batch["completion_mask"][:, 1:]).sum(1)
    return sums


def gradients(model: torch.nn.Module, logps: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a fixed mixture of log-probabilities by all that is trained, in one vector."""
    mixture = torch.linspace(-1, 1, len(logps)).cos() + torch.arange(len(logps)) % 2
    model.zero_grad()
    (mixture * logps).sum().backward()  # type: ignore[no-untyped-call]
    found = [one.grad for one in model.parameters() if one.requires_grad and one.grad is not None]
    assert found
    return torch.cat([one.flatten().clone() for one in found])


def assert_close(mine: torch.Tensor, other: torch.Tensor) -> None:
    """Fail unless the two differ by no more than float32 rounds, on the scale of the largest."""
    assert mine.shape == other.shape
    assert mine.isfinite().all()
    assert (mine.double() - other.double()).abs().max() <= 1e-5 * other.abs().max()
