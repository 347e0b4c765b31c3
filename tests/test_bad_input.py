"""A user's mistake ends in one line that says what, where and what to do, in exit code 2, and in nothing written."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.support import Cli


@pytest.fixture
def recipe(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny recipe that a test may spoil."""
    shutil.copy(tiny / "tiny.yaml", tmp_path)
    return tmp_path / "tiny.yaml"


def spoil(recipe: Path, **values: object) -> Path:
    recipe.write_text(yaml.safe_dump(yaml.safe_load(recipe.read_text()) | values))
    return recipe


def refused(cli: Cli, recipe: Path, *arguments: object, command: str = "train") -> str:
    """Return the line that `notus train` refuses with; the run folder must hold no output of any other stage.

    Tokens and the reference may be there: they are what they say they are, and what mends the mistake need not compute
    them again.
    """
    run = recipe.parent / "run"
    line = cli(command, recipe, "--run", run, *arguments).mistake
    assert not list(run.glob(".*.partial"))
    stages = (
        json.loads((run / "manifest.json").read_text())["stages"] if (run / "manifest.json").exists() else {}
    )
    left = {path.name for path in run.glob("[!.]*")} - {"manifest.json", "recipe.yaml", "reference", "tokens"}
    assert left == {name.partition("/")[0] for stage in stages.values() for name in stage["outputs"]}
    return line


def test_unknown_key_names_the_nearest(cli: Cli, recipe: Path) -> None:
    assert "unknown key 'lerning_rate'; did you mean 'learning_rate'?" in refused(
        cli, spoil(recipe, lerning_rate=1.0)
    )
    assert not (recipe.parent / "run").exists()


def test_wrong_type_names_the_key(cli: Cli, recipe: Path) -> None:
    assert "lora_r: " in refused(cli, recipe, "--set", "lora_r=many")
    assert not (recipe.parent / "run").exists()


def test_extends_in_a_circle(cli: Cli, recipe: Path) -> None:
    (recipe.parent / "smoke.yaml").write_text("extends: tiny\n")
    assert "goes in a circle (tiny.yaml -> smoke.yaml -> tiny.yaml)" in refused(cli, recipe)


def test_no_such_recipe(cli: Cli) -> None:
    line = cli("train", "nowhere").mistake
    assert "no such recipe" in line
    assert "notus-7b-v1-lora" in line


def test_no_such_base(cli: Cli, recipe: Path) -> None:
    assert "there is no /no/such/base" in refused(cli, recipe, "--set", "model_name_or_path=/no/such/base")


def test_a_base_without_weights(cli: Cli, recipe: Path, tiny: Path) -> None:
    shutil.copytree(tiny / "base", recipe.parent / "base")
    (recipe.parent / "base" / "model.safetensors").unlink()
    line = refused(cli, recipe, "--set", f"model_name_or_path={recipe.parent / 'base'}")
    assert "no *.safetensors weights" in line


def test_an_adapter_is_no_base(cli: Cli, recipe: Path, trained: Path) -> None:
    line = refused(cli, recipe, "--set", f"model_name_or_path={trained / 'adapter'}")
    assert "an adapter, not a model" in line


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.safetensors", b"\x10\0\0\0\0\0\0\0{", "not whole"),
        ("tokenizer.json", b"{", "tokenizer can't be read"),
        ("config.json", b"{", "config"),
    ],
)
def test_a_broken_base(cli: Cli, recipe: Path, tiny: Path, name: str, content: bytes, said: str) -> None:
    base = recipe.parent / "base"
    shutil.copytree(tiny / "base", base)
    (base / name).write_bytes(content)
    assert said in refused(cli, recipe, "--set", f"model_name_or_path={base}")


def test_no_such_tokenizer(cli: Cli, recipe: Path) -> None:
    line = refused(cli, recipe, "--set", "tokenizer=/no/such/tokenizer")
    assert "tokenizer: there is no /no/such/tokenizer" in line


