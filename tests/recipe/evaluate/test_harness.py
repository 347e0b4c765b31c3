"""lm-eval as a library: its own figures, the same each time, killed or not."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipe.errors import UserError
from recipe.evaluate import harness_model, leaderboard
from recipe.evaluate.catalogue import Catalogue
from recipe.evaluate.findings import numbers
from recipe.evaluate.harness import Harness
from recipe.evaluate.harness_model import Answers, Model
from recipe.evaluate.ledger import Ledger
from recipe.evaluate.sources import local_source
from recipe.evaluate.suite import Evaluating
from recipe.evaluate.tasks import Asked, Benchmark
from tests.recipe.evaluate.benchmarks import (
    Told,
    at_work,
    copy_run,
    mmlu_rows,
    result,
    samples,
    write_arc,
    write_gsm8k,
    write_rows,
    write_winogrande,
)
from tests.support import ROOT, fresh

TASKS = ["winogrande", "gsm8k"]
Work = Callable[..., Evaluating]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Local rows of three of the leaderboard's tasks."""
    folder = tmp_path_factory.mktemp("rows")
    return {
        "arc_challenge": str(write_arc(folder / "arc")),
        "winogrande": str(write_winogrande(folder / "winogrande")),
        "gsm8k": str(write_gsm8k(folder / "gsm8k")),
    }


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The untrained model never ends an answer by itself."""
    monkeypatch.setattr(Model, "max_gen_toks", 16)


@pytest.fixture
def work(tiny: Path, trained: Path, tmp_path: Path, data: dict[str, str]) -> Work:
    """Make the leaderboard ready on some tasks; in the folder of one name, what was kept before is there."""

    def ready(place: str = "one", *tasks: str, **keys: Any) -> Evaluating:
        settings = {"benchmark_data": data, "evaluate_batch_size": 4, **keys}
        return at_work(tiny, trained, tmp_path / place, benchmark_tasks=tasks or ["winogrande"], **settings)

    return ready


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The batches that the model was asked, by task."""
    asked: list[str] = []

    def counted(name: str) -> Any:
        before = getattr(Model, name)

        def call(self: Model, *args: Any, **kwargs: Any) -> Any:
            asked.append(self.title)
            return before(self, *args, **kwargs)

        return call

    for name in ("_model_call", "_model_generate"):
        monkeypatch.setattr(Model, name, counted(name))
    return asked


