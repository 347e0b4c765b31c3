"""Texts of made feedback: slices of some megabytes of made English, with code, other scripts and emoji here and there.

Words are made of syllables by a rule, beside the commonest English ones, and drawn as often as words are (Zipf). To cut
a passage out of a text that is there costs next to nothing, and so a gigabyte takes seconds.
"""

from array import array
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.uf_marks import stats


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COMMON = _words(
    "the of and to a in is that it for as with was on are be by this you from or have an not at which but they can "
    "we one all there their has more if will would what when about so some who up out into then them other these time "
    "people first than only its over new two after also use because how our work well way even want any give most us"
)
ONSETS = _words("b c d f g h l m n p r s t v w b c d l m n p r s t br ch cl dr gr pl pr sh st tr")
NUCLEI = _words("a e i o u a e i o ai ea ou")
ENDINGS = ("", *_words("n r s l t ck nd ing er ed tion ly ment al ive ity able"))
ACCENTS = 80  # of so many words one has an accent
WORDS = 6000
CORPUS_WORDS = 2_000_000
CODE = (
    "def {0}_{1}({2}):\n    return {2} * {3} + {1}[{3}]\n",
    'for {2} in range({3}):\n    print(f"{0}: {{{2}}}\\t{1}")\n',
    'if ({0} != null && {1} <= {3}) {{\n\tthis.{2} = "{0}";\n}}\n',
    "SELECT {0}, {1} FROM {2} WHERE {0} > {3};\n",
    "<div class=\"{0}\"><a href='/{1}/{3}'>{2}</a></div>\n",
)
EMOJI = (
    "\U0001f600",
    "\U0001f44d",
    "\U0001f680",
    "\u2764\ufe0f",
    "\U0001f1eb\U0001f1f7",
    "\U0001f468\u200d\U0001f469",
)
STOCK_BELOW = (
    44  # characters; so short an answer is one that others give too, as often as `unique_responses` says
)
STOCK_WORDS = (
    "Yes",
    "No",
    "True",
    "False",
    "Positive",
    "Negative",
    "It is possible",
    "Not enough information",
)
STOCK = 420
PHRASES = {
    "bad": (
        "The answer fails to follow the instruction",
        "This response is wrong and misleading",
        "Poor work",
    ),
    "middling": ("The answer is partly right", "The response addresses the task, but", "Some of it helps"),
    "good": (
        "The answer is excellent",
        "Well done: the response is accurate and complete",
        "A very good answer",
    ),
}
SPECIAL = ("</s>", "<|user|>")
EDGES = (" ", "\n", "\n\n", "\t", "  \n", "\u00a0")
ODD_CHARACTER = "\ufffd"

Numbers = npt.NDArray[np.int64]


def lengths(z: npt.NDArray[np.floating[Any]], kind: str) -> Numbers:
    """Return lengths in characters for standard normal draws: log-normal between the published percentiles."""
    tokens, normal = stats()["tokens"][kind], NormalDist()
    names = ("p10", "p50", "p90", "p95", "p99")
    at = [-3.5, *(normal.inv_cdf(int(name[1:]) / 100) for name in names), 3.3]
    logs = np.log([stats()["assumed"]["tokens_min"], *(tokens[name] for name in (*names, "max"))])
    found: Numbers = np.rint(np.exp(np.interp(z, at, logs)) * stats()["chars_per_token"]).astype(np.int64)
    return found


def log_normal(rng: np.random.Generator, shape: Sequence[int], mean: float, spread: float) -> Numbers:
    """Return lengths of such a mean."""
    drawn = np.exp(np.log(mean) - spread**2 / 2 + spread * rng.standard_normal(shape))
    found: Numbers = np.rint(drawn).clip(8).astype(np.int64)
    return found


