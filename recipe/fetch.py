"""Stage: bring the base and the feedback here, and pin what they are.

What ships with Notus is made on the spot, a local path is pinned by the sha256 of its content, a repository
of the Hub is downloaded at its commit. No later stage looks anywhere but where `inputs.json` points.
"""

from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from recipe.builtin import make_feedback, write_feedback
from recipe.builtin.base import build_base
from recipe.curate import data_files
from recipe.disk import file_sha256, read_json, write_json
from recipe.errors import UserError
from recipe.hub import hub_errors
from recipe.progress import Reporter
from recipe.run import Run, Stage
from recipe.schema import BUILTIN, Science, Source, canonical_sha256
from recipe.tokenizer import load_tokenizer

# What a base is made of; anything else in its folder or repository is neither loaded, pinned nor published.
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
BASE_FILES = tuple(sorted([*TOKENIZER_FILES, "config.json", "generation_config.json"]))


def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
    """Write `inputs/inputs.json`, and beside it what was made on the spot."""
    science = run.recipe.science
    before = run.done("fetch")
    now = outside_sha256(run)
    if before and before["inputs"].get("outside") not in {None, now}:
        raise UserError(
            f"{run.folder}: the base or the data have changed since this run was made; name another folder with --run"
        )
    folder = out / "inputs"
    folder.mkdir()
    base, base_said = _fetch_base(run, folder, reporter)
    train, heldout, revision = bring_data(science, folder, reporter)
    inputs = {
        "base": base,
        "tokenizer": _fetch_tokenizer(science, base, reporter),
        "files": {Path(name).name: file_sha256(local_path(name, key)) for name, key in science.files.items()},
        "data": {
            "name": _public_name(science.dataset, science.dataset_source),
            "source": science.dataset_source,
            "revision": revision,
            "train": [_where(path, folder) for path in train],
            "heldout": None if heldout is None else [_where(path, folder) for path in heldout],
            "sha256": {path.name: file_sha256(path) for path in (*train, *(heldout or ()))},
        },
    }
    write_json(folder / "inputs.json", inputs)
    return {
        "base": f"{base['name']}, {base['parameters']:,} parameters ({base['dtype']})" + base_said,
        "data": f"{inputs['data']['name']}, {len(train) + len(heldout or ())} file(s)",
    }


def outside_sha256(run: Run) -> str:
    """Return one sha256 over the local files that the recipe names, or over nothing."""
    science = run.recipe.science
    files: list[Path] = []
    if science.base_source == "local":
        files += base_files(local_path(science.model_name_or_path, "model_name_or_path"))
    if science.tokenizer and science.tokenizer_source == "local":
        files += tokenizer_files(local_path(science.tokenizer, "tokenizer"))
    if science.dataset_source == "local":
        train, heldout = split_files(local_path(science.dataset, "dataset"), science)
        files += [*train, *(heldout or ())]
    files += [local_path(name, key) for name, key in science.files.items()]
    return canonical_sha256([[path.name, file_sha256(path)] for path in files])


def is_lost(run: Run) -> bool:
    """Whether something that was downloaded is in the Hub's cache no more, as on another machine of the same run."""
    inputs: dict[str, Any] = read_json(run.path("inputs", "inputs.json"))
    base, tokenizer, data = inputs["base"], inputs["tokenizer"], inputs["data"]
    paths = []
    if base["source"] == "hub":
        paths += [Path(base["path"], name) for name in base["sha256"]]
    if tokenizer["source"] == "hub":
        paths.append(Path(tokenizer["path"]))
    if data["source"] == "hub":
        paths += map(Path, (*data["train"], *(data["heldout"] or ())))
    return not all(path.exists() for path in paths)


def to_download(science: Science, base_bytes: int) -> dict[Path, int]:
    """Return the bytes that the base will take in the Hub's cache, by its folder; none if it is local or there."""
    if science.base_source != "hub":
        return {}
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE)
    there = (cache / f"models--{science.model_name_or_path.replace('/', '--')}").exists()
    return {} if there else {cache: base_bytes}


