"""The rows of a benchmark: real ones of a file, or random ids of real lengths."""

import itertools
import math
import random
from pathlib import Path
from statistics import NormalDist

from benchmarks.work import Row
from recipe.errors import UserError
from recipe.progress import Reporter

# Of 1,200 real UltraFeedback pairs, tokenized and truncated for Mistral: medians as measured; spreads, and how much
# the two answers' lengths go together, such that after truncation the means are (186, 285 and 259 tokens), and what a
# pair is with its prompt once (730), padded alone (1,058) and padded in twos (1,352).
MEDIANS = {"prompt": 114, "chosen": 228, "rejected": 208}
SPREADS = {"prompt": 1.30, "chosen": 0.745, "rejected": 0.715}
TOGETHER = 0.5
MAX_LENGTH, MAX_PROMPT_LENGTH = 1024, 512
RECIPE = "notus-7b-v1-lora"


def drawn_rows(pairs: int, vocab_size: int, seed: int) -> list[Row]:
    """Return pairs of random ids, their lengths drawn from lognormals and truncated as the recipe does.

    The draws are the middles of as many equal shares of each distribution as there are pairs, in random order: so a
    few pairs have the mean and the median of many.
    """
    draw = random.Random(seed)
    return [
        _row({side: [draw.randrange(3, vocab_size) for _ in range(length)] for side, length in cut.items()})
        for cut in map(_cut, _lengths(pairs, draw))
    ]


def drawn_lengths(pairs: int, seed: int) -> list[dict[str, int]]:
    """Return the lengths of such pairs in tokens, by side, before they are truncated."""
    return _lengths(pairs, random.Random(seed))


def _lengths(pairs: int, draw: random.Random) -> list[dict[str, int]]:
    chosen, noise, prompt = ([draw.gauss(0, 1) for _ in range(pairs)] for _ in range(3))
    rejected = [
        TOGETHER * one + (1 - TOGETHER**2) ** 0.5 * other for one, other in zip(chosen, noise, strict=True)
    ]
    sides = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    lengths = {
        side: [round(MEDIANS[side] * math.exp(SPREADS[side] * z)) for z in _evened(draws)]
        for side, draws in sides.items()
    }
    return [{side: lengths[side][at] for side in sides} for at in range(pairs)]


def rows_of_file(file: Path, tokenizer: Path, pairs: int, reporter: Reporter) -> list[Row]:
    """Return the first pairs of a file of preference data, tokenized and truncated by the rule `current`.

    Raises:
        UserError: The file or the tokenizer can't be read, or there are too few pairs.
    """
    from recipe.load import load_recipe
    from recipe.tokens import RecipeTokens

    recipe = load_recipe(
        RECIPE,
        [
            f"dataset={file}",
            "dataset_splits=[train]",
            f"tokenizer={tokenizer}",
            "tokenization=current",
            f"max_length={MAX_LENGTH}",
            f"max_prompt_length={MAX_PROMPT_LENGTH}",
        ],
    )
    found = [row.pair.as_dict() for row in itertools.islice(RecipeTokens(recipe, reporter), pairs)]
    if len(found) < pairs:
        raise UserError(f"{file}: {len(found)} pairs, and {pairs} are wanted; give more, or fewer --steps")
    return found


def _evened(draws: list[float]) -> list[float]:
    """Return the standard normal's quantiles in the order of `draws`."""
    order = sorted(range(len(draws)), key=draws.__getitem__)
    evened = [0.0] * len(draws)
    for rank, at in enumerate(order):
        evened[at] = NormalDist().inv_cdf((rank + 0.5) / len(draws))
    return evened


def _cut(lengths: dict[str, int]) -> dict[str, int]:
    """Truncate as `recipe.prompt.current` does."""
    prompt, chosen, rejected = (max(1, lengths[side]) for side in ("prompt", "chosen", "rejected"))
    if prompt + max(chosen, rejected) > MAX_LENGTH:
        prompt = min(prompt, MAX_PROMPT_LENGTH)
    room = MAX_LENGTH - prompt
    return {"prompt": prompt, "chosen": min(chosen, room), "rejected": min(rejected, room)}


def _row(ids: dict[str, list[int]]) -> Row:
    row: Row = {}
    for side, side_ids in ids.items():
        row |= {f"{side}_ids": side_ids, f"{side}_mask": [1] * len(side_ids)}
    return row
