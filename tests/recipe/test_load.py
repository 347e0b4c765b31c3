"""From a recipe file to a recipe: inheritance, overrides, pins, refusals, and the hash of the science."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from recipe.errors import UserError
from recipe.load import (
    RECIPES,
    build_recipe,
    dump_resolved,
    find_recipe,
    hub_inputs,
    load_recipe,
    lock_path,
    read_lock,
    read_resolved,
)
from recipe.schema import SECTION_OF, SECTIONS, Recipe, source_of
from tests.support import Cli

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMOKE = load_recipe("smoke").flat()
WriteRecipe = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteRecipe:
    """Write a recipe: smoke's keys with some changed, or the text given."""

    def writer(name: str, text: str | bytes | None = None, **changed: object) -> Path:
        path = tmp_path / f"{name}.yaml"
        if text is None:
            path.write_text(yaml.safe_dump(SMOKE | changed), encoding="utf-8")
        elif isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text, encoding="utf-8")
        return path

    return writer


def refusal(name: str | Path, *overrides: str) -> str:
    """Return the one line that loading is refused with."""
    with pytest.raises(UserError) as refused:
        load_recipe(name, overrides)
    line = str(refused.value)
    assert "\n" not in line
    return line


# Extends


def test_a_child_overrides_its_parent_and_its_parent_s_parent(write: WriteRecipe) -> None:
    write("grand", beta=0.2, lora_r=8, seed=1)
    write("parent", "extends: grand\nlora_r: 16\nseed: 2\n")
    child = load_recipe(write("child", "seed: 3\nextends: parent.yaml\n"))
    assert child.name == "child"
    assert (child.science.beta, child.science.lora_r, child.science.seed) == (0.2, 16, 3)


def test_a_list_is_replaced_and_not_added_to(write: WriteRecipe) -> None:
    write("parent")
    child = load_recipe(write("child", "extends: parent\nlora_target_modules: [q_proj]\n"))
    assert child.science.lora_target_modules == ["q_proj"]


def test_extends_is_looked_for_beside_the_file_that_says_it(write: WriteRecipe, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write("root", seed=7)
    write("deep/middle", "extends: ../root\n")
    assert load_recipe(write("leaf", "extends: deep/middle\n")).science.seed == 7


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        ({"a": "extends: a\n"}, "a.yaml -> a.yaml"),
        ({"a": "extends: b\n", "b": "extends: a\n"}, "a.yaml -> b.yaml -> a.yaml"),
        ({"a": "extends: b\n", "b": "extends: c\n", "c": "extends: b\n"}, "b.yaml -> c.yaml -> b.yaml"),
    ],
)
def test_a_circle_is_refused_and_shown(
    write: WriteRecipe, tmp_path: Path, files: dict[str, str], circle: str
) -> None:
    for name, text in files.items():
        write(name, text)
    assert f"`extends` goes in a circle ({circle})" in refusal(tmp_path / "a.yaml")


def test_a_shipped_recipe_is_extended_by_name_from_anywhere(write: WriteRecipe) -> None:
    assert load_recipe(write("child", "extends: notus-7b-v1-lora\nseed: 7\n")).science.lora_r == 64


def test_a_revision_belongs_to_the_repository_it_was_given_for(write: WriteRecipe) -> None:
    parent = write("parent", f"extends: smoke\nmodel_name_or_path: a/b\nmodel_revision: {'a' * 40}\n")
    assert load_recipe(parent).science.model_revision == "a" * 40
    child = write("child", "extends: parent\nmodel_name_or_path: c/d\n")
    assert load_recipe(child).science.model_revision == "main"
    assert load_recipe(parent, ["model_name_or_path=c/d"]).science.model_revision == "main"
    assert load_recipe(parent, ["model_name_or_path=c/d@v2"]).science.model_revision == "v2"


def test_what_was_said_of_a_data_set_does_not_hold_for_another(write: WriteRecipe) -> None:
    known = "extends: smoke\ndataset: a/b\ndataset_format: pairs\nassumed_dataset_rows: 9\n"
    public = "hub_dataset_id: a/pairs\ndataset_license: cc-by-4.0\n"
    parent = write("parent", f"{known}{public}dataset_revision: v1\nassumed_model_type: llama\n")
    same = load_recipe(parent, ["dataset_revision=v2"]).flat()
    assert (same["dataset_format"], same["assumed_dataset_rows"]) == ("pairs", 9)
    assert (same["hub_dataset_id"], same["dataset_license"]) == ("a/pairs", "cc-by-4.0")
    for other in (
        load_recipe(write("child", "extends: parent\ndataset: c/d\n")).flat(),
        load_recipe(write("mixed", "extends: parent\ndataset_mixer: {c/d: 1.0}\n")).flat(),
        load_recipe(parent, ["dataset=c/d"]).flat(),
    ):
        assert (other["dataset_format"], other["assumed_dataset_rows"]) == ("auto", None)
        assert (other["dataset_revision"], other["assumed_model_type"]) == ("main", "llama")
        assert (other["hub_dataset_id"], other["dataset_license"]) == (None, None)
    told = ["dataset=c/d", "dataset_format=argilla", "assumed_dataset_rows=7"]
    for order in (told, told[::-1]):
        given = load_recipe(parent, order).flat()
        assert (given["dataset_format"], given["assumed_dataset_rows"]) == ("argilla", 7)


