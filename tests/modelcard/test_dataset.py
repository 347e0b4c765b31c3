"""The data set of a release: the run's pairs in public columns, and a card that says what the audit says."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from modelcard.dataset import stage
from modelcard.dataset.card import size_category
from modelcard.dataset.columns import MEANING, layout_of, write_published
from modelcard.dataset.facts import OF_ALL, OF_RATED
from modelcard.facts import MissingFactError
from publish.localhub.card_check import check_card
from recipe.curate import curate, pairs_in_order
from recipe.curate.pair import Pair, Turn
from recipe.curate.table import SCHEMA
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run
from tests import audit

HUB = ["hub_dataset_id=notus/tiny-preferences", "dataset_license=mit"]
USER: tuple[Turn, ...] = (Turn("user", "Which?\n"),)
TALK = (Turn("system", "Be brief."), *USER, Turn("assistant", "What?"), Turn("user", "Which one?"))


def made(prompts: list[tuple[Turn, ...]]) -> list[Pair]:
    sources = (None, "flan")
    return [
        Pair(prompt, f"yes {place}", f"no {place} ü", sources[place % 2], "a", "b", 4.5, 1.0)
        for place, prompt in enumerate(prompts)
    ]


def write_pairs(pairs: list[Pair], path: Path) -> None:
    """Write pairs as curation does; their ids are their numbers here."""
    rows = [
        {**asdict(pair), "id": f"{place:016x}", "prompt": [turn._asdict() for turn in pair.prompt]}
        for place, pair in enumerate(pairs)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, row_group_size=4096)


@pytest.mark.parametrize(
    ("prompts", "layout", "read_as"),
    [
        ([USER] * 5000, "argilla", "argilla"),
        ([USER] * 4999 + [TALK], "conversational", "messages"),
        ([TALK[:2], USER], "conversational", "messages"),
    ],
)
def test_the_public_columns_hold_the_same_pairs(
    tmp_path: Path, prompts: list[tuple[Turn, ...]], layout: str, read_as: str
) -> None:
    pairs = made(prompts)
    write_pairs(pairs, tmp_path / "pairs.parquet")
    found = layout_of([tmp_path / "pairs.parquet"])
    assert found == layout
    assert write_published(tmp_path / "pairs.parquet", tmp_path / "out.parquet", found) == len(pairs)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == list(MEANING[found])
    assert table["id"].to_pylist() == [f"{place:016x}" for place in range(len(pairs))]
    back = pairs_in_order([tmp_path / "out.parquet"], dataset_format=read_as)
    assert [pair for _, pair in back] == pairs
    write_published(tmp_path / "pairs.parquet", tmp_path / "again.parquet", found)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "out.parquet").read_bytes()


def test_one_talk_in_either_file_makes_both_conversational(tmp_path: Path) -> None:
    for name, prompts in (("train", [USER] * 3), ("heldout", [TALK])):
        write_pairs(made(prompts), tmp_path / f"{name}.parquet")
    assert layout_of([tmp_path / "train.parquet"]) == "argilla"
    assert layout_of([tmp_path / "train.parquet", tmp_path / "heldout.parquet"]) == "conversational"


Make = Callable[..., str]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run folder whose pairs are made."""
    for name in ("inputs", "data"):
        shutil.copytree(trained / name, tmp_path / "run" / name)
    shutil.copy(trained / "manifest.json", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def card(run: Path, tiny: Path, tmp_path: Path) -> Make:
    """Return the card of the run with a given audit."""

    def make(content: dict[str, Any], *overrides: str) -> str:
        (run / "data" / "audit.json").write_text(json.dumps(content))
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        recipe = load_recipe(tiny / "tiny.yaml", [*HUB, *overrides])
        manifest = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps(manifest | {"science_sha256": recipe.science_sha256}))
        stage.work(Run(run, recipe), tmp_path / "out", Reporter(quiet=True))
        return (tmp_path / "out" / "dataset" / "README.md").read_text(encoding="utf-8")

    return make