class Texts:
    """All passages that can be cut, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        words = _vocabulary(rng)
        self.english, self.starts = _corpus(rng, words)
        self.code = "".join(_code(rng, words) for _ in range(4000))
        characters = rng.integers(0x4E00, 0x9000, 200_000)
        characters[::17], characters[::61] = 0xFF0C, 0x3002  # comma, full stop
        self.chinese = "".join(map(chr, characters.tolist()))
        self.stock = _stock(words)
        self.systems = [
            "".join(self.passage(int(start), int(length)))
            for start, length in zip(
                rng.integers(len(self.starts), size=stats()["system_prompts"]),
                rng.integers(150, 420, stats()["system_prompts"]),
                strict=True,
            )
        ]

    def passage(self, start: int, length: int, end: str = ".") -> str:
        """Return `length` characters of English or little less, from the word of such a number on."""
        at = self.starts[start]
        return self.english[at : at + length - 1].rstrip(" ,.\n") + end

    def prompt(self, number: int, start: int, length: int) -> str:
        """Return the prompt of such a number; a short one names it, so that no other has the same text."""
        if length < 60:
            return self.passage(start, max(8, length - 7), f" {number}?")
        text = self.passage(start, length, "?")
        kind = start % 50
        if kind == 0:
            at = start % (len(self.chinese) - length) if length < len(self.chinese) else 0
            return (self.chinese[at : at + length // 2] + text[: length // 4]).rstrip()
        if kind in (1, 2):
            return f"{text}\n\n```\n{self._code(start, length // 2)}```"
        return text

    def answer(self, start: int, length: int) -> str:
        """Return an answer: English, and of a hundred, some with code, emoji, other quotes, or in another script."""
        if length < STOCK_BELOW:
            return self.stock[start % STOCK]
        text = self.passage(start, length)
        kind = start % 100
        if kind >= 12 or length < 60:
            return text
        if kind < 6:
            return f"{text[: length // 2]}\n\n```python\n{self._code(start, length // 2)}```"
        if kind < 8:
            return f"{text} {EMOJI[start % len(EMOJI)]}"
        if kind < 11:
            return text.replace(". ", " \u2014 \u201c", 1).replace(".", "\u2026\u201d", 1)
        at = start % (len(self.chinese) - 8000)
        return (self.chinese[at : at + min(length, 8000) // 2] + text[: length // 8]).rstrip()

    def _code(self, start: int, length: int) -> str:
        at = self.code.index("\n", start % (len(self.code) // 2)) + 1
        return self.code[at : at + length] + "\n"


@cache
def texts(seed: int) -> Texts:
    """Return the texts of a seed."""
    return Texts(seed)


def _vocabulary(rng: np.random.Generator) -> list[str]:
    words = dict.fromkeys(COMMON)
    while len(words) < WORDS:
        syllables = range(int(rng.integers(1, 4)))
        word = "".join(_one(rng, ONSETS) + _one(rng, NUCLEI) for _ in syllables) + _one(rng, ENDINGS)
        words[f"{word}é" if len(words) % ACCENTS == 0 else word] = None
    return list(words)


def _one(rng: np.random.Generator, some: Sequence[str]) -> str:
    return some[int(rng.integers(len(some)))]


def _corpus(rng: np.random.Generator, words: list[str]) -> tuple[str, "array[int]"]:
    """Return running text in sentences, paragraphs and lists, and where each word starts."""
    ranks = np.arange(1, len(words) + 1)
    weights = 1 / (ranks + 2.7)
    drawn = rng.choice(len(words), CORPUS_WORDS, p=weights / weights.sum())
    ends = rng.choice(5, CORPUS_WORDS, p=(0.86, 0.06, 0.065, 0.01, 0.005))
    starts_sentence = np.concatenate([[True], ends[:-1] >= 2])
    forms = np.array(
        [
            f"{form}{end}"
            for form in (*words, *map(str.capitalize, words))
            for end in (" ", ", ", ". ", ".\n\n", ":\n1. ")
        ],
        dtype=object,
    )
    chosen = forms[(drawn + starts_sentence * len(words)) * 5 + ends].tolist()
    sizes = np.fromiter(map(len, chosen), np.int64, len(chosen))
    return "".join(chosen), array("q", (sizes.cumsum() - sizes)[: -CORPUS_WORDS // 50].tobytes())


def _code(rng: np.random.Generator, words: list[str]) -> str:
    names = [words[int(at)] for at in rng.integers(len(words), size=3)]
    return _one(rng, CODE).format(*names, int(rng.integers(1000)))


def _stock(words: list[str]) -> list[str]:
    """Return short answers that are given again and again."""
    return [*(f"{one}." for one in STOCK_WORDS), *words[200 : 200 + STOCK - len(STOCK_WORDS)]]
