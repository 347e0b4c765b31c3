"""Attention within a pack: what a padded batch gives, nothing of other answers and pairs, and no work for them."""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import create_block_mask, create_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.flex_attention import WrappedFlexAttention

from recipe import attention
from recipe.attention import (
    NAME,
    block_mask,
    over_blocks,
    over_pairs,
    pair_mask,
    pairs_attention,
    rule_of,
    sees,
)
from recipe.pack import Pack, accept_packs, lay
from tests.pairs import Row, assert_close, drawn, gradients, padded_logps, row, tiny_model

HEADS, KEY_HEADS, WIDTH = 4, 2, 16
# The 2023 stack masked every `</s>` (2): those that end a turn of the prompt, and the last one of an answer.
ROWS_2023 = [
    row(
        [1, 5, 2, 6, 7, 2, 8],
        [10, 11, 12, 2],
        [20, 2],
        prompt_mask=[1, 1, 0, 1, 1, 0, 1],
        chosen_mask=[1, 1, 1, 0],
        rejected_mask=[1, 0],
    ),
    row([5, 6, 2], [30, 2], [31, 32, 2], prompt_mask=[1, 1, 0], chosen_mask=[1, 0], rejected_mask=[1, 1, 0]),
    row([2, 9], [40], [41, 42], prompt_mask=[0, 1]),
]
ONE_TOKEN_PROMPTS = [row([5], [10, 11], [20]), row([6], [30], [31, 32, 33]), row([7], [40, 41, 42], [])]


def packing(model: PreTrainedModel) -> PreTrainedModel:
    accept_packs(model)
    return model


def same_as_padded(rows: Sequence[Row], family: str = "mistral", **config: Any) -> None:
    """Fail unless packed log-probabilities and gradients are those of a padded batch."""
    packed, padded = (
        packing(tiny_model(NAME, family, **config)),
        tiny_model("eager", family, **config),
    )
    mine, other = packed(pack=lay(rows)), padded_logps(padded, rows)
    assert_close(mine, other)
    assert_close(gradients(packed, mine), gradients(padded, other))


# As in a padded batch


@pytest.mark.parametrize("window", [None, 3, 8, 4096])
def test_a_mistral_sees_what_it_does_in_a_padded_batch(window: int | None) -> None:
    same_as_padded(drawn(0, 6), sliding_window=window)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_a_llama_sees_what_it_does_in_a_padded_batch(key_heads: int) -> None:
    same_as_padded(drawn(1, 6), "llama", num_key_value_heads=key_heads)


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("qwen2", {}),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
        ),  # of two layers one
        ("qwen3", {"head_dim": 8}),
        ("phi3", {}),
        ("smollm3", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "windows" * bool("sliding_window" in value),
)
def test_their_relatives_see_what_they_do_in_a_padded_batch(family: str, config: dict[str, Any]) -> None:
    same_as_padded(drawn(2, 6), family, **config)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize(
    "rows",
    [ROWS_2023, ONE_TOKEN_PROMPTS, [*ROWS_2023, *ONE_TOKEN_PROMPTS], drawn(3, 6, masked=0.6)],
    ids=["2023", "one-token prompts", "both", "mostly masked"],
)
def test_masked_tokens_are_seen_by_nobody(rows: list[Row], window: int | None) -> None:
    same_as_padded(rows, sliding_window=window)


def test_a_prompt_that_begins_with_masked_tokens() -> None:
    same_as_padded([row([2, 2, 2, 5], [6, 7], [8], prompt_mask=[0, 0, 0, 1]), *drawn(4, 2)])


def test_a_prompt_of_masked_tokens_alone_is_still_a_number() -> None:
    model = packing(tiny_model(NAME))
    rows = [row([2, 2], [6, 7], [8], prompt_mask=[0, 0]), row([2], [6], [8], prompt_mask=[0])]
    logps = model(pack=lay(rows))
    assert logps.isfinite().all()
    assert gradients(model, logps).isfinite().all()


def test_a_window_is_of_true_positions() -> None:
    """Rejected lies far from its prompt in the pack, and as near as chosen in the sequence."""
    same_as_padded([row([5, 6, 7, 8], [10] * 50, [20, 21, 22])], sliding_window=4)
    model = packing(tiny_model(NAME, sliding_window=4))
    chosen, rejected = model(pack=lay([row([5, 6, 7, 8], [20, 21, 22], [20, 21, 22])])).tolist()
    assert chosen == pytest.approx(rejected, rel=1e-5)


def test_empty_answers_are_no_trouble() -> None:
    rows = [row([5, 6], [], [7, 8]), row([5], [9], []), row([5, 6, 7], [], [])]
    same_as_padded(rows)
    same_as_padded(rows, sliding_window=3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), pairs=st.integers(1, 5), window=st.sampled_from([None, 3, 5, 11]))