def test_the_hub_accepts_the_card(card: Make) -> None:
    text = card(audit.rated(), "license=apache-2.0")
    findings = check_card(text)
    assert (findings.errors, findings.warnings) == ([], [])
    front = findings.metadata
    assert front["license"] == "mit"  # the feedback's, not the model's
    assert front["task_categories"] == ["text-generation"]
    assert front["size_categories"] == ["n<1K"]
    assert [file["split"] for file in front["configs"][0]["data_files"]] == ["train", "test"]
    assert "source_datasets" not in front  # a local file is nowhere on the Hub
    assert text == card(audit.rated(), "license=apache-2.0")


def test_source_on_the_hub_is_named_with_its_revision(card: Make, run: Path) -> None:
    inputs = json.loads((run / "inputs" / "inputs.json").read_text())
    inputs["data"] |= {"name": "openbmb/UltraFeedback", "source": "hub", "revision": "c0ffee"}
    (run / "inputs" / "inputs.json").write_text(json.dumps(inputs))
    text = card(audit.rated())
    assert yaml.safe_load(text.split("---\n")[1])["source_datasets"] == ["openbmb/UltraFeedback"]
    assert "`openbmb/UltraFeedback` at `c0ffee`" in text


def test_figures_are_those_of_data_and_audit(card: Make, run: Path, tmp_path: Path) -> None:
    files = ("overrides=/home/someone/overrides.jsonl", "contamination=[/home/someone/truthful_qa.jsonl]")
    text = card(audit.rated(), *files)
    data = json.loads((run / "data" / "data.json").read_text())
    assert f"Of {data['rows_in']} rows {data['rows_used']} became pairs" in text
    for reason, count in data["left_out"].items():
        assert f"| {reason.replace('_', ' ')} | {count} |" in text
    for line in (
        "the highest mean of the aspect ratings, the worse one the lowest.",
        "| min margin | 0.75 |",
        "| drop sources | truthful_qa, false_qa |",
        "disagree in 29 of the 63 rows that both rate (46.0 %)",
        "23 completions have an `overall_score` of 10. The mean rating of 4 of them",
        "of 6 in between, of 12 above 4; 1 have none",
        "in 31 rows several answers share the highest mean rating, in 21 the highest score",
        "all are equal by ratings in 2, by score in 3",
        "7 prompts are there more than once, 9 rows beyond the first",
        "41 of 64 pairs (64.1 %); on average 1,204 characters against 801, median ratio 1.38",
        "| flan | 40 | 3.88 | 6.12 | 50.0 % | 62.5 % |",
        r"| a \| b | 26 | - | 5.50 | - | - |",
        "| rating na | 17 | ratings |",
        "| truthful_qa.jsonl | 817 | 13 | 14 | 15 |",
        "104 became 1, 105 were kept, 106 would",
        "in 107 rows, 108 completions",
        "must lie what no repository has: `feedback.jsonl`, `overrides.jsonl`, `truthful_qa.jsonl`.",
    ):
        assert line in text, line
    folder = tmp_path / "out" / "dataset"
    for split, count in (("train", data["train"]), ("test", data["heldout"])):
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        assert pq.read_metadata(path).num_rows == count
        assert f"| {split} | {count} | {path.stat().st_size:,} | `" in text
    assert (folder / "audit.json").read_bytes() == (run / "data" / "audit.json").read_bytes()
    assert "only sources" not in text
    assert "drop contaminated" not in text


def test_what_says_nothing_of_the_format_is_left_out(card: Make, run: Path) -> None:
    data = json.loads((run / "data" / "data.json").read_text())
    (run / "data" / "data.json").write_text(json.dumps(data | {"format": "pairs", "by": None}))
    text = card(audit.pairs())
    assert "The rows were pairs already" in text
    assert "7 prompts are there more than once" in text
    for word in ("Ties", "Scores of 10", "benchmark", "People's", "Scores were fixed", "mean rating |"):
        assert word not in text
    assert "| flan | 66 | 62.5 % |" in text
    bare = {key: value for key, value in audit.pairs().items() if value is not None}
    assert card(bare) == text
    assert card(audit.pairs() | {"noticed": None, "duplicates": None, "length": None}) != text


def test_of_many_sources_the_largest_are_shown_and_the_others_counted(card: Make) -> None:
    content = audit.pairs()
    content["by_source"] = {f"source {rows}": {"rows": rows} for rows in range(1, 34)}
    content |= {name: part for name, part in audit.rated().items() if name in OF_RATED}
    text = card(content)
    assert "| source 4 | 4 |" in text
    assert "| source 3 | 3 |" not in text
    assert "These are the largest; 3 smaller ones are in `audit.json`." in text


