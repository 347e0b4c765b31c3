"""Who signs a release: a private key, or keyless the identity that the environment has. Loads nothing heavy.

Keyless signing asks the public Sigstore for a certificate for the identity that the environment has, a GitHub Actions
job with `id-token: write` say, and never opens a browser. It needs the network: what the tests hold is that nothing but
that identity is used, and what is said where there is none; not the signature that comes of it.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from recipe.errors import UserError

PASSWORD, PASSWORD_PATH = "NOTUS_SIGNING_PASSWORD", "NOTUS_SIGNING_PASSWORD_PATH"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
KEYLESS = hashlib.sha256(b"keyless").hexdigest()
MAKE_A_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"


@dataclass(frozen=True)
class Signer:
    """Who signs: a private key in a file, or the identity that the environment has (`key` is None).

    Attributes:
        fingerprint: sha256 of the public key, as PEM; it names the key in a signature too.
        public: The public key, as PEM; None where there is no key.
        key: The file.
        encrypted: Whether it needs a password.
    """

    fingerprint: str
    public: bytes | None = None
    key: Path | None = None
    encrypted: bool = False


def signer_of(key: Path | None, *, keyless: bool = False) -> Signer | None:
    """Return who signs, after a look whether they can; None if nobody was asked to.

    Raises:
        UserError: There is no such key, or none that model signing takes, or it is encrypted and its password not at
            hand; there is no identity to sign with.
    """
    if keyless:
        if key is not None:
            raise UserError("--keyless: there is a --key (or NOTUS_SIGNING_KEY) too; leave one of them out")
        identity_token()
        return Signer(KEYLESS)
    return None if key is None else _with_key(key)


def password() -> bytes | None:
    """Return the password of the key: from the environment, or from the file that this names."""
    if path := os.environ.get(PASSWORD_PATH):
        return Path(path).read_bytes()
    return os.environ[PASSWORD].encode() if os.environ.get(PASSWORD) else None


def _with_key(path: Path) -> Signer:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        pem = path.expanduser().read_bytes()
    except OSError as error:
        raise UserError(
            f"--key: {path} can't be read ({error.strerror}); make a key with `{MAKE_A_KEY}`"
        ) from None
    try:
        try:
            key, encrypted = load_pem_private_key(pem, None), False
        except TypeError:  # it is encrypted
            key, encrypted = load_pem_private_key(pem, _given_password(path)), True
    except (ValueError, UnsupportedAlgorithm) as error:
        if "assword" in str(error):
            raise UserError(f"--key: {path} is encrypted with another password than {PASSWORD}'s") from None
        raise UserError(f"--key: {path} is no private key in PEM; make one with `{MAKE_A_KEY}`") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise UserError(
            f"--key: {path} is no EC key on P-256, P-384 or P-521, and only such sign; make one with `{MAKE_A_KEY}`"
        )
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Signer(hashlib.sha256(public).hexdigest(), public, path.expanduser(), encrypted)


def _given_password(path: Path) -> bytes:
    given = password()
    if given is None:
        raise UserError(f"--key: {path} is encrypted; set {PASSWORD} to its password")
    return given


def identity_token() -> str:
    """Return a token of the identity that the environment has; it is good for minutes only.

    Raises:
        UserError: It has none.
    """
    from sigstore.oidc import IdentityError, detect_credential

    why = "this environment has no identity"
    try:
        if token := detect_credential():
            return token
    except IdentityError as error:
        why = str(error).strip().splitlines()[0]
    raise UserError(
        f"--keyless: {why}; sign where there is one, as in a GitHub Actions job with `id-token: write`, or with --key"
    )
