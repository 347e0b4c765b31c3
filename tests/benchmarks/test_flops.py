"""What a pair costs: against a count of every product of matrices that torch does, and against published sizes."""

from dataclasses import replace

import pytest
import torch
from peft import get_peft_model
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.base import adapter, base, seed_adapter
from benchmarks.dpo_gpu import MISTRAL_7B
from benchmarks.flops import Amount, computed, cost_of, needed
from benchmarks.work import Mode, Row, Shape, Work
from tests.pairs import row

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # PEFT's

SMALL = Shape(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=112,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def drawn(prompt: int, chosen: int, rejected: int) -> Row:
    return row([3] * prompt, [4] * chosen, [5] * rejected)


def work(*rows: Row, device: str = "cpu") -> Work:
    return Work(rows, len(rows), SMALL, device=device, lora_r=4)  # type: ignore[arg-type]


def test_a_pass_costs_what_torch_counts() -> None:
    tokens = 24
    mine = Work([], 1, SMALL, b_std=0.1, lora_r=4)
    tuned = get_peft_model(base(mine, "eager"), adapter(mine))
    seed_adapter(tuned, mine)
    tuned.enable_input_require_grads()
    ids = torch.randint(3, 50, (1, tokens))
    with FlopCounterMode(display=False) as forward:
        logits = tuned(input_ids=ids, use_cache=False).logits
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    cost, amount = cost_of(SMALL, rank=4), Amount(tokens, tokens, tokens**2)
    assert forward.get_total_flops() == cost.forward(amount)
    assert backward.get_total_flops() == cost.backward(amount)


def test_mistral_7b_has_its_size() -> None:
    cost, shape = cost_of(MISTRAL_7B, rank=64), MISTRAL_7B
    norms = (2 * shape.num_hidden_layers + 1) * shape.hidden_size
    assert cost.layers + 2 * cost.head + norms == 7_241_732_096
    assert cost.adapter == 54_525_952


def test_a_pair_needs_its_prompt_once_and_a_third_of_a_reference() -> None:
    cost = cost_of(SMALL, rank=4)
    # 3 tokens of prompt see 1 + 2 + 3; the answers' see them and 1 + 2, and 1, of their own.
    amount = Amount(3 + 2 + 1, 2 + 1, 6 + (2 * 3 + 3) + (3 + 1))
    train = cost.forward(amount) + cost.backward(amount)
    assert needed(work(drawn(3, 2, 1))) == pytest.approx(train + cost.forward(amount, adapter=False) / 3)


def test_only_measured_rows_count() -> None:
    alone = needed(work(drawn(3, 2, 1)))
    two = Work([drawn(30, 20, 10), drawn(3, 2, 1)], 1, SMALL, warmup=1, lora_r=4)
    assert needed(two) == alone


def test_what_fills_up_and_what_is_done_twice_is_computed_but_not_needed() -> None:
    mine = work(drawn(6, 4, 1), drawn(2, 2, 2), device="cuda")
    once = Mode("", "trl", micro_batch=1)
    alone, together = 2 * 10 + 2 * 4, 4 * 10
    costs = [
        computed(Mode("", "ours", budget=64), mine, 17),
        computed(once, mine, alone),
        computed(replace(once, micro_batch=2), mine, together),
        computed(replace(once, micro_batch=2, reference_once=False), mine, together),
        computed(replace(once, micro_batch=2, reference_once=False, checkpointing=True), mine, together),
        computed(Mode("", "2023", 2, True, reference_once=False), mine, together),
    ]
    assert needed(mine) == pytest.approx(costs[0])
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)
    cost, padded = cost_of(SMALL, rank=4), Amount(40, 9, 400)
    assert costs[4] - costs[3] == pytest.approx(cost.layers_forward(padded) / 2)
    assert costs[3] - costs[2] == pytest.approx(cost.forward(padded, adapter=False) * (2 / 3) / 2)


def test_rows_that_were_laid_otherwise_are_noticed() -> None:
    with pytest.raises(AssertionError, match="otherwise"):
        computed(Mode("", "trl", micro_batch=1), work(drawn(6, 4, 1)), 21)
