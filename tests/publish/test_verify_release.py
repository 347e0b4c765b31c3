"""A signed release of a run, verified by a stranger; then damaged where it lies on the Hub, in eight ways and more."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from publish.localhub import LocalHub, running
from recipe.run import Run
from tests.publish.prepared import copied
from tests.publish.released_folder import keys, sign
from tests.support import Outcome, fresh

pytestmark = pytest.mark.slow
REPO, TAG = "notus/tiny-adapter", "v0.1.0"
ADAPTER, CONFIG = "adapter_model.safetensors", "adapter_config.json"

# Commits changed files beside the release, and others' removal, and moves the tag there; prints where it was.
CHANGE = """
import json, secrets, sys
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
repo, tag, add, remove = json.loads(sys.argv[1])
api = HfApi()
was = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo).tags}[tag]
operations = [CommitOperationAdd(name, path) for name, path in add.items()]
operations += [CommitOperationDelete(name) for name in remove]
branch = secrets.token_hex(4)
api.create_branch(repo, branch=branch, revision=was)
commit = api.create_commit(repo, operations, commit_message="a change", revision=branch)
api.delete_tag(repo, tag=tag)
api.create_tag(repo, tag=tag, revision=commit.oid)
print(was)
"""
# Puts the tag back to what was published.
RESTORE = """
import sys
from huggingface_hub import HfApi
repo, tag, was = sys.argv[1:]
api = HfApi()
api.delete_tag(repo, tag=tag)
api.create_tag(repo, tag=tag, revision=was)
"""


@dataclass(frozen=True)
class Release:
    """A run that was published to a Hub, and the keys that it was signed with."""

    run: Run
    server: LocalHub
    private_key: Path
    public_key: Path
    work: Path

    def verify(self, repo: str = REPO) -> Outcome:
        """Verify it as somebody does who has the public key only."""
        at = {"HF_ENDPOINT": self.server.endpoint}
        ended = fresh("verify", repo, "--revision", TAG, "--public-key", self.public_key, cwd=self.work, **at)
        print(ended.out + ended.err)  # noqa: T201 - pytest shows it with -rP
        return ended

    def files(self) -> dict[str, Path]:
        """Return the adapter's published files by path."""
        from publish.contents import files_of

        return files_of(self.run, "adapter")


Change = tuple[dict[str, bytes], list[str]]


def edited(path: Path, **values: object) -> bytes:
    return json.dumps(json.loads(path.read_text()) | values).encode()


def signed_anew(release: Release, changed: dict[str, bytes]) -> bytes:
    """Return a signature of the changed release by another key."""
    folder = release.work / "anew"
    for name, path in release.files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(changed.get(name, path.read_bytes()))
    private, _ = keys(release.work / "another")
    sign(folder, private)
    return (folder / "model.sig").read_bytes()


def another_card(release: Release) -> Change:
    return {"README.md": release.files()["README.md"].read_bytes() + b"\nBetter than ever.\n"}, []


def a_file_gone(release: Release) -> Change:
    return {}, ["chat_template.jinja"]


def a_pickle(release: Release) -> Change:
    return {"training_args.bin": pickle.dumps({"output_dir": "out"})}, []


def code(release: Release) -> Change:
    tokenizer = edited(release.files()["tokenizer_config.json"], auto_map={"AutoTokenizer": ["evil.T", None]})
    return {"evil.py": b"print('hello')\n", "tokenizer_config.json": tokenizer}, []


def a_base_that_moves(release: Release) -> Change:
    return {CONFIG: edited(release.files()[CONFIG], revision="main")}, []


def weights_cut_short(release: Release) -> Change:
    return {ADAPTER: release.files()[ADAPTER].read_bytes()[:-64]}, []


def no_statement(release: Release) -> Change:
    return {}, ["provenance.json"]


def another_signature(release: Release) -> Change:
    card = another_card(release)[0]
    return {**card, "model.sig": signed_anew(release, card)}, []


