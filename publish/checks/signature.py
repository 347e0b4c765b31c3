"""`model.sig`: OpenSSF's model signature over every file, by an elliptic-curve key."""

import base64
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_signing import hashing, verifying

from publish.checks.folder import BadFileError, Fault, Folder, NotCheckedError, parse_json
from publish.contents import SIGNATURE
from recipe.errors import UserError

LARGEST = 8 << 20  # bytes
CURVES = {"secp256r1", "secp384r1", "secp521r1"}  # that model-signing knows
# Of the Hub and of its client, after the signature was made.
UNSIGNED = (SIGNATURE, ".gitattributes", ".cache")


def refuse_no_public_key(path: Path) -> None:
    """Refuse a file that is no public key that could have signed.

    Raises:
        UserError: It can't be read, or holds something else.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise UserError(f"--public-key {path}: can't be read ({error.strerror})") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UserError(
            f"--public-key {path}: no public key in PEM; `openssl ec -pubout` writes one"
        ) from None
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise UserError(f"--public-key {path}: must be of an elliptic curve, P-256, P-384 or P-521")


def signature_faults(folder: Folder, public_key: Path | None) -> Iterator[Fault]:
    """Give what stands against the signature: none, another key's, or files that are not as they were signed.

    Raises:
        NotCheckedError: There is no key to check it by; says whether there is a signature.
        BadFileError: The signature can't be read.
    """
    if SIGNATURE not in folder.files:
        if public_key is None:
            raise NotCheckedError("no --public-key; the release is not signed")
        yield Fault("missing; the release is not signed", SIGNATURE)
        return
    bundle = folder.json_object(SIGNATURE, LARGEST)
    signed = _signed(bundle)
    if public_key is None:
        raise NotCheckedError(f"no --public-key; signed {_by_whom(bundle)}")
    if _by_whom(bundle).startswith("keyless"):
        yield Fault("signed keyless, not by a key; `model_signing verify sigstore` checks it", SIGNATURE)
        return
    said = _verify(folder.path, public_key)
    ours = set(folder.files) - {SIGNATURE}
    if said is None:  # the library leaves out what the signature itself says was left out
        yield from (Fault("not signed", name) for name in sorted(ours - set(signed)))
        return
    different = sorted(
        name
        for name in ours | set(signed)
        if name not in ours or signed.get(name) != folder.hash(name).sha256
    )
    if not said.startswith("Signature mismatch") or not different:  # then the list that it holds is anybody's
        why = "made by another key" if said.startswith("Key mismatch") else f"no valid signature ({said})"
        yield Fault(why, SIGNATURE)
        return
    for name in different:
        how = "signed, and missing" if name not in ours else "not signed"
        yield Fault("not the bytes that were signed" if name in ours and name in signed else how, name)


def _verify(folder: Path, public_key: Path) -> str | None:
    """Return what the library holds against the signature, "" for an error without words; None if it is good."""
    config = (
        hashing.Config()  # type: ignore[no-untyped-call]
        .use_file_serialization(allow_symlinks=True)
        .set_ignored_paths(paths=[folder / name for name in UNSIGNED], ignore_git_paths=False)
        .set_allow_symlinks(True)
    )
    verifier = verifying.Config()  # type: ignore[no-untyped-call]
    verifier.use_elliptic_key_verifier(public_key=public_key).set_hashing_config(config)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it warns there of signatures without a fingerprint
            verifier.verify(folder, folder / SIGNATURE)
    except Exception as error:  # what a hostile signature does to the parsers below is anything
        return str(error) or type(error).__name__
    return None


def _signed(bundle: dict[str, Any]) -> dict[str, str]:
    """Return the sha256 by path that the signed payload lists.

    Raises:
        BadFileError: It is not a signature of a model.
    """
    try:
        payload = parse_json(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True).decode())
        return {str(one["name"]): str(one["digest"]) for one in payload["predicate"]["resources"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFileError(SIGNATURE, f"not a model signature ({type(error).__name__}: {error})") from None


def _by_whom(bundle: dict[str, Any]) -> str:
    """Return by whom a signature says that it is: nobody has checked that."""
    material = bundle.get("verificationMaterial")
    if not isinstance(material, dict):
        raise BadFileError(SIGNATURE, "not a model signature (no verificationMaterial)")
    if "certificate" in material:
        return "keyless, by its own word"
    key = material.get("publicKey")
    return (
        f"by the key {str(key.get('hint'))[:16]}, by its own word" if isinstance(key, dict) else "by nobody"
    )
