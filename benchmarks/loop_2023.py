"""What a step cost in 2023: the loop of trl 0.7.4, written anew over today's model.

Both sides of a micro-batch in one forward pass, padded to the longest; eager attention; the logits of all tokens, as
float32; the reference by a second forward pass at every step, with the adapter switched off.
"""

import torch
from peft import PeftModel, get_peft_model
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from benchmarks.base import PAD, Watch, adapter, base, quiet, seed_adapter
from benchmarks.work import Mode, Result, Work
from recipe.batches import Batch, PairCollator


def loop_2023(mode: Mode, work: Work) -> Result:
    """Train as then."""
    quiet()
    model = base(work, "eager")
    if mode.checkpointing:
        model.enable_input_require_grads()  # type: ignore[no-untyped-call]
        model.activation_checkpointing_enable({"use_reentrant": False})
    tuned = get_peft_model(model, adapter(work))
    assert isinstance(tuned, PeftModel)
    seed_adapter(tuned, work)
    tuned.train()
    weights = [weight for weight in tuned.parameters() if weight.requires_grad]
    optimizer = torch.optim.RMSprop(weights, lr=work.learning_rate)
    collate, watch = PairCollator(PAD), Watch(work)
    for number, rows in enumerate(work.steps):
        watch.begin(number)
        for start in range(0, len(rows), mode.micro_batch):
            some = rows[start : start + mode.micro_batch]
            batch = {name: value.to(work.device) for name, value in collate(some).items()}
            with torch.autocast(work.device, torch.bfloat16, enabled=work.dtype == "bfloat16"):
                loss = _loss(tuned, batch, work.beta) * len(some) / len(rows)
            loss.backward()  # type: ignore[no-untyped-call]
            watch.count(loss, batch["input_ids"].numel())
        clip_grad_norm_(weights, work.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        watch.end()
    return watch.result(tuned, float(bool(mode.checkpointing)))


def _loss(tuned: PeftModel, batch: Batch, beta: float) -> torch.Tensor:
    """Return the mean of the pairs' sigmoid DPO losses."""
    policy = _summed_logps(tuned, batch)
    with torch.no_grad(), tuned.disable_adapter():
        reference = _summed_logps(tuned, batch)
    chosen, rejected = (policy - reference).chunk(2)
    return -functional.logsigmoid(beta * (chosen - rejected)).mean()


def _summed_logps(tuned: PeftModel, batch: Batch) -> torch.Tensor:
    """Return the summed log-probability of each answer, float32 (2 x pairs,), from the logits of every token."""
    ids, answers = batch["input_ids"], batch["completion_mask"]
    logits = tuned(input_ids=ids, attention_mask=batch["attention_mask"], use_cache=False).logits.float()
    logps = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2)
    summed: torch.Tensor = (logps * answers[:, 1:]).sum(1)
    return summed
