"""Our audit against the truth about made feedback: figure by figure, and row by row."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from recipe.disk import read_json

COUNTED = {
    "by_source": ("rows", "completions"),
    "by_model": ("completions", "chosen_by_ratings", "chosen_by_score", "score_10_low"),
}
MEANS = ("mean_rating", "mean_score")
CLOSE = 1.01e-4  # means are told to 4 digits
SHOWN = 5  # rows of a mismatch


def mismatches(truth: dict[str, Any], data: Path, by: str, *, left_out: bool) -> list[str]:
    """Return what differs, a line each.

    Args:
        truth: As `uf_truth.Truth` has it.
        data: The folder with audit.json and feedback.parquet.
        by: The rule by which the pairs were made.
        left_out: Whether rejected was the lowest and all was left out that can be, as the truth has it.
    """
    audit = read_json(data / "audit.json")
    feedback = pq.read_table(data / "feedback.parquet", columns=["row", "id", "reason", "flags"]).to_pydict()
    check = _Check(feedback["id"])
    check.equal("rows in order", feedback["row"], list(range(truth["rows"])))
    for name in ("rows", "completions", "ratings", "scores"):
        check.equal(name, audit[name], truth[name])
    for table, names in COUNTED.items():
        check.equal(f"{table} names", sorted(audit[table]), sorted(truth[table]))
        for key, wanted in truth[table].items():
            found = audit[table].get(key, {})
            for name in names:
                check.equal(f"{table}, {key}, {name}", found.get(name), wanted.get(name, 0))
            for name in MEANS:
                check.close(f"{table}, {key}, {name}", found.get(name), wanted[name])
    for name in ("compared", "differs"):
        check.equal(f"choice, {name}", audit["choice"][name], truth["choice"][name])
        for source, wanted in truth["choice"]["by_source"].items():
            check.equal(f"choice, {source}, {name}", audit["choice"]["by_source"][source][name], wanted[name])
    check.equal("ties", audit["ties"], truth["ties"])
    _suspicious(check, audit["suspicious"], truth["suspicious"])
    _duplicates(check, audit["duplicates"], truth["duplicates"])
    _noticed(check, audit["noticed"], truth["noticed"], feedback["flags"])
    if left_out:
        wanted_rows = truth["left_out"][by]
        check.ids("left out", _ids(audit["left_out"]), wanted_rows)
        check.rows("left out, feedback.parquet", _rows_by(feedback["reason"]), wanted_rows)
    return check.found


class _Check:
    """Collects what differs."""

    def __init__(self, ids: list[str]) -> None:
        self.of_row = ids
        self.found: list[str] = []

    def equal(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.found.append(f"{what}: {str(found)[:80]}, and the truth is {str(wanted)[:80]}")

    def close(self, what: str, found: float | None, wanted: float | None) -> None:
        if None in (found, wanted):
            self.equal(what, found, wanted)
        elif abs(found - wanted) > CLOSE:  # type: ignore[operator]
            self.found.append(f"{what}: {found}, and the truth is {wanted}")

    def ids(self, what: str, found: Mapping[str, list[str]], wanted: Mapping[str, list[int]]) -> None:
        """Compare the rows of each name, which the audit tells by id."""
        self._sets(what, found, {name: [self.of_row[row] for row in rows] for name, rows in wanted.items()})

    def rows(self, what: str, found: Mapping[str, list[int]], wanted: Mapping[str, list[int]]) -> None:
        """Compare the rows of each name, which feedback.parquet tells by number."""
        self._sets(what, found, wanted)

    def _sets(self, what: str, found: Mapping[str, list[Any]], wanted: Mapping[str, list[Any]]) -> None:
        for name in sorted({*found, *wanted}):
            ours, theirs = found.get(name, []), wanted.get(name, [])
            if sorted(ours) != sorted(theirs):
                more, less = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
                self.found.append(
                    f"{what}, {name}: {len(ours)} rows, and the truth is {len(theirs)}; "
                    f"too many {more[:SHOWN]}, missing {less[:SHOWN]}"
                )


def _ids(reasons: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    return {name: found["ids"] for name, found in reasons.items()}


def _rows_by(names: list[str | None]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        if name is not None:
            found[name].append(row)
    return found


def _noticed(check: _Check, found: Any, wanted: Any, flags: list[list[str]]) -> None:
    for name in sorted({*found, *wanted}):
        counts = [one.get(name, {"count": 0})["count"] for one in (found, wanted)]
        check.equal(f"noticed, {name}", *counts)
    rows = {name: facts["rows"] for name, facts in wanted.items()}
    check.ids("noticed", _ids(found), rows)
    flagged: dict[str, list[int]] = defaultdict(list)
    for row, names in enumerate(flags):
        for name in names:
            flagged[name].append(row)
    check.rows("flags", flagged, rows)


def _suspicious(check: _Check, found: Any, wanted: dict[str, list[tuple[int, int]]]) -> None:
    check.equal("score_10", found["score_10"], sum(map(len, wanted.values())))
    listed: dict[str, list[Any]] = defaultdict(list)
    for one in found["completions"]:
        listed[one["class"]].append((one["id"], one["completion"]))
    for name, places in wanted.items():
        check.equal(f"score_10, {name}", found[name], len(places))
        check.equal(
            f"score_10, {name}, which ones",
            sorted(listed[name]),
            sorted((check.of_row[row], place) for row, place in places),
        )


def _duplicates(check: _Check, found: Any, wanted: Any) -> None:
    for name in ("prompts", "rows", "responses", "response_groups"):
        check.equal(f"duplicates, {name}", found[name], wanted[name])
    groups = [sorted(check.of_row[row] for row in rows) for rows in wanted["groups"]]
    check.equal("duplicates, which ones", sorted(map(sorted, found["groups"])), sorted(groups))