def load_inputs(run: Run) -> dict[str, Any]:
    """Return `inputs.json` with paths that can be opened; what is local lies where the recipe now says."""
    inputs: dict[str, Any] = read_json(run.path("inputs", "inputs.json"))
    base, data, science = inputs["base"], inputs["data"], run.recipe.science
    if base["source"] == "local":
        base["path"] = local_path(science.model_name_or_path, "model_name_or_path")
    else:
        base["path"] = _open(base["path"], run)
    tokenizer = inputs["tokenizer"]
    if science.tokenizer is None:
        tokenizer["path"] = base["path"]
    elif tokenizer["source"] == "local":
        tokenizer["path"] = local_path(science.tokenizer, "tokenizer")
    else:
        tokenizer["path"] = _open(tokenizer["path"], run)
    if data["source"] == "local":
        data["train"], data["heldout"] = split_files(local_path(science.dataset, "dataset"), science)
    else:
        for side in ("train", "heldout"):
            data[side] = None if data[side] is None else [_open(path, run) for path in data[side]]
    return inputs


def base_files(folder: Path) -> list[Path]:
    """Return the files of a base, in order of their names.

    Raises:
        UserError: It is an adapter, or has no config.json, no tokenizer.json or no safetensors weights.
    """
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"{folder}: an adapter, not a model; merge it into its base and name the result")
    for needed in ("config.json", "tokenizer.json"):
        if not (folder / needed).is_file():
            raise UserError(
                f"{folder}: no {needed}; model_name_or_path must be a Transformers model with its tokenizer"
            )
    weights = _weights(folder)
    for name in weights:
        if not (folder / name).is_file():
            raise UserError(
                f"{folder}: no {name}, no *.safetensors weights there; save the base with save_pretrained"
            )
    return sorted(
        [
            *(path for path in map(folder.joinpath, BASE_FILES) if path.is_file()),
            *map(folder.joinpath, weights),
        ]
    )


def tokenizer_files(folder: Path, key: str = "tokenizer") -> list[Path]:
    """Return the files of a tokenizer, in order of their names.

    Args:
        folder: Where they are.
        key: The recipe's key that names it.

    Raises:
        UserError: It has no tokenizer.json.
    """
    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"{folder}: no tokenizer.json; {key} must name a folder with a fast tokenizer")
    return [path for path in map(folder.joinpath, TOKENIZER_FILES) if path.is_file()]


def count_parameters(files: list[Path]) -> tuple[int, str]:
    """Return how many parameters the safetensors among `files` hold, and their commonest dtype.

    Raises:
        UserError: One of them is not whole.
    """
    counts: dict[str, int] = {}
    for path in files:
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, "pt") as weights:
                    for name in weights.keys():  # noqa: SIM118 - safe_open is no mapping
                        view = weights.get_slice(name)
                        counts[view.get_dtype()] = counts.get(view.get_dtype(), 0) + prod(view.get_shape())
            except SafetensorError as error:
                raise UserError(f"{path}: not whole ({error}); copy or download it again") from None
    return sum(counts.values()), max(counts, key=lambda dtype: counts[dtype])


def _weights(folder: Path) -> list[str]:
    """Return the names of the weights: one file, or an index and its shards."""
    index = folder / INDEX
    if (folder / WEIGHTS).is_file() or not index.is_file():
        return [WEIGHTS]
    try:
        return [INDEX, *sorted(set(read_json(index)["weight_map"].values()))]
    except (ValueError, KeyError, AttributeError):
        raise UserError(f"{index}: not an index of weights; save the base with save_pretrained") from None


def _refuse_unreadable(folder: Path) -> int:
    """Refuse a base whose configuration or tokenizer can't be read; return the size of its vocabulary."""
    try:
        vocab_size = int(AutoConfig.from_pretrained(folder).get_text_config().vocab_size)
    except Exception as error:  # a checkpoint's faults come as errors of many types
        said = str(error).strip().splitlines()[0]
        raise UserError(f"{folder}: its config.json can't be read ({said}); save the base again") from None
    load_tokenizer(folder)
    return vocab_size


def _fetch_base(run: Run, folder: Path, reporter: Reporter) -> tuple[dict[str, Any], str]:
    science, source, said = run.recipe.science, run.recipe.science.base_source, ""
    name = science.model_name_or_path
    if source == "builtin":
        path = folder / "base"
        facts = build_base(path, make_feedback(), seed=science.seed, reporter=reporter)
        said = f", built and supervised in {facts['seconds']:.0f} s; {facts['ended']:.0%} of its answers end"
    elif source == "local":
        path = local_path(name, "model_name_or_path").absolute()
    else:
        path = _download(
            "model",
            name,
            science.model_revision,
            reporter,
            [*BASE_FILES, WEIGHTS, INDEX, "model-*.safetensors", "adapter_config.json"],
        )
    files = base_files(path)
    parameters, dtype = count_parameters(files)
    vocab_size = _refuse_unreadable(path)
    hashes = {file.name: file_sha256(file) for file in files}
    published = run.recipe.release.hub_base_model_id if source != "hub" else None
    base = {
        "source": source,
        "name": published or _public_name(name, source),
        "revision": path.name if source == "hub" else f"sha256-{canonical_sha256(hashes)[:16]}",
        "path": _where(path, folder),
        "parameters": parameters,
        "dtype": dtype,
        "vocab_size": vocab_size,
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": hashes,
    }
    return base, said


