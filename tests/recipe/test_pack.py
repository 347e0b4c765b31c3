"""A micro-batch as tensors: where its tokens lie, what its answers' log-probabilities are, how a model takes it."""

import inspect
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from pytest_mock import MockerFixture
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import recipe.pack
from recipe.attention import NAME
from recipe.errors import UserError
from recipe.pack import CHOSEN, NOBODY, PROMPT, REJECTED, Pack, Span, accept_packs, answer_logps, lay
from tests.pairs import assert_close, drawn, gradients, padded_logps, row, tiny_model

FIRST = row([5, 6, 2], [10, 11], [20, 21, 2], prompt_mask=[1, 1, 0], rejected_mask=[1, 1, 0], weight=2.0)
SECOND = row([8], [30, 31, 32], [40])
EMPTY = row([7, 9], [], [])
pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing"
)  # PEFT asks Transformers by its old name


# Where the tokens lie


def test_a_pack_is_prompt_chosen_rejected_and_the_next_pair() -> None:
    pack = lay([FIRST, SECOND])
    assert pack.spans == (Span(0, 3, 5, 8), Span(8, 9, 12, 13))
    assert pack.pairs == 2
    assert pack.input_ids.tolist() == [5, 6, 2, 10, 11, 20, 21, 2, 8, 30, 31, 32, 40]
    assert pack.positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 0, 1, 2, 3, 1]
    assert pack.pair.tolist() == [0] * 8 + [1] * 5
    sides = [PROMPT] * 3 + [CHOSEN] * 2 + [REJECTED] * 3
    assert pack.side.tolist() == [*sides, PROMPT, CHOSEN, CHOSEN, CHOSEN, REJECTED]
    assert pack.visible.int().tolist() == [1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1]
    assert pack.weight.tolist() == [2.0, 1.0]
    assert pack.masks == {}


def test_both_answers_follow_the_last_token_of_the_prompt() -> None:
    pack = lay([FIRST, SECOND])
    assert pack.sources.tolist() == [2, 3, 2, 5, 6, 8, 9, 10, 8]
    assert pack.targets.tolist() == [10, 11, 20, 21, 2, 30, 31, 32, 40]
    assert pack.answers.tolist() == [0, 0, 2, 2, 2, 1, 1, 1, 3]


def test_the_tensors_have_their_types() -> None:
    for pack in (lay([FIRST]), lay([EMPTY])):
        kinds = {name: value.dtype for name, value in vars(pack).items() if isinstance(value, torch.Tensor)}
        integers = ("input_ids", "positions", "pair", "side", "sources", "targets", "answers")
        others = {"visible": torch.bool, "weight": torch.float32}
        assert kinds == {**dict.fromkeys(integers, torch.int64), **others}


def test_an_empty_answer_predicts_nothing() -> None:
    pack = lay([row([5, 6], [], [20, 21]), row([7], [30], []), EMPTY])
    assert pack.spans == (Span(0, 2, 2, 4), Span(4, 5, 6, 6), Span(6, 8, 8, 8))
    assert pack.sources.tolist() == [1, 2, 4]
    assert pack.targets.tolist() == [20, 21, 30]
    assert pack.answers.tolist() == [3, 3, 1]


@settings(max_examples=50)
@given(
    lengths=st.lists(
        st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6
    )
)
def test_every_answer_is_predicted_token_by_token(lengths: list[tuple[int, int, int]]) -> None:
    numbers = iter(range(1_000))
    rows = [row(*([next(numbers) for _ in range(length)] for length in sides)) for sides in lengths]
    pack = lay(rows)
    for number, (side, place, one) in enumerate(
        (side, place, one) for side in ("chosen", "rejected") for place, one in enumerate(rows)
    ):
        mine = pack.answers == number
        ids, prompt = one[f"{side}_ids"], one["prompt_ids"]
        assert pack.targets[mine].tolist() == ids
        assert pack.input_ids[pack.sources[mine]].tolist() == (prompt[-1:] + ids)[: len(ids)]
        assert pack.positions[pack.sources[mine]].tolist() == [len(prompt) - 1 + at for at in range(len(ids))]
        assert set(pack.pair[pack.sources[mine]].tolist()) <= {place}