# What fails in the table: the check, and the beginning of what it says.
DAMAGES: dict[str, tuple[Callable[[Release], Change], set[tuple[str, str]]]] = {
    "another card": (another_card, {("signature", "README.md"), ("hashes", "README.md")}),
    "a file gone": (a_file_gone, {("signature", "chat_template.jinja"), ("hashes", "chat_template.jinja")}),
    "a pickle": (
        a_pickle,
        {(check, "training_args.bin") for check in ("signature", "hashes", "no pickles")},
    ),
    "code": (
        code,
        {
            (check, file)
            for check in ("signature", "hashes", "no code")
            for file in ("evil.py", "tokenizer_config.json")
        },
    ),
    "a base that moves": (a_base_that_moves, {(check, CONFIG) for check in ("signature", "hashes", "base")}),
    "weights cut short": (
        weights_cut_short,
        {(check, ADAPTER) for check in ("signature", "hashes", "weights")},
    ),
    "no statement": (no_statement, {("signature", "provenance.json"), ("statement", "provenance.json")}),
    "another signature": (another_signature, {("signature", "model.sig"), ("hashes", "README.md")}),
}


@pytest.fixture(scope="module")
def release(trained: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    work = tmp_path_factory.mktemp("release")
    run = copied(trained, tiny, work / "run")
    private, public = keys(work)
    with running(work / "hub") as server:
        asked = ("--run", run.folder, "--key", private, "--hub", "remote")
        ended = fresh("publish", tiny / "tiny.yaml", *asked, cwd=tiny, **server.environment)
        assert ended.code == 0, ended.err
        yield Release(run, server, private, public, work)


def at_the_hub(release: Release, script: str, *arguments: str) -> str:
    """Do something with the Hub's client; it reads where the Hub is when it is imported."""
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **release.server.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def failing(ended: Outcome) -> set[tuple[str, str]]:
    """Return check and file of each row of the table that failed."""
    assert ended.code == 1, ended.out + ended.err
    assert max(map(len, ended.out.splitlines())) <= 100
    rows = [line.split(" FAILED ") for line in ended.out.splitlines() if " FAILED " in line]
    return {(check.strip(), said.strip().partition(":")[0]) for check, said in rows}


@pytest.mark.parametrize("repo", [REPO, "notus/tiny", "notus/tiny-base"])
def test_every_repository_of_a_release_is_good(repo: str, release: Release) -> None:
    ended = release.verify(repo)
    assert ended.code == 0, ended.out + ended.err
    assert "FAILED" not in ended.out
    assert f"{repo} at {TAG} is as it was released" in ended.out


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_on_the_hub_is_found(name: str, release: Release) -> None:
    change, expected = DAMAGES[name]
    add, remove = change(release)
    paths = {}
    for path, content in add.items():
        paths[path] = str(release.work / f"changed-{path}")
        Path(paths[path]).write_bytes(content)
    was = at_the_hub(release, CHANGE, json.dumps([REPO, TAG, paths, remove]))
    print(f"damaged on the Hub: {name}")  # noqa: T201
    ended = release.verify()
    at_the_hub(release, RESTORE, REPO, TAG, was)
    assert failing(ended) == expected
    assert all(file in ended.err for _, file in expected)


def test_bits_that_flip_where_the_hub_keeps_them(release: Release) -> None:
    recorded = json.loads((release.run.folder / "release.json").read_text())["repositories"]["adapter"]
    sha256 = recorded["files"][ADAPTER]["sha256"]
    stored = release.server.root / "lfs" / sha256[:2] / sha256[2:4] / sha256
    before = stored.read_bytes()
    stored.chmod(0o600)
    print("damaged on the Hub: the last bit of a stored weight")  # noqa: T201
    try:
        stored.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert failing(release.verify()) == {(one, ADAPTER) for one in ("download", "signature", "hashes")}
    finally:
        stored.write_bytes(before)
