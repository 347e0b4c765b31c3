"""Checks of a published folder: a good one passes, each damage is found by its check and under its file's name."""

import base64
import bz2
import gzip
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from publish.checks.folder import is_plain_name, parse_json, printable
from publish.checks.pickles import is_pickle
from publish.download import Published
from publish.inspect import Check, inspect_folder
from recipe.disk import file_sha256
from recipe.errors import UserError
from recipe.schema import canonical_sha256
from tests.publish.released_folder import (
    BASE,
    REPO_ID,
    TAG,
    Released,
    keys,
    make,
    sbom,
    statement,
    write_adapter,
)
from tests.support import ROOT

ADAPTER, CONFIG, PROVENANCE = "adapter_model.safetensors", "adapter_config.json", "provenance.json"
Failed = set[tuple[str, str | None]]
CHECKS = [
    "files", "signature", "statement", "hashes", "weights", "no pickles", "no code", "base", "card", "materials",
    "recipe", "no local paths",
]  # fmt: skip


class Sends:
    """Pickled, it calls a function when it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("true",)


@pytest.fixture
def released(tmp_path: Path) -> Released:
    return make(tmp_path / "small")


@pytest.fixture
def signed(tmp_path: Path) -> Released:
    return make(tmp_path / "small", signed=True)


def look(released: Released, public_key: Path | None = None) -> list[Check]:
    return inspect_folder(released.folder, repo_id=REPO_ID, revision=TAG, public_key=public_key)


def failed(checks: list[Check]) -> Failed:
    return {(check.name, check.file) for check in checks if check.ok is False}


def put(name: str, content: bytes) -> Callable[[Released], object]:
    """Write a file, and state it as if it were the release's."""

    def damage(released: Released) -> None:
        path = released.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        released.state()

    return damage


def edit(name: str, **values: object) -> Callable[[Released], object]:
    """Change keys of a JSON file, and state it as if it were the release's."""

    def damage(released: Released) -> None:
        released.edit(name, lambda value: value.update(values))
        released.state()

    return damage


def stated(change: Callable[[dict[str, Any]], object]) -> Callable[[Released], object]:
    """Change what the statement says."""
    return lambda released: released.edit(PROVENANCE, change)


def external(**values: object) -> Callable[[Released], object]:
    return stated(lambda value: value["predicate"]["buildDefinition"]["externalParameters"].update(values))


def dependency(place: int, **values: object) -> Callable[[Released], object]:
    return stated(
        lambda value: value["predicate"]["buildDefinition"]["resolvedDependencies"][place].update(values)
    )


def flip(name: str) -> Callable[[Released], object]:
    def damage(released: Released) -> None:
        content = bytearray((released.folder / name).read_bytes())
        content[-1] ^= 1
        (released.folder / name).write_bytes(content)

    return damage


def cut(released: Released) -> None:
    content = (released.folder / ADAPTER).read_bytes()
    put(ADAPTER, content[:-4])(released)


def tensors(**changed: torch.Tensor) -> Callable[[Released], object]:
    """Write an adapter whose matrices are these, by module and side."""

    def damage(released: Released) -> None:
        held = {f"base_model.{name.replace('__', '.')}": tensor for name, tensor in changed.items()}
        save_file(held, released.folder / ADAPTER)
        released.state()

    return damage


def rank_8(released: Released) -> None:
    write_adapter(released.folder / ADAPTER, rank=8)
    released.state()


def header(text: str, data: bytes = b"") -> bytes:
    """Return a safetensors file with this header."""
    return struct.pack("<Q", len(text)) + text.encode() + data


def packed(content: bytes, name: str = "archive/data.pkl") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


