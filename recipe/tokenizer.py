"""A tokenizer, loaded as its tokenizer.json has it, and saved for Transformers of any age."""

import json
from pathlib import Path

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from recipe.errors import UserError


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer.json of a folder, with the names of its special tokens and its chat template.

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


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer's files, of a class that Transformers from 4.45 on loads as the file stands."""
    tokenizer.save_pretrained(str(folder))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    for said_of_here in ("backend", "is_local", "local_files_only"):
        config.pop(said_of_here, None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def refuse_disagreement(tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer whose two files say different things of a special token.

    What is loaded follows tokenizer_config.json; in 2023 it was sometimes one, sometimes the other.

    Raises:
        UserError: Names the first such token.
    """
    folder = Path(tokenizer.name_or_path)
    files = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if not all(file.is_file() for file in files):
        return
    listed, named = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    named = named.get("added_tokens_decoder", {})
    for token in listed.get("added_tokens", ()):
        other = named.get(str(token["id"]), token)
        for key in ("content", "normalized", "lstrip", "rstrip", "single_word"):
            if other.get(key, token[key]) != token[key]:
                raise UserError(
                    f"{folder}: tokenizer.json and tokenizer_config.json differ in {key} of {token['content']}, and "
                    "tokenization zephyr-2023 can't know which held; make them agree"
                )
