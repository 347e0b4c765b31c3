"""Overlap of prompts with benchmarks, held against the definition in plain Python; and the files they come in."""

import csv
import json
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe.curate import contamination
from recipe.curate.benchmarks import BenchmarkFile
from recipe.curate.contamination import LEVELS, Benchmarks, strictest
from recipe.errors import UserError

NO_SPACES = (
    *("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC ITERATION", "IDEOGRAPHIC NUMBER"),
    *("VERTICAL IDEOGRAPHIC", "OLD CHINESE", "HANGZHOU"),
    *("HIRAGANA", "HENTAIGANA", "KATAKANA LETTER", "KATAKANA ITERATION", "KATAKANA VOICED"),
    *("THAI", "LAO", "KHMER", "MYANMAR"),
)
LONG = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."


def words(text: str) -> tuple[str, ...]:
    """The words of a text, character by character."""
    spaced = ""
    for character in unicodedata.normalize("NFKC", text).lower().replace("ς", "σ"):  # noqa: RUF001
        if unicodedata.category(character)[0] not in "LMN":
            spaced += " "
        elif (
            unicodedata.name(character, "").startswith(NO_SPACES)
            and unicodedata.category(character)[0] != "M"
        ):
            spaced += " " + character + "\0"
        elif unicodedata.category(character)[0] == "M":
            # A mark belongs to the character before it.
            spaced = spaced[:-1] + character + "\0" if spaced.endswith("\0") else spaced + character
        else:
            spaced += character
    return tuple(spaced.replace("\0", " ").split())


def grams(text: tuple[str, ...], n: int) -> set[tuple[str, ...]]:
    return {text[start : start + n] for start in range(len(text) - n + 1)}


def level(prompt: tuple[str, ...], text: tuple[str, ...]) -> str | None:
    if prompt and prompt == text:
        return "exact"
    for n in (13, 8):
        if grams(prompt, n) & grams(text, n):
            return f"{n}-gram"
    return None


def expected(
    prompts: Sequence[str | None], files: Sequence[Sequence[str]]
) -> list[tuple[int, str, int, int]]:
    """Row, level, file and text number, as they should be."""
    found: list[tuple[int, str, int, int]] = []
    split = [[words(text) for text in file] for file in files]
    for row, prompt in enumerate(prompts):
        own = words(prompt or "")
        for place, file in enumerate(split):
            levels = [(level(own, text), number) for number, text in enumerate(file, 1)]
            best = min(((LEVELS.index(one), number) for one, number in levels if one in LEVELS), default=None)
            if best:
                found.append((row, LEVELS[best[0]], place, best[1]))
    return found


def frame(prompts: Sequence[str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"row": range(len(prompts)), "instruction": prompts}, {"row": pl.Int64, "instruction": pl.String}
    )


def jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def benchmark(folder: Path, *texts: str) -> Benchmarks:
    return Benchmarks([jsonl(folder / "b.jsonl", [{"question": text} for text in texts])])


def found(benchmarks: Benchmarks, *prompts: str | None) -> list[str | None]:
    """The level of each prompt."""
    levels = dict(strictest(benchmarks.overlaps(frame(prompts))).select("row", "level").iter_rows())
    return [levels.get(row) for row in range(len(prompts))]


WORD = st.sampled_from(["a", "B", "ab", "é", "E\u0301", "日本", "ไทย", "ﬁ", "don't", "ΟΔΟΣ", "7"])
SPACE = st.sampled_from([" ", "  ", ", ", "\n", "-", "\u00a0", "\u3000", "…"])


@st.composite
def a_text(draw: st.DrawFn, most: int) -> str:
    made = draw(st.lists(st.tuples(WORD, SPACE), max_size=most))
    return "".join(word + space for word, space in made)


@st.composite
def a_case(draw: st.DrawFn) -> tuple[list[str | None], list[list[str]]]:
    """Prompts that are made of texts, of parts of texts, and of words of their own."""
    files = draw(st.lists(st.lists(a_text(20).filter(str.strip), min_size=1, max_size=4), max_size=3))
    pool = [text.split() for file in files for text in file]
    prompts: list[str | None] = []
    for _ in range(draw(st.integers(0, 6))):
        pieces = [draw(a_text(6))]
        for source in draw(st.lists(st.sampled_from(pool), max_size=2)) if pool else []:
            start = draw(st.integers(0, 2))
            pieces.append(" ".join(source[start : draw(st.integers(6, 20))]))
        if draw(st.booleans()):
            pieces = pieces[1:]
        whole = " ".join(pieces)
        prompts.append(draw(st.sampled_from([whole, whole.upper(), whole.lower()])))
    for place in draw(st.lists(st.integers(0, 9), max_size=2)):
        prompts.insert(place, None)
    return prompts, files


