"""The checkpoints of a run as files: whole ones, and one torn on purpose."""

import contextlib
import hashlib
import random
import re
from pathlib import Path

NAME = re.compile(r"step-(\d+)-([0-9a-f]{64})\.safetensors")


def whole_ones(run: Path) -> dict[int, Path]:
    """Return the checkpoints whose bytes are those that their name tells of, by step, in order."""
    found = {}
    for path in sorted((run / "checkpoints").glob("step-*.safetensors")):
        match = NAME.fullmatch(path.name)
        with contextlib.suppress(FileNotFoundError):  # an old one that the run removes meanwhile
            if match and hashlib.sha256(path.read_bytes()).hexdigest() == match[2]:
                found[int(match[1])] = path
    return dict(sorted(found.items()))


def newest(run: Path) -> int:
    """Return the step of the newest whole checkpoint; 0 if there is none."""
    return max(whole_ones(run), default=0)


def tear(run: Path, rng: random.Random) -> str | None:
    """Tear the newest checkpoint as a disk may that lost power: cut, or with other bytes. Return which, and how."""
    if not (each := whole_ones(run)):
        return None
    step = max(each)
    content = bytearray(each[step].read_bytes())
    place = rng.randrange(len(content))
    how = rng.choice(("cut", "flipped", "zeros"))
    if how == "cut":
        del content[place:]
    elif how == "flipped":
        content[place] ^= 1 << rng.randrange(8)
    else:
        end = min(len(content), place + 4096)
        content[place:end] = bytes(end - place)
    if hashlib.sha256(content).hexdigest() in each[step].name:  # they were zeros
        content[place] ^= 1
    each[step].write_bytes(content)
    return f"step {step}, {how} at byte {place} of {each[step].stat().st_size}"
