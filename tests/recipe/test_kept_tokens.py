"""Token ids that are kept in the run folder: found again if they are of the same, whole, and made anew if not."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from recipe import kept_tokens
from recipe.builtin.tokenizer import train_tokenizer
from recipe.curate.pair import Pair, Turn
from recipe.curate.table import write_pairs
from recipe.kept_tokens import KeptTokens
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.prompt import PairTokenizer, Texts, TokenizedPairs, pair_tokenizer
from recipe.tokenized import sha256_of, tokenize
from recipe.tokenizer import load_tokenizer
from tests.support import ROOT

WORDS = ("yes", "no", "more", "Hello")
QUIET = Reporter(quiet=True)


def pairs(count: int, chosen: str = "yes") -> list[Pair]:
    """Return pairs of a few words each, of different lengths."""
    return [
        Pair(
            prompt=(Turn("user", "Hello " * (place % 5 + 1)),),
            chosen=chosen * (place + 1),
            rejected="no more",
        )
        for place in range(count)
    ]


class Counted(PairTokenizer):
    """A rule that says how often it was asked."""

    def __init__(self, rule: PairTokenizer) -> None:
        self.rule, self.asked = rule, 0

    def pairs(self, texts: Sequence[Texts], *, max_length: int, max_prompt_length: int) -> TokenizedPairs:
        self.asked += 1
        return self.rule.pairs(texts, max_length=max_length, max_prompt_length=max_prompt_length)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a tokenizer and curated rows."""
    train_tokenizer([" ".join(WORDS)] * 20).save_pretrained(tmp_path / "tokenizer")
    write_pairs(pairs(9), tmp_path / "train.parquet")
    return tmp_path


def opened(place: Path, *overrides: str) -> tuple[KeptTokens, Counted]:
    """Return the tokens that are kept in a folder, and their rule."""
    recipe = load_recipe("notus-7b-v1-lora", overrides)
    rule = Counted(pair_tokenizer(load_tokenizer(place / "tokenizer"), recipe.science))
    return KeptTokens(place / "tokens", place / "tokenizer", rule, recipe), rule


def rows_of(place: Path, *overrides: str, reporter: Reporter = QUIET) -> tuple[Dataset, dict[str, Any], int]:
    """Return the rows and what is known of them, and how often the rule was asked."""
    kept, rule = opened(place, *overrides)
    rows, counts = kept.tokenized(place / "train.parquet", reporter)
    assert [path.name for path in place.glob("tokens/.*")] == []
    return rows, counts, rule.asked


@pytest.mark.parametrize("rule", ["zephyr-2023", "current"])
def test_what_is_kept_is_what_was_tokenized(place: Path, rule: str) -> None:
    sets = (f"tokenization={rule}", "max_length=9", "max_prompt_length=4")
    kept, _ = opened(place, *sets)
    made, counts = tokenize(place / "train.parquet", kept.rule, kept.recipe, QUIET)
    assert counts["prompts_cut"]
    for asked in (1, 0):
        rows, known, found = rows_of(place, *sets)
        assert found == asked
        assert known == counts
        assert rows.features == made.features
        assert rows.to_list() == made.to_list()
        assert sha256_of(rows) == sha256_of(made)


def other_rows(place: Path) -> tuple[str, ...]:
    write_pairs(pairs(9, chosen="more"), place / "train.parquet")
    return ()


def other_tokenizer(place: Path) -> tuple[str, ...]:
    train_tokenizer(["other words"] * 20).save_pretrained(place / "tokenizer")
    return ()


def other_rule(place: Path) -> tuple[str, ...]:
    return ("tokenization=current",)


def other_length(place: Path) -> tuple[str, ...]:
    return ("max_length=100", "max_prompt_length=50")