def check(prompts: list[str | None], files: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            jsonl(Path(folder) / f"{place}.jsonl", [{"text": text} for text in file])
            for place, file in enumerate(files)
        ]
        benchmarks = Benchmarks(paths)
    overlaps = benchmarks.overlaps(frame(prompts))
    lines = expected(prompts, files)
    assert overlaps.rows() == [(row, level, f"{file}.jsonl", number) for row, level, file, number in lines]
    best = {row: min(LEVELS.index(one[1]) for one in lines if one[0] == row) for row, *_ in lines}
    assert [
        (row, LEVELS.index(level)) for row, level, *_ in strictest(benchmarks.overlaps(frame(prompts))).rows()
    ] == list(best.items())


@settings(max_examples=80, deadline=None)
@given(a_case())
def test_levels_are_those_of_the_definition(case: tuple[list[str | None], list[list[str]]]) -> None:
    check(*case)


@settings(max_examples=40, deadline=None)
@given(a_case(), st.sampled_from([1, 3]), st.sampled_from([1, 40]))
def test_neither_colliding_hashes_nor_slices_matter(
    case: tuple[list[str | None], list[list[str]]], hashes: int, size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contamination, "_hashes", lambda words: words.hash() % hashes)
        patch.setattr(contamination, "_SLICE", size)
        check(*case)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cn"])))
def test_words_of_any_text(text: str) -> None:
    made = contamination._normalised(pl.Series([text]))["words"].to_list()
    assert [tuple(one.split(" ")) for one in made] == ([words(text)] if words(text) else [])


def test_each_level_where_it_begins(tmp_path: Path) -> None:
    split = LONG.split()
    benchmarks = benchmark(tmp_path, LONG, "What is it?")
    assert found(
        benchmarks,
        LONG.upper().replace(",", " --"),
        "Well: " + LONG,
        "x " + " ".join(split[2:15]) + " x",
        "x " + " ".join(split[2:14]) + " x",
        " ".join(split[2:10]),
        " ".join(split[2:9]),
        "what is it",
        "What is it? Well.",
    ) == ["exact", "13-gram", "13-gram", "8-gram", "8-gram", None, "exact", None]


def test_no_gram_spans_two_rows_or_two_texts(tmp_path: Path) -> None:
    split = LONG.split()
    benchmarks = benchmark(
        tmp_path, " ".join(split[:6]), " ".join(split[6:12]), LONG.replace("April", "March")
    )
    assert found(benchmarks, " ".join(split[:12])) == ["8-gram"]
    benchmarks = benchmark(tmp_path, " ".join(split[:6]), " ".join(split[6:12]))
    assert found(benchmarks, " ".join(split[:12])) == [None]
    benchmarks = benchmark(tmp_path, LONG)
    assert found(benchmarks, " ".join(split[:6]), None, " ".join(split[6:12])) == [None, None, None]


def test_the_first_text_of_several() -> None:
    part = " ".join(LONG.split()[:9])
    check(
        [LONG, LONG + " x", part],
        [["z", LONG, LONG.upper(), "b " + LONG], [LONG + " y", LONG + " x", LONG + " x"]],
    )


def test_scripts_without_spaces(tmp_path: Path) -> None:
    benchmarks = benchmark(tmp_path, "日本の首都はどこですか。人口は何人ですか。")
    assert found(
        benchmarks,
        "日本の首都はどこですか。人口は、何人ですか",
        "では、日本の首都はどこですか?",
        "日本の首都はどこ",
    ) == [
        "exact",
        "8-gram",
        "8-gram",
    ]
    assert found(benchmarks, "日本の首都はど") == [None]


def test_nothing_overlaps_with_no_words(tmp_path: Path) -> None:
    assert found(benchmark(tmp_path, "?!", "😀"), "?!", "😀", "", " ", None) == [None] * 5
    empty = benchmark(tmp_path, "a").overlaps(frame([]))
    assert empty.schema == {"row": pl.Int64, "level": pl.String, "file": pl.String, "text_number": pl.Int64}