def test_any_pairs_are_as_in_a_padded_batch(seed: int, pairs: int, window: int | None) -> None:
    same_as_padded(drawn(seed, pairs, longest=12, masked=0.4), sliding_window=window)


def test_the_order_of_pairs_changes_nothing() -> None:
    rows = drawn(5, 5)
    model = packing(tiny_model(NAME, sliding_window=6))
    chosen, rejected = model(pack=lay(rows)).chunk(2)
    mine = model(pack=lay(rows[::-1])).chunk(2)
    assert_close(torch.cat([side.flip(0) for side in mine]), torch.cat([chosen, rejected]))


def test_half_precision_stays_near() -> None:
    rows = drawn(6, 4)
    packed, padded = packing(tiny_model(NAME)), tiny_model("eager")
    with torch.autocast("cpu", torch.bfloat16):
        mine = packed(pack=lay(rows))
    assert mine.dtype == torch.float64
    torch.testing.assert_close(mine, padded_logps(padded, rows).double(), rtol=0.05, atol=0.5)


# Who sees whom


def changed(rows: list[Row], number: int, side: str, place: int = 0) -> list[Row]:
    """Return the rows with another token in one place."""
    ids = list(rows[number][f"{side}_ids"])
    ids[place] = ids[place] % 90 + 5
    return [*rows[:number], {**rows[number], f"{side}_ids": ids}, *rows[number + 1 :]]


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("side", ["prompt", "chosen", "rejected"])
def test_a_token_moves_its_own_answers_alone(side: str, number: int, window: int | None) -> None:
    rows = drawn(7, 4, masked=0)
    model = packing(tiny_model(NAME, sliding_window=window))
    with torch.no_grad():
        before, after = model(pack=lay(rows)), model(pack=lay(changed(rows, number, side)))
    moved = (before != after).nonzero().flatten().tolist()
    own = {"prompt": [number, 4 + number], "chosen": [number], "rejected": [4 + number]}
    if side != "prompt" or window is None:
        assert moved == own[side]
    else:  # the first token may be out of the answers' reach
        assert set(moved) <= set(own[side])


def test_a_masked_token_moves_nothing() -> None:
    model = packing(tiny_model(NAME))
    with torch.no_grad():
        before, after = model(pack=lay(ROWS_2023)), model(pack=lay(changed(ROWS_2023, 0, "prompt", 2)))
        seen = model(pack=lay(changed(ROWS_2023, 0, "prompt", 3)))
    assert torch.equal(before, after)
    assert (before != seen).nonzero().flatten().tolist() == [0, 3]


def test_a_later_token_moves_no_earlier_one() -> None:
    rows = [row([5, 6, 7], [10, 11, 12, 13], [20, 21, 22, 23])]
    model = packing(tiny_model(NAME))
    shorter = [{**rows[0], "chosen_ids": [10, 11], "chosen_mask": [1, 1]}]
    with torch.no_grad():
        pack = lay(rows)
        states = model.base_model(
            input_ids=pack.input_ids[None], position_ids=pack.positions[None], pack=pack
        ).last_hidden_state[0]
        pack = lay(shorter)
        cut = model.base_model(
            input_ids=pack.input_ids[None], position_ids=pack.positions[None], pack=pack
        ).last_hidden_state[0]
    torch.testing.assert_close(cut[:5], states[:5], rtol=0, atol=1e-5)
    torch.testing.assert_close(cut[5:], states[7:], rtol=0, atol=1e-5)


# The masks


def spelled_out(rows: Sequence[Row], window: int | None) -> torch.Tensor:
    """Return who sees whom in a pack of rows, bool (T, T), sequence by sequence."""
    count = sum(len(one[f"{side}_ids"]) for one in rows for side in ("prompt", "chosen", "rejected"))
    allowed = torch.zeros(count, count, dtype=torch.bool)
    start = 0
    for one in rows:
        prompt, chosen, rejected = (len(one[f"{side}_ids"]) for side in ("prompt", "chosen", "rejected"))
        first, last = start + prompt, start + prompt + chosen
        for side, begin, length in (("chosen", first, chosen), ("rejected", last, rejected)):
            sequence = [*range(start, first), *range(begin, begin + length)]
            mask = one["prompt_mask"] + one[f"{side}_mask"]
            for query in range(len(sequence)):
                for key in range(0 if window is None else max(0, query - window + 1), query + 1):
                    if mask[key] or query == key == 0:
                        allowed[sequence[query], sequence[key]] = True
        start = last + rejected
    return allowed


