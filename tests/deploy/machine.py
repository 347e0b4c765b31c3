"""A machine of GCP's on this one: its metadata, its disk, and as much of systemd as the start-up script needs."""

import http.server
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.check import IMAGE
from tests.support import ROOT

STARTUP = ROOT / "deploy" / "gcloud" / "startup.sh"
DOCKER = Path(__file__).with_name("fake_docker.py")
LOGGING = '#!/bin/bash\necho "${0##*/} $*" >> "$MACHINE/calls"\n'
FAKES = {
    "docker": f'#!/bin/bash\nexec {shlex.quote(sys.executable)} -IS {shlex.quote(str(DOCKER))} "$@"\n',
    "sudo": '#!/bin/bash\nexec "$@"\n',
    "systemctl": LOGGING,
    "gcloud": LOGGING
    + 'case $1 in secrets) echo hf_secret ;; auth) touch "$FAKE_DOCKER/configured" ;; esac\n',
    "blkid": LOGGING + '[ -e "$MACHINE/formatted" ]\n',
    "mkfs.ext4": LOGGING + 'touch "$MACHINE/formatted"\n',
    "mount": LOGGING,
    "mountpoint": '#!/bin/bash\nexit 1\n',
}  # fmt: skip


class Machine:
    """A machine that can be started, get its notice, and be started again.

    Attributes:
        root: Its disk.
        attributes: Its metadata, by path below `instance/`.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.root, self.docker = folder, folder / "disk", folder / "docker"
        self.attributes = {
            "attributes/notus-image": IMAGE,
            "attributes/notus-recipe": "smoke",
            "attributes/notus-token-secret": "hub",
            "attributes/notus-stages": (ROOT / "deploy" / "stages.sh").read_text(encoding="utf-8"),
            "zone": "projects/1/zones/us-central1-f",
        }
        self.docker.mkdir(parents=True)
        (fakes := folder / "fakes").mkdir()
        for name, text in FAKES.items():
            (fakes / name).write_text(text, encoding="utf-8")
            (fakes / name).chmod(0o755)
        self.environment = {
            "PATH": f"{fakes}:{os.defpath}",
            "MACHINE": str(folder),
            "FAKE_DOCKER": str(self.docker),
            "GCE_METADATA_HOST": f"127.0.0.1:{port}",
            "NOTUS_ROOT": str(self.root),
            "NOTUS_STATE": str(folder / "state"),
            "NOTUS_UNITS": str(folder / "units"),
            "NOTUS_DISK": str(folder / "new-disk"),
        }

    def boot(self) -> subprocess.CompletedProcess[str]:
        """Run the start-up script, as the guest agent does at each start."""
        return subprocess.run(
            ["bash", str(STARTUP)],
            env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def unit(self) -> dict[str, str]:
        """Return the settings of the unit that the script wrote."""
        text = (self.folder / "units" / "notus.service").read_text(encoding="utf-8")
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and line[0] != "#")

    def start(self) -> "subprocess.Popen[str]":
        """Start the unit, as `systemctl start` would."""
        unit = self.unit()
        file = Path(unit["EnvironmentFile"]).read_text(encoding="utf-8")
        given = dict(line.split("=", 1) for line in file.splitlines())
        return subprocess.Popen(
            shlex.split(unit["ExecStart"]),
            env=self.environment | given, start_new_session=True, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ended(self, process: "subprocess.Popen[str]") -> int:
        """Wait for the unit's script, do what the unit does after it, and return its code."""
        code = process.wait(60)
        process.communicate()
        after = subprocess.run(
            shlex.split(self.unit()["ExecStopPost"]),
            env=self.environment | {"EXIT_STATUS": str(code)}, check=True, timeout=60, capture_output=True,
        )  # fmt: skip
        assert after.returncode == 0
        return code

    def notice(self, process: "subprocess.Popen[str]", *, group: bool = False) -> None:
        """Send SIGTERM: to the script only, as the unit says (KillMode=mixed), or to all that it started."""
        (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)

    def until_step(self, step: int, run: Path) -> None:
        """Wait until the training has come to a step."""
        deadline = time.monotonic() + 30
        while str(step) not in self.lines(run / "steps"):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.root / "runs" / "smoke"

    @property
    def calls(self) -> str:
        """What was asked of systemd, gcloud and the disk."""
        return "\n".join(self.lines(self.folder / "calls"))

    @property
    def is_off(self) -> bool:
        """Whether it was told to power off."""
        return "systemctl poweroff" in self.calls

    @staticmethod
    def lines(file: Path) -> list[str]:
        """Return the lines of a file, if it is there."""
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Yield a new machine, with its metadata server on the loopback."""

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            value = made.attributes.get(self.path.removeprefix("/computeMetadata/v1/instance/"))
            asked_well = self.headers.get("Metadata-Flavor") == "Google"
            self.send_response(403 if not asked_well else 404 if value is None else 200)
            self.end_headers()
            self.wfile.write((value or "").encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        made = Machine(folder, server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
