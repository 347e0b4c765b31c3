"""What people answered in Argilla, as overrides by row id.

Only answers that their annotator submitted count; drafts and discarded ones do not. Where annotators disagree, the
median of their scores is taken, and a row is left out if more than half of those who answered about it say so.

Argilla's SDK exports records in two ways. The flat one (`dataset.records.to_datasets()`, `to_list(flatten=True)`)
says of each answer whether it was submitted. The nested one (`dataset.to_disk`, `dataset.records.to_json`) only says
whether a record has as many submitted answers as it needs; whose these are is known where one person answered.
"""

import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from pydantic import ValidationError

from recipe.curate.annotate import ASPECT, LEAVE_OUT, NOTE, SCORE
from recipe.curate.overrides import CompletionOverride
from recipe.errors import UserError

EXPORT_LINE = 'dataset.records.to_datasets().to_json("answers.jsonl")'

_RECORD_ID = re.compile(r"([0-9a-f]{16})-(\d{1,9})")
_SUBMITTED, _UNSURE = "submitted", "pending"


@dataclass(frozen=True)
class Imported:
    """What became of the answers. An answer is one annotator's to one record."""

    records: int
    """Records in the export."""
    submitted: int
    """Answers that count; those that do not are of one of the next two."""
    discarded: int
    unfinished: int
    """Drafts, and answers of records that still lack some, if the export does not say which were submitted."""
    completions: int
    """Completions that are overridden."""
    left_out: int
    """Rows that are left out."""
    conflicting: list[str]
    """Records and rows (by their ids) that annotators disagree on."""


class _Answer(NamedTuple):
    """One annotator's answer to one question of a record."""

    question: str
    annotator: str
    value: Any
    status: str


@dataclass
class _Record:
    """The answers to a record by annotator and question, those submitted."""

    row: str
    completion: int
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def values(self, question: str) -> list[Any]:
        """Return all annotators' answers to a question, in the order of their names."""
        return [
            self.answers[name][question] for name in sorted(self.answers) if question in self.answers[name]
        ]

    def __str__(self) -> str:
        return f"{self.row}-{self.completion}"


def import_answers(path: Path, out: Path) -> Imported:
    """Write the answers that `path` holds as overrides to the file `out`.

    Args:
        path: What the SDK exported: a JSON or Parquet file, or a folder of `dataset.to_disk` or of
            `to_datasets().save_to_disk`.
        out: A file that is not there yet.

    Raises:
        UserError: There is no such file, it is no export, a record is not one of `annotate.export_for_argilla`, no
            answer was submitted, it is unclear which were, or `out` is there.
    """
    if out.exists():
        raise UserError(f"{out}: there already; name a file that is not")
    records: dict[str, _Record] = {}
    statuses: Counter[str] = Counter()
    for raw in _read(path):
        record = _record(raw, path, statuses)
        if str(record) in records:
            raise UserError(f"{path}: the record {record} stands there twice; export one data set anew")
        records[str(record)] = record
    conflicting: list[str] = []
    completions = [
        override for record in records.values() if (override := _of_completion(record, path, conflicting))
    ]
    rows = _of_rows(records.values(), conflicting)
    if not completions and not rows:
        raise UserError(
            f"{path}: none of {len(records)} records has a submitted answer; annotate some, and export them again"
        )
    aside = out.with_name(out.name + ".partial")
    aside.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(override) + "\n" for override in (*completions, *rows)]
    aside.write_text("".join(lines), encoding="utf-8")
    aside.replace(out)
    submitted, discarded = statuses.pop(_SUBMITTED, 0), statuses.pop("discarded", 0)
    return Imported(
        len(records), submitted, discarded, statuses.total(), len(completions), len(rows), conflicting
    )


def _record(raw: dict[str, Any], path: Path, statuses: Counter[str]) -> _Record:
    """Return the answers that count, and count all by their status."""
    found = _RECORD_ID.fullmatch(str(raw.get("id")))
    if not found:
        raise UserError(
            f"{path}: the record {str(raw.get('id'))[:40]!r} does not ask about a completion; "
            "give an export of what `notus annotate export` wrote"
        )
    record = _Record(found[1], int(found[2]))
    answers = list(_nested(raw, path) if isinstance(raw.get("responses"), dict) else _flat(raw, path))
    statuses.update({answer.annotator: answer.status for answer in answers}.values())
    for answer in answers:
        if answer.status == _SUBMITTED and answer.value is not None:
            record.answers.setdefault(answer.annotator, {})[answer.question] = answer.value
    return record