def saved(array: "np.ndarray[Any, Any]") -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def torch_saved(*, zipped: bool) -> bytes:
    out = io.BytesIO()
    torch.save({"a": torch.ones(2)}, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def subject(name: str) -> Callable[[Released], object]:
    return stated(lambda value: value["subject"].append({"name": name, "digest": {"sha256": "a" * 64}}))


def drop(name: str) -> Callable[[Released], object]:
    return lambda released: (released.folder / name).unlink()


def drop_and_state(name: str) -> Callable[[Released], object]:
    def damage(released: Released) -> None:
        drop(name)(released)
        released.state()

    return damage


def other_recipe(released: Released) -> None:
    """Publish a recipe that is not the stated one, under the right hash among the files."""
    before = json.loads((released.folder / PROVENANCE).read_text())
    put("recipe.yaml", b"lora_r: 8\n")(released)
    parameters = before["predicate"]["buildDefinition"]["externalParameters"]
    external(recipe=parameters["recipe"])(released)


def broken_link(released: Released) -> None:
    (released.folder / "notes.txt").symlink_to(released.folder / "nowhere")


def more_in_a_folder(released: Released) -> None:
    (released.folder / "a").mkdir()
    (released.folder / "a" / "b.txt").write_text("hello")


def linked_folder(released: Released) -> None:
    (released.folder / "more").symlink_to(released.folder.parent)


CARD = "---\nlicense: mit\nbase_model: {}\n---\n# A card\n"
MATRIX = torch.ones(4, 8)
EVERY_OP = pickle.dumps(Sends(), protocol=0)
DAMAGES: dict[str, tuple[Callable[[Released], object], Failed]] = {
    "a weight's last bit": (flip(ADAPTER), {("hashes", ADAPTER)}),
    "a changed card": (flip("README.md"), {("hashes", "README.md")}),
    "a file gone": (drop("chat_template.jinja"), {("hashes", "chat_template.jinja")}),
    "a file more": (lambda r: (r.folder / "notes.txt").write_text("hello"), {("hashes", "notes.txt")}),
    "a file more in a folder": (
        more_in_a_folder,
        {("hashes", "a/b.txt")},
    ),
    "a broken link": (broken_link, {("files", "notes.txt")}),
    "a link to a folder": (linked_folder, {("files", "more")}),
    "an odd name": (put("a\x1b[2Jb.txt", b"x"), {("files", "a\x1b[2Jb.txt"), ("statement", PROVENANCE)}),
    "weights cut short": (cut, {("weights", ADAPTER)}),
    "weights of no tensor": (put(ADAPTER, header("{}")), {("weights", ADAPTER)}),
    "weights with a gap": (
        put(ADAPTER, header('{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', b"ab")), {("weights", ADAPTER)}
    ),
    "weights of an unknown dtype": (
        put(ADAPTER, header('{"a":{"dtype":"X8","shape":[1],"data_offsets":[0,1]}}', b"a")), {("weights", ADAPTER)}
    ),
    "weights with two of a name": (
        put(ADAPTER, header('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},' * 2 + '"b":{}}', b"a")),
        {("weights", ADAPTER)},
    ),
    "weights with an endless header": (put(ADAPTER, b"\xff" * 8 + b"{}"), {("weights", ADAPTER)}),
    "weights with a deep header": (put(ADAPTER, header('{"a":' * 5000)), {("weights", ADAPTER)}),
    "an empty file of weights": (put(ADAPTER, b""), {("weights", ADAPTER)}),
    "no weights": (drop_and_state(ADAPTER), {("weights", ADAPTER)}),
    "another rank": (rank_8, {("weights", ADAPTER)}),
    "a matrix without its other": (tensors(q__lora_A__weight=MATRIX), {("weights", ADAPTER)}),
    "two ranks": (
        tensors(q__lora_A__weight=MATRIX, q__lora_B__weight=torch.ones(8, 2)), {("weights", ADAPTER)}
    ),
    "a tensor that is no LoRA matrix": (
        tensors(q__lora_A__weight=MATRIX, q__lora_B__weight=MATRIX.T.contiguous(), lm_head=torch.ones(2)),
        {("weights", ADAPTER)},
    ),
    "a pickle by its name": (put("training_args.bin", b"nothing"), {("no pickles", "training_args.bin")}),
    "optimizer state": (
        put("optimizer.pt", torch_saved(zipped=True)), {("no pickles", "optimizer.pt")}
    ),
    "a zip with a pickle, renamed": (put("weights.dat", packed(b"x")), {("no pickles", "weights.dat")}),
    "torch's legacy format, renamed": (
        put("w.safetensors.bak", torch_saved(zipped=False)), {("no pickles", "w.safetensors.bak")}
    ),
    "a pickle called text": (put("notes", pickle.dumps({"a": 1})), {("no pickles", "notes")}),
    "a pickle of letters called text": (put("notes.md", EVERY_OP), {("no pickles", "notes.md")}),
    "a pickle that breaks after its call": (
        put("notes", EVERY_OP[:-1] + b"\xff\xff"), {("no pickles", "notes")}
    ),
    "a pickle in gzip": (put("log", gzip.compress(pickle.dumps(Sends()))), {("no pickles", "log")}),
    "a pickle in bzip2 in gzip": (
        put("log", gzip.compress(bz2.compress(pickle.dumps(Sends())))), {("no pickles", "log")}
    ),
    "an array of objects": (
        put("array.data", saved(np.array([{}], dtype=object))), {("no pickles", "array.data")}
    ),
    "code": (put("modeling.py", b"print(1)\n"), {("no code", "modeling.py")}),
    "a program": (put("tool", b"\x7fELF\2\1\1"), {("no code", "tool")}),
    "code of another repository": (
        edit("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil/repo--tokenizer.T", None]}),
        {("no code", "tokenizer_config.json")},
    ),
    "a module to import": (
        edit(CONFIG, auto_mapping={"parent_library": "evil"}), {("no code", CONFIG)}
    ),
    "no revision of the base": (edit(CONFIG, revision=None), {("base", CONFIG)}),
    "a moving revision of the base": (edit(CONFIG, revision="main"), {("base", CONFIG)}),
    "another revision of the base": (edit(CONFIG, revision="a" * 40), {("base", CONFIG)}),
    "another base": (edit(CONFIG, base_model_name_or_path="evil/base"), {("base", CONFIG)}),
    "a base on a machine": (edit(CONFIG, base_model_name_or_path="../../base"), {("base", CONFIG)}),
    "a config that is no JSON": (put(CONFIG, b"{"), {("base", CONFIG)}),
    "no config": (
        drop_and_state(CONFIG), {("base", "config.json"), ("statement", PROVENANCE)}
    ),
    "a card of another base": (put("README.md", CARD.format("evil/base").encode()), {("card", "README.md")}),
    "a card without metadata": (put("README.md", b"# A card\n"), {("card", "README.md")}),
    "a card with a bomb": (
        put("README.md", b"---\na: &a [x, x]\nb: [*a, *a]\n---\n"), {("card", "README.md")}
    ),
    "a card with a key twice": (
        put("README.md", CARD.format(f"{BASE}\nbase_model: {BASE}").encode()), {("card", "README.md")}
    ),
    "a deep card": (put("README.md", b"---\na: " + b"[" * 9000 + b"\n---\n"), {("card", "README.md")}),
    "no bill of materials": (drop_and_state("sbom.cdx.json"), {("materials", "sbom.cdx.json")}),
    "a bill of another model": (
        put("sbom.cdx.json", json.dumps(sbom("evil/model", TAG)).encode()), {("materials", "sbom.cdx.json")}
    ),
    "a bill of another version": (
        put("sbom.cdx.json", json.dumps(sbom(REPO_ID, "v9")).encode()), {("materials", "sbom.cdx.json")}
    ),
    "a bill of another format": (edit("sbom.cdx.json", bomFormat="SPDX"), {("materials", "sbom.cdx.json")}),
    "a bill of nonsense": (edit("sbom.cdx.json", components=[1]), {("materials", "sbom.cdx.json")}),
    "another recipe": (other_recipe, {("recipe", "recipe.yaml")}),
    "a home in a text": (
        edit("tokenizer_config.json", name_or_path="/home/somebody/base"),
        {("no local paths", "tokenizer_config.json")},
    ),
    "a temporary folder in a text": (
        put("notes.txt", b"saved to /tmp/pytest-of-me/run"), {("no local paths", "notes.txt")}
    ),
    "a Windows path in JSON": (
        edit("tokenizer_config.json", name_or_path="C:\\Users\\me"), {("no local paths", "tokenizer_config.json")}
    ),
    "text that is none": (put("notes.txt", b"\xff\xfe\0"), {("no local paths", "notes.txt")}),
    "a statement of another repository": (external(repository="evil/adapter"), {("statement", PROVENANCE)}),
    "a statement of another tag": (external(version="v0.9.0"), {("statement", PROVENANCE)}),
    "a statement of another kind": (external(kind="merged"), {("statement", PROVENANCE)}),
    "a statement of no kind": (external(kind="evil"), {("statement", PROVENANCE)}),
    "a statement without a base": (dependency(0, name="code"), {("statement", PROVENANCE)}),
    "a statement with two bases": (dependency(1, name="base"), {("statement", PROVENANCE)}),
    "a statement without the data's digest": (dependency(1, digest={}), {("statement", PROVENANCE)}),
    "a statement with an unknown place": (dependency(1, uri="file:///data"), {
        ("statement", PROVENANCE), ("no local paths", PROVENANCE)
    }),
    "a statement with another digest of the base": (dependency(0, digest={"sha256": "f" * 64}), {("base", CONFIG)}),
    "a statement of another predicate": (
        stated(lambda value: value.update(predicateType="https://example.org")), {("statement", PROVENANCE)}
    ),
    "a statement without subjects": (stated(lambda value: value.update(subject=[])), {("statement", PROVENANCE)}),
    "a statement of a file elsewhere": (subject("../../etc/passwd"), {("statement", PROVENANCE)}),
    "a statement of an absolute file": (subject("/etc/passwd"), {("statement", PROVENANCE)}),
    "a statement of a file twice": (subject("README.md"), {("statement", PROVENANCE)}),
    "a statement of a file that is not there": (subject("more.txt"), {("hashes", "more.txt")}),
    "a statement that is no JSON": (
        lambda r: (r.folder / PROVENANCE).write_text("{'a': 1}"), {("statement", PROVENANCE)}
    ),
    "a statement with a key twice": (
        lambda r: (r.folder / PROVENANCE).write_text('{"_type": 1, "_type": 2}'), {("statement", PROVENANCE)}
    ),
    "a deep statement": (
        lambda r: (r.folder / PROVENANCE).write_text('{"a":' * 90_000), {("statement", PROVENANCE)}
    ),
    "a huge statement": (
        lambda r: (r.folder / PROVENANCE).write_text(" " * (9 << 20)),
        {("statement", PROVENANCE)},
    ),
    "no statement": (drop(PROVENANCE), {("statement", PROVENANCE)}),
}  # fmt: skip


