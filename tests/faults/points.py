"""One fault point: a release that meets one fault, what is to hold after it, and the plain call that completes it."""

import contextlib
import hashlib
import json
import mmap
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.disk import full_at, small_disk
from tests.faults.exchange import Exchange, Key, Seen, Trap, read_journal
from tests.faults.kinds import KINDS, SECONDS_ASKED, SMALL_DISK, SMALL_DISKS, fill
from tests.faults.processes import Client, Outcome, serving
from tests.faults.stored import Stored, collections, fsck, left_over, look, tag_problems
from tests.faults.tiny import VERSION, copy_run, made_anew, size_of

AT_ONCE, AGAIN, WRONG = "at once", "re-run", "wrong"
NO_MOUNT = "no right to mount"


@dataclass(frozen=True)
class Point:
    """A fault at a request.

    Attributes:
        kind: Its name in `KINDS`, or `SMALL_DISK`.
        number: Of the request, from 0, in the order of the undisturbed release; of a small disk, its place.
        key: The request.
    """

    kind: str
    number: int
    key: Key | None

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


@dataclass(frozen=True)
class Ended:
    """How a fault point ended.

    Attributes:
        point: The fault.
        how: `at once`, `re-run` or `wrong`.
        wrong: What did not hold, a line each.
        said: How the first call ended.
        seconds: That it all took.
    """

    point: Point
    how: str
    wrong: list[str]
    said: str
    seconds: float


@dataclass(frozen=True)
class Whole:
    """The undisturbed release.

    Attributes:
        requests: In order.
        wanted: sha256 by path, by repository.
        stored: What the Hub has after it.
        collections: Those on the Hub after it.
        listing: The run folder's files after it.
        size: Bytes of the release.
        arguments: Of `notus`, but for `--run`.
        run: The run, to be copied.
    """

    requests: list[Seen]
    wanted: Mapping[str, Mapping[str, str]]
    stored: Mapping[str, Stored]
    collections: list[str]
    listing: frozenset[str]
    size: int
    arguments: tuple[str, ...]
    run: Path


def points_of(requests: list[Seen]) -> list[Point]:
    """Return every fault at every request at which it makes sense, and the small disks."""
    found = [
        Point(name, number, seen.key)
        for name, kind in KINDS.items()
        for number, seen in enumerate(requests)
        if kind.at(seen)
    ]
    return found + [Point(SMALL_DISK, number, None) for number in range(len(SMALL_DISKS))]


