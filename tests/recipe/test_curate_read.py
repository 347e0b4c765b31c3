"""Readers and their complaints, and the files of a split."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.data_files import get_data_patterns, resolve_pattern

from recipe.curate import count_rows, curate, data_files, read
from recipe.curate.read import Source
from recipe.errors import UserError
from recipe.progress import Reporter

ROW = '{"prompt": "p", "chosen": "c", "rejected": "r"}'


def rows(path: Path) -> list[Any]:
    return [row for _, row in Source(path, path.name).rows()]


def numbers(path: Path) -> list[int]:
    return [place.number for place, _ in Source(path, path.name).rows()]


def put(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ROW + "\n")
    return paths


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json"])
def test_lines_with_bom_blank_lines_and_odd_line_ends(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'\xef\xbb\xbf{"a": "x\xe2\x80\xa8y"}\r\n\n  \n{"a": 2}')
    assert rows(path) == [{"a": "x\u2028y"}, {"a": 2}]
    assert numbers(path) == [1, 4]


@pytest.mark.parametrize("chunk", [1, 3, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_arrays_in_chunks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    monkeypatch.setattr(read, "_CHUNK", chunk)
    content = [{"a": number, "é": '],[{ \\" 日本', "b": [{}, [1.5, None]]} for number in range(20)]
    path = tmp_path / "a.json"
    path.write_bytes(
        b"\xef\xbb\xbf" + f" {json.dumps(content, indent=indent, ensure_ascii=False)}\n ".encode()
    )
    assert rows(path) == content
    assert numbers(path) == list(range(1, 21))


def test_empty_array(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[ ]")
    assert rows(path) == []


def test_parquet(tmp_path: Path) -> None:
    content = [{"a": number, "b": [{"role": "user"}]} for number in range(3000)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(content), path)
    assert rows(path) == content
    assert numbers(path)[-1] == 3000
    assert Source(path, path.name).survey()[1] == 3000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", ": no rows"),
        ("a.jsonl", b"\n\n", ": no rows"),
        ("a.json", b"[]", ": no rows"),
        ("a.json", b"", ": no rows"),
        ("a.csv", b"a,b\n", ": unknown file format"),
        ("a.jsonl.gz", b"", ": unknown file format"),
        ("a.jsonl", f"{ROW}\n{ROW[:-1]}\n".encode(), ", line 2: broken JSON (Expecting ',' delimiter)"),
        ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}", ", line 1: broken JSON (Exceeds the limit"),
        ("a.jsonl", b'{"a":' + b"[" * 200_000, ", line 1: broken JSON (maximum recursion"),
        ("a.json", b'{\n "rows": []\n}', ", line 1: broken JSON"),
        ("a.json", f"[\n{ROW},\n{{\n bad}}]".encode(), ", line 4: broken JSON (Expecting property name"),
        ("a.json", f"[\n{ROW},\n{ROW}".encode(), ", line 3: broken JSON (cut off)"),
        ("a.json", f"[{ROW}\n{ROW}]".encode(), ", line 2: broken JSON (']' expected, '{' found)"),
        ("a.json", f"[{ROW},]".encode(), ", line 1: broken JSON (Expecting value)"),
        ("a.json", f"[{ROW}]\n[]".encode(), ", line 2: broken JSON (text after the array's end)"),
        ("a.json", b"[" * 200_000, ", line 1: broken JSON (maximum recursion"),
        ("a.jsonl", f'{ROW}\n{{"a": "'.encode() + b'\xe9"}', ", line 2, byte offset 55: not UTF-8"),
        ("a.json", f'[{ROW},\n{{"a": "'.encode() + b'\xe9"}]', ", line 2, byte offset 57: not UTF-8"),
        ("a.jsonl", ROW.encode("utf-16"), ", line 1, byte offset 0: not UTF-8"),
        ("a.jsonl", f"{ROW}\n[1]".encode(), ", line 2: a list, but a row is an object"),
        ("a.jsonl", b"null", ", line 1: null, but a row is an object"),
        ("a.json", f"[{ROW}, 3]".encode(), ", item 2: a number, but a row is an object"),
        ("a.parquet", b"PAR1 but not really", ": not a Parquet file"),
        ("a.parquet", b"", ": not a Parquet file"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    complain(path, message)


def complain(path: Path, message: str) -> None:
    with pytest.raises(UserError) as error:
        curate([path], None, path.parent / "out", test_size=1, reporter=Reporter(quiet=True))
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)
    assert not (path.parent / "out").exists()


def test_a_broken_parquet_page(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"prompt": [f"text {number}" for number in range(5000)]})
    pq.write_table(table, path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[50:2000] = bytes(1950)
    path.write_bytes(content)
    complain(path, ": broken Parquet after row 0 (")


def test_parquet_with_columns_that_nobody_reads_and_with_one_twice(tmp_path: Path) -> None:
    answers = [
        {
            "response": one,
            "model": "m",
            "overall_score": 1.0,
            "annotations": {"honesty": {"Rating": str(place)}},
        }
        for place, one in enumerate("abcd")
    ]
    columns = {
        "instruction": [f"do {number}" for number in range(4)],
        "completions": [answers] * 4,
        "image": pa.array([b"\xff"] * 4),
        "when": pa.array([2**60] * 4, pa.timestamp("us")),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({name: columns[name] for name in ("instruction", "completions", "image")}), path)
    summary = curate([path], None, tmp_path / "out", test_size=1, reporter=Reporter(quiet=True))
    assert summary.rows_used == 4
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"])
    pq.write_table(table, tmp_path / "b.parquet")
    complain_of(tmp_path / "b.parquet", ": has column 'prompt' twice")
    pq.write_table(pa.table({"prompt": ["a"], "when": columns["when"][:1]}), tmp_path / "c.parquet")
    complain_of(tmp_path / "c.parquet", ": broken Parquet after row 0 (")


def complain_of(path: Path, message: str) -> None:
    with pytest.raises(UserError) as error:
        list(Source(path, path.name).rows())
    assert str(error.value).startswith(f"{path}{message}")


def test_missing_files(tmp_path: Path) -> None:
    complain(tmp_path / "gone.jsonl", ": no such file")
    complain(tmp_path / "gone", ": no such file")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = put(tmp_path, "a.jsonl")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    complain(path, ": cannot be read (Permission denied)")


def test_no_files() -> None:
    with pytest.raises(UserError, match="no data files"):
        curate([], None, Path("out"), test_size=1, reporter=Reporter(quiet=True))


def test_folders_give_all_their_files(tmp_path: Path) -> None:
    put(tmp_path / "in", "data/b.jsonl", "data/a.json", ".cache/c.jsonl", "dataset_infos.json", "README.md")
    summary = curate([tmp_path / "in"], None, tmp_path / "out", test_size=1, reporter=Reporter(quiet=True))
    assert [entry["name"] for entry in summary.files] == ["data/a.json", "data/b.jsonl"]


COUNTED = [{"a": number, "b": "x\n{}\u2028]"} for number in range(11)]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.ndjson", "lines.json", "array.json", "rows.parquet"])
def test_a_file_s_rows_are_counted_as_they_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "rows.parquet":
        pq.write_table(pa.Table.from_pylist(COUNTED), path, row_group_size=4)
    elif name == "array.json":
        path.write_text(json.dumps(COUNTED, indent=1, ensure_ascii=False), encoding="utf-8")
    else:  # blank lines are no rows, and the last one need not end
        lines = "\n \n\r\n".join(json.dumps(row, ensure_ascii=False) for row in COUNTED)
        path.write_text(f"\n{lines}", encoding="utf-8", newline="")
    assert rows(path) == COUNTED
    assert count_rows([path]) == 11
    if name in {"rows.jsonl", "lines.json"}:
        path.write_bytes(b"\xef\xbb\xbf  \n" + path.read_bytes())
        assert count_rows([path]) == len(rows(path)) == 11


def test_rows_are_counted_over_all_files_and_folders(tmp_path: Path) -> None:
    paths = put(tmp_path / "in", "data/a.json", "data/b.jsonl", "c.jsonl")
    paths[2].write_text(f"{ROW}\n{ROW}")
    assert count_rows(paths) == count_rows([tmp_path / "in"]) == 4
    assert count_rows([paths[0], paths[0]]) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.jsonl", None, "gone.jsonl: no such file"),
        ("a.parquet", b"PAR1", "a.parquet: not a Parquet file"),
        ("a.json", b"[{}, 3]", "a.json, item 2: a number"),
        ("a.csv", b"a,b", "a.csv: unknown file format"),
    ],
)
def test_what_can_t_be_counted_is_refused(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as refused:
        count_rows([tmp_path / name])
    assert said in str(refused.value)


SHARDED = ("data/train_prefs-00000-of-00001.parquet", "data/test_prefs-00000-of-00001-0a1b2c.parquet")
LAYOUTS: list[tuple[tuple[str, ...], str, tuple[str, ...]]] = [
    (SHARDED, "train_prefs", SHARDED[:1]),
    ((*SHARDED, "train.jsonl"), "test_prefs", SHARDED[1:]),
    (("train.jsonl", "test.jsonl"), "train", ("train.jsonl",)),
    (("my_dev-1.jsonl", "training.json"), "validation", ("my_dev-1.jsonl",)),
    (("default/train/0000.parquet", "default/test/0000.parquet"), "test", ("default/test/0000.parquet",)),
    (("trainer.jsonl", "contest.jsonl"), "train", ("contest.jsonl", "trainer.jsonl")),
    (("a/ultrafeedback.jsonl",), "train", ("a/ultrafeedback.jsonl",)),
]


@pytest.mark.parametrize(("names", "split", "expected"), LAYOUTS)
def test_splits_are_found_as_datasets_finds_them(
    tmp_path: Path, names: tuple[str, ...], split: str, expected: tuple[str, ...]
) -> None:
    put(tmp_path, *names)
    assert relative(data_files(tmp_path, split), tmp_path) == list(expected)
    patterns = get_data_patterns(str(tmp_path))[split]
    theirs = {path for pattern in patterns for path in resolved(pattern, tmp_path)}
    assert {Path(path) for path in theirs} == {tmp_path / name for name in expected}


def resolved(pattern: str, folder: Path) -> list[str]:
    try:
        found: list[str] = resolve_pattern(pattern, str(folder))
    except FileNotFoundError:
        return []
    return found


def relative(paths: Iterable[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_file_may_have_the_splits_name(tmp_path: Path) -> None:
    put(tmp_path, "train_prefs.jsonl", "test_prefs.jsonl", "train_sft.jsonl")
    assert relative(data_files(tmp_path, "train_prefs"), tmp_path) == ["train_prefs.jsonl"]


def test_a_snapshot_may_be_made_of_links(tmp_path: Path) -> None:
    (blob,) = put(tmp_path, "blobs/0a1b")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "train.jsonl").symlink_to(blob)
    assert relative(data_files(tmp_path / "snapshot", "train"), tmp_path) == ["snapshot/train.jsonl"]


def test_no_such_split(tmp_path: Path) -> None:
    put(tmp_path, *SHARDED)
    with pytest.raises(
        UserError, match="no split 'train' in this folder; splits found: test_prefs, train_prefs"
    ):
        data_files(tmp_path, "train")


def test_no_data_in_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "README.md", "dataset_infos.json")
    with pytest.raises(UserError, match="no data file in this folder"):
        data_files(tmp_path, None)
    with pytest.raises(UserError, match="no such folder"):
        data_files(tmp_path / "gone", "train")
