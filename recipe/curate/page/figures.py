"""What the page's figures are drawn from: the audit without its lists of rows, which the table has."""

import json
import math
from pathlib import Path
from typing import Any

from recipe.errors import UserError

_LISTS = frozenset({"ids", "groups", "completions"})  # of rows or completions, by id


def read_figures(path: Path) -> dict[str, Any]:
    """Return the numbers of an `audit.json`; NaN becomes None.

    Raises:
        UserError: It is missing or broken.
    """
    try:
        audit = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run `notus curate` first") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run `notus curate` again") from error
    if not isinstance(audit, dict):
        raise UserError(f"{path}: not an object; run `notus curate` again")
    found = audit.get("contamination")
    if found and found.get("rows"):
        found["rows"] = {rule: len(ids) for rule, ids in found["rows"].items()}
    return {name: _numbers(value) for name, value in audit.items()}


def script_safe(value: object) -> str:
    """Return JSON in ASCII that may lie in a `<script>`: it holds no `<`."""
    return json.dumps(value, allow_nan=False, sort_keys=True).replace("<", "\\u003c")


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _numbers(one)
            for key, one in value.items()
            if not (key in _LISTS and isinstance(one, list | dict))
        }
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