def _fetch_tokenizer(science: Science, base: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Return what the tokenizer is; the base's own if the recipe names no other."""
    if science.tokenizer is None:
        return {key: base[key] for key in ("name", "source", "revision", "path")}
    path = bring_tokenizer(science, reporter)
    hashes = {file.name: file_sha256(file) for file in tokenizer_files(path)}
    source = science.tokenizer_source
    ids = max(load_tokenizer(path).get_vocab().values()) + 1
    if ids > base["vocab_size"]:
        raise UserError(
            f"{path}: a tokenizer of {ids} ids for a base of {base['vocab_size']}; give one that the base has room for"
        )
    return {
        "name": _public_name(science.tokenizer, source),
        "source": source,
        "revision": path.name if source == "hub" else f"sha256-{canonical_sha256(hashes)[:16]}",
        "path": str(path.absolute()),
        "sha256": hashes,
    }


def bring_tokenizer(science: Science, reporter: Reporter) -> Path:
    """Return the folder of the recipe's tokenizer, or of its base if that is not made on the spot.

    Raises:
        UserError: There is none there.
    """
    key = "model_name_or_path" if science.tokenizer is None else "tokenizer"
    name: str = getattr(science, key)
    if science.tokenizer_source == "local":
        folder = local_path(name, key)
        tokenizer_files(folder, key)
        return folder
    revision = science.model_revision if science.tokenizer is None else science.tokenizer_revision
    return _download("model", name, revision, reporter, list(TOKENIZER_FILES))


def bring_data(
    science: Science, folder: Path, reporter: Reporter
) -> tuple[list[Path], list[Path] | None, str | None]:
    """Return the files to train on, those held out if they are apart, and the commit if they are of the Hub.

    Data that are made on the spot are written to `folder`.

    Raises:
        UserError: They are not there.
    """
    if science.dataset_source == "builtin":
        path = folder / "feedback.jsonl"
        write_feedback(path)
        return [path], None, None
    if science.dataset_source == "local":
        return *split_files(local_path(science.dataset, "dataset"), science), None
    snapshot = _download("dataset", science.dataset, science.dataset_revision, reporter, None)
    return *split_files(snapshot, science), snapshot.name


def split_files(path: Path, science: Science) -> tuple[list[Path], list[Path] | None]:
    """Return the local files to train on, and those held out if they are a split of their own."""
    if path.is_file():
        return [path], None
    splits = [data_files(path, split) for split in science.dataset_splits]
    return splits[0], splits[1] if len(splits) > 1 else None


def _download(kind: str, repo: str, revision: str, reporter: Reporter, patterns: list[str] | None) -> Path:
    from huggingface_hub import snapshot_download

    reporter.say(f"  downloading {repo} at {revision}")
    with hub_errors(f"{repo} at {revision} (no such file or folder here)"):
        return Path(snapshot_download(repo, repo_type=kind, revision=revision, allow_patterns=patterns))


def local_path(name: str, key: str) -> Path:
    """Return the path of a local base or data set.

    Raises:
        UserError: There is nothing there.
    """
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f"{key}: there is no {path}; give a folder or file that exists, or a Hub repository")
    return path


def _public_name(name: str, source: Source) -> str:
    """Return what a base or data set is called in public: never the path of somebody's machine."""
    return name if source == "hub" else Path(name.removeprefix(BUILTIN)).name


def _where(path: Path, folder: Path) -> str:
    if path.is_relative_to(folder):
        return f"inputs/{path.relative_to(folder).as_posix()}"
    return str(path.absolute())  # not resolved: a file of the Hub's cache has its name only as a link


def _open(path: str, run: Run) -> Path:
    return Path(path) if Path(path).is_absolute() else run.path(path)


STAGE = Stage(
    name="fetch",
    does="bring the base and the feedback here, pinned",
    needs=(),
    outputs=("inputs",),
    reads=("science", "release.hub_base_model_id"),  # the adapter's configuration names the base
    work=work,
    outside=outside_sha256,
    lost=is_lost,
)
