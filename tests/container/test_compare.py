"""Two images compared: the same is the same, and of what differs the first file is named, and in what."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from container.compare import brief, first_difference, layers_of

File = tuple[str, bytes, int, int]  # name, content, mode, time
FILES: list[File] = [("etc/one", b"1", 0o644, 7), ("etc/two", b"22", 0o755, 7)]


def exported(folder: Path, *layers: list[File], env: str = "A=1") -> Path:
    """Write an image as `buildah push dir:` does."""
    folder.mkdir()
    digests = []
    for files in layers:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for name, content, mode, time in files:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(content), mode, time
                tar.addfile(entry, io.BytesIO(content))
        digests.append(hashlib.sha256(data.getvalue()).hexdigest())
        (folder / digests[-1]).write_bytes(data.getvalue())
    history: list[dict[str, object]] = [
        {"created_by": f"/bin/sh -c step {place}"} for place in range(len(layers))
    ]
    configuration = json.dumps({"config": {"Env": [env]}, "history": [*history, {"empty_layer": True}]})
    name = hashlib.sha256(configuration.encode()).hexdigest()
    (folder / name).write_text(configuration)
    manifest = {
        "config": {"digest": f"sha256:{name}"},
        "layers": [{"digest": f"sha256:{digest}"} for digest in digests],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_the_same_twice(tmp_path: Path) -> None:
    one, other = exported(tmp_path / "one", FILES, FILES[:1]), exported(tmp_path / "other", FILES, FILES[:1])
    assert first_difference(one, other) is None
    assert [layer.made_by for layer in layers_of(one)] == ["/bin/sh -c step 0", "/bin/sh -c step 1"]
    assert all(layer.size == layer.path.stat().st_size for layer in layers_of(one))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("etc/two", b"23", 0o755, 7), "etc/two differs in its content"),
        (("etc/two", b"222", 0o755, 7), "etc/two differs in its size: 2 and 3"),
        (("etc/two", b"22", 0o644, 7), "etc/two differs in its mode: 0o755 and 0o644"),
        (("etc/two", b"22", 0o755, 8), "etc/two differs in its time: 7 and 8"),
        (("etc/twp", b"22", 0o755, 7), "etc/two in one where the other has etc/twp"),
    ],
)
def test_the_first_file_that_differs(tmp_path: Path, changed: File, said: str) -> None:
    later: list[File] = [("var/log", b"now", 0o644, 1)]
    one = exported(tmp_path / "one", FILES, FILES, FILES)
    other = exported(tmp_path / "other", FILES, [FILES[0], changed], later)
    difference = first_difference(one, other)
    assert difference is not None
    assert difference.startswith(f"layer 1 (step 1): {said}")


def test_a_file_more(tmp_path: Path) -> None:
    one, other = exported(tmp_path / "one", FILES), exported(tmp_path / "other", FILES[:1])
    assert first_difference(one, other) == "layer 0 (step 0): etc/two in one where the other has nothing more"


def test_a_layer_more(tmp_path: Path) -> None:
    one, other = exported(tmp_path / "one", FILES), exported(tmp_path / "other", FILES, FILES)
    assert first_difference(one, other) == "layer 1: only one of the images has it"


def test_the_configuration(tmp_path: Path) -> None:
    one, other = exported(tmp_path / "one", FILES), exported(tmp_path / "other", FILES, env="A=2")
    assert first_difference(one, other) == "configuration: config.Env[0] is 'A=1' in one, 'A=2' in the other"


def test_an_instruction_as_a_table_shows_it() -> None:
    assert brief("/bin/sh -c #(nop) COPY file:1a in /opt ") == "COPY a file in /opt"
    assert brief("|1 LOCK=it /bin/sh -c set -eu; pip install") == "pip install"
    assert len(brief(f"/bin/sh -c {'word ' * 40}")) == 48