def test_another_base_or_tokenizer_changes_nothing_of_what_was_said_of_the_data(write: WriteRecipe) -> None:
    parent = write("parent", f"extends: smoke\ntokenizer: a/b\ntokenizer_revision: {COMMIT}\n")
    assert load_recipe(parent).science.tokenizer_revision == COMMIT
    assert load_recipe(parent, ["tokenizer=c/d"]).science.tokenizer_revision == "main"
    assert load_recipe(parent, ["tokenizer=c/d@v2"]).science.tokenizer_revision == "v2"
    base = load_recipe(parent, ["model_name_or_path=c/d"]).science
    assert (base.tokenizer, base.tokenizer_revision) == ("a/b", COMMIT)
    assert base.dataset_format == "ultrafeedback"


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "my/rows.parquet"])
def test_a_mistyped_data_file_is_no_repository(name: str) -> None:
    assert source_of(name) == "local"


TOLD = {
    "story": "Once.",
    "evaluate": ["preference"],
    "floors": {"preference/heldout/accuracy": 0.6},
    "why_name": "Why not?",
    "license_reason": "so",
    "sources": {"Code": "x"},
    "banner": "a.png",
    "developers": "A Cat",
}


@pytest.mark.parametrize("key", ["model_name_or_path", "dataset", "model_name"])
def test_what_is_told_of_a_model_is_not_told_of_another(write: WriteRecipe, key: str) -> None:
    parent = write("parent", "extends: smoke\n" + yaml.safe_dump(TOLD))
    kept = load_recipe(write("same", "extends: parent\nseed: 3\nversion: v9\n"))
    same = kept.release
    assert kept.evaluation.suites == ("preference",)
    assert load_recipe(parent, [f"{key}=a/b"]).evaluation.suites == ()
    assert (same.story, same.sources) == ("Once.", {"Code": "x"})
    for other in (
        load_recipe(write("child", f"extends: parent\n{key}: a/b\n")).release,
        load_recipe(parent, [f"{key}=a/b"]).release,
    ):
        assert (other.story, other.why_name, other.license_reason, other.sources) == (None, None, None, {})
        assert (other.banner, other.banner_alt, other.developers) == (None, None, None)
    assert load_recipe(parent, [f"{key}=a/b", "story=Mine."]).release.story == "Mine."


def test_a_story_is_of_one_way_to_make_a_model(write: WriteRecipe) -> None:
    parent = write("parent", "extends: smoke\n" + yaml.safe_dump(TOLD))
    for change in ("learning_rate=1e-3", "binarize_by=overall_score", "lora_r=8"):
        changed = load_recipe(parent, [change]).release
        assert (changed.story, changed.why_name, changed.developers) == (None, "Why not?", "A Cat")
    for same in ("seed=3", "model_revision=v1", "per_device_eval_batch_size=2", "hub_model_id=a/b"):
        assert load_recipe(parent, [same]).release.story == "Once."


def test_a_missing_parent_is_named_with_the_path_looked_at(write: WriteRecipe, tmp_path: Path) -> None:
    line = refusal(write("child", "extends: nobody\n"))
    wanted = (
        f"extends 'nobody', but there is no {tmp_path}/nobody.yaml, and none of that name ships with Notus"
    )
    assert line == f"{tmp_path}/child.yaml: {wanted}"


@pytest.mark.parametrize("value", ["[a, b]", "3", "{a: b}"])
def test_only_one_recipe_can_be_extended(write: WriteRecipe, value: str) -> None:
    assert "`extends` must be the name of one recipe" in refusal(write("child", f"extends: {value}\n"))


def test_a_parent_s_fault_is_told_with_the_parent_s_name(write: WriteRecipe, tmp_path: Path) -> None:
    write("parent", "beta: [1\n")
    assert refusal(write("child", "extends: parent\n")).startswith(f"{tmp_path}/parent.yaml, line 2")


# Finding


def test_a_recipe_is_found_by_name_and_by_the_readme_s_path_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("smoke", "smoke.yaml", "recipe/recipes/smoke.yaml"):
        assert find_recipe(name) == RECIPES / "smoke.yaml"