def test_on_a_device_it_is_the_same_pack_without_masks() -> None:
    pack = lay([FIRST, SECOND])
    pack.masks[None] = "made for the CPU"
    moved = pack.to(torch.device("meta"))
    assert moved.masks == {}
    assert moved.spans == pack.spans
    tensors = {name for name, value in vars(pack).items() if isinstance(value, torch.Tensor)}
    assert all(getattr(moved, name).is_meta for name in tensors)
    assert pack.masks == {None: "made for the CPU"}
    assert not pack.input_ids.is_meta


def test_what_fills_a_pack_up_belongs_to_nobody() -> None:
    pack, filled = lay([FIRST, SECOND]), lay([FIRST, SECOND], multiple=16)
    assert len(filled.input_ids) == 16
    assert filled.pair[13:].tolist() == [NOBODY] * 3
    assert not filled.visible[13:].any()
    for name in ("input_ids", "positions", "pair", "side", "visible"):
        assert torch.equal(getattr(filled, name)[:13], getattr(pack, name))
    for name in ("sources", "targets", "answers", "weight"):
        assert torch.equal(getattr(filled, name), getattr(pack, name))
    assert filled.spans == pack.spans
    assert len(lay([FIRST], multiple=8).input_ids) == 8  # full already


def test_a_filled_pack_has_the_same_log_probabilities() -> None:
    rows = drawn(5, 3)
    model = taking_packs(sliding_window=4)
    mine, other = model(pack=lay(rows, multiple=128)), model(pack=lay(rows))
    assert_close(mine, other)
    assert_close(gradients(model, mine), gradients(model, other))


# Log-probabilities


def by_logits(hidden: torch.Tensor, head: nn.Linear, pack: Pack) -> torch.Tensor:
    """Return what `answer_logps` does, from the logits of everything, answer by answer."""
    logps = head(hidden).log_softmax(-1)
    sums = []
    for side in (CHOSEN, REJECTED):
        for start, chosen, rejected, end in pack.spans:
            begin, stop = (chosen, rejected) if side == CHOSEN else (rejected, end)
            sources = [chosen - 1, *range(begin, stop - 1)][: stop - begin]
            assert chosen > start
            sums.append(logps[sources, pack.input_ids[begin:stop]].sum())
    return torch.stack(sums)


@pytest.mark.parametrize("columns", [7, 100, 8192])  # of the logits at a time, of 100
@pytest.mark.parametrize("bias", [False, True])
def test_log_probabilities_and_gradients_are_those_of_the_logits(
    monkeypatch: pytest.MonkeyPatch, bias: bool, columns: int
) -> None:
    monkeypatch.setitem(recipe.pack.VOCAB_CHUNK, "cpu", columns)
    generator = torch.Generator().manual_seed(0)
    pack = lay([*drawn(0, 4), row([5, 6], [], [7]), EMPTY])
    hidden = torch.randn(len(pack.input_ids), 16, generator=generator, requires_grad=True)
    head = nn.Linear(16, 100, bias=bias)
    mixture = torch.randn(2 * pack.pairs, generator=generator)
    found = []
    for logps in (answer_logps(hidden, head, pack), by_logits(hidden, head, pack)):
        found.append([logps, *torch.autograd.grad((mixture * logps).sum(), [hidden, *head.parameters()])])
    for mine, other in zip(*found, strict=True):
        assert_close(mine, other)


def test_nothing_to_predict_is_zero_and_can_be_learnt_from() -> None:
    hidden = torch.randn(2, 16, requires_grad=True)
    logps = answer_logps(hidden, nn.Linear(16, 100), lay([EMPTY]))
    logps.sum().backward()  # type: ignore[no-untyped-call]
    assert logps.tolist() == [0.0, 0.0]
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_log_probabilities_are_summed_in_float64_whatever_the_model_is() -> None:
    pack = lay(drawn(1, 2))
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(len(pack.input_ids), 16, generator=generator).bfloat16()
    head = nn.Linear(16, 100).bfloat16()
    logps = answer_logps(hidden, head, pack)
    assert logps.dtype == torch.float64
    expected = by_logits(hidden.float(), head.float(), pack).double()
    torch.testing.assert_close(logps, expected, rtol=0.01, atol=0.01)


