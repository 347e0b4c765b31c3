"""The release as a consumer gets it: every byte from the Hub, loaded by a process that can't reach it.

The files come over HTTP into a clean cache beside the run, and are hashed. What `load` then loads, by the
lines that a consumer types, can only be those.
"""

import contextlib
import errno
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from huggingface_hub.constants import HF_HUB_CACHE

from publish.contents import FileHash
from publish.data import DATA, repo_type
from publish.loading import Answer, Load, LoadError, Question
from publish.retry import FaultError, PatientHub, bars
from recipe.disk import file_sha256, read_json
from recipe.errors import UserError
from recipe.fetch import BASE_FILES, INDEX, WEIGHTS, load_inputs
from recipe.run import Run

# Loading again what was saved in the same dtype gives the same logits but for the order of additions.
TOLERANCE = 1e-3
LARGE = 10_000_000  # bytes of a file that gets a bar of its own


@dataclass(frozen=True)
class Released:
    """What one repository is to have at a commit."""

    repo_id: str
    commit: str
    hashes: Mapping[str, FileHash]


@dataclass(frozen=True)
class ReadBack:
    """What came back: logit differences by the way to load, and problems, a line each.

    `rows` are those of each split of the data set, if it was published too.
    """

    differences: Mapping[str, float]
    problems: list[str]
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def difference(self) -> float:
        """The largest difference of a logit in any way to load the release."""
        return max(self.differences.values(), default=float("inf"))


def read_back(
    run: Run,
    hub: PatientHub,
    released: Mapping[str, Released],
    load: Load,
    mend: Callable[[str, str], None] | None = None,
) -> ReadBack:
    """Download what the Hub has, hash it, load it through PEFT and Transformers, and compare logits with the run's.

    Args:
        run: Its `probe/` holds the prompts and the logits.
        hub: The Hub.
        released: By kind: `adapter`, `merged` and, if they were published too, `base` and `data`.
        load: Loads what was downloaded, and says how far the logits are.
        mend: Uploads a file again whose bytes, by kind and path, came back as others; then it is read once more.

    Raises:
        UserError: The disk is full, or the Hub does not answer.
    """
    problems = []
    size = sum(facts.size for repo in released.values() for facts in repo.hashes.values())
    hub.reporter.say(f"  reading {size / 1e6:,.2f} MB back")
    with room_on_disk(run.folder, "the release is read back into it"), _clean_cache(run) as cache:
        for kind, repo in released.items():
            for name, facts in repo.hashes.items():
                if _download(hub, cache, kind, repo, name) == facts.sha256:
                    continue
                if mend:
                    mend(kind, name)
                if _download(hub, cache, kind, repo, name, again=True) != facts.sha256:
                    problems.append(f"{repo.repo_id}: {name} comes back with other bytes")
        if problems:
            return ReadBack({}, problems)
        bring_base(run, hub, cache, released)
        return _loaded(run, hub, released, load, cache)


@contextlib.contextmanager
def room_on_disk(folder: Path, doing: str) -> Iterator[None]:
    """Make of a disk that fills up one line.

    Raises:
        UserError: It did.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise UserError(f"{folder}: the disk is full while {doing}; make room") from error


def other_rows(run: Run, rows: Mapping[str, int]) -> str:
    """Say how the splits that `datasets` found differ from the run's pairs; "" if they don't."""
    summary = read_json(run.path("data", "data.json"))
    made = {"train": summary["train"], "test": summary["heldout"]}
    return "" if rows == made else f"loaded by datasets it has the rows {dict(rows)}, the run has {made}"


def bring_base(run: Run, hub: PatientHub, cache: Path, released: Mapping[str, Released]) -> None:
    """Make the base loadable from the cache by the name and revision that the adapter's configuration has.

    A published base was downloaded with the rest. One of the Hub's is in the ordinary cache since the run was
    made, or comes from the Hub now.
    """
    base = load_inputs(run)["base"]
    folder = cache / f"models--{base['name'].replace('/', '--')}"
    if "base" in released:
        ref = folder / "refs" / base["revision"]
        ref.parent.mkdir(exist_ok=True)
        ref.write_text(released["base"].commit, encoding="ascii")
        return
    snapshot = Path(HF_HUB_CACHE) / folder.name / "snapshots" / base["revision"]
    if snapshot.is_dir() and all((snapshot / name).is_file() for name in base["sha256"]):
        folder.symlink_to(snapshot.parents[1], target_is_directory=True)
        return
    hub.ask(
        f"downloading {base['name']}",
        lambda: hub.api.snapshot_download(
            base["name"],
            revision=base["revision"],
            cache_dir=cache,
            allow_patterns=[*BASE_FILES, WEIGHTS, INDEX, "model-*.safetensors"],
        ),
    )


def _loaded(run: Run, hub: PatientHub, released: Mapping[str, Released], load: Load, cache: Path) -> ReadBack:
    question = Question(
        probe=str(run.path("probe").resolve()),
        cache=str(cache),
        repos={kind: [repo.repo_id, repo.commit] for kind, repo in released.items()},
        data=str(_snapshot(cache, DATA, released[DATA])) if DATA in released else None,
    )
    try:
        with hub.reporter.working("loading the release, without the Hub"):
            answer: Answer = load(question)
    except LoadError as error:
        hub.reporter.warn(error.said)
        return ReadBack({}, [f"the release can't be loaded ({error})"])
    allowed = TOLERANCE * answer["scale"]
    problems = [
        f"by {way} the release has other logits than the run ({difference:.3g})"
        for way, difference in answer["differences"].items()
        if not difference <= allowed
    ]
    if DATA in released and (wrong := other_rows(run, answer["rows"])):
        problems.append(f"{released[DATA].repo_id}: {wrong}")
    return ReadBack(answer["differences"], problems, answer["rows"])


def _download(
    hub: PatientHub, cache: Path, kind: str, repo: Released, name: str, *, again: bool = False
) -> str:
    """Bring one file into the cache; return the sha256 of its bytes."""

    def download() -> str:
        try:
            return hub.api.hf_hub_download(
                repo.repo_id,
                name,
                revision=repo.commit,
                repo_type=repo_type(kind),
                cache_dir=cache,
                force_download=again,
            )
        except OSError as error:
            if type(error) is OSError and error.errno is None:  # its size is not the one that was announced
                raise FaultError("a download ended too early") from error
            raise

    with contextlib.nullcontext() if repo.hashes[name].size > LARGE else bars(False):
        return file_sha256(Path(hub.ask(f"reading {repo.repo_id} back", download)))


def _snapshot(cache: Path, kind: str, repo: Released) -> Path:
    return cache / f"{repo_type(kind)}s--{repo.repo_id.replace('/', '--')}" / "snapshots" / repo.commit


@contextlib.contextmanager
def _clean_cache(run: Run) -> Iterator[Path]:
    """Yield an empty folder beside the run, which goes after; those that killed processes left go before.

    Beside the run: it gets as large as the release, and /tmp is often small or in memory.
    """
    beside = run.folder.resolve()
    for left in beside.glob(".readback-*.lock"):
        with contextlib.suppress(Timeout), FileLock(left, timeout=0):
            shutil.rmtree(left.with_suffix(""), ignore_errors=True)
            left.unlink(missing_ok=True)
    folder = beside / f".readback-{secrets.token_hex(4)}"
    lock = folder.with_suffix(".lock")
    with FileLock(lock):
        try:
            folder.mkdir()
            yield folder / "hub"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
