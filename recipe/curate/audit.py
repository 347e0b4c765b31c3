"""What is wrong with feedback, what a rule makes of it, and by how much: counted while it is read, chunk by chunk.

Figures are kept as small tables that add up. Of rows only numbers and ids are kept, and the critiques that the audit
tells. So the memory that it needs grows with what is wrong with the data, hardly with the data.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import polars as pl

from recipe.curate import notices
from recipe.curate.batches import Batch
from recipe.curate.binarize import comparable
from recipe.curate.corrections import CLASSES, score_class
from recipe.curate.feedback import Chunk
from recipe.curate.lengths import Lengths
from recipe.curate.repeats import Repeats
from recipe.curate.tally import Tally

RATING_BIN = 0.25  # of the mean rating, in the table of scores against it


class Audit:
    """Adds up batches.

    Args:
        aspects: What rated feedback is rated on; none for other formats.
    """

    def __init__(self, aspects: Sequence[str]) -> None:
        self.aspects = tuple(aspects)
        self.rows = self.completions = 0
        self.noticed = Tally("name")
        self.noticed_ids: list[pl.DataFrame] = []
        self.left_out: list[pl.DataFrame] = []
        self.sources, self.models = Tally("source"), Tally("model")
        self.ratings, self.scores, self.heat = Tally("aspect", "value"), Tally("score"), Tally("score", "bin")
        self.choice_by_source, self.choice_by_model = Tally("source"), Tally("model")
        self.ties, self.agreement = Tally(), Tally("one", "other")
        self.suspicious: list[dict[str, Any]] = []
        self.lengths, self.repeats = Lengths(), Repeats()

    def add(self, batch: Batch) -> pl.Series:
        """Count a batch. Return the names of what was noticed about each of its rows, as a list of texts."""
        pairs = batch.pairs
        self.rows += len(pairs)
        self.left_out.append(
            pairs.filter(pl.col("reason").is_not_null()).select("reason", pl.col("row_id").alias("id"))
        )
        self.lengths.add(pairs.filter(pl.col("reason").is_null()))
        if batch.chunk is None or batch.picks is None:
            counts = notices.in_pairs(pairs)
            repeated = self.repeats.add(pairs.select("row_id", prompt=pl.col("prompt").hash()), None)
            self.sources.add(pairs.group_by("source").agg(pl.len().alias("rows")))
        else:
            counts = notices.in_feedback(batch.chunk, batch.picks)
            rows = batch.chunk.rows
            repeated = self.repeats.add(
                rows.select(row_id="id", prompt=pl.col("instruction").hash()),
                batch.chunk.answers.get_column("response"),
            )
            self._add_feedback(batch.chunk, batch.picks)
        counts = counts.with_columns(repeated.cast(pl.UInt32).alias("duplicate_prompt"))
        return self._add_noticed(counts, pairs.select("row", id="row_id"))

    def as_dict(self) -> dict[str, Any]:
        """Return the figures of `audit.json`."""
        found: dict[str, Any] = {
            "rows": self.rows,
            "by_source": self.sources.by("source"),
            "left_out": self._left_out(),
            "noticed": self._noticed(),
            "length": self.lengths.as_dict(),
            "duplicates": self.repeats.as_dict(),
        }
        return found | (self._of_feedback() if self.aspects else {})

    def _add_noticed(self, counts: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
        found = notices.flags(counts)
        self.noticed.add(found.group_by("name").agg(pl.col("count").sum()))
        self.noticed_ids.append(found.join(rows, on="row", maintain_order="left").select("name", "id"))
        lists = found.group_by("row", maintain_order=True).agg(pl.col("name").alias("flags"))
        flags = rows.join(lists, on="row", how="left", maintain_order="left").get_column("flags")
        return flags.fill_null(pl.Series([[]], dtype=pl.List(pl.String)))

    def _add_feedback(self, chunk: Chunk, picks: pl.DataFrame) -> None:
        self.completions += len(chunk.answers)
        rows = chunk.rows.select("row", "id", "source").join(
            picks.select("row", "by_ratings", "by_score"), on="row", maintain_order="left"
        )
        answers = chunk.answers.drop("response").join(rows, on="row", maintain_order="left")
        answers = answers.with_columns(score_class().alias("class"))
        self._add_marks(rows, answers)
        self._add_choice(rows, answers)
        self._add_agreement(answers)
        # As objects: a table of a few critiques would keep all critiques of its chunk in memory.
        self.suspicious += (
            answers.filter(pl.col("class").is_not_null())
            .select(
                "id", pl.col("place").alias("completion"), "source", "model", "rating", "class", "critique"
            )
            .to_dicts()
        )

    def _add_marks(self, rows: pl.DataFrame, answers: pl.DataFrame) -> None:
        """Count ratings and scores, by aspect, source and model."""
        sums = [
            pl.len().alias("completions"),
            pl.col("rating").sum().alias("rating_sum"),
            pl.col("rating").count().alias("rated"),
            pl.col("overall_score").sum().alias("score_sum"),
            pl.col("overall_score").count().alias("scored"),
        ]
        by_source = rows.group_by("source").agg(pl.len().alias("rows"))
        self.sources.add(
            by_source.join(answers.group_by("source").agg(sums), on="source", how="left", nulls_equal=True)
        )
        place = pl.col("place")
        self.models.add(
            answers.group_by("model").agg(
                *sums,
                (place == pl.col("by_ratings")).sum().alias("chosen_by_ratings"),
                (place == pl.col("by_score")).sum().alias("chosen_by_score"),
                (pl.col("class") == "low").sum().alias("score_10_low"),
            )
        )
        for aspect in self.aspects:
            values = (
                answers.select(value=pl.col("aspects").struct.field(aspect)).group_by("value").len("count")
            )
            self.ratings.add(values.select(pl.lit(aspect).alias("aspect"), "value", "count"))
        self.scores.add(answers.group_by(score="overall_score").len("count"))
        both = answers.filter(pl.col("rating").is_not_null() & pl.col("overall_score").is_not_null())
        rating_bin = (pl.col("rating") / RATING_BIN).floor() * RATING_BIN
        self.heat.add(both.group_by(score="overall_score", bin=rating_bin).len("count"))

    def _add_choice(self, rows: pl.DataFrame, answers: pl.DataFrame) -> None:
        """Count where the two rules choose otherwise, and ties."""
        compared = rows.filter(pl.col("by_ratings").is_not_null() & pl.col("by_score").is_not_null())
        models = answers.select("row", "model", by_ratings="place")
        compared = compared.join(models, on=["row", "by_ratings"], how="left", maintain_order="left")
        both = [
            pl.len().alias("compared"),
            (pl.col("by_ratings") != pl.col("by_score")).sum().alias("differs"),
        ]
        self.choice_by_source.add(compared.group_by("source").agg(both))
        self.choice_by_model.add(compared.group_by("model").agg(both))
        for name, column in (("ratings", "rating"), ("score", "overall_score")):
            mark = comparable(pl.col(column))
            ends = answers.group_by("row").agg(top=mark.max(), low=mark.min(), several=mark.count() > 1)
            tops = answers.select("row", column).join(ends, on="row").filter(mark == pl.col("top"))
            shared = tops.group_by("row", "top", "low").len("at_the_top").filter(pl.col("at_the_top") > 1)
            equal = (pl.col("several") & (pl.col("low") == pl.col("top"))).sum()
            found = {f"all_equal_by_{name}": ends.select(equal).item(), f"top_by_{name}": 0}
            found[f"top_by_{name}"] = len(shared.filter(pl.col("low") < pl.col("top")))
            self.ties.add(pl.DataFrame(found))

    def _add_agreement(self, answers: pl.DataFrame) -> None:
        """Count, of two answers to one prompt, how often two kinds of mark order both, and alike."""
        aspects = [pl.col("aspects").struct.field(name).fill_nan(None) for name in self.aspects]
        marks = [*aspects, pl.col("rating"), pl.col("overall_score")]
        names = [f"mark {number}" for number in range(len(marks))]
        table = answers.select(
            "row", "place", *(comparable(mark).alias(name) for name, mark in zip(names, marks, strict=True))
        )
        pairs = table.join(table, on="row", suffix=" of the other").filter(
            pl.col("place") < pl.col("place of the other")
        )
        signs = pairs.select(
            (pl.col(name) - pl.col(f"{name} of the other")).sign().alias(name) for name in names
        )
        both = [
            signs.select(
                pl.lit(one).alias("one"),
                pl.lit(other).alias("other"),
                (pl.col(names[one]) * pl.col(names[other]) != 0).sum().alias("pairs"),
                (pl.col(names[one]) * pl.col(names[other]) > 0).sum().alias("alike"),
            )
            for one, other in combinations(range(len(names)), 2)
        ]
        self.agreement.add(pl.concat(both))

    def _left_out(self) -> dict[str, Any]:
        table = (
            pl.concat(self.left_out)
            if self.left_out
            else pl.DataFrame(schema={"reason": pl.String, "id": pl.String})
        )
        ids = table.group_by("reason", maintain_order=True).agg("id")
        return {reason: {"rows": len(rows), "ids": rows} for reason, rows in sorted(ids.iter_rows())}

    def _noticed(self) -> dict[str, Any]:
        counts = {row["name"]: row["count"] for row in self.noticed.rows()}
        table = (
            pl.concat(self.noticed_ids).group_by("name", maintain_order=True).agg("id") if counts else None
        )
        ids = dict(table.iter_rows()) if table is not None else {}
        return {
            name: {"count": counts[name], "unit": unit, "ids": ids[name]}
            for name, unit in notices.UNITS.items()
            if name in counts
        }

    def _of_feedback(self) -> dict[str, Any]:
        choices = {"source": self.choice_by_source, "model": self.choice_by_model}
        by = {
            f"by_{key}": {name: _choice(row) for name, row in tally.by(key).items()}
            for key, tally in choices.items()
        }
        totals = self.choice_by_source.total()
        return {
            "completions": self.completions,
            "by_source": {name: _means(row) for name, row in self.sources.by("source").items()},
            "by_model": {name: _means(row) for name, row in self.models.by("model").items()},
            "ratings": self._ratings(),
            "scores": {_number(row["score"]): row["count"] for row in self.scores.rows()},
            "heat": [[row["score"], row["bin"], row["count"]] for row in self.heat.rows()],
            "choice": {**_choice(totals), **by},
            "agreement": self._agreement(),
            "suspicious": self._suspicious(),
            "ties": self.ties.total(),
        }

    def _ratings(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {aspect: {} for aspect in self.aspects}
        for row in self.ratings.rows():
            found[row["aspect"]][_number(row["value"])] = row["count"]
        return found

    def _agreement(self) -> dict[str, Any]:
        names = [*self.aspects, "rating", "overall_score"]
        counts = {(row["one"], row["other"]): row for row in self.agreement.rows()}
        share: list[list[float | None]] = [[None] * len(names) for _ in names]
        pairs = [[0] * len(names) for _ in names]
        for i in range(len(names)):
            for j in range(len(names)):
                row = counts.get((min(i, j), max(i, j)))
                if row is not None and row["pairs"]:
                    share[i][j], pairs[i][j] = round(row["alike"] / row["pairs"], 6), row["pairs"]
        return {"names": names, "share": share, "pairs": pairs}

    def _suspicious(self) -> dict[str, Any]:
        counts = Counter(one["class"] for one in self.suspicious)
        return {
            "score_10": len(self.suspicious),
            **{name: counts[name] for name in CLASSES},
            "completions": self.suspicious,
        }


def _choice(row: dict[str, Any]) -> dict[str, Any]:
    """Return how often the rules chose otherwise, of the rows in which both have a best answer and a worse one."""
    compared, differs = row.get("compared", 0), row.get("differs", 0)
    return {
        "compared": compared,
        "differs": differs,
        "share": round(differs / compared, 6) if compared else 0.0,
    }


def _means(row: dict[str, Any]) -> dict[str, Any]:
    sums = {name: row.pop(name) for name in ("rating_sum", "rated", "score_sum", "scored")}
    return {
        **row,
        "mean_rating": round(sums["rating_sum"] / sums["rated"], 4) if sums["rated"] else None,
        "mean_score": round(sums["score_sum"] / sums["scored"], 4) if sums["scored"] else None,
    }


def _number(value: float | None) -> str:
    """Return a rating or a score as a key of JSON."""
    if value is None or math.isnan(value):
        return "null" if value is None else "N/A"
    return str(int(value)) if value == int(value) else repr(value)
