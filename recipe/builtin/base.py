"""The embedded base model: a Mistral of a million parameters, fine-tuned for seconds to answer in the format.

It stands in for the supervised model that preference tuning starts from. Its supervised data is one
completion a row, drawn by the seed and of any quality, so that it knows the format and all the styles but
prefers none. It sees every row's prompt, those that are held out later too, as a real supervised model may
have; which of two completions is better it is never told.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import cast

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from recipe.builtin.tokenizer import BOS, EOS, MAX_LENGTH, SPECIALS, VOCAB_SIZE, train_tokenizer
from recipe.progress import Reporter
from recipe.prompt import ChatFormat

STEPS = 240
BATCH = 16  # answers a step
LEARNING_RATE = 3e-3  # at its highest; warmed up over a tenth of the steps, then down a cosine to a tenth
IGNORED = -100  # the label of a token that the loss leaves out
PROBES = 32  # prompts that are answered in the end, to see whether the format is learnt
PROBE_TOKENS = 96  # an answer that has not ended by then has not learnt to end

Example = tuple[list[int], list[int]]
"""A prompt's token ids and its answer's, `</s>` included."""


def _completions(row: Mapping[str, object]) -> list[str]:
    completions = cast("Sequence[Mapping[str, object]]", row["completions"])
    return [str(completion["response"]) for completion in completions]


def _examples(
    rows: Sequence[Mapping[str, object]], tokenizer: PreTrainedTokenizerFast, rng: Random
) -> list[Example]:
    """Tokenize a random completion of each row as the recipe tokenizes a pair's answer."""
    chat = ChatFormat(tokenizer)
    examples = []
    for row in rows:
        answers = [text for text in _completions(row) if text]
        if answers:
            asked, answer = [{"role": "user", "content": str(row["instruction"])}], rng.choice(answers)
            pair = chat.pair(asked, answer, answer, max_length=MAX_LENGTH, max_prompt_length=MAX_LENGTH // 2)
            examples.append((pair.prompt_ids, pair.chosen_ids))
    return examples


def _batches(examples: list[Example], rng: Random) -> Iterator[list[Example]]:
    """Yield batches without end: each epoch in a new order, each batch of examples of like length."""
    while True:
        drawn = rng.sample(examples, len(examples))
        drawn.sort(key=lambda example: len(example[0]) + len(example[1]))  # stable: ties stay shuffled
        batches = [drawn[start : start + BATCH] for start in range(0, len(drawn), BATCH)]
        rng.shuffle(batches)
        yield from batches


def _collate(batch: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad on the right: ids and labels, each (examples, tokens). Causal attention needs no mask for that."""
    width = max(len(prompt) + len(answer) for prompt, answer in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), width), IGNORED)
    for place, (prompt, answer) in enumerate(batch):
        end = len(prompt) + len(answer)
        ids[place, :end] = torch.tensor(prompt + answer)
        labels[place, len(prompt) : end] = torch.tensor(answer)
    return ids, labels


def _train(model: MistralForCausalLM, examples: list[Example], rng: Random, reporter: Reporter) -> float:
    """Fit the answers; return the mean loss (nats a token) of the last tenth of the steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)
    warm = STEPS // 10
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS - warm, LEARNING_RATE / 10)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warm, total_iters=warm)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], [warm])
    losses: list[float] = []
    model.train()
    with reporter.bar("base", STEPS) as bar:
        for step, batch in zip(range(1, STEPS + 1), _batches(examples, rng), strict=False):
            ids, labels = _collate(batch)
            logits = model(input_ids=ids, use_cache=False).logits
            loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            losses.append(loss.item())
            if step % 20 == 0:
                bar.note(f"loss {sum(losses[-20:]) / 20:.3f}")
            bar.advance()
    model.eval()  # type: ignore[no-untyped-call]
    last = losses[-max(1, STEPS // 10) :]
    return sum(last) / len(last)


@torch.no_grad()
def _share_ended(model: MistralForCausalLM, prompts: Sequence[list[int]]) -> float:
    """Answer `prompts` greedily; return the share of answers that end within `PROBE_TOKENS`."""
    eos = cast("int", model.config.eos_token_id)
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[eos] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    answers = model.generate(  # type: ignore[misc]
        input_ids=ids, attention_mask=mask, max_new_tokens=PROBE_TOKENS, do_sample=False
    )
    ended = (answers[:, width:] == eos).any(dim=1)
    return int(ended.sum()) / len(prompts)


def _write(out: Path, model: MistralForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write the model folder as `save_pretrained` would, without its progress bar in between ours."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(out)
    model.generation_config.save_pretrained(out)
    save_file(model.state_dict(), out / "model.safetensors", metadata={"format": "pt"})
    # In tokenizer_config.json, where transformers of every age look for the template.
    tokenizer.save_pretrained(out, save_jinja_files=False)


def base_config(vocab_size: int = VOCAB_SIZE) -> MistralConfig:
    """Return the base's configuration: what it will be, before it is built."""
    return MistralConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        initializer_range=0.08,  # about one over the root of the width: learns twice as fast as 0.02
        max_position_embeddings=MAX_LENGTH,
        sliding_window=None,
        bos_token_id=SPECIALS.index(BOS),
        eos_token_id=SPECIALS.index(EOS),
        pad_token_id=None,  # `</s>` pads, but its embedding has to be learnt
        tie_word_embeddings=False,
        dtype="float32",
        use_cache=True,
    )


def _model(tokenizer: PreTrainedTokenizerFast) -> MistralForCausalLM:
    """Make the model with fresh weights from torch's generator, in float32 and on the CPU."""
    config = base_config(len(tokenizer))
    model = MistralForCausalLM(config)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def base_tokenizer(rows: Sequence[Mapping[str, object]]) -> PreTrainedTokenizerFast:
    """Return the base's tokenizer, trained on all the texts of `rows`."""
    return train_tokenizer(text for row in rows for text in (str(row["instruction"]), *_completions(row)))


def build_base(
    out: Path, rows: Sequence[Mapping[str, object]], *, seed: int, reporter: Reporter
) -> dict[str, object]:
    """Train the embedded base on `rows` and write it to the folder `out`, tokenizer and chat template included.

    The same rows, seed and number of torch threads give the same files, bit for bit. Torch's own generator is
    left as it was.

    Args:
        out: The model folder; made if it is not there.
        rows: Feedback in UltraFeedback's raw schema; `instruction` and the responses are read.
        seed: Of the weights, the choice of completions and the order of the batches.
        reporter: Shows the progress.

    Returns:
        `parameters` (count), `vocab_size`, `examples` (count), `steps`, `loss` (nats a token, mean of the last
        tenth of the steps), `ended` (the share of greedy answers that end with `</s>`) and `seconds`.

    Raises:
        ValueError: No row has a response that is not empty.
    """
    started = time.monotonic()
    rng = Random(seed)
    tokenizer = base_tokenizer(rows)
    examples = _examples(rows, tokenizer, rng)
    if not examples:
        raise ValueError("no row has a response to learn the format from")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(tokenizer)
        loss = _train(model, examples, rng, reporter)
        probes = [prompt for prompt, _ in rng.sample(examples, min(PROBES, len(examples)))]
        ended = _share_ended(model, probes)
    _write(out, model, tokenizer)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocab_size": len(tokenizer),
        "examples": len(examples),
        "steps": STEPS,
        "loss": loss,
        "ended": ended,
        "seconds": time.monotonic() - started,
    }
