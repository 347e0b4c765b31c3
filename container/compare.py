"""Two images, layer by layer: whether they are the same, and else the first file that differs and in what."""

import hashlib
import itertools
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH = 48  # of an instruction in a table


@dataclass(frozen=True)
class Layer:
    """A layer of an exported image.

    Attributes:
        digest: Of its uncompressed tar: `sha256:` and 64 hex digits.
        size: Of that, in bytes.
        made_by: The instruction that made it.
        path: The tar.
    """

    digest: str
    size: int
    made_by: str
    path: Path


def layers_of(folder: Path) -> list[Layer]:
    """Return the layers of an image that was exported to `folder`, the base's first."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    made_by = [
        entry.get("created_by", "")
        for entry in configuration(folder)["history"]
        if not entry.get("empty_layer")
    ]
    found = []
    for layer, instruction in zip(manifest["layers"], made_by, strict=True):
        path = folder / layer["digest"].partition(":")[2]
        found.append(Layer(layer["digest"], path.stat().st_size, instruction, path))
    return found


def configuration(folder: Path) -> dict[str, Any]:
    """Return the configuration of an image that was exported to `folder`; its sha256 is the image's id."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    text = (folder / manifest["config"]["digest"].partition(":")[2]).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def first_difference(one: Path, other: Path) -> str | None:
    """Return what differs first between two exported images: a file of a layer, or a key of the configuration.

    Returns:
        One line that says where and what, or None if they are the same.
    """
    layers = itertools.zip_longest(layers_of(one), layers_of(other))
    for place, (left, right) in enumerate(layers):
        if left is None or right is None:
            return f"layer {place}: only one of the images has it"
        if left.digest != right.digest:
            return f"layer {place} ({brief(left.made_by)}): {_first_file(left.path, right.path)}"
    was, now = _flat(configuration(one)), _flat(configuration(other))
    for key in sorted({*was, *now}):
        if was.get(key) != now.get(key):
            return f"configuration: {key} is {was.get(key)!r} in one, {now.get(key)!r} in the other"
    return None


def brief(instruction: str) -> str:
    """Return an instruction as a table can show it."""
    bare = re.sub(
        r"^(\|\d+ .*?)?/bin/sh -c (#\(nop\) )?(set -eu; )?", "", instruction
    )  # |N: the build's arguments
    text = " ".join(re.sub(r"\bfile:[0-9a-f]+", "a file", bare).split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def _first_file(one: Path, other: Path) -> str:
    for left, right in itertools.zip_longest(_entries(one), _entries(other)):
        if left != right:
            if left is None or right is None or left["name"] != right["name"]:
                names = [entry["name"] if entry else "nothing more" for entry in (left, right)]
                return f"{names[0]} in one where the other has {names[1]}"
            what = next(key for key in left if left[key] != right[key])
            return f"{left['name']} differs in its {what}: {left[what]} and {right[what]}"
    return "the same files, in tars of other form"


def _entries(path: Path) -> Iterator[dict[str, object]]:
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            yield {
                "name": member.name,
                "type": member.type.decode(),
                "mode": oct(member.mode),
                "owner": f"{member.uid}:{member.gid}",
                "link": member.linkname,
                "size": member.size,
                "content": hashlib.file_digest(file, "sha256").hexdigest() if file else "",  # type: ignore[arg-type]
                "time": member.mtime,
                "headers": sorted(member.pax_headers.items()),
            }


def _flat(value: object, key: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        pairs = [(f"{key}.{name}" if key else name, inner) for name, inner in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{key}[{place}]", inner) for place, inner in enumerate(value)]
    else:
        return {key: value}
    return {name: found for place, inner in pairs for name, found in _flat(inner, place).items()}
