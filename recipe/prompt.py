"""From messages to token ids: chat template, tokenization, truncation.

A conversation is rendered whole and tokenized whole, as it will be when somebody chats with the model; the
prompt is what the renderings of prompt, chosen and rejected have in common. An answer ends with the first
end-of-sequence token after it, and nothing of the template that follows it is trained on.

Literal special tokens in the text (a user who writes `</s>`) stay text: they are tokenized as the characters
they are. Only the template's own special tokens become special ids.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from recipe.chat_templates import ZEPHYR_CHAT_TEMPLATE
from recipe.errors import UserError

Message = Mapping[str, str]

# Private-use characters. GUARD breaks up the literal special tokens of the text while the template is rendered;
# OPEN and CLOSE then wrap the template's own, which are the only ones left whole.
GUARD, OPEN, CLOSE = "\ue0f0", "\ue0f1", "\ue0f2"


@dataclass(frozen=True)
class TokenizedPair:
    """One preference pair as token ids.

    Attributes:
        prompt_ids: The conversation up to the answer.
        chosen_ids: The better answer, its end-of-sequence token included unless it was cut.
        rejected_ids: The worse answer, likewise.
        prompt_cut: Tokens cut from the prompt's beginning.
        answers_cut: Answers (0 to 2) whose end was cut.
    """

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    prompt_cut: int
    answers_cut: int


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
        special = [token for token in tokenizer.added_tokens_decoder.values() if token.special]
        longest_first = sorted((token.content for token in special), key=len, reverse=True)
        self._literal = re.compile("|".join(map(re.escape, longest_first)))
        self._backend, self._real_id = _wrapped_specials(tokenizer.backend_tokenizer, special)

    def render(self, messages: Sequence[Message], *, generate: bool = False) -> str:
        """Return the text of a conversation; with `generate`, up to where the assistant answers."""
        text = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=generate
        )
        assert isinstance(text, str)
        return text

    def encode(self, messages: Sequence[Message], *, generate: bool = False) -> list[int]:
        """Return the token ids of a conversation; literal special tokens in its text stay text."""
        guarded = [{**message, "content": self._guard(message["content"])} for message in messages]
        rendered = self.render(guarded, generate=generate)
        wrapped = self._literal.sub(lambda found: f"{OPEN}{found[0]}{CLOSE}", rendered).replace(GUARD, "")
        ids = self._backend.encode(wrapped, add_special_tokens=False).ids
        return [self._real_id.get(token, token) for token in ids]

    def pair(
        self,
        prompt: Sequence[Message],
        chosen: str,
        rejected: str,
        *,
        max_length: int,
        max_prompt_length: int,
    ) -> TokenizedPair:
        """Tokenize and, where it must be, truncate one preference pair.

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
        return TokenizedPair(prompt_ids, answers[0][:room], answers[1][:room], prompt_cut, answers_cut)

    def _guard(self, text: str) -> str:
        return self._literal.sub(lambda found: f"{found[0][0]}{GUARD}{found[0][1:]}", text)

    def _until_eos(self, ids: list[int]) -> list[int]:
        if self.eos_token_id in ids:
            return ids[: ids.index(self.eos_token_id) + 1]
        return [*ids, self.eos_token_id]


def _wrapped_specials(backend: Tokenizer, special: Sequence[AddedToken]) -> tuple[Tokenizer, dict[int, int]]:
    """Return a tokenizer that knows special tokens only in OPEN..CLOSE, and their real ids by its own."""
    wrapped = Tokenizer.from_str(backend.to_str())
    wrapped.encode_special_tokens = True
    real_id = {}
    for token in special:
        content = f"{OPEN}{token.content}{CLOSE}"
        wrapped.add_tokens(
            [AddedToken(content, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False, special=False)]
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