def test_a_good_release_passes_every_check(released: Released) -> None:
    checks = look(released)
    assert [check.name for check in checks] == CHECKS
    assert {check.name: check.ok for check in checks} == dict.fromkeys(CHECKS, True) | {"signature": None}
    assert all(check.said and "\n" not in check.said for check in checks)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_found_by_its_check_and_file(name: str, released: Released) -> None:
    damage, expected = DAMAGES[name]
    damage(released)
    assert failed(look(released)) == expected


@pytest.mark.parametrize(
    "name", [name for name in DAMAGES if name not in {"a broken link", "a link to a folder"}]
)
def test_a_signature_finds_any_of_them(name: str, signed: Released) -> None:
    DAMAGES[name][0](signed)
    assert "signature" in {name for name, _ in failed(look(signed, signed.public_key))}


def test_a_base_of_the_hub_is_pinned_by_its_commit(released: Released) -> None:
    commit = "0123456789" * 4
    edit(CONFIG, revision=commit)(released)
    uri = f"hf://models/{BASE}@{commit}"
    dependency(0, uri=uri, digest={"gitCommit": commit})(released)
    assert failed(look(released)) == set()
    dependency(0, uri=uri.replace("0", "1"))(released)
    assert failed(look(released)) == {("base", CONFIG)}


