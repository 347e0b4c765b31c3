"""A small released repository in a folder, as Notus publishes an adapter: valid, to be damaged by tests."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

REPO_ID, TAG, BASE = "notus/small-adapter", "v1.0.0", "notus/small-base"
CONTENT = "1a779a992776595012f3c2c1f3d5a6b7c8d9e0f11a779a992776595012f3c2c1"
REVISION = f"sha256-{CONTENT[:16]}"
README = f"""---
license: apache-2.0
library_name: peft
base_model: {BASE}
base_model_relation: adapter
---

# Model Card for Small

What `docker run -v ~/.cache/huggingface:/cache` and https://example.org/home/someone/ say is no path of a machine.
"""


@dataclass(frozen=True)
class Released:
    """The folder, and the keys that it was signed with, if it was."""

    folder: Path
    private_key: Path
    public_key: Path

    def edit(self, name: str, change: Callable[[Any], object]) -> None:
        """Change what a JSON file holds, in place."""
        value = json.loads((self.folder / name).read_text())
        change(value)
        (self.folder / name).write_text(json.dumps(value))

    def state(self) -> None:
        """Write `provenance.json` over what is in the folder now: what a damage is called good by."""
        (self.folder / "provenance.json").write_text(json.dumps(statement(self.folder), indent=2))

    def sign(self) -> None:
        """Sign what is in the folder now."""
        sign(self.folder, self.private_key)


def make(folder: Path, *, signed: bool = False) -> Released:
    """Make the release in `folder / "repo"`, with keys beside it."""
    repo = folder / "repo"
    repo.mkdir(parents=True)
    write_adapter(repo / "adapter_model.safetensors", rank=4)
    config = {"base_model_name_or_path": BASE, "revision": REVISION, "r": 4, "peft_type": "LORA"}
    files = {
        "adapter_config.json": json.dumps(config | {"auto_mapping": None, "rank_pattern": {}}),
        "tokenizer.json": json.dumps({"model": {"vocab": {"/home/somebody/a": 1}}}),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}),
        "chat_template.jinja": "{% for message in messages %}{{ message.content }}{% endfor %}\n",
        "README.md": README,
        "recipe.yaml": "model_name_or_path: builtin:tiny-mistral\nlora_r: 4\n",
        "sbom.cdx.json": json.dumps(sbom(REPO_ID, TAG)),
    }
    for name, text in files.items():
        (repo / name).write_text(text, encoding="utf-8")
    released = Released(repo, *keys(folder))
    released.state()
    if signed:
        released.sign()
    return released


def write_adapter(path: Path, *, rank: int) -> None:
    """Write LoRA matrices of two modules."""
    tensors = {}
    for module in ("q_proj", "v_proj"):
        name = f"base_model.model.model.layers.0.self_attn.{module}"
        tensors[f"{name}.lora_A.weight"] = torch.ones(rank, 8)
        tensors[f"{name}.lora_B.weight"] = torch.zeros(8, rank)
    save_file(tensors, path, {"format": "pt"})


def sbom(name: str, version: str) -> dict[str, Any]:
    """Return a bill of materials of a model, with a part."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "machine-learning-model",
                "group": name.rpartition("/")[0],
                "name": name.rpartition("/")[2],
                "version": version,
                "bom-ref": "model",
            }
        },
        "components": [{"type": "library", "name": "peft", "version": "0.21.2", "bom-ref": "peft"}],
    }


def statement(folder: Path, *, kind: str = "adapter", repo_id: str = REPO_ID) -> dict[str, Any]:
    """Return the statement over the files of a folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    sha256 = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}
    named = {name: digest for name, digest in sha256.items() if name not in {"provenance.json", "model.sig"}}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in named.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:notus:release:v1",
                "externalParameters": {
                    "repository": repo_id,
                    "kind": kind,
                    "version": TAG,
                    "recipe": {
                        "name": "small",
                        "science_sha256": "a" * 64,
                        "sha256": named.get("recipe.yaml", "b" * 64),
                    },
                },
                "internalParameters": {"versions": {"peft": "0.21.2"}},
                "resolvedDependencies": [
                    {"name": "base", "uri": f"urn:notus:base:{BASE}", "digest": {"sha256": CONTENT}},
                    {"name": "data", "uri": "urn:notus:data:feedback", "digest": {"sha256": "c" * 64}},
                    *({"name": "code", "digest": {"gitCommit": digit * 40}} for digit in "ef"),
                ],
            },
            "runDetails": {
                "builder": {"id": "urn:notus:builder", "version": {"notus": "0.1.0"}},
                "metadata": {"startedOn": "2026-11-25T10:23:00Z", "finishedOn": "2026-11-25T10:24:00Z"},
                "byproducts": [{"name": "training/metrics.json", "digest": {"sha256": "d" * 64}}],
            },
        },
    }


def keys(folder: Path) -> tuple[Path, Path]:
    """Write a fresh P-256 key pair; return where the private and the public one lie."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "key.pem", folder / "key.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


def sign(folder: Path, private_key: Path) -> None:
    """Sign every file of a folder but the signature and .gitattributes, as a release is."""
    from model_signing import hashing, signing

    ignored = [folder / "model.sig", folder / ".gitattributes"]
    config = hashing.Config().use_file_serialization(allow_symlinks=True).set_allow_symlinks(True)  # type: ignore[no-untyped-call]
    config = config.set_ignored_paths(paths=ignored, ignore_git_paths=False)
    signer = signing.Config().use_elliptic_key_signer(private_key=private_key)  # type: ignore[no-untyped-call]
    signer.set_hashing_config(config).sign(folder, folder / "model.sig")
