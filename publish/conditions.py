"""The conditions of a release: each says what it found, and raises a `UserError` where it does not hold.

Here those of the code and of the run; those that ask the Hub, or look at the files as they would be published, are in
`publish.on_hub`. Another one is a function, and a line in `publish.gate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from publish.contents import BESIDE, Repo, repositories
from publish.evaluated import rests_on, shortcomings
from publish.release import refuse_unreleasable
from publish.retry import PatientHub
from recipe.code import Code, code_of, commit_of_tag
from recipe.disk import file_sha256
from recipe.errors import UserError
from recipe.evaluate.stage import suite_of
from recipe.made_by import image
from recipe.run import Run, Stage

# Stages that make no model. Their outputs name the version, and so are written for the release that names it.
DESCRIBE = ("dataset", *BESIDE)


class NotYetError(Exception):
    """A condition that can't be looked at before others hold; says which."""


@dataclass(frozen=True)
class Candidate:
    """What may become a release.

    Attributes:
        run: The run, opened with the release's recipe and version.
        stages: All that it takes, in order.
        hub: Is asked as who publishes.
        with_data: Whether the pairs are part of it.
        code: What runs now.
        tagged: The commit that git has a tag of the version's name at, if there is one.
    """

    run: Run
    stages: tuple[Stage, ...]
    hub: PatientHub
    with_data: bool = False
    code: Code = field(default_factory=Code)
    tagged: str | None = None

    @property
    def version(self) -> str:
        """The tag to be."""
        return self.run.recipe.release.version

    @cached_property
    def repos(self) -> list[Repo]:
        """The repositories with their files; not to be asked for before what describes the release is written."""
        return repositories(self.run, with_data=self.with_data)

    @property
    def making(self) -> tuple[Stage, ...]:
        """The stages that make the model."""
        return tuple(stage for stage in self.stages if stage.name not in DESCRIBE)

    @property
    def describing(self) -> tuple[Stage, ...]:
        """The stages that say what it is."""
        return tuple(stage for stage in self.stages if stage.name in DESCRIBE)


def candidate(run: Run, stages: Sequence[Stage], hub: PatientHub, *, with_data: bool) -> Candidate:
    """Return a run as a candidate, with the code that runs and what git has of its version."""
    return Candidate(run, tuple(stages), hub, with_data, code_of(), commit_of_tag(run.recipe.release.version))


def releasable(wanted: Candidate) -> str:
    """Hold that anyone else can make it again and load it."""
    refuse_unreleasable(wanted.run.recipe, with_data=wanted.with_data)
    return f"{wanted.run.recipe.name} is pinned"


def committed(wanted: Candidate) -> str:
    """Hold that the code is a commit's, nothing more and nothing less."""
    code = wanted.code
    if code.commit is None or code.changed is None:
        raise UserError(
            "no commit is known of the code that runs; release from a git checkout, or by an image that nox built"
        )
    if code.changed:
        raise UserError(
            f"the code is not as committed ({few(code.changed)}); commit, ignore or remove {them(code.changed)}"
        )
    return f"{code.commit[:12]}, and nothing else"


def tagged(wanted: Candidate) -> str:
    """Hold that git has no other commit under the version's name."""
    if wanted.tagged not in {None, wanted.code.commit}:
        raise UserError(
            f"git has the tag {wanted.version} at {str(wanted.tagged)[:12]}, and the code is of "
            f"{str(wanted.code.commit)[:12]}; check that tag out, or take another --tag"
        )
    return "is at this commit" if wanted.tagged else f"there is no {wanted.version}"


def complete(wanted: Candidate) -> str:
    """Hold that every stage that makes the model is done, for this recipe."""
    wrong = [stage.name for stage in wanted.making if not wanted.run.is_current(stage)]
    if wrong:
        raise UserError(
            f"{wanted.run.folder}: {few(wrong)} not done or not up to date, and a release makes no model; "
            + ("`notus evaluate` does" if all(map(suite_of, wrong)) else "`notus card` does")
        )
    return f"{', '.join(stage.name for stage in wanted.making)} up to date"


def same_code(wanted: Candidate) -> str:
    """Hold that every stage that makes the model was done by the commit that releases it."""
    here, others = wanted.code.commit, dict[str, list[str]]()
    for name, entry in _entries(wanted).items():
        code = entry.get("code") or {"commit": None}
        if code["commit"] is None:
            others.setdefault("no known commit", []).append(name)
        elif code["commit"] != here or code["clean"] is not True:
            by = code["commit"][:12] + ("" if code["clean"] else " with changes")
            others.setdefault(by, []).append(name)
    if others:
        said = ", ".join(f"{', '.join(names)} by {by}" for by, names in others.items())
        raise UserError(
            f"the run was made by other code than {(here or 'none')[:12]} ({said}); release with the commit that made "
            "it, or make it anew in another folder"
        )
    return "every stage by this commit"


def same_place(wanted: Candidate) -> str:
    """Hold that all was made in the image, as this is, or nothing."""
    inside = {name: "image" in entry for name, entry in _entries(wanted).items()}
    inside["this release"] = bool(image())
    if len(set(inside.values())) > 1:
        one, other = ([name for name, was in inside.items() if was is wanted_] for wanted_ in (True, False))
        raise UserError(
            f"{', '.join(one)} in the image, and {', '.join(other)} not; use one --runtime for all of them"
        )
    return "all in the image" if inside["this release"] else "all without the image"


def unchanged(wanted: Candidate) -> str:
    """Hold that every file that the stages made has the bytes that they made."""
    wrong, count = [], 0
    for entry in _entries(wanted).values():
        for name, facts in entry["outputs"].items():
            path, count = wanted.run.path(name), count + 1
            if not path.is_file() or file_sha256(path) != facts["sha256"]:
                wrong.append(name)
    if wrong:
        raise UserError(f"{wanted.run.folder}: not as made: {few(wrong)}; make the run anew, or get it again")
    return f"{count} files have the sha256 of the manifest"


def evaluated(wanted: Candidate) -> str:
    """Hold that the model was measured by the suites that the recipe names, and is as good as it asks."""
    asked = wanted.run.recipe.evaluation
    if wrong := shortcomings(wanted.run):
        raise UserError("; ".join(wrong))
    if not asked.suites:
        return "the recipe asks for nothing"
    floors = f", {len(asked.floors)} floors met" if asked.floors else ""
    return f"{', '.join(rests_on(wanted.run))}{floors}"


def _entries(wanted: Candidate) -> dict[str, dict[str, Any]]:
    """Return the manifest's entries of the stages that make the model, those that were done.

    Raises:
        NotYetError: There are none.
    """
    found = {stage.name: wanted.run.done(stage.name) for stage in wanted.making}
    entries = {name: entry for name, entry in found.items() if entry}
    if not entries:
        raise NotYetError("there is no run")
    return entries


def few(names: Sequence[str], between: str = ", ") -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{between.join(names[:3])}{more}"


def them(names: Sequence[str]) -> str:
    """Return what to call them after."""
    return "it" if len(names) == 1 else "them"
