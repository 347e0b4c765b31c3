"""How many floating-point operations a mode's work takes: those that it needs, and those that the mode computes.

What is needed is each prompt once, both answers once, forward and backward through frozen weights, and the reference
once in three epochs. What fills up, a prompt's second time, recomputation and a reference at every step are waste.
A product of matrices counts 2 a multiply-add; norms, activations and the optimizer count nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.work import REFERENCE_EPOCHS, Mode, Row, Shape, Work


@dataclass(frozen=True)
class Amount:
    """What goes through a model.

    Attributes:
        tokens: Through its layers.
        predicted: Through its head.
        seen: Pairs of a token and one that it attends to.
    """

    tokens: float = 0
    predicted: float = 0
    seen: float = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens + other.tokens, self.predicted + other.predicted, self.seen + other.seen)


@dataclass(frozen=True)
class Cost:
    """Weights that take part in products of matrices.

    Attributes:
        layers: Of the base's layers.
        head: Of its output embedding.
        adapter: Of the LoRA adapter.
        attention: Operations of a token that attends to another, in all layers and heads, forward.
    """

    layers: int
    head: int
    adapter: int
    attention: int

    def forward(self, amount: Amount, *, adapter: bool = True) -> float:
        """Return the operations of a forward pass."""
        return self.layers_forward(amount, adapter=adapter) + 2 * self.head * amount.predicted

    def layers_forward(self, amount: Amount, *, adapter: bool = True) -> float:
        """Return those of the layers alone, which is what recomputation repeats."""
        weights = self.layers + (self.adapter if adapter else 0)
        return 2 * weights * amount.tokens + self.attention * amount.seen

    def backward(self, amount: Amount) -> float:
        """Return the operations of a backward pass: only the adapter's weights have gradients."""
        frozen = 2 * self.layers * amount.tokens + 2 * self.head * amount.predicted
        return frozen + 4 * self.adapter * amount.tokens + 2 * self.attention * amount.seen


def cost_of(shape: Shape, rank: int) -> Cost:
    """Return the cost of a Mistral with an adapter of `rank` on the attention's four projections."""
    width, inner, layers = shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers
    keys = width // shape.num_attention_heads * shape.num_key_value_heads
    return Cost(
        layers=layers * (2 * width * width + 2 * width * keys + 3 * width * inner),
        head=shape.vocab_size * width,
        adapter=layers * rank * (2 * 2 * width + 2 * (width + keys)),
        attention=layers * 4 * width,
    )


def needed(work: Work) -> float:
    """Return the operations that a pair needs, the mean over the measured rows."""
    cost = cost_of(work.shape, work.lora_r)
    amount = sum((_alone(row) for row in work.measured), Amount())
    train = cost.forward(amount) + cost.backward(amount)
    reference = cost.forward(amount, adapter=False) / REFERENCE_EPOCHS
    return (train + reference) / len(work.measured)


def computed(mode: Mode, work: Work, tokens: int) -> float:
    """Return the operations that a mode computes for a pair, the mean over the measured rows.

    Args:
        mode: The mode.
        work: What it did.
        tokens: That went through its policy in the measured steps, as `Result` has them. (A padded mode's follow from
            the rows as well; a packed one's hold what fills up, too.)
    """
    cost = cost_of(work.shape, work.lora_r)
    if mode.engine == "ours":
        amount = sum((_alone(row) for row in work.measured), Amount())
        amount = Amount(tokens, amount.predicted, amount.seen)
    else:
        amount = sum((_padded(rows, mode, work.device) for rows in _micro_batches(mode, work)), Amount())
        assert amount.tokens == tokens, "the rows were laid otherwise than is counted"
    train = cost.forward(amount) + cost.backward(amount)
    if mode.checkpointing:
        train += cost.layers_forward(amount)
    reference = cost.forward(amount, adapter=False) / (REFERENCE_EPOCHS if mode.reference_once else 1)
    return (train + reference) / len(work.measured)


def _alone(row: Row) -> Amount:
    """Return what a pair needs: a token sees its prompt and its own answer, up to itself."""
    prompt, chosen, rejected = (len(row[f"{side}_ids"]) for side in ("prompt", "chosen", "rejected"))
    seen = prompt * (prompt + 1) / 2
    for answer in (chosen, rejected):
        seen += prompt * answer + answer * (answer + 1) / 2
    return Amount(prompt + chosen + rejected, chosen + rejected, seen)


def _padded(rows: Sequence[Row], mode: Mode, device: str) -> Amount:
    """Return what a padded micro-batch is: every token of it attends to every one, the mask comes after."""
    longest = max(
        len(row["prompt_ids"]) + len(row[f"{side}_ids"]) for row in rows for side in ("chosen", "rejected")
    )
    sequences = 2 * len(rows)
    answers = sum(len(row[f"{side}_ids"]) for row in rows for side in ("chosen", "rejected"))
    if mode.engine == "2023":
        predicted = sequences * longest
    else:  # TRL leaves out what is not predicted, where it has kernels of its own
        predicted = answers if device == "cuda" else sequences * (longest - 1)
    return Amount(sequences * longest, predicted, sequences * longest**2)


def _micro_batches(mode: Mode, work: Work) -> Iterator[Sequence[Row]]:
    for start in range(0, len(work.measured), mode.micro_batch):
        yield work.measured[start : start + mode.micro_batch]
