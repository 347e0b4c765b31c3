"""What became of every row, for people, for `data.json` and for the model card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypedDict

import polars as pl

from recipe.curate.notices import SPECIAL_TOKENS

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
    """What `audit_facts` takes from the audit; None for other formats."""

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
        self._parts: list[pl.DataFrame] = []

    def add(self, pairs: pl.DataFrame, file: str) -> None:
        """Count the rows of `pairs` that have a reason."""
        rows = pairs.filter(pl.col("reason").is_not_null()).select("reason", "line", id="row_id")
        self._parts.append(rows.with_columns(pl.lit(file).alias("file")))

    @property
    def counts(self) -> dict[str, int]:
        """The rows by reason, the commonest first."""
        if not self._parts:
            return {}
        return dict(
            pl.concat(self._parts)
            .group_by("reason")
            .len()
            .sort("len", "reason", descending=[True, False])
            .iter_rows()
        )

    @property
    def rows(self) -> dict[str, list[LeftOutRow]]:
        """The first rows by reason."""
        if not self._parts:
            return {}
        first = pl.concat(self._parts).group_by("reason", maintain_order=True).head(_LISTED)
        found: dict[str, list[LeftOutRow]] = {}
        for row in first.iter_rows(named=True):
            reason = row.pop("reason")
            found.setdefault(reason, []).append(LeftOutRow(file=row["file"], line=row["line"], id=row["id"]))
        return found

    def __str__(self) -> str:
        return ", ".join(f"{reason} {count}" for reason, count in self.counts.items())


class TextFacts:
    """Counts over the texts of the pairs that are used."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._literals = dict.fromkeys(SPECIAL_TOKENS, 0)

    def add(self, pairs: pl.DataFrame) -> None:
        """Count pairs in the columns of `table.PAIRS`, with `id` and `prompt_id`."""
        turns = pl.col("prompt").list
        roles = turns.eval(pl.element().struct.field("role"))
        contents = turns.eval(pl.element().struct.field("content").str.len_chars())
        self._parts.append(
            pairs.select(
                # Of ids the hashes: numbers take a tenth of the memory that texts do.
                pl.col("id", "prompt_id").hash(),
                prompt=contents.list.sum(),
                chosen=pl.col("chosen").str.len_chars(),
                rejected=pl.col("rejected").str.len_chars(),
                multi_turn=roles.list.contains("assistant"),
                with_system=roles.list.first() == "system",
                rated_backwards=(pl.col("chosen_rating") < pl.col("rejected_rating")).fill_null(value=False),
            )
        )
        prompts = pairs.select(text=pl.col("prompt").explode().struct.field("content"))
        for texts in (prompts, pairs.select(text="chosen"), pairs.select(text="rejected")):
            holding = texts.filter(pl.col("text").str.contains_any(list(SPECIAL_TOKENS)))
            for token in self._literals if len(holding) else ():
                self._literals[token] += int(holding["text"].str.count_matches(token, literal=True).sum())

    def as_dict(self, train: Sequence[int], heldout: Sequence[int]) -> dict[str, Any]:
        """Return the fields of the summary that are counted over the pairs; the numbers are places among them."""
        pairs = pl.concat(self._parts)
        held = pairs[list(heldout)].get_column("prompt_id")
        return {
            "literal_special_tokens": self._literals,
            "lengths_characters": {
                name: _distribution(pairs[name]) for name in ("prompt", "chosen", "rejected")
            },
            **{name: int(pairs[name].sum()) for name in ("multi_turn", "with_system", "rated_backwards")},
            "duplicate_pairs": len(pairs) - pairs["id"].n_unique(),
            "heldout_prompts_in_train": int(
                held.is_in(pairs[list(train)].get_column("prompt_id").implode()).sum()
            ),
        }


def audit_facts(audit: Mapping[str, Any]) -> dict[str, float] | None:
    """Return the figures of an audit of rated feedback that the card tells; None for other formats."""
    if "choice" not in audit:
        return None
    choice = audit["choice"]
    return {
        "completions": audit["completions"],
        "faulty_completions": audit["suspicious"]["low"],
        "rows_compared": choice["compared"],
        "chosen_differs": choice["differs"],
        "chosen_differs_share": choice["share"],
    }


def _distribution(values: pl.Series) -> dict[str, float]:
    """Return the mean, nearest-rank percentiles and the maximum."""
    ordered = values.sort()
    at = {f"p{percent}": int(ordered[-(-percent * len(ordered) // 100) - 1]) for percent in (10, 50, 90, 99)}
    return {"mean": round(int(ordered.sum()) / len(ordered), 1), **at, "max": int(ordered[-1])}