class Bench:
    """Runs fault points, one after another, in a folder.

    Args:
        folder: Everything goes there; its `empty/` is a Hub with nothing in it.
        listener: The Hub's address.
        mounts: Whether this process may mount a disk.
    """

    def __init__(self, folder: Path, listener: socket.socket, *, mounts: bool) -> None:
        self.folder, self.listener, self.mounts = folder, listener, mounts
        self.empty = folder / "empty"
        self.shared = mmap.mmap(-1, mmap.PAGESIZE)

    def undisturbed(self, recipe: Path, run: Path) -> Whole:
        """Make the release without a fault, twice in the same place, and return all that is known of it.

        The run it was made of, brought up to date on the way, stays in the folder, for copies.
        """
        template = copy_run(run, self.folder / "template")
        arguments = ("publish", str(recipe), "--hub", "remote")
        hub = Path(shutil.copytree(self.empty, self.folder / "whole"))
        journal = self.folder / "whole.jsonl"
        self._publish(arguments, template, hub, "bring", self.folder / "bring.jsonl")
        shutil.rmtree(hub)
        shutil.copytree(self.empty, hub)
        (template / "release.json").unlink()
        self._publish(arguments, template, hub, "whole", journal)
        release = json.loads((template / "release.json").read_text(encoding="utf-8"))
        wanted = wanted_of(recipe, template, release)
        listing = listing_of(template)
        (template / "release.json").unlink()
        (template / ".lock").unlink(missing_ok=True)
        whole = Whole(
            requests=read_journal(journal),
            wanted=wanted,
            stored=look(hub, wanted),
            collections=collections(hub),
            listing=listing,
            size=sum(
                facts["size"] for repo in release["repositories"].values() for facts in repo["files"].values()
            ),
            arguments=arguments,
            run=template,
        )
        wrong = [
            f"{ref}: {line}" for one in whole.stored.values() for ref in one.wrong for line in one.wrong[ref]
        ]
        if wrong or fsck(hub):
            raise RuntimeError(f"the undisturbed release is wrong: {[*wrong, *fsck(hub)]}")
        return whole

    def _publish(self, arguments: tuple[str, ...], run: Path, hub: Path, name: str, journal: Path) -> None:
        with serving(self.listener, hub, journal, self.shared, _let_be):
            ended = self.client(arguments, run, self.folder, name).wait()
        if ended.code:
            raise RuntimeError(f"the undisturbed release ended with {ended.code}: {ended.err}")

    def client(
        self,
        arguments: tuple[str, ...],
        run: Path,
        place: Path,
        name: str,
        environment: Mapping[str, str] | None = None,
        defect: Callable[[], object] | None = None,
        *,
        start: tuple[int, int, float] | None = None,
    ) -> Client:
        """Start a client on a run; see `Client`."""
        return Client(
            (*arguments, "--run", run),
            place,
            name,
            shared=self.shared,
            environment={"HF_HOME": str(place / "home"), **(environment or {})},
            listener=self.listener,
            defect=defect,
            start=start,
        )

    def run(self, point: Point, whole: Whole, defect: Callable[[], object] | None = None) -> Ended:
        """Try one fault point; `defect` breaks the first client's code on purpose."""
        started = time.monotonic()
        kind = KINDS.get(point.kind)
        small = (kind is None or kind.disk) and self.mounts
        trap = _trap(point, kind.do, lasting=kind.lasting) if kind else _let_be
        if (kind is None or kind.disk) and not self.mounts:
            if (number := _download_of(point, whole)) is None:
                return Ended(point, NO_MOUNT, [], "", 0.0)
            trap, defect = _let_be, partial(full_at, number)
        with made_anew(self.folder / "point") as place:
            hub = Path(shutil.copytree(self.empty, place / "hub"))
            room = size_of(whole.run) * 2 + whole.size * 4 + (8 << 20)
            with small_disk(place / "disk", room) if small else contextlib.nullcontext(place) as disk:
                run = copy_run(whole.run, disk / "run")
                if kind is None:
                    fill(disk, leave=int(whole.size * SMALL_DISKS[point.number]))
                patience = {"NOTUS_RETRY_SECONDS": str(kind.patience if kind else 3.0)}

                def tags() -> list[str]:
                    return tag_problems(look(hub, whole.wanted), VERSION)

                with serving(self.listener, hub, place / "first.jsonl", self.shared, trap, tags):
                    first = self.client(whole.arguments, run, place, "first", patience, defect).wait()
                after = look(hub, whole.wanted)
                wrong = [*_met(point, place / "first.jsonl"), *_after_fault(first, whole, after, run, hub)]
                if kind and not _of_a_collection(point, whole):
                    if kind.ends and first.code == 0:
                        wrong.append("the fault ends every call, and this one ended well")
                    if kind.passes and first.code != 0:
                        wrong.append("the fault has passed, and ended the call")
                (disk / "filler").unlink(missing_ok=True)
                if first.code == 0:
                    wrong += _after_all(first, whole, after, run)
                done = first.code == 0 and collections(hub) == whole.collections
                with serving(self.listener, hub, place / "second.jsonl", self.shared, _let_be):
                    second = self.client(whole.arguments, run, place, "second", patience).wait()
                wrong += [
                    f"re-run: {line}" for line in _after_all(second, whole, look(hub, whole.wanted), run)
                ]
                wrong += fsck(hub) + left_over(hub)
                if (found := collections(hub)) != whole.collections:
                    wrong.append(f"re-run: other collections: {found}, not {whole.collections}")
        how = WRONG if wrong else AT_ONCE if done else AGAIN
        return Ended(point, how, wrong, first.said, time.monotonic() - started)


def _let_be(_: Key) -> None:
    pass


