"""What a published repository is, whoever published it: every check that needs nothing but its files.

None of the files is loaded, run or unpickled, and none is trusted: a check that can't read one says so and fails.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from publish.checks.folder import MOST_FILES, BadFileError, Fault, Folder, NotCheckedError
from publish.checks.origin import ADAPTER_CONFIG, base_faults, card_faults, recipe_faults, sbom_faults
from publish.checks.pickles import code_faults, pickle_faults
from publish.checks.places import place_faults
from publish.checks.signature import refuse_no_public_key, signature_faults
from publish.checks.statement import Stated, hash_faults, read_statement, statement_faults
from publish.checks.weights import weight_faults, weight_files
from publish.contents import STATEMENT

MOST_FAULTS = 200  # that one check tells


@dataclass(frozen=True)
class Check:
    """What one check says of one file, or of all of them.

    Attributes:
        name: Of the check; one that finds several faults is there several times.
        ok: None if it could not be done, or there was nothing to do.
        said: One line, without the file's name. It may quote what is not to be trusted.
        file: What is wrong, by its path in the repository.
    """

    name: str
    ok: bool | None
    said: str
    file: str | None = None


def inspect_folder(
    folder: Path,
    *,
    repo_id: str | None = None,
    revision: str | Sequence[str] | None = None,
    public_key: Path | None = None,
    repo_type: str | None = None,
) -> list[Check]:
    """Check a folder with a repository's files; `.gitattributes` and `.cache/` are not looked at.

    Args:
        folder: Where they lie; links to files are followed.
        repo_id: The repository that they should be of.
        revision: The tag that they should be of, or several that lie on their commit.
        public_key: A PEM file; without one the signature is not checked.
        repo_type: `model` or `dataset`, if that is known.

    Returns:
        At least one for each check, in a fixed order. The release is good if no `ok` is False.

    Raises:
        UserError: `public_key` is none.
    """
    if public_key is not None:
        refuse_no_public_key(public_key)
    files = Folder(folder)
    versions = [revision] if isinstance(revision, str) else revision
    stated, unread = _read(files)

    def told() -> Stated:
        if stated is None:
            missing = STATEMENT not in files.files
            raise NotCheckedError(f"no {STATEMENT}" if missing else f"{STATEMENT} can't be read")
        return stated

    def statement() -> Iterator[Fault]:
        yield from unread
        if stated is not None:
            yield from statement_faults(stated, files, repo_id, versions, repo_type)

    def base() -> Iterator[Fault]:
        if repo_type == "dataset" or (stated is not None and stated.kind == "data"):
            raise NotCheckedError("a data set has none")
        yield from base_faults(files, stated)

    def materials() -> Iterator[Fault]:
        yield from sbom_faults(files, repo_id or told().repository, versions or [told().version])

    def recipe() -> Iterator[Fault]:
        if ADAPTER_CONFIG not in files.files:
            raise NotCheckedError("lies beside the adapter only")
        yield from recipe_faults(files, told())

    def weights() -> Iterator[Fault]:
        yield from weight_faults(files)
        if not weight_files(files) and "config.json" not in files.files and ADAPTER_CONFIG not in files.files:
            raise NotCheckedError("there are none")

    every = f"{len(files.files)} files"
    checks: tuple[tuple[str, str, Callable[[], Iterator[Fault]]], ...] = (
        ("files", f"{every}, {sum(path.stat().st_size for path in files.files.values()) / 1e6:,.2f} MB",
         lambda: _odd_files(files)),
        ("signature", "every file is as it was signed", lambda: signature_faults(files, public_key)),
        ("statement", f"of {stated.repository} {stated.version} ({stated.kind})" if stated else "", statement),
        ("hashes", f"{len(stated.files) if stated else 0} files have the stated sha256, no other is there",
         lambda: hash_faults(told(), files)),
        ("weights", f"{', '.join(weight_files(files)) or 'none'}: whole", weights),
        ("no pickles", f"none of {every} is one or could hold one", lambda: pickle_faults(files)),
        ("no code", f"none of {every} is code or names some", lambda: code_faults(files)),
        ("base", _base_said(files, stated), base),
        ("card", "names the stated base" if stated and stated.kind in {"adapter", "merged"} else "can be read",
         lambda: card_faults(files, stated)),
        ("materials", "a CycloneDX bill of materials of this release", materials),
        ("recipe", "recipe.yaml has the stated sha256", recipe),
        ("no local paths", "no text names a path of a machine", lambda: place_faults(files)),
    )  # fmt: skip
    return [found for name, said, look in checks for found in _done(name, said, look)]


def _done(name: str, said: str, look: Callable[[], Iterator[Fault]]) -> list[Check]:
    faults: list[Fault] = []
    try:
        faults += look()
    except BadFileError as error:
        faults.append(Fault(error.said, error.file))
    except NotCheckedError as error:
        return [Check(name, None, f"not checked: {error}")]
    if not faults:
        return [Check(name, True, said)]
    found = [Check(name, False, fault.said, fault.file) for fault in faults[:MOST_FAULTS]]
    if len(faults) > MOST_FAULTS:
        found.append(Check(name, False, f"and {len(faults) - MOST_FAULTS} more"))
    return found


def _read(files: Folder) -> tuple[Stated | None, list[Fault]]:
    try:
        return read_statement(files), []
    except BadFileError as error:
        return None, [Fault(error.said, error.file)]


def _odd_files(files: Folder) -> Iterator[Fault]:
    if not files.files:
        yield Fault("there are none")
    if len(files.files) > MOST_FILES:
        yield Fault(f"there are more than {MOST_FILES:,}")
    yield from files.faults


def _base_said(files: Folder, stated: Stated | None) -> str:
    if ADAPTER_CONFIG not in files.files:
        return "config.json can be read, and names no machine's path"
    base = stated.made_of.get("base") if stated else None
    where = base.where() if base else None
    if where is None:
        return "pinned in adapter_config.json"
    return f"{where[0]}, pinned in adapter_config.json as in provenance.json"
