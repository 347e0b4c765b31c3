"""A row's tokens, as a person reads them."""

from rich.text import Text
from transformers import PreTrainedTokenizerBase

from recipe.progress import Reporter
from recipe.tokens import TokenizedRow

NOT_LEARNT, LEARNT, MASKED = "cyan", "green", "red"
LEGEND = (
    "cyan: prompt, not learnt; green: answer, learnt; ⟦red⟧: masked, no later token attends to it "
    "(in an answer it is learnt all the same)"
)
LINE_ENDS = ("<0x0A>", "Ċ", "\n")  # of byte fallback, of byte-level tokenizers, as it is


def show_rows_head(reporter: Reporter) -> None:
    """Say what the colours mean."""
    reporter.say(LEGEND)


def show_row(row: TokenizedRow, tokenizer: PreTrainedTokenizerBase, reporter: Reporter) -> None:
    """Print a row's sides as pieces of the vocabulary; a masked one stands in ⟦brackets⟧."""
    pair, eos = row.pair, tokenizer.eos_token_id
    reporter.head(f"row {row.number}")
    for side, ids, mask, style in (
        ("prompt", pair.prompt_ids, pair.prompt_mask, NOT_LEARNT),
        ("chosen", pair.chosen_ids, pair.chosen_mask, LEARNT),
        ("rejected", pair.rejected_ids, pair.rejected_mask, LEARNT),
    ):
        said = f"{side}: {len(ids)} tokens, {mask.count(0)} masked"
        if side == "prompt" and pair.prompt_cut:
            said += f", {pair.prompt_cut} cut from its beginning"
        if side != "prompt" and ids[-1:] != [eos]:
            said += ", its end cut"
        reporter.say(said)
        reporter.print(_pieces([str(tokenizer.convert_ids_to_tokens(one)) for one in ids], mask, style))


def _pieces(pieces: list[str], mask: list[int], style: str) -> Text:
    text = Text()
    for piece, seen in zip(pieces, mask, strict=True):
        ends_line = piece.endswith(LINE_ENDS)
        text.append(*((piece, style) if seen else (f"⟦{piece}⟧", MASKED)))
        text.append("\n" if ends_line and not piece.endswith("\n") else "")
    text.rstrip()
    return text
