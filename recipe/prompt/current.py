"""Tokenization as a model of today is chatted with: the rule `current`, for new recipes.

A conversation is rendered whole and tokenized whole, as it will be when somebody chats with the model; the
prompt is what the renderings of prompt, chosen and rejected have in common. An answer ends with the first
end-of-sequence token after it, and nothing of the template that follows it is trained on.

Literal special tokens in the text (a user who writes `</s>`) stay text: they are tokenized as the characters
they are. Only the template's own special tokens become special ids. Of the text not a character is changed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt
from jinja2 import TemplateError
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from recipe.errors import UserError
from recipe.prompt.pair import Message, PairTokenizer, Texts, TokenizedPairs
from recipe.prompt.sides import Integers, Sides, encode
from recipe.prompt.templates import ZEPHYR_CHAT_TEMPLATE

# Private-use characters, of a plane that text hardly ever has any of: each three can be the marks of `_Marks`.
MARKS = range(0xF0000, 0x10FFFE, 3)


class ChatFormat(PairTokenizer):
    """A tokenizer with a chat template, for training.

    Args:
        tokenizer: A fast tokenizer; given the zephyr template, it is changed.
        template: `tokenizer` for its own chat template, `zephyr` to give it that one.

    Raises:
        UserError: It has no chat template, no end-of-sequence token, or is not a fast tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str = "tokenizer") -> None:
        name = tokenizer.name_or_path
        if not tokenizer.is_fast:
            raise UserError(f"{name}: its tokenizer has no tokenizer.json; convert it to a fast tokenizer")
        if tokenizer.eos_token_id is None:
            raise UserError(f"{name}: its tokenizer has no eos_token; set one in tokenizer_config.json")
        if template == "zephyr":
            tokenizer.chat_template = ZEPHYR_CHAT_TEMPLATE
        if not tokenizer.chat_template:
            raise UserError(
                f"{name}: its tokenizer has no chat template; set `chat_template: zephyr` in the recipe"
            )
        self.tokenizer = tokenizer
        self.eos_token_id: int = tokenizer.eos_token_id
        self._marks: dict[int, _Marks] = {}

    def render(self, messages: Sequence[Message], *, generate: bool = False) -> str:
        """Return the text of a conversation; with `generate`, up to where the assistant answers.

        Raises:
            UserError: The chat template refuses it.
        """
        return self._render([messages], generate=generate)[0]

    def encode(self, messages: Sequence[Message], *, generate: bool = False) -> list[int]:
        """Return the token ids of a conversation; literal special tokens in its text stay text."""
        ids: list[int] = self._encode(([messages], generate))[0].ids.tolist()
        return ids

    def pairs(self, texts: Sequence[Texts], *, max_length: int, max_prompt_length: int) -> TokenizedPairs:
        """Tokenize and truncate preference pairs; see `PairTokenizer.pairs`.

        A pair fits when the prompt and its longer answer have at most `max_length` tokens. If it does not,
        the prompt keeps its last `max_prompt_length` tokens; if that is not enough, an answer keeps its
        beginning.
        """
        prompts = [prompt for prompt, _, _ in texts]
        answers = ([text.chosen for text in texts], [text.rejected for text in texts])
        asked, *answered = self._encode(
            (prompts, True), *(([*map(_answered, prompts, each)], False) for each in answers)
        )
        shared = np.minimum(*(asked.shared_with(whole) for whole in answered))
        chosen, rejected = (self._until_eos(whole, shared) for whole in answered)
        longer = np.maximum(chosen.lengths, rejected.lengths)
        kept = np.where(shared + longer > max_length, np.minimum(shared, max_prompt_length), shared)
        room = max_length - kept
        return TokenizedPairs(
            asked.cut(shared - kept, kept),
            chosen.cut(0, np.minimum(chosen.lengths, room)),
            rejected.cut(0, np.minimum(rejected.lengths, room)),
            prompt_cut=shared - kept,
            answers_cut=(chosen.lengths > room).astype(np.int64) + (rejected.lengths > room),
        )

    def _render(self, conversations: Sequence[Sequence[Message]], *, generate: bool) -> list[str]:
        if not conversations:
            return []
        turns = [[dict(message) for message in messages] for messages in conversations]
        try:
            texts = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generate)
        except TemplateError as error:
            for messages in conversations[:-1]:
                self.render(messages, generate=generate)  # which of them it is
            roles = ", ".join(message["role"] for message in conversations[-1])
            said = " ".join(str(error).split())
            raise UserError(
                f"{self.tokenizer.name_or_path}: its chat template refuses a conversation of {roles}: {said}"
            ) from error
        return cast("list[str]", texts)

    def _encode(self, *groups: tuple[Sequence[Sequence[Message]], bool]) -> list[Sides]:
        """Tokenize groups of conversations, each with or without `generate`, in one go."""
        contents = {message["content"] for group, _ in groups for messages in group for message in messages}
        marks = self._marks_for(contents)
        rendered: list[str] = []
        for group, generate in groups:
            hidden = [
                [{**message, "content": marks.hide(message["content"])} for message in messages]
                for messages in group
            ]
            rendered += self._render(hidden, generate=generate)
        return marks.encode(rendered).parts([len(group) for group, _ in groups])

    def _marks_for(self, texts: Iterable[str]) -> "_Marks":
        """Return the first marks that neither the texts nor the template hold any of."""
        taken = [str(self.tokenizer.chat_template), *texts]
        first = next(
            first
            for first in MARKS
            if not any(chr(mark) in text for mark in range(first, first + 3) for text in taken)
        )
        if first not in self._marks:
            self._marks[first] = _Marks(self.tokenizer, first)
        return self._marks[first]

    def _until_eos(self, whole: Sides, first: Integers) -> Sides:
        """Return what follows each row's token `first`, up to an end of the sequence; with one, if it has none."""
        rest = whole.lengths - first
        kept = whole.until(np.flatnonzero(whole.ids == self.eos_token_id), first) + 1
        return whole.cut(first, np.minimum(kept, rest)).followed_by(self.eos_token_id, kept > rest)


