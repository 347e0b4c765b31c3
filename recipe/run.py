"""The run folder and its manifest: stages that only add, atomically, and know when they have nothing to do.

A stage owns some paths of the run folder. It writes them aside, in `.STAGE.partial`, and they are
renamed into place before its entry goes into `manifest.json`. An entry names the sha256 of all that the
stage read and wrote, so a stage whose inputs are as they were does nothing, and one that was killed
anywhere is simply run again.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recipe.code import code_of
from recipe.disk import flush_folder, flush_tree, same_files, tree_sha256, write_json, write_text
from recipe.errors import InterruptedRunError, UserError, full_disk, signals_given
from recipe.load import dump_resolved, read_resolved
from recipe.made_by import image, versions
from recipe.nodes import ALONE, Nodes
from recipe.progress import Reporter
from recipe.schema import Recipe, canonical_sha256, placeless

MANIFEST = "manifest.json"
SECONDS_A_LOOK = 1.0


class FolderBusyError(UserError):
    """Another process works in the run folder."""


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: What the command line and the manifest call it.
        does: One line for the plan.
        needs: The names of the stages whose outputs it reads.
        outputs: The paths of the run folder that it owns.
        reads: What of the recipe decides its outputs: sections, or `section.key`.
        work: Writes the outputs into the folder it is given and returns the lines to print, by label.
        outside: One sha256 over what it reads from outside the run folder, if it does.
        scratch: The paths of the run folder that it works with until it is done.
        lost: Whether something that it left outside of the run folder is gone, as on another machine.
    """

    name: str
    does: str
    needs: tuple[str, ...]
    outputs: tuple[str, ...]
    reads: tuple[str, ...]
    work: Callable[["Run", Path, Reporter], dict[str, object]]
    outside: Callable[["Run"], str] | None = None
    scratch: tuple[str, ...] = ()
    lost: Callable[["Run"], bool] | None = None