def from_pairs(pack: Pack, window: int | None) -> torch.Tensor:
    """Return what all `pair_mask` allow, bool (T, T)."""
    allowed = torch.zeros(len(pack.input_ids), len(pack.input_ids), dtype=torch.bool)
    for number, (start, chosen, rejected, end) in enumerate(pack.spans):
        first, second = pair_mask(pack, number, window)
        allowed[start:rejected, start:rejected] = first
        allowed[rejected:end, start:chosen] = second[:, : chosen - start]
        allowed[rejected:end, rejected:end] = second[:, chosen - start :]
    return allowed


MASKED_ROWS = [
    *drawn(8, 6, longest=60, masked=0.4),
    *ROWS_2023,
    row([5], [], [6]),
    row([2], [7], [], prompt_mask=[0]),
]


@pytest.mark.parametrize("window", [None, 1, 4, 30])
def test_all_masks_are_of_one_rule(window: int | None) -> None:
    pack = lay(MASKED_ROWS)
    count = len(pack.input_ids)
    every = torch.arange(count)
    expected = spelled_out(MASKED_ROWS, window)
    assert torch.equal(sees(pack, every[:, None], every[None], window), expected)
    assert torch.equal(from_pairs(pack, window), expected)
    assert torch.equal(dense(pack, window), expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), pairs=st.integers(1, 4), window=st.sampled_from([None, 2, 7]))
def test_all_masks_are_of_one_rule_for_any_pairs(seed: int, pairs: int, window: int | None) -> None:
    rows = drawn(seed, pairs, longest=10, masked=0.5)
    pack = lay(rows)
    assert torch.equal(from_pairs(pack, window), spelled_out(rows, window))
    assert torch.equal(dense(pack, window), spelled_out(rows, window))


def dense(pack: Pack, window: int | None) -> torch.Tensor:
    """Return what a block mask allows, bool (T, T), token by token."""
    count = len(pack.input_ids)
    mask: torch.Tensor = create_mask(
        block_mask(pack, window).mask_mod, None, None, count, count, device="cpu"
    )
    return mask[0, 0]


