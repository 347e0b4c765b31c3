"""A tokenizer is its tokenizer.json, whatever class its configuration names."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from recipe.builtin.tokenizer import train_tokenizer
from recipe.errors import UserError
from recipe.tokenizer import load_tokenizer, refuse_disagreement, save_tokenizer

TEXTS = ["Hello", " Hello", "  Hello", "Hello</s> you", "Hello</s>\n", "<s> Hello", "\nHello", "日本", ""]


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A folder like that of Mistral-7B's tokenizer: of the class LlamaTokenizer, which Transformers 5 rebuilds."""
    train_tokenizer(["Hello you"] * 20).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps(config | {"tokenizer_class": "LlamaTokenizer", "legacy": True}), encoding="utf-8"
    )
    return tmp_path


def test_a_text_is_split_as_the_file_says(llama: Path) -> None:
    file, loaded = Tokenizer.from_file(str(llama / "tokenizer.json")), load_tokenizer(llama)
    for text in TEXTS:
        ids = file.encode(text, add_special_tokens=False).ids
        assert loaded(text, add_special_tokens=False)["input_ids"] == ids
        assert loaded.backend_tokenizer.encode(text, add_special_tokens=False).ids == ids


def test_that_is_more_than_a_detour(llama: Path) -> None:
    # When this fails, Transformers reads the file as it stands again, and AutoTokenizer will do.
    rebuilt, loaded = AutoTokenizer.from_pretrained(llama), load_tokenizer(llama)
    differ = [
        text
        for text in TEXTS
        if rebuilt(text, add_special_tokens=False) != loaded(text, add_special_tokens=False)
    ]
    assert differ


def test_names_of_special_tokens_and_the_template_come_along(llama: Path) -> None:
    loaded = load_tokenizer(llama)
    assert (loaded.eos_token, loaded.eos_token_id, loaded.bos_token, loaded.pad_token) == (
        "</s>",
        2,
        "<s>",
        "</s>",
    )
    assert loaded.chat_template == train_tokenizer(["x"]).chat_template
    assert loaded.is_fast


def test_saved_again_it_is_the_same(llama: Path, tmp_path: Path) -> None:
    loaded = load_tokenizer(llama)
    loaded.save_pretrained(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    for text in TEXTS:
        assert (
            again(text, add_special_tokens=False)["input_ids"]
            == loaded(text, add_special_tokens=False)["input_ids"]
        )


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"model": 3}'])
def test_what_can_t_be_read_is_refused_in_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError) as refused:
        load_tokenizer(tmp_path)
    line = str(refused.value)
    assert line.startswith(f"{tmp_path}: its tokenizer can't be read (")
    assert "\n" not in line


def test_what_is_saved_loads_the_same_by_name_and_says_nothing_of_this_machine(
    llama: Path, tmp_path: Path
) -> None:
    loaded, folder = load_tokenizer(llama), tmp_path / "saved"
    save_tokenizer(loaded, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"  # Transformers 4 has no TokenizersBackend
    assert not {"backend", "is_local", "local_files_only"} & set(config)
    consumer = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert consumer(text)["input_ids"] == loaded(text)["input_ids"]


def test_files_that_disagree_on_a_special_token_are_refused(llama: Path) -> None:
    refuse_disagreement(load_tokenizer(llama))
    path = llama / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    config = json.loads((llama / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["added_tokens_decoder"] = {
        str(token["id"]): {key: value for key, value in token.items() if key != "id"}
        for token in tokenizer["added_tokens"]
    }
    (llama / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    refuse_disagreement(load_tokenizer(llama))
    config["added_tokens_decoder"]["2"]["normalized"] = True
    (llama / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match="differ in normalized of </s>"):
        refuse_disagreement(load_tokenizer(llama))
