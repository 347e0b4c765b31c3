"""The rows of data files as batches of pairs: by columns where feedback is rated, one by one in the other formats."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import polars as pl

from recipe.curate.ahead import ahead
from recipe.curate.binarize import pairs_of, pick
from recipe.curate.checks import with_reasons
from recipe.curate.contamination import Benchmarks
from recipe.curate.corrections import Corrections
from recipe.curate.feedback import Chunk, FeedbackReader, find_aspects
from recipe.curate.formats import Recognizer
from recipe.curate.pair import BadRow, LeftOut, Row, digest, encodes, label
from recipe.curate.read import Place, Source
from recipe.curate.rules import Rules
from recipe.curate.table import PAIRS, columns_of
from recipe.errors import UserError

_BATCH = 1024  # rows that are converted one by one and then turned into columns


@dataclass(frozen=True)
class Batch:
    """Some rows of a file.

    Attributes:
        pairs: A row each, in the columns of `table.PAIRS`, with the reason why it is no pair.
        overlaps: The rows whose prompt a benchmark has; None if none was asked for.
        chunk: The rows and answers as read, if they are rated feedback.
        picks: Which answers were chosen, likewise; see `binarize.pick`.
    """

    pairs: pl.DataFrame
    overlaps: pl.DataFrame | None = None
    chunk: Chunk | None = None
    picks: pl.DataFrame | None = None


class Batches:
    """Reads files of one format, each in its turn.

    Args:
        sources: All the files.
        dataset_format: The name of a format, or `auto`.
        rules: How pairs are made.

    Raises:
        UserError: There is no such format, or a row is of none.
    """

    def __init__(self, sources: Sequence[Source], dataset_format: str, rules: Rules) -> None:
        self.rules = rules
        self.recognizer = Recognizer(dataset_format)
        self.rows = 0
        self.corrections = Corrections(rules)
        self.benchmarks = Benchmarks(rules.benchmarks) if rules.benchmarks else None
        first = next(((place, row) for source in sources for place, row in source.rows()), None)
        if first is not None:
            place, row = first
            try:
                self.recognizer.recognise(row)
            except BadRow as error:
                raise error.at(place) from error
        self.rated = first is not None and self.recognizer.format.convert is None
        if first is not None:
            self.recognizer.keep(by_columns=self.rated)
        self.aspects = find_aspects(sources) if self.rated else ()

    def of(self, source: Source) -> Iterator[Batch]:
        """Yield the rows of a file.

        Raises:
            UserError: The file or a row is not as it has to be.
        """
        batches = self._rated(source) if self.rated else self._converted(source)
        for batch in batches:
            self.rows += len(batch.pairs)
            yield batch

    def _rated(self, source: Source) -> Iterator[Batch]:
        reader = FeedbackReader(self.aspects, self.rules.by, self.recognizer.recognise)
        for chunk in ahead(reader.chunks(source, self.rows)):
            corrected = self.corrections.apply(chunk)
            picks = pick(corrected, self.rules)
            pairs, overlaps = self._checked(pairs_of(corrected, picks, self.rules))
            yield Batch(pairs, overlaps, chunk, picks)

    def _converted(self, source: Source) -> Iterator[Batch]:
        rows = source.rows()
        ended = False
        while not ended:
            records: list[dict[str, object]] = []
            mistake: UserError | None = None
            try:
                for place, row in islice(rows, _BATCH):
                    records.append(self._record(self.rows + len(records), place, row))
            except UserError as error:
                mistake = error  # told after the rows before it
            ended = len(records) < _BATCH
            if records:
                yield Batch(*self._checked(pl.DataFrame(records, schema=PAIRS)))
            if mistake is not None:
                raise mistake

    def _checked(self, pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        """Return pairs with their reasons, and which of the rows overlap with a benchmark."""
        overlaps = None
        if self.benchmarks is not None:
            prompt = pl.col("prompt").list.last().struct.field("content").alias("instruction")
            overlaps = self.benchmarks.overlaps(pairs.select("row", prompt))
        return with_reasons(pairs, self.rules, overlaps, self.corrections.left_out(pairs)), overlaps

    def _record(self, number: int, place: Place, row: Row) -> dict[str, object]:
        facts: dict[str, object] = {"row": number, "line": place.number, "row_id": digest(row)}
        try:
            return facts | columns_of(self.recognizer.pair(row))
        except BadRow as error:
            raise error.at(place) from error
        except LeftOut as left_out:
            return facts | {"source": _source(row), "reason": left_out.reason.value}


def _source(row: Row) -> str | None:
    source = label(row, "source")
    return source if source is not None and encodes(source) else None