def test_a_file_here_comes_before_one_that_ships(
    write: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write("smoke", seed=9)
    assert load_recipe("smoke.yaml").science.seed == 9


def test_a_mistyped_folder_does_not_run_the_recipe_of_that_name_that_ships(tmp_path: Path) -> None:
    line = refusal(tmp_path / "smoke.yaml")
    assert line.startswith(
        f"{tmp_path}/smoke.yaml: no such recipe; give a YAML file or one of: notus-7b-v1-lora"
    )


# --set


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("learning_rate=5e-7", "learning_rate", 5e-7),
        ("learning_rate=5.0E-07", "learning_rate", 5e-7),
        ("learning_rate=1", "learning_rate", 1.0),
        ("beta=.5", "beta", 0.5),
        ("max_steps=-1", "max_steps", -1),
        ("lora_target_modules=[q_proj, v_proj]", "lora_target_modules", ["q_proj", "v_proj"]),
        ("lora_target_modules=['a']", "lora_target_modules", ["a"]),
        ("bf16=true", "bf16", True),
        ("bf16=False", "bf16", False),
        (
            "gradient_checkpointing_kwargs={use_reentrant: true}",
            "gradient_checkpointing_kwargs",
            {"use_reentrant": True},
        ),
        ("micro_batch_size=null", "micro_batch_size", None),
        ("developers=", "developers", None),
        ("dataset=/data/12:30/rows.jsonl", "dataset", "/data/12:30/rows.jsonl"),
        ("dataset=/data/a: b.jsonl]", "dataset", "/data/a: b.jsonl]"),
        ("dataset=12:30", "dataset", "12:30"),
        ("dataset=@/rows", "dataset", "@/rows"),
        ("dataset=a=b", "dataset", "a=b"),
        ("model_name=Notus #1", "model_name", "Notus #1"),
        ("model_name='Notus #1' # quoted", "model_name", "Notus #1"),
        ("model_name=No", "model_name", "No"),
        ("version=2023-12-01", "version", "2023-12-01"),
        ('version="1.0"', "version", "1.0"),
        (" seed = 3 ", "seed", 3),
    ],
)
def test_set_reads_values_as_a_recipe_does(override: str, key: str, value: object) -> None:
    found = load_recipe("smoke", [override]).flat()[key]
    assert found == value
    assert type(found) is type(value)


def test_the_last_set_of_a_key_wins_and_all_win_over_the_file() -> None:
    assert load_recipe("smoke", ["seed=1", "beta=0.5", "seed=2"]).science.seed == 2


@pytest.mark.parametrize("text", ["beta", "=0.5", ""])
def test_set_without_key_or_value_is_refused(text: str) -> None:
    assert refusal("smoke", text) == f"--set {text}: write it as key=value"


# Refusals


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("betta", "beta"),
        ("lr", "lora_r"),
        ("learningrate", "learning_rate"),
        ("datset", "dataset"),
        ("extend", "seed"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    write: WriteRecipe, key: str, nearest: str
) -> None:
    said = f"unknown key {key!r}; did you mean {nearest!r}?"
    assert said in refusal("smoke", f"{key}=1")
    assert said in refusal(write("wrong", **{key: 1}))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lora_r=many", "lora_r: input should be a valid integer, not 'many'"),
        ("lora_r=1.0", "lora_r: input should be a valid integer, not 1.0"),
        ("lora_r=0", "lora_r: input should be greater than 0, not 0"),
        ("lora_r='64'", "lora_r: input should be a valid integer, not '64'"),
        ("seed=true", "seed: input should be a valid integer, not True"),
        ("seed=010", "seed: input should be a valid integer, not '010'"),
        ("seed=1_0", "seed: input should be a valid integer, not '1_0'"),
        ("test_size=1:30", "test_size: input should be a valid integer, not '1:30'"),
        ("bf16=yes", "bf16: input should be a valid boolean, not 'yes'"),
        ("bf16=1", "bf16: input should be a valid boolean, not 1"),
        ("beta=.nan", "beta: input should be a valid number, not '.nan'"),
        ("beta=1e999", "beta: input should be a finite number, not inf"),
        ("optim=adam", "optim: input should be 'rmsprop', 'adamw_torch' or 'sgd', not 'adam'"),
        ("dataset=", "dataset: input should be a valid string, not None"),
        ("dataset_splits=train", "dataset_splits: input should be a valid list, not 'train'"),
        ("lora_target_modules=[q_proj, 1]", "lora_target_modules: input should be a valid string, not 1"),
        ("lora_target_modules=[]", "lora_target_modules: list should have at least 1 item"),
        ("use_peft=false", "use_peft: input should be True, not False"),
        ("save_strategy=best", "save_strategy: input should be 'no', 'steps' or 'epoch', not 'best'"),
        ("tokenization=zephyr", "tokenization: input should be 'current' or 'zephyr-2023', not 'zephyr'"),
        ("leave_out=equal_answers", "leave_out: input should be a valid list, not 'equal_answers'"),
        ("leave_out=[null_field]", "leave_out: input should be 'empty_prompt', 'empty_response', "),
        ("assumed_dataset_rows=0", "assumed_dataset_rows: input should be greater than 0, not 0"),
        ("tags=dpo", "tags: input should be a valid list, not 'dpo'"),
    ],
)
def test_an_ill_typed_value_is_refused_by_its_key(override: str, said: str) -> None:
    assert said in refusal("smoke", override)


def test_a_missing_key_is_named(write: WriteRecipe) -> None:
    text = yaml.safe_dump({key: value for key, value in SMOKE.items() if key != "lora_r"})
    assert "the key 'lora_r' is missing" in refusal(write("short", text))


@pytest.mark.parametrize("prompt", [256, 300])
def test_a_prompt_must_leave_room_for_an_answer(prompt: int) -> None:
    line = refusal("smoke", f"max_prompt_length={prompt}", "max_length=256")
    assert f"max_prompt_length ({prompt}) must be less than max_length (256)" in line
    assert load_recipe("smoke", ["max_prompt_length=255", "max_length=256"])


