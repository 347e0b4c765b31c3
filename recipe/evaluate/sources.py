"""Where a task's rows are: local files, or a data set of the Hub at one commit, brought here before lm-eval reads them.

Offline, `datasets` takes whatever commit of a data set it finds in its cache, and doesn't say so. So the files of the
commit that was asked for are named to lm-eval, and nothing else is read.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from recipe.disk import file_sha256
from recipe.errors import UserError
from recipe.evaluate.catalogue import Config
from recipe.hub import hub_errors
from recipe.schema import canonical_sha256, is_commit, whole_path

FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".arrow": "arrow"}
SHARD = re.compile(r"-\d{5}-of-\d{5}$")
BUILDERS = frozenset(
    {"arrow", "csv", "json", "parquet", "text", "webdataset", "xml"}
)  # `datasets` has them itself

Files = dict[str, tuple[Path, ...]]
"""The files of each split."""


@dataclass(frozen=True)
class Source:
    """A task's rows.

    Attributes:
        path: The data set's on the Hub, or `local:NAME`, `builtin:NAME`.
        config: The data set's configuration, if it has several.
        split: That is evaluated.
        revision: The commit, or `sha256:` and that of the files; None if nothing pins it.
        files: Of each split; none if lm-eval knows how to load it, and nobody else.
        fewshot: What `fewshot_split` is to be instead, where no examples are wanted and there is no split for them.
    """

    path: str
    config: str | None
    split: str
    revision: str | None
    files: Files = field(default_factory=dict)
    fewshot: str | None = None

    def record(self) -> dict[str, str | None]:
        """Return what a result says of it."""
        return {"path": self.path, "config": self.config, "split": self.split, "revision": self.revision}

    def over(self, cache: Path) -> Config:
        """Return what a task's configuration has to have instead, to read these files.

        Args:
            cache: Where `datasets` may write.
        """
        over: Config = {"fewshot_split": self.fewshot} if self.fewshot else {}
        if self.files:
            data_files = {split: list(map(str, files)) for split, files in self.files.items()}
            over |= {
                "dataset_path": next(FORMATS[files[0].suffix] for files in self.files.values()),
                "dataset_name": None,
                "dataset_kwargs": {"data_files": data_files, "cache_dir": str(cache)},
            }
        return over


def evaluated_split(config: Config) -> str:
    """Return the split of a task that its figures are of."""
    return str(config.get("test_split") or config.get("validation_split"))


def fewshot_split(config: Config) -> str | None:
    """Return the split that a task's examples are of, wanted or not; None if it brings its own."""
    own = config.get("fewshot_config") or {}
    if named := own.get("split") or config.get("fewshot_split"):
        return str(named)
    if own.get("samples") is not None:
        return None
    return str(config.get("training_split") or config.get("validation_split") or config.get("test_split"))


def local_source(
    leaf: str, config: Config, name: str, shots: int, *, alone: bool, path: str | None = None
) -> Source:
    """Return the rows of a task as they lie in a local file or folder.

    Args:
        leaf: The task.
        config: Its configuration.
        name: The file, of the split that is evaluated; or a folder with a file or more for each split, or with such a
            folder for each of the data set's configurations.
        shots: How many examples a prompt has.
        alone: Whether the folder is this task's, and not a group's.
        path: What to call it; `local:` and its name, if nothing else.

    Raises:
        UserError: There is none, or it is empty, or lacks a split that is needed.
    """
    place, wanted = whole_path(name), evaluated_split(config)
    subset = config.get("dataset_name")
    files = _files_of(place, wanted, [part for part in (subset, leaf) if part], alone=alone)
    if wanted not in files:
        raise UserError(f"{place}: no {wanted} rows for {leaf}; put {wanted}.jsonl, .json or .parquet there")
    files, fewshot = _with_examples(leaf, config, files, shots, str(place))
    if empty := next((file for each in files.values() for file in each if not file.stat().st_size), None):
        raise UserError(f"{empty}: empty; put the rows of {leaf} there")
    hashes = {f"{split}/{file.name}": file_sha256(file) for split in files for file in files[split]}
    revision = next(iter(hashes.values())) if len(hashes) == 1 else canonical_sha256(hashes)
    return Source(path or f"local:{place.name}", subset, wanted, f"sha256:{revision}", files, fewshot)


def hub_source(leaf: str, config: Config, revision: str | None, shots: int, *, bring: bool) -> Source:
    """Return the rows of a task as its data set on the Hub has them.

    Args:
        leaf: The task.
        config: Its configuration.
        revision: The commit; None where it is to be looked up, and nothing is brought.
        shots: How many examples a prompt has.
        bring: Whether to download what is not here.

    Raises:
        UserError: There is no such data set, commit or split, or it can't be reached.
    """
    path, subset, split = str(config.get("dataset_path")), config.get("dataset_name"), evaluated_split(config)
    if not on_hub(config):
        return Source(path, subset, split, None)
    files = {} if revision is None else prepared(path, subset, revision)
    if bring and revision and not files:
        files = _download(leaf, config, revision)
    if not files:
        return Source(path, subset, split, revision)
    where = f"{path} at {revision}"
    if split not in files:
        raise UserError(f"{where}: no split {split}, which {leaf} needs")
    files, fewshot = _with_examples(leaf, config, files, shots, where)
    return Source(path, subset, split, revision, files, fewshot)


def on_hub(config: Config) -> bool:
    """Whether a task's rows are a data set of the Hub, and no other way to load some."""
    path = config.get("dataset_path")
    return isinstance(path, str) and path not in BUILDERS and not config.get("custom_dataset")