class _Marks:
    """Three characters that tell a template's own special tokens from those that its text spells out.

    While the template is rendered, the text's are hidden: a number between two GUARDs stands for each. Those that
    are there afterwards are the template's own, and are wrapped in OPEN and CLOSE, which is how the tokenizer here
    knows them; the text's are put back.

    Args:
        tokenizer: Whose special tokens; a copy of it is made.
        first: The code point of GUARD; OPEN and CLOSE follow it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, first: int) -> None:
        self._guard, self._open, self._close = map(chr, range(first, first + 3))
        special = [token for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._special = sorted((token.content for token in special), key=len, reverse=True)
        literal = "|".join(map(re.escape, self._special))
        self._literal = re.compile(literal)
        self._hidden_or_own = re.compile(f"{self._guard}([0-9]+){self._guard}|(?P<own>{literal})")
        self._backend, self._real_ids = self._wrapped(tokenizer.backend_tokenizer, special)

    def hide(self, text: str) -> str:
        """Return `text` with its literal special tokens hidden."""
        return self._literal.sub(
            lambda found: f"{self._guard}{self._special.index(found[0])}{self._guard}", text
        )

    def encode(self, rendered: Sequence[str]) -> Sides:
        """Return the tokens of conversations that were rendered with their texts' special tokens hidden."""
        found = encode(self._backend, [self._marked(text) for text in rendered])
        return replace(found, ids=self._real_ids[found.ids])

    def _marked(self, rendered: str) -> str:
        """Wrap the template's own special tokens, and put those of the text back."""
        if self._guard not in rendered:  # far the most, and of what is left to find most begins alike
            return self._literal.sub(lambda found: f"{self._open}{found[0]}{self._close}", rendered)
        return self._hidden_or_own.sub(
            lambda found: (
                f"{self._open}{found[0]}{self._close}" if found["own"] else self._special[int(found[1])]
            ),
            rendered,
        )

    def _wrapped(
        self, backend: Tokenizer, special: Sequence[AddedToken]
    ) -> tuple[Tokenizer, npt.NDArray[np.int32]]:
        """Return a tokenizer that knows special tokens only in OPEN..CLOSE, and the real ids by its own."""
        wrapped = Tokenizer.from_str(backend.to_str())
        wrapped.no_truncation()  # a tokenizer.json may ask for either
        wrapped.no_padding()
        wrapped.encode_special_tokens = True
        real: dict[int, int | None] = {}
        for token in special:
            content = f"{self._open}{token.content}{self._close}"
            wrapped.add_tokens(
                [
                    AddedToken(
                        content, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False, special=False
                    )
                ]
            )
            ours = wrapped.token_to_id(content)
            assert ours is not None
            real[ours] = backend.token_to_id(token.content)
        ids = np.arange(max(wrapped.get_vocab().values()) + 1, dtype=np.int32)
        for ours, own in real.items():
            assert own is not None
            ids[ours] = own
        return wrapped, ids


def _answered(prompt: Sequence[Message], answer: str) -> list[Message]:
    return [*prompt, {"role": "assistant", "content": answer}]
