"""MT-Bench's questions, reference answers and judge prompts: FastChat's files, downloaded at one commit and hashed.

They are not in this repository. A local folder of FastChat's layout, its `fastchat/llm_judge/data`, takes their place.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe.disk import file_sha256
from recipe.errors import UserError
from recipe.schema import canonical_sha256, whole_path

REPOSITORY, COMMIT = "lm-sys/FastChat", "0e6d3e4beaab66f4d3f93db72541a4abab8af28d"
DATA = f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}/fastchat/llm_judge/data"
QUESTIONS, REFERENCES = "mt_bench/question.jsonl", "mt_bench/reference_answer/gpt-4.jsonl"
PROMPTS = "judge_prompts.jsonl"
SHA256 = {
    QUESTIONS: "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
    REFERENCES: "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
    PROMPTS: "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6",
}
TIMEOUT = 60.0  # seconds of a download

WITH_REFERENCE = frozenset({"math", "reasoning", "coding"})  # categories
GRADING = {(reference, turn): f"single{'-math' if reference else ''}-v1{'-multi-turn' if turn == 2 else ''}"
           for reference in (False, True) for turn in (1, 2)}  # fmt: skip
Download = Callable[[str], bytes]


@dataclass(frozen=True)
class Question:
    """A question of two turns, or of one.

    Attributes:
        id: Its `question_id`.
        category: writing, math, ...
        turns: What the user says.
        references: The answers that the judge compares with; none in most categories.
        temperature: That the question itself asks for.
    """

    id: int | str
    category: str
    turns: tuple[str, ...]
    references: tuple[str, ...]
    temperature: float | None


@dataclass(frozen=True)
class Grading:
    """A judge's prompt.

    Attributes:
        name: FastChat's.
        system: What it is told to be.
        template: What it is asked, with FastChat's fields.
    """

    name: str
    system: str
    template: str


@dataclass(frozen=True)
class Benchmark:
    """What MT-Bench is made of.

    Attributes:
        questions: In their order.
        gradings: The judge's prompts, by whether there is a reference, and by the turn.
        path: Where it is from, for results.
        revision: The commit, or a sha256 over local files.
    """

    questions: tuple[Question, ...]
    gradings: Mapping[tuple[bool, int], Grading]
    path: str
    revision: str


def load(local: str | None, kept: Path, download: Download | None = None) -> Benchmark:
    """Return the benchmark.

    Args:
        local: A folder that takes the place of FastChat's.
        kept: Where downloads are kept.
        download: Returns what lies at an address.

    Raises:
        UserError: A file is not there, is not what it should be, or can't be downloaded.
    """
    if local is not None:
        folder = whole_path(local)
        if missing := [name for name in SHA256 if not (folder / name).is_file()]:
            raise UserError(
                f"benchmark_data: mt_bench: {folder} lacks {', '.join(missing)}; name a folder of the layout of "
                "FastChat's fastchat/llm_judge/data"
            )
        revision = canonical_sha256({name: file_sha256(folder / name) for name in SHA256})
        return _read(folder, f"local:{folder.name}", f"sha256:{revision}")
    for name, digest in SHA256.items():
        _bring(name, digest, kept, download or _download)
    return _read(kept, REPOSITORY, COMMIT)


def _bring(name: str, digest: str, kept: Path, download: Download) -> None:
    path = kept / name
    if path.is_file() and file_sha256(path) == digest:
        return
    found = download(f"{DATA}/{name}")
    if hashlib.sha256(found).hexdigest() != digest:
        raise UserError(
            f"mt_bench: {name} of {REPOSITORY} at {COMMIT[:12]} came with another sha256; somebody changes what is "
            "downloaded here, or `benchmark_data: {mt_bench: FOLDER}` names another copy"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(found)


def _download(url: str) -> bytes:
    import httpx2

    try:
        response = httpx2.get(url, timeout=TIMEOUT, follow_redirects=True)
        response.raise_for_status()
    except httpx2.HTTPError as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"mt_bench: {url} can't be downloaded ({said}); connect, or name a copy of FastChat's files with "
            "`benchmark_data: {mt_bench: FOLDER}`"
        ) from None
    return response.content


def _read(folder: Path, path: str, revision: str) -> Benchmark:
    references = {row["question_id"]: row for row in _rows(folder / REFERENCES, ("question_id", "choices"))}
    questions = tuple(
        _question(row, references, folder / QUESTIONS)
        for row in _rows(folder / QUESTIONS, ("question_id", "category", "turns"))
    )
    prompts = {
        row["name"]: row for row in _rows(folder / PROMPTS, ("name", "system_prompt", "prompt_template"))
    }
    if lacking := [name for name in GRADING.values() if name not in prompts]:
        raise UserError(f"{folder / PROMPTS}: no {', '.join(lacking)}; take FastChat's")
    gradings = {
        kind: Grading(name, prompts[name]["system_prompt"], prompts[name]["prompt_template"])
        for kind, name in GRADING.items()
    }
    return Benchmark(questions, gradings, path, revision)


def _question(row: Mapping[str, Any], references: Mapping[Any, Mapping[str, Any]], where: Path) -> Question:
    name, turns = row["question_id"], row["turns"]
    if (
        not isinstance(turns, list)
        or len(turns) not in {1, 2}
        or not all(isinstance(one, str) for one in turns)
    ):
        raise UserError(f"{where}: question {name} has not one or two turns of text")
    found: Sequence[str] = ()
    if row["category"] in WITH_REFERENCE:
        try:
            found = [str(one) for one in references[name]["choices"][0]["turns"]][: len(turns)]
        except (KeyError, IndexError, TypeError):
            found = ()
        if len(found) < len(turns):
            raise UserError(
                f"{where.parent / 'reference_answer'}: no answer to question {name}, which is graded by one"
            )
    temperature = row.get("required_temperature")
    return Question(name, str(row["category"]), tuple(turns), tuple(found), temperature)


def _rows(path: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise UserError(f"{path}:{number}: no JSON; take the file anew") from None
        if not isinstance(row, dict) or (lacking := [key for key in keys if key not in row]):
            raise UserError(
                f"{path}:{number}: no {', '.join(lacking) if isinstance(row, dict) else 'object'}"
            )
        found.append(row)
    return found
