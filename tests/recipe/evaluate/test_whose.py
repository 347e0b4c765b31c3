"""Whose figures a file holds, where the card's tests do not say it: the base alone, and the leaderboard of 2023."""

from pathlib import Path
from typing import Any

import pytest

from recipe.errors import UserError
from recipe.evaluate.whose import named_by, refuse_older, whose
from recipe.load import load_recipe
from recipe.run import Run


@pytest.fixture
def run(trained: Path, tiny: Path) -> Run:
    return Run(trained, load_recipe(tiny / "tiny.yaml"))


def of(arguments: object) -> dict[str, Any]:
    return {"results": {}, "config": {"model_args": arguments}}


def test_the_base_alone_is_taken_where_it_is_asked_for(run: Run, tiny: Path) -> None:
    for name in ("notus/tiny-base", tiny / "base"):
        content = of(f"pretrained={name}")
        assert whose(run, content, "a.json", ("base",)) == "base"
        with pytest.raises(
            UserError, match=r"^a\.json: .*, this run's base alone, and not of this run's model"
        ):
            whose(run, content, "a.json")


def test_what_is_asked_for_as_the_base_s_must_be_the_base_s(run: Run) -> None:
    for arguments in (
        "pretrained=notus/tiny", "pretrained=notus/tiny-base,peft=notus/tiny-adapter", "pretrained=a/b",
        "pretrained=a/b,peft=notus/tiny-base",
    ):  # fmt: skip
        with pytest.raises(
            UserError, match=r"^a\.json: .*, and not of this run's base \(notus/tiny-base, or"
        ):
            whose(run, of(arguments), "a.json", ("base",), mend="name another")


def test_a_folder_as_a_container_saw_it(run: Run) -> None:
    assert named_by(run, ["/work/runs/tiny/adapter"]) == "adapter"
    assert named_by(run, ["/work/runs/other/adapter"]) is None


def test_the_leaderboard_of_2023_named_the_model_in_its_general_part(run: Run) -> None:
    assert (
        whose(run, {"config_general": {"model_name": "notus/tiny", "model_sha": "0"}}, "a.json") == "merged"
    )


def test_what_was_measured_before_there_were_weights(run: Run, tmp_path: Path) -> None:
    train = run.done("train")
    assert train is not None
    for unknown in (None, "N/A", True, 4e9):
        refuse_older(run, unknown, "a.json")
    with pytest.raises(UserError, match=r"^a\.json: older than this run's weights"):
        refuse_older(run, 1e9, "a.json")
    with pytest.raises(UserError, match="nothing was trained here yet"):
        refuse_older(Run(tmp_path, run.recipe), None, "a.json")
