"""The benchmark of curation: ours finds what was planted, and a fault in ours would be found."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.curate import compare, summary
from benchmarks.curate_map import ByMap, audit_row, binarize_row
from benchmarks.curate_ours import Ours, as_original, by_lowest
from benchmarks.curate_truth import mismatches
from benchmarks.ultrafeedback import make, write
from benchmarks.watched import Watched, watched
from benchmarks.work import Spent
from recipe.disk import read_json, write_json
from recipe.progress import Reporter

ROWS = 600


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with rows.jsonl, and ours over them; and the truth."""
    folder = tmp_path_factory.mktemp("curated")
    truth = write(folder / "rows.jsonl", ROWS, 0, Reporter(quiet=True))
    write_json(folder / "truth.json", truth)
    as_original(folder / "rows.jsonl", folder / "original")
    for by in ("ratings", "overall_score"):
        by_lowest(folder / "rows.jsonl", folder / by, by)
    found: dict[str, Any] = read_json(folder / "truth.json")
    return folder, found


@pytest.mark.parametrize("by", ["ratings", "overall_score"])
def test_ours_finds_all_that_was_planted(curated: tuple[Path, dict[str, Any]], by: str) -> None:
    folder, truth = curated
    assert mismatches(truth, folder / by, by, left_out=True) == []


def test_what_ours_had_missed_would_be_told(curated: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, truth = curated
    pq.write_table(pq.read_table(folder / "ratings" / "feedback.parquet"), tmp_path / "feedback.parquet")
    audit = read_json(folder / "ratings" / "audit.json")
    audit["noticed"]["score_10_low"]["ids"].pop()
    audit["suspicious"]["completions"].pop()
    audit["left_out"]["equal_ratings"]["ids"][0] = "0" * 16
    audit["by_model"]["gpt-4"]["chosen_by_score"] += 1
    audit["by_source"]["flan_v2_niv2"]["mean_score"] += 0.001
    audit["ratings"]["honesty"]["N/A"] -= 1
    audit["duplicates"]["responses"] += 1
    write_json(tmp_path / "audit.json", audit)
    found = mismatches(truth, tmp_path, "ratings", left_out=True)
    wanted = (
        "noticed, score_10_low",
        "score_10,",
        "left out, equal_ratings",
        "by_model, gpt-4",
        "by_source, flan",
    )
    for start in (*wanted, "ratings:", "duplicates, responses"):
        assert [one for one in found if one.startswith(start)], start
    assert len(found) == 7


def test_both_choose_the_same_answers(curated: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    rows = [binarize_row(row, number) for number, row in enumerate(make(ROWS))]
    pairs = [row for row in rows if row["chosen_response"] is not None]
    pq.write_table(pa.Table.from_pylist(pairs), tmp_path / "pairs.parquet")
    feedback = curated[0] / "original" / "feedback.parquet"
    found = compare(feedback, tmp_path / "pairs.parquet")
    assert found["equal"]
    assert found["pairs"] == found["same_chosen"] == found["rejected_lower"] == len(pairs) < ROWS
    pairs[3]["chosen_response"] += "x"
    pq.write_table(pa.Table.from_pylist(pairs), tmp_path / "pairs.parquet")
    assert compare(feedback, tmp_path / "pairs.parquet")["same_chosen"] == len(pairs) - 1


def test_the_notebook_counts_what_the_truth_has(curated: tuple[Path, dict[str, Any]]) -> None:
    audited = [audit_row(row) for row in make(ROWS)]
    truth = curated[1]
    assert sum(row["differs"] for row in audited) == truth["choice"]["differs"]
    assert sum(row["low"] for row in audited) == len(truth["suspicious"]["low"])
    assert sum(row["all_equal"] for row in audited) == truth["ties"]["all_equal_by_ratings"]


def test_the_ratio_leaves_out_what_reading_took_on_both_sides() -> None:
    ours = [Watched(Ours(Spent(seconds, 3.0), Spent(1.0, 2.0)), 10**9) for seconds in (3.0, 2.0, 5.0)]
    theirs = [Watched(ByMap(Spent(5.0, 5.0), Spent(60.0, 50.0), 7, {}), 3 * 10**9)]
    found = summary(ours, theirs)
    assert (found["ratio"], found["ratio_with_load"], found["ratio_cpu_seconds"]) == (30.0, 65 / 3, 50.0)
    assert (found["peak_gb"], found["map"]["peak_gb"]) == (1.0, 3.0)


def _fill(size: int) -> int:
    import time

    filled = b"x" * size
    time.sleep(0.5)
    return len(filled)


@pytest.mark.slow
def test_the_memory_of_a_process_is_its_own() -> None:
    small, large = (watched(_fill, size) for size in (1, 300_000_000))
    assert large.value == 300_000_000
    assert large.peak_bytes - small.peak_bytes == pytest.approx(300_000_000, rel=0.1)
