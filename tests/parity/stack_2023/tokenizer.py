"""The fast tokenizer of Mistral 7B v0.1 as it was in 2023, from its SentencePiece model."""

import importlib.util
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import LlamaTokenizerFast

# What Mistral's own tokenizer gives, without special tokens.
KNOWN = {"Hello": [22557], "</s>\n": [2, 28705, 13], "": []}


def make_tokenizer(out: Path) -> str:
    """Write tokenizer.json, tokenizer_config.json and what else transformers 4.35 saves, with EOS as padding.

    Raises:
        ValueError: The conversion gave another tokenizer than Mistral's.
    """
    with TemporaryDirectory() as folder:
        # Under the name that the converter knows.
        source = Path(shutil.copy(_sentencepiece_model(), Path(folder) / "tokenizer.model"))
        tokenizer = LlamaTokenizerFast(vocab_file=str(source), legacy=True)
        found = {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in KNOWN}
        ids = (len(tokenizer), tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
        if ids != (32000, 0, 1, 2) or found != KNOWN:
            raise ValueError(f"this is not Mistral's tokenizer: {ids}, {found}")
        tokenizer.pad_token = (
            tokenizer.eos_token
        )  # alignment-handbook's get_tokenizer: it has none of its own
        tokenizer.save_pretrained(str(out))
    return f"tokenizer: {len(tokenizer)} tokens in {out}"


def _sentencepiece_model() -> Path:
    """Return the file in mistral-common, which cannot be imported: its dependencies are not installed."""
    package = importlib.util.find_spec("mistral_common")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError("mistral-common is missing: see requirements-2023-nodeps.txt")
    return Path(package.submodule_search_locations[0]) / "data" / "tokenizer.model.v1"
