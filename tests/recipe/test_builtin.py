"""The embedded sample of feedback and the embedded base model."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipe.builtin import base as base_module
from recipe.builtin import make_feedback, write_feedback
from recipe.builtin.base import build_base
from recipe.builtin.feedback import DEFAULT_PROMPTS, EMPTY_ROWS, EQUAL_ROWS, MIN_PROMPTS
from recipe.builtin.styles import ASPECTS, MODELS
from recipe.builtin.tokenizer import train_tokenizer
from recipe.progress import Reporter
from recipe.prompt.templates import ZEPHYR_CHAT_TEMPLATE

Row = dict[str, Any]


def feedback(prompts: int = DEFAULT_PROMPTS, seed: int = 42) -> list[Row]:
    return cast("list[Row]", make_feedback(prompts, seed))


def mean(completion: Mapping[str, Any]) -> float:
    ratings = [note["Rating"] for note in completion["annotations"].values()]
    numbers = [int(rating) for rating in ratings if rating != "N/A"]
    return sum(numbers) / len(numbers)


def every_completion(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [completion for row in rows for completion in row["completions"]]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return feedback()


# The sample


def test_rows_have_the_raw_schema(rows: list[Row]) -> None:
    assert len(rows) == DEFAULT_PROMPTS >= 320
    for row in rows:
        assert list(row) == [
            "source",
            "instruction",
            "models",
            "correct_answers",
            "incorrect_answers",
            "completions",
        ]
        assert len(row["models"]) == len(row["completions"]) == 4
        assert len(set(row["models"])) == 4
        assert set(row["models"]) <= set(MODELS)
        assert row["models"] == [completion["model"] for completion in row["completions"]]
        assert all(isinstance(text, str) for text in row["correct_answers"] + row["incorrect_answers"])
    assert len(set(MODELS)) == 17
    assert len({row["instruction"] for row in rows}) == len(rows)
    assert len({row["source"] for row in rows}) == 11


def test_completions_have_the_raw_schema(rows: list[Row]) -> None:
    for completion in every_completion(rows):
        assert list(completion) == [
            "model",
            "principle",
            "custom_system_prompt",
            "response",
            "critique",
            "overall_score",
            "annotations",
        ]
        assert type(completion["overall_score"]) is float
        assert 1.0 <= completion["overall_score"] <= 10.0
        assert tuple(completion["annotations"]) == ASPECTS
        for aspect, note in completion["annotations"].items():
            typed = aspect in {"truthfulness", "helpfulness"}
            fields = {"Rating", "Rationale"} | ({"Type", "Rationale For Rating"} if typed else set())
            assert set(note) == fields
            assert note["Rating"] in ({"1", "2", "3", "4", "5"} | ({"N/A"} if aspect == "honesty" else set()))
            assert all(isinstance(kind, str) for kind in note.get("Type", []))


def test_the_fault_of_2023_is_there(rows: list[Row]) -> None:
    faulty = [
        row for row in rows if any(mean(c) <= 2 and c["overall_score"] == 10.0 for c in row["completions"])
    ]
    assert 0.05 <= len(faulty) / len(rows) <= 0.08
    for completion in every_completion(faulty):
        if mean(completion) <= 2 and completion["overall_score"] == 10.0:
            assert {note["Rating"] for note in completion["annotations"].values()} <= {"1", "2"}
            assert not completion["critique"].startswith("The answer is correct")
    # Apart from the fault a bad completion has no high score, and some good ones have a 10.
    bad = [c for c in every_completion(rows) if mean(c) <= 2 and c["overall_score"] < 10.0]
    assert max(c["overall_score"] for c in bad) <= 6.0
    assert sum(c["overall_score"] == 10.0 and mean(c) > 4 for c in every_completion(rows)) > 0


def test_overall_score_often_chooses_another_completion(rows: list[Row]) -> None:
    by_rating = [max(range(4), key=lambda i: mean(row["completions"][i])) for row in rows]
    by_score = [max(range(4), key=lambda i: row["completions"][i]["overall_score"]) for row in rows]
    differ = sum(one != other for one, other in zip(by_rating, by_score, strict=True)) / len(rows)
    assert 0.2 < differ < 0.5


def test_warts_are_counted(rows: list[Row]) -> None:
    assert sum(len({mean(c) for c in row["completions"]}) == 1 for row in rows) == EQUAL_ROWS
    texts = [completion["response"] for completion in every_completion(rows)]
    assert sum(not text for text in texts) == EMPTY_ROWS
    assert sum("</s>" in text for text in texts) == 1
    assert sum(not text.isascii() for text in texts) == 1
    not_applicable = [c for c in every_completion(rows) if c["annotations"]["honesty"]["Rating"] == "N/A"]
    assert len(not_applicable) == round(0.05 * len(rows))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_smallest_sample_has_everything(seed: int) -> None:
    rows = feedback(MIN_PROMPTS, seed)
    texts = [completion["response"] for completion in every_completion(rows)]
    assert any(mean(c) <= 2 and c["overall_score"] == 10.0 for c in every_completion(rows))
    assert any(not text for text in texts)
    assert any("</s>" in text for text in texts)
    assert any(len({mean(c) for c in row["completions"]}) == 1 for row in rows)
    with pytest.raises(ValueError, match="at least"):
        make_feedback(MIN_PROMPTS - 1)


def test_sample_is_the_same_bytes_everywhere(tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / "feedback.jsonl"
    assert write_feedback(path) == rows
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows
    # A change of the sample changes every run made from it: change this digest knowingly.
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest() == SAMPLE_SHA256
    assert feedback(seed=43) != rows


SAMPLE_SHA256 = "27b4d821d43147ed166958d3b4c36f918f987dcdf0acf9e288fe9431514b44a0"


# The base


@pytest.fixture(scope="module")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """Train a base for a few steps only: enough to see what does not depend on the training."""
    out = tmp_path_factory.mktemp("base") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_module, "STEPS", 10)
        return out, build_base(out, make_feedback(48), seed=42, reporter=Reporter(quiet=True))


def test_base_is_a_small_float32_mistral(small_base: tuple[Path, dict[str, object]]) -> None:
    out, measured = small_base
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["MistralForCausalLM"]
    assert cast("int", measured["parameters"]) <= 3_000_000
    with safe_open(out / "model.safetensors", framework="pt") as tensors:
        assert {str(tensors.get_tensor(key).dtype) for key in tensors.keys()} == {"torch.float32"}  # noqa: SIM118
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert len(tokenizer) == config["vocab_size"] == measured["vocab_size"]
    generation = json.loads((out / "generation_config.json").read_text())
    assert (generation["bos_token_id"], generation["eos_token_id"], generation["pad_token_id"]) == (1, 2, 2)
    model = AutoModelForCausalLM.from_pretrained(out)
    assert sum(parameter.numel() for parameter in model.parameters()) == measured["parameters"]


def test_tokenizer_survives_the_folder(small_base: tuple[Path, dict[str, object]]) -> None:
    texts = ["What is 3 + 4?", "Voilà 😊 ▁x", "a  b\n\nc", "<|user|>\nhi</s>\n", " leading"]
    loaded = AutoTokenizer.from_pretrained(small_base[0])
    rows = feedback(48)
    trained = train_tokenizer(
        text for row in rows for text in (row["instruction"], *(c["response"] for c in row["completions"]))
    )
    assert loaded.convert_tokens_to_ids(["<unk>", "<s>", "</s>"]) == [0, 1, 2]
    assert loaded.eos_token == "</s>"
    assert loaded.model_max_length == 1024
    assert loaded.clean_up_tokenization_spaces is False
    for text in texts:
        ids = loaded(text, add_special_tokens=False)["input_ids"]
        assert ids == trained(text, add_special_tokens=False)["input_ids"]
        assert 0 not in ids
        assert loaded(text)["input_ids"] == ids
    for text in ("What is 3 + 4?", "Voilà 😊", "a  b\n\nc"):
        assert loaded.decode(loaded(text)["input_ids"]) == text
    # As in Mistral's: a dummy prefix after every special token.
    assert loaded.convert_ids_to_tokens(loaded("</s>\n")["input_ids"]) == ["</s>", "▁", "\n"]


def test_chat_template_is_zephyrs(small_base: tuple[Path, dict[str, object]]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(small_base[0])
    assert tokenizer.chat_template == ZEPHYR_CHAT_TEMPLATE

    def render(*messages: tuple[str, str], generation: bool = False) -> str:
        turns = [{"role": role, "content": content} for role, content in messages]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation)
        return cast("str", text)

    empty = "<|system|>\n</s>\n"
    assert render(("user", " p\n "), generation=True) == empty + "<|user|>\n p\n </s>\n<|assistant|>\n"
    assert render(("user", "p"), ("assistant", "a")) == empty + "<|user|>\np</s>\n<|assistant|>\na</s>\n"
    assert render(("system", "s"), ("user", "p")) == "<|system|>\ns</s>\n<|user|>\np</s>\n"
    turns = render(("user", "p"), ("assistant", "a"), ("user", "q"), generation=True)
    expected = "<|user|>\np</s>\n<|assistant|>\na</s>\n<|user|>\nq</s>\n<|assistant|>\n"
    assert turns == empty + expected
    with pytest.raises(Exception, match="no role tool"):
        render(("tool", "p"))


def test_build_leaves_torchs_generator_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_module, "STEPS", 10)
    before = torch.random.get_rng_state()
    build_base(tmp_path, make_feedback(16), seed=1, reporter=Reporter(quiet=True))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_base_needs_a_response(tmp_path: Path) -> None:
    silent = [{"instruction": "Speak.", "completions": [{"response": ""}]}]
    with pytest.raises(ValueError, match="no row has a response"):
        build_base(tmp_path, silent, seed=1, reporter=Reporter(quiet=True))


BUILD = """
import json, sys
from pathlib import Path
from recipe.builtin import make_feedback
from recipe.builtin.base import build_base
from recipe.progress import Reporter
print(json.dumps(build_base(Path(sys.argv[1]), make_feedback(), seed=42, reporter=Reporter(quiet=True))))
"""


@pytest.mark.slow
def test_two_processes_build_the_same_base(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    digests, measured = [], []
    for name, hash_seed in (("one", "1"), ("two", "2")):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", BUILD, str(tmp_path / name)],
            check=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        measured.append(json.loads(done.stdout))
        files = sorted(path for path in (tmp_path / name).iterdir())
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    assert digests[0] == digests[1]
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= set(digests[0])
    assert measured[0]["ended"] >= 0.95
    assert measured[0]["loss"] == measured[1]["loss"] < 1.0
