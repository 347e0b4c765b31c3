"""AlpacaEval's instructions and reference outputs: from the Hub at one commit, or from a local file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe.disk import file_sha256
from recipe.errors import UserError
from recipe.hub import hub_errors
from recipe.schema import is_commit, whole_path

REPOSITORY = "tatsu-lab/alpaca_eval"
# AlpacaEval 2's annotator, which compares with GPT-4 Turbo's outputs; all others do with text-davinci-003's.
SECOND = "weighted_alpaca_eval_gpt4_turbo"
FILES = {True: "alpaca_eval_gpt4_baseline.json", False: "alpaca_eval.json"}

Row = dict[str, Any]


@dataclass(frozen=True)
class References:
    """What a model's outputs are compared with.

    Attributes:
        rows: `instruction`, `output`, perhaps `generator` and `dataset`.
        path: Where they are from, for results.
        config: The data set's configuration.
        revision: The commit, or the sha256 of a local file.
    """

    rows: tuple[Row, ...]
    path: str
    config: str | None
    revision: str

    @property
    def generator(self) -> str:
        """What wrote the outputs; several names if it was several."""
        return ", ".join(dict.fromkeys(str(row.get("generator") or "unknown") for row in self.rows))


def file_of(annotator: str) -> str:
    """Return the file on the Hub that an annotator compares with."""
    return FILES[annotator == SECOND]


def load(local: str | None, annotator: str, revision: str | None) -> References:
    """Return the reference outputs.

    Args:
        local: A file that takes the place of the data set's.
        annotator: What will compare with them.
        revision: The data set's commit; None takes the one that its main branch has now.

    Raises:
        UserError: There is no such file, or it is not what it should be.
    """
    if local is not None:
        path = whole_path(local)
        return References(rows_of(path), f"local:{path.name}", None, f"sha256:{file_sha256(path)}")
    from huggingface_hub import hf_hub_download

    name = file_of(annotator)
    with hub_errors(f"reading {name} of {REPOSITORY}{f' at {revision}' if revision else ''}"):
        path = Path(hf_hub_download(REPOSITORY, name, repo_type="dataset", revision=revision))
    commit = next(
        (part for part in reversed(path.parts) if is_commit(part)), None
    )  # of its place in the cache
    if commit is None:
        raise UserError(f"{path}: of no commit of {REPOSITORY}; name one with `benchmark_revisions`")
    return References(rows_of(path), REPOSITORY, Path(name).stem, commit)


def rows_of(path: Path) -> tuple[Row, ...]:
    """Return the rows of a JSON list or of JSON lines.

    Raises:
        UserError: There is no such file, or a row lacks what it needs.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(
            f"benchmark_data: alpaca_eval: {path} can't be read ({said}); name a JSON file of rows"
        ) from None
    try:
        lines = [line for line in text.split("\n") if line.strip()]
        rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in lines]
    except ValueError as error:
        raise UserError(f"{path}: neither a JSON list nor JSON lines ({error})") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) for key in ("instruction", "output")
        ):
            raise UserError(
                f"{path}: row {number} has not `instruction` and `output` as text, as AlpacaEval's have"
            )
    if not rows:
        raise UserError(f"{path}: no rows")
    return tuple(rows)


def conversations(rows: Sequence[Row]) -> list[list[dict[str, str]]]:
    """Return what the model is asked."""
    return [[{"role": "user", "content": row["instruction"]}] for row in rows]
