"""What a recipe makes of its rows, token by token: to look at, and for scripts."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from rich.text import Text
from transformers import PreTrainedTokenizerBase

from recipe.builtin import make_feedback
from recipe.builtin.base import base_tokenizer
from recipe.curate import pairs_in_order
from recipe.curate.pair import Reason
from recipe.fetch import bring_data, bring_tokenizer
from recipe.progress import Reporter
from recipe.prompt import TokenizedPair, pair_tokenizer
from recipe.schema import Recipe, Science
from recipe.tokenizer import load_tokenizer

SIDES = ("prompt", "chosen", "rejected")
# A prompt's tokens and an answer's, in turn in two shades; a token that none attends to stands out.
SHADES = {
    "prompt": ("cyan", "bright_cyan"),
    "chosen": ("green", "bright_green"),
    "rejected": ("yellow", "bright_yellow"),
}
MASKED = "reverse red"


@dataclass(frozen=True)
class TokenizedRow:
    """A row of the data as the model will have it; `number` counts the rows of the training files from 0."""

    number: int
    pair: TokenizedPair

    def as_dict(self) -> dict[str, object]:
        """Return `row`, and each side's ids and mask."""
        sides = {field.name: getattr(self.pair, field.name) for field in fields(self.pair)}
        return {"row": self.number} | {key: value for key, value in sides.items() if not key.endswith("_cut")}


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
                train,
                dataset_format=science.dataset_format,
                by=science.binarize_by,
                leave_out=science.leave_out,
                seed=science.seed,
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


def show_row(row: TokenizedRow, tokenizer: PreTrainedTokenizerBase, reporter: Reporter) -> None:
    """Print a row's sides as pieces of the vocabulary, coloured; a masked one stands in ⟦brackets⟧ as well."""
    pair = row.pair
    reporter.head(f"row {row.number}")
    for side in SIDES:
        ids, mask = getattr(pair, f"{side}_ids"), getattr(pair, f"{side}_mask")
        cut = pair.prompt_cut if side == "prompt" else 0
        said = f"{len(ids)} tokens, {mask.count(0)} masked" + (
            f", {cut} cut from its beginning" if cut else ""
        )
        reporter.say(f"{side}: {said}" + ("; learnt" if side != "prompt" else ""))
        text = Text()
        for place, (piece, seen) in enumerate(zip(tokenizer.convert_ids_to_tokens(ids), mask, strict=True)):
            shown = f"{piece}\n" if piece in {"<0x0A>", "Ċ"} else str(piece)
            text.append(shown if seen else f"⟦{shown}⟧", SHADES[side][place % 2] if seen else MASKED)
        reporter.print(text)
    if pair.answers_cut:
        reporter.say(f"{pair.answers_cut} answer(s) cut at the end")


def _tokenizer(science: Science, reporter: Reporter) -> PreTrainedTokenizerBase:
    if science.tokenizer_source == "builtin":
        return base_tokenizer(make_feedback())
    return load_tokenizer(bring_tokenizer(science, reporter))
