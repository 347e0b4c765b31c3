"""What curation did with every row, for people, for `data.json` and for the model card."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypedDict

from recipe.curate.binarize import Audit
from recipe.curate.pair import Pair, Reason, Row, digest
from recipe.curate.read import Place

SPECIAL_TOKENS = (
    "</s>",
    "<s>",
    "<unk>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
)
"""Literals that tokenizers of the models we tune may take for control tokens."""

_SPECIAL = re.compile("|".join(map(re.escape, SPECIAL_TOKENS)))
_LISTED = 20  # rows left out that are named, for each reason


class FileEntry(TypedDict):
    """A data file: `part` is train or heldout, as the caller gave it."""

    name: str
    part: str
    sha256: str
    rows: int


class LeftOutRow(TypedDict):
    """A row left out; `line` counts lines, items or rows from 1, `id` is a digest of the row as read."""

    file: str
    line: int
    id: str


@dataclass(frozen=True)
class CurateSummary:
    """The contents of `data.json`. rows_in = rows_used + the sum of left_out; rows_used = train + heldout."""

    format: str
    by: str | None
    """What decided which completion is better; None where the rows came as pairs."""
    seed: int
    files: list[FileEntry]
    rows_in: int
    rows_used: int
    train: int
    heldout: int
    left_out: dict[str, int]
    left_out_rows: dict[str, list[LeftOutRow]]
    """The first 20 for each reason."""
    literal_special_tokens: dict[str, int]
    """How often each stands in the texts of the pairs, where it means nothing but itself."""
    lengths_characters: dict[str, dict[str, float]]
    """Of the whole prompt, chosen and rejected: mean, p10, p50, p90, p99 and max."""
    multi_turn: int
    """Pairs with an earlier answer in the prompt."""
    with_system: int
    """Pairs with a system turn."""
    duplicate_pairs: int
    """Pairs whose three texts another pair before them has."""
    rated_backwards: int
    """Pairs whose rejected answer has the higher rating. They are used as they came."""
    heldout_prompts_in_train: int
    """Held-out pairs whose prompt is in a train pair too."""
    ultrafeedback: dict[str, float] | None
    """What `binarize.Audit` counted, and the share of rows whose chosen differs; None for other formats."""

    def write(self, path: Path) -> None:
        """Write the summary as JSON, the same bytes for the same summary."""
        content = json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False)
        path.write_text(content + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


class LeftOutRows:
    """Counts the rows left out by reason and remembers the first of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows: dict[str, list[LeftOutRow]] = {}

    def add(self, reason: Reason, file: str, place: Place, row: Row) -> None:
        """Count `row`, left out for `reason`."""
        self.counts[reason.value] += 1
        listed = self.rows.setdefault(reason.value, [])
        if len(listed) < _LISTED:
            listed.append({"file": file, "line": place.number, "id": digest(row)})

    def __str__(self) -> str:
        return ", ".join(f"{reason} {count}" for reason, count in self.counts.most_common())


def text_facts(train: Sequence[Pair], heldout: Sequence[Pair]) -> dict[str, Any]:
    """Return the fields of the summary that are counted over the pairs."""
    pairs = [*train, *heldout]
    prompts = {pair.prompt for pair in train}
    lengths = {
        "prompt": [sum(len(turn.content) for turn in pair.prompt) for pair in pairs],
        "chosen": [len(pair.chosen) for pair in pairs],
        "rejected": [len(pair.rejected) for pair in pairs],
    }
    return {
        "literal_special_tokens": _literals(pairs),
        "lengths_characters": {name: _distribution(values) for name, values in lengths.items()},
        "multi_turn": sum(any(turn.role == "assistant" for turn in pair.prompt) for pair in pairs),
        "with_system": sum(pair.prompt[0].role == "system" for pair in pairs),
        "duplicate_pairs": len(pairs) - len({pair.id for pair in pairs}),
        "rated_backwards": sum(_backwards(pair) for pair in pairs),
        "heldout_prompts_in_train": sum(pair.prompt in prompts for pair in heldout),
    }


def audit_facts(audit: Audit) -> dict[str, float]:
    """Return the counts of the audit and the share of rows whose chosen differs."""
    share = audit.chosen_differs / audit.rows_compared if audit.rows_compared else 0.0
    return {**asdict(audit), "chosen_differs_share": round(share, 6)}


def _literals(pairs: Sequence[Pair]) -> dict[str, int]:
    counts = Counter(dict.fromkeys(SPECIAL_TOKENS, 0))
    for pair in pairs:
        for content in (*(turn.content for turn in pair.prompt), pair.chosen, pair.rejected):
            if "<" in content:
                counts.update(_SPECIAL.findall(content))
    return dict(counts)


def _backwards(pair: Pair) -> bool:
    chosen, rejected = pair.chosen_rating, pair.rejected_rating
    return chosen is not None and rejected is not None and chosen < rejected


def _distribution(values: list[int]) -> dict[str, float]:
    """Return the mean, nearest-rank percentiles and the maximum."""
    ordered = sorted(values)
    at = {f"p{percent}": ordered[-(-percent * len(ordered) // 100) - 1] for percent in (10, 50, 90, 99)}
    return {"mean": round(sum(ordered) / len(ordered), 1), **at, "max": ordered[-1]}
