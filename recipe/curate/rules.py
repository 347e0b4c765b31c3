"""What a recipe decides about its data: which pairs are made of the rows, and which of them are used."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recipe.curate.contamination import Level
from recipe.curate.pair import OPTIONAL, Reason
from recipe.curate.raw_row import By
from recipe.schema import Science

Rejected = Literal["random", "lowest", "next", "other"]

SCORE_OF: Mapping[By, str] = {"ratings": "rating", "overall_score": "overall_score"}
"""The column of the answers that decides, under each rule, how good an answer is."""


@dataclass(frozen=True)
class Rules:
    """How feedback becomes pairs.

    Attributes:
        by: What decides which of a row's rated answers is better.
        rejected: Which of the worse ones is rejected: a random one, the lowest, or the next lower one; or any other
            one, worse or not, as in HuggingFaceH4/ultrafeedback_binarized.
        min_margin: By how much the rejected answer has to be rated lower.
        seed: Of the shuffle, the split and the draw of the rejected answer.
        leave_out: Those of `pair.OPTIONAL` for which a row is left out.
        only_sources: The sources whose rows are used; all if None.
        drop_sources: The sources whose rows are not.
        fix_scores: `openbmb`: an overall_score of 10 at a mean rating of 2 or less is taken for the 1 that it was.
        overrides: A file of corrections by row id.
        benchmarks: Files whose texts the prompts are compared with, each FILE or FILE:COLUMN.
        drop_contaminated: From which overlap on a row is left out.
    """

    by: By = "ratings"
    rejected: Rejected = "random"
    min_margin: float = 0.0
    seed: int = 42
    leave_out: frozenset[Reason] = OPTIONAL
    only_sources: tuple[str, ...] | None = None
    drop_sources: tuple[str, ...] = ()
    fix_scores: Literal["none", "openbmb"] = "none"
    overrides: Path | None = None
    benchmarks: tuple[str, ...] = ()
    drop_contaminated: Literal["none"] | Level = "none"

    @classmethod
    def of(cls, science: Science) -> "Rules":
        """Return a recipe's."""
        return cls(
            by=science.binarize_by,
            rejected=science.binarize_rejected,
            min_margin=science.binarize_min_margin,
            seed=science.seed,
            leave_out=frozenset(map(Reason, science.leave_out)),
            only_sources=None if science.only_sources is None else tuple(science.only_sources),
            drop_sources=tuple(science.drop_sources),
            fix_scores=science.fix_scores,
            overrides=None if science.overrides is None else Path(science.overrides).expanduser(),
            benchmarks=tuple(science.contamination),
            drop_contaminated=science.drop_contaminated,
        )
