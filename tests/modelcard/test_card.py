"""Cards: valid for the Hub, the same bytes from the same run, and silent about what no artifact says."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelcard.card import render
from modelcard.facts import Facts, MissingFactError, for_others, read_facts
from modelcard.facts.data import Data
from modelcard.facts.hardware import Part
from modelcard.metadata import Kind
from modelcard.stage import STAGE
from publish.localhub.card_check import check_card
from recipe.errors import UserError
from recipe.load import load_recipe
from recipe.plan import make_plan
from recipe.progress import Reporter
from recipe.run import Run
from tests.modelcard.full_size import REVISION, full_size
from tests.modelcard.lm_eval import today
from tests.modelcard.measured import Measured
from tests.support import ROOT, Cli

KINDS: list[Kind] = ["adapter", "merged", "base"]
BOTH: list[Kind] = ["adapter", "merged"]
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e3"
    "660000000049454e44ae426082"
)
QUIET = Reporter(quiet=True)


@pytest.fixture
def run(trained: Path, tiny: Path) -> Run:
    return Run(trained, load_recipe(tiny / "tiny.yaml"))


@pytest.fixture
def facts(run: Run) -> Facts:
    return read_facts(run)


@pytest.fixture
def own(trained: Path, tiny: Path, tmp_path: Path) -> Callable[..., Run]:
    """Return a copy of the run that a test may spoil, opened for its recipe with `overrides`."""
    shutil.copytree(trained, tmp_path / "run")
    return lambda *overrides: Run(tmp_path / "run", load_recipe(tiny / "tiny.yaml", overrides))


def front(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


# Metadata


@pytest.mark.parametrize("kind", KINDS)
def test_the_hub_accepts_the_card(run: Run, facts: Facts, kind: Kind) -> None:
    card = render(facts, kind)
    findings = check_card(card)
    assert findings.errors == []
    assert findings.warnings == []
    assert card == (run.folder / "card" / kind / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", BOTH)
def test_the_hub_accepts_the_card_of_the_full_size(facts: Facts, kind: Kind) -> None:
    findings = check_card(render(full_size(facts), kind))
    assert (findings.errors, findings.warnings) == ([], [])
    assert findings.metadata["datasets"] == ["argilla/ultrafeedback-binarized-preferences"]
    assert findings.metadata["base_model"] == "alignment-handbook/zephyr-7b-sft-full"


VALIDATE = """
import sys
from huggingface_hub import ModelCard
for path in sys.argv[1:]:
    ModelCard.load(path).validate()