def test_rows_keep_their_numbers_and_type(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {"row": [40, 7, 9], "instruction": ["b", "a", "A!"], "other": [1, 2, 3]},
        {"row": pl.UInt16, "instruction": pl.String, "other": pl.Int8},
    )
    overlaps = benchmark(tmp_path, "a").overlaps(rows)
    assert overlaps["row"].to_list() == [7, 9]
    assert overlaps.schema["row"] == pl.UInt16


def test_long_prompts_that_repeat(tmp_path: Path) -> None:
    benchmarks = benchmark(tmp_path, *["so " * 30 + str(number) for number in range(50)])
    assert found(benchmarks, "so " * 50_000, "so " * 7, "never " * 50_000) == ["13-gram", None, None]


def test_summary(tmp_path: Path) -> None:
    one = jsonl(tmp_path / "one.jsonl", [{"question": LONG}, {"question": "Why?"}])
    two = jsonl(tmp_path / "two.jsonl", [{"prompt": LONG + " How many?"}])
    benchmarks = Benchmarks([one, two])
    rows = frame(["why", LONG, "no", " ".join(LONG.split()[:9]), "WHY"]).with_columns(
        id=pl.Series(["v", "w", "x", "y", "v"]),
        source=pl.Series(["flan", "flan", "flan", None, "truthful_qa"]),
    )
    chunks = [benchmarks.overlaps(rows[:2]), benchmarks.overlaps(rows[2:])]
    overlaps = pl.concat(chunks)
    assert strictest(overlaps)["file"].to_list() == ["one.jsonl"] * 4
    summary = benchmarks.summary(overlaps, rows)
    assert json.loads(json.dumps(summary)) == {
        "files": {
            "one.jsonl": {"texts": 2, "exact": 3, "13-gram": 0, "8-gram": 1},
            "two.jsonl": {"texts": 1, "exact": 0, "13-gram": 1, "8-gram": 1},
        },
        "rows": {"exact": ["v", "w", "v"], "13-gram": [], "8-gram": ["y"]},
        "by_source": {
            "flan": {"exact": 2, "13-gram": 0, "8-gram": 0},
            "null": {"exact": 0, "13-gram": 0, "8-gram": 1},
            "truthful_qa": {"exact": 1, "13-gram": 0, "8-gram": 0},
        },
    }


def test_summary_of_no_overlap(tmp_path: Path) -> None:
    rows = frame(["a"]).with_columns(id=pl.lit("i"), source=pl.lit("s"))
    benchmarks = benchmark(tmp_path, "b")
    assert benchmarks.summary(benchmarks.overlaps(rows), rows) == {
        "files": {"b.jsonl": {"texts": 1, "exact": 0, "13-gram": 0, "8-gram": 0}},
        "rows": {"exact": [], "13-gram": [], "8-gram": []},
        "by_source": {},
    }


def texts(path: Path | str) -> list[tuple[int, list[str]]]:
    return list(BenchmarkFile.named(path).texts())


def test_every_kind_of_file(tmp_path: Path) -> None:
    rows = [{"question": "one,\ntwo"}, {"question": 'a "b"'}]
    made = jsonl(tmp_path / "a.jsonl", rows)
    array = tmp_path / "a.json"
    array.write_text(json.dumps(rows))
    parquet = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    table = tmp_path / "a.csv"
    with table.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ["Type", "question"])
        writer.writeheader()
        writer.writerows([{"Type": "x", **row} for row in rows])
    for path in (made, array, parquet, table):
        assert texts(path) == [(1, ["one,\ntwo"]), (2, ['a "b"'])]
    lines = tmp_path / "a.txt"
    lines.write_bytes(b"\xef\xbb\xbfone\r\n\ntwo\xe2\x80\xa8three")
    assert [(number, [one.strip() for one in line]) for number, line in texts(lines)] == [
        (1, ["one"]),
        (2, []),
        (3, ["two\u2028three"]),
    ]
    assert Benchmarks([lines]).texts == {"a.txt": 2}