def test_the_tokenization_of_2023_has_the_template_of_2023() -> None:
    line = refusal("smoke", "tokenization=zephyr-2023", "chat_template=tokenizer")
    assert line.endswith("zephyr-2023 knows the zephyr template only; set `chat_template: zephyr`")
    assert load_recipe("smoke", ["tokenization=zephyr-2023", "chat_template=zephyr"])
    assert load_recipe("smoke", ["tokenization=current", "chat_template=tokenizer"])


def test_the_tokenization_of_2023_needs_an_attention_that_can_hide_a_token() -> None:
    line = refusal("notus-7b-v1-lora", "engine=trl", "attn_implementation=flash_attention_2")
    assert line.endswith(
        "attn_implementation: tokenization zephyr-2023 masks tokens within a text; use eager or sdpa"
    )
    for attention in ("eager", "sdpa"):
        assert load_recipe("notus-7b-v1-lora", ["engine=trl", f"attn_implementation={attention}"])
    assert load_recipe(
        "smoke", ["tokenization=current", "engine=trl", "attn_implementation=flash_attention_2"]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nbeta: 0.1\nseed: 2\n", ", line 3: the key 'seed' is there twice"),
        ("gradient_checkpointing_kwargs:\n  a: true\n  a: true\n", ", line 3: the key 'a' is there twice"),
        ("seed: 1\nbeta: [0.1\nlora_r: 2\n", ", line 3: "),
        ("seed: 1\n\tbeta: 2\n", ", line 2: "),
        ("seed: 1\nbeta: @x\n", ", line 2: "),
        ("{{ seed }}: 1\n", ", line 1: a key must be a plain word"),
        ("seed: 1\n[a, b]: 1\n", ", line 2: a key must be a plain word"),
        ("seed: !!python/object/apply:os.getcwd []\n", ", line 1: "),
        ("seed: 1\x01\n", ": not YAML"),
        ("", ": a recipe is a list of `key: value` lines"),
        ("- seed\n- beta\n", ": a recipe is a list of `key: value` lines"),
        ("seed\n", ": a recipe is a list of `key: value` lines"),
        ("1: seed\n", ": a recipe is a list of `key: value` lines"),
        ("seed: 1\n---\nseed: 2\n", ", line 2: "),
    ],
)
def test_broken_yaml_is_refused_with_its_line(write: WriteRecipe, text: str, said: str) -> None:
    path = write("broken", text)
    assert refusal(path).startswith(f"{path}{said}")


def test_a_recipe_that_is_not_utf_8_is_refused_with_the_place(write: WriteRecipe) -> None:
    path = write("latin", "developers: Fran\xe7ois\n".encode("latin-1"))
    assert refusal(path) == f"{path}: not UTF-8 at byte 16; save the recipe as UTF-8"


def test_a_byte_order_mark_does_no_harm(write: WriteRecipe) -> None:
    text = yaml.safe_dump(SMOKE)
    assert load_recipe(write("bom", f"\ufeff{text}")).flat() == load_recipe(write("plain", text)).flat()


@pytest.mark.parametrize("word", ["no", "No", "NO", "off", "on", "yes", "y", "n"])
def test_only_true_and_false_are_booleans(write: WriteRecipe, word: str) -> None:
    assert load_recipe(write("words", developers=None), [f"developers={word}"]).release.developers == word
    text = yaml.safe_dump({k: v for k, v in SMOKE.items() if k != "save_strategy"})
    assert load_recipe(write("norway", f"{text}\nsave_strategy: no\n")).execution.save_strategy == "no"


# The handbook's spelling of the data


def test_a_mixer_of_one_data_set_is_the_data_set(write: WriteRecipe) -> None:
    text = yaml.safe_dump({key: value for key, value in SMOKE.items() if key != "dataset"})
    one = load_recipe(write("mixed", f"{text}\ndataset_mixer:\n  org/name: 1.0\n"))
    assert one.science.dataset == "org/name"


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("dataset_mixer: {org/old: 1.0}", "dataset_mixer: {org/new: 1.0}"),
        ("dataset_mixer: {org/old: 1.0}", "dataset: org/new"),
        ("dataset: org/old", "dataset_mixer: {org/new: 1}"),
    ],
)
def test_a_child_overrides_the_data_in_either_spelling(write: WriteRecipe, parent: str, child: str) -> None:
    text = yaml.safe_dump({key: value for key, value in SMOKE.items() if key != "dataset"})
    write("parent", f"{text}\n{parent}\n")
    path = write("child", f"extends: parent\n{child}\n")
    assert load_recipe(path).science.dataset == "org/new"
    assert load_recipe(path, ["dataset=org/last"]).science.dataset == "org/last"
    assert load_recipe(path, ["dataset_mixer={org/last: 1.0}"]).science.dataset == "org/last"


def test_data_named_twice_in_one_place_is_refused(write: WriteRecipe) -> None:
    path = write("twice", dataset_mixer={"org/other": 1.0})
    assert refusal(path) == f"{path}: dataset and dataset_mixer name the data twice; remove one of them"


@pytest.mark.parametrize(
    "mixer", ["{org/a: 0.5}", "{org/a: 1.0, org/b: 1.0}", "{}", "org/a", "[org/a]", "{org/a: [1.0]}"]
)
def test_a_mixer_of_anything_else_is_refused(mixer: str) -> None:
    line = refusal("smoke", f"dataset_mixer={mixer}")
    assert line.startswith("--set: dataset_mixer must be one data set at 1.0")


