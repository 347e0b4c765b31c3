"""What a release consists of: its repositories, and the files of each, as the run made them."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from publish.data import DATA, repo_type
from recipe.fetch import base_files, load_inputs
from recipe.run import Run
from recipe.schema import Recipe

# The stage and the folder of it that each repository's own files come from; the base's are not the run's.
MADE_BY = {DATA: ("dataset", "dataset"), "adapter": ("train", "adapter"), "merged": ("merge", "merged")}
# What is published beside them, from a folder a repository (`card/adapter/`): the stage is called as its folder.
BESIDE = ("card", "provenance", "signature")
STATEMENT, SBOM, SIGNATURE = "provenance.json", "sbom.cdx.json", "model.sig"
PREDICATE_TYPE, BUILD_TYPE = "https://slsa.dev/provenance/v1", "urn:notus:release:v1"  # of the statement
# The recipe's key that names each repository, first what others name.
KEYS = {
    "base": "hub_base_model_id",
    DATA: "hub_dataset_id",
    "adapter": "hub_model_id",
    "merged": "hub_merged_model_id",
}


@dataclass(frozen=True)
class FileHash:
    """What identifies a file's content: the sha256, and the git blob id by which the Hub knows a small one."""

    sha256: str
    blob_id: str
    size: int


@dataclass(frozen=True)
class Repo:
    """One repository of a release: its name, and its files by their path in it."""

    kind: str
    repo_id: str
    files: Mapping[str, Path]
    hashes: Mapping[str, FileHash]

    @property
    def type(self) -> str:
        """What the Hub calls such a repository."""
        return repo_type(self.kind)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(facts.size for facts in self.hashes.values())


def kinds(recipe: Recipe, *, with_data: bool = False) -> dict[str, str]:
    """Return the names of a release's repositories by kind, first what others name: base and data, if published."""
    part = {"base": recipe.science.base_source != "hub", DATA: with_data}
    named = {kind: getattr(recipe.release, key) for kind, key in KEYS.items() if part.get(kind, True)}
    return {kind: name for kind, name in named.items() if name is not None}


def repositories(run: Run, *, with_data: bool = False) -> list[Repo]:
    """Return the repositories of a release with their files, in the order in which they are published."""
    found = []
    for kind, repo_id in kinds(run.recipe, with_data=with_data).items():
        files = files_of(run, kind)
        found.append(Repo(kind, repo_id, files, {name: hash_file(path) for name, path in files.items()}))
    return found


def files_of(run: Run, kind: str, beside: tuple[str, ...] = BESIDE) -> dict[str, Path]:
    """Return the files of a repository by their path in it, sorted.

    Args:
        run: The run.
        kind: `base`, `data`, `adapter` or `merged`.
        beside: The stages whose files beside the repository's own count, those that were done.
    """
    if kind == "base":
        files = {path.name: path for path in base_files(Path(load_inputs(run)["base"]["path"]))}
    else:
        stage, folder = MADE_BY[kind]
        files = _made(run, stage, folder)
    for stage in beside:
        if run.done(stage):
            files |= _made(run, stage, f"{stage}/{kind}")
    return dict(sorted(files.items()))


def own_files(run: Run, kind: str) -> set[str]:
    """Return the paths of a repository's files that no release of it may change: without card and the like."""
    return set(files_of(run, kind, beside=()))


@contextmanager
def staged(run: Run, files: Mapping[str, Path]) -> Iterator[Path]:
    """Yield a folder that holds links to files by their path in the repository, and goes after."""
    with tempfile.TemporaryDirectory(prefix=".staged-", dir=run.folder.resolve()) as folder:
        for name, path in files.items():
            link = Path(folder) / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        yield Path(folder)


def hash_file(path: Path) -> FileHash:
    """Return what identifies a file's content."""
    size = path.stat().st_size
    sha256, blob = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            sha256.update(chunk)
            blob.update(chunk)
    return FileHash(sha256.hexdigest(), blob.hexdigest(), size)


def _made(run: Run, stage: str, folder: str) -> dict[str, Path]:
    """Return the files that a stage made in one of its folders, not whatever else lies there by now."""
    made = run.manifest["stages"][stage]["outputs"]
    return {name.removeprefix(f"{folder}/"): run.path(name) for name in made if name.startswith(f"{folder}/")}
