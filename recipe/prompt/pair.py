"""A preference pair as token ids, and what makes one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Message = Mapping[str, str]
"""A turn: `role` (system, user or assistant) and `content`."""


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


class PairTokenizer(Protocol):
    """A rule from texts to a `TokenizedPair`."""

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

        Args:
            prompt: The turns before the answer; the last one is the user's.
            chosen: The better answer.
            rejected: The worse one.
            max_length: Tokens of the prompt and an answer together.
            max_prompt_length: Tokens that a prompt keeps when the pair is too long.
        """
        ...
