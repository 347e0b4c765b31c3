"""A preference pair as token ids, and what makes many of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recipe.prompt.sides import Integers, Sides

Message = Mapping[str, str]
"""A turn: `role` (system, user or assistant) and `content`."""


class Texts(NamedTuple):
    """A preference pair as texts.

    Attributes:
        prompt: The turns before the answer; the last one is the user's.
        chosen: The better answer.
        rejected: The worse one.
    """

    prompt: Sequence[Message]
    chosen: str
    rejected: str


@dataclass(frozen=True)
class TokenizedPair:
    """One preference pair as token ids.

    The labels need no list of their own: -100 on the prompt, the ids themselves on the answers.

    Attributes:
        prompt_ids: The conversation up to the answer.
        prompt_mask: 1 where later tokens may attend to the prompt's token, 0 where none does.
        chosen_ids: The better answer, its end-of-sequence tokens included unless they were cut.
        chosen_mask: The same for the better answer.
        rejected_ids: The worse answer, likewise.
        rejected_mask: The same for the worse answer.
        prompt_cut: Tokens cut from the prompt's beginning.
        answers_cut: Answers (0 to 2) whose end was cut.
    """

    prompt_ids: list[int]
    prompt_mask: list[int]
    chosen_ids: list[int]
    chosen_mask: list[int]
    rejected_ids: list[int]
    rejected_mask: list[int]
    prompt_cut: int
    answers_cut: int

    def as_dict(self) -> dict[str, list[int]]:
        """Return each side's ids and mask, `prompt_ids` first."""
        return {
            f"{side}_{what}": getattr(self, f"{side}_{what}")
            for side in ("prompt", "chosen", "rejected")
            for what in ("ids", "mask")
        }


@dataclass(frozen=True, eq=False)
class TokenizedPairs:
    """Preference pairs as token ids, all in one.

    Attributes:
        prompt: As `TokenizedPair` has it, of every pair.
        chosen: Likewise.
        rejected: Likewise.
        prompt_cut: Of each pair.
        answers_cut: Of each pair.
    """

    prompt: Sides
    chosen: Sides
    rejected: Sides
    prompt_cut: Integers
    answers_cut: Integers

    def __len__(self) -> int:
        return len(self.prompt)

    def pair(self, place: int) -> TokenizedPair:
        """Return one of them."""
        return TokenizedPair(
            *self.prompt.row(place),
            *self.chosen.row(place),
            *self.rejected.row(place),
            prompt_cut=int(self.prompt_cut[place]),
            answers_cut=int(self.answers_cut[place]),
        )


class PairTokenizer(ABC):
    """A rule from texts to token ids. What becomes of a pair does not depend on the others."""

    @abstractmethod
    def pairs(self, texts: Sequence[Texts], *, max_length: int, max_prompt_length: int) -> TokenizedPairs:
        """Tokenize and, where it must be, truncate preference pairs.

        Args:
            texts: The pairs.
            max_length: Tokens of the prompt and an answer together.
            max_prompt_length: Tokens that a prompt keeps when the pair is too long.
        """

    def pair(
        self,
        prompt: Sequence[Message],
        chosen: str,
        rejected: str,
        *,
        max_length: int,
        max_prompt_length: int,
    ) -> TokenizedPair:
        """Tokenize one preference pair; see `pairs`."""
        texts = Texts(prompt, chosen, rejected)
        return self.pairs([texts], max_length=max_length, max_prompt_length=max_prompt_length).pair(0)
