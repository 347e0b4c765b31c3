"""The run folder: stages are whole or not there, know when they have nothing to do, and touch no other's folder."""

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from recipe.disk import file_sha256, read_json, refuse_full_disk, tree_sha256, write_json, write_text
from recipe.errors import UserError
from recipe.fetch import to_download
from recipe.load import build_recipe, load_recipe, read_resolved
from recipe.progress import Reporter
from recipe.run import Run, Stage
from recipe.schema import Recipe

ALL_FOUR = ["q_proj", "k_proj", "v_proj", "o_proj"]
QUIET = Reporter(quiet=True)
SMOKE = load_recipe("smoke")
Work = Callable[[Run, Path, Reporter], dict[str, object]]


def other(*overrides: str) -> Recipe:
    """Return the smoke recipe with some keys changed."""
    return load_recipe("smoke", overrides)


def write_pair(run: Run, out: Path, _: Reporter) -> dict[str, object]:
    """Write a folder of two files and a file, all of them with the release's version in them."""
    version = run.recipe.release.version
    (out / "pair" / "deep").mkdir(parents=True)
    (out / "pair" / "one.txt").write_text(f"one {version}")
    (out / "pair" / "deep" / "two.txt").write_text(f"two {version}")
    (out / "note.txt").write_text(f"note {version}")
    return {"files": 3}


def write_sum(run: Run, out: Path, _: Reporter) -> dict[str, object]:
    """Write what the stage before wrote, in one file."""
    (out / "sum").mkdir()
    (out / "sum" / "all.txt").write_text(
        run.path("pair", "one.txt").read_text() + run.path("note.txt").read_text()
    )
    return {}


PAIR = Stage("pair", "two files", (), ("pair", "note.txt"), ("science", "release"), write_pair)
SUM = Stage("sum", "one of two", ("pair",), ("sum",), ("science",), write_sum)
STAGES = (PAIR, SUM)


def counting(stage: Stage, ran: list[str]) -> Stage:
    """Return `stage`, which notes in `ran` that it worked."""

    def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
        ran.append(stage.name)
        return stage.work(run, out, reporter)

    return replace(stage, work=work)


def bring(folder: Path, recipe: Recipe = SMOKE, stages: tuple[Stage, ...] = STAGES) -> list[str]:
    """Bring the stages up to date; return which of them worked."""
    ran: list[str] = []
    run = Run(folder, recipe)
    with run.locked():
        result = run.bring([counting(stage, ran) for stage in stages], QUIET)
    assert [name for name, said in result.items() if said["ran"]] == ran
    assert list(result) == [stage.name for stage in stages]
    return ran


def contents(folder: Path) -> dict[str, str]:
    """Return the text of each output that is in place, hidden names and the run's own two files left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.name not in {"manifest.json", "recipe.yaml"}
    }


def expected(version: str) -> dict[str, str]:
    return {
        "note.txt": f"note {version}",
        "pair/deep/two.txt": f"two {version}",
        "pair/one.txt": f"one {version}",
        "sum/all.txt": f"one {version}note {version}",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with both stages done, at version v1."""
    folder = tmp_path / "run"
    assert bring(folder, other("version=v1")) == ["pair", "sum"]
    assert contents(folder) == expected("v1")
    return folder


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refused:
        make()
    line = str(refused.value)
    assert "\n" not in line
    return line


# What is written


def test_the_manifest_says_what_was_read_and_written(folder: Path) -> None:
    recipe = other("version=v1")
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    assert text == json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert set(manifest) == {"recipe", "science_sha256", "stages"}
    assert manifest["recipe"] == "smoke"
    assert manifest["science_sha256"] == recipe.science_sha256
    assert set(manifest["stages"]) == {"pair", "sum"}
    for entry in manifest["stages"].values():
        assert set(entry) == {
            "code", "inputs", "outputs", "recipe", "said", "seconds", "started", "versions",
        }  # fmt: skip
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["started"])
        assert re.fullmatch(r"[0-9a-f]{64}", entry["recipe"])
        assert entry["seconds"] >= 0
        assert {"python", "torch", "transformers", "trl", "peft"} <= set(entry["versions"])
    pair, sum_ = manifest["stages"]["pair"], manifest["stages"]["sum"]
    assert pair["inputs"] == {}
    assert pair["said"] == {"files": 3}
    assert set(pair["outputs"]) == {"pair/one.txt", "pair/deep/two.txt", "note.txt"}
    for name, facts in pair["outputs"].items():
        content = (folder / name).read_bytes()
        assert facts["sha256"] == hashlib.sha256(content).hexdigest()
        assert facts["size"] == len(content)
    assert sum_["inputs"] == {name: facts["sha256"] for name, facts in pair["outputs"].items()}