def test_figures_and_hashes_are_lm_evals_own(work: Work) -> None:
    """What its own entry point finds with the same rows, examples and model."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    evaluating = work("one", "arc_challenge")
    leaderboard.measure(evaluating)
    model, tokenizer = evaluating.subject.load()
    ours = result(evaluating, "arc_challenge")
    folder = Path(evaluating.run.recipe.evaluation.benchmark_data["arc_challenge"])
    file = Catalogue(["arc_challenge"]).file("arc_challenge")
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
    over = evaluating.kept / "theirs"
    over.mkdir()
    (over / "arc.yaml").write_text(
        json.dumps(
            {
                "include": str(file),
                "task": "arc_challenge",
                "dataset_path": "json",
                "dataset_name": None,
                "dataset_kwargs": {"data_files": files, "cache_dir": str(over / "cache")},
            }
        )
    )
    with harness_model.hushed():
        theirs: Any = lm_eval.simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4),
            tasks=["arc_challenge"],
            num_fewshot=25,
            task_manager=TaskManager(include_defaults=False, include_path=str(over)),
        )
    assert ours["results"]["arc_challenge"] == theirs["results"]["arc_challenge"]
    for key in ("versions", "n-shot", "n-samples", "higher_is_better"):
        assert ours[key] == theirs[key]
    hashes = [[row["doc_hash"], row["prompt_hash"]] for row in theirs["samples"]["arc_challenge"]]
    assert [[row["doc_hash"], row["prompt_hash"]] for row in samples(evaluating, "arc_challenge")] == hashes


def test_a_result_says_what_it_is_of_and_nothing_of_the_machine(
    work: Work, trained: Path, tmp_path: Path
) -> None:
    evaluating = work("one", "arc_challenge", "gsm8k")
    said = leaderboard.measure(evaluating)
    assert list(said) == ["arc_challenge", "gsm8k"]
    assert re.fullmatch(r"acc_norm 0\.\d{4} ± 0\.\d{4}", str(said["arc_challenge"]))
    assert re.fullmatch(r"exact_match \(strict-match\) 0\.\d{4} ± 0\.\d{4}", str(said["gsm8k"]))
    arc = result(evaluating, "arc_challenge")
    assert arc["results"]["arc_challenge"].keys() >= {"acc,none", "acc_norm,none", "acc_norm_stderr,none"}
    assert arc["n-shot"] == {"arc_challenge": 25}
    assert arc["n-samples"] == {"arc_challenge": {"original": 6, "effective": 6}}
    assert arc["config"]["model_args"] == evaluating.subject.arguments
    assert len(arc["task_hashes"]["arc_challenge"]) == 64
    config = arc["configs"]["arc_challenge"]
    assert (config["dataset_path"], config["dataset_name"]) == ("allenai/ai2_arc", "ARC-Challenge")
    assert config["metadata"]["config_source"] == "lm_eval/tasks/arc/arc_challenge.yaml"
    assert arc["notus"]["of"] == evaluating.subject.identity
    assert arc["notus"]["by"]["name"] == "lm-evaluation-harness"
    of_data = arc["notus"]["data"]["arc_challenge"]
    assert (of_data["path"], of_data["config"], of_data["split"]) == ("local:arc", "ARC-Challenge", "test")
    assert re.fullmatch("sha256:[0-9a-f]{64}", of_data["revision"])
    gsm8k = result(evaluating, "gsm8k")["results"]["gsm8k"]
    assert gsm8k.keys() >= {"exact_match,strict-match", "exact_match,flexible-extract"}
    for file in evaluating.out.iterdir():
        for place in (str(tmp_path), str(trained), str(Path.home()), "site-packages"):
            assert place not in file.read_text(encoding="utf-8")
    kept = samples(evaluating, "gsm8k")
    assert len(kept) == 12  # six rows, two filters
    assert kept[0].keys() == {
        "task", "doc_id", "filter", "filtered_resps", "doc_hash", "prompt_hash", "target_hash", "exact_match",
    }  # fmt: skip


def test_the_same_figures_twice(work: Work) -> None:
    one, two = work("one", *TASKS), work("two", *TASKS)
    leaderboard.measure(one)
    leaderboard.measure(two)
    for task in TASKS:
        assert result(one, task)["results"] == result(two, task)["results"]
        assert samples(one, task) == samples(two, task)


def test_killed_at_any_batch_it_goes_on_to_the_same_bits(
    work: Work, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = work("undisturbed", *TASKS)
    leaderboard.measure(undisturbed)
    batches = list(calls)
    assert batches == [*["winogrande"] * 5, *["gsm8k"] * 2]
    keep = Model._keep
    for last in (1, 3, 6, 7):  # at the beginning of each task, and within
        calls.clear()

        def until(self: Model, last: int = last) -> None:
            keep(self)
            if len(calls) == last:
                raise SystemExit(143)

        monkeypatch.setattr(Model, "_keep", until)
        with pytest.raises(SystemExit):
            leaderboard.measure(work(str(last), *TASKS))
        monkeypatch.setattr(Model, "_keep", keep)
        again = work(str(last), *TASKS)
        leaderboard.measure(again)
        assert len(calls) == len(batches) + 1  # the batch that was begun is asked again, and no other
        goes_on = {
            3: ["  winogrande: goes on, 8 requests are answered"],
            7: ["  gsm8k: goes on, 4 requests are answered"],
        }
        assert again.reporter.lines == goes_on.get(last, [])  # type: ignore[attr-defined]
        for task in TASKS:
            assert samples(again, task) == samples(undisturbed, task)
            assert result(again, task)["results"] == result(undisturbed, task)["results"]


def test_what_is_measured_is_not_measured_again(work: Work, calls: list[str]) -> None:
    leaderboard.measure(work())
    before = len(calls)
    again = work()
    leaderboard.measure(again)
    assert len(calls) == before
    assert result(again, "winogrande")["results"]


@pytest.mark.parametrize(
    "keys", [{"evaluate_limit": 3}, {"evaluate_batch_size": 2}, {"benchmark_chat_template": True}]
)
def test_other_settings_measure_again(work: Work, calls: list[str], keys: dict[str, Any]) -> None:
    leaderboard.measure(work())
    before = len(calls)
    leaderboard.measure(work(**keys))
    assert len(calls) > before


def test_rows_that_changed_are_measured_again(
    work: Work, calls: list[str], data: dict[str, str], tmp_path: Path
) -> None:
    leaderboard.measure(work())
    before, other = len(calls), write_winogrande(tmp_path / "winogrande")
    (other / "validation.jsonl").write_text((other / "validation.jsonl").read_text().replace("wide", "high"))
    leaderboard.measure(work(benchmark_data={"winogrande": str(other)}))
    assert len(calls) == 2 * before


@pytest.mark.parametrize("torn", ["", "{", "end", "middle", "{}", "null"])
def test_answers_that_are_torn_are_asked_again(
    work: Work, calls: list[str], monkeypatch: pytest.MonkeyPatch, torn: str
) -> None:
    """Whatever is not whole counts for nothing, and the other batches still do."""
    undisturbed = work("undisturbed")
    leaderboard.measure(undisturbed)
    batches, keep = len(calls), Model._keep
    calls.clear()

    def until(self: Model) -> None:
        keep(self)
        if len(calls) == 4:
            raise SystemExit(143)

    monkeypatch.setattr(Model, "_keep", until)
    with pytest.raises(SystemExit):
        leaderboard.measure(work())
    monkeypatch.setattr(Model, "_keep", keep)
    evaluating = work()
    (kept,) = evaluating.kept.glob("winogrande-*.answers.jsonl")
    lines = kept.read_text().splitlines(keepends=True)
    assert len(lines) == 3
    kept.write_text({"end": "".join(lines)[:-20], "middle": lines[0] + "gone\n" + lines[2]}.get(torn, torn))
    leaderboard.measure(evaluating)
    lost = 1 if torn in {"end", "middle"} else 3
    assert len(calls) == batches + 1 + lost
    assert samples(evaluating, "winogrande") == samples(undisturbed, "winogrande")


def test_a_disk_that_is_full_ends_it_at_once(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Ledger, key: str, entry: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    monkeypatch.setattr(Ledger, "add", full)
    with pytest.raises(OSError, match="No space left"):
        leaderboard.measure(work())


def test_a_finished_task_that_is_torn_is_measured_again(work: Work, calls: list[str]) -> None:
    leaderboard.measure(work())
    before = len(calls)
    evaluating = work()
    (finished,) = evaluating.kept.glob("winogrande-*.json")
    finished.write_text(finished.read_text()[:100])
    (evaluating.kept / f"{finished.stem}.answers.jsonl").unlink()
    leaderboard.measure(evaluating)
    assert "not whole" in evaluating.reporter.warnings[0]  # type: ignore[attr-defined]
    assert len(calls) == 2 * before


def test_nothing_is_taken_from_another_model(
    tiny: Path, trained: Path, tmp_path: Path, data: dict[str, str]
) -> None:
    keys: dict[str, Any] = {"benchmark_tasks": ["winogrande"], "benchmark_data": data}
    adapter = at_work(tiny, trained, tmp_path, **keys)
    leaderboard.measure(adapter)
    theirs = samples(adapter, "winogrande")
    base = at_work(tiny, trained, tmp_path, weights="base", **keys)  # in the same folder, what is kept too
    leaderboard.measure(base)
    assert samples(base, "winogrande") != theirs
    assert [row["prompt_hash"] for row in samples(base, "winogrande")] == [
        row["prompt_hash"] for row in theirs
    ]
    assert result(base, "winogrande")["notus"]["weights"] == "base"


def test_a_limit_takes_the_first_rows(work: Work) -> None:
    evaluating = work(evaluate_limit=2)
    leaderboard.measure(evaluating)
    assert result(evaluating, "winogrande")["n-samples"]["winogrande"] == {"original": 9, "effective": 2}
    assert result(evaluating, "winogrande")["notus"]["limit"] == 2
    assert [row["doc_id"] for row in samples(evaluating, "winogrande")] == [0, 1]


def test_the_chat_template_is_used_if_it_is_asked_for(work: Work) -> None:
    plain, chat = work("plain", "gsm8k"), work("chat", "gsm8k", benchmark_chat_template=True)
    for evaluating in (plain, chat):
        leaderboard.measure(evaluating)
    hashes = [[row["prompt_hash"] for row in samples(one, "gsm8k")] for one in (plain, chat)]
    assert not set(hashes[0]) & set(hashes[1])
    assert [result(one, "gsm8k")["fewshot_as_multiturn"] for one in (plain, chat)] == [False, True]
    assert result(plain, "gsm8k")["chat_template"] is None
    assert "<|assistant|>" in result(chat, "gsm8k")["chat_template"]


@pytest.mark.parametrize(("task", "longest", "requests"), [("winogrande", 100, 18), ("gsm8k", 150, 6)])
def test_prompts_that_are_cut_are_counted(
    work: Work, monkeypatch: pytest.MonkeyPatch, task: str, longest: int, requests: int
) -> None:
    for limit, cut in ((1024, 0), (longest, requests)):
        monkeypatch.setattr(Model, "max_length", limit)
        evaluating = work(str(limit), task)
        leaderboard.measure(evaluating)
        details = result(evaluating, task)["notus"]["details"]
        assert (details["cut"], details["requests"]) == (cut, requests)
    said = f"{task}: {requests} of {requests} requests were longer than the model reads, and cut at their beginning"
    assert evaluating.reporter.warnings == [said]  # type: ignore[attr-defined]


def test_a_context_without_room_for_an_answer_is_refused(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "max_length", 16)
    with pytest.raises(UserError, match="gsm8k: answers may have 16 tokens, and the model reads 16 in all"):
        leaderboard.measure(work("one", "gsm8k"))
    monkeypatch.setattr(Model, "max_length", 4)
    with pytest.raises(UserError, match=r"winogrande: an answer has \d+ tokens, and the model reads 4"):
        leaderboard.measure(work("one", "winogrande"))


def test_a_group_has_figures_of_its_own(tiny: Path, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    for subject, count in (("anatomy", 3), ("law", 5)):
        write_rows(tmp_path / "rows" / subject / "test.jsonl", mmlu_rows(count, subject))
        write_rows(tmp_path / "rows" / subject / "dev.jsonl", mmlu_rows(6, f"another {subject}"))
        task = {
            "task": f"small_{subject}", "dataset_path": "cais/mmlu", "dataset_name": subject, "test_split": "test",
            "fewshot_split": "dev", "fewshot_config": {"sampler": "first_n"}, "output_type": "multiple_choice",
            "doc_to_text": "{{question}}\nAnswer:", "doc_to_choice": ["A", "B", "C", "D"], "doc_to_target": "answer",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            "metadata": {"version": 1},
        }  # fmt: skip
        folder.mkdir(exist_ok=True)
        (folder / f"{subject}.yaml").write_text(yaml.safe_dump(task))
    members = {"group": "small", "task": ["small_anatomy", "small_law"], "metadata": {"version": 3}}
    weighted = {"aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}]}
    (folder / "group.yaml").write_text(yaml.safe_dump({**members, **weighted}))
    catalogue = Catalogue(["small"], folder)
    leaves = catalogue.leaves("small")
    assert list(leaves) == ["small_anatomy", "small_law"]
    sources = {
        leaf: local_source(leaf, config, str(tmp_path / "rows"), 5, alone=False)
        for leaf, config in leaves.items()
    }
    evaluating = at_work(tiny, trained, tmp_path / "work")
    said = Harness(evaluating, catalogue).measure([Asked(Benchmark("small", 5, "acc"), leaves, sources)])
    found = result(evaluating, "small")
    shares = {task: found["results"][task]["acc,none"] for task in ("small", "small_anatomy", "small_law")}
    assert shares["small"] == pytest.approx((3 * shares["small_anatomy"] + 5 * shares["small_law"]) / 8)
    assert str(said["small"]).startswith(f"acc {shares['small']:.4f}")
    assert found["groups"] == {"small": found["results"]["small"]}
    assert found["group_subtasks"] == {"small": ["small_anatomy", "small_law"]}
    assert found["versions"]["small"] == "3"
    assert found["n-shot"] == {"small": 5, "small_anatomy": 5, "small_law": 5}
    assert found["notus"]["data"]["small_law"]["config"] == "law"
    assert found["notus"]["data"]["small"]["path"] == "local:rows"


def test_a_figure_that_is_no_number_is_left_out_and_told() -> None:
    told = Told()
    figures = {"acc,none": float("nan"), "acc_stderr,none": "N/A", "f1,none": 0.5, "alias": "x"}
    assert numbers({"x": figures}, told) == {"x": {"acc_stderr,none": "N/A", "f1,none": 0.5, "alias": "x"}}
    assert told.warnings == ["x: acc,none is nan, and left out"]


def test_answers_are_kept_a_batch_at_a_time(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "answers.jsonl")
    answers["one"] = (float("-inf"), True)
    answers["cut two"] = True
    assert not (tmp_path / "answers.jsonl").exists()
    answers.commit()
    answers["three"] = "words"
    assert "three" in answers
    again = Answers(tmp_path / "answers.jsonl")
    assert again["one"] == [float("-inf"), True]
    assert "three" not in again
    assert (again.count(cut=False), again.count(cut=True)) == (1, 1)


@pytest.mark.slow
def test_killed_for_real_it_goes_on(tiny: Path, trained: Path, tmp_path: Path, data: dict[str, str]) -> None:
    """By SIGKILL, while answers are written; the same command then goes on to the same samples."""
    arguments = [
        "evaluate", str(tiny / "tiny.yaml"), "--suite", "leaderboard", "--set", "evaluate_batch_size=1",
        "--set", "benchmark_tasks=[winogrande, gsm8k]", "--set", f"benchmark_data={json.dumps(data)}",
    ]  # fmt: skip
    folders = [copy_run(trained, tmp_path / name) for name in ("killed", "undisturbed")]
    place = folders[0] / ".evaluate-leaderboard"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    started = subprocess.Popen(
        [sys.executable, "-m", "notus", *arguments, "--run", str(folders[0])],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while started.poll() is None and time.monotonic() < deadline:
        if sum(map(_answered, place.glob("gsm8k-*.answers.jsonl"))) >= 2:
            break
        time.sleep(0.02)
    started.kill()
    assert started.wait() == -signal.SIGKILL
    outs = [fresh(*arguments, "--run", folder, cwd=tmp_path) for folder in folders]
    assert all(out.code == 0 for out in outs), outs
    assert re.search(r"gsm8k: goes on, [2-5] requests are answered", outs[0].out)
    assert "winogrande: goes on" not in outs[0].out
    for task in TASKS:
        killed, undisturbed = (
            (folder / "eval" / "leaderboard" / "adapter" / f"{task}.samples.jsonl").read_text()
            for folder in folders
        )
        assert killed == undisturbed
    assert not place.exists()


def _answered(path: Path) -> int:
    """Count the batches in a file that another process writes."""
    return path.read_bytes().count(b"\n")
