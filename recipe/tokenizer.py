"""A tokenizer, as its files have it."""

from pathlib import Path

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from recipe.errors import UserError


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer.json of a folder as it stands, with the names of its special tokens and its chat template.

    Not through AutoTokenizer: Transformers 5 builds a Llama tokenizer anew from its vocabulary, and then splits a
    text that begins with a space, or that follows a special token, otherwise than the file says.

    Raises:
        UserError: It can't be read.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as error:  # tokenizers raises no narrower type
        said = str(error).strip().splitlines()[0]
        raise UserError(f"{folder}: its tokenizer can't be read ({said}); save it again") from None
    return tokenizer
