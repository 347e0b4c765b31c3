"""lm-eval's tasks: which there are, and what a name stands for, read from their configurations alone.

lm-eval's own index of all its 14,000 configurations takes seconds. Here the folders that a name needs are indexed, and
where which name is defined is found by looking at the files' lines.
"""

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from recipe.errors import UserError

DEFINED = re.compile(rb"""^["']?(?:task|group)["']?:[ ]*["']?([^"'#\s\[\]]+)""", re.MULTILINE)
TAGGED = re.compile(rb"""^["']?tag["']?:(.*(?:\n[ ]*-.*)*)""", re.MULTILINE)
WORD = re.compile(rb"""[^\s"'#,\[\]-][^\s"'#,\[\]]*""")
OF_DATA = ("dataset_path", "dataset_name", "dataset_kwargs")  # a group's word would count more than ours
KNOWN_CLOSE = 0.6  # a name that is less like all others is told without a guess

Config = dict[str, Any]
"""A task's configuration as YAML has it, what it includes put in; functions are named, not loaded."""


def shipped() -> Path:
    """Return the folder of the tasks that lm-eval ships."""
    import lm_eval

    return Path(lm_eval.__file__).parent / "tasks"


@cache
def names_in(folder: Path) -> dict[str, Path]:
    """Return each task, group and tag of the YAML files below a folder, with the folder to index for it.

    A tag may be that of tasks in many folders, so that takes them all.
    """
    defined: dict[str, Path] = {}
    tags = set()
    for parent, _, files in os.walk(folder):
        for file in sorted(files):
            if file.endswith("yaml"):  # some that others include have no dot before it
                content = Path(parent, file).read_bytes()
                defined.update(
                    dict.fromkeys((name.decode() for name in DEFINED.findall(content)), Path(parent))
                )
                tags |= {word.decode() for listed in TAGGED.findall(content) for word in WORD.findall(listed)}
    return dict.fromkeys(tags, folder) | defined


class Catalogue:
    """The tasks that some names stand for.

    Args:
        names: Tasks, groups and tags.
        folder: Where they are defined; lm-eval's own, if not named.

    Raises:
        UserError: One of them is unknown, or can't be run here.
    """

    def __init__(self, names: Sequence[str], folder: Path | None = None) -> None:
        self.folders: set[Path] = set()
        self.index: dict[str, Any] = {}
        known = names_in(folder or shipped())
        while missing := sorted(set(self._missing(names))):
            more = {known[name] for name in missing if name in known} - self.folders
            if not more:
                raise UserError(_unknown(missing[0], list(known)))
            self.folders = {folder or shipped()} if (folder or shipped()) in more else self.folders | more
            self.index = manager(self.folders).task_index

    def leaves(self, name: str) -> dict[str, Config]:
        """Return the tasks that a name stands for, itself or a group's, with their configurations.

        Raises:
            UserError: One of them can't be run here.
        """
        found = {}
        for leaf, config in self._walk(name, {}):
            _refuse(leaf, config)
            found[leaf] = config
        return found

    def groups(self, name: str) -> list[str]:
        """Return the groups that a name stands for, itself among them."""
        entry = self.index[name]
        if entry.kind.name != "GROUP":
            return []
        return [name, *(group for member in _members(entry.cfg) for group in self.groups(_name_of(member)))]

    def file(self, leaf: str) -> Path:
        """Return the YAML file that a task is defined in."""
        return Path(self.index[leaf].yaml_path)

    def version(self, name: str) -> object:
        """Return a task's or group's version, as its configuration has it."""
        return ((self.index[name].cfg or {}).get("metadata") or {}).get("version")

    def _missing(self, names: Sequence[str]) -> Iterator[str]:
        for name in names:
            entry = self.index.get(name)
            if entry is None:
                yield name
            elif entry.kind.name == "TAG":
                yield from self._missing(sorted(entry.tags))
            elif entry.kind.name == "GROUP":
                members = _members(entry.cfg)
                if any(
                    set(OF_DATA) & set(member) or isinstance(member.get("task"), list) for member in members
                ):
                    raise UserError(
                        f"{name}: this group of lm-eval holds what has no name of its own; name tasks instead"
                    )
                yield from self._missing([_name_of(member) for member in members])

    def _walk(self, name: str, over: Config) -> Iterator[tuple[str, Config]]:
        entry = self.index[name]
        if entry.kind.name == "TAG":
            for leaf in sorted(entry.tags):
                yield from self._walk(leaf, over)
        elif entry.kind.name == "GROUP":
            for member in _members(entry.cfg):
                more = {key: value for key, value in member.items() if key not in {"task", "group"}}
                yield from self._walk(_name_of(member), {**over, **more})
        else:
            yield name, {**entry.cfg, **over}


def manager(folders: set[Path], over: Path | None = None) -> Any:
    """Return lm-eval's manager of the tasks in some folders; those in `over` take the place of others."""
    from lm_eval.tasks import TaskManager

    include = [str(folder) for folder in (*sorted(folders), *((over,) if over else ()))]
    return TaskManager(include_defaults=False, include_path=include)


def _members(config: Config) -> list[Config]:
    listed = config.get("task")
    members = listed if isinstance(listed, list) else [listed]
    return [member if isinstance(member, dict) else {"task": member} for member in members if member]


def _name_of(member: Config) -> str:
    name = member.get("task") or member.get("group")
    return name if isinstance(name, str) else str(member.get("group"))


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=KNOWN_CLOSE)
    guess = f"did you mean {near[0]!r}?" if near else "`lm-eval ls tasks` lists all"
    return f"{name}: no task of lm-eval; {guess}"


def _refuse(leaf: str, config: Config) -> None:
    """Refuse a task that needs more than a language model that reads and writes text."""
    if "class" in config:
        reason = "is written in Python, so that its data can't be pinned"
    elif config.get("unsafe_code"):
        reason = "runs code that the model writes"
    elif config.get("doc_to_image") or config.get("doc_to_audio"):
        reason = "is about images or sound"
    else:
        return
    raise UserError(f"{leaf}: this task of lm-eval {reason}; take another one")