ROWS: dict[str, dict[str, object]] = {
    "pairs": {"prompt": "Which {}?", "chosen": "This one.", "rejected": "None."},
    "argilla": {
        "source": "flan", "instruction": "Which {}?", "chosen_response": "This one.", "rejected_response": "None.",
        "chosen_avg_rating": 4.5, "rejected_avg_rating": 2.0, "chosen_model": "a",
    },
    "messages": {
        "chosen": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which {}?"},
                   {"role": "assistant", "content": "This one."}],
        "rejected": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which {}?"},
                     {"role": "assistant", "content": "None."}],
    },
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Which {}?"}],
        "chosen": {"from": "gpt", "value": "This one."}, "rejected": {"from": "gpt", "value": "None."},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_pairs_of_every_format_have_a_card(run: Path, tiny: Path, tmp_path: Path, name: str) -> None:
    lines = [json.dumps(ROWS[name]).replace("{}", str(number % 5)) for number in range(6)]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(lines) + "\n")
    quiet = Reporter(quiet=True)
    curate([rows], None, run / "data", dataset_format=name, test_size=2, reporter=quiet)
    stage.work(Run(run, load_recipe(tiny / "tiny.yaml", HUB)), tmp_path, quiet)
    text = (tmp_path / "dataset" / "README.md").read_text(encoding="utf-8")
    assert "Of 6 rows 6 became pairs" in text
    assert "The rows were pairs already" in text
    assert "1 prompts are there more than once, 1 rows beyond the first" in text
    assert "6 of 6 pairs (100.0 %); on average 9.00 characters against 5.00" in text
    assert ("TRL's conversational" in text) == (name == "messages")
    assert check_card(text).errors == []


@pytest.mark.parametrize("part", [*OF_ALL, *OF_RATED])
def test_a_part_that_is_not_there_raises(card: Make, part: str) -> None:
    content = audit.rated()
    del content[part]
    with pytest.raises(MissingFactError, match=f"needs {part}, which audit.json does not have"):
        card(content)


FACTS = [f"{part}.{fact}" for parts in (OF_ALL, OF_RATED) for part, facts in parts.items() for fact in facts]


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_that_is_not_there_raises(card: Make, fact: str) -> None:
    content = audit.rated()
    part, key = fact.split(".")
    del content[part][key]
    with pytest.raises(MissingFactError, match=f"needs {fact}, which audit.json"):
        card(content)


def test_a_fact_of_an_entry_that_is_not_there_raises(card: Make) -> None:
    content = audit.rated()
    del content["by_source"]["flan"]["rows"]
    with pytest.raises(MissingFactError, match=r"needs by_source\.flan\.rows"):
        card(content)
    content = audit.rated()
    del content["contamination"]["files"]["truthful_qa.jsonl"]["8-gram"]
    with pytest.raises(MissingFactError, match=r"contamination\.files\.truthful_qa\.jsonl\.8-gram"):
        card(content)


@pytest.mark.parametrize("name", ["data.json", "audit.json", "train.parquet", "heldout.parquet"])
def test_an_artifact_that_is_not_there_raises(
    card: Make, run: Path, tiny: Path, tmp_path: Path, name: str
) -> None:
    card(audit.rated())
    (run / "data" / name).unlink()
    with pytest.raises(MissingFactError, match=name):
        stage.work(Run(run, load_recipe(tiny / "tiny.yaml", HUB)), tmp_path / "again", Reporter(quiet=True))


def test_the_image_that_made_the_pairs_is_how_to_rebuild_them(card: Make, run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["curate"]["image"] = {
        "digest": "sha256:f00d", "revision": "beef", "build": "nox -s image -- --target cpu",
    }  # fmt: skip
    (run / "manifest.json").write_text(json.dumps(manifest))
    text = card(audit.rated())
    assert "git checkout beef\nnox -s image -- --target cpu\n" in text
    assert "nox -s curate -- recipe.yaml --data --image sha256:f00d\n" in text


@pytest.mark.parametrize(
    ("rows", "name"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (63_619, "10K<n<100K"), (10**12, "n>1T")],
)
def test_size_categories_are_the_hubs(rows: int, name: str) -> None:
    assert size_category(rows) == name
