"""What a result file says of all of its figures: whose weights, who measured, and by which judge.

Files that Notus wrote say it in an object of their own, `notus`, by sha256. Of others, put into the run folder by hand,
lm-eval's own word is taken, by name.
"""

from typing import Any

from modelcard.facts.harness import Part, is_of_today
from modelcard.facts.scores import By, Imported, Judge, Origin
from recipe.errors import UserError
from recipe.evaluate.result import FORMAT
from recipe.evaluate.subject import Subject, Weights
from recipe.run import Run

HARNESS = ("lm-evaluation-harness", "https://github.com/EleutherAI/lm-evaluation-harness")
OF_2023 = ("lm-eval 0.3", "Open LLM Leaderboard of 2023")  # what such a file was before it was imported
MEASURE = "measure again with `notus evaluate`, or remove it"


def by_hand(content: Part, config: Part, weights: Weights, where: str) -> Origin:
    """Return the origin of figures in a file of lm-eval's that somebody put into the run folder."""
    version = content.get("lm_eval_version") or content.get("git_hash")
    return Origin(
        suite=None,
        weights=weights,
        by=By(HARNESS[0], str(version) if version else None, HARNESS[1]),
        judge=None,
        imported=None,
        limit=config.get("limit"),
        chat_template=bool(content.get("chat_template")),
        of_2023=not is_of_today(content),
        file=where,
    )


def told(run: Run, content: Part, config: Part, where: str) -> Origin:
    """Return the origin that a file's `notus` tells, if it is this run's.

    Raises:
        UserError: It is of other weights or of another recipe, or another Notus wrote it.
    """
    about: Part = content["notus"]
    if about.get("format") != FORMAT:
        raise UserError(
            f"{where}: format {about.get('format')}, and not {FORMAT}: another Notus wrote it; {MEASURE}"
        )
    weights: Weights = _get(about, where, "weights")
    if about.get("science") != run.recipe.science_sha256:
        raise UserError(
            f"{where}: of the recipe {about.get('recipe')} with another science than this run's; {MEASURE}"
        )
    if _get(about, where, "of") != Subject(run, weights).identity:
        raise UserError(f"{where}: of other weights than this run's; {MEASURE}")
    by, judge, imported = _get(about, where, "by"), about.get("judge"), about.get("imported")
    return Origin(
        suite=_get(about, where, "suite"),
        weights=weights,
        by=By(_get(by, where, "name"), by.get("version"), by.get("url")),
        judge=_judge(judge, where) if judge else None,
        imported=Imported(_get(imported, where, "file"), _get(imported, where, "was")) if imported else None,
        limit=about.get("limit", config.get("limit")),
        chat_template=bool(content.get("chat_template")),
        of_2023=imported is not None and imported.get("was") in OF_2023,
        file=where,
    )


def _judge(found: Part, where: str) -> Judge:
    return Judge(
        model=_get(found, where, "model"),
        endpoint=found.get("endpoint"),
        annotator=found.get("annotator"),
        first=found.get("from"),
        last=found.get("to"),
        without_verdict=found.get("without_verdict") or 0,
        judgements=found.get("judgements"),
        answered_as=tuple(found.get("answered_as") or ()),
    )


def _get(part: Part, where: str, key: str) -> Any:
    if key not in part:
        raise UserError(f"{where}: its `notus` has no {key}; {MEASURE}")
    return part[key]