def test_a_mixer_s_data_set_must_be_a_name() -> None:
    assert "dataset: input should be a valid string, not 3" in refusal("smoke", "dataset_mixer={3: 1.0}")


# Pins


@pytest.fixture
def notus(tmp_path: Path) -> Path:
    """A copy of Notus's recipe beside which a lock may be put."""
    for name in ("notus-7b-v1-lora", "zephyr-7b-beta-lora"):
        shutil.copy(RECIPES / f"{name}.yaml", tmp_path)
    return tmp_path / "notus-7b-v1-lora.yaml"


def test_recipes_of_the_hub_ship_unpinned_and_say_so() -> None:
    assert load_recipe("notus-7b-v1-lora").science.unpinned == ["model_revision", "dataset_revision"]
    assert load_recipe("zephyr-7b-beta-lora").science.unpinned == ["model_revision", "dataset_revision"]
    assert load_recipe("smoke").science.unpinned == []


def test_a_lock_pins_what_it_names_and_no_more(notus: Path) -> None:
    lock_path(notus).write_text(json.dumps({"model:alignment-handbook/zephyr-7b-sft-full@main": COMMIT}))
    pinned = load_recipe(notus)
    assert pinned.science.model_revision == COMMIT
    assert pinned.science.dataset_revision == "main"
    assert pinned.science.unpinned == ["dataset_revision"]
    assert pinned.science_sha256 != load_recipe("notus-7b-v1-lora").science_sha256


def test_a_lock_pins_the_data_too_and_only_at_the_revision_it_was_made_for(notus: Path) -> None:
    data = "argilla/ultrafeedback-binarized-preferences"
    pins = {"model:alignment-handbook/zephyr-7b-sft-full@main": COMMIT, f"dataset:{data}@main": COMMIT}
    lock_path(notus).write_text(json.dumps(pins))
    assert load_recipe(notus).science.unpinned == []
    assert load_recipe(notus, ["dataset_revision=v2"]).science.dataset_revision == "v2"
    assert load_recipe(notus, ["dataset=org/other"]).science.unpinned == ["dataset_revision"]


def test_a_commit_in_the_recipe_needs_no_lock_and_a_short_one_is_no_pin(notus: Path) -> None:
    assert load_recipe(notus, [f"model_revision={COMMIT}"]).science.unpinned == ["dataset_revision"]
    short = load_recipe(notus, [f"model_revision={COMMIT[:12]}", "dataset_revision=v1.0.0"])
    assert short.science.unpinned == ["model_revision", "dataset_revision"]


def test_a_tokenizer_of_its_own_is_pinned_as_the_base_is(notus: Path) -> None:
    own = load_recipe(notus, ["tokenizer=org/tokens"]).science
    assert own.unpinned == ["model_revision", "tokenizer_revision", "dataset_revision"]
    lock_path(notus).write_text(json.dumps({"model:org/tokens@main": COMMIT}))
    pinned = load_recipe(notus, ["tokenizer=org/tokens"]).science
    assert (pinned.tokenizer_revision, pinned.model_revision) == (COMMIT, "main")
    assert load_recipe(notus).science.tokenizer_revision == "main"  # which names nothing
    assert load_recipe(notus).science.unpinned == ["model_revision", "dataset_revision"]


def test_every_repository_that_a_recipe_names_has_a_pin_of_its_own() -> None:
    named = ["model_name_or_path=org/base@v1", "tokenizer=org/base", "dataset=org/base@v1"]
    assert hub_inputs(load_recipe("smoke", named).flat()) == {
        "model_revision": ("model:org/base@v1", "org/base"),
        "tokenizer_revision": ("model:org/base@main", "org/base"),
        "dataset_revision": ("dataset:org/base@v1", "org/base"),
    }
    assert hub_inputs(load_recipe("smoke").flat()) == {}
    assert hub_inputs(load_recipe("smoke", ["tokenizer=./here", "dataset=rows.jsonl"]).flat()) == {}


def test_what_is_local_or_built_in_is_never_unpinned(tmp_path: Path) -> None:
    local = load_recipe("notus-7b-v1-lora", [f"model_name_or_path={tmp_path}", "dataset=./rows.jsonl"])
    assert local.science.unpinned == []


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"model:a/b@main": "main"}',
        b'{"model:a/b@main": 3}',
        b'{"model:a/b@main": "' + COMMIT[:39].encode() + b'"}',
    ],
)
def test_a_broken_lock_is_refused(notus: Path, content: bytes) -> None:
    lock_path(notus).write_bytes(content)
    line = refusal(notus)
    assert line.startswith(f"{lock_path(notus)}: not a lock file")
    assert line.endswith("make it anew with `notus recipe pin`")


def test_no_lock_is_no_pins(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "none.lock.json") == {}


def test_no_lock_ships() -> None:
    assert not list(RECIPES.glob("*.json"))


# A run folder's recipe


