"""pyproject, the locks and the installed environment agree."""

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from container.image import LOCKS, ROOT
from container.packages import locked_versions

CUDA_ONLY = re.compile(r"(nvidia|cuda)-(?!ml-py)|triton$|liger-kernel$")


def locked(target: str) -> dict[str, Version]:
    return locked_versions(ROOT / LOCKS[target])


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["cuda"]]
    return [Requirement(text) for text in [*groups, *project["dependency-groups"]["build"]]]


@pytest.mark.parametrize("requirement", wanted(), ids=lambda requirement: requirement.name)
def test_the_lock_has_what_pyproject_asks_for(requirement: Requirement) -> None:
    assert requirement.specifier.contains(locked("cuda")[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("target", LOCKS)
def test_every_package_has_hashes(target: str) -> None:
    text = (ROOT / LOCKS[target]).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked(target)) > 60
    assert all("--hash=sha256:" in block for block in blocks)
    assert "/" not in re.sub(r"\S*# .*", "", text)  # no path and no index of whoever made it


def test_the_cpu_lock_is_the_same_without_cuda() -> None:
    cuda, cpu = locked("cuda"), locked("cpu")
    assert {name for name in cuda if name not in cpu} == {name for name in cuda if CUDA_ONLY.match(name)}
    assert {name: version.public for name, version in cpu.items()}.items() <= {
        name: version.public for name, version in cuda.items()
    }.items()
    assert cpu["torch"].local == "cpu"


def test_the_image_is_built_with_what_the_build_system_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["build-system"]["requires"] == project["dependency-groups"]["build"]


def test_this_environment_is_as_locked() -> None:
    pins = {name: version.public for name, version in locked("cuda").items()}
    installed = {
        canonicalize_name(found.name): Version(found.version).public
        for found in importlib.metadata.distributions()
    }
    tools = {"setuptools", "packaging", "pip"}  # pip's own environment may bring these
    differing = {
        name: (version, pins[name])
        for name, version in installed.items()
        if name in pins and version != pins[name] and name not in tools
    }
    assert not differing
    backend = {
        "hatchling",
        "pathspec",
        "pluggy",
        "tomlkit",
        "trove-classifiers",
    }  # pip has its own, where it builds
    assert set(locked("cpu")) - backend - set(installed) <= tools
