"""Made feedback is like UltraFeedback's, always the same, and what is told about it is true."""

import json
import tracemalloc
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.uf_marks import ASPECTS, PROMPTS, draw, scaled, share, stats
from benchmarks.ultrafeedback import BLOCK, make, write
from recipe.progress import Reporter

ROWS = 2000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A file of made rows, and the truth about them."""
    path = tmp_path_factory.mktemp("made") / "rows.jsonl"
    truth = write(path, ROWS, 0, Reporter(quiet=True))
    assert truth is not None
    return path, truth


@pytest.fixture(scope="module")
def rows(made: tuple[Path, dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in made[0].read_text(encoding="ascii").splitlines()]


def mean(completion: dict[str, Any]) -> float:
    ratings = [note["Rating"] for note in completion["annotations"].values()]
    return float(np.mean([float(one) for one in ratings if one != "N/A"]))


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
    made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    write(tmp_path / "again.jsonl", ROWS, 0, Reporter(quiet=True))
    assert (tmp_path / "again.jsonl").read_bytes() == made[0].read_bytes()
    assert list(islice(make(ROWS, 1), 3)) != list(islice(make(ROWS, 0), 3))


def test_rows_have_the_raw_schema(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == ROWS
    for row in rows:
        assert list(row) == [
            "source", "instruction", "models", "completions", "correct_answers", "incorrect_answers",
        ]  # fmt: skip
        assert len(set(row["models"])) == 4
        for model, one in zip(row["models"], row["completions"], strict=False):
            assert one["model"] == model
            assert one.keys() == {
                "annotations", "custom_system_prompt", "model", "principle", "response", "critique", "overall_score",
            }  # fmt: skip
            notes = one["annotations"]
            assert tuple(notes) == ASPECTS
            assert notes["honesty"].keys() == {"Rating", "Rationale"}
            assert notes["helpfulness"].keys() == {"Type", "Rationale", "Rating", "Rationale For Rating"}
            assert isinstance(one["overall_score"], float)


def test_ratings_and_scores_are_spread_as_published(rows: list[dict[str, Any]]) -> None:
    answers = [one for row in rows for one in row["completions"]]
    for aspect in ASPECTS:
        found = Counter(one["annotations"][aspect]["Rating"] for one in answers)
        wanted = stats()["ratings"][aspect]
        for rating, count in wanted.items():
            assert found[rating] / len(answers) == pytest.approx(count / sum(wanted.values()), abs=0.005)
    scores = np.array(
        [1.0 if one["overall_score"] == 10 and mean(one) <= 2 else one["overall_score"] for one in answers]
    )
    assert scores.mean() == pytest.approx(stats()["score_mean"], abs=0.03)
    assert scores.std() == pytest.approx(stats()["score_std"], abs=0.03)
    means = np.array([mean(one) for one in answers])
    assert means.std() == pytest.approx(stats()["rating_std"], abs=0.03)
    assert np.corrcoef(means, scores)[0, 1] > 0.5


def test_what_is_drawn_by_row_is_as_published_at_full_size() -> None:
    marks = draw(PROMPTS, 0)
    means = marks.means()
    for name, wanted in stats()["score_mean_by_source"].items():
        of_source = marks.source == marks.sources.index(name)
        low = (marks.scores == 10) & (means <= 2)
        found = np.where(low, 1, marks.scores)[of_source].mean()
        assert found == pytest.approx(wanted, abs=0.03), name
    completions = np.bincount(marks.model.ravel())
    for model, count in stats()["model_completions"].items():
        assert completions[marks.models.index(model)] == pytest.approx(count, rel=0.03), model
    equal = (means == means[:, :1]).all(1)
    none = marks.kept == 0
    assert PROMPTS - (equal | none).sum() == stats()["pairs_by_ratings"]
    assert (marks.scores == 10).sum() == stats()["score_10"]
    assert len(np.unique(means)) == stats()["rating_distinct"]
    assert len(np.unique(marks.scores)) == stats()["score_distinct"]
    differ = (means.argmax(1) != marks.scores.argmax(1)).mean()
    assert differ == pytest.approx(stats()["chosen_differs"][0] / stats()["chosen_differs"][1], abs=0.01)
    assert PROMPTS - len(np.unique(marks.prompt)) == 38
    tied = np.mean([marks.scores[:, i] == marks.scores[:, j] for i in range(4) for j in range(i)])
    assert tied == pytest.approx(stats()["scores_tied"], abs=0.01)


def test_texts_are_as_long_as_published(rows: list[dict[str, Any]]) -> None:
    def tokens(texts: list[str]) -> list[float]:
        return sorted(len(text) / stats()["chars_per_token"] for text in texts)

    answers = [one for row in rows for one in row["completions"]]
    for kind, texts in (
        ("prompt", [row["instruction"] for row in rows]),
        ("answer", [one["response"] for one in answers]),
    ):
        lengths = tokens(texts)
        for name in ("p50", "p90", "p95"):
            at = int(len(lengths) * int(name[1:]) / 100)
            assert lengths[at] == pytest.approx(stats()["tokens"][kind][name], rel=0.12), (kind, name)
        assert np.mean(lengths) == pytest.approx(stats()["tokens"][kind]["mean"], rel=0.12), kind
    critiques = tokens([one["critique"] for one in answers])
    assert np.mean(critiques) == pytest.approx(stats()["tokens"]["critique"]["mean"], rel=0.1)
    text = "".join(one["response"] for one in answers)
    assert "\U0001f600" in text
    assert "```python" in text
    assert any("\u4e00" <= character < "\u9fff" for character in text)


def test_the_truth_is_what_the_file_holds(
    made: tuple[Path, dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    """Count anew, in another way, over what was written."""
    truth = made[1]
    noticed: dict[str, set[int]] = {name: set(found["rows"]) for name, found in truth["noticed"].items()}
    equal, differs, tens, empty, same = set(), set(), [], set(), set()
    for number, row in enumerate(rows):
        means = [mean(one) for one in row["completions"]]
        scores = [one["overall_score"] for one in row["completions"]]
        texts = [one["response"] for one in row["completions"]]
        if len(means) > 1 and len(set(means)) == 1:
            equal.add(number)
        elif len(set(means)) > 1 and len(set(scores)) > 1 and np.argmax(means) != np.argmax(scores):
            differs.add(number)
        tens += [(number, place) for place, score in enumerate(scores) if score == 10]
        if any(text.isspace() or not text for text in texts):
            empty.add(number)
        for place, text in enumerate(texts):
            other = texts.index(text)
            if other < place and (means[other], scores[other]) != (means[place], scores[place]):
                same.add(number)
    assert set(truth["left_out"]["ratings"]["equal_ratings"]) == equal
    assert truth["ties"]["all_equal_by_ratings"] == len(equal)
    assert noticed["chosen_differs"] == differs
    assert noticed["empty_response"] == empty
    assert noticed["same_response_other_score"] == same
    listed = sorted(tuple(place) for places in truth["suspicious"].values() for place in places)
    assert listed == tens
    for number, place in truth["suspicious"]["low"]:
        assert mean(rows[number]["completions"][place]) <= 2
    prompts = [row["instruction"] for row in rows]
    again = {number for number, prompt in enumerate(prompts) if prompts.index(prompt) < number}
    assert noticed["duplicate_prompt"] == again
    assert truth["completions"] == sum(len(row["completions"]) for row in rows)
    assert truth["scores"] == {
        f"{score:g}": count
        for score, count in Counter(
            one["overall_score"] for row in rows for one in row["completions"]
        ).items()
    }
    answers = Counter(one["response"] for row in rows for one in row["completions"])
    assert truth["duplicates"]["responses"] == answers.total() - len(answers)


def test_all_that_was_planted_is_told(made: tuple[Path, dict[str, Any]]) -> None:
    truth, marks = made[1], draw(ROWS, 0)
    for name, planted in marks.planted.items():
        if name in ("equal_ratings", "no_completions"):
            reason = {"no_completions": "too_few_completions"}.get(name, name)
            told = truth["left_out"]["ratings"][reason]
        elif name in ("instruction_following_na", "duplicate_prompt"):
            continue  # one of many "N/A"; of two rows with one prompt the first is not told
        else:
            told = truth["noticed"][name.removesuffix("_prompt")]["rows"]
        assert planted, name
        assert set(planted) <= set(told), name
    assert {name: len(rows) for name, rows in truth["suspicious"].items()} == {
        name: len(marks.planted[f"score_10_{name}"]) for name in ("low", "between", "high")
    }
    assert sum(map(len, truth["suspicious"].values())) == scaled(stats()["score_10"], ROWS)


@pytest.mark.slow
def test_rows_come_as_a_stream() -> None:
    """A thousand rows more need hardly more memory: fewer bytes than these rows have."""
    next(make(10))  # the texts are there
    peaks, size = [], 0
    for count in (2 * BLOCK, 3 * BLOCK):  # the last block is there while the next one is made
        tracemalloc.start()
        for row in make(count):
            size = max(size, len(json.dumps(row)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < BLOCK * 1000  # a row has 14,000 bytes on average


def test_shares_of_a_total_add_up() -> None:
    assert share([1, 1, 1], 10) == [4, 3, 3]
    assert sum(share(list(stats()["model_completions"].values()), 1003)) == 1003
