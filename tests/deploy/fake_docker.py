"""A `docker` whose containers are processes of this machine: enough of it for `deploy/stages.sh`.

A container lives on when its client ends, as a real one does. It trains by counting to STEPS: its checkpoint is the
number that it has come to, SIGTERM lets it write one, and a second SIGTERM ends it without.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ.get("FAKE_DOCKER", "."))
RUNNING, IMAGES, CALLS = STATE / "pid", STATE / "images", STATE / "calls"
STEPS, SECONDS_A_STEP, SECONDS_A_CHECKPOINT = 20, 0.02, 0.1


def container(run: Path, arguments: list[str]) -> int:
    """Do what Notus would; return the exit code."""
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    with (run / "did").open("a") as did:
        did.write(arguments[0] + "\n")
    fails = STATE / f"{arguments[0]}-fails"
    if fails.exists():
        return int(fails.read_text())
    if arguments[0] != "train":
        return 0
    checkpoint = run / "checkpoint"
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    while step < STEPS:
        time.sleep(SECONDS_A_STEP)
        step += 1
        with (run / "steps").open("a") as steps:
            steps.write(f"{step}\n")
        if signals:
            time.sleep(SECONDS_A_CHECKPOINT)
            (run / "signals").write_text(str(len(signals)))
            if len(signals) > 1:
                return 1
            checkpoint.write_text(str(step))
            return 143
    return 0


def client(words: list[str]) -> int:  # noqa: PLR0911 - a line a command
    """Answer one call of `docker`."""
    with CALLS.open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    match words[0]:
        case "image":
            return 0 if IMAGES.exists() and words[-1] in IMAGES.read_text() else 1
        case "pull":
            if "private" in words[-1] and not (STATE / "configured").exists():
                return 1
            IMAGES.write_text(words[-1])
            return 0
        case "kill" if RUNNING.exists():
            os.kill(int(RUNNING.read_text()), signal.SIGTERM)
            return 0
        case "wait":
            while RUNNING.exists():
                time.sleep(0.01)
            return 0
        case "run":
            mounts = {
                words[place + 1].split(":")[1]: words[place + 1].split(":")[0]
                for place, word in enumerate(words)
                if word == "--volume"
            }
            image = next(place for place, word in enumerate(words) if "@sha256:" in word and "=" not in word)
            command = [
                sys.executable,
                "-IS",
                __file__,
                "--container",
                mounts["/work/run"],
                *words[image + 1 :],
            ]
            if "--sig-proxy=false" not in words:
                signal.signal(signal.SIGTERM, lambda *_: os.kill(int(RUNNING.read_text()), signal.SIGTERM))
            return subprocess.Popen(command, start_new_session=True).wait()
    return 1


def main() -> int:
    """Be the container, or the client."""
    if sys.argv[1:2] != ["--container"]:
        return client(sys.argv[1:])
    RUNNING.write_text(str(os.getpid()))
    try:
        return container(Path(sys.argv[2]), sys.argv[3:])
    finally:
        RUNNING.unlink()


if __name__ == "__main__":
    sys.exit(main())