def _of_a_collection(point: Point, whole: Whole) -> bool:
    return any(seen.key == point.key and seen.of_a_collection for seen in whole.requests)


def _download_of(point: Point, whole: Whole) -> int | None:
    """Return the number of the download that a point is at; None if it is at none."""
    downloads = [seen.key for seen in whole.requests if KINDS["disk-half"].at(seen)]
    return downloads.index(point.key) if point.key in downloads else None


def _trap(point: Point, do: Callable[[Exchange], object], *, lasting: bool) -> Trap:
    met: list[bool] = []

    def trap(key: Key) -> Callable[[Exchange], object] | None:
        if key == point.key or (lasting and met):
            met.append(True)
            return do
        return None

    return trap


def _met(point: Point, journal: Path) -> list[str]:
    """Say that the fault was never met, or that the client came back before it was asked to."""
    if point.key is None:
        return []
    seen = read_journal(journal)
    if wrong := [f"when it was made: {line}" for one in seen for line in one.wrong]:
        return wrong
    at = next((place for place, one in enumerate(seen) if one.key == point.key), None)
    if at is None:
        return [f"the request was never made: {point.key}"]
    if point.kind == "429" and len(seen) > at + 1:
        again = next((one for one in seen[at + 1 :] if one.path == seen[at].path), seen[at + 1])
        if again.at - seen[at].at < SECONDS_ASKED:
            return [f"came again after {again.at - seen[at].at:.2f} s, was asked to wait {SECONDS_ASKED} s"]
    return []


def _after_fault(
    ended: Outcome, whole: Whole, stored: Mapping[str, Stored], run: Path, hub: Path
) -> list[str]:
    """Say what does not hold whatever has happened: no tag on a wrong release, no record of one that is not whole."""
    wrong = [ended.problem] if ended.problem else []
    wrong += tag_problems(stored, VERSION)
    tagged = [repo for repo, one in stored.items() if VERSION in one.tags]
    if (run / "release.json").exists():
        wrong += [f"release.json is there, and {repo} is not tagged" for repo in stored if repo not in tagged]
    return wrong + fsck(hub)


def _after_all(ended: Outcome, whole: Whole, stored: Mapping[str, Stored], run: Path) -> list[str]:
    """Say what does not hold once a call has ended well."""
    if ended.code != 0:
        return [ended.problem or f"ended with {ended.code}: {ended.said}"]
    wrong = []
    for repo, one in stored.items():
        then = whole.stored[repo]
        wrong += [f"{repo} at {ref}: {line}" for ref, lines in one.wrong.items() for line in lines]
        if one.trees != then.trees:
            wrong.append(f"{repo}: other trees or refs than of the undisturbed release: {sorted(one.trees)}")
        if one.commits != then.commits:
            wrong.append(f"{repo}: {one.commits} commits, {then.commits} are needed")
    if (listing := listing_of(run)) != whole.listing:
        wrong.append(f"the run folder differs in {', '.join(sorted(listing ^ whole.listing))}")
        return wrong
    release = json.loads((run / "release.json").read_text(encoding="utf-8"))
    for repo in release["repositories"].values():
        if stored[repo["repo_id"]].tags.get(VERSION) != repo["commit"]:
            wrong.append(f"release.json names another commit of {repo['repo_id']} than is tagged")
        if {name: facts["sha256"] for name, facts in repo["files"].items()} != whole.wanted[repo["repo_id"]]:
            wrong.append(f"release.json names other files of {repo['repo_id']} than were released")
    return wrong


def wanted_of(
    recipe: Path, run: Path, release: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> dict[str, dict[str, str]]:
    """Return the sha256 of each file of each repository, read from the run's files."""
    from publish.contents import files_of
    from recipe.load import load_recipe
    from recipe.run import Run

    opened = Run(run, load_recipe(str(recipe)))
    return {
        repo["repo_id"]: {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in files_of(opened, kind).items()
        }
        for kind, repo in release["repositories"].items()
    }


def listing_of(run: Path) -> frozenset[str]:
    """Return the paths of a run folder, but for its lock."""
    return frozenset(path.relative_to(run).as_posix() for path in run.rglob("*") if path.name != ".lock")