def commit_of(path: str, revision: str | None = None) -> str:
    """Return the commit id that a data set's revision, or its main branch, has now on the Hub.

    Raises:
        UserError: There is no such data set or revision, or the Hub can't be reached.
    """
    from huggingface_hub import HfApi

    with hub_errors(f"looking up the data set {path}{f' at {revision}' if revision else ''}"):
        sha = HfApi().dataset_info(path, revision=revision).sha
    assert sha is not None
    return sha


def prepared(path: str, subset: str | None, commit: str) -> Files:
    """Return the files of a commit as `datasets` has them in its cache, by split; none if they are not there."""
    from datasets import config, naming

    *owner, name = path.split("/")
    prefix = naming.camelcase_to_snakecase(name)
    top = Path(config.HF_DATASETS_CACHE, "___".join([*owner, prefix]), subset or "default")
    for folder in sorted(top.glob(f"*/{commit}")):
        if (folder / "dataset_info.json").is_file():  # and not only its beginning
            return _by_split(folder.glob(f"{prefix}-*.arrow"), prefix + "-")
    return {}


def _download(leaf: str, config: Config, commit: str) -> Files:
    import datasets

    path, subset = config["dataset_path"], config.get("dataset_name")
    more = {
        key: value
        for key, value in (config.get("dataset_kwargs") or {}).items()
        if key != "trust_remote_code"
    }
    where = f"{path} at {commit}"
    _refuse_missing(path, commit)
    with hub_errors(f"reading the data set {where}"), _data_errors(leaf, where):
        rows = datasets.load_dataset(path, subset, **{**more, "revision": commit})
    files = {
        split: tuple(Path(file["filename"]) for file in part.cache_files) for split, part in rows.items()
    }
    if not all(commit in file.parts for each in files.values() for file in each):
        raise UserError(
            f"{where}: another commit was loaded; connect to the Hub, or name local files by benchmark_data: {leaf}"
        )
    return files


@cache
def _refuse_missing(path: str, commit: str) -> None:
    """Say at once what `datasets` would try for minutes, and then make the best of: a Hub that can't be reached."""
    commit_of(path, commit)


@contextmanager
def _data_errors(leaf: str, where: str) -> Iterator[None]:
    """Turn what `datasets` says of a data set that can't be had into one line."""
    from datasets.exceptions import DatasetsError

    instead = f"benchmark_data names local files instead of it ({leaf}: FILE or FOLDER)"
    try:
        yield
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        raise UserError(
            f"{where}: a program to load it is all that it has, and `datasets` runs none; {instead}, and "
            "benchmark_revisions a commit of its converted branch, refs/convert/parquet"
        ) from None
    except (DatasetsError, ConnectionError) as error:
        raise UserError(f"{where}: {str(error).splitlines()[0].rstrip('.')}; {instead}") from None
    except ValueError as error:
        if "BuilderConfig" not in str(error):
            raise
        raise UserError(f"{where}: {str(error).splitlines()[0].rstrip('.')}; {instead}") from None


def _with_examples(
    leaf: str, config: Config, files: Files, shots: int, where: str
) -> tuple[Files, str | None]:
    """Return the files of the splits that are needed, and what to take for the examples' if there is no need of it."""
    wanted, examples = evaluated_split(config), fewshot_split(config)
    if examples is None or examples in files:
        return {split: files[split] for split in sorted({wanted, examples or wanted})}, None
    if shots:
        raise UserError(
            f"{where}: no {examples} rows, of which {leaf} takes its {shots} examples; put {examples}.jsonl, .json or "
            ".parquet into a folder with the rows to evaluate"
        )
    return {wanted: files[wanted]}, wanted  # lm-eval opens the split, and takes nothing out of it


def _files_of(place: Path, split: str, parts: list[str], *, alone: bool) -> Files:
    if place.is_file():
        if place.suffix not in FORMATS:
            raise UserError(f"{place}: must be .jsonl, .json or .parquet")
        return {split: (place,)}
    if not place.is_dir():
        raise UserError(f"{place}: no such file or folder, which benchmark_data names")
    below = [folder for part in parts if (folder := place / part).is_dir()]
    folders = [*below, *([place / "data", place] if alone else ())]
    for folder in folders:
        known = (path for path in folder.glob("*") if path.suffix in FORMATS and path.is_file())
        if files := _by_split(known):
            kinds = sorted({FORMATS[path.suffix] for each in files.values() for path in each})
            if len(kinds) > 1:
                raise UserError(f"{folder}: files of {' and '.join(kinds)}; keep one kind")
            return files
    if not alone:
        raise UserError(f"{place}: no folder {' or '.join(parts)} with the rows of it")
    return {}


def _by_split(files: Iterator[Path], prefix: str = "") -> Files:
    found: dict[str, list[Path]] = {}
    for file in sorted(files):
        found.setdefault(SHARD.sub("", file.stem).removeprefix(prefix), []).append(file)
    return {split: tuple(each) for split, each in found.items()}


def pinned(path: str, *revisions: Mapping[str, str]) -> str | None:
    """Return the first commit id that is named for a data set."""
    named = next((by[path] for by in revisions if path in by), None)
    return named if named is not None and is_commit(named) else None


def whole(sources: Mapping[str, Source]) -> dict[str, Any]:
    """Return what a result says of a group's rows, where all its tasks' are of one data set."""
    each = list(sources.values())
    if len({source.path for source in each}) > 1:
        return {}
    revisions = {leaf: source.revision for leaf, source in sources.items()}
    one = set(revisions.values())
    revision = one.pop() if len(one) == 1 else f"sha256:{canonical_sha256(revisions)}"
    return {"path": each[0].path, "config": None, "split": each[0].split, "revision": revision}
