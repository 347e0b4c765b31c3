"""The stage: read, choose, count, split, write."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from recipe.curate.ahead import Behind
from recipe.curate.audit import Audit
from recipe.curate.batches import Batch, Batches
from recipe.curate.evidence import NAME as FEEDBACK
from recipe.curate.evidence import FeedbackFile
from recipe.curate.files import data_files
from recipe.curate.pair import Pair, Reason
from recipe.curate.read import Source
from recipe.curate.rules import Rules
from recipe.curate.split import shuffle, split
from recipe.curate.summary import CurateSummary, FileEntry, LeftOutRows, TextFacts, audit_facts
from recipe.curate.table import PairsFile, pairs_from, with_pair_ids
from recipe.disk import write_json
from recipe.errors import UserError
from recipe.progress import Reporter

_DECIDED_BY = {
    "source_left_out": "the recipe's only_sources or drop_sources",
    "margin_too_small": "the recipe's binarize_min_margin",
    "contaminated": "the recipe's drop_contaminated",
    "overridden": "the overrides",
}
"""What to change where all rows are left out for a reason."""

_MANY = 5000  # rows of a file that are worth a progress bar
DEFAULT = Rules()


def curate(
    train: Sequence[Path],
    heldout: Sequence[Path] | None,
    out: Path,
    *,
    rules: Rules = DEFAULT,
    dataset_format: str = "auto",
    test_size: int,
    reporter: Reporter,
) -> CurateSummary:
    """Make preference pairs of the rows of `train` and `heldout` and write them to the folder `out`.

    Writes `train.parquet`, `heldout.parquet`, `audit.json`, of rated feedback `feedback.parquet`, and, last,
    `data.json`; nothing before all rows were read. The memory it takes does not grow with the rows, but for some
    numbers a row and the critiques that the audit tells.

    Args:
        train: Data files, or folders of them (all their splits).
        heldout: The same for the held-out part; None to split it off `train`.
        out: The folder to write to; made if need be.
        rules: How pairs are made, and which are used.
        dataset_format: The name of one of `formats.FORMATS`, or `auto`.
        test_size: How many pairs to split off; not used if `heldout` is given.
        reporter: Where progress and warnings go.

    Raises:
        UserError: A file or a row is not as it has to be, or too few rows are usable.
    """
    parts = {"train": _sources(train)} | ({"heldout": _sources(heldout)} if heldout is not None else {})
    _check_disjoint(parts)
    with _working_folder(out) as work, Behind() as behind:
        reading = _Reading(parts, dataset_format, rules, work, behind, reporter)
        counts = [reading.part(part, sources) for part, sources in parts.items()]
        numbers = range(sum(counts))
        if heldout is None:
            train_rows, heldout_rows = split(numbers, test_size, rules.seed)
        else:
            train_rows = shuffle(numbers[: counts[0]], rules.seed)
            heldout_rows = shuffle(numbers[counts[0] :], rules.seed)
        summary = reading.finish(train_rows, heldout_rows)
    _tell(summary, reporter)
    return summary


def pairs_in_order(
    paths: Sequence[Path], *, rules: Rules = DEFAULT, dataset_format: str
) -> Iterator[tuple[int, Pair | Reason]]:
    """Yield each row's number, from 0 over all files, with the pair it gives or the reason why it gives none.

    Raises:
        UserError: As `curate`.
    """
    sources = _sources(paths)
    batches = Batches(sources, dataset_format, rules)
    for source in sources:
        for batch in batches.of(source):
            used = pairs_from(batch.pairs.filter(pl.col("reason").is_null()))
            for row, reason in batch.pairs.select("row", "reason").iter_rows():
                yield row, next(used) if reason is None else Reason(reason)
    if not batches.rows:
        raise UserError(f"{paths[0]}: no rows; give data that have some")


def count_rows(paths: Sequence[Path]) -> int:
    """Return how many rows the files have, those included that will be left out.

    Raises:
        UserError: A file is missing or broken.
    """
    return sum(source.count() for source in _sources(paths))


class _Reading:
    """Reads the parts one after the other, keeps the books, and writes aside."""

    def __init__(
        self,
        parts: dict[str, list[Source]],
        dataset_format: str,
        rules: Rules,
        work: Path,
        behind: Behind,
        reporter: Reporter,
    ) -> None:
        self.rules, self.behind, self.reporter = rules, behind, reporter
        self.batches = Batches(
            [source for sources in parts.values() for source in sources], dataset_format, rules
        )
        self.audit = Audit(self.batches.aspects)
        self.files: list[FileEntry] = []
        self.overlaps: list[tuple[pl.DataFrame, pl.DataFrame]] = []
        self.left_out, self.facts = LeftOutRows(), TextFacts()
        self.pairs = PairsFile(work / ".pairs")
        self.out = work / "out"
        self.out.mkdir()
        self.feedback = FeedbackFile(self.out / FEEDBACK) if self.batches.rated else None

    def part(self, part: str, sources: Sequence[Source]) -> int:
        """Return how many pairs a part gives.

        Raises:
            UserError: A file has no rows, or no row of the part is usable.
        """
        before = self.pairs.count
        for source in sources:
            rows = self.batches.rows
            sha256, about = source.survey()
            large = about is not None and about >= _MANY
            with (
                self.reporter.bar(f"reading {source.name}", about or 0)
                if large
                else contextlib.nullcontext() as bar
            ):
                for batch in self.batches.of(source):
                    self._add(batch, source)
                    if bar is not None:
                        bar.advance(len(batch.pairs))
            if self.batches.rows == rows:
                raise UserError(f"{source.path}: no rows; remove the file or fetch it again")
            self.files.append(
                {
                    "name": source.name,
                    "part": part,
                    "sha256": sha256,
                    "rows": self.batches.rows - rows,
                }
            )
        if self.pairs.count == before:
            where = ", ".join(str(source.path) for source in sources[:3])
            most = next(iter(self.left_out.counts), "")
            mend = f"change {_DECIDED_BY[most]}" if most in _DECIDED_BY else "mend the data"
            raise UserError(f"{where}: no usable row in the {part} data; left out: {self.left_out}; {mend}")
        return self.pairs.count - before

    def finish(self, train: Sequence[int], heldout: Sequence[int]) -> CurateSummary:
        """Write all that is kept, and return the account of all that was read."""
        self.batches.corrections.refuse_unused()
        self.pairs.write(train, self.out / "train.parquet")
        self.pairs.write(heldout, self.out / "heldout.parquet")
        self.behind.wait()
        if self.feedback is not None:
            self.feedback.close()
        audit = {
            "format": self.batches.recognizer.format.name,
            "rules": _told(self.rules, rated=self.batches.rated),
            **self.audit.as_dict(),
            **self.batches.corrections.as_dict(),
            "contamination": self._contamination(),
        }
        write_json(self.out / "audit.json", audit)
        for line in self._without_effect(audit):
            self.reporter.warn(line)
        summary = self._summary(train, heldout, audit)
        summary.write(self.out / "data.json")
        return summary

    def _add(self, batch: Batch, source: Source) -> None:
        flags = self.audit.add(batch)
        self.left_out.add(batch.pairs, source.name)
        if batch.overlaps is not None:
            rows = batch.pairs.select("row", "source", id="row_id")
            self.overlaps.append((batch.overlaps, rows.join(batch.overlaps, on="row", how="semi")))
        used = with_pair_ids(batch.pairs.filter(pl.col("reason").is_null()))
        if not used.is_empty():
            self.pairs.add(used)
            self.facts.add(used)
        if self.feedback is not None:
            by_ratings = self.rules.by == "ratings"
            self.behind.do(self.feedback.add, batch, source.name, flags, by_ratings=by_ratings)

    def _without_effect(self, audit: dict[str, Any]) -> Iterator[str]:
        """Yield what the recipe asks for in vain."""
        rules, overrides = self.rules, self.batches.corrections.overrides
        for name in sorted({*(rules.only_sources or ()), *rules.drop_sources} - set(audit["by_source"])):
            yield f"the recipe names source {name}, which no row has"
        if not self.batches.rated:
            asked = {
                "fix_scores": rules.fix_scores != "none",
                "binarize_rejected": rules.rejected != "random",
            }
            for key in (key for key, set_ in asked.items() if set_):
                yield f"{key} has no effect on rows that are pairs already ({audit['format']})"
        elif rules.by == "ratings" and rules.fix_scores != "none":
            yield "fix_scores mends overall scores, and binarize_by: ratings goes by none: no pair is another for it"
        if overrides is not None and not overrides.entries:
            yield f"{overrides.path}: holds no override"
        elif overrides is not None and self.batches.rated and rules.by == "ratings":
            scores = sum(not one.ratings for of_row in overrides.completions.values() for _, one in of_row)
            if scores:
                yield f"{scores} overrides are of an overall_score only, and binarize_by: ratings goes by none"

    def _contamination(self) -> dict[str, Any] | None:
        benchmarks = self.batches.benchmarks
        if benchmarks is None:
            return None
        return benchmarks.summary(
            pl.concat([found for found, _ in self.overlaps]), pl.concat([rows for _, rows in self.overlaps])
        )

    def _summary(self, train: Sequence[int], heldout: Sequence[int], audit: dict[str, Any]) -> CurateSummary:
        left_out = self.left_out
        return CurateSummary(
            format=self.batches.recognizer.format.name,
            by=self.rules.by if self.batches.rated else None,
            seed=self.rules.seed,
            files=self.files,
            rows_in=self.batches.rows,
            rows_used=len(train) + len(heldout),
            train=len(train),
            heldout=len(heldout),
            left_out=dict(sorted(left_out.counts.items())),
            left_out_rows=left_out.rows,
            ultrafeedback=audit_facts(audit),
            **self.facts.as_dict(train, heldout),
        )


def _told(rules: Rules, *, rated: bool) -> dict[str, Any]:
    """Return the rules as the audit tells them: files by their names only."""
    values = dataclasses.asdict(rules)
    if not rated:
        values |= dict.fromkeys(("by", "rejected", "fix_scores"))
    return values | {
        "leave_out": sorted(rules.leave_out),
        "overrides": None if rules.overrides is None else rules.overrides.name,
        "benchmarks": [Path(name).name for name in rules.benchmarks],
    }


@contextlib.contextmanager
def _working_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` to work in; what is in its `out` at the end is moved to `out`, each file whole."""
    there = next(folder for folder in out.absolute().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(dir=there, prefix=".curate-") as name:
        work = Path(name)
        yield work
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted((work / "out").iterdir(), key=lambda path: path.name == "data.json"):
            path.replace(out / path.name)


def _sources(paths: Sequence[Path]) -> list[Source]:
    """Return the files, those of folders included, which are called by their path in the folder."""
    sources = []
    for path in paths:
        if path.is_dir():
            sources += [Source(file, file.relative_to(path).as_posix()) for file in data_files(path, None)]
        else:
            sources.append(Source(path, path.name))
    if not sources:
        raise UserError("no data files: name at least one for each part of the data")
    for source in sources:
        source.check()
    return sources


def _check_disjoint(parts: dict[str, list[Source]]) -> None:
    for sources in parts.values():
        paths = [source.path.resolve() for source in sources]
        for source, path in zip(sources, paths, strict=True):
            if paths.count(path) > 1:
                raise UserError(f"{source.path}: given twice; its rows would be held out and trained on")
    train = {source.path.resolve() for source in parts["train"]}
    for source in parts.get("heldout", []):
        if source.path.resolve() in train:
            raise UserError(
                f"{source.path}: both train and held-out data; give different files, or test_size alone"
            )


def _tell(summary: CurateSummary, reporter: Reporter) -> None:
    if summary.rated_backwards:
        reporter.warn(
            f"{summary.rated_backwards} pairs have a rejected answer that is rated above the chosen one"
        )
    if summary.heldout_prompts_in_train:
        reporter.warn(f"{summary.heldout_prompts_in_train} held-out prompts are in the train data too")
    literals = {token: count for token, count in summary.literal_special_tokens.items() if count}
    if literals:
        reporter.warn("the texts hold special tokens, kept as plain text: " + ", ".join(map(str, literals)))
