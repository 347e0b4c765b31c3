"""Lines that are only ever added, and what a kill leaves of them."""

import json
import os
import threading
from pathlib import Path

import pytest

from recipe.evaluate.ledger import Ledger


def test_what_was_kept_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    kept = Ledger(tmp_path / "kept.jsonl")
    kept.add("a", {"answer": "Zürich"})
    kept.add("b", {"answer": ""})
    again = Ledger(tmp_path / "kept.jsonl")
    assert (again.find("a"), again.find("b"), again.find("c"), len(again)) == (
        {"answer": "Zürich"},
        {"answer": ""},
        None,
        2,
    )


def test_of_a_key_the_first_one_counts(tmp_path: Path) -> None:
    kept = Ledger(tmp_path / "kept.jsonl")
    kept.add("a", {"answer": 1})
    kept.add("a", {"answer": 2})
    assert kept.find("a") == {"answer": 1}
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 1


def test_a_file_cut_anywhere_keeps_its_whole_lines_and_takes_more(tmp_path: Path) -> None:
    whole = Ledger(tmp_path / "whole.jsonl")
    for key in "abc":
        whole.add(key, {"answer": f"what is kept by {key}"})
    written = (tmp_path / "whole.jsonl").read_bytes()
    ends = [place + 1 for place, byte in enumerate(written) if byte == ord("\n")]
    for length in range(len(written)):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(written[:length])
        cut = Ledger(path)
        assert len(cut) == sum(end <= length for end in ends)
        cut.add("later", {"answer": "after the kill"})
        assert Ledger(path).find("later") == {"answer": "after the kill"}
        assert len(Ledger(path)) == len(cut)


def test_what_one_judge_said_is_kept_while_another_is_asked(tmp_path: Path) -> None:
    """A recipe that goes from one judge to another and back pays for each once."""
    finished = tmp_path / "finished.jsonl"
    for number, judge in enumerate("ABA"):
        ledger = Ledger(tmp_path / f"kept-{number}.jsonl", finished)
        assert (ledger.find(judge) is None) == (number < 2)
        ledger.add(judge, {"text": f"by {judge}"})
        ledger.write_all(finished)
    assert finished.read_text().splitlines() == [
        '{"key": "A", "text": "by A"}',
        '{"key": "B", "text": "by B"}',
    ]


def test_a_line_that_is_no_entry_is_as_if_it_had_not_been_written(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text('{"key": "a", "answer": 1}\n\0\0\0\n[1]\n{"answer": 2}\n{"key": "b", "answer": 3}\n')
    kept = Ledger(path)
    assert (kept.find("a"), kept.find("b"), len(kept)) == ({"answer": 1}, {"answer": 3}, 2)


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Ledger(tmp_path / "kept.jsonl")
    kept.add("a", {"answer": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            kept.add("b", {"answer": 2})
    assert kept.find("b") is None
    kept.add("c", {"answer": 3})
    lines = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["a", "c"]


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    kept = Ledger(tmp_path / "kept.jsonl")

    def add(first: int) -> None:
        for number in range(first, first + 40):
            kept.add(str(number), {"answer": "x" * 500})

    # half of what each adds another one adds too
    threads = [threading.Thread(target=add, args=(20 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Ledger(tmp_path / "kept.jsonl")) == 180
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 180