@pytest.mark.parametrize("name", ["smoke", "smollm2-135m", "zephyr-7b-beta-lora", "notus-7b-v1-lora"])
def test_a_written_out_recipe_reads_back_as_it_was(tmp_path: Path, name: str) -> None:
    odd = [
        "model_name='1e5'",
        "developers='no'",
        "version='010'",
        "license='2023-12-01'",
        "tags=['true', '~', '1e-3']",
    ]
    for recipe in (load_recipe(name), load_recipe(name, odd)):
        (tmp_path / "recipe.yaml").write_text(dump_resolved(recipe), encoding="utf-8")
        (tmp_path / "manifest.json").write_text(json.dumps({"recipe": name}), encoding="utf-8")
        assert build_recipe(*read_resolved(tmp_path), where="there") == recipe


# The hash of the science

SOME = load_recipe("notus-7b-v1-lora", ["tokenization=current", "contamination=[a.jsonl]"]).flat()
SOME_SHA256 = "9ea7161045124acbf6aad56f4f6f5578f2262412b24849d1b9b2d56ea482f4f6"
OTHER: dict[str, object] = {
    "model_name_or_path": "org/other",
    "model_revision": "other",
    "torch_dtype": "float16",
    "bf16": False,
    "tokenizer": "org/other",
    "tokenizer_revision": "other",
    "dataset": "org/other",
    "dataset_revision": "other",
    "dataset_format": "pairs",
    "dataset_splits": ["other"],
    "binarize_by": "overall_score",
    "binarize_rejected": "lowest",
    "binarize_min_margin": 0.5,
    "only_sources": ["flan"],
    "drop_sources": ["truthful_qa"],
    "fix_scores": "openbmb",
    "overrides": "overrides.jsonl",
    "contamination": ["b.jsonl"],
    "drop_contaminated": "exact",
    "test_size": 63,
    "leave_out": ["equal_answers"],
    "chat_template": "tokenizer",
    "tokenization": "zephyr-2023",
    "max_length": 1025,
    "max_prompt_length": 511,
    "lora_r": 63,
    "lora_alpha": 63,
    "lora_dropout": 0.5,
    "lora_target_modules": ["q_proj"],
    "beta": 0.11,
    "learning_rate": 1.1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.2,
    "optim": "sgd",
    "weight_decay": 0.1,
    "max_grad_norm": 2.0,
    "num_train_epochs": 4,
    "max_steps": 7,
    "per_device_train_batch_size": 7,
    "gradient_accumulation_steps": 7,
    "num_processes": 7,
    "seed": 43,
    "evaluate": ["preference", "smoke", "chat"],
    "floors": {"chat/mt_bench/score": 7.0, "smoke/kinds/acc": {"under_base": 0.5}},
    "evaluate_limit": 7,
    "evaluate_batch_size": 7,
    "benchmark_data": {"gsm8k": "rows"},
    "benchmark_revisions": {"openai/gsm8k": "other"},
    "benchmark_chat_template": True,
    "benchmark_tasks": ["gsm8k"],
    "sample_answers": 7,
    "answer_tokens": 7,
    "answer_temperature": 0.7,
    "answer_seed": 43,
    "chat_benchmarks": ["mt_bench"],
    "alpaca_annotator": "chatgpt",
    "judge": "other",
    "judge_url": "http://127.0.0.1:8000/v1",
    "judge_usd": [1.0, 2.0],
    "judge_requests": 7,
    "judge_timeout": 7.0,
    "runtime": "venv",
    "accelerator": "any",
    "devices": 3,
    "micro_batch_size": 3,
    "per_device_eval_batch_size": 3,
    "gradient_checkpointing": 2,
    "gradient_checkpointing_kwargs": {"use_reentrant": True},
    "engine": "trl",
    "pack_tokens": 3,
    "fused_kernels": False,
    "attn_implementation": "eager",
    "logging_steps": 3,
    "evaluation_strategy": "no",
    "save_strategy": "epoch",
    "save_steps": 3,
    "save_minutes": 3.0,
    "step_timeout": 3.0,
    "save_total_limit": 3,
    "report_to": ["wandb"],
    "assumed_model_type": "llama",
    "assumed_config": {"vocab_size": 7},
    "assumed_dataset_rows": 3,
    "assumed_mean_tokens": {"prompt": 1, "chosen": 2, "rejected": 3},
    "assumed_gpu": "L4",
    "assumed_gpus": 3,
    "assumed_share_of_peak": 0.5,
    "gpu_hour_usd": 0.7,
    "model_name": "Other",
    "version": "v9",
    "hub_model_id": "org/other",
    "hub_merged_model_id": "org/other",
    "hub_base_model_id": "org/other",
    "hub_dataset_id": "org/other",
    "private": True,
    "license": "mit",
    "dataset_license": "mit",
    "language": ["de"],
    "developers": "Other",
    "banner": "mine.png",
    "banner_alt": "paper planes",
    "story": "Why.",
    "why_name": "So.",
    "license_reason": "as the base's",
    "sources": {"code": "https://example.org"},
    "collection": "Notus",
    "tags": ["other"],
}
FIXED = {"use_peft", "loss_type"}  # have one value only


# Recomputation, and what the plan takes for granted


@pytest.mark.parametrize("asked", [True, False, 1, 2, 32, "auto"])
def test_which_layers_are_recomputed(asked: bool | int | str) -> None:
    found = build_recipe("any", SOME | {"gradient_checkpointing": asked}, where="test")
    assert found.execution.gradient_checkpointing == asked
    assert type(found.execution.gradient_checkpointing) is type(asked)  # 1 is no true, and true no 1
    again = load_recipe("smoke", [f"gradient_checkpointing={json.dumps(asked).strip(chr(34))}"])
    assert again.execution.gradient_checkpointing == asked