@pytest.mark.parametrize("window", [None, 4])
def test_blocks_that_nobody_sees_are_left_out(window: int | None) -> None:
    rows = drawn(9, 12, longest=60)
    pack = lay(rows)
    mask = block_mask(pack, window)
    size = mask.BLOCK_SIZE[0]
    assert mask.BLOCK_SIZE[1] == size
    count = -(-len(pack.input_ids) // size)
    assert count > 4
    padded = torch.zeros(count * size, count * size, dtype=torch.bool)
    padded[: len(pack.input_ids), : len(pack.input_ids)] = spelled_out(rows, window)
    seen = padded.view(count, size, count, size).any(3).any(1)
    assert torch.equal(mask.to_dense()[0, 0].bool(), seen)
    assert 0 < seen.sum() < count * (count + 1) // 2  # fewer than of a causal mask


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("multiple", [1, 128])
def test_blocks_are_those_that_torch_makes_of_the_rule(window: int | None, multiple: int) -> None:
    pack = lay([*drawn(12, 6, longest=120), *drawn(13, 2, longest=700, masked=0)], multiple)
    length = len(pack.input_ids)
    mine = block_mask(pack, window)
    rule = rule_of(pack, window)
    theirs = create_block_mask(lambda _, __, q, k: rule(q, k), None, None, length, length, device="cpu")
    assert length > 6 * 128
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
    for count, first in (("kv_num_blocks", "kv_indices"), ("full_kv_num_blocks", "full_kv_indices")):
        for number, one, other in zip(
            getattr(mine, count)[0, 0], getattr(mine, first)[0, 0], getattr(theirs, first)[0, 0], strict=True
        ):
            assert torch.equal(one[:number], other[:number])
    full = mine.full_kv_num_blocks
    assert full is not None
    assert window is not None or full.sum() > 0


# The same by FlexAttention


def states(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw query, key and value."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, count, WIDTH, generator=generator) for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    return query, key, value


@pytest.mark.parametrize("window", [None, 4])
def test_flex_attention_gives_what_the_pairs_do(window: int | None) -> None:
    pack = lay(MASKED_ROWS)
    mask = block_mask(pack, window)
    query, key, value = states(len(pack.input_ids))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
        flex = flex_attention(query, key, value, block_mask=mask, enable_gqa=True, scale=0.3)
    mine, weights = pairs_attention(nn.Module(), query, key, value, None, 0.3, window, pack=pack)
    assert weights is None
    assert isinstance(flex, torch.Tensor)
    assert_close(mine, flex.transpose(1, 2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method")  # torch's compiler, of torch
def test_other_packs_ask_for_no_other_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window and a mode are compiled for a first length and for any; a pack of one block has a graph of its own."""
    module = nn.Module().eval()
    compiled = WrappedFlexAttention(training=False)
    monkeypatch.setattr(
        compiled, "_compiled_flex_attention", torch.compile(flex_attention, backend="aot_eager")
    )
    torch._dynamo.reset()
    before = counters["stats"]["unique_graphs"]
    graphs = []
    for _ in range(2):
        for window, learning, seed in itertools.product((None, 7), (False, True), range(4)):
            rows = drawn(seed, 12, longest=60) if seed else drawn(seed, 1, longest=30)
            pack, same = (lay(rows, multiple=128) for _ in range(2))  # each has masks of its own
            query, key, value = states(len(pack.input_ids))
            with torch.set_grad_enabled(learning):
                flex = over_blocks(module, query, key, value, pack, window, 0.3)
                mine = over_pairs(query, key, value, same, window, 0.3)
            seen = slice(pack.spans[-1].end)
            assert_close(mine[:, seen], flex[:, seen])
        graphs.append(counters["stats"]["unique_graphs"] - before)
    assert graphs[0] == graphs[1] <= 3 * 2 * 2
    # Of a float32 base under autocast the values alone are bfloat16.
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert over_blocks(module, query, key, value.bfloat16(), pack, 7, 0.3).dtype == torch.bfloat16


def test_values_may_be_narrower_than_keys() -> None:
    pack = lay(drawn(0, 2))
    query, key, value = states(len(pack.input_ids))
    out = over_pairs(query, key, value[..., :8], pack, None, 0.3)
    assert_close(out, over_pairs(query, key, value, pack, None, 0.3)[..., :8])


@pytest.mark.parametrize("window", [None, 4])
def test_gradients_are_those_of_one_call_over_the_pack(window: int | None) -> None:
    """FlexAttention has no backward on a CPU; attention under the dense mask stands in for it."""
    pack = lay(MASKED_ROWS)
    query, key, value = (one.requires_grad_() for one in states(len(pack.input_ids)))
    whole = scaled_dot_product_attention(
        query, key, value, attn_mask=spelled_out(MASKED_ROWS, window), scale=0.3, enable_gqa=True
    ).transpose(1, 2)
    mine, _ = pairs_attention(nn.Module(), query, key, value, None, 0.3, window, pack=pack)
    assert_close(mine, whole)
    mixture = torch.randn(whole.shape, generator=torch.Generator().manual_seed(1))
    mine_by, whole_by = (torch.autograd.grad(out, (query, key, value), mixture) for out in (mine, whole))
    for one, other in zip(mine_by, whole_by, strict=True):
        assert_close(one, other)


# Work


def scores(pairs: int, mocker: MockerFixture) -> int:
    """Count the scores that are computed for a pack of so many like pairs."""
    attend = mocker.spy(attention, "attend")
    pack = lay([row([5] * 11, [6] * 17, [7] * 13)] * pairs)
    query, key, value = states(len(pack.input_ids))
    pairs_attention(nn.Module(), query, key, value, None, 0.3, None, pack=pack)
    computed = sum(call.args[0].shape[2] * call.args[1].shape[2] for call in attend.call_args_list)
    assert computed == sum(mask.numel() for masks in pack.masks[None] for mask in masks)
    mocker.stop(attend)
    return int(computed)


def test_the_work_is_that_of_each_pair_by_itself(mocker: MockerFixture) -> None:
    one = (11 + 17) ** 2 + 13 * (11 + 13)  # prompt and chosen; rejected against prompt and rejected
    assert [scores(pairs, mocker) for pairs in (1, 2, 4, 32)] == [one, 2 * one, 4 * one, 32 * one]


def test_transformers_makes_no_mask_over_the_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []

    def seen(*arguments: Any, **options: Any) -> Any:
        masks.append(arguments[4])
        return pairs_attention(*arguments, **options)

    monkeypatch.setitem(AttentionInterface._global_mapping, NAME, seen)
    packing(tiny_model(NAME, sliding_window=4))(pack=lay(drawn(10, 3)))
    assert masks == [None, None]


@pytest.mark.parametrize(
    ("config", "windows"),
    [
        ({"family": "mistral", "sliding_window": 4}, {4}),
        ({"family": "llama"}, {None}),
        (
            {"family": "qwen2", "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
            {None, 4},
        ),
    ],
    ids=["mistral", "llama", "qwen2"],
)
def test_masks_are_made_once_a_pack_and_window(
    mocker: MockerFixture, config: dict[str, Any], windows: set[int | None]
) -> None:
    made = mocker.spy(attention, "pair_mask")
    model = packing(tiny_model(NAME, **config))
    pack = lay(drawn(11, 3))
    for _ in range(2):  # the policy, the reference
        model(pack=pack)
    assert pack.masks.keys() == windows
    assert made.call_count == 3 * len(windows)
