"""What a recipe makes of its rows, token by token: to look at, and for scripts."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from recipe.builtin import make_feedback
from recipe.builtin.base import base_tokenizer
from recipe.curate import Rules, pairs_in_order
from recipe.curate.pair import Reason
from recipe.fetch import bring_data, bring_tokenizer
from recipe.progress import Reporter
from recipe.prompt import TokenizedPair, pair_tokenizer
from recipe.schema import Recipe, Science
from recipe.tokenizer import load_tokenizer


@dataclass(frozen=True)
class TokenizedRow:
    """A row of the data as the model will have it; `number` counts the rows of the training files from 0."""

    number: int
    pair: TokenizedPair

    def as_dict(self) -> dict[str, object]:
        """Return `row`, and each side's ids and mask."""
        return {"row": self.number, **self.pair.as_dict()}


class RecipeTokens:
    """A recipe's rows in the order of its training files, tokenized and truncated.

    Args:
        recipe: Names the data, the base or tokenizer, and the rules.
        reporter: Where downloads are told of.

    Attributes:
        tokenizer: The one in use.
        left_out: After the rows were read: how many give no pair, by reason.

    Raises:
        UserError: The tokenizer or the data are not there, or not as they have to be.
    """

    def __init__(self, recipe: Recipe, reporter: Reporter) -> None:
        self.science = recipe.science
        self.reporter = reporter
        self.tokenizer = _tokenizer(recipe.science, reporter)
        self.left_out: Counter[Reason] = Counter()

    def __iter__(self) -> Iterator[TokenizedRow]:
        science = self.science
        rule = pair_tokenizer(self.tokenizer, science)
        with tempfile.TemporaryDirectory() as folder:
            train, _, _ = bring_data(science, Path(folder), self.reporter)
            for number, pair in pairs_in_order(
                train, rules=Rules.of(science), dataset_format=science.dataset_format
            ):
                if isinstance(pair, Reason):
                    self.left_out[pair] += 1
                    continue
                tokenized = rule.pair(
                    [turn._asdict() for turn in pair.prompt],
                    pair.chosen,
                    pair.rejected,
                    max_length=science.max_length,
                    max_prompt_length=science.max_prompt_length,
                )
                yield TokenizedRow(number, tokenized)


def _tokenizer(science: Science, reporter: Reporter) -> PreTrainedTokenizerBase:
    if science.tokenizer_source == "builtin":
        return base_tokenizer(make_feedback())
    return load_tokenizer(bring_tokenizer(science, reporter))