@pytest.mark.parametrize("asked", ["0", "-1", "1.5", "2.0", "yes", "null", "[1]", "'true'"])
def test_other_ways_to_say_it_are_refused(asked: str) -> None:
    line = refusal("smoke", f"gradient_checkpointing={asked}")
    assert "gradient_checkpointing: give true, false, auto or every how many layers, not " in line


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "assumed_gpu=A100",
            "assumed_gpu: 'A100' is not among the known ones: A100 40GB, A100 80GB, H100 SXM",
        ),
        ("assumed_mean_tokens={prompt: 1, chosen: 2}", "assumed_mean_tokens: rejected is missing"),
        ("assumed_mean_tokens={prompt: 1, chosen: 2, rejected: 0}", "assumed_mean_tokens"),
        ("assumed_mean_tokens={prompt: 1, chosen: 2, rejected: 3, other: 4}", "assumed_mean_tokens"),
        ("assumed_share_of_peak=1.1", "assumed_share_of_peak"),
        ("assumed_share_of_peak=0", "assumed_share_of_peak"),
        ("assumed_gpus=0", "assumed_gpus"),
        ("gpu_hour_usd=0", "gpu_hour_usd"),
    ],
)
def test_assumptions_that_can_not_be(given: str, said: str) -> None:
    assert said in refusal("smoke", given)


def test_the_tokens_of_one_data_set_are_not_those_of_another() -> None:
    assert load_recipe("notus-7b-v1-lora").execution.assumed_mean_tokens is not None
    assert load_recipe("notus-7b-v1-lora", ["dataset=org/other"]).execution.assumed_mean_tokens is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("floors={accuracy: 0.5}", "floors: 'accuracy' names no figure; write SUITE/TASK/METRIC"),
        ("floors={preference/accuracy: 0.5}", "floors: 'preference/accuracy' names no figure"),
        ("floors={preference//accuracy: 0.5}", "names no figure"),
        ("floors={leadrboard/mmlu/acc: 0.5}", "is of no suite; did you mean 'leaderboard'?"),
        (
            "floors={chat/mt_bench/score: high}",
            "chat/mt_bench/score: give a number or {under_base: x}, x from 0 on, not 'high'",
        ),
        ("floors={chat/mt_bench/score: true}", "give a number or {under_base: x}, x from 0 on, not True"),
        ("floors={chat/mt_bench/score: {below: 1}}", "give a number or {under_base: x}"),
        (
            "floors={chat/mt_bench/score: {under_base: -1}}",
            "give a number or {under_base: x}, x from 0 on, not",
        ),
        ("evaluate=[mmlu]", "evaluate: input should be 'preference', 'smoke', 'leaderboard' or 'chat'"),
        ("judge_usd=[1.0]", "judge_usd: list should have at least 2 items"),
        ("evaluate_limit=0", "evaluate_limit"),
    ],
)
def test_evaluations_that_can_not_be(given: str, said: str) -> None:
    assert said in refusal("smoke", given)


def test_the_suites_of_a_release_are_those_named_and_those_with_floors() -> None:
    floors = "floors={chat/mt_bench/score: 7, preference/heldout/accuracy: {under_base: 0}}"
    found = load_recipe("smoke", ["evaluate=[smoke]", floors]).evaluation
    assert found.suites == ("smoke", "chat", "preference")
    assert [name for name in found.suites if found.against_base(name)] == ["preference"]


def changed(key: str) -> Recipe:
    assert SOME[key] != OTHER[key]
    return build_recipe("any", SOME | {key: OTHER[key]}, where="test")


def test_every_key_has_another_value_to_try() -> None:
    assert set(OTHER) | FIXED == set(SECTION_OF)
    assert sum(len(section.model_fields) for section in SECTIONS.values()) == len(SECTION_OF)


@pytest.mark.parametrize("key", [key for key in OTHER if SECTION_OF[key] == "science"])
def test_each_science_key_changes_the_hash(key: str) -> None:
    assert changed(key).science_sha256 != SOME_SHA256


@pytest.mark.parametrize("key", [key for key in OTHER if SECTION_OF[key] != "science"])
def test_no_other_key_changes_the_hash(key: str) -> None:
    assert changed(key).science_sha256 == SOME_SHA256


def test_no_two_science_keys_change_it_to_the_same() -> None:
    hashes = [changed(key).science_sha256 for key in OTHER if SECTION_OF[key] == "science"]
    assert len(set(hashes)) == len(hashes)


def test_the_hash_does_not_depend_on_spelling_order_or_comments(write: WriteRecipe) -> None:
    lines = yaml.safe_dump(SOME)
    respelt = lines.replace("learning_rate: 5.0e-07\n", "learning_rate: 5E-7  # the same\n")
    respelt = respelt.replace("bf16: true", "bf16: TRUE").replace("\nseed: 42", "\n'seed': +42")
    reordered = yaml.safe_dump(dict(reversed(SOME.items())), sort_keys=False, default_flow_style=True)
    hashes = {
        load_recipe(write(f"recipe{place}", text)).science_sha256
        for place, text in enumerate((lines, respelt, reordered))
    }
    assert [len(respelt.split(new)) for new in ("5E-7", "TRUE", "+42")] == [2, 2, 2]
    assert hashes == {SOME_SHA256}


