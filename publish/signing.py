"""Stage: a signature of each repository, by OpenSSF model signing (a Sigstore bundle), with a key or keyless.

`model.sig` covers every file of its repository but itself and `.gitattributes`, which is the Hub's. A signature is
another one each time it is made. So each is kept in the run folder, in `signed/`, and none is made twice for the same
files by the same key: a version that was released before is the same release again. A release that was signed stays
signed, with the key at hand or not.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from publish.contents import SIGNATURE, files_of, kinds, staged
from publish.keys import Signer, identity_token, password
from recipe.disk import file_sha256, read_json
from recipe.errors import UserError
from recipe.progress import Reporter
from recipe.run import Run, Stage
from recipe.schema import canonical_sha256

if TYPE_CHECKING:
    from model_signing.signing import Config

NAME, PUBLIC_KEY = "signature", "public.pem"
KEPT = "signed"  # all signatures of the run, by what they cover and who signed
COVERED = ("card", "provenance")
# .cache: what `hf download --local-dir` keeps beside the files.
IGNORED = (SIGNATURE, ".gitattributes", ".cache/huggingface")


def stage_of(
    run: Run, signer: Signer | None, *, hub: str | None = None, with_data: bool = False
) -> Stage | None:
    """Return the stage that signs a run's release, or keeps its signature; None if it is not signed.

    Args:
        run: The run.
        signer: Who signs; None: nobody now, so that what was signed before has to be still good.
        hub: Where it is released: `local` or `remote`; None if that is not known.
        with_data: Whether the data set is part of it.

    Raises:
        UserError: This version was released already, with another signature or without one.
    """
    if signer is not None:
        _refuse_another_signature(run, signer, hub)
        return signed_by(signer, with_data=with_data)
    before = run.done(NAME)
    if before is None:
        return None
    if not run.path(NAME).is_dir():  # removed by hand: the release is not to be signed any more
        with run.locked():
            run.forget(NAME)
        return None
    signer = Signer(before["inputs"]["outside"])
    return replace(
        signed_by(signer, with_data=with_data),
        work=partial(sign, signer=signer, with_data=with_data, only_kept=True),
    )


def signed_by(signer: Signer, *, with_data: bool = False) -> Stage:
    """Return the stage that signs a release; up to date while signer and files are the same."""
    dataset = ("dataset",) if with_data else ()
    return Stage(
        name=NAME,
        does="sign what is released",
        needs=("fetch", *dataset, "train", "merge", *COVERED),
        outputs=(NAME,),
        reads=(),
        work=partial(sign, signer=signer, with_data=with_data),
        outside=lambda _: signer.fingerprint,
    )


def sign(
    run: Run,
    out: Path,
    reporter: Reporter,  # noqa: ARG001 - every stage has one
    *,
    signer: Signer,
    with_data: bool = False,
    only_kept: bool = False,
) -> dict[str, object]:
    """Write `signature/KIND/model.sig` of each repository, and the public key, which is not published.

    Args:
        run: The run.
        out: Where to.
        reporter: Has nothing to say.
        signer: Who signs.
        with_data: Whether the data set is part of the release.
        only_kept: Whether nobody can sign now, so that signatures made before have to do.

    Raises:
        UserError: The environment has no identity any more, or nobody can sign and no signature covers these files.
    """
    repositories = kinds(run.recipe, with_data=with_data)
    config: Config | None = None  # one for all: keyless, each asks for an identity
    for kind, repo_id in repositories.items():
        name = repo_id.rpartition("/")[2]  # what the signature calls the model
        files = files_of(run, kind, beside=COVERED)
        kept = _kept(run, name, files, signer)
        if not kept.is_file():
            if only_kept:
                raise UserError(
                    f"{run.folder}: what was signed has changed since; sign it again with --key or --keyless, or "
                    f"remove {run.path(NAME)} to release it without a signature"
                )
            config = config or _signing(signer)
            _sign(run, name, files, config, kept)
        (out / NAME / kind).mkdir(parents=True)
        shutil.copyfile(kept, out / NAME / kind / SIGNATURE)
    public = signer.public
    if only_kept and run.path(NAME, PUBLIC_KEY).is_file():
        public = run.path(NAME, PUBLIC_KEY).read_bytes()
    if public is None:
        return {"signed": f"{', '.join(repositories)}, keyless"}
    (out / NAME / PUBLIC_KEY).write_bytes(public)
    return {
        "signed": f"{', '.join(repositories)}, by the key {signer.fingerprint[:16]} ({NAME}/{PUBLIC_KEY})"
    }


def _kept(run: Run, name: str, files: Mapping[str, Path], signer: Signer) -> Path:
    """Return where the signature of these files by this signer lies, or would."""
    covers = {path: file_sha256(file) for path, file in files.items()}
    return run.path(
        KEPT, f"{canonical_sha256({'by': signer.fingerprint, 'model': name, 'files': covers})}.sig"
    )


def _sign(run: Run, name: str, files: Mapping[str, Path], config: "Config", target: Path) -> None:
    from model_signing import hashing

    rules = hashing.Config().set_allow_symlinks(True)  # type: ignore[no-untyped-call]
    config.set_hashing_config(rules.set_ignored_paths(paths=IGNORED, ignore_git_paths=False))
    target.parent.mkdir(exist_ok=True)
    aside = target.with_suffix(".partial")
    with staged(run, {f"{name}/{path}": file for path, file in files.items()}) as folder:
        config.sign(folder / name, aside)
    aside.replace(target)


def _signing(signer: Signer) -> "Config":
    from model_signing.signing import Config

    if signer.key is None:
        return Config().use_sigstore_signer(identity_token=identity_token())  # type: ignore[no-untyped-call]
    # It says that it takes a str, and hands it on to what takes bytes only.
    secret = cast("Any", password() if signer.encrypted else None)
    return Config().use_elliptic_key_signer(private_key=signer.key, password=secret)  # type: ignore[no-untyped-call]


def _refuse_another_signature(run: Run, signer: Signer, hub: str | None) -> None:
    """Refuse, before the signature at hand is lost, what the tag of this version would refuse in the end."""
    record, before = run.path("release.json"), run.done(NAME)
    if not record.is_file():
        return
    release, version = read_json(record), run.recipe.release.version
    if release["version"] != version or hub not in {None, release["hub"]}:
        return
    signed = SIGNATURE in release["repositories"]["adapter"]["files"]
    if signed and before is not None and before["inputs"]["outside"] == signer.fingerprint:
        return
    how = "with another signature" if signed else "without a signature"
    raise UserError(f"{version} was released {how}; release under another tag with --tag")