"""


def test_the_client_s_own_check_passes_against_a_hub(
    own: Callable[..., Run], hub: dict[str, str], tmp_path: Path
) -> None:
    changed = own()
    changed.path("eval").mkdir()
    changed.path("eval", "today.json").write_text(json.dumps(today()))
    cards = [changed.path("card", kind, "README.md") for kind in KINDS]
    for kind, path in zip(KINDS, cards, strict=True):
        path.write_text(render(read_facts(changed), kind))
    ended = subprocess.run(
        [sys.executable, "-c", VALIDATE, *map(str, cards)],
        env=hub | {"HF_HOME": str(tmp_path), "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    cards[0].write_text(cards[0].read_text().replace("license: apache-2.0", "license: mine"))
    refused = subprocess.run(
        [sys.executable, "-c", VALIDATE, str(cards[0])],
        env=hub | {"HF_HOME": str(tmp_path), "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert '"license" must be one of' in refused.stderr


def test_metadata_of_both_repositories(facts: Facts) -> None:
    found = {kind: front(render(facts, kind)) for kind in KINDS}
    assert found["adapter"]["library_name"] == "peft"
    assert found["adapter"]["base_model_relation"] == "adapter"
    assert found["merged"]["library_name"] == "transformers"
    assert found["merged"]["base_model_relation"] == "finetune"
    for kind in BOTH:
        assert found[kind]["base_model"] == "notus/tiny-base"
        assert found[kind]["pipeline_tag"] == "text-generation"
        assert found[kind]["license"] == "apache-2.0"
        assert found[kind]["tags"] == ["dpo", "preference", "lora", "notus"]
        assert "datasets" not in found[kind]  # a local file is no repository
        assert "model-index" not in found[kind]  # nothing was evaluated


@pytest.mark.parametrize("kind", BOTH)
def test_published_pairs_are_named_beside_what_they_were_made_of(own: Callable[..., Run], kind: Kind) -> None:
    changed = own("hub_dataset_id=notus/tiny-preferences", "dataset_license=mit")
    inputs = json.loads(changed.path("inputs", "inputs.json").read_text())
    inputs["data"] |= {"name": "openbmb/UltraFeedback", "source": "hub", "revision": "c0ffee"}
    changed.path("inputs", "inputs.json").write_text(json.dumps(inputs))
    with_data, without = (render(read_facts(changed, with_data=asked), kind) for asked in (True, False))
    both = ["notus/tiny-preferences", "openbmb/UltraFeedback"]
    assert front(with_data)["datasets"] == both
    assert front(without)["datasets"] == both[1:]
    assert "notus/tiny-preferences" not in without  # it may not be there
    assert "datasets/openbmb/UltraFeedback/tree/c0ffee) at `c0ffee`" in without


# Artifacts


def test_the_published_recipe_can_be_planned_where_its_base_is_not(facts: Facts) -> None:
    plan = make_plan(for_others(facts), count=False)
    assert plan.base_parameters == facts.base.parameters


def test_the_figures_are_the_artifacts(run: Run, facts: Facts) -> None:
    card = render(facts, "adapter")
    metrics = json.loads(run.path("training", "metrics.json").read_text())
    assert f"| loss | {metrics['before']['loss']:.4f} | {metrics['after']['loss']:.4f} |" in card
    data = json.loads(run.path("data", "data.json").read_text())
    assert f"| trained on | {data['train']} |" in card
    assert f"| held out | {data['heldout']} |" in card
    assert f"| **in all** | **{data['rows_in']}** |" in card
    for reason, count in data["left_out"].items():
        assert f"| left out: {reason.replace('_', ' ')} | {count} |" in card
    choice = json.loads(run.path("data", "audit.json").read_text())["choice"]
    assert f"in {choice['differs']} of the {choice['compared']} rows that both mark" in card
    assert f"{100 * choice['share']:.1f} %" in card
    probe = json.loads(run.path("probe", "probe.json").read_text())
    assert f"{probe['largest_logit_difference']:.2g} at most" in card
    environment = json.loads(run.path("training", "environment.json").read_text())
    assert f"{len(environment['packages'])} packages" in card
    assert f"| {environment['hardware']['cpu']}, " in card


def test_mean_rewards_are_those_of_the_margin(facts: Facts) -> None:
    rewards = facts.training.rewards
    assert rewards.chosen - rewards.rejected == pytest.approx(facts.training.after.margin, abs=1e-6)


@pytest.mark.parametrize(
    "artifact",
    [
        "adapter/adapter_model.safetensors", "adapter/tokenizer.json", "data/audit.json", "data/data.json",
        "inputs/inputs.json", "merged/config.json", "probe/probe.json", "training/environment.json",
        "training/heldout.parquet", "training/log.jsonl", "training/metrics.json",
    ],
)  # fmt: skip
def test_a_fact_without_its_artifact_raises(own: Callable[..., Run], artifact: str) -> None:
    changed = own()
    changed.path(artifact).unlink()
    with pytest.raises(MissingFactError, match=Path(artifact).name) as refused:
        read_facts(changed)
    assert isinstance(refused.value, UserError)  # a line, and no traceback
    assert str(refused.value).endswith("; make the run anew, in another folder")


@pytest.mark.parametrize(
    ("artifact", "keys"),
    [
        ("data/audit.json", "choice.differs"), ("data/audit.json", "suspicious.low"), ("data/data.json", "left_out"),
        ("inputs/inputs.json", "base.revision"), ("probe/probe.json", "moved_by_training"),
        ("training/environment.json", "hardware.gpus"), ("training/environment.json", "steps"),
        ("training/environment.json", "packages"),
        ("training/metrics.json", "after.margin"), ("training/metrics.json", "tokens.train.prompts_cut"),
    ],
)  # fmt: skip
def test_a_fact_that_its_artifact_lacks_raises(own: Callable[..., Run], artifact: str, keys: str) -> None:
    changed = own()
    content = json.loads(changed.path(artifact).read_text())
    *above, last = keys.split(".")
    part = content
    for key in above:
        part = part[key]
    del part[last]
    changed.path(artifact).write_text(json.dumps(content))
    with pytest.raises(MissingFactError, match=rf"needs {keys}, which {Path(artifact).name} does not have"):
        read_facts(changed)


# The same bytes, offline


def test_the_same_run_has_the_same_bytes_whoever_renders_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 40\nsavefig.facecolor: black\naxes.grid: False\n")
    script = (
        "import sys; from pathlib import Path; from modelcard.stage import STAGE; from recipe.run import Run\n"
        "from recipe.load import load_recipe; from recipe.progress import Reporter\n"
        "run, recipe, out = map(Path, sys.argv[1:])\n"
        "STAGE.work(Run(run, load_recipe(recipe)), out, Reporter(quiet=True))\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, run.folder, run.folder.parent.parent / "tiny.yaml", tmp_path],
        env={"PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(tmp_path), "HOME": "/nowhere", "TZ": "Asia/Tokyo"},
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    first, second = (
        {path.relative_to(top): path.read_bytes() for path in (top / "card").rglob("*") if path.is_file()}
        for top in (run.folder, tmp_path)
    )
    assert first == second
    assert Path("card/merged/curves.png") in first


def test_rendering_needs_no_network(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    assert STAGE.work(run, tmp_path, QUIET)["cards"] == "adapter, merged, base"


def test_no_published_file_names_a_place_of_this_machine(run: Run) -> None:
    for path in (file for file in run.path("card").rglob("*") if file.is_file()):
        for place in (str(run.folder), str(run.folder.parent.parent), str(Path.home()), str(ROOT)):
            assert place.encode() not in path.read_bytes(), path


# What is said


def headings(card: str) -> list[str]:
    return re.findall(
        r"^#+ .*$", re.sub(r"^(`{3,}).*?^\1$", "", card, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("full", [False, True])
def test_the_page_is_well_made(facts: Facts, kind: Kind, full: bool) -> None:
    card = render(full_size(facts) if full else facts, kind)
    body = re.sub(r"^(`{3,}).*?^\1$", "CODE", card.split("---\n", 2)[2], flags=re.DOTALL | re.MULTILINE)
    assert "\n\n\n" not in body
    assert not re.search(r"[ \t]\n", body)
    assert not re.search(r"[^\n]\n#", body)
    assert not card.endswith("\n\n")
    for head, after in re.findall(r"^(#+) .*\n\n(#*)", body, re.MULTILINE):
        assert not after or len(after) > len(head)  # no section is empty
    for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table
        assert f"\n\n{table}" in f"\n\n{body}"
    names = [heading.lstrip("# ") for heading in headings(card)]
    assert len(names) == len(set(names))
    for name in (
        "Model details", "Usage", "Prompt template", "Intended use and limits", "Training data",
        "Training procedure", "Hardware", "Science", "Execution", "Training curves", "Results", "Merged weights",
        "Environment", "How to rebuild it", "How to verify it", "License", "Citation",
    ):  # fmt: skip
        assert name in names


def test_pictures_lie_beside_the_card_and_say_what_they_show(run: Run) -> None:
    for kind in BOTH:
        folder = run.path("card", kind)
        pictures = re.findall(r"!\[(.*)\]\((.*)\)", (folder / "README.md").read_text())
        assert [name for _, name in pictures] == ["curves.png"]  # the recipe names no banner
        for said, name in pictures:
            assert len(said) > 40
            assert (folder / name).read_bytes().startswith(b"\x89PNG")
        assert not (folder / "banner.png").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_notus_s_story_is_on_somebody_else_s_card(facts: Facts, kind: Kind) -> None:
    card = render(facts, kind)
    for word in (
        "Zephyr",
        "south wind",
        "UltraFeedback",
        "ultrafeedback",
        "Argilla",
        "the original",
        "Why the name",
    ):
        assert word not in card, word


def test_an_author_s_own_texts_are_on_both_cards(own: Callable[..., Run]) -> None:
    changed = own(
        "story='It *began* so.'", "why_name='After a cat.'", "license_reason='the cat said so'",
        "developers=A Cat", "sources={Paper: 'https://example.org/paper'}", "license=mit", "language=[de, en]",
    )  # fmt: skip
    for kind in BOTH:
        card = render(read_facts(changed), kind)
        for line in (
            "\n\nIt *began* so.\n\n", "**Why the name?** After a cat.", "- **License:** MIT (the cat said so)",
            "\nMIT: the cat said so.\n", "- **Developed by:** A Cat", "- **Paper:** https://example.org/paper",
            "- **Language(s):** German and English",
        ):  # fmt: skip
            assert line in card, line


def test_the_prompt_template_is_the_tokenizer_s(facts: Facts) -> None:
    assert f"```\n{facts.prompt_template}```\n" in render(facts, "adapter")
    odd = replace(facts, prompt_template="```\n\n\n{prompt}  \n")
    assert "````\n```\n\n\n{prompt}  \n````\n" in render(odd, "adapter")


def data_with(facts: Facts, **changes: Any) -> str:
    card = render(replace(facts, data=replace(facts.data, **changes)), "adapter")
    return card.partition("## Training data")[2].partition("## Training procedure")[0]


def test_pairs_that_arrived_as_pairs_have_no_figures_of_how_they_were_made(facts: Facts) -> None:
    said = data_with(facts, format="pairs", by=None, rejected=None, choice=None, top_scores=None)
    assert "The rows arrived as pairs." in said
    assert "overall_score" not in said
    assert "The rows arrived" not in data_with(facts)


def test_what_was_done_to_the_feedback_is_said(facts: Facts) -> None:
    said = data_with(
        facts, by="overall_score", min_margin=0.5, rated_backwards=1, heldout_prompts_in_train=2,
        fixed={"to_1": 104, "kept": 105, "to_annotate": 106},
        corrected={"rows": 107, "completions": 1, "left_out": 0},
    )  # fmt: skip
    for line in (
        "the highest `overall_score`; the rejected one is drawn at random from the worse ones, worse by at least 0.5.",
        "Going by the mean of the aspect ratings instead",
        "104 of these scores were set to 1 and 105 kept; 106 would",
        "People corrected 1 answer in 107 rows.",
        "In 1 pair the rejected answer has the higher rating",
        "2 held-out pairs have a prompt that a training pair has too.",
    ):
        assert line in said, line
    assert data_with(facts).count("rejected answer has") == 0


def test_truncation_and_dropout_are_said(facts: Facts) -> None:
    training = facts.training
    cut = replace(
        facts, training=replace(training, cuts=replace(training.cuts, prompts=1, answers=20, equal=3))
    )
    assert "1 prompt lost its beginning and 20 answers their end; 3 pairs are equal" in render(cut, "merged")
    assert "lost" not in render(facts, "merged")
    assert "`lora_dropout` has no effect" in render(full_size(facts), "adapter")
    assert "`lora_dropout` has no effect" not in render(facts, "adapter")


def test_the_original_run_stands_beside_one_of_the_same_science_only(
    own: Callable[..., Run], facts: Facts
) -> None:
    card = render(full_size(facts), "merged")
    for line in (
        "| held-out loss | ", " | 0.64321 |", " | 5 h 10 min |", " | 61,619 | 61,619 |", " | 8 x A100 40GB in GCP |",
        "over 252 held-out pairs", "| AlpacaEval (804 prompts, standard error 0.99) | 91.42 | 90.60 |",
        "none of these figures is this model's", "> **TruthfulQA:** UltraFeedback, of which these data were made",
        "| trained on | 8 x NVIDIA A100-SXM4-40GB, 39 GiB each |", "| driver | 580.95.05 |",
        f"zephyr-7b-sft-full/tree/{REVISION}) at `{REVISION}`", "Notus is the south wind",
    ):  # fmt: skip
        assert line in card, line
    assert read_facts(own()).original is None
    from modelcard.facts.original import original_of

    assert original_of(load_recipe("notus-7b-v1-lora")) is not None
    assert original_of(load_recipe("notus-7b-v1-lora", ["micro_batch_size=1", "version=v9"])) is not None
    for other in ("seed=1", "learning_rate=1e-6", "dataset=a/b", "model_name_or_path=a/b"):
        assert original_of(load_recipe("notus-7b-v1-lora", [other])) is None


def test_only_what_was_used_is_cited(facts: Facts) -> None:
    always = {"rafailov2023dpo", "hu2022lora", "vonwerra2020trl", "mangrulkar2022peft"}
    both = {"tunstall2023zephyr", "tunstall2023handbook"}
    cited = {name: set(re.findall(r"^@\w+\{(\w+),", render(one, "adapter"), re.MULTILINE)) for name, one in {
        "tiny": facts, "full": full_size(facts),
        "base": replace(facts, base=replace(facts.base, name="someone/Zephyr-tuned")),
        "data": replace(facts, data=replace(facts.data, name="me/my_ultra-feedback")),
    }.items()}  # fmt: skip
    assert cited == {
        "tiny": always, "full": always | both | {"cui2023ultrafeedback"}, "base": always | both,
        "data": always | {"cui2023ultrafeedback"},
    }  # fmt: skip


def test_a_training_that_went_on_elsewhere_says_so(facts: Facts) -> None:
    alone = render(facts, "adapter")
    assert "the adapter is then the same to the byte" in alone
    assert "in parts" not in alone
    parts = (Part(1, 8, "A100", "packed", "4096 tokens"), Part(41, 4, "H100", "trl", "2 pairs"))
    moved = render(replace(facts, environment=replace(facts.environment, parts=parts)), "adapter")
    assert (
        "| in parts | from step 1 on 8 x A100 (packed, 4096 tokens), from step 41 on 4 x H100 (trl, 2 pairs) |"
        in moved
    )
    assert (
        "went on elsewhere or in another layout, after step 40: rebuilt in one place, "
        "the losses are the same but for rounding" in moved
    )
    assert "the same to the byte" not in moved


def test_the_image_is_how_to_rebuild_it(facts: Facts) -> None:
    def of(**image: str) -> str:
        known = {"digest": None, "revision": None, "build": None, **image}
        return render(replace(facts, environment=replace(facts.environment, image=known)), "adapter")

    pulled = of(digest="registry/notus@sha256:f00d", revision="beef")
    assert "- **Image:** `registry/notus@sha256:f00d`\n" in pulled
    assert "docker pull registry/notus@sha256:f00d\nhf download notus/tiny-adapter recipe.yaml" in pulled
    built = of(digest="sha256:f00d", revision="beef", build="nox -s image -- --target cpu")
    assert "git checkout beef\nnox -s image -- --target cpu\nhf download" in built
    assert "whose digest was not given" in of(revision="beef")
    assert "trained outside of the image" in of()


@pytest.mark.parametrize("kind", KINDS)
def test_how_to_verify_is_a_command_of_this_repository(facts: Facts, kind: Kind) -> None:
    repo = {"adapter": "notus/tiny-adapter", "merged": "notus/tiny", "base": "notus/tiny-base"}[kind]
    card = render(facts, kind)
    assert f"\nnotus verify {repo} --revision v0.1.0\n" in card
    assert f"\nnotus verify {repo} --revision v0.1.0 --public-key KEY.pub\n" in card
    assert f"\nhf download {repo} --revision v0.1.0 --local-dir release\n" in card


def test_the_code_of_the_card_runs(run: Run, facts: Facts) -> None:
    blocks = re.findall(r"```python\n(.*?)```", render(facts, "merged"), re.DOTALL)
    code = "\n".join(blocks).replace('"notus/tiny", revision="v0.1.0"', repr(str(run.path("merged"))))
    exec(compile(code.replace("max_new_tokens=128", "max_new_tokens=2"), "card", "exec"), {})


# The banner


@pytest.fixture
def banner(tmp_path: Path) -> Path:
    (tmp_path / "mine.png").write_bytes(PIXEL)
    return tmp_path / "mine.png"


def test_a_banner_of_the_author_s(own: Callable[..., Run], banner: Path, tmp_path: Path) -> None:
    changed = own(f"banner={banner}", "banner_alt='A [small]\n  dot'")
    STAGE.work(changed, tmp_path / "out", QUIET)
    for kind in BOTH:
        folder = tmp_path / "out" / "card" / kind
        assert (folder / "banner.png").read_bytes() == PIXEL
        body = (folder / "README.md").read_text().split("---\n", 2)[2]
        assert body.startswith("\n![A \\[small\\] dot](banner.png)\n\n# Model Card")
    recipe = (tmp_path / "out" / "card" / "adapter" / "recipe.yaml").read_text()
    assert yaml.safe_load(recipe)["banner"] == "./banner.png"
    assert not (tmp_path / "out" / "card" / "base" / "banner.png").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["banner=builtin:zephyr"], "builtin:zephyr is none; give builtin:notus, or a PNG of yours"),
        (["banner=HERE/mine.png"], "mine.png needs `banner_alt`"),
        (["banner=HERE/none.png", "banner_alt=x"], "none.png can't be read (No such file"),
        (["banner=HERE/tiny.yaml", "banner_alt=x"], "tiny.yaml is no PNG; save it as one"),
    ],
)
def test_a_banner_that_can_t_be_used_is_refused_before_any_work(
    cli: Cli, tiny: Path, banner: Path, tmp_path: Path, values: list[str], said: str
) -> None:
    shutil.copy(tiny / "tiny.yaml", tmp_path)
    options = [part for value in values for part in ("--set", value.replace("HERE", str(tmp_path)))]
    ended = cli("card", tiny / "tiny.yaml", "--run", tmp_path / "new", *options)
    assert said in ended.mistake
    assert not (tmp_path / "new").exists()


def test_cards_are_written_again_when_results_or_banner_change(own: Callable[..., Run], banner: Path) -> None:
    changed = own(f"banner={banner}", "banner_alt=A dot.")

    def ran() -> object:
        return changed.bring((STAGE,), QUIET)["card"]["ran"]

    assert (ran(), ran()) == (True, False)
    banner.write_bytes(PIXEL + b"\0")
    assert (ran(), ran()) == (True, False)
    changed.path("eval").mkdir()
    changed.path("eval", "today.json").write_text(json.dumps(today()))
    assert (ran(), ran()) == (True, False)
    assert "| MMLU | 5 | acc | 63.03\u00a0±\u00a00.39 |" in changed.path("card/merged/README.md").read_text()
    changed.path("eval", "today.json").unlink()
    assert ran()
    answers = Measured(changed).preference().with_name("samples.jsonl")
    assert (ran(), ran()) == (True, False)
    answers.write_text(answers.read_text().replace("Question", "Riddle"))
    assert (ran(), ran()) == (True, False)
    assert "Riddle 0?" in changed.path("card/merged/README.md").read_text()
    assert "MMLU" not in changed.path("card/merged/README.md").read_text()


def test_a_result_that_can_t_be_used_stops_the_stage_with_its_name(own: Callable[..., Run]) -> None:
    changed = own()
    changed.path("eval").mkdir()
    changed.path("eval", "other.json").write_text("{}")
    with pytest.raises(UserError, match=r"^eval/other\.json: "):
        changed.bring((STAGE,), QUIET)


# TruthfulQA


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"rows_by_source": {"truthful_qa": 811, "flan": 9}},
            "hold prompts of TruthfulQA (811 rows of the source `tru",
        ),
        ({"rows_by_source": {"truthful_qa": 811}, "drop_sources": ("truthful_qa",)}, "left out the 811 rows"),
        ({"rows_by_source": {"truthful_qa": 811}, "only_sources": ("flan",)}, "left out the 811 rows"),
        ({"rows_by_source": {"flan": 9}, "drop_sources": ("truthful_qa",)}, "there were none"),
        (
            {"name": "argilla/ultrafeedback-binarized-preferences"},
            "UltraFeedback, of which these data were made",
        ),
        ({"name": "someone/pairs"}, "was not counted in this run"),
    ],
)
def test_what_the_data_say_of_truthfulqa(facts: Facts, changes: dict[str, Any], said: str) -> None:
    from modelcard.truthfulqa import truthfulqa_note

    assert said in truthfulqa_note(replace(facts.data, **changes))


def test_counted_overlaps_with_truthfulqa_are_told(facts: Facts) -> None:
    from modelcard.facts.data import Overlap
    from modelcard.truthfulqa import truthfulqa_note

    counted: Data = replace(
        facts.data, overlaps={"TruthfulQA.csv": Overlap(817, 5, 6, 7), "arc.jsonl": Overlap(1, 1, 1, 1)}
    )
    said = truthfulqa_note(counted)
    assert "817 texts of `TruthfulQA.csv`, 5 prompts are equal to one, 6 more share 13 words" in said
    assert said.endswith("They were kept.")
    assert "arc" not in said
    assert truthfulqa_note(replace(counted, drop_contaminated="8-gram")).endswith(
        "All of them were left out."
    )
    assert truthfulqa_note(replace(counted, drop_contaminated="exact")).endswith(
        "The equal ones were left out."
    )
