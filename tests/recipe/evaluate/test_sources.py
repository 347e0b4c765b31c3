"""Where a task's rows are: what is taken of local files and of the Hub, and what is refused."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipe.disk import file_sha256
from recipe.errors import UserError
from recipe.evaluate.catalogue import Catalogue
from recipe.evaluate.harness_model import hushed
from recipe.evaluate.sources import fewshot_split, local_source, prepared
from recipe.evaluate.tasks import Asked, Benchmark, count_requests, load_tasks
from tests.recipe.evaluate.benchmarks import (
    arc_rows,
    mmlu_rows,
    winogrande_rows,
    write_arc,
    write_rows,
)
from tests.support import ROOT


class Remembers(logging.Handler):
    """A handler that keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.logged.append(record)


def loaded(task: str, place: Path, scratch: Path, shots: int) -> Any:
    """Load a task over local rows, as the suite does."""
    catalogue, benchmark = Catalogue([task]), Benchmark(task, shots)
    leaves = catalogue.leaves(task)
    sources = {
        leaf: local_source(leaf, config, str(place), shots, alone=len(leaves) == 1)
        for leaf, config in leaves.items()
    }
    with hushed():
        return load_tasks(catalogue, Asked(benchmark, leaves, sources), scratch)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("below", ["", "data", "ARC-Challenge", "arc_challenge"])
def test_a_folder_has_a_file_for_each_split(tmp_path: Path, suffix: str, below: str) -> None:
    write_arc(tmp_path / "arc" / below, suffix)
    tasks = loaded("arc_challenge", tmp_path / "arc", tmp_path / "scratch", 25)
    task = tasks["tasks"]["arc_challenge"]
    assert list(task.eval_docs) == arc_rows(6)
    assert [row["question"] for row in task.sampler.df] == [row["question"] for row in arc_rows(30, 10)]
    assert count_requests(tasks, None) == 6 * 4 - 2
    assert count_requests(tasks, 2) == 3 + 4


def test_json_and_shards_as_the_hub_has_them(tmp_path: Path) -> None:
    (tmp_path / "arc").mkdir()
    (tmp_path / "arc" / "train.json").write_text(json.dumps(arc_rows(3)))
    (tmp_path / "arc" / "test.json").write_text(json.dumps(arc_rows(2, 5)))
    task = loaded("arc_challenge", tmp_path / "arc", tmp_path / "one", 1)["tasks"]["arc_challenge"]
    assert list(task.eval_docs) == arc_rows(2, 5)
    for part in range(2):
        for split in ("train", "test"):
            write_rows(tmp_path / "shards" / f"{split}-{part:05}-of-00002.parquet", arc_rows(3, part * 3))
    task = loaded("arc_challenge", tmp_path / "shards", tmp_path / "two", 1)["tasks"]["arc_challenge"]
    assert list(task.eval_docs) == arc_rows(6)


def test_a_file_is_the_split_that_is_evaluated(tmp_path: Path) -> None:
    """No examples are wanted, so that none need be there."""
    file = write_rows(tmp_path / "mine.jsonl", winogrande_rows(4))
    config = Catalogue(["winogrande"]).leaves("winogrande")["winogrande"]
    source = local_source("winogrande", config, str(file), 0, alone=True)
    assert source.record() == {
        "path": "local:mine.jsonl", "config": "winogrande_xl", "split": "validation",
        "revision": f"sha256:{file_sha256(file)}",
    }  # fmt: skip
    assert list(loaded("winogrande", file, tmp_path, 0)["tasks"]["winogrande"].eval_docs) == winogrande_rows(
        4
    )


def test_the_hash_is_of_the_rows_that_are_read(tmp_path: Path) -> None:
    folder = write_arc(tmp_path / "arc")
    config = Catalogue(["arc_challenge"]).leaves("arc_challenge")["arc_challenge"]

    def revision() -> str | None:
        return local_source("arc_challenge", config, str(folder), 25, alone=True).revision

    before = revision()
    write_rows(folder / "validation.jsonl", arc_rows(2))  # neither asked nor an example
    assert revision() == before
    write_rows(folder / "train.jsonl", arc_rows(29, 10))
    assert revision() != before


