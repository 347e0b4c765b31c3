"""Preference rows that are hard on formatting, tokenization and truncation: the same ones for both stacks.

Standard library only. The rows are the same on every machine and in both environments: all chance comes from
`random.Random`, which has kept its sequence since Python 3.2. No text holds NUL or a lone surrogate.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

Row = dict[str, Any]

# Tokens of Mistral's tokenizer that the format adds around an instruction and around an answer (its second EOS
# counted): a text of n of the words below makes a prompt of n + 25 tokens, or an answer of n + 4.
PROMPT_TOKENS, ANSWER_TOKENS = 25, 4

# fmt: off
# Each is one token, at a text's start as well as after a space.
WORDS = (
    "a", "the", "of", "and", "to", "in", "is", "was", "for", "on", "with", "that", "this", "from", "have", "not",
    "are", "by", "it", "as", "new", "time", "line", "code", "one", "two", "water", "house", "city", "river",
)
FRAGMENTS = (
    "plain words, and more of them.", "a", "Hello", " leading", "trailing ", "  two leading", "   ", " ", "\t",
    "\tTab\tTab\t", "\n", "\n\n\n", "\nNew line first", "last a new line\n", "\r\n", "\r\nDOS\r\nlines\r\n", "\r",
    "▁", "▁▁", "a▁b", "▁Hello", " ▁ ", "Hello ▁",
    "def f(x):\n    if x:\n\treturn  x\n\n    return [\n            y for y in x]\n",
    "```python\nprint('</s>')\n```", '{"a": [1, 2.5e-3], "b": null}',
    "🙂", "👩‍👩‍👧‍👦", "🏳️‍🌈 flag", "👍🏽👍🏿", "🇩🇪🇫🇷", "❤️", "🙂" * 40,
    "你好,世界。", "日本語のテキスト", "한국어 문장", "\u3000full-width\u3000space", "𠜎𠜱𡿺",
    "مرحبا بالعالم", "שָׁלוֹם עולם", "नमस्ते दुनिया", "ภาษาไทย", "\u202eright to left\u202c",
    "caf\xe9 na\xefve \xc5ngstr\xf6m", "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "Z\u0351\u036b\u0343\u036aa\u0320lgo", "ﬁ ﬀ ½ ²",
    "zero\u200bwidth", "\u200b", "\u200d", "\ufeffBOM", "soft\xadhyphen", "no\xa0break\u2009thin", "\u2028\u2029\x85",
    "\ufffd", "a\ufffd\ufffdb", "\ue000\U0010fffd", "\x01\x02\x07\x08\x0b\x0c\x1b\x1c\x1d\x1e\x7f",
    "</s>", "</s></s>", "</s> ", " </s>", " </s> ", "</s>after", "before</s>", "a </s> b", "a</s>b", "</s>\n</s>\n",
    "<s>", "<s>Hello", "<unk>", " <unk> ", "<s></s><unk>", "< /s>", "</S>", "</s", "[INST] x [/INST]", "<<SYS>>",
    "<|user|>", "<|user|>\nHi</s>\n<|assistant|>\n", "<|assistant|>", "<|assistant|>\n", "<|system|>\n</s>\n",
    "\x1b[31mred\x1b[0m", "<|im_end|>", "<0x0A>", "<0xE2><0x96><0x81>", "\\n", "%s {} {{ x }} {% raw %}", "&lt;&amp;",
    "<br/>", "Donaudampfschifffahrtsgesellschaft" * 8, "x" * 300, "0123456789" * 12, "3.14159 1,000,000 -1e-9 ½ ٣",
    "!?!?…—\u2013''\"\"“”", "A" * 17 + "a" * 17, "- [ ] item\n- [x] item\n\n1.  one\n2.  two",
    "$\\frac{a}{b}$", "https://a.b/c?d=e#f",
)
OPENINGS = (
    "<|assistant|>\n", "<|assistant|>\n<|assistant|>\n", "<|assistant|>", " <|assistant|>\n", "<|assistant|>\r\n",
    "<|user|>\n", "<|system|>\n", "</s>", "</s> ", " </s>", "</s></s>", "<s>", "<s> ", "\n", "\n ", " \n", "\t", "\r\n",
    "▁", " ▁", "🙂", "你", "\u0301", "\u200b", "\ufeff", "", "", "", "",
)
ENDINGS = (
    "</s>", " </s>", "</s> ", "</s>\n", "<|assistant|>\n", " ", "   ", "\n", "\r\n", "▁", "\u200d", "", "", "", "",
)
EMPTY = ("", " ", "  ", "\n", "\t", "\r\n", " \n ", "\u200b", "▁")
JOINERS = ("", "", " ", "  ", "\n", "\n\n", ". ", "</s>", "\t")
# fmt: on


def argilla_rows(count: int, seed: int = 42) -> list[Row]:
    """Return `count` rows with the columns of Argilla's cleaned UltraFeedback, for the lengths (1024, 512).

    Every fragment, opening and ending stands in each role, and every border of the truncation is met, where
    `count` is at least 1,500; the rest is chance.
    """
    rng = Random(seed)
    triples = [*_each(), *_borders(rng, 1024, 512)]
    rng.shuffle(triples)
    triples += [_by_chance(rng, 8) for _ in range(count - len(triples))]
    return [_argilla(rng, *triple) for triple in triples[:count]]


def short_rows(count: int, seed: int = 42) -> list[Row]:
    """Return `count` rows like `argilla_rows`, short: most pairs have 40 to 150 tokens; for the lengths (96, 48).

    The first words of instructions and answers are different in every row.
    """
    rng = Random(seed)
    triples: list[tuple[str, str, str]] = []
    while len(triples) < count:
        lengths = [rng.randrange(4, 36) for _ in range(3)]
        if len(triples) % 8 == 0:  # a prompt or an answer that has to be cut
            lengths[rng.randrange(3)] = rng.randrange(60, 110)
        place = len(triples)
        texts = [f"{words} {_flat(rng, 12)}" for words in (_words(rng, length) for length in lengths)]
        triples.append(
            (f"{place} {texts[0]}", f"{rng.choice(OPENINGS)}{place} {texts[1]}", f"{texts[2]} {place}")
        )
    return [_argilla(rng, *triple) for triple in triples]


def messages_rows(count: int, seed: int = 43) -> list[Row]:
    """Return `count` rows with the columns of H4's binarized UltraFeedback, for the lengths (1024, 512).

    In turn: one question; the same after a system turn; three turns before the answer; and these after a system
    turn. Chosen and rejected share all turns but the last.
    """
    rng = Random(seed)
    triples = [*_each(), *_borders(rng, 1024, 512)]
    rng.shuffle(triples)
    triples += [_by_chance(rng, 8) for _ in range(count - len(triples))]
    rows = []
    for place, (instruction, chosen, rejected) in enumerate(triples[:count]):
        turns = [_turn("user", instruction)]
        if place % 4 in (1, 3):
            turns.insert(0, _turn("system", rng.choice((*EMPTY, _chance(rng, 4), "You are terse."))))
        if place % 4 in (2, 3):
            turns += [_turn("assistant", _chance(rng, 4)), _turn("user", _chance(rng, 4))]
        both = ([*turns, _turn("assistant", answer)] for answer in (chosen, rejected))
        rows.append(dict(zip(("prompt", "chosen", "rejected"), (instruction, *both), strict=True)))
    return rows


def _each() -> Iterator[tuple[str, str, str]]:
    """Yield instruction, chosen, rejected with every fragment, opening and ending in every role."""
    for text in (*FRAGMENTS, *EMPTY):
        yield text, "An answer.", "Another one."
        yield "A question?", text, "Another one."
        yield "A question?", "An answer.", text
        yield text, text, text
    for opening in OPENINGS:
        yield f"{opening}A question?", f"{opening}An answer.", "Another one."
        yield f"{opening} A question?", "An answer.", f"{opening} Another one."
    for ending in ENDINGS:
        yield f"A question?{ending}", f"An answer.{ending}", "Another one."
        yield f"A question? {ending}", "An answer.", f"Another one. {ending}"
    for spaces in range(1, 41):
        run = " " * spaces
        yield f"{run}A{run}question?", f"{run}An answer.", f"Another{run}one.{run}"


def _borders(rng: Random, longest: int, longest_prompt: int) -> Iterator[tuple[str, str, str]]:
    """Yield instruction, chosen, rejected with lengths around every border of the truncation."""
    rest = longest - longest_prompt
    lengths = [  # of the prompt, and of the longer answer
        *(
            (prompt, longest - prompt)
            for prompt in (26, 30, 200, longest_prompt, longest_prompt + 100, longest - 8)
        ),
        *((prompt, rest) for prompt in (longest_prompt, longest_prompt + 1, longest_prompt + 7, 2 * longest)),
        *((prompt, rest + 100) for prompt in (longest_prompt - 100, longest_prompt, longest_prompt + 100)),
        *((prompt, longest + 29) for prompt in (26, 30, longest_prompt + 50)),
        *((prompt, 6) for prompt in (longest, longest + 80, 2 * longest)),
    ]
    for prompt, answer in lengths:
        for off in (-2, -1, 0, 1, 2):
            question = _words(rng, prompt - PROMPT_TOKENS)
            long = _words(rng, max(1, answer - ANSWER_TOKENS + off))
            for other in (_words(rng, 3), long, _words(rng, max(1, answer - ANSWER_TOKENS - 40))):
                chosen, rejected = rng.sample((long, other), 2)
                yield question, chosen, rejected
            # Not to the token: of a length near the border, but with texts of all kinds in it.
            nasty = _flat(rng, 200)
            yield f"{nasty} {question}", f"{long}{_flat(rng, 40)}", f"{_flat(rng, 40)} {long}"
    for kept in range(longest_prompt - PROMPT_TOKENS - 8, longest_prompt + 4):  # the cut passes over a </s>
        yield f"{_words(rng, rest)}</s>{_words(rng, kept)}", _words(rng, rest - 20), _words(rng, 9)
        yield _words(rng, kept), _words(rng, longest), _words(rng, 9)  # here over the system turn's


def _by_chance(rng: Random, most: int) -> tuple[str, str, str]:
    """Return instruction, chosen, rejected of up to `most` fragments each; sometimes empty, or answers equal."""
    instruction, chosen, rejected = (
        rng.choice(EMPTY) if rng.random() < 0.03 else _chance(rng, most) for _ in range(3)
    )
    return instruction, chosen, chosen if rng.random() < 0.03 else rejected


def _chance(rng: Random, most: int) -> str:
    """Return a text of 1 to `most` fragments and plain words between an opening and an ending."""
    makers: tuple[Callable[[], str], ...] = (
        lambda: rng.choice(FRAGMENTS),
        lambda: rng.choice(FRAGMENTS),
        lambda: _words(rng, rng.randrange(1, 60)),
        lambda: " " * rng.randrange(1, 41),
        lambda: chr(rng.choice((rng.randrange(0x20, 0x3000), rng.randrange(0x1F300, 0x1FAFF)))),
    )
    parts = [rng.choice(makers)() + rng.choice(JOINERS) for _ in range(rng.randrange(1, most + 1))]
    return rng.choice(OPENINGS) + "".join(parts) + rng.choice(ENDINGS)


def _flat(rng: Random, most: int) -> str:
    """Return one fragment, of at most `most` characters."""
    return rng.choice([text for text in FRAGMENTS if len(text) <= most])


def _words(rng: Random, tokens: int) -> str:
    """Return a text of so many tokens."""
    return " ".join(rng.choices(WORDS, k=tokens))


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _argilla(rng: Random, instruction: str, chosen: str, rejected: str) -> Row:
    return {
        "source": rng.choice(("sharegpt", "evol_instruct", "flan_v2_niv2")),
        "instruction": instruction,
        "chosen_response": chosen,
        "rejected_response": rejected,
        "chosen_avg_rating": rng.randrange(12, 21) / 4,
        "rejected_avg_rating": rng.randrange(4, 12) / 4,
        "chosen_model": rng.choice(("gpt-4", "wizardlm-7b")),
    }