def test_without_a_statement_it_says_what_is_not_checked(released: Released) -> None:
    (released.folder / PROVENANCE).unlink()
    said = {check.name: check.said for check in look(released) if check.ok is None}
    assert said["hashes"] == said["recipe"] == "not checked: no provenance.json"
    assert "hashes" not in {name for name, _ in failed(look(released))}


def test_the_hubs_own_file_and_the_clients_notes_are_not_looked_at(signed: Released) -> None:
    (signed.folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (signed.folder / ".cache").mkdir()
    (signed.folder / ".cache" / "notes").write_bytes(pickle.dumps(Sends()))
    assert failed(look(signed, signed.public_key)) == set()


def test_a_folder_of_links_is_as_good(signed: Released, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    for path in signed.folder.iterdir():
        (links / path.name).symlink_to(path)
    assert failed(inspect_folder(links, public_key=signed.public_key)) == set()


def test_an_empty_folder_is_no_release(tmp_path: Path) -> None:
    found = failed(inspect_folder(tmp_path))
    assert {("files", None), ("statement", PROVENANCE)} <= found


# Signatures


def test_a_good_signature(signed: Released) -> None:
    checks = {check.name: check for check in look(signed, signed.public_key)}
    assert checks["signature"].ok is True
    assert failed(list(checks.values())) == set()


def test_without_a_key_it_is_said_whose_signature_there_is(released: Released, tmp_path: Path) -> None:
    (check,) = (check for check in look(released) if check.name == "signature")
    assert (check.ok, check.said) == (None, "not checked: no --public-key; the release is not signed")
    released.sign()
    (check,) = (check for check in look(released) if check.name == "signature")
    bundle = json.loads((released.folder / "model.sig").read_text())
    assert check.ok is None
    assert bundle["verificationMaterial"]["publicKey"]["hint"][:16] in check.said


def test_a_signature_names_the_changed_the_missing_and_the_added_file(signed: Released) -> None:
    flip(ADAPTER)(signed)
    drop("chat_template.jinja")(signed)
    (signed.folder / ".gitignore").write_text("x")
    signed.state()
    found = {check.file: check.said for check in look(signed, signed.public_key) if check.ok is False}
    assert found == {
        ADAPTER: "not the bytes that were signed",
        PROVENANCE: "not the bytes that were signed",
        "chat_template.jinja": "signed, and missing",
        ".gitignore": "not signed",
    }


def test_a_signature_by_another_key(signed: Released, tmp_path: Path) -> None:
    _, other = keys(tmp_path / "other")
    found = [check for check in look(signed, other) if check.ok is False]
    assert [(check.name, check.file, check.said) for check in found] == [
        ("signature", "model.sig", "made by another key")
    ]


def test_a_signature_that_claims_to_be_of_the_key(signed: Released, tmp_path: Path) -> None:
    other, _ = keys(tmp_path / "other")
    hint = json.loads((signed.folder / "model.sig").read_text())["verificationMaterial"]["publicKey"]
    Released(signed.folder, other, signed.public_key).sign()
    signed.edit("model.sig", lambda value: value["verificationMaterial"].update(publicKey=hint))
    assert failed(look(signed, signed.public_key)) == {("signature", "model.sig")}


def test_a_signature_whose_list_was_changed(signed: Released) -> None:
    """The list in it is text: without the key nobody can make it say what is there now."""
    flip("chat_template.jinja")(signed)
    signed.state()

    def list_what_is_there(value: dict[str, Any]) -> None:
        payload = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
        now = {one["name"]: one["digest"]["sha256"] for one in statement(signed.folder)["subject"]}
        for one in payload["predicate"]["resources"]:
            one["digest"] = now.get(one["name"], one["digest"])
        value["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()

    signed.edit("model.sig", list_what_is_there)
    assert failed(look(signed, signed.public_key)) == {("signature", "model.sig")}


def test_no_signature_where_one_is_asked_for(released: Released) -> None:
    assert failed(look(released, released.public_key)) == {("signature", "model.sig")}


def test_a_keyless_signature_is_not_of_the_key(signed: Released) -> None:
    signed.edit(
        "model.sig", lambda value: value.update(verificationMaterial={"certificate": {"rawBytes": "AA=="}})
    )
    (check,) = (check for check in look(signed) if check.name == "signature")
    assert (check.ok, check.said) == (None, "not checked: no --public-key; signed keyless, by its own word")
    assert failed(look(signed, signed.public_key)) == {("signature", "model.sig")}


@pytest.mark.parametrize("content", ["", "{}", "[]", "\0", '{"dsseEnvelope": {"payload": "AA=="}}'])
def test_a_signature_that_is_none(content: str, released: Released) -> None:
    (released.folder / "model.sig").write_text(content)
    for key in (None, released.public_key):
        assert failed(look(released, key)) - {("no local paths", "model.sig")} == {("signature", "model.sig")}


def test_a_key_that_is_none(signed: Released, tmp_path: Path) -> None:
    rsa = tmp_path / "rsa.pem"
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    public = generate_private_key(65537, 2048).public_key()
    rsa.write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    wrong = [tmp_path / "none", tmp_path, signed.private_key, signed.folder / "README.md", rsa]
    for path in wrong:
        with pytest.raises(UserError, match=r"^--public-key "):
            look(signed, path)


# A merged model, a base, a data set


def merged(released: Released, **shards: dict[str, torch.Tensor]) -> None:
    """Make a merged model of the folder, in shards or in one file."""
    for name in (ADAPTER, CONFIG, "recipe.yaml"):
        (released.folder / name).unlink()
    (released.folder / "config.json").write_text(json.dumps({"model_type": "mistral"}))
    for name, tensors_ in shards.items():
        save_file(tensors_, released.folder / f"{name}.safetensors")
    state_as(released, "merged")


def state_as(released: Released, kind: str) -> None:
    said = statement(released.folder, kind=kind)
    (released.folder / PROVENANCE).write_text(json.dumps(said))


def index(released: Released, weight_map: object) -> None:
    path = released.folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 8}, "weight_map": weight_map}))
    state_as(released, "merged")


