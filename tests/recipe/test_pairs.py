"""Many pairs at a time are what each is alone, and what the rule says of it in plain Python."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe.errors import UserError
from recipe.prompt import ChatFormat, PairTokenizer, Texts, TokenizedPair, Zephyr2023
from recipe.prompt.current import MARKS
from tests.parity.rows import ENDINGS, FRAGMENTS, OPENINGS
from tests.recipe.test_prompt import CHATS, KINDS, LITERAL, ODD, conversation, seen

RULES: dict[str, PairTokenizer] = {**CHATS, "zephyr-2023": Zephyr2023(KINDS["mistral"])}
PART = st.one_of(
    LITERAL, st.sampled_from([*ODD, *OPENINGS, *ENDINGS, *FRAGMENTS, "yes " * 12]), st.text(max_size=6)
)
TEXT = st.lists(PART, max_size=5).map("".join)


@st.composite
def texts(draw: st.DrawFn) -> Texts:
    """Draw a pair with one question or a longer conversation, after a system turn or none."""
    said = draw(st.lists(TEXT, min_size=1, max_size=5).filter(lambda turns: len(turns) % 2 == 1))
    system = draw(st.lists(TEXT, max_size=1))
    return Texts(conversation([*system, *said], system=bool(system)), draw(TEXT), draw(TEXT))


@pytest.mark.parametrize("name", RULES)
@given(rows=st.lists(texts(), max_size=6), max_length=st.integers(2, 90), share=st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_a_pair_does_not_depend_on_those_beside_it(
    name: str, rows: list[Texts], max_length: int, share: float
) -> None:
    rule = RULES[name]
    most_of_prompt = max(1, int(share * (max_length - 1)))
    found = rule.pairs(rows, max_length=max_length, max_prompt_length=most_of_prompt)
    assert len(found) == len(rows)
    for place, row in enumerate(rows):
        alone = rule.pair(*row, max_length=max_length, max_prompt_length=most_of_prompt)
        assert found.pair(place) == alone
        if isinstance(rule, ChatFormat):
            assert alone == told(rule, row, max_length, most_of_prompt)


def told(chat: ChatFormat, row: Texts, max_length: int, max_prompt_length: int) -> TokenizedPair:
    """Return a pair by the rule `current`, a token at a time."""
    asked = chat.encode(row.prompt, generate=True)
    answered = [
        chat.encode([*row.prompt, {"role": "assistant", "content": text}])
        for text in (row.chosen, row.rejected)
    ]
    shared = min(common(asked, ids) for ids in answered)
    prompt, cut = asked[:shared], 0
    answers = [until_eos(ids[shared:], chat.eos_token_id) for ids in answered]
    if shared + max(map(len, answers)) > max_length and shared > max_prompt_length:
        cut = shared - max_prompt_length
        prompt = prompt[cut:]
    room = max_length - len(prompt)
    chosen, rejected = (ids[:room] for ids in answers)
    lost = sum(len(ids) > room for ids in answers)
    return seen(prompt, chosen, rejected, prompt_cut=cut, answers_cut=lost)


def common(ids: Sequence[int], other: Sequence[int]) -> int:
    count = 0
    while count < min(len(ids), len(other)) and ids[count] == other[count]:
        count += 1
    return count


def until_eos(ids: list[int], eos: int) -> list[int]:
    return ids[: ids.index(eos) + 1] if eos in ids else [*ids, eos]


@pytest.mark.parametrize("name", RULES)
def test_no_pairs_are_no_pairs(name: str) -> None:
    assert len(RULES[name].pairs([], max_length=9, max_prompt_length=4)) == 0


def test_marks_are_such_as_no_text_of_the_batch_holds() -> None:
    chat = CHATS["mistral"]
    rows = [
        Texts(conversation(["x</s>"]), chr(mark), f"</s>{chr(mark)}0{chr(mark)}")
        for mark in (*MARKS[:3], MARKS[5])
    ]
    found = chat.pairs(rows, max_length=99, max_prompt_length=50)
    assert [found.pair(place) for place in range(len(rows))] == [
        chat.pair(*row, max_length=99, max_prompt_length=50) for row in rows
    ]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_of_many_conversations_the_one_that_is_refused_is_named(place: int) -> None:
    rows = [Texts(conversation(["Hi"]), "yes", "no")] * 2
    rows.insert(place, Texts([*conversation(["Hi"]), {"role": "tool", "content": "42"}], "yes", "no"))
    with pytest.raises(UserError, match="refuses a conversation of user, tool: The zephyr template has no"):
        CHATS["mistral"].pairs(rows, max_length=99, max_prompt_length=50)
