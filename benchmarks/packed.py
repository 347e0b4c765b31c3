"""Ours: packs of a token budget, each prompt once, the reference computed once, nothing recomputed."""

from collections.abc import Sequence

import torch
from peft import PeftModel, get_peft_model
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from benchmarks.base import adapter, base, now, parameters, peak_bytes, quiet, seed_adapter
from benchmarks.work import Mode, Result, Row, Work
from recipe.attention import NAME
from recipe.pack import accept_packs, lay
from recipe.packing import Pack, pack


def ours(mode: Mode, work: Work) -> Result:
    """Train on packs."""
    quiet()
    model = base(work, NAME)
    accept_packs(model)
    tuned = get_peft_model(model, adapter(work))
    assert isinstance(tuned, PeftModel)
    seed_adapter(tuned, work)
    tuned.train()
    weights = [weight for weight in tuned.parameters() if weight.requires_grad]
    optimizer = torch.optim.RMSprop(weights, lr=work.learning_rate)
    layout = [_layout(rows, mode.budget) for rows in work.steps]

    started = now()
    reference = [_reference(tuned, *step) for step in zip(work.steps, layout, strict=True)]
    trained_from = now()
    losses = []
    for rows, packs, logps in zip(work.steps, layout, reference, strict=True):
        losses.append(_backward(tuned, rows, packs, logps, work.beta))
        clip_grad_norm_(weights, work.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    ended = now()
    return Result(
        losses=losses,
        tokens=sum(map(_length, work.rows)),
        train=ended - trained_from,
        reference=trained_from - started,
        peak_bytes=peak_bytes(),
        parameters=parameters(tuned),
        threads=torch.get_num_threads(),
    )


def _length(row: Row) -> int:
    return sum(len(row[f"{side}_ids"]) for side in ("prompt", "chosen", "rejected"))


def _layout(rows: Sequence[Row], budget: int) -> list[Pack]:
    [packs] = pack([_length(row) for row in rows], budget, devices=1)
    return packs


@torch.no_grad()
def _reference(tuned: PeftModel, rows: Sequence[Row], packs: Sequence[Pack]) -> list[torch.Tensor]:
    """Return each pack's log-probabilities under the base."""
    with tuned.disable_adapter():
        return [tuned(pack=lay([rows[place] for place in one])) for one in packs]


def _backward(
    tuned: PeftModel,
    rows: Sequence[Row],
    packs: Sequence[Pack],
    reference: Sequence[torch.Tensor],
    beta: float,
) -> float:
    """Add the gradient of a step's loss, the mean over its pairs, and return the loss."""
    loss = 0.0
    for one, logps in zip(packs, reference, strict=True):
        chosen, rejected = (beta * (tuned(pack=lay([rows[place] for place in one])) - logps)).chunk(2)
        part = -functional.logsigmoid(chosen - rejected).sum() / len(rows)
        part.backward()  # type: ignore[no-untyped-call]
        loss += part.item()
    return loss
