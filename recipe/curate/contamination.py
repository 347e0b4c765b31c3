"""How far prompts overlap with benchmarks, so that a figure on a benchmark can be trusted or not.

Texts are compared by their words. A text is brought into Unicode's NFKC and into lower case (a final sigma is a
sigma). Whatever is then no letter, mark or digit only separates words: "Don't stop!" and "don't  STOP" are both
don, t, stop. Where a script has no spaces between words (Han, kana, Thai, Lao, Khmer, Burmese), each character with
its marks counts as a word; 13 of them say less than 13 English words. A text without a word (only emoji,
say) overlaps with nothing.

A prompt and a benchmark's text overlap on one of three levels, the strictest that holds:

    exact     both are the same words
    13-gram   both have the same 13 words in a row somewhere
    8-gram    the same with 8 words

So a text shorter than 8 words is found only by being the same, and one shorter than 13 on the first or the third
level. Words of a template that many texts begin with count as any others: an 8-gram is a reason to look, not yet a
leaked question. Hashes only propose; every overlap is confirmed word by word.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from recipe.curate.benchmarks import BenchmarkFile, labels
from recipe.curate.tally import NONE

Level = Literal["exact", "13-gram", "8-gram"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""The levels, the strictest first."""

_SCHEMA = {"level": pl.String, "file": pl.String, "text_number": pl.Int64}
_SLICE = 4 << 20  # bytes of prompts that are taken apart at a time; it bounds the memory
_NO_SPACES = r"[[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]--\p{M}]\p{M}*"
# Odd numbers without pattern: words in another order have another hash.
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F)