def _flat(raw: dict[str, Any], path: Path) -> Iterator[_Answer]:
    """Yield the answers of a record as `to_datasets` and `to_list(flatten=True)` give it: three lists a question."""
    for column, values in raw.items():
        if not column.endswith(".responses") or values is None:
            continue
        lists = (values, raw.get(f"{column}.users"), raw.get(f"{column}.status"))
        if not all(isinstance(one, list) and len(one) == len(values) for one in lists):
            raise UserError(
                f"{path}: record {raw['id']}: {column!r} lacks its users or statuses; export with `{EXPORT_LINE}`"
            )
        for value, user, status in zip(*map(list, lists), strict=True):
            yield _Answer(column.removesuffix(".responses"), str(user), value, str(status))


def _nested(raw: dict[str, Any], path: Path) -> Iterator[_Answer]:
    """Yield the answers of a record as `to_disk` and `to_json` give it: without their statuses."""
    try:
        answers = [
            (question, str(answer["user_id"]), answer["value"])
            for question, its_answers in raw["responses"].items()
            for answer in its_answers
        ]
    except (KeyError, TypeError):
        raise UserError(
            f"{path}: record {raw['id']}: responses without users or values; export with `{EXPORT_LINE}`"
        ) from None
    users = {user for _, user, _ in answers}
    completed = raw.get("status") == "completed"
    if completed and len(users) > 1:
        raise UserError(
            f"{path}: {len(users)} annotators answered the record {raw['id']}, and this kind of export does not say "
            f"which of them submitted; export with `{EXPORT_LINE}`"
        )
    for question, user, value in answers:
        yield _Answer(question, user, value, _SUBMITTED if completed else _UNSURE)


def _of_completion(record: _Record, path: Path, conflicting: list[str]) -> dict[str, Any] | None:
    """Return the override of the record's completion; None if nobody scored it."""
    asked = sorted({question for answers in record.answers.values() for question in answers})
    numbers: dict[str, float] = {}
    for question in asked:
        if question == SCORE or question.startswith(ASPECT):
            values = record.values(question)
            numbers[question] = _median(values, f"{path}: record {record}, {question}")
            if len(set(values)) > 1 and str(record) not in conflicting:
                conflicting.append(str(record))
    if not numbers:
        return None
    override: dict[str, Any] = {"id": record.row, "completion": record.completion}
    if SCORE in numbers:
        override[SCORE] = numbers.pop(SCORE)
    if numbers:
        override["ratings"] = {question.removeprefix(ASPECT): rating for question, rating in numbers.items()}
    override["annotator"] = ", ".join(sorted(record.answers))
    if notes := record.values(NOTE):
        override["note"] = "; ".join(map(str, notes))
    try:
        CompletionOverride.model_validate(override)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{path}: record {record}, {'.'.join(map(str, first['loc']))}"
        raise UserError(
            f"{where}: {first['msg']}, not {first['input']!r}; mend the answer in Argilla"
        ) from None
    return override


def _median(values: list[Any], what: str) -> float:
    """Return the median, as an integer if it is one."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{what}: {value!r} is no number; the question has to be a rating")
    median = statistics.median(values)
    return int(median) if median == int(median) else median


def _of_rows(records: Iterable[_Record], conflicting: list[str]) -> list[dict[str, Any]]:
    """Return an override of each row that most of those who answered about its completions want to leave out."""
    votes: dict[str, dict[str, bool]] = {}
    for record in records:
        for annotator, answers in record.answers.items():
            said = votes.setdefault(record.row, {})
            said[annotator] = said.get(annotator, False) or answers.get(LEAVE_OUT) == LEAVE_OUT
    overrides = []
    for row, said in votes.items():
        against = sorted(annotator for annotator, out in said.items() if out)
        if 0 < len(against) < len(said):
            conflicting.append(row)
        if 2 * len(against) > len(said):
            overrides.append({"id": row, "leave_out": True, "annotator": ", ".join(against)})
    return overrides


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of an export, nested or flat."""
    try:
        if path.suffix == ".parquet":
            records: Any = pl.read_parquet(path).to_dicts()
        elif (path / "dataset_info.json").is_file():
            from datasets import load_from_disk

            records = load_from_disk(str(path)).to_list()
        else:
            file = path / "records.json" if path.is_dir() else path
            records = _read_json(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such export; check the path") from None
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: not an export of Argilla's ({reason}); export with `{EXPORT_LINE}`"
        ) from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise UserError(f"{path}: not a list of records; export with `{EXPORT_LINE}`")
    yield from records


def _read_json(text: str) -> Any:
    if text.lstrip().startswith("["):
        return json.loads(text)
    return [json.loads(line) for line in text.split("\n") if line.strip()]