@pytest.mark.parametrize("change", [other_rows, other_tokenizer, other_rule, other_length])
def test_of_anything_else_they_are_made_anew_and_take_the_place(
    place: Path, change: Callable[[Path], tuple[str, ...]]
) -> None:
    assert rows_of(place)[2] == 1
    sets = change(place)
    rows, _, asked = rows_of(place, *sets)
    assert asked == 1
    kept, _ = opened(place, *sets)
    assert rows.to_list() == tokenize(place / "train.parquet", kept.rule, kept.recipe, QUIET)[0].to_list()
    assert rows_of(place, *sets)[2] == 0
    assert [path.name for path in (place / "tokens").iterdir()] == ["train.arrow"]


def test_of_other_code_or_libraries_they_are_made_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows_of(place)[2] == 1
    monkeypatch.setattr(kept_tokens, "version", lambda name: "0")
    assert rows_of(place)[2] == 1
    assert rows_of(place)[2] == 0
    monkeypatch.setattr(kept_tokens, "code_sha256", lambda: "0")
    assert rows_of(place)[2] == 1


def test_another_learning_rate_changes_no_token(place: Path) -> None:
    assert rows_of(place)[2] == 1
    assert rows_of(place, "learning_rate=0.1", "beta=0.5")[2] == 0


def test_a_file_that_is_not_whole_is_made_anew(place: Path) -> None:
    rows, counts, _ = rows_of(place)
    path = place / "tokens" / "train.arrow"
    whole = path.read_bytes()
    for spoilt in (b"", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(spoilt)
        assert rows_of(place)[1:] == (counts, 1)
        assert path.read_bytes() == whole
    ids = rows.with_format("arrow")[:].column("chosen_ids").chunk(0).flatten().buffers()[1].to_pybytes()
    at = whole.index(ids)
    for byte in (at, at + len(ids) - 1, whole.rindex(b'"answers_cut": ') + 15):
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1]) + whole[byte + 1 :])
        found, known, asked = rows_of(place)
        assert (known, asked) == (counts, 1)
        assert found.to_list() == rows.to_list()


def full_disk(monkeypatch: pytest.MonkeyPatch, place: Path) -> str:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    return "No space left on device"


def read_only(monkeypatch: pytest.MonkeyPatch, place: Path) -> str:
    def mkdir(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    return "Read-only file system"


def no_folder(_: pytest.MonkeyPatch, place: Path) -> str:
    (place / "tokens").write_text("in the way")
    return "File exists"


@pytest.mark.parametrize("fault", [full_disk, read_only, no_folder])
def test_what_can_t_be_kept_stops_nothing(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: Callable[[pytest.MonkeyPatch, Path], str],
) -> None:
    said = fault(monkeypatch, place)
    kept, _ = opened(place)
    for _ in range(2):
        rows, _, asked = rows_of(place)
        assert asked == 1
        assert rows.to_list() == tokenize(place / "train.parquet", kept.rule, kept.recipe, QUIET)[0].to_list()
        warning = capsys.readouterr().err
        assert warning.count("\n") == 1
        assert f"tokens can't be kept here ({said}); training goes on" in warning


RANK = """
import sys
from pathlib import Path
from recipe.kept_tokens import first_on_this_node
from recipe.launch import leave_group
from recipe.progress import Reporter
from tests.recipe.test_kept_tokens import opened
place = Path(sys.argv[1])
kept, rule = opened(place)
rows, _ = kept.tokenized(place / "train.parquet", Reporter(quiet=True))
(place / f"asked-{sys.argv[2]}").write_text(f"{rule.asked} {len(rows)}")
leave_group()
"""


def test_of_several_ranks_one_tokenizes(place: Path) -> None:
    port = 29500 + os.getpid() % 1000
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, place, str(rank)],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                **{name: str(rank) for name in ("RANK", "LOCAL_RANK")},
                **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "3"),
            },
        )
        for rank in range(3)
    ]
    assert [rank.wait(240) for rank in ranks] == [0, 0, 0]
    assert [(place / f"asked-{rank}").read_text() for rank in range(3)] == ["1 9", "0 9", "0 9"]