# A model that takes packs


def taking_packs(**config: Any) -> PreTrainedModel:
    model = tiny_model(NAME, **config)
    accept_packs(model)
    return model


def test_a_model_returns_the_log_probabilities_of_a_pack() -> None:
    model = taking_packs()
    pack = lay(drawn(2, 3))
    hidden = model.base_model(
        input_ids=pack.input_ids[None], position_ids=pack.positions[None], pack=pack
    ).last_hidden_state[0]
    logps = model(pack=pack)
    assert torch.equal(logps, answer_logps(hidden, cast("Any", model).lm_head, pack))
    assert logps.shape == (6,)


@pytest.mark.parametrize("family", ["gpt_oss", "lfm2", "gemma", "granite", "cohere"])
def test_a_family_that_it_was_not_proven_on_is_refused(family: str) -> None:
    """Sinks would be dropped, and convolutions would carry tokens from pair to pair."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            AutoConfig.for_model(family, vocab_size=100, num_hidden_layers=2)
        )
    with pytest.raises(UserError, match=r"engine: packed .*use `engine: trl`"):
        accept_packs(model)


def test_dropped_scores_are_refused() -> None:
    with pytest.raises(UserError, match="engine: packed has no attention_dropout"):
        accept_packs(tiny_model(NAME, attention_dropout=0.1))


def test_an_ordinary_call_is_as_it_was() -> None:
    before, after = tiny_model("sdpa"), tiny_model("sdpa")
    accept_packs(after)
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    mine, other = after(ids, labels=ids), before(ids, labels=ids)
    assert type(mine) is type(other)
    assert torch.equal(mine.logits, other.logits)
    assert torch.equal(mine.loss, other.loss)
    assert inspect.signature(after.forward) == inspect.signature(before.forward)


def test_generation_is_as_it_was() -> None:
    before, after = tiny_model("sdpa"), tiny_model("sdpa")
    accept_packs(after)
    ids = torch.tensor([[5, 6, 7, 8]])
    wanted = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 5, "do_sample": False}
    mine, other = (cast("Any", one).generate(ids, **wanted) for one in (after, before))
    assert mine.tolist() == other.tolist()


def adapted(model: PreTrainedModel) -> PeftModel:
    """Put an adapter on the attention that changes what the model says."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        found = get_peft_model(
            model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj", "down_proj"])
        )
        with torch.no_grad():
            for name, weight in found.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.1)
    assert isinstance(found, PeftModel)
    return found


def test_an_adapter_is_seen_and_left_out_when_disabled() -> None:
    rows = drawn(3, 4)
    base, padded, packed = tiny_model("eager"), adapted(tiny_model("eager")), adapted(taking_packs())
    mine, other = packed(pack=lay(rows)), padded_logps(padded, rows)
    assert_close(mine, other)
    assert_close(gradients(packed, mine), gradients(padded, other))
    with packed.disable_adapter(), torch.no_grad():
        reference = packed(pack=lay(rows))
    assert_close(reference, padded_logps(base, rows))
    assert (reference - mine).abs().min() > 1e-3


@pytest.mark.parametrize("adapter", [False, True])
def test_recomputed_activations_give_the_same_gradients(mocker: MockerFixture, adapter: bool) -> None:
    found = []
    made = mocker.spy(recipe.attention, "pair_mask")
    for recompute in (False, True):
        model: Any = taking_packs(sliding_window=4)
        passes: list[int] = []
        model.model.layers[1].mlp.register_forward_pre_hook(lambda *_, passes=passes: passes.append(1))
        if recompute:
            model.activation_checkpointing_enable({"use_reentrant": False})
        model = (adapted(model) if adapter else model).train()
        pack = lay(drawn(4, 5))
        logps = model(pack=pack)
        found.append((logps, gradients(model, logps)))
        assert len(passes) == 1 + recompute
        assert list(pack.masks) == [4]
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert made.call_count == 2 * 5  # once a pair, not once a layer or a pass