ONE, TWO = "model-00001-of-00002", "model-00002-of-00002"
TWO_SHARDS = {ONE: {"a": torch.ones(2)}, TWO: {"b": torch.ones(2)}}


def test_a_merged_model_and_what_stands_against_one(released: Released) -> None:
    merged(released, model={"a": torch.ones(2)})
    assert failed(look(released)) == set()
    edit("config.json", _name_or_path="/data/me/base")(released)
    state_as(released, "merged")
    assert failed(look(released)) == {("base", "config.json")}
    drop("model.safetensors")(released)
    edit("config.json", _name_or_path="")(released)
    state_as(released, "merged")
    assert failed(look(released)) == {("weights", "model.safetensors")}


def test_a_base_is_what_its_content_tag_is_named_after(released: Released) -> None:
    merged(released, model={"a": torch.ones(2)})
    state_as(released, "base")
    own = (
        "config.json",
        "chat_template.jinja",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    )
    content = canonical_sha256({name: file_sha256(released.folder / name) for name in own})
    assert failed(look(released)) == {("base", PROVENANCE)}
    dependency(0, digest={"sha256": content})(released)
    assert failed(look(released)) == set()


@pytest.mark.parametrize(
    ("revision", "fixed", "versions"),
    [
        ("v1.0.0", "tag", ["v1.0.0"]),
        ("v2.0.0", "tag", ["v2.0.0"]),  # moved back to an old release, it does not pass for a new one
        ("sha256-1a779a9927765950", "tag", ["sha256-1a779a9927765950", "v1.0.0", "v2.0.0"]),
        ("a" * 40, "commit", ["sha256-1a779a9927765950", "v1.0.0", "v2.0.0"]),
    ],
)
def test_which_versions_may_lie_at_a_revision(revision: str, fixed: str, versions: list[str]) -> None:
    tags = ("sha256-1a779a9927765950", "v1.0.0", "v2.0.0")
    found = Published(REPO_ID, "model", revision, "a" * 40, fixed, tags, {}, ())
    assert list(found.versions) == versions


