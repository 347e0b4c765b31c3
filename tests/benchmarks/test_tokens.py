"""The benchmark of tokens: pairs of the lengths that they should have, and for the library what the rule tokenizes."""

import itertools
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks import tokens
from benchmarks.tokens import (
    AROUND,
    PARTS,
    RULES,
    SIDES,
    Setting,
    in_turn,
    lay_out,
    library_texts,
    plain_backend,
    prepare,
    summary,
    whole_run,
)
from recipe.packed import StepPacks
from recipe.progress import Reporter
from recipe.tokenized import lengths_of, tokenize

PAIRS = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was prepared, with a small vocabulary of few words."""
    place = tmp_path_factory.mktemp("tokens")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "VOCABULARY", 2000)
        words = tokens._drawn_words(Random(1))[:80_000]
        patch.setattr(tokens, "_drawn_words", lambda _: words)
        assert prepare(place, PAIRS, None, None) > 1000
    return place


def test_pairs_are_as_long_as_real_ones(folder: Path) -> None:
    setting = Setting(folder, "zephyr-2023")
    rows, _ = tokenize(folder / "train.parquet", setting.tokenizer(), setting.recipe, Reporter(quiet=True))
    medians = dict(zip(SIDES, np.median(lengths_of(rows), axis=0), strict=True))
    assert medians == {
        side: pytest.approx(length, rel=0.1, abs=AROUND[side])
        for side, length in {"prompt": 114, "chosen": 228, "rejected": 208}.items()
    }


@pytest.mark.parametrize("rule", RULES)
def test_the_library_gets_what_the_rule_tokenizes(folder: Path, rule: str) -> None:
    setting = Setting(folder, rule)
    chat, path = setting.tokenizer(), folder / "part-3" / "train.parquet"
    texts = list(itertools.chain.from_iterable(library_texts(chat, path)))
    assert len(texts) == 3 * PAIRS // PARTS
    prompts = plain_backend(setting).encode_batch_fast(texts[::3], add_special_tokens=False)
    recipe = setting.recipe.model_copy(
        update={"science": setting.recipe.science.model_copy(update={"max_length": 10**6})}
    )
    rows, _ = tokenize(path, chat, recipe, Reporter(quiet=True))
    assert [one.ids for one in prompts] == rows["prompt_ids"][:]


def test_figures_are_of_what_was_done(folder: Path) -> None:
    setting = Setting(folder, "current")
    turned = in_turn(setting)
    assert sum(one.pairs for one in turned) == PAIRS
    assert all(one.library.seconds > 0 and one.layout.seconds > 0 for one in turned)
    found = summary(turned)
    assert found["pairs_per_s"] == pytest.approx(PAIRS / sum(one.ours.seconds for one in turned))
    assert 0 < found["share_of_library_rate"] < 3
    whole = whole_run(setting)
    assert whole["cached_s"] < whole["whole_tokens_s"]
    assert whole["peak_gb"] >= whole["peak_of_imports_gb"] > 0


def test_every_step_of_an_epoch_is_laid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting, steps = Setting(folder, "zephyr-2023"), []
    rows, _ = tokenize(folder / "train.parquet", setting.tokenizer(), setting.recipe, Reporter(quiet=True))
    one = StepPacks.__getitem__
    monkeypatch.setattr(StepPacks, "__getitem__", lambda self, step: steps.append(one(self, step)))
    lay_out(rows, setting.recipe)
    assert [sum(laid["pack"].pairs for laid in step) for step in steps] == [PAIRS]  # an epoch is one step