def test_the_recipe_lies_beside_it_written_out(folder: Path) -> None:
    assert build_recipe(*read_resolved(folder), where="there") == other("version=v1")


def test_nothing_but_the_outputs_is_left(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {"manifest.json", "recipe.yaml", "pair", "note.txt", "sum"}


def test_what_a_stage_says_is_told_again_when_it_has_nothing_to_do(folder: Path) -> None:
    said = Run(folder, other("version=v1")).bring([PAIR], QUIET)
    assert said == {"pair": {"stage": "pair", "ran": False, "files": 3}}


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"b": 1, "a": "é"})
    assert path.read_bytes() == b'{\n  "a": "\xc3\xa9",\n  "b": 1\n}\n'
    assert read_json(path) == {"a": "é", "b": 1}

    def full(_: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recipe.disk.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "other")
    assert read_json(path) == {"a": "é", "b": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path) == {"a": "é", "b": 1}


def test_the_hash_of_a_file_and_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "tree" / "b").mkdir(parents=True)
    (tmp_path / "tree" / "b" / "c").write_bytes(b"abc")
    (tmp_path / "tree" / "a").write_bytes(b"")
    assert file_sha256(tmp_path / "tree" / "b" / "c") == hashlib.sha256(b"abc").hexdigest()
    tree = tree_sha256(tmp_path, "tree")
    assert {name: facts["size"] for name, facts in tree.items()} == {"tree/a": 0, "tree/b/c": 3}
    assert list(tree_sha256(tmp_path, "tree/a")) == ["tree/a"]


# A stage is whole or not there


class BrokenError(Exception):
    pass


def broken(stage: Stage, error: BaseException) -> Stage:
    """Return `stage`, which writes its outputs and then fails."""

    def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
        stage.work(run, out, reporter)
        raise error

    return Stage(stage.name, stage.does, stage.needs, stage.outputs, stage.reads, work)