def test_a_commit_may_be_of_one_of_several_tags(released: Released) -> None:
    assert failed(inspect_folder(released.folder, revision=("sha256-1a2b", TAG))) == set()
    assert ("statement", PROVENANCE) in failed(inspect_folder(released.folder, revision=("v8", "v9")))


@pytest.mark.parametrize(
    ("weight_map", "file"),
    [
        ({"a": f"{ONE}.safetensors", "b": f"{TWO}.safetensors"}, None),
        ({"a": f"{ONE}.safetensors", "b": "../b.safetensors"}, "../b.safetensors"),
        ({"a": f"{ONE}.safetensors"}, f"{TWO}.safetensors"),
        ({"a": f"{ONE}.safetensors", "b": f"{TWO}.safetensors", "c": f"{TWO}.safetensors"}, f"{TWO}.safetensors"),
        ({"b": f"{ONE}.safetensors", "a": f"{TWO}.safetensors"}, f"{TWO}.safetensors"),
        ({"a": 1}, "model.safetensors.index.json"),
        ([], "model.safetensors.index.json"),
    ],
)  # fmt: skip
def test_an_index_names_the_shards_and_tensors_that_are_there(
    weight_map: object, file: str | None, released: Released
) -> None:
    merged(released, **TWO_SHARDS)
    index(released, weight_map)
    found = failed(look(released))
    assert ("weights", file) in found if file else found == set()


