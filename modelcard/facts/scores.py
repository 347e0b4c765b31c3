"""One figure of an evaluation, and what its file says of where it comes from."""

from dataclasses import dataclass

from recipe.evaluate.subject import Weights

LOADERS = ("arrow", "csv", "json", "parquet", "text")  # a task of local files has one of these as its path


@dataclass(frozen=True)
class By:
    """Who measured."""

    name: str
    version: str | None
    url: str | None


@dataclass(frozen=True)
class Judge:
    """Who judged answers."""

    model: str
    endpoint: str | None
    """Its host; None where the file does not say."""
    annotator: str | None
    """How it was asked, as the library calls that."""
    first: str | None
    """The days of its first and its last judgement."""
    last: str | None
    without_verdict: int
    answered_as: tuple[str, ...] = ()
    """The names that its answers gave, if these say so: a name that was asked for may stand for another model."""
    judgements: int | None = None
    """How many there are; None where the file does not say."""


@dataclass(frozen=True)
class Imported:
    """The file that figures were imported from."""

    file: str
    was: str


@dataclass(frozen=True)
class Origin:
    """What holds for every figure of a file.

    Attributes:
        suite: That it was measured by; None where somebody else measured.
        weights: Which were measured.
        by: Who measured.
        judge: None where there was none.
        imported: None where it was not.
        limit: Samples of each task, or the share of them, that were taken; None: all.
        chat_template: Whether prompts were put into the chat template.
        of_2023: Whether the tasks were those of lm-eval's versions of 2023.
        file: Where it lies in the run folder.
    """

    suite: str | None
    weights: Weights
    by: By
    judge: Judge | None
    imported: Imported | None
    limit: float | None
    chat_template: bool
    of_2023: bool
    file: str


@dataclass(frozen=True)
class Dataset:
    """The data of a task; what is None its file does not say."""

    path: str | None
    """Of the Hub's, or `builtin:...` or `local:...`."""
    config: str | None = None
    split: str | None = None
    revision: str | None = None

    @property
    def on_the_hub(self) -> bool:
        """Whether the path is one of the Hub's."""
        return self.path is not None and ":" not in self.path and self.path not in LOADERS


@dataclass(frozen=True)
class Score:
    """One figure.

    Attributes:
        task: As the harness calls it.
        parts: How many tasks it is the mean of; 0: it is one task's, or the harness's own of a group.
        holds: The tasks that it is made of, and their data sets' paths.
        metric: Its name.
        filter: How an answer was read, `none` where there is one way only.
        value: As the file has it.
        stderr: None where the file has none.
        interval: The bounds of 95%; None where the file has none.
        samples: That it is the figure of; None where the file does not say.
        shots: Examples in the prompt; None where the file does not say.
        version: Of the task.
        higher_is_better: None where the file does not say.
        dataset: What it was measured on.
        origin: What its file says of all of its figures.
        figures: Those that it is the average of, if it is Notus's own.
    """

    task: str
    parts: int
    holds: tuple[str, ...]
    metric: str
    filter: str
    value: float
    stderr: float | None
    interval: tuple[float, float] | None
    samples: int | None
    shots: int | None
    version: str | None
    higher_is_better: bool | None
    dataset: Dataset
    origin: Origin
    figures: tuple["Score", ...] = ()

    @property
    def suite(self) -> str | None:
        """That it was measured by; None where somebody else measured."""
        return self.origin.suite

    @property
    def weights(self) -> Weights:
        """Which were measured."""
        return self.origin.weights

    @property
    def limit(self) -> float | None:
        """Samples of each task that were taken; None: all."""
        return self.origin.limit

    @property
    def file(self) -> str:
        """Where it lies in the run folder."""
        return self.origin.file
