"""What a result file says of all of its figures: whose weights, who measured, and by which judge.

Files that Notus wrote say it in an object of their own, `notus`, by sha256. Of others, put into the run folder by hand,
lm-eval's own word is taken, by name.
"""

from typing import TypeGuard, get_args

from modelcard.facts.harness import is_of_today
from modelcard.facts.reading import MEASURE, Part, Reading, is_finite
from modelcard.facts.scores import By, Imported, Judge, Origin
from recipe.errors import UserError
from recipe.evaluate.result import FORMAT
from recipe.evaluate.subject import Subject, Weights
from recipe.run import Run

HARNESS = ("lm-evaluation-harness", "https://github.com/EleutherAI/lm-evaluation-harness")
OF_2023 = ("lm-eval 0.3", "Open LLM Leaderboard of 2023")  # what such a file was before it was imported


def by_hand(content: Part, config: Part, weights: Weights, where: str) -> Origin:
    """Return the origin of figures in a file of lm-eval's that somebody put into the run folder."""
    version = content.get("lm_eval_version") or content.get("git_hash")
    return Origin(
        suite=None,
        weights=weights,
        by=By(HARNESS[0], str(version) if version else None, HARNESS[1]),
        judge=None,
        imported=None,
        limit=limit if is_finite(limit := config.get("limit")) else None,
        chat_template=bool(content.get("chat_template")),
        of_2023=not is_of_today(content),
        file=where,
    )


def told(run: Run, content: Part, config: Part, where: str) -> Origin:
    """Return the origin that a file's `notus` tells, if it is this run's.

    Raises:
        UserError: It is of other weights or of another recipe, or another Notus wrote it.
    """
    about = Reading(where, "its `notus`", content["notus"])
    if (found := about.any("format")) != FORMAT:
        raise UserError(f"{where}: format {found}, and not {FORMAT}: another Notus wrote it; {MEASURE}")
    weights = about.text("weights")
    if not is_weights(weights):
        raise UserError(f"{where}: of the weights {weights!r}, which are none; {MEASURE}")
    if about.any("science") != run.recipe.science_sha256:
        raise UserError(
            f"{where}: of the recipe {about.any('recipe')} with another science than this run's; {MEASURE}"
        )
    if about.any("of") != Subject(run, weights).identity:
        raise UserError(f"{where}: of other weights than this run's; {MEASURE}")
    by, judge, imported = about.inner("by"), about.inner_or_none("judge"), about.inner_or_none("imported")
    was = imported.text("was") if imported else None
    return Origin(
        suite=about.text("suite"),
        weights=weights,
        by=By(by.text("name"), by.text_or_none("version"), by.text_or_none("url")),
        judge=_judge(judge) if judge else None,
        imported=Imported(imported.text("file"), was) if imported and was is not None else None,
        limit=about.number_or_none("limit") or Reading(where, "its config", config).number_or_none("limit"),
        chat_template=bool(content.get("chat_template")),
        of_2023=was in OF_2023,
        file=where,
    )


def is_weights(name: str) -> TypeGuard[Weights]:
    """Whether it is one of the weights that a run has."""
    return name in get_args(Weights)


def _judge(found: Reading) -> Judge:
    return Judge(
        model=found.text("model"),
        endpoint=found.text_or_none("endpoint"),
        annotator=found.text_or_none("annotator"),
        first=found.text_or_none("from"),
        last=found.text_or_none("to"),
        without_verdict=found.count_or_none("without_verdict") or 0,
        judgements=found.count_or_none("judgements"),
        answered_as=found.texts("answered_as"),
    )