def test_a_group_has_a_folder_for_each_of_its_tasks(tmp_path: Path) -> None:
    catalogue = Catalogue(["mmlu_stem"])
    leaves = catalogue.leaves("mmlu_stem")
    for config in leaves.values():
        subject = config["dataset_name"]
        write_rows(tmp_path / "mmlu" / subject / "test.jsonl", mmlu_rows(2, subject))
        write_rows(tmp_path / "mmlu" / subject / "dev.jsonl", mmlu_rows(5, subject))
    tasks = loaded("mmlu_stem", tmp_path / "mmlu", tmp_path, 5)
    assert count_requests(tasks, None) == len(leaves) * 2 * 4
    assert tasks["tasks"]["mmlu_astronomy"].eval_docs[0]["question"] == "astronomy question 0?"
    (tmp_path / "mmlu" / "astronomy" / "test.jsonl").unlink()
    with pytest.raises(UserError, match="mmlu: no test rows for mmlu_astronomy"):
        loaded("mmlu_stem", tmp_path / "mmlu", tmp_path, 5)
    (tmp_path / "mmlu" / "astronomy" / "dev.jsonl").unlink()
    with pytest.raises(UserError, match="no folder astronomy or mmlu_astronomy with the rows of it"):
        loaded("mmlu_stem", tmp_path / "mmlu", tmp_path, 5)


