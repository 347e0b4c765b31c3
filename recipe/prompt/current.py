"""Tokenization as a model of today is chatted with: the rule `current`, for new recipes.

A conversation is rendered whole and tokenized whole, as it will be when somebody chats with the model; the
prompt is what the renderings of prompt, chosen and rejected have in common. An answer ends with the first
end-of-sequence token after it, and nothing of the template that follows it is trained on.

Literal special tokens in the text (a user who writes `</s>`) stay text: they are tokenized as the characters
they are. Only the template's own special tokens become special ids. Of the text not a character is changed.
"""

import re
from collections.abc import Sequence

from jinja2 import TemplateError
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from recipe.errors import UserError
from recipe.prompt.pair import Message, TokenizedPair
from recipe.prompt.templates import ZEPHYR_CHAT_TEMPLATE

# Private-use characters, of a plane that text hardly ever has any of: each three can be the marks of `_Marks`.
MARKS = range(0xF0000, 0x10FFFE, 3)


class ChatFormat:
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
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=generate
            )
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            said = " ".join(str(error).split())
            raise UserError(
                f"{self.tokenizer.name_or_path}: its chat template refuses a conversation of {roles}: {said}"
            ) from error
        assert isinstance(text, str)
        return text

    def encode(self, messages: Sequence[Message], *, generate: bool = False) -> list[int]:
        """Return the token ids of a conversation; literal special tokens in its text stay text."""
        marks = self._marks_for("".join(message["content"] for message in messages))
        hidden = [{**message, "content": marks.hide(message["content"])} for message in messages]
        return marks.encode(self.render(hidden, generate=generate))

    def pair(
        self,
        prompt: Sequence[Message],
        chosen: str,
        rejected: str,
        *,
        max_length: int,
        max_prompt_length: int,
    ) -> TokenizedPair:
        """Tokenize and truncate one preference pair; see `PairTokenizer.pair`.

        A pair fits when the prompt and its longer answer have at most `max_length` tokens. If it does not,
        the prompt keeps its last `max_prompt_length` tokens; if that is not enough, an answer keeps its
        beginning.
        """
        asked = self.encode(prompt, generate=True)
        answered = [
            self.encode([*prompt, {"role": "assistant", "content": text}]) for text in (chosen, rejected)
        ]
        shared = min(_common_prefix(asked, ids) for ids in answered)
        prompt_ids = asked[:shared]
        answers = [self._until_eos(ids[shared:]) for ids in answered]
        prompt_cut = 0
        if len(prompt_ids) + max(map(len, answers)) > max_length and len(prompt_ids) > max_prompt_length:
            prompt_cut = len(prompt_ids) - max_prompt_length
            prompt_ids = prompt_ids[prompt_cut:]
        room = max_length - len(prompt_ids)
        answers_cut = sum(len(ids) > room for ids in answers)
        chosen_ids, rejected_ids = (ids[:room] for ids in answers)
        return TokenizedPair(
            prompt_ids,
            [1] * len(prompt_ids),
            chosen_ids,
            [1] * len(chosen_ids),
            rejected_ids,
            [1] * len(rejected_ids),
            prompt_cut,
            answers_cut,
        )

    def _marks_for(self, text: str) -> "_Marks":
        """Return the first marks that `text` and the template hold none of."""
        taken = set(text).union(str(self.tokenizer.chat_template))
        first = next(first for first in MARKS if taken.isdisjoint(map(chr, range(first, first + 3))))
        if first not in self._marks:
            self._marks[first] = _Marks(self.tokenizer, first)
        return self._marks[first]

    def _until_eos(self, ids: list[int]) -> list[int]:
        if self.eos_token_id in ids:
            return ids[: ids.index(self.eos_token_id) + 1]
        return [*ids, self.eos_token_id]


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
        self._backend, self._real_id = self._wrapped(tokenizer.backend_tokenizer, special)

    def hide(self, text: str) -> str:
        """Return `text` with its literal special tokens hidden."""
        return self._literal.sub(
            lambda found: f"{self._guard}{self._special.index(found[0])}{self._guard}", text
        )

    def encode(self, rendered: str) -> list[int]:
        """Return the token ids of a conversation that was rendered with its text's special tokens hidden."""
        marked = self._hidden_or_own.sub(
            lambda found: (
                f"{self._open}{found[0]}{self._close}" if found["own"] else self._special[int(found[1])]
            ),
            rendered,
        )
        ids = self._backend.encode(marked, add_special_tokens=False).ids
        return [self._real_id.get(token, token) for token in ids]

    def _wrapped(self, backend: Tokenizer, special: Sequence[AddedToken]) -> tuple[Tokenizer, dict[int, int]]:
        """Return a tokenizer that knows special tokens only in OPEN..CLOSE, and their real ids by its own."""
        wrapped = Tokenizer.from_str(backend.to_str())
        wrapped.no_truncation()  # a tokenizer.json may ask for either
        wrapped.no_padding()
        wrapped.encode_special_tokens = True
        real_id = {}
        for token in special:
            content = f"{self._open}{token.content}{self._close}"
            wrapped.add_tokens(
                [
                    AddedToken(
                        content, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False, special=False
                    )
                ]
            )
            ours, real = wrapped.token_to_id(content), backend.token_to_id(token.content)
            assert ours is not None
            assert real is not None
            real_id[ours] = real
        return wrapped, real_id


def _common_prefix(ids: Sequence[int], other: Sequence[int]) -> int:
    for place, (one, two) in enumerate(zip(ids, other, strict=False)):
        if one != two:
            return place
    return min(len(ids), len(other))
