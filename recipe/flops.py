"""What a pair costs in floating-point operations, and what share of a device's peak a speed is.

Numbers in, numbers out. A multiplication and its addition are two operations; N parameters cost a token 2 N forward,
and 2 N backward to its activations: the base is frozen, so that nothing is spent on its weights' gradients.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """What is counted of a model.

    Attributes:
        parameters: Of the base, those that a token is multiplied by: all but an embedding table that is looked up only.
        adapter_parameters: Of the adapter.
        layers: Decoder layers.
        width: Of the queries of a layer: heads times their width, mostly the hidden size.
    """

    parameters: int
    adapter_parameters: int
    layers: int
    width: int


@dataclass(frozen=True)
class Work:
    """What is counted of data.

    Attributes:
        tokens: That go through the model.
        scores: Pairs of a token and one that it sees, itself included.
    """

    tokens: float
    scores: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.tokens + other.tokens, self.scores + other.scores)


def packed_pair(prompt: float, chosen: float, rejected: float) -> Work:
    """Return the work of a pair of so many tokens whose prompt is computed once.

    Of means it is a little less than the mean: scores go with the square of a length.
    """
    answers = chosen + rejected
    scores = sum(length * (length + 1) / 2 for length in (prompt, chosen, rejected)) + prompt * answers
    return Work(prompt + answers, scores)


def padded_pair(length: float) -> Work:
    """Return the work of a pair as two sequences, each with its prompt, padded to `length` tokens."""
    return Work(2 * length, length * (length + 1))


def training_flops(
    size: Size, work: Work, *, recomputed: float = 0.0, reference_passes: float = 1.0
) -> float:
    """Return the FLOPs that training spends on `work`.

    The policy's forward pass, its backward pass to activations and adapter, the forward pass of the layers that are
    recomputed, and the reference's forward pass, without the adapter.

    Args:
        size: The model.
        work: Of a pair, a micro-batch, a step.
        recomputed: The share of the layers that are recomputed, 0 to 1; 0 as well for what is needed, not spent.
        reference_passes: Passes of the reference for one of the policy: 1 where each step asks it anew, 1 / epochs
            where it is computed once.
    """
    base = 2.0 * size.parameters * work.tokens
    adapter = 2.0 * size.adapter_parameters * work.tokens
    # Queries by keys, and their softmax by values.
    attention = 4.0 * size.layers * size.width * work.scores
    forward = base + adapter + attention
    backward = base + 2 * adapter + 2 * attention  # what is no frozen weight has two gradients
    return forward * (1 + recomputed) + backward + (base + attention) * reference_passes


def share_of_peak(flops_a_pair: float, pairs_per_second: float, peak_flops: float) -> float:
    """Return what share of a device's peak a speed is.

    With the FLOPs that are needed it is known as model FLOPs utilization, with those spent as hardware's.

    Args:
        flops_a_pair: `training_flops` of the mean pair.
        pairs_per_second: Of one device.
        peak_flops: FLOP/s of one device; see `recipe.gpus`.
    """
    return flops_a_pair * pairs_per_second / peak_flops


def pairs_per_second(flops_a_pair: float, share: float, peak_flops: float) -> float:
    """Return the speed of one device at a share of its peak: `share_of_peak` the other way round."""
    return share * peak_flops / flops_a_pair
