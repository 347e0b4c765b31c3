"""What is wrong with the scripts of `deploy/`: by shellcheck, and by running them where nothing does anything.

A script is run with a `docker` and a `notus` that only write down how they were called, and with no other variables
than SkyPilot sets. So a variable that nobody defines ends it, and each command line of Notus is seen as the shell
makes it.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import yaml
from typer.core import TyperGroup
from typer.exceptions import TyperException

import notus
from recipe.errors import UserError
from recipe.load import find_recipe, load_recipe

BIN = Path(sys.executable).parent  # where shellcheck is installed
IMAGE = "registry.example/notus@sha256:" + "0" * 64
PLACES = ("runs", "dev/shm", "tmp")  # that tasks name, at the root of the machines that they are written for
GIVEN = {"NOTUS_IMAGE": IMAGE, "NOTUS_BUCKET": "some-bucket", "HF_TOKEN": "hf_none"}
RECORDER = '#!/bin/bash\necho "${0##*/}" "${@@Q}" >> "$RECORD"\n'
# Says that there is no container to wait for, and has the image.
FAKES = {"notus": RECORDER, "docker": RECORDER, "sudo": '#!/bin/bash\nexec "$@"\n', "chown": "#!/bin/bash\n"}


@dataclass(frozen=True)
class Ran:
    """How a script ended, and what it called: words of each call of `docker` and `notus`."""

    code: int
    said: str
    calls: list[list[str]]

    @property
    def notus(self) -> list[list[str]]:
        """The command lines of Notus, in a container or not, without `notus`."""
        found = []
        for program, *words in self.calls:
            if program == "notus":
                found.append(words)
            elif words[0] == "run":
                found.append(words[words.index(IMAGE) + 1 :])
        return found


def scripts(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the shell scripts of a file of `deploy/`: where, and what."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".sh":
        yield file.name, text
        return
    task: dict[str, Any] = yaml.safe_load(text)
    for name in ("setup", "run"):
        if name in task:
            yield f"{file.name}: {name}", task[name]
    for place, hook in enumerate(task.get("config", {}).get("hooks", ())):
        yield f"{file.name}: hook {place + 1}", hook["run"]


def shellcheck(file: Path) -> list[str]:
    """Return what shellcheck says of a file's scripts, a line each."""
    found = []
    for where, script in scripts(file):
        judged = subprocess.run(
            [BIN / "shellcheck", "--shell=bash", "--format=gcc", "-"],
            input=script, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        found += [f"{where}: {line}" for line in (judged.stdout + judged.stderr).splitlines()]
    return found


def run_task(file: Path, place: Path, *, rank: int = 0, nodes: int = 1) -> Ran:
    """Run a task's `run` block as one node, in a folder of its own.

    Args:
        file: The task; its file mounts are taken from beside `deploy/`.
        place: An empty folder, home and root of all that it writes.
        rank: Which node it is.
        nodes: How many there are.
    """
    task: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    (home := place / "home").mkdir()
    for there, here in task["file_mounts"].items():
        if isinstance(here, str):
            (link := home / there.removeprefix("~/")).parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.parent.parent / here)
    script: str = task["run"]
    for folder in PLACES:
        (place / folder).mkdir(parents=True)
    script = re.sub(rf"(?<=[ =])/(?={'|'.join(PLACES)})", f"{place}/", script)
    environment = {key: value for key, value in task["envs"].items() if value is not None} | {
        key: GIVEN[key] for key in (*task["envs"], *task["secrets"]) if key in GIVEN
    }
    environment |= {
        "SKYPILOT_NUM_NODES": str(nodes),
        "SKYPILOT_NODE_RANK": str(rank),
        "SKYPILOT_NODE_IPS": "\n".join(f"10.0.0.{number + 1}" for number in range(nodes)),
    }
    return run_script(["-c", script], place, environment)


def run_script(script: Sequence[str], place: Path, environment: Mapping[str, str]) -> Ran:
    """Run bash with these arguments, these variables and the fakes; what has no fake is this machine's."""
    (fakes := place / "fakes").mkdir()
    for name, text in FAKES.items():
        (fakes / name).write_text(text, encoding="utf-8")
        (fakes / name).chmod(0o755)
    record = place / "record"
    record.touch()
    known = {"PATH": f"{fakes}:{os.defpath}", "HOME": str(place / "home"), "RECORD": str(record)}
    ended = subprocess.run(
        ["bash", *script], env=known | dict(environment), cwd=place, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    calls = [shlex.split(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return Ran(ended.returncode, ended.stderr, calls)


def refusal(arguments: Sequence[str], recipes: Path) -> str | None:
    """Return why our command line refuses arguments, without doing anything; None: it takes them.

    Args:
        arguments: What follows `notus`.
        recipes: The folder that a recipe file is looked for in, by its name.
    """
    group = typer.main.get_command(notus.app)
    assert isinstance(group, TyperGroup)
    name, *rest = arguments
    if name not in group.commands:
        return f"{name}: no such command"
    try:
        context = group.commands[name].make_context(name, list(rest))
        if "recipe" in context.params:
            recipe = context.params["recipe"]
            load_recipe(find_recipe(recipes / Path(recipe).name if "/" in recipe else recipe))
    except (TyperException, UserError) as error:
        return f"{name}: {getattr(error, 'message', error)}"
    return None
