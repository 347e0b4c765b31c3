"""Tokenization as Zephyr and Notus had it in 2023: alignment-handbook v0.2.0 over trl 0.7.4, quirks included.

Each quirk changes what the model learns, so "the recipe unchanged" means to keep it. `nox -s parity` holds all
of this against the original libraries. New recipes are better off with `current`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from recipe.prompt.pair import Message, PairTokenizer, Texts, TokenizedPairs
from recipe.prompt.sides import Sides, encode

ASSISTANT = "<|assistant|>\n"


class Zephyr2023(PairTokenizer):
    """The rule `zephyr-2023`.

    Args:
        tokenizer: A fast tokenizer with an end-of-sequence token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        assert tokenizer.eos_token_id is not None
        self.eos_token: str = tokenizer.eos_token
        self.eos_token_id: int = tokenizer.eos_token_id
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()  # a tokenizer.json may ask for either; in 2023 the call overruled it
        self._backend.no_padding()

    def pairs(self, texts: Sequence[Texts], *, max_length: int, max_prompt_length: int) -> TokenizedPairs:
        """Tokenize and truncate preference pairs; see `PairTokenizer.pairs`."""
        asked, better, worse = self.sides(
            [self.prompt_text(prompt) for prompt, _, _ in texts],
            [self.answer_text(prompt, chosen) for prompt, chosen, _ in texts],
            [self.answer_text(prompt, rejected) for prompt, _, rejected in texts],
        )
        whole = asked, self.end(better), self.end(worse)
        sides = self.truncate(*whole, max_length, max_prompt_length)
        lost = [before.lengths - after.lengths for before, after in zip(whole, sides, strict=True)]
        return TokenizedPairs(
            *sides, prompt_cut=lost[0], answers_cut=(lost[1] > 0).astype(np.int64) + (lost[2] > 0)
        )

    def prompt_text(self, prompt: Sequence[Message]) -> str:
        """Return the text that the answers follow.

        Quirks: an empty system turn where there is none; and of a longer conversation only the first question.
        """
        system = prompt[0] if prompt[0]["role"] == "system" else {"role": "system", "content": ""}
        question = next(message for message in prompt if message["role"] == "user")
        return self.turn(system) + self.turn(question) + ASSISTANT

    def answer_text(self, prompt: Sequence[Message], answer: str) -> str:
        """Return the text that is learnt.

        Quirks: it is all that follows the conversation's first turn, whatever that is. After a system turn the
        question is thus there a second time, and of a longer conversation all later turns are learnt, the user's
        as well. One `<|assistant|>` is taken from its beginning, and no more.
        """
        turns = [*prompt[1:], {"role": "assistant", "content": answer}]
        return "".join(map(self.turn, turns)).removeprefix(ASSISTANT)

    def turn(self, message: Message) -> str:
        """Return one turn as the zephyr template has it: its text as it is, nothing stripped."""
        return f"<|{message['role']}|>\n{message['content']}{self.eos_token}\n"

    def sides(self, *texts: Sequence[str]) -> list[Sides]:
        """Tokenize texts, each on its own.

        Quirks: prompt and answers apart, so that each begins with the tokenizer's dummy space (joint tokenization
        gives other first tokens); no `<s>` anywhere; and a special token that somebody wrote into a text is
        that token. No token attends to a `</s>` of the text, a turn's end included: trl took them for padding.
        """
        found = encode(self._backend, [text for some in texts for text in some])
        seen = replace(found, mask=(found.ids != self.eos_token_id).astype(np.int8))
        return seen.parts([len(some) for some in texts])

    def end(self, answers: Sides) -> Sides:
        """Append the end of the sequence.

        Quirk: the template has put one before the line's end already. This second one is attended to.
        """
        return answers.followed_by(self.eos_token_id, np.ones(len(answers), np.bool_))

    def truncate(
        self, prompt: Sides, chosen: Sides, rejected: Sides, max_length: int, max_prompt_length: int
    ) -> tuple[Sides, Sides, Sides]:
        """Cut what is too long, the prompt first.

        Quirks: the longer answer decides for both. If the prompt's last `max_prompt_length` tokens do not make
        room enough, both answers keep `max_length - max_prompt_length`, however short the prompt is.
        """
        asked, longest = prompt.lengths, np.maximum(chosen.lengths, rejected.lengths)
        kept = np.where(asked + longest > max_length, np.minimum(asked, max_prompt_length), asked)
        room = np.where(kept + longest > max_length, max_length - max_prompt_length, longest)
        return (
            prompt.cut(asked - kept, kept),
            chosen.cut(0, np.minimum(chosen.lengths, room)),
            rejected.cut(0, np.minimum(rejected.lengths, room)),
        )