def test_a_data_set_has_no_base(released: Released) -> None:
    for name in (ADAPTER, CONFIG, "recipe.yaml", "tokenizer.json", "tokenizer_config.json"):
        (released.folder / name).unlink()
    (released.folder / "train.parquet").write_bytes(b"PAR1")
    state_as(released, "data")
    checks = inspect_folder(released.folder, repo_id=REPO_ID, revision=TAG, repo_type="dataset")
    assert failed(checks) == set()
    assert {check.name for check in checks if check.ok is None} >= {"base", "recipe", "weights"}
    assert ("statement", PROVENANCE) in failed(inspect_folder(released.folder, repo_type="model"))


# What is hostile


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [None, 1, [], {"a": [1.5, b"b"]}, "text", Sends(), (1, {2}), 10**100])
def test_a_pickle_of_anything_by_any_protocol(value: object, protocol: int) -> None:
    content = pickle.dumps(value, protocol)
    assert is_pickle(io.BytesIO(content), len(content))


def test_a_pickle_whose_string_is_longer_than_what_is_read_at_once() -> None:
    content = b"X" + struct.pack("<I", 20 << 20) + b"a" * (20 << 20) + b"0" + EVERY_OP
    assert is_pickle(io.BytesIO(content), len(content))


def test_an_endless_pickle_is_one() -> None:
    content = b"N" * 1_000_000
    assert is_pickle(io.BytesIO(content), len(content))


def test_a_text_is_none_though_its_letters_are_operations() -> None:
    """A mark, bytes, and an import of two lines, as in zlib's licence; `c` imports two lines as well."""
    licence = b"(C)" + b" 1995-2013 somebody".ljust(41, b"-") + b"in no event, and\nwithout warranty\n"
    for text in (licence, b"case of doubt\nno claim\nR", b"N", b"No.", b"."):
        assert not is_pickle(io.BytesIO(text), len(text))


