"""A subject's answers, kept in a file as they come: what was answered is not answered again, whatever ended it."""

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

from recipe.evaluate.answers import Conversation, Decoding, answers_to
from recipe.evaluate.ledger import Ledger
from recipe.evaluate.subject import Subject
from recipe.evaluate.vllm_answers import has_vllm, load_vllm, vllm_answers
from recipe.progress import Reporter
from recipe.schema import canonical_sha256
from recipe.tokenizer import load_tokenizer


class KeptAnswers:
    """Answers by vLLM or Transformers, which are loaded when the first answer is missing.

    Args:
        subject: Who answers.
        ledger: Where they are kept.
        reporter: Shows how far it is.

    Attributes:
        cut: How many of the answers that were asked for were at their longest before they ended.
    """

    def __init__(self, subject: Subject, ledger: Ledger, reporter: Reporter) -> None:
        self.subject, self.ledger, self.reporter = subject, ledger, reporter
        self.cut = 0

    @cached_property
    def by(self) -> dict[str, str]:
        """What writes the answers, and its version; a seed gives the same answer by the same one only."""
        names = ("vllm", "torch") if has_vllm() else ("transformers", "torch")
        return {name: version(name) for name in names}

    def known(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str | None]:
        """Return the answers that are there, None for the others."""
        found = (self.ledger.find(self._key(one, decoding)) for one in conversations)
        return [None if one is None else str(one["answer"]) for one in found]

    def to(self, conversations: Sequence[Conversation], decoding: Decoding, title: str) -> list[str]:
        """Return the answer to each conversation, and keep those that were missing.

        Raises:
            UserError: See `answers_to`.
        """
        keys = [self._key(one, decoding) for one in conversations]
        missing: dict[str, Conversation] = {}
        for key, conversation in zip(keys, conversations, strict=True):
            if self.ledger.find(key) is None:
                missing[key] = conversation
        if missing:
            self._write(list(missing), list(missing.values()), decoding, title)
        found = [one for key in keys if (one := self.ledger.find(key)) is not None]
        self.cut += sum(bool(one["cut"]) for one in found)
        return [str(one["answer"]) for one in found]

    def unload(self) -> None:
        """Give the memory of what answers back; it is loaded again if it is needed again."""
        self.__dict__.pop("_engine", None)

    def _write(
        self, keys: Sequence[str], conversations: Sequence[Conversation], decoding: Decoding, title: str
    ) -> None:
        cut: set[int] = set()

        def keep(place: int, answer: str) -> None:
            asked = [dict(message) for message in conversations[place]]
            entry = {"conversation": asked, "answer": answer, "cut": place in cut, **_settings(decoding)}
            self.ledger.add(keys[place], entry)

        engine = self._engine  # before the bar: it takes a while
        with self.reporter.bar(title, len(conversations)) as bar:
            how: dict[str, Any] = {"bar": bar, "kept": keep, "cut": cut.add}
            if has_vllm():
                vllm_answers(engine, self.subject, self._tokenizer, conversations, decoding, **how)
            else:
                answers_to(engine, self._tokenizer, conversations, decoding, **how)

    @cached_property
    def _engine(self) -> Any:
        return load_vllm(self.subject) if has_vllm() else self.subject.load()[0]

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.subject.tokenizer_place)

    def _key(self, conversation: Conversation, decoding: Decoding) -> str:
        return canonical_sha256(
            {
                "conversation": [dict(message) for message in conversation],
                "of": self.subject.identity,
                "by": self.by,
                **_settings(decoding),
            }
        )


def _settings(decoding: Decoding) -> dict[str, Any]:
    """Return what of it decides an answer: how many are written at a time only rounds."""
    drawn = (
        {"temperature": decoding.temperature, "seed": decoding.seed}
        if decoding.temperature
        else {"temperature": 0}
    )
    return {"max_new_tokens": decoding.max_new_tokens, **drawn}
