"""What is in the image, and how it is built: nothing that need not be there, and the same twice."""

import json
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name

from container import buildah
from container.compare import first_difference
from recipe.errors import UserError
from tests.docker.conftest import Hardened
from tests.support import ROOT

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

pytestmark = pytest.mark.docker
LEFTOVERS = r"""
find / -xdev \( -path /proc -o -path /sys \) -prune -o \( \
  -name .git -o -name .nox -o -path '*/.cache/pip' -o -path '/opt/notus/lib/python3*/site-packages/tests' \
  -o -path '/var/lib/apt/lists/*' -o -path '/var/cache/apt/*' -o -path '/var/log/*' \
  -o -path '/root/*' -a ! -name '.bashrc' -a ! -name .profile \
\) -print
find /tmp /cache -mindepth 1  # volumes, which begin with what the image has there
"""


def inside(hardened: Hardened, script: str) -> str:
    """Run a script in the image, as one who may read everything."""
    reader = ["--user", "0", "--cap-add", "DAC_READ_SEARCH", "--entrypoint", "sh"]
    ended = hardened("-c", script, options=reader)
    assert ended.code == 0, ended.err
    return ended.out.strip()


def test_nothing_is_left_over(hardened: Hardened) -> None:
    assert inside(hardened, LEFTOVERS) == ""


def test_byte_code_goes_by_hashes(hardened: Hardened) -> None:
    script = """
import pathlib, sys
files = [f for top in ("/opt/notus", "/usr/lib/python3.11") for f in pathlib.Path(top).rglob("*.pyc")]
print(len(files), sum(f.read_bytes()[4] == 0 for f in files))
"""
    ended = hardened("-c", script, options=["--entrypoint", "python"])
    files, timed = map(int, ended.out.split())
    assert files > 5000
    assert timed == 0


def test_labels_and_environment(image: "Image") -> None:
    labels = image.labels
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(labels["org.opencontainers.image.revision"]) == 40
    assert labels["org.opencontainers.image.created"].endswith("Z")
    config = image.attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["notus"]
    for setting in ("NVIDIA_REQUIRE_CUDA=cuda>=13.0", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"):
        assert setting in config["Env"]


def test_packages_are_as_locked(hardened: Hardened) -> None:
    found = json.loads(hardened("doctor", "--json").out)
    assert found["healthy"]
    freeze = [line.split("==") for line in inside(hardened, "pip freeze --exclude notus").splitlines()]
    locked = (ROOT / "requirements-cpu.lock").read_text(encoding="utf-8").splitlines()
    assert len(freeze) > 60
    assert {f"{canonicalize_name(name)}=={version} \\" for name, version in freeze} <= set(locked)


@pytest.mark.parametrize(
    ("content", "said"),
    [("same", None), ("other", "layer 1 (COPY a file in /): two differs in its size: 4 and 5")],
)
def test_the_first_file_that_differs_between_builds(tmp_path: Path, content: str, said: str | None) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "one").write_text("one")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY one /\nCOPY dir/two /\nENV SOME=thing\n")
    ids, exported = [], []
    for place, text in enumerate(("same", content)):
        (tmp_path / "dir" / "two").write_text(text)  # as a step that writes other bytes each time would
        tag = f"notus-test:{uuid.uuid4().hex[:8]}"
        try:
            ids.append(buildah.build(tmp_path, tag, {}, time=1_700_000_000, log=tmp_path.parent / "log"))
            exported.append(tmp_path.parent / f"exported-{place}-{content}")
            buildah.export(tag, exported[-1])
        finally:
            buildah.remove(tag)
    assert first_difference(*exported) == said
    assert (ids[0] == ids[1]) is (said is None)


OLD_PYTHON = """#!/bin/sh
exec /usr/bin/python3.11 -c "import sys; sys.version_info = (3, 9, 2); sys.version = '3.9.2'; exec(sys.argv[1])" "$2"
"""


def test_a_base_with_an_old_python(docker: "DockerClient", image: "Image", tmp_path: Path) -> None:
    """The Dockerfile's own first stage, over a base whose python3 is another."""
    old = f"notus-old:{uuid.uuid4().hex[:8]}"
    (tmp_path / "python3").write_text(OLD_PYTHON)
    (tmp_path / "python3").chmod(0o755)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {image.id}\nUSER 0\nENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n"
        "COPY python3 /usr/local/bin/python3\nRUN printf '#!/bin/sh\\n' > /usr/local/bin/apt-get && chmod 755 "
        "/usr/local/bin/apt-get\n"
    )
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", old, str(tmp_path)], check=True, capture_output=True
    )
    try:
        arguments = {"BASE_IMAGE": f"docker-daemon:{old}", "DEBIAN_SNAPSHOT": ""}
        commit = buildah.commit_of(ROOT)
        with buildah.context_of(ROOT, commit) as context, pytest.raises(UserError) as mistake:
            buildah.build(context, f"{old}-x", arguments, time=commit.time, log=tmp_path / "log")
        assert str(mistake.value) == (
            "the base image has Python 3.9.2, and Notus runs on 3.11; build on another BASE_IMAGE"
        )
    finally:
        docker.images.remove(old, force=True)


def test_no_buildah(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="buildah: not found; install it"):
        buildah.storage()
