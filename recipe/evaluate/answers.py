"""Answers of a model to conversations: in its chat format, in batches, greedy or sampled.

An answer is a function of the model, the conversation, the seed and how long it may be: it is not drawn by a generator
that all of a batch share. What lies beside it in the batch can change how the logits round, and nothing else.
"""

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from recipe.errors import UserError
from recipe.progress import Bar
from recipe.prompt import ChatFormat, Message
from recipe.schema import canonical_sha256

if TYPE_CHECKING:
    from peft import PeftModel

Conversation = Sequence[Message]
Kept = Callable[[int, str], None]
"""Is given each answer and the place of its conversation, as they come."""


@dataclass(frozen=True)
class Decoding:
    """How answers are written.

    Attributes:
        max_new_tokens: Longest answer.
        temperature: 0 is greedy.
        seed: Of what is sampled.
        batch_size: Answers at the same time.
    """

    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 42
    batch_size: int = 8


def answers_to(
    model: "PreTrainedModel | PeftModel",
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    decoding: Decoding,
    *,
    bar: Bar | None = None,
    kept: Kept | None = None,
    cut: Callable[[int], None] | None = None,
) -> list[str]:
    """Return the answer to each conversation, without its end-of-sequence token and the white space around it.

    Args:
        model: On its device, not training. Of a `PeftModel` whose adapter is disabled, the base answers.
        tokenizer: With a chat template.
        conversations: Each ends with a turn of the user's.
        decoding: How.
        bar: Moved on by the answers.
        kept: Is given each answer as soon as it is there.
        cut: Is given the place of each answer that was at its longest before it ended, before `kept` is given it.

    Raises:
        UserError: The chat template refuses a conversation, or it is longer than the model's context.
    """
    prompts = prompts_of(tokenizer, conversations)
    rooms = _rooms(model, prompts, decoding)
    found: list[str] = [""] * len(conversations)
    for places in _batches(prompts, rooms, decoding.batch_size):
        asked = [prompts[place] for place in places]
        draws = _Draws([row_seed(decoding, conversations[place]) for place in places], decoding.temperature)
        written = _generate(model, tokenizer, asked, draws, rooms[places[0]])
        for place, (text, ended) in zip(places, written, strict=True):
            found[place] = text
            if cut is not None and not ended:
                cut(place)
            if kept is not None:
                kept(place, text)
        if bar is not None:
            bar.advance(len(places))
    return found


def prompts_of(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Conversation]) -> list[list[int]]:
    """Return the token ids of conversations up to where the assistant answers."""
    chat = ChatFormat(tokenizer)
    return [chat.encode(messages, generate=True) for messages in conversations]


def row_seed(decoding: Decoding, conversation: Conversation) -> int:
    """Return the seed of one answer (63 bits): of the conversation and the seed, not of its place."""
    named = canonical_sha256([decoding.seed, [dict(message) for message in conversation]])
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big") >> 1


def _rooms(model: Any, prompts: Sequence[list[int]], decoding: Decoding) -> list[int]:
    """Return the tokens that each answer may have: what was asked for, or what is left of the model's context."""
    context = getattr(model.config, "max_position_embeddings", None)
    if context is None:
        return [decoding.max_new_tokens] * len(prompts)
    longest = max(map(len, prompts), default=0)
    if longest >= context:
        raise UserError(
            f"answers: a prompt has {longest} tokens, and the model's context is {context}; leave its benchmark out, "
            "or take fewer prompts with `evaluate_limit`"
        )
    return [min(decoding.max_new_tokens, context - len(prompt)) for prompt in prompts]


def _batches(
    prompts: Sequence[list[int]], rooms: Sequence[int], batch_size: int
) -> Iterator[tuple[int, ...]]:
    """Yield the places of each batch: prompts of like length, and answers of the same longest one."""
    places = sorted(range(len(prompts)), key=lambda place: (rooms[place], -len(prompts[place]), place))
    for _, same in itertools.groupby(places, key=rooms.__getitem__):
        rest = list(same)
        for start in range(0, len(rest), batch_size):
            yield tuple(rest[start : start + batch_size])


def _generate(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[list[int]], draws: "_Draws", room: int
) -> list[tuple[str, bool]]:
    """Answer one batch, padded on the left; return each answer, and whether it ended by itself."""
    ends = _ends(model, tokenizer)
    width = max(map(len, prompts))
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    ids = torch.tensor([[padding] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.inference_mode(), _memory(len(prompts)):
        whole = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            # All of it is said here: what is not is taken from the model's own generation_config.json.
            generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                max_new_tokens=room,
                eos_token_id=ends,
                pad_token_id=padding,
            ),
            logits_processor=LogitsProcessorList([draws] if draws.temperature else []),
        )
    return [_text(tokenizer, row, ends) for row in whole[:, width:].tolist()]


def _ends(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that end an answer: the tokenizer's end of a sequence, and those that the model has."""
    own = model.generation_config.eos_token_id
    found = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    return sorted(int(token) for token in found if token is not None)


@contextlib.contextmanager
def _memory(rows: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        less = "set `evaluate_batch_size` lower" if rows > 1 else "take a larger GPU"
        raise UserError(f"answers: the GPU's memory does not hold {rows} at the same time; {less}") from None


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int], ends: Sequence[int]) -> tuple[str, bool]:
    end = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return str(tokenizer.decode(ids[:end], skip_special_tokens=True)).strip(), end < len(ids)


class _Draws(LogitsProcessor):
    """Makes the likeliest token of each row a draw from the row's distribution, by a generator of its own.

    Gumbel's noise on the logits over the temperature: the greatest sum is at a token as often as the softmax says.

    Args:
        seeds: One a row.
        temperature: What the logits are divided by.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self.temperature = temperature
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return the scores, float (rows, vocabulary), with their noise."""
        waits = torch.stack(
            [torch.empty(scores.shape[1]).exponential_(generator=generator) for generator in self._generators]
        )
        noise = -waits.clamp_min(torch.finfo(torch.float32).tiny).log()
        return scores.float() / self.temperature + noise.to(scores.device)  # type: ignore[return-value]