class Run:
    """A run folder opened for one recipe.

    Args:
        folder: Where the run lies; made if it is not there.
        recipe: The recipe; its science must be that of the folder.
        nodes: The node that this is, where several train together.

    Raises:
        UserError: The folder was made by another science, or holds something else.
    """

    def __init__(self, folder: Path, recipe: Recipe, nodes: Nodes = ALONE) -> None:
        self.folder = folder
        self.recipe = recipe
        self.nodes = nodes
        self._refuse_foreign_folder()

    def path(self, *parts: str) -> Path:
        """Return a path inside the run folder."""
        return self.folder.joinpath(*parts)

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it lies on disk; empty before the first stage."""
        path = self.path(MANIFEST)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def done(self, name: str) -> dict[str, Any] | None:
        """Return the manifest's entry of a stage, or None."""
        entry: dict[str, Any] | None = self.manifest.get("stages", {}).get(name)
        return entry

    @contextlib.contextmanager
    def locked(self, patience: float = 0) -> Iterator[None]:
        """Hold the folder against another process; one that works in it has `patience` seconds to end.

        Raises:
            FolderBusyError: Another process works in it.
            UserError: It has made it another science's, or the folder can't be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.folder}: can't be made ({error.strerror}); name another with --run"
            ) from None
        lock = FileLock(self.path(".lock"), timeout=patience)
        try:
            lock.acquire()
        except Timeout:
            raise FolderBusyError(
                f"{self.folder}: another notus works in this run folder; wait for it to end"
            ) from None
        except PermissionError:
            raise UserError(
                f"{self.folder}: user {os.getuid()} may not write here; `chown -R {os.getuid()} {self.folder}`, or "
                "name another folder with --run"
            ) from None
        try:
            self._refuse_foreign_folder()  # again: it may have been made since
            yield
        finally:
            lock.release()

    def bring(self, stages: Sequence[Stage], reporter: Reporter) -> dict[str, dict[str, object]]:
        """Run those of `stages`, in order, that are not up to date. Return what each did.

        Raises:
            UserError: What a stage finds wrong with the user's input.
        """
        self._write_recipe()
        again = self._lost(stages)
        return {stage.name: self._bring_one(stage, reporter, again=stage.name in again) for stage in stages}

    def bring_beside(self, stages: Sequence[Stage], reporter: Reporter) -> dict[str, dict[str, object]]:
        """Bring `stages` in a folder that other nodes may share: what they do, or have done, is only read.

        Raises:
            UserError: What a stage finds wrong with the user's input.
        """
        looked_at, waits = None, False
        while True:
            self._refuse_foreign_folder()  # each time: who is waited for may have made it
            manifest = self.manifest
            if manifest != looked_at and all(map(self.is_current, stages)):  # a look may read the whole base
                return {stage.name: self._nothing_to_do(stage, reporter) for stage in stages}
            looked_at = manifest
            try:
                with self.locked():
                    return self.bring(stages, reporter)
            except FolderBusyError:
                if not waits:
                    names = " and ".join(stage.name for stage in stages)
                    reporter.say(f"{self.folder}: another notus works here; waiting for it to {names}")
                waits = True
                time.sleep(SECONDS_A_LOOK)

    def is_current(self, stage: Stage) -> bool:
        """Whether a stage's outputs are there, whole, and made from what the run folder holds now."""
        entry = self.done(stage.name)
        if entry is None or entry["recipe"] != self._key(stage) or entry["inputs"] != self._inputs(stage):
            return False
        return same_files(self.folder, entry["outputs"])

    def forget(self, name: str) -> None:
        """Take a stage for not done, whatever it left."""
        self._record(name, None)

    def _lost(self, stages: Sequence[Stage]) -> set[str]:
        """Return those of `stages` to do again, for one that is still to come or because they are what is asked for."""
        lost = [
            stage
            for stage in stages
            if stage.lost is not None and self.is_current(stage) and stage.lost(self)
        ]
        if lost and (stages[-1] in lost or not all(map(self.is_current, stages))):
            return {stage.name for stage in lost}
        return set()

    def _bring_one(self, stage: Stage, reporter: Reporter, *, again: bool = False) -> dict[str, object]:
        if not again and self.is_current(stage):
            self._remove_scratch(stage)  # it may have been ended just before it did so
            return self._nothing_to_do(stage, reporter)
        if signals_given:  # what was raised for it got lost in a library
            raise SystemExit(128 + signals_given[0])
        reporter.head(f"{stage.name}: {stage.does}")
        inputs = self._inputs(stage)
        code = code_of()  # now: an edit while it works is not what it was made by
        partial = self.path(f".{stage.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        started = time.time()
        try:
            said = stage.work(self, partial, reporter)
        except BaseException as error:
            kinds = (UserError, InterruptedRunError, SystemExit)
            if isinstance(error, kinds) or full_disk(error) is not None:
                shutil.rmtree(partial, ignore_errors=True)  # NFS keeps what is open; the next one removes it
            raise
        flush_tree(partial)  # before the manifest says that they are there
        seconds = time.time() - started
        self._move_in(stage, partial)
        outputs = {
            file: digest for name in stage.outputs for file, digest in tree_sha256(self.folder, name).items()
        }
        entry = {
            "code": code.entry(),
            "inputs": inputs,
            "outputs": outputs,
            "recipe": self._key(stage),
            "said": said,
            "seconds": round(seconds, 3),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "versions": versions(),
            **({"image": where} if (where := image()) else {}),
        }
        self._record(stage.name, entry)
        self._remove_scratch(stage)
        for label, value in said.items():
            reporter.say(f"  {label}: {value}")
        reporter.say(f"  {stage.name} took {seconds:.1f} s")
        return {"stage": stage.name, "ran": True, "seconds": round(seconds, 3), **said}

    def _nothing_to_do(self, stage: Stage, reporter: Reporter) -> dict[str, object]:
        if stage.name not in os.environ.get("NOTUS_REPORTED", "").split(
            ","
        ):  # by a container before this one
            reporter.head(f"{stage.name}: up to date")
        entry = self.done(stage.name)
        assert entry is not None
        return {"stage": stage.name, "ran": False, **entry["said"]}

    def _remove_scratch(self, stage: Stage) -> None:
        for name in stage.scratch:
            shutil.rmtree(self.path(name), ignore_errors=True)

    def _move_in(self, stage: Stage, partial: Path) -> None:
        owned = [Path(name) for name in stage.outputs]
        written = {path.relative_to(partial) for path in partial.rglob("*")}
        foreign = {
            path
            for path in written
            if not any(path.is_relative_to(one) or one.is_relative_to(path) for one in owned)
        }
        if foreign or not written.issuperset(owned):
            message = f"stage {stage.name} owns {sorted(stage.outputs)} but wrote {sorted(map(str, written))}"
            raise RuntimeError(message)
        self._record(stage.name, None)  # from here on the stage is not done, whatever lies there
        for name in stage.outputs:
            target = self.path(name)
            if target.is_dir():
                shutil.rmtree(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            (partial / name).replace(target)
            flush_folder(target.parent)
        shutil.rmtree(partial)
        flush_folder(self.folder)

    def _record(self, name: str, entry: dict[str, Any] | None) -> None:
        manifest = self.manifest
        stages = manifest.get("stages", {})
        stages.pop(name, None)
        if entry is not None:
            stages[name] = entry
        write_json(
            self.path(MANIFEST),
            {"recipe": self.recipe.name, "science_sha256": self.recipe.science_sha256, "stages": stages},
        )

    def _key(self, stage: Stage) -> str:
        sections = {
            "science": self.recipe.science.canonical(),
            "execution": self.recipe.execution.model_dump(mode="json"),
            "evaluation": self.recipe.evaluation.model_dump(mode="json"),
            "release": self.recipe.release.model_dump(mode="json"),
        }
        read = {}
        for name in stage.reads:
            section, _, key = name.partition(".")
            read[name] = sections[section][key] if key else sections[section]
        return canonical_sha256(read)

    def _inputs(self, stage: Stage) -> dict[str, str]:
        stages = self.manifest.get("stages", {})
        inputs = {
            file: facts["sha256"]
            for need in stage.needs
            for file, facts in stages.get(need, {}).get("outputs", {}).items()
        }
        return inputs | ({"outside": stage.outside(self)} if stage.outside else {})

    def _refuse_foreign_folder(self) -> None:
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: not a folder; name another with --run")
        if not self.path(MANIFEST).is_file():
            foreign = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
            if foreign:
                raise UserError(
                    f"{self.folder}: not a run folder (it holds {foreign[0]}); name another with --run"
                )
            return
        try:
            made_by = self.manifest["science_sha256"]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{self.path(MANIFEST)}: not a manifest; name another folder with --run"
            ) from None
        if made_by != self.recipe.science_sha256:
            differs = _first_difference(self.folder, self.recipe)
            raise UserError(
                f"{self.folder}: made by another science ({differs}); name another with --run, or remove it"
            )

    def _write_recipe(self) -> None:
        if not self.path(MANIFEST).is_file():  # first: it makes the folder ours
            self._record("", None)
        write_text(self.path("recipe.yaml"), dump_resolved(self.recipe))


def _first_difference(folder: Path, recipe: Recipe) -> str:
    try:
        _, then = read_resolved(folder)
    except (OSError, KeyError, UserError):
        return "its recipe.yaml can't be read"
    for key, now in recipe.science.canonical().items():
        was = then.get(key)
        if key in {"model_name_or_path", "dataset"} and isinstance(was, str):
            was = placeless(was)
        if was != now:
            return f"{key} was {was!r}, now {now!r}"
    return "its hash differs"
