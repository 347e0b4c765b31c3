"""The gate: what must hold before a release may write anything to the Hub; a table, and a line if it does not.

What only describes the model (the cards, and what stands beside them) is written for the release once nothing else
stands against it: a release makes no model.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from publish import conditions, on_hub
from publish.conditions import Candidate, NotYetError
from recipe.errors import UserError
from recipe.made_by import image
from recipe.progress import Reporter
from recipe.run import MANIFEST

Look = Callable[[Candidate], str]
# A later condition takes the place of an earlier one of the same name.
BEFORE: Mapping[str, Look] = {
    "recipe": conditions.releasable,
    "code committed": conditions.committed,
    "git's tag": conditions.tagged,
    "run complete": conditions.complete,
    "one commit": conditions.same_code,
    "one place": conditions.same_place,
    "files as made": conditions.unchanged,
    "evaluated": conditions.evaluated,
    "may publish": on_hub.may_publish,
    "tag on the Hub": on_hub.version_free,
}
AFTER: Mapping[str, Look] = {
    "cards": on_hub.cards_valid,
    "files to publish": on_hub.fit,
    "inspection": on_hub.inspected,
    "tag on the Hub": on_hub.version_same,
}


@dataclass(frozen=True)
class Condition:
    """What became of a condition; `ok` is None where it was not looked at."""

    name: str
    ok: bool | None
    said: str


def gate(wanted: Candidate, reporter: Reporter) -> list[Condition]:
    """Look at every condition, show them as a table, and write what describes the release if nothing stands against it.

    The Hub is only read.

    Raises:
        UserError: One or more conditions don't hold; one line gives all reasons.
    """
    run = wanted.run
    with run.locked() if run.path(MANIFEST).is_file() else nullcontext():
        with reporter.working("looking at code, run and Hub, and hashing what the run made"):
            found = _look(BEFORE, wanted)
        if _failed(found):
            later = {
                name: Condition(name, None, "not before the others hold")
                for name in AFTER
                if name not in found
            }
            found |= later
        else:
            describe(wanted, reporter)
            found |= _look(AFTER, wanted)
    reporter.head(f"release: {wanted.version} of {run.folder}, by {(wanted.code.commit or 'no commit')[:12]}")
    holds = {True: "yes", False: "no", None: "-"}
    reporter.table(
        ("condition", "holds", ""),
        [(one.name, holds[one.ok], one.said) for one in found.values()],
        right=False,
    )
    if failed := _failed(found):
        raise UserError(f"{wanted.version} is not released: {'; '.join(one.said for one in failed)}")
    return list(found.values())


def describe(wanted: Candidate, reporter: Reporter) -> None:
    """Write what describes the release, where it is not as this code writes it; the folder must be locked."""
    for stage in wanted.describing:
        entry = wanted.run.done(stage.name)
        by_this = entry and entry.get("code") == wanted.code.entry() and ("image" in entry) == bool(image())
        # A signature goes by what it signs, and is another one each time it is made.
        if entry and not by_this and stage.name != "signature":
            wanted.run.forget(stage.name)
    wanted.run.bring(wanted.describing, reporter)


def _look(looks: Mapping[str, Look], wanted: Candidate) -> dict[str, Condition]:
    found = {}
    for name, look in looks.items():
        try:
            found[name] = Condition(name, True, look(wanted))
        except UserError as error:
            found[name] = Condition(name, False, str(error))
        except NotYetError as error:
            found[name] = Condition(name, None, str(error))
    return found


def _failed(found: Mapping[str, Condition]) -> list[Condition]:
    return [one for one in found.values() if one.ok is False]
