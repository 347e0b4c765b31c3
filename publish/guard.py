"""What must not get into a release, looked at before anything is pushed."""

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_session
from huggingface_hub.repocard import metadata_load
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_raise_for_status
from yaml import YAMLError

from publish.checks.pickles import PICKLES, is_pickle
from publish.contents import STATEMENT, Repo, files_of, kinds
from publish.plan import RepoPlan
from publish.retry import PatientHub
from recipe.disk import read_json
from recipe.errors import UserError
from recipe.run import Run

README, ADAPTER_CONFIG = "README.md", "adapter_config.json"
# What a trainer keeps for itself.
NEVER = re.compile(r"(.*/)?(training_args|optimizer|scheduler|rng_state|scaler|trainer_state)[^/]*")
PICKLE = re.compile(rb"\x80[\x02-\x05]")  # how protocols 2 to 5 start
ZIP = b"PK\x03\x04"  # how torch.save's archive starts; nothing of a release is one
CONTENT = {".arrow", ".csv", ".gguf", ".jsonl", ".onnx", ".parquet", ".safetensors"}  # what somebody may miss
DATA_FILES = (".parquet",)  # texts of others, which may name any path


def refuse_unfit_files(run: Run, *, with_data: bool = False) -> None:
    """Refuse files that can't be read, are pickles, are the trainer's own, or name a path of this machine.

    The Hub keeps no mode but a regular file's, so none is looked at but whether we may read.

    Raises:
        UserError: Names the file.
    """
    local = _local_paths(run)
    for kind, repo_id in kinds(run.recipe, with_data=with_data).items():
        for name, path in files_of(run, kind).items():
            where = f"{repo_id}: {name}"
            if not path.is_file():
                raise UserError(f"{where} is no file at {path}; run the stage that makes it again")
            if not os.access(path, os.R_OK):
                raise UserError(f"{where} can't be read; `chmod u+r {path}`")
            with path.open("rb") as file:
                start = file.read(4)
                file.seek(0)
                pickle = PICKLE.match(start) is not None
                if path.suffix == ".safetensors":  # the length of its header may start like one
                    pickle = is_pickle(file, path.stat().st_size)
            if NEVER.fullmatch(name) or path.suffix in PICKLES or pickle or start == ZIP:
                raise UserError(
                    f"{where} is not published: a pickle, or the trainer's own; remove it from {path}"
                )
            if found := _names_path(path, local):
                raise UserError(
                    f"{where} names {found}, a path of this machine; it must not be published (it lies at {path})"
                )


def refuse_faulty_cards(hub: PatientHub, repos: Sequence[Repo]) -> None:
    """Ask the Hub about each card, before anything is pushed.

    Raises:
        UserError: Names the repository, and says what the Hub says.
    """
    url, headers = f"{constants.ENDPOINT}/api/validate-yaml", build_hf_headers()
    for repo in repos:
        if README not in repo.files:
            continue
        asked = {"repoType": repo.type, "content": repo.files[README].read_text(encoding="utf-8")}
        answer = hub.ask(
            f"checking the card of {repo.repo_id}",
            partial(get_session().post, url, json=asked, headers=headers),
        )
        if answer.status_code not in {200, 400}:
            hub.ask(f"checking the card of {repo.repo_id}", partial(hf_raise_for_status, answer))
        try:
            errors = answer.json().get("errors")
        except (ValueError, AttributeError):
            raise UserError(
                f"{repo.repo_id}: {constants.ENDPOINT} answers no JSON about its card; check HF_ENDPOINT"
            ) from None
        if errors:
            said = "; ".join(" ".join(str(error["message"]).split()) for error in errors)
            raise UserError(f"{repo.repo_id}: the Hub refuses its README.md: {said}")


def refuse_other_base(hub: PatientHub, plan: RepoPlan) -> None:
    """Refuse to push adapter, or card, over those of another base, or a release over what is none.

    Raises:
        UserError: Names both bases, or what would be lost.
    """
    if plan.there or plan.head is None:
        return
    repo, head = plan.repo, plan.head
    ours = _bases(repo.files)
    with tempfile.TemporaryDirectory() as folder:

        def bring(name: str) -> Path:
            return Path(
                hub.api.hf_hub_download(
                    repo.repo_id, name, revision=head, repo_type=repo.type, cache_dir=folder
                )
            )

        names = {README, ADAPTER_CONFIG} & plan.remote.keys()
        doing = f"looking at {repo.repo_id}"
        theirs = _bases({name: hub.ask(doing, partial(bring, name)) for name in sorted(names)})
    if ours and theirs and not theirs & ours:
        raise UserError(
            f"{repo.repo_id}: what lies there is of the base {min(theirs)}, this is of {min(ours)}; name another "
            "repository, or use --force to replace it"
        )
    lost = [
        path
        for path, state in plan.states.items()
        if state in {"changed", "stale"} and Path(path).suffix in PICKLES | CONTENT
    ]
    if lost and not theirs & ours and STATEMENT not in plan.remote:
        raise UserError(
            f"{repo.repo_id}: what lies there is no release of Notus ({lost[0]} would be lost, {len(lost)} file(s) in "
            "all); name another repository, or use --force to replace it"
        )


def _bases(files: Mapping[str, Path]) -> set[str]:
    """Return the bases that card and configuration name, in lower case as the Hub's names have none."""
    found: list[Any] = []
    if README in files:
        with contextlib.suppress(ValueError, YAMLError):  # a card of somebody's that can't be read names none
            named = (metadata_load(files[README]) or {}).get("base_model")
            found += named if isinstance(named, list) else [named]
    if ADAPTER_CONFIG in files:
        with contextlib.suppress(ValueError, AttributeError):
            found.append(read_json(files[ADAPTER_CONFIG]).get("base_model_name_or_path"))
    return {name.lower() for name in found if isinstance(name, str) and name}


def _local_paths(run: Run) -> list[re.Pattern[bytes]]:
    """Return what finds the run folder's path, and anything in the home folder."""
    folder = {str(run.folder.absolute()), str(run.folder.resolve())}
    found = [re.compile(re.escape(os.fsencode(path)) + rb"(?![\w.-])") for path in folder if path != "/"]
    home = os.environ.get("HOME", "")
    if home not in {"/", ""}:
        found.append(re.compile(rb"(?<![\w.-])" + re.escape(os.fsencode(home)) + rb"/[\w.-]+"))
    return found


def _names_path(path: Path, local: Sequence[re.Pattern[bytes]]) -> str:
    """Return the path that a file names; of safetensors only the header, the rest is numbers."""
    if path.suffix in DATA_FILES:
        return ""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little") if path.suffix == ".safetensors" else -1
        if size < 0:
            file.seek(0)
        text = file.read(size)
    for pattern in local:
        if found := pattern.search(text):
            return found.group().decode(errors="replace")
    return ""