@pytest.mark.parametrize("arguments", [("recipe", "check"), ("run", "--dry-run")], ids=" ".join)
def test_a_plan_looks_for_the_tokenizer(cli: Cli, recipe: Path, arguments: tuple[str, ...]) -> None:
    line = cli(*arguments, recipe, "--set", "tokenizer=/no/such/tokenizer").mistake
    assert "tokenizer: there is no /no/such/tokenizer" in line


def test_a_folder_without_a_fast_tokenizer(cli: Cli, recipe: Path) -> None:
    folder = recipe.parent / "slow"
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(b"")
    line = refused(cli, recipe, "--set", f"tokenizer={folder}")
    assert f"{folder}: no tokenizer.json; tokenizer must name a folder with a fast tokenizer" in line


def test_a_broken_tokenizer(cli: Cli, recipe: Path) -> None:
    folder = recipe.parent / "broken"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{")
    line = refused(cli, recipe, "--set", f"tokenizer={folder}")
    assert f"{folder}: its tokenizer can't be read" in line


def test_attention_that_can_t_hide_a_token(cli: Cli, recipe: Path) -> None:
    flash = ("tokenization=zephyr-2023", "engine=trl", "attn_implementation=flash_attention_2")
    sets = [part for one in flash for part in ("--set", one)]
    assert "zephyr-2023 masks tokens within a text; use eager or sdpa" in refused(cli, recipe, *sets)
    assert not (recipe.parent / "run").exists()


@pytest.mark.filterwarnings("ignore")  # torch's, of a run that goes to infinity
def test_a_run_that_diverges_says_at_which_step(cli: Cli, recipe: Path) -> None:
    line = refused(cli, recipe, "--set", "learning_rate=1e30")
    assert "lower learning_rate" in line
    assert " at step " in line


def test_what_is_not_installed(cli: Cli, recipe: Path) -> None:
    assert "wandb is not installed" in refused(cli, recipe, "--set", "report_to=[wandb]")
    assert "flash_attn is not installed" in refused(
        cli, recipe, "--set", "engine=trl", "--set", "attn_implementation=flash_attention_2"
    )


@pytest.mark.parametrize("tag", ["bad tag", 'a"b', "v1..2", "-x", "v1.lock/"])
def test_a_tag_that_git_would_not_take(cli: Cli, recipe: Path, tag: str) -> None:
    assert "version: " in cli("publish", recipe, f"--tag={tag}").mistake


def test_prompt_as_long_as_all(cli: Cli, recipe: Path) -> None:
    line = refused(cli, spoil(recipe, max_prompt_length=256))
    assert "max_prompt_length (256) must be less than max_length (256)" in line


def test_lora_target_that_the_base_lacks(cli: Cli, recipe: Path) -> None:
    line = refused(cli, recipe, "--set", "lora_target_modules=[q_proj, c_attn]")
    assert "no module 'c_attn'" in line
    assert "q_proj" in line


def test_micro_batch_that_does_not_divide(cli: Cli, recipe: Path) -> None:
    assert "micro_batch_size: 3 x 1 device(s)" in refused(cli, recipe, "--set", "micro_batch_size=3")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows"),
        (b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": \n', "line 2"),
        (b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "\xff"}\n', "line 2"),
        (b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "a", "chosen": "b"}\n', "rejected"),
        (b'{"question": "a", "answer": "b"}\n', "question"),
        (b'{"prompt": "a", "chosen": "", "rejected": "c"}\n', "no usable row"),
        (b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n', "test_size"),
    ],
    ids=[
        "no rows",
        "broken JSON",
        "not UTF-8",
        "missing column",
        "unknown format",
        "all unusable",
        "too few",
    ],
)
def test_bad_data(cli: Cli, recipe: Path, content: bytes, said: str) -> None:
    data = recipe.parent / "rows.jsonl"
    data.write_bytes(content)
    line = refused(cli, recipe, "--set", f"dataset={data}", "--set", "dataset_format=auto")
    assert said in line
    assert "rows.jsonl" in line or said == "test_size"


def test_no_such_data(cli: Cli, recipe: Path) -> None:
    assert "there is no /no/rows.jsonl" in refused(cli, recipe, "--set", "dataset=/no/rows.jsonl")


def test_run_folder_of_another_science(cli: Cli, tiny: Path, trained: Path) -> None:
    before = (trained / "manifest.json").read_bytes()
    line = cli("train", tiny / "tiny.yaml", "--run", trained, "--set", "beta=0.5").mistake
    assert "made by another science (beta was 0.1, now 0.5)" in line
    assert (trained / "manifest.json").read_bytes() == before


def test_data_that_changed_under_a_run(cli: Cli, recipe: Path, tiny: Path) -> None:
    data = recipe.parent / "feedback.jsonl"
    shutil.copy(tiny / "feedback.jsonl", data)
    spoil(recipe, dataset=str(data))
    run = recipe.parent / "run"
    assert cli("curate", recipe, "--run", run, "--quiet").code == 0
    kept = (run / "data" / "train.parquet").read_bytes()
    data.write_text(data.read_text().replace("a", "e", 1))
    assert "have changed since this run was made" in cli("curate", recipe, "--run", run).mistake
    assert (run / "data" / "train.parquet").read_bytes() == kept


def test_a_tokenizer_that_changed_under_a_run(cli: Cli, recipe: Path, tiny: Path) -> None:
    folder = recipe.parent / "tokenizer"
    shutil.copytree(tiny / "base", folder)
    spoil(recipe, tokenizer=str(folder))
    run = recipe.parent / "run"
    assert cli("fetch", recipe, "--run", run, "--quiet").code == 0
    (folder / "model.safetensors").unlink()  # is no part of the tokenizer
    assert cli("fetch", recipe, "--run", run, "--quiet").code == 0
    (folder / "chat_template.jinja").write_text("another")
    assert "have changed since this run was made" in cli("fetch", recipe, "--run", run).mistake


def test_a_folder_that_is_no_run(cli: Cli, recipe: Path) -> None:
    folder = recipe.parent / "run"
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    assert "not a run folder (it holds thesis.tex)" in cli("train", recipe, "--run", folder).mistake
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_too_little_disk_is_seen_before(cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("recipe.disk.shutil.disk_usage", lambda _: usage._replace(free=10))
    line = refused(cli, recipe)
    assert "GB needed on this disk, 0.00 GB free" in line
    assert not (recipe.parent / "run").exists()


def test_options_that_make_no_sense(cli: Cli, recipe: Path) -> None:
    assert "--set beta: write it as key=value" in cli("train", recipe, "--set", "beta").mistake
    assert "--hub moon: must be local or remote" in cli("publish", recipe, "--hub", "moon").mistake


@pytest.mark.parametrize("command", [("fetch",), ("tokens",), ("run", "--dry-run"), ("recipe", "check")])
def test_a_tokenizer_that_is_built_in(cli: Cli, recipe: Path, command: tuple[str, ...]) -> None:
    line = cli(*command, recipe, "--set", "tokenizer=builtin:x").mistake
    assert "tokenizer: builtin:x is none" in line


def test_a_split_without_rows(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    for name in ("train", "test"):
        (tmp_path / "split" / f"{name}.jsonl").write_text("", encoding="utf-8")
    given = ("--set", f"dataset={tmp_path / 'split'}", "--set", "dataset_splits=[train, test]")
    for command in (("run", "--dry-run"), ("schedule",)):
        assert "has a split without rows" in cli(*command, recipe, *given).mistake
    assert "no rows" in cli("tokens", recipe, *given).mistake


def test_a_base_that_is_no_language_model(cli: Cli, recipe: Path) -> None:
    line = cli(
        "run", "--dry-run", recipe, "--set", "assumed_model_type=vit", "--set", "model_name_or_path=a/b"
    ).mistake
    assert "vit is no causal language model" in line
