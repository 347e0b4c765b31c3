"""FLOPs: against PyTorch's own count of real passes, and against the published run."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from recipe.flops import Size, Work, packed_pair, padded_pair, pairs_per_second, share_of_peak, training_flops

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # PEFT's

MISTRAL_7B = Size(7_241_732_096 - 32_000 * 4096, 54_525_952, layers=32, width=4096)
NONE = Work(0, 0)


def test_a_pass_costs_what_pytorch_counts() -> None:
    length, rows, width, layers, vocabulary = 64, 3, 96, 3, 200
    config = AutoConfig.for_model(
        "mistral",
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=160,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=2,
    )
    base = AutoModelForCausalLM.from_config(config, attn_implementation="eager")  # type: ignore[no-untyped-call]
    parameters = sum(one.weight.numel() for one in base.modules() if isinstance(one, torch.nn.Linear))
    model = get_peft_model(base, LoraConfig(r=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))
    adapter, _ = model.get_nb_trainable_parameters()
    size = Size(parameters, adapter, layers, width)
    # Eager attention computes the scores that are masked, too.
    work = Work(rows * length, rows * length * length)
    ids = torch.zeros(rows, length, dtype=torch.long)
    with FlopCounterMode(display=False) as reference, torch.no_grad(), model.disable_adapter():
        model(input_ids=ids)
    with FlopCounterMode(display=False) as policy:
        model.train()(input_ids=ids).logits.sum().backward()
    said = training_flops(size, work, reference_passes=0)
    assert training_flops(size, work) - said == reference.get_total_flops()
    # The first layer's input needs no gradient.
    assert policy.get_total_flops() == pytest.approx(said, rel=0.05)
    assert policy.get_total_flops() < said


def test_scores_are_those_that_a_token_sees() -> None:
    prompt, chosen, rejected = 5, 3, 2
    seen = sum(range(1, prompt + 1))  # each prompt token, itself included
    seen += sum(prompt + place for place in range(1, chosen + 1))
    seen += sum(prompt + place for place in range(1, rejected + 1))
    assert packed_pair(prompt, chosen, rejected) == Work(10, seen)
    assert padded_pair(8) == Work(16, 2 * sum(range(1, 9)))
    assert packed_pair(1, 2, 3) + packed_pair(4, 5, 6) == Work(21, 15 + 90)


def test_each_part_of_a_training_has_its_price() -> None:
    base = Size(10, 0, layers=0, width=0)
    work = Work(7, 0)
    token = 7 * 10
    assert training_flops(base, work, reference_passes=0) == 4 * token
    assert training_flops(base, work) == 6 * token
    assert training_flops(base, work, reference_passes=1 / 3) == pytest.approx((4 + 2 / 3) * token)
    assert training_flops(base, work, recomputed=0.5, reference_passes=0) == 5 * token
    # 2023: recomputed, and the reference anew at each step
    assert training_flops(base, work, recomputed=1) == 8 * token
    adapter = Size(0, 10, layers=0, width=0)
    assert (
        training_flops(adapter, work) == 6 * token
    )  # its weights' gradients are wanted; the reference has none
    scores = Size(0, 0, layers=2, width=3)
    assert training_flops(scores, Work(0, 5), reference_passes=0) == 3 * 4 * 2 * 3 * 5
    assert training_flops(scores, Work(0, 5), reference_passes=1, recomputed=1) == 5 * 4 * 2 * 3 * 5
    assert training_flops(MISTRAL_7B, NONE) == 0


def test_a_speed_is_a_share_of_the_peak_and_back() -> None:
    assert share_of_peak(2e12, 10, 1e14) == pytest.approx(0.2)
    assert pairs_per_second(2e12, 0.2, 1e14) == pytest.approx(10)


def test_the_original_run_reached_the_share_that_recipes_assume_by_default() -> None:
    # 9.926 pairs/s on 8 A100s, 1,352 padded tokens a pair, all layers recomputed, the reference at each step.
    flops = training_flops(MISTRAL_7B, padded_pair(1352 / 2), recomputed=1)
    assert share_of_peak(flops, 9.926 / 8, 312e12) == pytest.approx(0.31, abs=0.01)


def test_packing_needs_a_third_of_what_2023_spent() -> None:
    then = training_flops(MISTRAL_7B, padded_pair(1352 / 2), recomputed=1)
    now = training_flops(MISTRAL_7B, packed_pair(186, 285, 259), reference_passes=1 / 3)
    assert then / now == pytest.approx(3.2, abs=0.1)
