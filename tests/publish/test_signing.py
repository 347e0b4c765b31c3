"""Signatures: model signing's own tool accepts them on what a consumer has, and nothing else; keys stay secret."""

import base64
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from commandline.work import all_stages
from publish import signing
from publish.contents import files_of, kinds
from publish.keys import Signer, signer_of
from recipe.disk import write_json
from recipe.errors import UserError
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run
from tests.publish.prepared import copied, prepared
from tests.support import Cli, fresh

PASSWORD = "correct horse battery staple"


def write_key(
    path: Path, key: Any = None, password: str = "", form: PrivateFormat = PrivateFormat.PKCS8
) -> Path:
    key = key or ec.generate_private_key(ec.SECP256R1())
    hidden = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, form, hidden))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_key(tmp_path_factory.mktemp("key") / "key.pem")


@pytest.fixture(scope="module")
def before(trained: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is done up to its provenance. Not to be written to."""
    return prepared(trained, tiny, tmp_path_factory.mktemp("signing") / "run").folder


@pytest.fixture(scope="module")
def signed(before: Path, tiny: Path, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """It, signed. Not to be written to."""
    folder = tmp_path_factory.mktemp("signed") / "run"
    shutil.copytree(before, folder)
    run = Run(folder, load_recipe(tiny / "tiny.yaml"))
    assert bring(run, signer_of(key))["ran"]
    return run


@pytest.fixture
def again(signed: Run, tmp_path: Path) -> Run:
    """A copy of it, to be written to."""
    shutil.copytree(signed.folder, tmp_path / "run")
    return Run(tmp_path / "run", signed.recipe)


def bring(run: Run, signer: Signer | None, **of: Any) -> dict[str, object]:
    stage = signing.stage_of(run, signer, **of)
    assert stage is not None
    with run.locked():
        return run.bring([*all_stages(run.recipe, False), stage], Reporter(quiet=True))["signature"]


def signature(run: Run, kind: str = "adapter") -> bytes:
    return run.path("signature", kind, "model.sig").read_bytes()


def downloaded(run: Run, kind: str, folder: Path, *, links: bool = False) -> Path:
    """What a consumer has: the files, the Hub's own one, and what the client keeps beside them."""
    for name, path in files_of(run, kind).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if links:
            target.symlink_to(path)
        else:
            shutil.copyfile(path, target)
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "README.md.metadata").write_text("when")
    return folder


def verified(run: Run, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["verify", "key", str(folder), "--signature", str(folder / "model.sig")]
    public = ["--public_key", str(run.path("signature", "public.pem"))]
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *command, *public, *options],
        capture_output=True,
        text=True,
        check=False,
    )


def change_a_byte(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def remove_a_file(folder: Path) -> None:
    (folder / "provenance.json").unlink()


def add_a_file(folder: Path) -> None:
    (folder / "extra.bin").write_bytes(b"\x80\x04")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["base", "adapter", "merged"])
def test_model_signings_own_tool_accepts_it(signed: Run, tmp_path: Path, kind: str) -> None:
    ended = verified(signed, downloaded(signed, kind, tmp_path / "here"))
    assert ended.returncode == 0, ended.stderr
    assert "Verification succeeded" in ended.stdout


