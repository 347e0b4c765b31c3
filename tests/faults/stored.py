"""What is in the Hub's folder, read without the Hub: every tag's files and bytes, held against the run's."""

import hashlib
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dulwich.object_store import iter_commit_contents, peel_sha
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.repo import Repo as Git

KEPT = ".gitattributes"  # the Hub's own file
POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize \d+\n?")
MAIN = "refs/heads/main"

Wanted = Mapping[str, Mapping[str, str]]
"""sha256 of each file by its path, by repository."""


@dataclass(frozen=True)
class Stored:
    """One repository as it is stored.

    Attributes:
        commits: How many main has; 0 where there is no repository.
        tags: Commit ids by the tags' names.
        trees: Tree ids by full ref.
        wrong: What is not as wanted, a line each, by full ref.
    """

    commits: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    trees: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether main has what is wanted, to the byte."""
        return self.wrong.get(MAIN) == []


def look(root: Path, wanted: Wanted) -> dict[str, Stored]:
    """Read the repositories of a release from the Hub's folder.

    Args:
        root: The Hub's folder.
        wanted: What they are to hold; other repositories are not looked at.
    """
    return {repo: _look(root, _place(root, repo), files) for repo, files in wanted.items()}


def tag_problems(stored: Mapping[str, Stored], version: str) -> list[str]:
    """Say which tags are there that must not be: on other content, or while the rest of the release is not whole."""
    wrong = [
        f"{repo} has the tag {tag} on {line}"
        for repo, one in stored.items()
        for tag in one.tags
        for line in one.wrong[f"refs/tags/{tag}"]
    ]
    if tagged := [repo for repo, one in stored.items() if version in one.tags]:
        wrong += [
            f"{tagged[0]} is tagged, and {repo} is not whole" for repo, one in stored.items() if not one.whole
        ]
    return wrong


def collections(root: Path) -> list[str]:
    """Return the collections on the Hub, each with what is in it."""
    found = []
    for path in (root / "collections").glob("*.json"):
        held = json.loads(path.read_text(encoding="utf-8"))
        items = sorted(f"{item['type']} {item['id']} ({item['note']})" for item in held["items"])
        found.append(f"{held['namespace']}/{held['title']}: {', '.join(items)}")
    return sorted(found)


def fsck(root: Path) -> list[str]:
    """Return what `git fsck` finds in the repositories of the Hub's folder, a line a repository."""
    found = []
    for place in sorted(root.glob("*/*/*.git")):
        command = ["git", "-C", str(place), "fsck", "--full", "--strict", "--no-progress", "--no-dangling"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode or ended.stdout or ended.stderr:
            found.append(f"git fsck of {place.name}: {' '.join((ended.stdout + ended.stderr).split())}")
    return found


def left_over(root: Path) -> list[str]:
    """Return what half-done work has left in the Hub's folder."""
    aside = [*(root / "aside").iterdir(), *(root / "lfs" / "incoming").iterdir()]
    return [
        f"the Hub has left {path.relative_to(root)}" for path in [*aside, *root.glob("*/*/*.git/hub.busy")]
    ]


def _place(root: Path, repo: str) -> Path:
    found = [place for place in root.glob("*/*/*.git") if f"{place.parent.name}/{place.stem}" == repo.lower()]
    return found[0] if found else root / "models" / f"{repo}.git"


def _look(root: Path, place: Path, files: Mapping[str, str]) -> Stored:
    if not place.is_dir():
        return Stored()
    with Git(str(place)) as git:
        refs = {
            name.decode(): peel_sha(git.object_store, oid)[1].id for name, oid in git.refs.as_dict().items()
        }
        commits: dict[str, Any] = {name: git[oid] for name, oid in refs.items() if name != "HEAD"}
        return Stored(
            commits=sum(1 for _ in git.get_walker(include=[refs[MAIN]])),
            tags={
                name.removeprefix("refs/tags/"): oid.decode()
                for name, oid in refs.items()
                if name.startswith("refs/tags/")
            },
            trees={name: commit.tree.decode() for name, commit in commits.items()},
            wrong={name: _wrong(root, git, commit, files) for name, commit in commits.items()},
        )


def _wrong(root: Path, git: Git, commit: Commit, files: Mapping[str, str]) -> list[str]:
    found: dict[str, str] = {}
    for entry in iter_commit_contents(git.object_store, commit.id):
        assert entry.path
        assert entry.sha
        if (name := entry.path.decode()) != KEPT:
            found[name] = _sha256(root, git, entry.sha)
    names = sorted(set(found) | set(files))
    said = {name: found.get(name, "missing") if name in files else "not of the release" for name in names}
    return [f"{name}: {said[name][:40]}" for name in names if found.get(name) != files.get(name)]


def _sha256(root: Path, git: Git, oid: ObjectID) -> str:
    blob = git.object_store[oid]
    assert isinstance(blob, Blob)
    if pointer := POINTER.fullmatch(blob.data):
        name = pointer[1].decode()
        place = root / "lfs" / name[:2] / name[2:4] / name
        if not place.is_file():
            return "gone from the large files"
        content = place.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        return found if found == name else f"has rotted, is {found[:12]}"
    return hashlib.sha256(blob.data).hexdigest()