class Benchmarks:
    """Benchmarks' texts, made ready once to be looked for in many prompts.

    Args:
        files: Each `FILE` or `FILE:COLUMN`: JSONL, a JSON array, Parquet, CSV with a header, or plain text
            with one text a line. Without a column the first of `benchmarks.COLUMNS` is read.

    Raises:
        UserError: A file cannot be used, as `benchmarks.BenchmarkFile.texts` says, or is named twice.
    """

    def __init__(self, files: Sequence[str | Path]) -> None:
        named = [BenchmarkFile.named(file) for file in files]
        self.files = labels(named)
        """What the files are called in reports."""
        read = [
            (place, number, text)
            for place, file in enumerate(named)
            for number, texts in file.texts()
            for text in texts
        ]
        schema = {"file": pl.UInt32, "number": pl.Int64, "text": pl.String}
        self._texts = pl.DataFrame(read, schema, orient="row")
        of_file, whole = self._texts["file"], _normalised(self._texts["text"])
        first = whole.with_columns(file=of_file.gather(whole["at"])).unique(["words", "file"], keep="first")
        self._whole = first.select("words", text="at")
        words = _Words(whole)
        self._eights = _Grams(8, words, of_file)
        self._thirteens = _Grams(13, words, of_file)

    @property
    def texts(self) -> dict[str, int]:
        """How many texts each file has."""
        counts = dict(self._texts["file"].value_counts().iter_rows())
        return {name: counts.get(place, 0) for place, name in enumerate(self.files)}

    def overlaps(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return which prompts overlap with which files.

        Args:
            frame: `row` (unique) and `instruction` (String, null possible); other columns do not matter.

        Returns:
            row (as it came), level (String, one of `LEVELS`), file (String, as in `files`), text_number (Int64:
            line, item or row of the file, from 1). One line for each prompt and file that overlap, with the
            strictest level of the two and the first text on this level; in the order of prompts, then of files.
        """
        read = frame["instruction"].str.len_bytes().cast(pl.Int64).fill_null(0).cum_sum()
        slices = frame.select("row", "instruction").with_columns(slice=read // _SLICE)
        found = [self._found(part) for part in slices.partition_by("slice", maintain_order=True)]
        return pl.concat([pl.DataFrame(schema={"row": frame.schema["row"], **_SCHEMA}), *found])

    def summary(self, overlaps: pl.DataFrame, rows: pl.DataFrame) -> dict[str, Any]:
        """Return the audit's account of all overlaps.

        Args:
            overlaps: What `overlaps` returned, of all prompts.
            rows: `row`, `id` and `source` (String, null possible) of all prompts, or of those that overlap.

        Returns:
            `files`: of each file its number of texts, and of prompts by their strictest level with this file.
            `rows`: by their strictest level with any file, the ids of the prompts in their order.
            `by_source`: the same as numbers, of each source that overlaps; a source that is null is "null".
        """
        told = rows.select("row", "id", pl.col("source").fill_null(NONE))
        levels = strictest(overlaps).join(told, on="row", maintain_order="left")
        return {
            "files": {
                name: {"texts": texts, **_counts(overlaps.filter(file=name))}
                for name, texts in self.texts.items()
            },
            "rows": {level: levels.filter(level=level)["id"].to_list() for level in LEVELS},
            "by_source": {
                str(source): _counts(part)
                for (source,), part in sorted(
                    levels.partition_by("source", as_dict=True).items(), key=lambda item: str(item[0][0])
                )
            },
        }

    def _found(self, part: pl.DataFrame) -> pl.DataFrame:
        """Return `overlaps` of a few prompts."""
        whole = _normalised(part["instruction"])
        words = _Words(whole)
        eights = self._eights.found(words, pl.int_range(len(words.word), dtype=pl.UInt32, eager=True))
        thirteens = self._thirteens.found(words, eights["start"].unique())
        exact = whole.join(self._whole, on="words")
        of_levels = zip(LEVELS, (exact, thirteens, eights), strict=True)
        pairs = pl.concat([one.select("at", "text", level=pl.lit(level)) for level, one in of_levels])
        texts = self._texts.select("file", text_number="number")[pairs["text"]]
        strict = pl.col("level").cast(pl.Enum(LEVELS))
        return (
            pl.concat([pairs, texts], how="horizontal")
            .sort("at", "file", strict, "text")
            .unique(["at", "file"], keep="first", maintain_order=True)
            .select(
                pl.lit(part["row"]).gather("at").alias("row"),
                "level",
                pl.lit(pl.Series(self.files, dtype=pl.String)).gather("file").alias("file"),
                "text_number",
            )
        )


def strictest(overlaps: pl.DataFrame) -> pl.DataFrame:
    """Return of each row the overlap on its strictest level, with the first file of several, sorted by row."""
    strict = pl.col("level").cast(pl.Enum(LEVELS))
    return overlaps.sort("row", strict, maintain_order=True).unique("row", keep="first", maintain_order=True)


class _Words:
    """The words of texts, one after the other.

    Attributes:
        at: UInt32, the text of each word.
        word: String.
        eights: UInt64, the hash of the 8 words from each on, over the ends of texts too.
    """

    def __init__(self, whole: pl.DataFrame) -> None:
        words = whole.with_columns(pl.col("words").str.split(" ")).explode("words")
        self.at, self.word = words["at"], words["words"]
        hashes = _hashes(self.word).to_frame("hash")
        for distance, factor in zip((1, 2, 4), _FACTORS, strict=False):
            following = pl.col("hash").shift(-distance, fill_value=0)
            hashes = hashes.select(pl.col("hash") * pl.lit(factor, pl.UInt64) + following)  # modulo 2 ** 64
        self.eights = hashes["hash"]

    def hashes(self, starts: pl.Series, n: int) -> pl.Series:
        """Return the hashes of the `n` words, 8 or 13, from each of `starts` on."""
        eights = self.eights.gather(starts)
        # Thirteen words are eight and eight, with three in both.
        return eights if n == 8 else eights * _FACTORS[3] + self.eights.gather(starts + 5)

    def starts(self, starts: pl.Series, n: int) -> pl.Series:
        """Return those of `starts` from which on the text has `n` words."""
        starts = starts.filter(starts + n <= len(self.word))
        return starts.filter(self.at.gather(starts) == self.at.gather(starts + (n - 1)))


class _Grams:
    """The n-grams of all benchmarks: of each the first text of each file that has it.

    Args:
        n: 8 or 13.
        words: Those of all texts.
        files: UInt32, the file of each text.
    """

    def __init__(self, n: int, words: _Words, files: pl.Series) -> None:
        self.n, self.words = n, words
        starts = words.starts(pl.int_range(len(words.word), dtype=pl.UInt32, eager=True), n)
        texts = words.at.gather(starts)
        table = pl.DataFrame(
            {"hash": words.hashes(starts, n), "file": files.gather(texts), "start": starts, "text": texts}
        ).sort("hash", "file", "start")
        # What is the first of its hash and file, or only collides with it, is kept.
        first = pl.struct("hash", "file").is_first_distinct()
        firsts = table.select(pl.when(first).then("start").forward_fill())["start"]
        same = self._same(words, table["start"], firsts)
        self.table = table.filter(first | ~same)
        # A bit for each top part of a hash says at once of nearly all other hashes that they are not here.
        bits = min(30, max(16, (16 * len(self.table)).bit_length()))
        self.divisor = 1 << (64 - bits)
        here = (self.table["hash"] // self.divisor).cast(pl.UInt32)
        self.bits = pl.repeat(False, 1 << bits, dtype=pl.Boolean, eager=True).scatter(here, True)

    def found(self, words: _Words, starts: pl.Series) -> pl.DataFrame:
        """Return which of the n-grams that begin at `starts` are a benchmark's.

        Returns:
            start, at (the prompt), text (the benchmark's), all UInt32; a line for each start and file.
        """
        starts = starts.filter(starts + self.n <= len(words.word))
        hashes = words.hashes(starts, self.n)
        likely = self.bits.gather((hashes // self.divisor).cast(pl.UInt32))
        starts, hashes = starts.filter(likely), hashes.filter(likely)
        low = self.table["hash"].search_sorted(hashes, "left")
        high = self.table["hash"].search_sorted(hashes, "right")
        pairs = pl.DataFrame({"start": starts, "low": low, "high": high}).filter(
            pl.col("low") < pl.col("high")
        )
        pairs = pairs.select("start", place=pl.int_ranges("low", "high", dtype=pl.UInt32)).explode("place")
        own = self.table[pairs["place"]]
        within = words.at.gather(pairs["start"]) == words.at.gather(pairs["start"] + (self.n - 1))
        same = within & self._same(words, pairs["start"], own["start"])
        return pl.DataFrame(
            {"start": pairs["start"], "at": words.at.gather(pairs["start"]), "text": own["text"]}
        ).filter(same)

    def _same(self, words: _Words, starts: pl.Series, own: pl.Series) -> pl.Series:
        """Return whether the words from `starts` on are the benchmarks' from `own` on."""
        same = pl.repeat(True, len(starts), dtype=pl.Boolean, eager=True)
        for step in range(self.n):
            same &= words.word.gather(starts + step) == self.words.word.gather(own + step)
        return same


def _hashes(words: pl.Series) -> pl.Series:
    return words.hash()


def _normalised(texts: pl.Series) -> pl.DataFrame:
    """Return `at` (UInt32, the place in `texts`) and `words` (String, joined by spaces) of texts with any words."""
    text = pl.col("words")
    frame = texts.alias("words").to_frame().with_row_index("at").drop_nulls()
    plain = text.str.len_bytes() == text.str.len_chars()  # ASCII, which most texts are: spared the work
    marked = text.str.normalize("NFKC").str.to_lowercase().str.replace_all("\u03c2", "\u03c3", literal=True)
    both = pl.concat(
        [
            frame.filter(plain).with_columns(text.str.to_lowercase()),
            frame.filter(~plain).with_columns(marked.str.replace_all(_NO_SPACES, " $0 ")),
        ]
    )
    # One character at a time and then the spaces is faster than all at once.
    spaced = (
        text.str.replace_all(r"[^\p{L}\p{M}\p{N} ]", " ").str.replace_all(" {2,}", " ").str.strip_chars(" ")
    )
    return both.with_columns(spaced).filter(text != "").sort("at")


def _counts(overlaps: pl.DataFrame) -> dict[str, int]:
    return {level: len(overlaps.filter(level=level)) for level in LEVELS}