@pytest.mark.slow
def test_it_does_so_on_a_snapshot_of_the_hubs_cache(signed: Run, tmp_path: Path) -> None:
    folder = downloaded(signed, "adapter", tmp_path / "here", links=True)
    ended = verified(signed, folder, "--allow_symlinks")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (change_a_byte, "Hash mismatch for 'adapter_model.safetensors'"),
        (remove_a_file, "Missing files in model 'here': provenance.json"),
        (add_a_file, "Extra files found in model 'here': extra.bin"),
    ],
)
def test_and_refuses_what_was_changed(
    signed: Run, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    folder = downloaded(signed, "adapter", tmp_path / "here")
    damage(folder)
    ended = verified(signed, folder)
    assert ended.returncode == 1
    assert said in ended.stderr


@pytest.mark.slow
def test_and_another_key(signed: Run, tmp_path: Path) -> None:
    folder = downloaded(signed, "adapter", tmp_path / "here")
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "other.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    ended = verified(signed, folder, "--public_key", str(tmp_path / "other.pem"))
    assert ended.returncode == 1
    assert "Key mismatch" in ended.stderr


def payload(run: Run, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        base64.b64decode(json.loads(signature(run, kind))["dsseEnvelope"]["payload"])
    )
    return found


@pytest.mark.parametrize("kind", ["base", "adapter", "merged"])
def test_every_file_is_covered(signed: Run, kind: str) -> None:
    found = payload(signed, kind)
    covered = {resource["name"] for resource in found["predicate"]["resources"]}
    assert covered == set(files_of(signed, kind)) - {"model.sig"}
    assert {"provenance.json", "sbom.cdx.json", "README.md"} < covered
    assert found["subject"][0]["name"] == kinds(signed.recipe)[kind].removeprefix(
        "notus/"
    )  # no folder of this machine
    ignored = found["predicate"]["serialization"]["ignore_paths"]
    assert set(ignored) == {"model.sig", ".gitattributes", ".cache/huggingface"}


def test_a_signature_is_published_and_the_public_key_is_not(signed: Run) -> None:
    assert "model.sig" in files_of(signed, "adapter")
    assert signed.path("signature", "public.pem").is_file()
    for kind in kinds(signed.recipe):
        assert not any("public.pem" in name for name in files_of(signed, kind))


def test_it_is_kept_while_key_and_files_are_the_same(again: Run, key: Path) -> None:
    was = signature(again)
    assert not bring(again, signer_of(key))["ran"]
    assert signature(again) == was


def test_without_the_key_what_was_signed_stays_signed(again: Run) -> None:
    was = signature(again)
    assert not bring(again, None)["ran"]
    assert signature(again) == was
    assert "model.sig" in files_of(again, "adapter")


def test_without_the_key_nothing_else_is_passed_off_as_signed(again: Run, key: Path) -> None:
    other = Run(again.folder, load_recipe_of(again, "version=v9.9.9"))
    with pytest.raises(UserError, match="what was signed has changed since; sign it again with --key"):
        bring(other, None)
    assert bring(other, signer_of(key))["ran"]
    assert not bring(other, None)["ran"]


@pytest.mark.parametrize("with_key", [True, False])
def test_a_version_that_comes_back_has_the_signature_that_it_had(
    again: Run, key: Path, with_key: bool
) -> None:
    was = signature(again)
    other = Run(again.folder, load_recipe_of(again, "version=v9.9.9"))
    assert bring(other, signer_of(key))["ran"]
    assert signature(other) != was
    assert bring(again, signer_of(key) if with_key else None)["ran"]
    assert signature(again) == was
    assert again.path("signature", "public.pem").is_file()


def test_a_signature_that_was_removed_by_hand_is_no_more(again: Run) -> None:
    shutil.rmtree(again.path("signature"))
    assert signing.stage_of(again, None) is None
    assert "model.sig" not in files_of(again, "adapter")
    assert again.path("adapter").is_dir()


def test_who_never_signed_does_not(before: Path, signed: Run) -> None:
    assert signing.stage_of(Run(before, signed.recipe), None) is None


def test_another_key_signs_anew(again: Run, tmp_path: Path) -> None:
    was = signature(again)
    assert bring(again, signer_of(write_key(tmp_path / "other.pem")))["ran"]
    assert signature(again) != was


@pytest.mark.parametrize("signed_before", [True, False])
def test_a_released_version_gets_no_other_signature(
    again: Run, key: Path, tmp_path: Path, signed_before: bool
) -> None:
    files: dict[str, Any] = {"model.sig": {}} if signed_before else {}
    record = {"version": "v0.1.0", "hub": "remote", "repositories": {"adapter": {"files": files}}}
    write_json(again.path("release.json"), record)
    was = signature(again)
    other = signer_of(write_key(tmp_path / "other.pem"))
    how = "with another signature" if signed_before else "without a signature"
    with pytest.raises(UserError, match=f"v0.1.0 was released {how}; release under another tag with --tag"):
        bring(again, other, hub="remote")
    assert signature(again) == was
    if signed_before:
        assert not bring(again, signer_of(key), hub="remote")["ran"]
    assert bring(again, other, hub="local")["ran"]  # another Hub, which has no such tag
    assert bring(Run(again.folder, load_recipe_of(again, "version=v0.2.0")), signer_of(key), hub="remote")[
        "ran"
    ]


def load_recipe_of(run: Run, change: str) -> Any:
    assert run.recipe.name == "tiny"
    name, _, value = change.partition("=")
    release = run.recipe.release.model_copy(update={name: value})
    return run.recipe.model_copy(update={"release": release})


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name
)
def test_keys_that_sign(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    path = write_key(tmp_path / "key.pem", ec.generate_private_key(curve))
    signer = signer_of(path)
    assert signer is not None
    assert len(signer.fingerprint) == 64
    assert not signer.encrypted


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_signs_with_its_password(
    again: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: PrivateFormat
) -> None:
    path = write_key(tmp_path / "key.pem", password=PASSWORD, form=form)
    monkeypatch.setenv("NOTUS_SIGNING_PASSWORD", PASSWORD)
    signer = signer_of(path)
    assert signer is not None
    assert signer.encrypted
    assert PASSWORD not in repr(signer)
    assert bring(again, signer)["ran"]
    monkeypatch.delenv("NOTUS_SIGNING_PASSWORD")
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.setenv("NOTUS_SIGNING_PASSWORD_PATH", str(tmp_path / "password"))
    assert signer_of(path) == signer


def test_a_password_file_that_is_not_there_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_key(tmp_path / "key.pem", password=PASSWORD)
    monkeypatch.setenv("NOTUS_SIGNING_PASSWORD_PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"NOTUS_SIGNING_PASSWORD_PATH: .*/none can't be read \(No such file"):
        signer_of(path)


def test_a_password_that_no_key_needs_does_no_harm(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTUS_SIGNING_PASSWORD", PASSWORD)
    signer = signer_of(key)
    assert signer is not None
    assert not signer.encrypted


MISTAKES: dict[str, tuple[Callable[[Path], object], dict[str, str], str]] = {
    "missing": (lambda path: None, {}, "can't be read (No such file or directory)"),
    "a folder": (lambda path: path.mkdir(), {}, "can't be read (Is a directory)"),
    "no key": (lambda path: path.write_text("a key"), {}, "is no private key in PEM"),
    "half a key": (
        lambda path: path.write_text("-----BEGIN PRIVATE KEY-----\nMIGH\n"),
        {},
        "is no private key in PEM",
    ),
    "public": (
        lambda path: path.write_bytes(
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        ),
        {},
        "is no private key in PEM",
    ),
    "RSA": (lambda path: write_key(path, rsa.generate_private_key(65537, 2048)), {}, "is no EC key on P-256"),
    "Ed25519": (
        lambda path: write_key(path, ed25519.Ed25519PrivateKey.generate()),
        {},
        "is no EC key on P-256",
    ),
    "secp256k1": (
        lambda path: write_key(path, ec.generate_private_key(ec.SECP256K1())),
        {},
        "is no EC key on P-256",
    ),
    "no password": (
        lambda path: write_key(path, password=PASSWORD),
        {},
        "is encrypted; set NOTUS_SIGNING_PASSWORD to its password",
    ),
    "another password": (
        lambda path: write_key(path, password=PASSWORD),
        {"NOTUS_SIGNING_PASSWORD": "wrong"},
        "is encrypted with another password than NOTUS_SIGNING_PASSWORD's",
    ),
}


@pytest.mark.parametrize(("make", "environment", "said"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("runtime", ["venv", "docker"])
def test_a_key_that_cant_sign_is_said_before_anything_is_done(
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], object],
    environment: dict[str, str],
    said: str,
    runtime: str,
) -> None:
    path = tmp_path / "key.pem"
    make(path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    line = cli("publish", "--key", path, "--run", tmp_path / "run", "--runtime", runtime).mistake
    assert line.startswith(f"notus: --key: {path} {said}")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("NOTUS_SIGNING_KEY", str(path))
    assert cli("run", "--run", tmp_path / "run", "--runtime", runtime).mistake == line


def test_keyless_needs_an_identity(
    cli: Cli, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: None)
    line = cli("publish", "--keyless", "--run", tmp_path / "run").mistake
    assert "--keyless: this environment has no identity; sign where there is one" in line
    line = cli("publish", "--keyless", "--key", key, "--run", tmp_path / "run").mistake
    assert "leave one of them out" in line
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: "token")
    line = cli("publish", "--keyless", "--runtime", "docker", "--run", tmp_path / "run").mistake
    assert "a container has no identity" in line
    assert not (tmp_path / "run").exists()


def test_keyless_takes_the_environments_identity_and_no_other(
    again: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sigstore itself can't be reached here: what it is asked for is looked at."""
    asked: list[dict[str, Any]] = []

    class Sigstore:
        def __init__(self, **options: Any) -> None:
            asked.append(options)

        def sign(self, payload: Any) -> Any:
            class Bundle:
                def write(self, path: Path) -> None:
                    path.write_text(json.dumps({"of": len(payload.statement.pb.predicate["resources"])}))

            return Bundle()

    monkeypatch.setattr("model_signing._signing.sign_sigstore.Signer", Sigstore)
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: "an identity")
    signer = signer_of(None, keyless=True)
    assert bring(again, signer)["ran"]
    assert [options["identity_token"] for options in asked] == ["an identity"]
    assert not asked[0]["use_ambient_credentials"]  # where those fail it would open a browser
    assert json.loads(signature(again)) == {"of": len(files_of(again, "adapter")) - 1}
    assert not bring(again, signer)["ran"]
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: None)
    assert not bring(again, None)["ran"]  # kept without an identity as without a key


@pytest.mark.slow
def test_a_signed_release_and_where_its_key_is_not(
    trained: Path, tiny: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    run = copied(trained, tiny, tmp_path / "run")
    private = ec.generate_private_key(ec.SECP256R1())
    path = write_key(tmp_path / "key.pem", private, password=PASSWORD)
    environment = {**hub, "NOTUS_SIGNING_PASSWORD": PASSWORD, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    publish = ("publish", tiny / "tiny.yaml", "--run", run.folder, "--hub", "remote")
    ended = fresh(*publish, "--key", path, cwd=tiny, **environment)
    assert ended.code == 0, ended.err
    assert "signed: base, adapter, merged, by the key" in ended.out
    said = ended.out + ended.err
    ended = fresh(*publish, "--json", cwd=tiny, **hub)  # without it: signed it stays
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["publish"]["published"] is False
    assert "signature: up to date" in ended.err
    released = json.loads(run.path("release.json").read_text())["repositories"]
    assert all("model.sig" in repo["files"] for repo in released.values())
    ended = fresh(*publish, "--key", write_key(tmp_path / "other.pem"), cwd=tiny, **hub)
    assert "v0.1.0 was released with another signature" in ended.mistake

    number = private.private_numbers().private_value.to_bytes(32, "big")
    body = path.read_bytes().splitlines()[2]
    secrets = (number, number.hex().encode(), base64.b64encode(number)[:-3], body, PASSWORD.encode())
    files = [found for found in (*run.folder.rglob("*"), *(tmp_path / "tmp").rglob("*")) if found.is_file()]
    assert len(files) > 40
    for file in files:
        assert not any(secret in file.read_bytes() for secret in secrets), file
        assert b"PRIVATE KEY" not in file.read_bytes(), file
    assert not any(secret in said.encode() for secret in secrets)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
