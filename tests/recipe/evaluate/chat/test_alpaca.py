"""AlpacaEval's instructions and references: of the Hub at a commit, or of a local file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from recipe.errors import UserError
from recipe.evaluate.chat import alpaca
from tests.recipe.evaluate.chat.chat_data import write_alpaca

NAME = "notus/alpaca_eval"
READ = """
import json, sys
from recipe.evaluate.chat import alpaca
alpaca.REPOSITORY = "notus/alpaca_eval"  # a namespace of this Hub's
found = alpaca.load(None, sys.argv[1], sys.argv[2] or None)
print(json.dumps([len(found.rows), found.path, found.config, found.revision, found.generator]))
"""


def read(
    hub: dict[str, str], cache: Path, annotator: str, revision: str = ""
) -> subprocess.CompletedProcess[str]:
    """Read in a process of its own: the Hub's address is read at import."""
    return subprocess.run(
        [sys.executable, "-c", READ, annotator, revision],
        env={**os.environ, **hub, "HF_HUB_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_local_file_is_a_list_or_lines(tmp_path: Path) -> None:
    whole = write_alpaca(tmp_path / "alpaca.json")
    found = alpaca.load(str(whole), "alpaca_eval_gpt4", None)
    assert (len(found.rows), found.path, found.config, found.generator) == (
        20,
        "local:alpaca.json",
        None,
        "written-by-hand",
    )
    assert found.revision.startswith("sha256:")
    lines = tmp_path / "alpaca.jsonl"
    lines.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows))
    assert alpaca.load(str(lines), "alpaca_eval_gpt4", None).rows == found.rows
    assert alpaca.conversations(found.rows)[1] == [
        {"role": "user", "content": "What is the capital of Portugal?"}
    ]


def test_a_line_separator_of_unicode_ends_no_row(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.jsonl"
    path.write_text('{"instruction": "a\u2028b", "output": "c"}\n', encoding="utf-8")
    assert alpaca.rows_of(path) == ({"instruction": "a\u2028b", "output": "c"},)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"instruction": "a"', "neither a JSON list nor JSON lines"),
        (
            '{"instruction": "a", "output": "b"}\n{"instruction": "c"}\n',
            "row 2 has not `instruction` and `output` as text",
        ),
        ('[{"instruction": "a", "output": null}]', "row 1 has not `instruction` and `output` as text"),
        ("[]", "no rows"),
        ("", "no rows"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "alpaca.json"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        alpaca.rows_of(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"benchmark_data: alpaca_eval: .*/no.json can't be read"):
        alpaca.rows_of(tmp_path / "no.json")


def test_it_comes_from_the_hub_at_a_commit(hub: dict[str, str], tmp_path: Path) -> None:
    api = HfApi(endpoint=hub["HF_ENDPOINT"], token=hub["HF_TOKEN"])
    api.create_repo(NAME, repo_type="dataset")
    commits = []
    for number, name in (
        (3, "alpaca_eval.json"),
        (4, "alpaca_eval_gpt4_baseline.json"),
        (5, "alpaca_eval.json"),
    ):
        file = write_alpaca(tmp_path / "rows.json", number)
        made = api.upload_file(path_or_fileobj=file, path_in_repo=name, repo_id=NAME, repo_type="dataset")
        commits.append(made.oid)
    cache = tmp_path / "cache"
    for annotator, revision, expected in (
        (
            "alpaca_eval_gpt4",
            commits[0],
            [3, NAME, "alpaca_eval", commits[0], "written-by-hand"],
        ),
        ("alpaca_eval_gpt4", "", [5, NAME, "alpaca_eval", commits[2], "written-by-hand"]),
        (
            "weighted_alpaca_eval_gpt4_turbo",
            commits[1],
            [4, NAME, "alpaca_eval_gpt4_baseline", commits[1], "written-by-hand"],
        ),
    ):
        ended = read(hub, cache, annotator, revision)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout) == expected
    ended = read(hub, tmp_path / "other", "alpaca_eval_gpt4", "0" * 40)
    assert (
        f"UserError: reading alpaca_eval.json of notus/alpaca_eval at {'0' * 40}: no such revision"
        in ended.stderr
    )
