"""Cards: valid for the Hub, the same bytes from the same run, and silent about what no artifact says."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from modelcard.card import Kind, render
from modelcard.facts import MissingFactError, for_others, read_facts
from publish.localhub.card_check import check_card
from recipe.load import load_recipe
from recipe.plan import make_plan
from recipe.run import Run

KINDS: list[Kind] = ["adapter", "merged", "base"]


@pytest.fixture
def run(trained: Path, tiny: Path) -> Run:
    return Run(trained, load_recipe(tiny / "tiny.yaml"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_hub_accepts_the_card(run: Run, kind: Kind) -> None:
    card = render(read_facts(run), kind)
    findings = check_card(card)
    assert findings.errors == []
    assert findings.warnings == []
    assert card == (run.folder / "card" / kind / "README.md").read_text(encoding="utf-8")


def test_metadata_of_both_repositories(run: Run) -> None:
    front = {kind: yaml.safe_load(render(read_facts(run), kind).split("---\n")[1]) for kind in KINDS}
    assert front["adapter"]["library_name"] == "peft"
    assert front["adapter"]["base_model_relation"] == "adapter"
    assert front["merged"]["library_name"] == "transformers"
    assert front["merged"]["base_model_relation"] == "finetune"
    for kind in ("adapter", "merged"):
        assert front[kind]["base_model"] == "notus/tiny-base"
        assert front[kind]["pipeline_tag"] == "text-generation"
        assert front[kind]["license"] == "apache-2.0"
        assert "datasets" not in front[kind]  # a local file is no repository


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_published_pairs_are_named_beside_what_they_were_made_of(
    trained: Path, tiny: Path, tmp_path: Path, kind: Kind
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    recipe = load_recipe(tiny / "tiny.yaml", ["hub_dataset_id=notus/tiny-preferences", "dataset_license=mit"])
    run = Run(tmp_path / "run", recipe)
    inputs = json.loads(run.path("inputs", "inputs.json").read_text())
    inputs["data"] |= {"name": "openbmb/UltraFeedback", "source": "hub", "revision": "c0ffee"}
    run.path("inputs", "inputs.json").write_text(json.dumps(inputs))
    with_data, without = (render(read_facts(run, with_data=asked), kind) for asked in (True, False))
    both = ["notus/tiny-preferences", "openbmb/UltraFeedback"]
    assert yaml.safe_load(with_data.split("---\n")[1])["datasets"] == both
    assert yaml.safe_load(without.split("---\n")[1])["datasets"] == both[1:]
    assert "notus/tiny-preferences" not in without  # it may not be there


def test_the_published_recipe_can_be_planned_where_its_base_is_not(run: Run) -> None:
    facts = read_facts(run)
    plan = make_plan(for_others(facts), count=False)
    assert plan.base_parameters == facts.base.parameters


def test_the_figures_are_the_artifacts(run: Run) -> None:
    card = render(read_facts(run), "adapter")
    metrics = json.loads((run.folder / "training" / "metrics.json").read_text())
    assert f"| loss | {metrics['before']['loss']:.4f} | {metrics['after']['loss']:.4f} |" in card
    data = json.loads((run.folder / "data" / "data.json").read_text())
    assert f"{data['rows_in']} rows, of which" in card
    for reason, count in data["left_out"].items():
        assert f"| {reason.replace('_', ' ')} | {count} |" in card


@pytest.mark.parametrize("artifact", ["training/metrics.json", "data/data.json", "probe/probe.json"])
def test_a_fact_without_its_artifact_raises(trained: Path, tiny: Path, tmp_path: Path, artifact: str) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / artifact).unlink()
    with pytest.raises(MissingFactError, match=Path(artifact).name):
        read_facts(Run(tmp_path / "run", load_recipe(tiny / "tiny.yaml")))
