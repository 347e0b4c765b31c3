"""Answers by vLLM, where it is installed and there is a GPU: many times as fast as a batch after the other."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from recipe.evaluate.answers import Conversation, Decoding, Kept, prompts_of, row_seed
from recipe.evaluate.subject import Subject
from recipe.progress import Bar

AT_ONCE = 256  # prompts that it is given before their answers are kept


def has_vllm() -> bool:
    """Whether it can be used here."""
    return torch.cuda.is_available() and importlib.util.find_spec("vllm") is not None


def load_vllm(subject: Subject) -> Any:
    """Return vLLM's engine over a subject's weights; the adapter comes with each request."""
    from vllm import LLM

    lora: dict[str, Any] = {}
    if subject.weights == "adapter":
        lora = {"enable_lora": True, "max_lora_rank": subject.run.recipe.science.lora_r}
    return LLM(model=str(subject.place), tokenizer=str(subject.tokenizer_place), **lora)


def vllm_answers(
    engine: Any,
    subject: Subject,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    decoding: Decoding,
    *,
    bar: Bar,
    kept: Kept,
    cut: Callable[[int], None],
) -> None:
    """Answer conversations as `answers_to` does, each by the seed of its own."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    adapter = None
    if subject.weights == "adapter":
        adapter = LoRARequest("adapter", 1, str(subject.run.path("adapter")))
    prompts = prompts_of(tokenizer, conversations)
    for start in range(0, len(prompts), AT_ONCE):
        places = range(start, min(start + AT_ONCE, len(prompts)))
        parameters = [
            SamplingParams(
                temperature=decoding.temperature,
                seed=row_seed(decoding, conversations[place]),
                max_tokens=decoding.max_new_tokens,
                stop_token_ids=[tokenizer.eos_token_id],  # those of the model it knows itself
            )
            for place in places
        ]
        asked = [{"prompt_token_ids": prompts[place]} for place in places]
        found = engine.generate(asked, parameters, lora_request=adapter, use_tqdm=False)
        for place, one in zip(places, found, strict=True):
            if one.outputs[0].finish_reason == "length":
                cut(place)
            kept(place, one.outputs[0].text.strip())
            bar.advance()
