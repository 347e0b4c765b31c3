"""The embedded base's tokenizer: a byte-fallback BPE of the Llama and Mistral kind, trained on the sample.

Like Mistral-7B's it has no pre-tokenizer, puts `▁` in front and for spaces, and falls back to bytes: what the
recipe does to the real base's tokens (the dummy prefix, `</s>` inside a text) happens here too.
"""

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from recipe.prompt.templates import ZEPHYR_CHAT_TEMPLATE

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
SPECIALS = (UNK, BOS, EOS)  # ids 0, 1, 2, as in Mistral's tokenizer
VOCAB_SIZE = 1024
MAX_LENGTH = 1024  # tokens

# Words and small numbers are learnt whole, punctuation apart; the turn markers `<|user|>` become one token.
_APART = Regex(r"\n|[^\w\s▁<|>]")


def _learn_merges(texts: Iterable[str], size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Train a plain BPE of `size` on `texts`; return its vocabulary, without the specials, and its merges in order."""
    learner = Tokenizer(models.BPE())
    # Only for training: it keeps merges inside words. What is encoded later needs no splitting then.
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(_APART, behavior="isolated")]
    )
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=["\n", "▁"], show_progress=False)
    learner.train_from_iterator(texts, trainer)
    model = json.loads(learner.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def train_tokenizer(texts: Iterable[str], vocab_size: int = VOCAB_SIZE) -> PreTrainedTokenizerFast:
    """Train the tokenizer on `texts`.

    Ids: the specials, the 256 bytes, then what was learnt, in the order it was learnt. There is no padding
    token of its own; `</s>` pads, as in Zephyr. No special token is added to what is encoded, as in the
    chat template's use everywhere in the recipe.

    Args:
        texts: What to learn the merges from; special tokens in them are removed first.
        vocab_size: Tokens at most, the specials and bytes included.
    """
    marked = "".join(f"<|{role}|>\n" for role in ("system", "user", "assistant"))
    plain = []
    for text in texts:
        for special in SPECIALS:
            text = text.replace(special, "")  # noqa: PLW2901
        plain += [text, marked]
    learnt, merges = _learn_merges(plain, vocab_size - len(SPECIALS) - 256)
    pieces = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(learnt, key=learnt.__getitem__)]
    vocab = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token=UNK, fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(special, special=True, normalized=False) for special in SPECIALS]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_LENGTH,
        chat_template=ZEPHYR_CHAT_TEMPLATE,
    )