@pytest.mark.parametrize(
    ("files", "shots", "said"),
    [
        ({}, 5, "no such file or folder, which benchmark_data names"),
        ({"train.jsonl": winogrande_rows(8)}, 5, "no validation rows for winogrande; put validation.jsonl"),
        (
            {"validation.jsonl": winogrande_rows(3)},
            5,
            "no train rows, of which winogrande takes its 5 examples",
        ),
        (
            {"train.jsonl": winogrande_rows(3), "validation.jsonl": winogrande_rows(3)},
            5,
            "3 rows to take examples from, and winogrande needs 5; put more there",
        ),
        (
            {"train.jsonl": winogrande_rows(8), "validation.parquet": winogrande_rows(3)},
            5,
            "files of json and parquet; keep one kind",
        ),
        (
            {"train.jsonl": winogrande_rows(8), "validation.jsonl": arc_rows(3)},
            5,
            "rows that winogrande can't use",
        ),
        (
            {"validation.jsonl": [*winogrande_rows(3), {"sentence": "No gap.", "answer": "1"}]},
            0,
            r"rows that winogrande can't use \(ValueError: substring not found\)",
        ),
    ],
)
def test_rows_that_do_not_do(tmp_path: Path, files: dict[str, Any], shots: int, said: str) -> None:
    for name, rows in files.items():
        write_rows(tmp_path / "rows" / name, rows)
    with pytest.raises(UserError, match=said):
        loaded("winogrande", tmp_path / "rows", tmp_path / "scratch", shots)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_torn_file_is_refused_and_told_once(tmp_path: Path, suffix: str) -> None:
    """By the line that is ours: `datasets` logs the same, to a handler of its own."""
    folder = write_arc(tmp_path / "rows", suffix)
    content = (folder / f"test{suffix}").read_bytes()
    (folder / f"test{suffix}").write_bytes(content[:-30])
    handler, logger = Remembers(), logging.getLogger("datasets")
    logger.addHandler(handler)
    try:
        said = r"^local:rows: rows that arc_challenge can't use \(ArrowInvalid: (JSON parse error|Parquet magic)[^\n]*$"
        with pytest.raises(UserError, match=said):
            loaded("arc_challenge", folder, tmp_path / "scratch", 25)
    finally:
        logger.removeHandler(handler)
    assert not [record for record in handler.logged if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("name", ["test.jsonl", "train.jsonl"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_arc(tmp_path / "rows")
    (folder / name).write_bytes(b"")
    with pytest.raises(UserError, match=rf"rows/{name}: empty; put the rows of arc_challenge there$"):
        loaded("arc_challenge", folder, tmp_path / "scratch", 25)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("rows")
    with pytest.raises(UserError, match=r"rows.txt: must be .jsonl, .json or .parquet"):
        loaded("winogrande", tmp_path / "rows.txt", tmp_path / "scratch", 5)


@pytest.mark.parametrize(
    ("config", "split"),
    [
        ({"training_split": "train", "test_split": "test"}, "train"),
        ({"validation_split": "validation", "test_split": "test"}, "validation"),
        ({"test_split": "test"}, "test"),
        ({"fewshot_split": "dev", "training_split": "train"}, "dev"),
        ({"fewshot_config": {"split": "few"}, "training_split": "train"}, "few"),
        ({"fewshot_config": {"samples": [{}]}, "training_split": "train"}, None),
    ],
)
def test_examples_are_of_the_split_that_lm_eval_takes_them_of(
    config: dict[str, Any], split: str | None
) -> None:
    assert fewshot_split(config) == split


HUB = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi
from recipe.errors import UserError
from recipe.evaluate.catalogue import Catalogue
from recipe.evaluate.sources import commit_of, hub_source, prepared
from recipe.evaluate.tasks import Asked, Benchmark, count_requests, load_tasks
from recipe.hush import hush_libraries

hush_libraries(bars=False)
folder, api = Path(sys.argv[1]), HfApi()
api.create_repo("notus/arc", repo_type="dataset")
api.upload_folder(repo_id="notus/arc", folder_path=folder, repo_type="dataset")
first = api.dataset_info("notus/arc").sha
api.upload_file(path_or_fileobj=b"other", path_in_repo="note.txt", repo_id="notus/arc", repo_type="dataset")
api.create_repo("notus/program", repo_type="dataset")
api.upload_file(path_or_fileobj=b"", path_in_repo="program.py", repo_id="notus/program", repo_type="dataset")
config = {"dataset_path": "notus/arc", "dataset_name": "Small", "training_split": "train", "test_split": "test"}
told = {"first": first, "main": commit_of("notus/arc")}

def attempt(name, revision, **over):
    try:
        source = hub_source("arc", {**config, **over}, revision, 2, bring=True)
        told[name] = [source.record(), [[split, *map(str, files)] for split, files in source.files.items()]]
    except UserError as error:
        told[name] = str(error)

told["before"] = list(prepared("notus/arc", "Small", first))
attempt("pinned", first)
told["after"] = sorted(prepared("notus/arc", "Small", first))
attempt("newest", told["main"])
attempt("no commit", "0" * 40)
attempt("no such", first, dataset_path="notus/none")
attempt("no config", first, dataset_name="Large")
attempt("no split", first, test_split="exam")
attempt("program", commit_of("notus/program"), dataset_path="notus/program", dataset_name=None)
import datasets.config, huggingface_hub.constants
datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
attempt("offline", first)
attempt("offline, another", "1" * 40)
catalogue = Catalogue(["small"], folder.parent / "tasks")
leaves = catalogue.leaves("small")
sources = {"small": hub_source("small", leaves["small"], first, 2, bring=True)}
tasks = load_tasks(catalogue, Asked(Benchmark("small", 2), leaves, sources), folder.parent / "scratch")
told["questions"] = [row["question"] for row in tasks["tasks"]["small"].eval_docs]
told["requests"] = count_requests(tasks, None)
print(json.dumps(told))
"""


@pytest.mark.slow
def test_the_hub_is_read_at_the_commit_that_is_asked_for(tmp_path: Path, hub: dict[str, str]) -> None:
    """In a process of its own, because the Hub's address is read at import."""
    import os

    for split in ("train", "test"):
        write_rows(tmp_path / "arc" / "Small" / f"{split}-00000-of-00001.parquet", arc_rows(4))
    where = [{"split": split, "path": f"Small/{split}-*"} for split in ("train", "test")]
    card = {"configs": [{"config_name": "Small", "data_files": where}]}
    (tmp_path / "arc" / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    task = {
        "task": "small", "dataset_path": "notus/arc", "dataset_name": "Small", "training_split": "train",
        "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "{{question}}",
        "doc_to_target": "{{choices.label.index(answerKey)}}", "doc_to_choice": "{{choices.text}}",
    }  # fmt: skip
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "small.yaml").write_text(yaml.safe_dump(task))
    ended = subprocess.run(
        [sys.executable, "-c", HUB, str(tmp_path / "arc")],
        env={**os.environ, **hub, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["before"] == []
    assert told["after"] == ["test", "train"]
    assert told["first"] != told["main"]
    for name, commit in (("pinned", told["first"]), ("newest", told["main"]), ("offline", told["first"])):
        record, files = told[name]
        assert record == {"path": "notus/arc", "config": "Small", "split": "test", "revision": commit}
        assert [split for split, *_ in files] == ["test", "train"]
        assert all(f"/{commit}/" in path for _, *paths in files for path in paths)
    assert "no such revision" in told["no commit"]
    assert "notus/none" in told["no such"]
    assert (
        "BuilderConfig 'Large' not found. Available: ['Small']; benchmark_data names local files"
        in told["no config"]
    )
    assert told["no split"].endswith("no split exam, which arc needs")
    assert "a program to load it is all that it has" in told["program"]
    assert "benchmark_revisions a commit of its converted branch" in told["program"]
    assert "not cached here, and the Hub" in told["offline, another"]
    assert told["questions"] == [row["question"] for row in arc_rows(4)]  # from the cache, the Hub being gone
    assert told["requests"] == 15


def test_nothing_is_prepared_of_a_data_set_that_was_never_loaded() -> None:
    assert prepared("nobody/nothing", None, "0" * 40) == {}