@pytest.mark.parametrize("error", [BrokenError(), UserError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_a_stage_that_fails_leaves_nothing_in_place(tmp_path: Path, error: BaseException) -> None:
    folder = tmp_path / "run"
    with pytest.raises(type(error)):
        bring(folder, stages=(PAIR, broken(SUM, error)))
    assert set(contents(folder)) == {"note.txt", "pair/deep/two.txt", "pair/one.txt"}
    assert Run(folder, SMOKE).done("sum") is None
    assert bring(folder) == ["sum"]
    assert not list(folder.glob("*.partial"))


def test_a_full_disk_is_not_kept_full_by_what_is_half_written(tmp_path: Path) -> None:
    folder, full = tmp_path / "run", OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        bring(folder, stages=(PAIR, broken(SUM, full)))
    assert not list(folder.glob(".*.partial"))


def test_a_stage_that_fails_again_leaves_what_it_wrote_before(folder: Path) -> None:
    recipe = other("version=v2")
    with pytest.raises(BrokenError):
        bring(folder, recipe, (broken(PAIR, BrokenError()), SUM))
    assert contents(folder) == expected("v1")
    assert bring(folder, recipe) == ["pair", "sum"]
    assert contents(folder) == expected("v2")


def test_what_was_left_outside_and_is_gone_is_brought_again_where_it_is_needed(folder: Path) -> None:
    gone = (replace(PAIR, lost=lambda _: True), SUM)
    assert bring(folder, other("version=v1"), gone) == []  # nothing is left to do that would need it
    assert bring(folder, other("version=v1"), gone[:1]) == ["pair"]  # asked for
    shutil.rmtree(folder / "sum")
    assert bring(folder, other("version=v1"), gone) == ["pair", "sum"]
    assert bring(folder, other("version=v1")) == []


def test_leftovers_of_a_killed_stage_are_thrown_away(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    leftover = folder / ".pair.partial" / "pair"
    leftover.mkdir(parents=True)
    (leftover / "three.txt").write_text("old")
    bring(folder, other("version=v1"))
    assert contents(folder) == expected("v1")


def test_what_a_new_output_no_longer_has_goes(folder: Path) -> None:
    (folder / "pair" / "stale.txt").write_text("old")
    assert bring(folder, other("version=v2")) == ["pair", "sum"]
    assert contents(folder) == expected("v2")


@pytest.mark.parametrize("name", ["sum/all.txt", "extra.txt"])
def test_a_stage_that_writes_other_names_than_it_owns_is_a_bug(folder: Path, name: str) -> None:
    def work(run: Run, out: Path, _: Reporter) -> dict[str, object]:
        write_pair(run, out, QUIET)
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("not mine")
        return {}

    wrong = Stage("pair", "", (), PAIR.outputs, ("science", "release"), work)
    with pytest.raises(RuntimeError, match="stage pair owns"):
        bring(folder, other("version=v2"), (wrong,))
    assert contents(folder) == expected("v1")


# Killed at every step


def killed_at(step: int, folder: Path, recipe: Recipe) -> bool:
    """Bring the stages in a process that is killed before the `step`th change to the file system.

    Returns whether it came to that.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    left = step

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[1], str) and arguments[1][0] in "wxa"
        if writes or event in {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    bring(folder, recipe)
    os._exit(0)


def kill_everywhere(folder: Path) -> None:
    """Kill one run per step: from nothing (`new-1`, ...) and over a run of another version (`over-1`, ...)."""
    bring(folder / "before", other("version=v1"))
    for kind in ("new", "over"):
        for step in range(1, 200):
            run = folder / f"{kind}-{step}"
            if kind == "over":
                shutil.copytree(folder / "before", run)
            if not killed_at(step, run, other("version=v2")):
                break


def test_killed_anywhere_a_run_lies_about_nothing_and_is_run_again(tmp_path: Path) -> None:
    # In a process of its own, which has one thread, so that it may fork.
    code = "import sys, pathlib, tests.recipe.test_run as t; t.kill_everywhere(pathlib.Path(sys.argv[1]))"
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=True)
    recipe = other("version=v2")
    killed = {kind: list(tmp_path.glob(f"{kind}-*")) for kind in ("new", "over")}
    assert len(killed["new"]) > 20
    assert len(killed["over"]) > len(killed["new"])
    between_renames = 0
    for run in [*killed["new"], *killed["over"]]:
        found = contents(run) if run.exists() else {}
        stages = read_json(run / "manifest.json")["stages"] if (run / "manifest.json").exists() else {}
        for entry in stages.values():
            for name, facts in entry["outputs"].items():
                assert hashlib.sha256(found[name].encode()).hexdigest() == facts["sha256"]
        between_renames += "pair" not in stages and "pair/one.txt" in found
        for text in found.values():
            assert text in {*expected("v1").values(), *expected("v2").values()}  # no half-written file
        bring(run, recipe)
        assert contents(run) == expected("v2")
        assert not list(run.glob("*.partial"))
        assert not list(run.glob(".*.partial"))
        assert build_recipe(*read_resolved(run), where="there") == recipe
        assert bring(run, recipe) == []
    assert between_renames


# Up to date


def test_a_second_time_there_is_nothing_to_do(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    assert bring(folder, other("version=v1")) == []
    assert (folder / "manifest.json").read_bytes() == before


def test_a_copy_of_a_run_is_up_to_date_too(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    for path in copy.rglob("*.txt"):
        os.utime(path, ns=(1, 1))
    assert bring(copy, other("version=v1")) == []


def edit(path: Path) -> None:
    """Change a file's content and not its size, a moment later."""
    status, text = path.stat(), path.read_text()
    path.write_text(text.replace("n", "m", 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert path.stat().st_size == status.st_size
    assert path.read_text() != text


@pytest.mark.parametrize(
    ("spoil", "ran"),
    [
        (lambda folder: edit(folder / "pair" / "one.txt"), ["pair"]),
        (lambda folder: edit(folder / "note.txt"), ["pair"]),
        (lambda folder: edit(folder / "sum" / "all.txt"), ["sum"]),
        (lambda folder: (folder / "note.txt").write_text("another length"), ["pair"]),
        (lambda folder: (folder / "pair" / "deep" / "two.txt").unlink(), ["pair"]),
        (lambda folder: (folder / "note.txt").unlink(), ["pair"]),
        (lambda folder: shutil.rmtree(folder / "pair"), ["pair"]),
        (lambda folder: shutil.rmtree(folder / "sum"), ["sum"]),
    ],
)  # fmt: skip
def test_spoilt_outputs_are_made_again_and_what_was_made_of_them_stays(
    folder: Path, spoil: Callable[[Path], None], ran: list[str]
) -> None:
    spoil(folder)
    assert bring(folder, other("version=v1")) == ran
    assert contents(folder) == expected("v1")
    assert bring(folder, other("version=v1")) == []


def test_a_file_that_somebody_put_beside_an_output_costs_no_work(folder: Path) -> None:
    (folder / "sum" / ".DS_Store").write_text("not an output: the manifest does not name it")
    assert bring(folder, other("version=v1")) == []


def test_a_stage_whose_inputs_changed_works_again(folder: Path) -> None:
    assert bring(folder, other("version=v2"), (PAIR,)) == ["pair"]
    assert bring(folder, other("version=v2")) == ["sum"]
    assert contents(folder) == expected("v2")


@pytest.mark.parametrize(
    ("reads", "override", "ran"),
    [
        (("science",), "version=v2", False),
        (("science",), "logging_steps=7", False),
        (("release",), "version=v2", True),
        (("release",), "logging_steps=7", False),
        (("science", "execution"), "logging_steps=7", True),
        (("science", "execution"), "version=v2", False),
        ((), "version=v2", False),
    ],
)
def test_only_the_sections_that_a_stage_reads_matter_to_it(
    tmp_path: Path, reads: tuple[str, ...], override: str, ran: bool
) -> None:
    stage = Stage("pair", "", (), PAIR.outputs, reads, write_pair)
    bring(tmp_path / "run", stages=(stage,))
    assert bring(tmp_path / "run", other(override), (stage,)) == ["pair"] * ran


def test_what_lies_outside_the_run_matters(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("one")
    stage = Stage("pair", "", (), PAIR.outputs, (), write_pair, lambda _: file_sha256(outside))
    assert bring(tmp_path / "run", stages=(stage,)) == ["pair"]
    assert bring(tmp_path / "run", stages=(stage,)) == []
    outside.write_text("two")
    assert bring(tmp_path / "run", stages=(stage,)) == ["pair"]


# Whose folder it is


@pytest.mark.parametrize("name", ["thesis.tex", "recipe.yaml", "data"])
def test_a_folder_with_something_else_in_it_is_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    assert f"not a run folder (it holds {name})" in refusal(lambda: bring(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_a_folder_that_is_empty_but_for_hidden_names_will_do(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").touch()
    assert bring(tmp_path) == ["pair", "sum"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert f"{path}: not a folder" in refusal(lambda: bring(path))
    assert f"{path}/run: can't be made (Not a directory)" in refusal(lambda: bring(path / "run"))


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff", b"3", b""])
def test_a_manifest_of_somebody_else_s_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    assert "manifest.json: not a manifest" in refusal(lambda: bring(tmp_path))
    assert (tmp_path / "manifest.json").read_bytes() == content


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["beta=0.5"], "beta was 0.1, now 0.5"),
        (["seed=1", "beta=0.5"], "beta was 0.1, now 0.5"),
        (["lora_target_modules=[q_proj]"], f"lora_target_modules was {ALL_FOUR}, now ['q_proj']"),
        (["dataset=org/name"], "dataset was 'builtin:feedback', now 'org/name'"),
        (["bf16=true"], "bf16 was False, now True"),
    ],
)  # fmt: skip
def test_another_science_is_refused_with_the_first_key_that_differs(
    folder: Path, overrides: list[str], said: str
) -> None:
    manifest = (folder / "manifest.json").read_bytes()
    line = refusal(lambda: bring(folder, other("version=v1", *overrides)))
    assert line == f"{folder}: made by another science ({said}); name another with --run, or remove it"
    assert (folder / "manifest.json").read_bytes() == manifest
    assert contents(folder) == expected("v1")


def test_where_the_base_lies_is_not_what_differs(tmp_path: Path) -> None:
    for place in ("one", "other"):
        (tmp_path / place / "base").mkdir(parents=True)
    bases = [f"model_name_or_path={tmp_path}/{place}/base" for place in ("one", "other")]
    bring(tmp_path / "run", other(bases[0]))
    assert bring(tmp_path / "run", other(bases[1])) == []
    assert "(beta was 0.1, now 0.5)" in refusal(lambda: bring(tmp_path / "run", other(bases[1], "beta=0.5")))


@pytest.mark.parametrize("content", [None, b"", b"[]", b"- a", b"\xff", b"a: [", b"beta: 0.1\nbeta: 0.2"])
def test_another_science_is_refused_also_where_its_recipe_is_lost(
    folder: Path, content: bytes | None
) -> None:
    if content is None:
        (folder / "recipe.yaml").unlink()
    else:
        (folder / "recipe.yaml").write_bytes(content)
    line = refusal(lambda: bring(folder, other("beta=0.5")))
    assert "made by another science (its recipe.yaml can't be read)" in line
    assert bring(folder, other("version=v1")) == []  # ours: the recipe is written anew
    assert build_recipe(*read_resolved(folder), where="there") == other("version=v1")


def test_other_execution_and_names_are_the_same_science(folder: Path) -> None:
    assert bring(folder, other("version=v1", "logging_steps=9", "devices=4")) == []
    assert read_resolved(folder)[1]["logging_steps"] == 9


def test_a_folder_that_was_made_since_it_was_opened_is_looked_at_again(tmp_path: Path) -> None:
    early = Run(tmp_path / "run", other("beta=0.5"))
    bring(tmp_path / "run")
    with pytest.raises(UserError, match="made by another science"), early.locked():
        pass


# Two at once

HOLD = """
import sys
from pathlib import Path
from recipe.load import load_recipe
from recipe.run import Run
with Run(Path(sys.argv[1]), load_recipe("smoke")).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_in_the_folder_is_refused_until_it_ends_even_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert "another notus works in this run folder" in refusal(lambda: bring(folder))
        assert contents(folder) == {}
        holder.kill()
    assert bring(folder) == ["pair", "sum"]


# Disk


@pytest.mark.parametrize("deep", ["", "not/there/yet"])
def test_a_full_disk_is_refused_with_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep: str
) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> Any:
        asked.append(path)
        return shutil._ntuple_diskusage(total=10**12, used=0, free=3 * 10**9)

    monkeypatch.setattr("recipe.disk.shutil.disk_usage", usage)
    refuse_full_disk({tmp_path / deep: 3 * 10**9})
    line = refusal(lambda: refuse_full_disk({tmp_path / deep: 29_400_000_000}))
    assert line.startswith(f"{tmp_path / deep}: 29.40 GB needed on this disk, 3.00 GB free")
    assert asked == [tmp_path, tmp_path]


def test_folders_of_one_disk_share_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(total=10**12, used=0, free=5 * 10**9)
    monkeypatch.setattr("recipe.disk.shutil.disk_usage", lambda _: usage)
    run, cache = tmp_path / "run", tmp_path / "cache"
    refuse_full_disk({run: 2 * 10**9, cache: 3 * 10**9})
    line = refusal(lambda: refuse_full_disk({run: 2 * 10**9, cache: 4 * 10**9}))
    assert line.startswith(f"{run} and {cache}: 6.00 GB needed on this disk, 5.00 GB free")


def test_a_base_of_the_hub_needs_room_in_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    science = load_recipe("notus-7b-v1-lora").science
    assert to_download(science, 7) == {tmp_path: 7}
    (tmp_path / "models--alignment-handbook--zephyr-7b-sft-full").mkdir()
    assert to_download(science, 7) == {}
    assert to_download(load_recipe("smoke").science, 7) == {}


def test_a_folder_named_without_a_parent_has_a_disk_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refuse_full_disk({Path("runs/smoke"): 1})
    assert "needed on this disk" in refusal(lambda: refuse_full_disk({Path("runs/smoke"): 10**18}))


def test_a_stage_that_owns_paths_below_others(tmp_path: Path) -> None:
    def write(name: str) -> Stage:
        def work(run: Run, out: Path, _: Reporter) -> dict[str, object]:
            (out / "deep" / name).mkdir(parents=True)
            (out / "deep" / name / "file.txt").write_text(name)
            return {}

        return Stage(name, "a file", (), (f"deep/{name}",), ("science",), work)

    one, two = write("one"), write("two")
    folder = tmp_path / "run"
    assert bring(folder, stages=(one, two)) == ["one", "two"]
    assert contents(folder) == {"deep/one/file.txt": "one", "deep/two/file.txt": "two"}
    (folder / "deep" / "mine.txt").write_text("mine")
    (folder / "deep" / "one" / "file.txt").unlink()
    assert bring(folder, stages=(one, two)) == ["one"]
    assert contents(folder)["deep/mine.txt"] == "mine"
    elsewhere = replace(one, name="elsewhere", outputs=("deep/other",))
    with pytest.raises(RuntimeError, match=r"owns \['deep/other'\] but wrote \['deep', 'deep/one', "):
        bring(folder, stages=(elsewhere,))
