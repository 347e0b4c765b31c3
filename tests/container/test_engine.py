"""What keeps Docker from starting a container is one line, if the user can mend it."""

import shutil
from pathlib import Path

import pytest
from docker.errors import APIError

from container import buildah, image
from container.engine import _refusal
from recipe.errors import UserError

# As engine and NVIDIA's container toolkit say it.
NO_TOOLKIT = 'could not select device driver "" with capabilities: [[gpu]]'
OLD_DRIVER = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: error during container init: error running prestart hook #0: exit status 1, "
    "stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: requirement error: unsatisfied condition: "
    "cuda>=13.0, please update your driver to a newer version, or use an earlier cuda container: unknown"
)
NO_DRIVER = (
    "stderr: nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open"
)
NO_CDI = "failed to inject devices: unresolvable CDI devices nvidia.com/gpu=all"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (NO_TOOLKIT, "install the NVIDIA driver and the container toolkit"),
        (NO_DRIVER, "install the NVIDIA driver and the container toolkit"),
        (NO_CDI, "install the NVIDIA driver and the container toolkit"),
        (OLD_DRIVER, "driver is too old for the image (cuda>=13.0); install driver 580 or later"),
        ("write /x: no space left on device", "make room"),
    ],
)
def test_one_line(said: str, line: str) -> None:
    refusal = _refusal(APIError("500 Server Error", explanation=said))
    assert refusal is not None
    assert line in str(refusal)
    assert "\n" not in str(refusal)


def test_the_rest_is_no_mistake_of_the_user() -> None:
    assert _refusal(APIError("500 Server Error", explanation="no such container")) is None


def test_too_little_room_to_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil._ntuple_diskusage(total=10**12, used=0, free=12 * 10**9)
    monkeypatch.setattr("container.image.shutil.disk_usage", lambda _: usage)
    monkeypatch.setattr("container.buildah.storage", lambda: tmp_path)
    image._refuse_full_disk(image.Target.cpu, docker=False)
    with pytest.raises(
        UserError, match=r"30 GB needed to build the cuda image, 12\.0 GB free where buildah keeps"
    ):
        image._refuse_full_disk(image.Target.cuda, docker=False)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("STEP 1\nnotus: the base is too old\nmore\n", "the base is too old"),
        (
            "Error: creating build container: initializing source docker://debian:x: pinging: no such host\n",
            "the base image can't be had (initializing source docker://debian:x: pinging: no such host); reach its",
        ),
    ],
)
def test_what_keeps_a_build_from_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, line: str
) -> None:
    tool = tmp_path / "bin" / "buildah"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n[ $1 = bud ] || exit 0\nprintf '{said}'\nexit 125\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    with pytest.raises(UserError) as refusal:
        buildah.build(tmp_path, "notus:x", {}, time=1, log=tmp_path / "log")
    assert str(refusal.value).startswith(line)


def test_a_builder_that_copies_every_layer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "buildah").write_text("#!/bin/sh\necho vfs /somewhere\n")
    (tmp_path / "buildah").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match="`apt-get install fuse-overlayfs`"):
        buildah.storage()
