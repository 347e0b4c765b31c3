"""`notus verify REPO --revision TAG`, from the embedded Hub: a good release, and what is done to it there."""

import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from publish.localhub import LocalHub, running
from recipe.disk import file_sha256
from tests.publish.released_folder import REPO_ID, TAG, Released, make, statement, write_adapter
from tests.support import Outcome, fresh

pytestmark = pytest.mark.slow
ADAPTER = "adapter_model.safetensors"

# In a process of its own: the client reads where the Hub is when it is imported.
AT_THE_HUB = """
import json, sys
from huggingface_hub import HfApi
repo, type_, tag, folder, remove = json.loads(sys.argv[1])
api = HfApi()
api.create_repo(repo, repo_type=type_, exist_ok=True)
if folder:
    api.upload_folder(repo_id=repo, repo_type=type_, folder_path=folder, delete_patterns=remove or None)
elif remove:
    api.delete_files(repo, remove, repo_type=type_)
head = api.repo_info(repo, repo_type=type_).sha
if tag in {ref.name for ref in api.list_repo_refs(repo, repo_type=type_).tags}:
    api.delete_tag(repo, tag=tag, repo_type=type_)
api.create_tag(repo, tag=tag, revision=head, repo_type=type_)
print(head)
"""


@dataclass
class Hub:
    """A Hub with the small release, signed, at its tag."""

    server: LocalHub
    good: Released
    work: Path

    def put(
        self, folder: Path | None, remove: list[str] | None = None, repo: str = REPO_ID, type_: str = "model"
    ) -> str:
        """Commit a folder's files, or remove some, move the tag there, and return the commit."""
        asked = json.dumps([repo, type_, TAG, folder and str(folder), remove])
        ended = subprocess.run(
            [sys.executable, "-c", AT_THE_HUB, asked],
            env={**os.environ, **self.server.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip().splitlines()[-1]

    def copy(self) -> Released:
        """Return a copy of the good release, to be changed."""
        folder = self.work / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.good.folder, folder)
        return Released(folder, self.good.private_key, self.good.public_key)

    def stored(self, name: str) -> Path:
        """Return where the Hub keeps a large file."""
        sha256 = file_sha256(self.good.folder / name)
        return self.server.root / "lfs" / sha256[:2] / sha256[2:4] / sha256

    def verify(self, repo: str = REPO_ID, *arguments: object) -> Outcome:
        """Run the command, as somebody without the Hub's token."""
        where = {key: value for key, value in self.server.environment.items() if key != "HF_TOKEN"}
        key = ("--public-key", self.good.public_key)
        asked = arguments or ("--revision", TAG, *key)
        return fresh("verify", repo, *asked, cwd=self.work, **where)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    work = tmp_path_factory.mktemp("verify")
    with running(work / "hub") as server:
        found = Hub(server, make(work / "small", signed=True), work)
        found.put(found.good.folder)
        yield found


@pytest.fixture
def whole_after(hub: Hub) -> Iterator[None]:
    """Put the good release back when a test has damaged it."""
    yield
    hub.put(hub.good.folder, ["*"])


def failing(ended: Outcome) -> list[list[str]]:
    """Return check and what was said of each row of the table that failed."""
    assert ended.code == 1, ended.err + ended.out
    assert "Traceback" not in ended.err
    return [line.split(" FAILED ") for line in ended.out.splitlines() if " FAILED " in line]


def test_a_good_release(hub: Hub) -> None:
    ended = hub.verify()
    assert ended.code == 0, ended.err + ended.out
    assert "FAILED" not in ended.out
    assert "not checked" not in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100
    assert ended.out.strip().endswith(f"{REPO_ID} at {TAG} is as it was released: 14 checks passed")
    assert not list(hub.work.glob("runs"))


def test_as_json_by_its_commit_and_from_a_folder_that_is_served_for_it(hub: Hub) -> None:
    commit = json.loads(hub.verify(REPO_ID, "--revision", TAG, "--json").out)["commit"]
    root = ("--hub", "local", "--hub-root", hub.server.root)
    ended = fresh("verify", REPO_ID, "--revision", commit, "--json", *root, cwd=hub.work)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["ok"] is True
    assert found["files"] == []
    assert (found["repository"], found["type"], found["commit"]) == (REPO_ID, "model", commit)
    said = {check["name"]: check["said"] for check in found["checks"]}
    assert f"the commit {commit} is at {commit}, as {TAG}" == said["revision"]
    assert said["signature"].startswith("not checked: no --public-key; signed by the key ")


def test_a_branch_is_no_release(hub: Hub) -> None:
    ended = hub.verify(REPO_ID, "--revision", "main")
    assert [row[0].strip() for row in failing(ended)] == ["revision"]
    assert ended.err.strip().endswith("is not as it was released: revision")


@pytest.mark.usefixtures("whole_after")
def test_a_changed_file_under_a_moved_tag(hub: Hub) -> None:
    changed = hub.copy()
    (changed.folder / "README.md").write_text((changed.folder / "README.md").read_text() + "More.\n")
    hub.put(changed.folder)
    ended = hub.verify()
    assert {row[0].strip() for row in failing(ended)} == {"signature", "hashes"}
    assert ended.err.strip() == f"warning: {REPO_ID} at {TAG} is not as it was released: README.md"


@contextlib.contextmanager
def damaged(path: Path, content: bytes | None) -> Iterator[None]:
    """Change what the Hub has stored, or take it away, for as long as it takes."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o600)
    path.unlink() if content is None else path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(mode)


def test_bytes_that_flip_are_cut_or_go_where_they_are_stored(hub: Hub) -> None:
    stored = hub.stored(ADAPTER)
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    with damaged(stored, bytes(content)):
        assert {row[0].strip() for row in failing(hub.verify())} == {"download", "signature", "hashes"}
    with damaged(stored, bytes(content[:-100])):
        rows = failing(hub.verify())
        assert rows[0][0].strip() == "download"
        assert rows[0][1].strip().startswith(ADAPTER)
    with damaged(stored, None):
        ended = hub.verify()
        assert failing(ended)[0][0].strip() == "download"
        assert ended.err.strip().endswith(f"is not as it was released: {ADAPTER}")


@pytest.mark.usefixtures("whole_after")
def test_who_may_write_there_and_has_not_the_key_can_change_all_but_the_signature(hub: Hub) -> None:
    """Weights, their hashes in the statement, and a new signature with a key of one's own."""
    changed = hub.copy()
    write_adapter(changed.folder / ADAPTER, rank=4)
    (changed.folder / ADAPTER).write_bytes(
        (changed.folder / ADAPTER).read_bytes().replace(b"\x80?", b"\x80>")
    )
    changed.state()
    hub.put(changed.folder)
    assert {row[0].strip() for row in failing(hub.verify())} == {"signature"}
    own = make(hub.work / "own")
    Released(changed.folder, own.private_key, own.public_key).sign()
    hub.put(changed.folder)
    ended = hub.verify()
    assert [row[0].strip() for row in failing(ended)] == ["signature"]
    assert "model.sig: made by another key" in ended.out
    assert hub.verify(REPO_ID, "--revision", TAG).code == 0  # so much for a check without the key


@pytest.mark.usefixtures("whole_after")
def test_a_pickle_and_code_that_came_later_and_a_statement_that_went(hub: Hub) -> None:
    more = hub.work / "more"
    more.mkdir()
    (more / "training_args.bin").write_bytes(pickle.dumps({"a": 1}))
    (more / "modeling.py").write_text("print('hello')\n")
    hub.put(more)
    hub.put(None, ["provenance.json"])
    rows = failing(hub.verify())
    assert {row[0].strip() for row in rows} == {"signature", "statement", "no pickles", "no code"}
    assert "training_args.bin: a pickle" in [row[1].strip() for row in rows]


def test_a_data_set_is_found_by_asking_and_by_its_prefix(hub: Hub) -> None:
    folder, repo = hub.work / "data", "notus/pairs"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Pairs\n")
    (folder / "train.parquet").write_bytes(b"PAR1")
    bill = json.loads((hub.good.folder / "sbom.cdx.json").read_text())
    bill["metadata"]["component"] |= {"type": "data", "name": "pairs"}
    (folder / "sbom.cdx.json").write_text(json.dumps(bill))
    (folder / "provenance.json").write_text(json.dumps(statement(folder, kind="data", repo_id=repo)))
    hub.put(folder, repo=repo, type_="dataset")
    for name in (repo, f"datasets/{repo}"):
        ended = hub.verify(name, "--revision", TAG)
        assert ended.code == 0, ended.out + ended.err
        assert f"verify: {repo} (dataset) at {TAG}" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("notus/none", "--revision", TAG), "notus/none: no such model or data set"),
        (("datasets/notus/none", "--revision", TAG), "reading notus/none: no such repository"),
        ((REPO_ID, "--revision", "v9"), f"{REPO_ID}: no revision v9 there; its tags: {TAG}"),
        (("smoke", "--revision", TAG), "smoke: not a repository; with --revision write owner/name"),
        (("a/b c", "--revision", TAG), "'a/b c' is not a repository name"),
        ((REPO_ID, "--public-key", "key.pub"), "--public-key key.pub: of use with --revision only"),
        ((REPO_ID, "--revision", TAG, "--public-key", "none"), "--public-key none: can't be read"),
        ((REPO_ID, "--revision", TAG, "--run", "runs/a"), "--run: --revision looks at what the Hub has"),
        ((REPO_ID, "--revision", TAG, "--hub", "local", "--hub-root", "none"), "no embedded Hub lies there"),
        ((REPO_ID, "--revision", TAG, "--hub", "mine"), "--hub mine: must be local or remote"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], said: str, hub: Hub) -> None:
    assert said in hub.verify(*arguments).mistake


def test_a_hub_that_does_not_answer(hub: Hub) -> None:
    ended = fresh("verify", REPO_ID, "--revision", TAG, cwd=hub.work, HF_ENDPOINT="http://127.0.0.1:9")
    assert "the Hub at http://127.0.0.1:9 can't be reached" in ended.mistake
