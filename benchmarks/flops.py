"""How many floating-point operations a pair takes: those that it needs, and those that a mode spends on it.

What is needed is each prompt once, both answers once, forward and backward through frozen weights, and the reference
once in three epochs. What fills up, a prompt's second time, recomputation and a reference at every step are waste.
"""

from collections.abc import Sequence

from benchmarks.work import REFERENCE_EPOCHS, Mode, Result, Row, Shape
from benchmarks.work import Work as Task
from recipe.flops import Size, Work, packed_pair, padded_pair, training_flops

NOTHING = Work(0, 0)


def size_of(shape: Shape, rank: int) -> Size:
    """Return what is counted of a Mistral with an adapter of `rank` on the attention's four projections."""
    width, layers = shape.hidden_size, shape.num_hidden_layers
    keys = width // shape.num_attention_heads * shape.num_key_value_heads
    norms = (2 * layers + 1) * width
    of_layers = layers * (2 * width * width + 2 * width * keys + 3 * width * shape.intermediate_size)
    adapter = layers * rank * (2 * 2 * width + 2 * (width + keys))
    return Size(of_layers + norms + shape.vocab_size * width, adapter, layers, width)


def needed(task: Task) -> float:
    """Return the operations that a pair needs, the mean over the measured rows."""
    size = size_of(task.shape, task.lora_r)
    return _mean(task, training_flops(size, _alone(task), reference_passes=1 / REFERENCE_EPOCHS))


def spent(mode: Mode, task: Task, result: Result) -> float:
    """Return the operations that a mode spends on a pair, the mean over the measured rows.

    Args:
        mode: The mode.
        task: What it did.
        result: Says how many tokens went through, what fills up included, and which share of the layers ran twice.
    """
    if mode.engine == "ours":
        work = Work(result.tokens, _alone(task).scores)
    else:
        lengths = (_longest(rows) for rows in _micro_batches(mode, task))
        work = sum((padded_pair(length) for length in lengths for _ in range(mode.micro_batch)), NOTHING)
        assert work.tokens == result.tokens, "the rows were laid otherwise than is counted"
    passes = 1 / REFERENCE_EPOCHS if mode.reference_once else 1.0
    size = size_of(task.shape, task.lora_r)
    return _mean(task, training_flops(size, work, recomputed=result.recomputed, reference_passes=passes))


def _mean(task: Task, flops: float) -> float:
    return flops / len(task.measured)


def _alone(task: Task) -> Work:
    sides = ("prompt", "chosen", "rejected")
    return sum((packed_pair(*(len(row[f"{side}_ids"]) for side in sides)) for row in task.measured), NOTHING)


def _longest(rows: Sequence[Row]) -> int:
    return max(
        len(row["prompt_ids"]) + len(row[f"{side}_ids"]) for row in rows for side in ("chosen", "rejected")
    )


def _micro_batches(mode: Mode, task: Task) -> list[Sequence[Row]]:
    starts = range(0, len(task.measured), mode.micro_batch)
    return [task.measured[start : start + mode.micro_batch] for start in starts]
