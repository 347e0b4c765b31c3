"""What a benchmark gives each of its modes to do, and what a mode gives back.

Each mode runs in a process of its own, forked from one that has only imported the libraries: so its peak memory is its
own, and nobody waits for imports again.
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median

Row = dict[str, list[int]]
"""A tokenized pair, as `recipe.prompt.TokenizedPair.as_dict` has it."""

REFERENCE_EPOCHS = 3  # a reference computed once serves so many epochs
# Idle OpenMP threads that spin make torch several times slower where other work shares the cores.
CALM = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
PRELOAD = ["benchmarks.stock", "benchmarks.packed", "transformers.models.mistral.modeling_mistral"]


@dataclass(frozen=True)
class Mode:
    """A way to train.

    Attributes:
        name: For the table.
        engine: `trl` for its DPOTrainer, `ours` for packs.
        micro_batch: Pairs of a micro-batch, with `trl`.
        checkpointing: Whether the activations are computed a second time in the backward pass, with `trl`.
        reference_once: Whether the reference is computed once, ahead of the training.
        budget: Tokens of a pack, with `ours`.
    """

    name: str
    engine: str
    micro_batch: int = 0
    checkpointing: bool = False
    reference_once: bool = True
    budget: int = 0


@dataclass(frozen=True)
class Shape:
    """A Mistral with random weights."""

    vocab_size: int = 32000
    hidden_size: int = 512
    intermediate_size: int = 1792  # times 3.5, as Mistral 7B's
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    num_key_value_heads: int = 2
    sliding_window: int = 4096


@dataclass(frozen=True)
class Work:
    """What all modes do: these rows in these steps, on this base, with the recipe's adapter.

    Attributes:
        rows: The pairs in the order of the steps, all of them used once.
        pairs_per_step: Pairs of an optimizer step; `len(rows)` is a multiple of it.
        shape: The base.
    """

    rows: Sequence[Row]
    pairs_per_step: int
    shape: Shape
    beta: float = 0.1
    learning_rate: float = 1e-3
    max_grad_norm: float = 1.0
    lora_r: int = 64
    lora_alpha: int = 16
    lora_target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    seed: int = 42

    @property
    def steps(self) -> list[Sequence[Row]]:
        """The rows of each optimizer step."""
        each = self.pairs_per_step
        return [self.rows[start : start + each] for start in range(0, len(self.rows), each)]


@dataclass(frozen=True)
class Spent:
    """Time by the clock, and of all cores together, which others that compute on them change less."""

    seconds: float
    cpu_seconds: float

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.seconds - other.seconds, self.cpu_seconds - other.cpu_seconds)


@dataclass(frozen=True)
class Result:
    """What a mode did.

    Attributes:
        losses: Of each optimizer step.
        tokens: That went through the policy, padding included.
        train: From the first step's begin to the last one's end.
        reference: Spent ahead on the reference, for one epoch's rows and for all epochs.
        peak_bytes: Resident memory of the process.
        parameters: Of the base.
        threads: That torch computed with.
    """

    losses: list[float]
    tokens: int
    train: Spent
    reference: Spent
    peak_bytes: int
    parameters: int
    threads: int

    @property
    def seconds(self) -> float:
        """What an epoch of the rows takes, the reference spread over the epochs that it serves."""
        return self.train.seconds + self.reference.seconds / REFERENCE_EPOCHS

    @property
    def cpu_seconds(self) -> float:
        """The same in the time of all cores together."""
        return self.train.cpu_seconds + self.reference.cpu_seconds / REFERENCE_EPOCHS


@dataclass(frozen=True)
class Measured:
    """A mode's results on the same work, one for each time that it ran."""

    mode: Mode
    pairs: int
    results: Sequence[Result]

    @property
    def pairs_per_second(self) -> float:
        """The median."""
        return self.pairs / median(result.seconds for result in self.results)

    @property
    def cpu_seconds_per_pair(self) -> float:
        """The median."""
        return median(result.cpu_seconds for result in self.results) / self.pairs

    @property
    def tokens_per_pair(self) -> float:
        """Tokens that went through the policy for a pair, padding included."""
        return self.results[0].tokens / self.pairs

    @property
    def peak_bytes(self) -> int:
        """The median."""
        return int(median(result.peak_bytes for result in self.results))

    @property
    def losses(self) -> list[float]:
        """Of each optimizer step: a mode computes the same ones each time."""
        return self.results[0].losses

    def as_dict(self) -> dict[str, object]:
        """Return it for a JSON file."""
        return {
            **vars(self.mode),
            "pairs_per_second": self.pairs_per_second,
            "cpu_seconds_per_pair": self.cpu_seconds_per_pair,
            "tokens_per_pair": self.tokens_per_pair,
            "peak_bytes": self.peak_bytes,
            "losses": self.losses,
            "results": [asdict(result) for result in self.results],
        }


def run(mode: Mode, work: Work) -> Result:
    """Do the work in this process."""
    if mode.engine == "ours":
        from benchmarks.packed import ours

        return ours(mode, work)
    from benchmarks.stock import stock

    return stock(mode, work)


@contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """Give an executor that runs one task at a time, each in a fresh process."""
    os.environ.update(CALM)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with ProcessPoolExecutor(max_workers=1, mp_context=context, max_tasks_per_child=1) as executor:
        yield executor


def max_difference(losses: Sequence[float], others: Sequence[float]) -> float:
    """Return the largest relative difference of two modes' losses over the steps."""
    return max(abs(one - other) / abs(other) for one, other in zip(losses, others, strict=True))
