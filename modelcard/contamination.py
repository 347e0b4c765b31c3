"""What decontamination says of the benchmarks on a card: which were compared with the prompts, and what was found."""

import re
from collections.abc import Sequence

from modelcard.evaluation.benchmarks import AVERAGE
from modelcard.evaluation.measured import section_of, title
from modelcard.facts.data import Data, Overlap
from modelcard.facts.scores import Score
from modelcard.truthfulqa import kept, names_truthfulqa, overlap_counts
from modelcard.words import joined

# What files of a benchmark are called, letters and digits only; of any other one as its task.
ALIASES = {
    "AlpacaEval": ("alpacaeval",),
    "ARC (challenge)": ("arcchallenge", "ai2arc", "arc"),
    "ARC (easy)": ("arceasy",),
    "DROP": ("drop",),
    "GSM8K": ("gsm8k", "gsm"),
    "HellaSwag": ("hellaswag",),
    "IFEval": ("ifeval",),
    "MMLU": ("hendryckstest", "mmlu"),
    "MMLU-Pro": ("mmlupro",),
    "MT-Bench": ("mtbench",),
    "Winogrande": ("winogrande",),
}


def contamination_note(data: Data, scores: Sequence[Score]) -> str | None:
    """Return what a run's data say of the benchmarks that it was measured by, in sentences; None of none.

    TruthfulQA has a note of its own, and nobody else knows the tasks and pairs that are Notus's.
    """
    names = list(dict.fromkeys(title(score) for score in scores if _is_known(score)))
    if not names:
        return None
    found = {name: _files(name, data) for name in names}
    said = [
        f"{name} (`{file}`, {overlap.texts:,} texts): {overlap_counts(overlap)}"
        for name, files in found.items()
        for file, overlap in files.items()
    ]
    sentences = (
        [f"Prompts of the preference data were compared with {'; '.join(said)}. {kept(data)}"] if said else []
    )
    if without := [name for name, files in found.items() if not files]:
        sentences.append(f"Not compared with the preference data: {joined(without)}.")
    return " ".join(sentences)


def _is_known(score: Score) -> bool:
    """Whether it is of a benchmark that others know, and that this note is about."""
    ours = score.task == AVERAGE or section_of(score) in ("preference", "smoke")
    return not ours and not names_truthfulqa(score.task)


def _files(name: str, data: Data) -> dict[str, Overlap]:
    """Return what was compared of a benchmark: the files whose name says so, and says no other one more closely."""
    return {file: overlap for file, overlap in data.overlaps.items() if _benchmark_of(file, name) == name}


def _benchmark_of(file: str, name: str) -> str | None:
    """Return which benchmark a file's name means, of the known ones and `name`."""
    parts = [part for part in re.split(r"[^a-z0-9]+", file.lower()) if part]
    spelled = {
        "".join(parts[first:last]) for first in range(len(parts)) for last in range(first + 1, len(parts) + 1)
    }
    known = {name: (re.sub(r"[^a-z0-9]", "", name.lower()),)} | ALIASES
    fitting = [(len(alias), one) for one, aliases in known.items() for alias in aliases if alias in spelled]
    return max(fitting)[1] if fitting else None