def test_no_file_of_this_project_is_a_pickle() -> None:
    """Text and pictures that begin with what would be an operation."""
    kinds = {".json", ".md", ".png", ".py", ".svg", ".toml", ".txt", ".yaml"}
    folders = [ROOT, *(ROOT / name for name in ("docs", "recipe", "publish", "tests", "benchmarks"))]
    files = {
        file
        for folder in folders
        for file in (folder.iterdir() if folder == ROOT else folder.rglob("*"))
        if file.suffix in kinds and file.is_file()
    }
    assert len(files) > 100
    for file in files:
        content = file.read_bytes()
        assert not is_pickle(io.BytesIO(content), len(content)), file


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480])
def test_a_header_whose_length_reads_like_a_pickles_first_bytes(length: int, released: Released) -> None:
    text = '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.ljust(length)
    content = header(text, b"a")
    assert content[0] == 0x80
    assert not is_pickle(io.BytesIO(content), len(content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def mutated(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """Put something else in one place of a JSON value, or take it away."""
    if isinstance(value, (dict, list)) and value and draw(st.integers(0, 5)):
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        place = draw(st.sampled_from(places))
        copy = value.copy()
        if draw(st.integers(0, 9)) == 0:
            del copy[place]
        else:
            copy[place] = mutated(value[place], draw)
        return copy
    return draw(JSON)


@pytest.mark.parametrize("name", [PROVENANCE, "model.sig", "sbom.cdx.json", CONFIG, "tokenizer_config.json"])
@FUZZ
@given(data=st.data())
def test_json_that_says_anything_is_never_a_traceback(
    name: str, data: st.DataObject, signed: Released
) -> None:
    path = signed.folder / name
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(mutated(json.loads(before), data.draw)))
        if name not in {PROVENANCE, "model.sig"}:
            signed.state()
        for key in (None, signed.public_key):
            checks = look(signed, key)
            assert checks[0].name == "files"
            assert all("\n" not in printable(check.said) for check in checks)
        if path.read_bytes() != before and json.loads(path.read_bytes()) != json.loads(before):
            assert name == "model.sig" or "signature" in {one for one, _ in failed(checks)}
    finally:
        path.write_bytes(before)
        signed.state()
        signed.sign()


@pytest.mark.parametrize("name", [PROVENANCE, "model.sig", "sbom.cdx.json", CONFIG, ADAPTER, "README.md"])
@FUZZ
@given(data=st.data())
def test_bytes_that_are_anything_are_never_a_traceback(
    name: str, data: st.DataObject, signed: Released
) -> None:
    path = signed.folder / name
    before = path.read_bytes()
    start = data.draw(st.integers(0, len(before) - 1))
    stop = data.draw(st.integers(start, min(len(before), start + 64)))
    content = before[:start] + data.draw(st.binary(max_size=16)) + before[stop:]
    try:
        path.write_bytes(content)
        checks = look(signed, signed.public_key)
        assert content == before or failed(checks)
        if name not in {PROVENANCE, "model.sig"} and content != before:
            assert {("hashes", name), ("signature", name)} <= failed(checks)
    finally:
        path.write_bytes(before)


@settings(max_examples=300)
@given(content=st.binary(max_size=200))
def test_looking_for_a_pickle_in_anything_ends_in_yes_or_no(content: bytes) -> None:
    assert is_pickle(io.BytesIO(content), len(content)) in {True, False}


@given(text=st.text(max_size=50))
def test_what_is_shown_is_one_line_without_odd_characters(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    "name",
    ["", "..", "../a", "a/../b", "/a", "a//b", "./a", "a/", "a\\b", "C:a", "a\nb", "a\u202eb", "a" * 600],
)
def test_no_name_of_a_release(name: str) -> None:
    assert not is_plain_name(name)


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", '{"a":1,"a":1}', "[" * 70 + "]" * 70, "1" * 5000, "", "{"]
)
def test_json_that_can_be_read_in_two_ways_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
