"""What a benchmark gives each of its modes to do, and what a mode gives back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal

Row = dict[str, list[int]]
"""A tokenized pair, as `recipe.prompt.TokenizedPair.as_dict` has it."""

REFERENCE_EPOCHS = 3  # a reference computed once serves so many epochs


@dataclass(frozen=True)
class Mode:
    """A way to train.

    Attributes:
        name: For the table.
        engine: `2023` for a loop as trl 0.7.4 had it, `trl` for today's DPOTrainer, `ours` for the packed engine.
        micro_batch: Pairs of a micro-batch, but with `ours`.
        checkpointing: Whether all layers are computed a second time in the backward pass; with `ours` it may be
            `auto`: as few as fit.
        reference_once: Whether the reference is computed once, ahead of the training.
        fused: Whether Liger's kernels take the place of the layers', with `trl`; `ours` sees to that itself.
        budget: Tokens of a pack, with `ours`; 0 for what the engine takes by itself.
        memory: Bytes of the GPU that may be used; 0 for all of them.
    """

    name: str
    engine: Literal["2023", "trl", "ours"]
    micro_batch: int = 0
    checkpointing: bool | Literal["auto"] = False
    reference_once: bool = True
    fused: bool = False
    budget: int = 0
    memory: int = 0


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
        device: Where.
        dtype: Of the base. With `bfloat16` the adapter is float32 and runs under autocast, as in the recipe.
        warmup: The first so many steps are not measured.
        b_std: Standard deviation of the adapter's B at first; 0 as PEFT has it, where the first loss is ln 2 whatever
            the rows.
    """

    rows: Sequence[Row]
    pairs_per_step: int
    shape: Shape
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    warmup: int = 0
    b_std: float = 0.0
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

    @property
    def measured(self) -> Sequence[Row]:
        """The rows of the steps that are measured."""
        return self.rows[self.warmup * self.pairs_per_step :]

    def settings(self) -> dict[str, object]:
        """Return all but the rows, for a JSON file."""
        values = {name: value for name, value in vars(self).items() if name != "rows"}
        return values | {"shape": asdict(self.shape), "steps": len(self.steps)}


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
        losses: Of each optimizer step, those that warm up included.
        pairs: Of the measured steps.
        tokens: Of the measured steps that went through the policy, what fills up included.
        train: From the first measured step's begin to the last one's end.
        reference: Spent ahead on the reference of all rows.
        reference_pairs: How many rows these are.
        recomputed: The share of the layers that are computed a second time.
        peak_bytes: Resident memory of the process on a CPU, the tensors' on a GPU.
        reserved_bytes: What torch took of the GPU; 0 on a CPU.
        parameters: Of the base.
        threads: That torch computed with, on the CPU.
    """

    losses: list[float]
    pairs: int
    tokens: int
    train: Spent
    reference: Spent
    reference_pairs: int
    recomputed: float
    peak_bytes: int
    reserved_bytes: int
    parameters: int
    threads: int

    @property
    def seconds_per_pair(self) -> float:
        """What a pair takes in an epoch, the reference spread over the epochs that it serves."""
        return self._per_pair(self.train.seconds, self.reference.seconds)

    @property
    def cpu_seconds_per_pair(self) -> float:
        """The same in the time of all cores together."""
        return self._per_pair(self.train.cpu_seconds, self.reference.cpu_seconds)

    def _per_pair(self, train: float, reference: float) -> float:
        return train / self.pairs + reference / self.reference_pairs / REFERENCE_EPOCHS


@dataclass(frozen=True)
class Measured:
    """A mode's results on the same work, one for each time that it ran."""

    mode: Mode
    results: Sequence[Result]

    @property
    def pairs_per_second(self) -> float:
        """The median."""
        return 1 / median(result.seconds_per_pair for result in self.results)

    @property
    def cpu_seconds_per_pair(self) -> float:
        """The median."""
        return median(result.cpu_seconds_per_pair for result in self.results)

    @property
    def tokens_per_pair(self) -> float:
        """Tokens that went through the policy for a pair, what fills up included."""
        return self.results[0].tokens / self.results[0].pairs

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
    from benchmarks.base import cap_memory

    cap_memory(mode.memory)
    if mode.engine == "ours":
        from benchmarks.packed import ours

        return ours(mode, work)
    if mode.engine == "2023":
        from benchmarks.loop_2023 import loop_2023

        return loop_2023(mode, work)
    from benchmarks.stock import stock

    return stock(mode, work)


def max_difference(losses: Sequence[float], others: Sequence[float]) -> float:
    """Return the largest relative difference of two modes' losses over the steps."""
    return max(abs(one - other) / abs(other) for one, other in zip(losses, others, strict=True))


def mean_tokens(rows: Sequence[Row]) -> dict[str, float]:
    """Return the mean length of prompts, chosen and rejected answers."""
    return {
        side: sum(len(row[f"{side}_ids"]) for row in rows) / len(rows)
        for side in ("prompt", "chosen", "rejected")
    }
