"""Tokenization as Zephyr and Notus had it in 2023: alignment-handbook v0.2.0 over trl 0.7.4, quirks included.

Each quirk changes what the model learns, so "the recipe unchanged" means to keep it. `nox -s parity` holds all
of this against the original libraries. New recipes are better off with `current`.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from recipe.prompt.pair import Message, TokenizedPair

ASSISTANT = "<|assistant|>\n"

Side = tuple[list[int], list[int]]
"""Token ids of a text, and their attention mask."""


class Zephyr2023:
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

    def pair(
        self,
        prompt: Sequence[Message],
        chosen: str,
        rejected: str,
        *,
        max_length: int,
        max_prompt_length: int,
    ) -> TokenizedPair:
        """Tokenize and truncate one preference pair; see `PairTokenizer.pair`."""
        asked = self.side(self.prompt_text(prompt))
        better, worse = (self.end(self.side(self.answer_text(prompt, text))) for text in (chosen, rejected))
        before = [len(ids) for ids, _ in (asked, better, worse)]
        asked, better, worse = self.truncate(asked, better, worse, max_length, max_prompt_length)
        after = [len(ids) for ids, _ in (asked, better, worse)]
        return TokenizedPair(
            *asked,
            *better,
            *worse,
            prompt_cut=before[0] - after[0],
            answers_cut=sum(was > now for was, now in zip(before[1:], after[1:], strict=True)),
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

    def side(self, text: str) -> Side:
        """Tokenize a text on its own.

        Quirks: prompt and answers apart, so that each begins with the tokenizer's dummy space (joint tokenization
        gives other first tokens); no `<s>` anywhere; and a special token that somebody wrote into a text is
        that token. No token attends to a `</s>` of the text, a turn's end included: trl took them for padding.
        """
        ids = self._backend.encode(text, add_special_tokens=False).ids
        return ids, [int(token != self.eos_token_id) for token in ids]

    def end(self, answer: Side) -> Side:
        """Append the end of the sequence.

        Quirk: the template has put one before the line's end already. This second one is attended to.
        """
        ids, mask = answer
        return [*ids, self.eos_token_id], [*mask, 1]

    def truncate(
        self, prompt: Side, chosen: Side, rejected: Side, max_length: int, max_prompt_length: int
    ) -> tuple[Side, Side, Side]:
        """Cut what is too long, the prompt first.

        Quirks: the longer answer decides for both. If the prompt's last `max_prompt_length` tokens do not make
        room enough, both answers keep `max_length - max_prompt_length`, however short the prompt is.
        """
        longest = max(len(chosen[0]), len(rejected[0]))
        if len(prompt[0]) + longest > max_length:
            prompt = prompt[0][-max_prompt_length:], prompt[1][-max_prompt_length:]
        if len(prompt[0]) + longest > max_length:
            room = max_length - max_prompt_length
            chosen = chosen[0][:room], chosen[1][:room]
            rejected = rejected[0][:room], rejected[1][:room]
        return prompt, chosen, rejected
