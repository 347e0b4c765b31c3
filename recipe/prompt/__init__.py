"""From messages to token ids: chat template, tokenization, truncation, by the rule that a recipe chooses.

A new rule is a class with the `pairs` of `PairTokenizer`, a name in `Science.tokenization`, and a line in
`pair_tokenizer`.
"""

from transformers import PreTrainedTokenizerBase

from recipe.prompt.current import ChatFormat
from recipe.prompt.pair import Message, PairTokenizer, Texts, TokenizedPair, TokenizedPairs
from recipe.prompt.zephyr_2023 import Zephyr2023
from recipe.schema import Science
from recipe.tokenizer import refuse_disagreement

__all__ = [
    "ChatFormat",
    "Message",
    "PairTokenizer",
    "Texts",
    "TokenizedPair",
    "TokenizedPairs",
    "Zephyr2023",
    "pair_tokenizer",
]


def pair_tokenizer(tokenizer: PreTrainedTokenizerBase, science: Science) -> PairTokenizer:
    """Return the rule that `science.tokenization` names, over `tokenizer`, which gets the recipe's chat template.

    Raises:
        UserError: The tokenizer is not one that the rule can work with.
    """
    chat = ChatFormat(tokenizer, science.chat_template)  # gives the tokenizer its template, by whichever rule
    if science.tokenization == "current":
        return chat
    refuse_disagreement(tokenizer)
    return Zephyr2023(tokenizer)