def test_the_hash_of_today_is_the_hash_of_tomorrow() -> None:
    # Change it only with a reason: run folders made before will be those of another science.
    assert build_recipe("any", SOME, where="test").science_sha256 == SOME_SHA256


def test_the_hash_does_not_depend_on_where_a_local_folder_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = set()
    for place in ("one", "other"):
        (tmp_path / place / "base").mkdir(parents=True)
        (tmp_path / place / "rows.jsonl").touch()
        base = f"{tmp_path}/{place}/base"
        given = [f"model_name_or_path={base}", f"tokenizer={base}", f"dataset={tmp_path}/{place}/rows.jsonl"]
        hashes.add(load_recipe("smoke", given).science_sha256)
    monkeypatch.chdir(tmp_path / "one")
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    for base, rows in (("base", "rows.jsonl"), ("./base/", "../one/rows.jsonl"), ("~/base", "~/rows.jsonl")):
        given = [f"model_name_or_path={base}", f"tokenizer={base}", f"dataset={rows}"]
        hashes.add(load_recipe("smoke", given).science_sha256)
    assert len(hashes) == 1
    (tmp_path / "another").mkdir()
    assert load_recipe("smoke", [f"model_name_or_path={tmp_path}/another"]).science_sha256 not in hashes


def test_a_local_folder_is_not_a_repository_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    local = load_recipe("smoke", [f"model_name_or_path={tmp_path}/base"])
    assert local.science.canonical()["model_name_or_path"] == "local:base"
    hub = load_recipe("smoke", ["model_name_or_path=base"])
    assert hub.science_sha256 != local.science_sha256


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("builtin:tiny-mistral", "builtin"),
        ("org/name", "hub"),
        ("gpt2", "hub"),
        ("/no/such", "local"),
        ("./no", "local"),
        ("../no", "local"),
        ("~/no", "local"),
        ("here", "local"),
    ],
)
def test_where_a_name_points(name: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert source_of(name) == source


# The recipes that ship, against the published facts

ZEPHYR = {
    "model_name_or_path": "alignment-handbook/zephyr-7b-sft-lora",
    "torch_dtype": "auto",
    "bf16": True,
    "dataset": "HuggingFaceH4/ultrafeedback_binarized",
    "dataset_splits": ["train_prefs", "test_prefs"],
    "leave_out": [],
    "chat_template": "zephyr",
    "tokenization": "zephyr-2023",
    "max_length": 1024,
    "max_prompt_length": 512,
    "use_peft": True,
    "lora_r": 64,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "beta": 0.1,
    "loss_type": "sigmoid",
    "learning_rate": 5.0e-7,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.1,
    "optim": "rmsprop",
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "num_train_epochs": 3,
    "max_steps": -1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 32,
    "num_processes": 8,
    "seed": 42,
    "per_device_eval_batch_size": 4,
    "gradient_checkpointing": "auto",  # true, then: which layers are recomputed changes no number
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "evaluation_strategy": "epoch",
    "save_strategy": "no",
}
NOTUS = ZEPHYR | {
    "model_name_or_path": "alignment-handbook/zephyr-7b-sft-full",
    "dataset": "argilla/ultrafeedback-binarized-preferences",
    "dataset_splits": ["train"],
    "test_size": 2000,
}


@pytest.mark.parametrize(("name", "facts"), [("zephyr-7b-beta-lora", ZEPHYR), ("notus-7b-v1-lora", NOTUS)])
def test_the_real_recipes_have_the_published_values(name: str, facts: dict[str, object]) -> None:
    recipe = load_recipe(name)
    flat = recipe.flat()
    assert {key: flat[key] for key in facts} == facts
    assert recipe.science.global_batch_size == 512


def test_notus_differs_from_zephyr_in_base_data_names_and_what_is_asked_of_it_only(cli: Cli) -> None:
    said = cli("recipe", "diff", "zephyr-7b-beta-lora", "notus-7b-v1-lora", "--json").out
    differs = json.loads(said)["differs"]
    base = {"model_name_or_path"}
    data = {"dataset", "dataset_splits", "dataset_format", "assumed_dataset_rows"}
    names = {"model_name", "version", "developers", "hub_model_id", "hub_merged_model_id"}
    told = {"banner", "story", "why_name", "license_reason", "sources"}
    asked = {"evaluate", "floors"}
    assert set(differs) == base | data | names | told | asked
    assert "extends: zephyr-7b-beta-lora" in (RECIPES / "notus-7b-v1-lora.yaml").read_text(encoding="utf-8")


def test_only_pairs_of_ours_have_a_place_on_the_hub() -> None:
    places = {path.stem: load_recipe(path).release.hub_dataset_id for path in RECIPES.glob("*.yaml")}
    assert {name for name, place in places.items() if place} == {"smoke"}
    assert load_recipe("smoke").release.dataset_license == "apache-2.0"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_that_ships_loads(path: Path) -> None:
    assert load_recipe(path) == load_recipe(path.stem)