@pytest.mark.parametrize(
    ("row", "read"),
    [
        ({"Question": "q", "Best Answer": "x"}, ["q"]),
        ({"id": 1, "text": "t", "problem": "p", "prompt": "r"}, ["r"]),
        ({"ctx": "c", "sentence": "s"}, ["c"]),
        ({"question_id": 81, "turns": ["first", "then"]}, ["first", "then"]),
        ({"prompt": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}, ["u"]),
        ({"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "h"}]}, ["h"]),
        ({"messages": [{"role": "user", "content": None}, {"role": "user", "content": "b"}]}, ["b"]),
        ({"text": "half \ud83d"}, ["half \ufffd"]),
    ],
)
def test_the_column_that_holds_the_text(tmp_path: Path, row: dict[str, Any], read: list[str]) -> None:
    assert texts(jsonl(tmp_path / "b.jsonl", [row])) == [(1, read)]


def test_a_column_that_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "b.jsonl", [{"question": "q", "passage": "p"}])
    assert texts(f"{path}:passage") == [(1, ["p"])]
    odd = jsonl(tmp_path / "b:c.jsonl", [{"question": "q"}])
    assert texts(odd) == [(1, ["q"])]
    assert Benchmarks([path, f"{path}:passage"]).files == ["b.jsonl", "b.jsonl:passage"]


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    names = ["gsm8k/main/test.jsonl", "mmlu/main/test.jsonl", "other.jsonl"]
    paths = [jsonl(tmp_path / name, [{"question": "q"}]) for name in names]
    assert Benchmarks(paths).files == names
    assert Benchmarks(paths[:1]).files == ["test.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("b.jsonl", "", "b.jsonl: no text; name another file, or a column by FILE:COLUMN"),
        ("b.txt", " \n\n", "b.txt: no text in column 'text'"),
        ("b.csv", "question\n", "b.csv: no text"),
        ("b.jsonl", '{"question": null}\n{"question": " "}', "b.jsonl: no text in column 'question'"),
        ("b.jsonl", '{"question": "q"}\n{"question"', "b.jsonl, line 2: broken JSON"),
        ("b.json", '[{"question": "q"},', "b.json, line 1: broken JSON"),
        ("b.jsonl", '"q"', "b.jsonl, line 1: text, but a row is an object"),
        ("b.jsonl", '{"a": "q", "b": 1}', "which column holds the texts? Found: 'a', 'b'; known: question, "),
        ("b.jsonl", '{"a": "q"}', "b.jsonl:COLUMN"),
        ("b.jsonl", '{"question": 3}', "b.jsonl, line 1: column 'question' is a number, not text or turns"),
        ("b.jsonl", '{"question": {"stem": "q"}}', "column 'question' is an object, not text or turns"),
        ("b.jsonl", '{"turns": ["a", 1]}', "column 'turns' is a list with a number, not text or turns"),
        (
            "b.jsonl",
            '{"turns": [{"role": "user", "content": 1}]}',
            "a user's turn in column 'turns' is a number",
        ),
        ("b.jsonl", '{"question": "q"}\n{"prompt": "q"}', "b.jsonl, line 2: no column 'question'"),
        ("b.csv", "question,a\nq\n", "b.csv, line 2: 1 values, but the header has 2"),
        ("b.csv", 'question\n"q" x\n', "b.csv, line 2: broken CSV"),
        ("b.parquet", "question", "b.parquet: not a Parquet file"),
        ("b.tsv", "question", "b.tsv: unknown format of a benchmark; convert it to one of .jsonl, "),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, name: str, content: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError) as error:
        Benchmarks([path])
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_mistakes_in_a_name(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "b.jsonl", [{"question": "q", "answer": "a"}])
    lines = tmp_path / "b.txt"
    lines.write_bytes(b"good\n\xff\n")
    mistakes: list[tuple[Path | str, str]] = [
        (tmp_path / "none.jsonl", "none.jsonl: no such file"),
        (f"{tmp_path}/none.jsonl:question", "none.jsonl: no such file"),
        (tmp_path, "no such file"),
        (f"{path}:query", "b.jsonl: no column 'query'; columns found: 'question', 'answer'"),
        (f"{lines}:text", "b.txt: has no columns, so no 'text'"),
        (lines, "b.txt, line 2: not UTF-8"),
    ]
    for name, says in mistakes:
        with pytest.raises(UserError) as error:
            Benchmarks([name])
        assert says in str(error.value)
    with pytest.raises(UserError, match="named twice"):
        Benchmarks([path, tmp_path / "." / "b.jsonl"])
