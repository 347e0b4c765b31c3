"""The stage `curate`: feedback in, preference pairs and a full account of every row out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from recipe.curate.binarize import By
from recipe.curate.files import data_files
from recipe.curate.formats import Recognizer, Rules
from recipe.curate.pair import OPTIONAL, BadRow, LeftOut, Pair, Reason, Row
from recipe.curate.read import Place, Source
from recipe.curate.report import CurateSummary, FileEntry, LeftOutRows, audit_facts, text_facts
from recipe.curate.split import shuffle, split
from recipe.curate.table import write_pairs
from recipe.errors import UserError
from recipe.progress import Reporter

_MANY = 5000  # rows of a file that are worth a progress bar


def curate(
    train: Sequence[Path],
    heldout: Sequence[Path] | None,
    out: Path,
    *,
    dataset_format: str = "auto",
    by: By = "ratings",
    test_size: int,
    leave_out: Iterable[str] = OPTIONAL,
    seed: int,
    reporter: Reporter,
) -> CurateSummary:
    """Make preference pairs of the rows of `train` and `heldout` and write them to the folder `out`.

    Writes `train.parquet`, `heldout.parquet` and, last, `data.json`; nothing before all rows were read.

    Args:
        train: Data files, or folders of them (all their splits).
        heldout: The same for the held-out part; None to split it off `train`.
        out: The folder to write to; made if need be.
        dataset_format: The name of one of `formats.FORMATS`, or `auto`.
        by: What decides which of an UltraFeedback row's completions is better.
        test_size: How many pairs to split off; not used if `heldout` is given.
        leave_out: Those of `pair.OPTIONAL` for which a row is left out.
        seed: Of the shuffle, the split and the draw of the rejected completion.
        reporter: Where progress and warnings go.

    Raises:
        UserError: A file or a row is not as it has to be, or too few rows are usable.
    """
    parts = {"train": _sources(train)} | ({"heldout": _sources(heldout)} if heldout is not None else {})
    _check_disjoint(parts)
    rules = Rules(by, seed, frozenset(map(Reason, leave_out)))
    reading = _Reading(Recognizer(dataset_format), rules, reporter)
    pairs = {part: reading.part(part, sources) for part, sources in parts.items()}
    if heldout is None:
        train_pairs, heldout_pairs = split(pairs["train"], test_size, seed)
    else:
        train_pairs, heldout_pairs = shuffle(pairs["train"], seed), shuffle(pairs["heldout"], seed)
    summary = reading.summary(train_pairs, heldout_pairs)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "train.parquet", lambda path: write_pairs(train_pairs, path))
    _write(out / "heldout.parquet", lambda path: write_pairs(heldout_pairs, path))
    _write(out / "data.json", summary.write)
    _tell(summary, reporter)
    return summary


def pairs_in_order(
    paths: Sequence[Path], *, dataset_format: str, by: By, leave_out: Iterable[str], seed: int
) -> Iterator[tuple[int, Pair | Reason]]:
    """Yield each row's number, from 0 over all files, with the pair it gives or the reason why it gives none.

    Raises:
        UserError: As `curate`.
    """
    recognizer, rules = Recognizer(dataset_format), Rules(by, seed, frozenset(map(Reason, leave_out)))
    number = 0
    for source in _sources(paths):
        for place, row in source.rows():
            try:
                yield number, recognizer.pair(row, rules)
            except LeftOut as left_out:
                yield number, left_out.reason
            except BadRow as error:
                raise _mistake(place, error) from error
            number += 1
    if not number:
        raise UserError(f"{paths[0]}: no rows; give data that have some")


def count_rows(paths: Sequence[Path]) -> int:
    """Return how many rows the files have, those included that will be left out.

    Raises:
        UserError: A file is missing or broken.
    """
    return sum(source.count() for source in _sources(paths))


class _Reading:
    """Reads the parts one after the other and keeps the books."""

    def __init__(self, recognizer: Recognizer, rules: Rules, reporter: Reporter) -> None:
        self.recognizer, self.rules, self.reporter = recognizer, rules, reporter
        self.files: list[FileEntry] = []
        self.left_out = LeftOutRows()

    def part(self, part: str, sources: Sequence[Source]) -> list[Pair]:
        """Return the usable pairs of a part.

        Raises:
            UserError: A file has no rows, or no row of the part is usable.
        """
        pairs: list[Pair] = []
        for source in sources:
            sha256, about = source.survey()
            rows = source.rows()
            if about is not None and about >= _MANY:
                rows = self.reporter.track(rows, f"reading {source.name}", about)
            count = self._file(source, rows, pairs)
            if not count:
                raise UserError(f"{source.path}: no rows; remove the file or fetch it again")
            self.files.append({"name": source.name, "part": part, "sha256": sha256, "rows": count})
        if not pairs:
            where = ", ".join(str(source.path) for source in sources[:3])
            raise UserError(
                f"{where}: no usable row in the {part} data; left out: {self.left_out}; mend the data"
            )
        return pairs

    def _file(self, source: Source, rows: Iterator[tuple[Place, Row]], pairs: list[Pair]) -> int:
        """Append the pairs of a file and return how many rows it has."""
        count = 0
        for place, row in rows:
            count += 1
            try:
                pairs.append(self.recognizer.pair(row, self.rules))
            except LeftOut as left_out:
                self.left_out.add(left_out.reason, source.name, place, row)
            except BadRow as error:
                raise _mistake(place, error) from error
        return count

    def summary(self, train: Sequence[Pair], heldout: Sequence[Pair]) -> CurateSummary:
        """Return the account of all that was read."""
        name = self.recognizer.format.name
        rated = name == "ultrafeedback"
        return CurateSummary(
            format=name,
            by=self.rules.by if rated else None,
            seed=self.rules.seed,
            files=self.files,
            rows_in=sum(entry["rows"] for entry in self.files),
            rows_used=len(train) + len(heldout),
            train=len(train),
            heldout=len(heldout),
            left_out=dict(sorted(self.left_out.counts.items())),
            left_out_rows=self.left_out.rows,
            ultrafeedback=audit_facts(self.rules.audit) if rated else None,
            **text_facts(train, heldout),
        )


def _mistake(place: Place, error: BadRow) -> UserError:
    return UserError(" ".join(f"{place}: {error}".splitlines()))


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
    train = {source.path.resolve() for source in parts["train"]}
    for source in parts.get("heldout", []):
        if source.path.resolve() in train:
            raise UserError(
                f"{source.path}: both train and held-out data; give different files, or test_size alone"
            )


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Write aside and rename, so that `path` is whole or not there."""
    aside = path.with_name(path.name + ".part")
    write(aside)
    aside.replace(path)


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
