"""The embedded Hub, by the unmodified client: what a release relies on, and what must be refused."""

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from publish.localhub import LocalHub, add_user, local_token, running
from recipe.errors import UserError

# httpx2 is told of a body by `data=`, by the client itself: huggingface_hub/lfs.py, _upload_single_part.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

LARGE = bytes(range(256)) * 4096


@pytest.fixture(autouse=True)
def _no_xet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with running(tmp_path_factory.mktemp("hub")) as served:
        yield served


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


@pytest.fixture
def repo(api: HfApi, request: pytest.FixtureRequest) -> str:
    name = request.node.name.partition("[")[0].replace("_", "-")
    return api.create_repo(f"notus/{name}", exist_ok=True).repo_id


def _commit(api: HfApi, repo: str, files: dict[str, bytes], parent: str | None = None) -> str:
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    return api.create_commit(repo, operations, commit_message="A commit", parent_commit=parent).oid


def _git(hub: LocalHub, repo: str, *command: str) -> str:
    folder = hub.root / "models" / f"{repo.lower()}.git"
    ended = subprocess.run(["git", "-C", folder, *command], capture_output=True, text=True, check=True)
    return ended.stdout + ended.stderr


def _status(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def test_what_is_uploaded_comes_back_at_its_tag(api: HfApi, repo: str, tmp_path: Path) -> None:
    files = {"model.safetensors": LARGE, "a/config.json": b"{}\n", "empty.bin": b"", "binary": b"\0\1"}
    first = _commit(api, repo, files)
    api.create_tag(repo, tag="v1.0", tag_message="First", revision=first)
    _commit(api, repo, {"a/config.json": b"[]\n"})
    folder = Path(api.snapshot_download(repo, revision="v1.0", cache_dir=tmp_path))
    assert folder.name == first
    assert {name: (folder / name).read_bytes() for name in files} == files
    [tag] = api.list_repo_refs(repo).tags
    assert (tag.name, tag.target_commit) == ("v1.0", first)
    checked = api.verify_repo_checksums(repo, revision="v1.0", cache_dir=tmp_path)
    assert (checked.checked_count, checked.mismatches) == (5, [])


def test_metadata_tells_large_files_from_small(api: HfApi, repo: str) -> None:
    _commit(api, repo, {"model.safetensors": LARGE, "note.txt": b"small\n"})
    siblings = {file.rfilename: file for file in api.model_info(repo, files_metadata=True).siblings or []}
    large, small = siblings["model.safetensors"], siblings["note.txt"]
    assert large.lfs
    assert (large.size, large.lfs.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert small.lfs is None
    assert small.blob_id == hashlib.sha1(b"blob 6\0small\n").hexdigest()
    [entry] = api.get_paths_info(repo, "note.txt", expand=True)
    assert entry.last_commit
    assert entry.last_commit.title == "A commit"


def test_a_client_with_xet_can_download(
    api: HfApi, repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _commit(api, repo, {"model.safetensors": LARGE})
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert Path(api.hf_hub_download(repo, "model.safetensors", cache_dir=tmp_path)).read_bytes() == LARGE


def test_a_stale_parent_is_refused(api: HfApi, repo: str) -> None:
    old = _commit(api, repo, {"note": b"1\n"})
    new = _commit(api, repo, {"note": b"2\n"}, parent=old)
    with pytest.raises(HfHubHTTPError) as error:
        _commit(api, repo, {"note": b"3\n"}, parent=old)
    assert _status(error) == 412
    assert api.model_info(repo).sha == new


def test_a_tag_stays_where_it_is(api: HfApi, repo: str) -> None:
    first = _commit(api, repo, {"note": b"1\n"})
    api.create_tag(repo, tag="v1", revision=first)
    _commit(api, repo, {"note": b"2\n"})
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag(repo, tag="v1")
    assert _status(error) == 409
    assert api.list_repo_refs(repo).tags[0].target_commit == first
    with pytest.raises(RevisionNotFoundError):
        api.create_tag(repo, tag="v2", revision="0" * 40)


def test_files_that_are_gone_are_gone(api: HfApi, repo: str) -> None:
    _commit(api, repo, {"old/a": b"a", "old/b": b"b", "kept": b"c"})
    api.create_commit(repo, [CommitOperationDelete("old/")], commit_message="Remove")
    assert api.list_repo_files(repo) == [".gitattributes", "kept"]
    with pytest.raises(EntryNotFoundError):
        api.create_commit(repo, [CommitOperationDelete("never-was")], commit_message="Remove")


def test_a_private_repository_is_its_owners(hub: LocalHub, api: HfApi, tmp_path: Path) -> None:
    add_user(hub.root, "other", token="hf_other")
    repo = api.create_repo("secret", private=True).repo_id
    _commit(api, repo, {"model.safetensors": LARGE})
    for token in (False, "hf_other"):
        with pytest.raises(RepositoryNotFoundError):
            api.model_info(repo, token=token)
        with pytest.raises(RepositoryNotFoundError):
            HfApi(endpoint=hub.endpoint, token=token).hf_hub_download(
                repo, "model.safetensors", cache_dir=tmp_path
            )
        assert repo not in [model.id for model in api.list_models(token=token)]
    assert repo in [model.id for model in api.list_models()]


def test_who_may_write(hub: LocalHub, api: HfApi, repo: str) -> None:
    add_user(hub.root, "other", token="hf_other")
    add_user(hub.root, "reader", token="hf_reader", orgs=("notus",), role="read")
    assert api.model_info(repo, token=False).id == repo
    operations = [CommitOperationAdd("note", b"1")]
    for token, status in ((False, 401), ("hf_other", 403), ("hf_reader", 403), ("hf_nobody", 401)):
        with pytest.raises(HfHubHTTPError) as error:
            api.create_commit(repo, operations, commit_message="No", token=token)
        assert _status(error) == status
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        api.model_info(repo, token="hf_nobody")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("other/mine")
    assert _status(error) == 403


def test_the_token_file_is_private(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    token = local_token(root)
    assert token.startswith("hf_")
    assert token == local_token(root)
    assert stat.S_IMODE((root / "tokens.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["model.safetensors", "note.txt"])
@pytest.mark.parametrize(
    ("asked", "span"), [("bytes=0-9", (0, 10)), ("bytes=90-", (90, None)), ("bytes=-7", (-7, None))]
)
def test_a_range_is_that_part(api: HfApi, repo: str, name: str, asked: str, span: tuple[int, int]) -> None:
    content = b"0123456789" * 10
    _commit(api, repo, {name: content})
    url = f"{api.endpoint}/{repo}/resolve/main/{name}"
    with httpx2.Client(follow_redirects=True) as client:
        answer = client.get(url, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, content[slice(*span)])
        assert client.get(url, headers={"Range": "bytes=100-"}).status_code == 416
        assert client.get(url).content == content


def _upload_address(api: HfApi, repo: str, content: bytes) -> str:
    objects = [{"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}]
    batch = {"operation": "upload", "transfers": ["basic"], "objects": objects, "hash_algo": "sha256"}
    url = f"{api.endpoint}/{repo}.git/info/lfs/objects/batch"
    answer = httpx2.post(url, json=batch, headers={"authorization": f"Bearer {api.token}"})
    return str(answer.json()["objects"][0]["actions"]["upload"]["href"])


def test_an_object_that_has_rotted_is_asked_for_again(api: HfApi, hub: LocalHub, repo: str) -> None:
    content = LARGE + b"rots"
    oid = hashlib.sha256(content).hexdigest()
    _commit(api, repo, {"model.safetensors": content})
    stored = hub.root / "lfs" / oid[:2] / oid[2:4] / oid

    def asked_for() -> bool:
        answer = httpx2.post(
            f"{hub.endpoint}/{repo}.git/info/lfs/objects/batch",
            headers={"authorization": f"Bearer {hub.token}"},
            json={"operation": "upload", "objects": [{"oid": oid, "size": len(content)}]},
        )
        return "actions" in answer.json()["objects"][0]

    assert not asked_for()
    stored.write_bytes(content[:-1] + b"S")
    assert asked_for()
    assert asked_for()  # not only the first time
    api.preupload_lfs_files(repo, [CommitOperationAdd("model.safetensors", content)])
    assert stored.read_bytes() == content
    assert not asked_for()


def test_a_flipped_byte_is_refused(api: HfApi, hub: LocalHub, repo: str) -> None:
    content = b"\0 the right bytes of a large file"
    url = _upload_address(api, repo, content)
    for wrong in (content.replace(b"right", b"wrong"), content[:-1], content + b"!"):
        assert httpx2.put(url, content=wrong).status_code == 422
    assert httpx2.put(url.replace("signature=", "signature=0"), content=content).status_code == 403
    oid = hashlib.sha256(content).hexdigest()
    line = {"key": "lfsFile", "value": {"path": "a", "algo": "sha256", "oid": oid, "size": len(content)}}
    assert _raw_commit(api, repo, line) == 422
    assert list((hub.root / "lfs" / "incoming").iterdir()) == []
    assert httpx2.put(url, content=content).status_code == 200
    assert _raw_commit(api, repo, line) == 200


def _file(path: str, content: str = "") -> dict[str, object]:
    return {"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}}


def _raw_commit(api: HfApi, repo: str, *lines: object) -> int:
    body = "\n".join(json.dumps(line) for line in ({"key": "header", "value": {"summary": "Raw"}}, *lines))
    url = f"{api.endpoint}/api/models/{repo}/commit/main"
    return httpx2.post(url, content=body, headers={"authorization": f"Bearer {api.token}"}).status_code


@pytest.mark.parametrize(
    "path",
    ["../out", "/etc/x", "a/../../b", "a\\b", ".git/config", "a/.GIT/b", "a//b", "", ".", "a\nb", "a/"],
)
def test_a_path_stays_inside(api: HfApi, repo: str, path: str) -> None:
    before = api.model_info(repo).sha
    assert _raw_commit(api, repo, _file("good"), _file(path)) == 422
    assert api.model_info(repo).sha == before


@pytest.mark.parametrize("name", ["..", "a/../b", ".git", "x.git", "a--b", "a%2Fb"])
def test_a_repository_stays_inside(api: HfApi, name: str) -> None:
    url = f"{api.endpoint}/api/repos/create"
    headers = {"authorization": f"Bearer {api.token}"}
    assert httpx2.post(url, json={"name": name}, headers=headers).status_code == 400
    assert httpx2.get(f"{api.endpoint}/api/models/notus/..%2F..%2Fx").status_code == 401


def test_a_malformed_commit_is_refused(api: HfApi, repo: str) -> None:
    for line in ("not an object", {"key": "file"}, _file("a", "%")):
        assert _raw_commit(api, repo, line) == 400
    assert _raw_commit(api, repo) == 400


CARDS = {
    "just text": None,
    "---\n---\ntext": None,
    "---\nlicense: mit\nbase_model: org/model\nmodel-index:\n- name: a\n  results: []\n---\n": None,
    "---\n- a\n---\n": "metadata must be a mapping",
    "---\na: [\n---\n": "YAML Metadata Error",
    "---\na: 2023-13-45\n---\n": "YAML Metadata Error",
    "---\nlicense: asdf\n---\n": '"license" must be one of',
    "---\nlicense: mit\nlicense: mit\n---\n": "duplicated mapping key",
    "---\nbase_model: /tmp/base\n---\n": '"base_model" with value "/tmp/base" is not valid',
    "---\nbase_model: [org/a, ./b]\n---\n": '"base_model" with value "./b" is not valid',
    "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: data/t-*\n---\n": None,
    "---\nconfigs: default\n---\n": '"configs" must be an array',
    "---\nconfigs:\n- data_files: a.parquet\n---\n": '"configs[0].config_name" is required',
    "---\nconfigs:\n- config_name: a\n  data_files:\n  - path: a\n---\n": 'needs "split" and "path"',
    "---\ntask_categories: [1]\n---\n": '"task_categories" must be a string or an array',
    "---\nmodel-index: foo\n---\n": '"model-index" must be an array',
    "---\nmodel-index:\n- name: a\n  results:\n  - task: {}\n    metrics: []\n---\n": "task.type",
}


@pytest.mark.filterwarnings("ignore:Warnings while validating metadata")
@pytest.mark.parametrize(("card", "error"), CARDS.items(), ids=range(len(CARDS)))
def test_cards_are_checked(api: HfApi, repo: str, card: str, error: str | None) -> None:
    if error is None:
        _commit(api, repo, {"README.md": card.encode()})
        return
    with pytest.raises(ValueError, match="Invalid metadata in README") as raised:
        _commit(api, repo, {"README.md": card.encode()})
    assert error in str(raised.value)
    # Whoever does not ask first is told all the same.
    assert _raw_commit(api, repo, {"key": "file", "value": {"path": "README.md", "content": card}}) == 400


def test_a_card_is_told_as_json(api: HfApi, repo: str) -> None:
    card = b"---\nlibrary_name: peft\ntags: [dpo]\ndate: 2023-11-22\nscore: .nan\n---\n"
    _commit(api, repo, {"README.md": card})
    info = api.model_info(repo)
    assert (info.library_name, info.tags) == ("peft", ["dpo"])
    assert info.card_data
    assert (info.card_data["date"], info.card_data["score"]) == ("2023-11-22", "NaN")


def test_twenty_commits_at_once(api: HfApi, hub: LocalHub, repo: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda n: _commit(api, repo, {f"{n}.txt": b"same\n"}), range(20)))
    assert len(set(made)) == 20
    assert {commit.commit_id for commit in api.list_repo_commits(repo)} >= set(made)
    assert len(api.list_repo_files(repo)) == 21
    assert len(_git(hub, repo, "log", "--format=%H", "main").split()) == 21


def test_of_those_with_one_parent_one_lands(api: HfApi, repo: str) -> None:
    parent = api.model_info(repo).sha

    def attempt(n: int) -> int:
        try:
            _commit(api, repo, {f"{n}.txt": b"\n"}, parent=parent)
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == [200, *[412] * 7]


def test_git_reads_the_store(api: HfApi, hub: LocalHub, repo: str) -> None:
    commit = _commit(api, repo, {"model.safetensors": LARGE, "a/b/c.txt": b"text\n"})
    api.create_tag(repo, tag="v1", tag_message="A message")
    api.create_branch(repo, branch="side/branch")
    assert "error" not in _git(hub, repo, "fsck", "--strict", "--full")
    assert _git(hub, repo, "log", "--format=%H %s", "-1", "v1") == f"{commit} A commit\n"
    pointer = _git(hub, repo, "show", "main:model.safetensors")
    oid = hashlib.sha256(LARGE).hexdigest()
    assert pointer == f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(LARGE)}\n"
    assert (hub.root / "lfs" / oid[:2] / oid[2:4] / oid).read_bytes() == LARGE


def test_a_tree_in_pages(api: HfApi, repo: str) -> None:
    _commit(api, repo, {f"folder {n // 30}/{n:03}.txt": b"\n" for n in range(120)})
    expanded = list(api.list_repo_tree(repo, recursive=True, expand=True))  # pages of 50
    assert [entry.path for entry in expanded] == [e.path for e in api.list_repo_tree(repo, recursive=True)]
    assert len(expanded) == 120 + 4 + 1
    assert all(entry.last_commit for entry in expanded)


def test_datasets_and_spaces(api: HfApi, tmp_path: Path) -> None:
    for kind, more in (("dataset", {}), ("space", {"space_sdk": "static"})):
        repo = api.create_repo("same-name", repo_type=kind, **more).repo_id  # type: ignore[arg-type]
        api.upload_file(path_or_fileobj=LARGE, path_in_repo="a.bin", repo_id=repo, repo_type=kind)
        path = api.hf_hub_download(repo, "a.bin", repo_type=kind, cache_dir=tmp_path)
        assert Path(path).read_bytes() == LARGE
        assert api.repo_info(repo, repo_type=kind).sha
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("notus/same-name")


LOADS = """
import json, sys
from datasets import load_dataset
whole = load_dataset("notus/pairs", revision="v1")
piece = load_dataset("notus/pairs", revision="v1", split="test", streaming=True)
print(json.dumps([{name: part.to_list() for name, part in whole.items()}, list(piece)]))
"""


@pytest.mark.slow
def test_datasets_loads_what_a_tag_has(hub: LocalHub, api: HfApi, tmp_path: Path) -> None:
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n"
    card += (
        "".join(f"  - split: {split}\n    path: data/{split}-*\n" for split in ("train", "test")) + "---\n"
    )
    repo = api.create_repo("notus/pairs", repo_type="dataset").repo_id
    files = {"README.md": card.encode(), "audit.json": b"{}"}
    for rows, tag in ((["a", "b"], "v1"), (["c"], "v2")):
        for split in ("train", "test"):
            pq.write_table(pa.table({"text": [f"{split} {row}" for row in rows]}), tmp_path / "file")
            files[f"data/{split}-00000-of-00001.parquet"] = (tmp_path / "file").read_bytes()
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        commit = api.create_commit(repo, operations, commit_message=tag, repo_type="dataset")
        api.create_tag(repo, tag=tag, revision=commit.oid, repo_type="dataset")
    env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", LOADS]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    test = [{"text": "test a"}, {"text": "test b"}]
    whole = {"train": [{"text": "train a"}, {"text": "train b"}], "test": test}
    assert json.loads(ended.stdout.splitlines()[-1]) == [whole, test]


def test_a_repository_is_one_whatever_its_case(api: HfApi, repo: str) -> None:
    commit = _commit(api, repo, {"note": b"1"})
    assert api.model_info(repo.upper()).sha == commit
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo(repo.upper())
    assert _status(error) == 409
    api.delete_repo(repo)
    assert not api.repo_exists(repo)


def test_what_is_not_here_is_refused(api: HfApi, repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HfHubHTTPError, match="no gated repositories"):
        api.update_repo_settings(repo, gated="manual")
    url = f"{api.endpoint}/api/models/{repo}/xet-write-token/main"
    assert "HF_HUB_DISABLE_XET=1" in httpx2.get(url).json()["error"]


def test_all_is_there_after_a_restart(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    with running(root) as first:
        api = HfApi(endpoint=first.endpoint, token=first.token)
        repo = api.create_repo("kept", private=True).repo_id
        commit = _commit(api, repo, {"model.safetensors": LARGE})
        api.create_tag(repo, tag="v1")
    with running(root) as second:
        assert (second.token, second.user) == (first.token, "notus")
        api = HfApi(endpoint=second.endpoint, token=second.token)
        info = api.model_info(repo, revision="v1")
        assert (info.sha, info.private) == (commit, True)
        path = api.hf_hub_download(repo, "model.safetensors", cache_dir=tmp_path / "cache")
        assert Path(path).read_bytes() == LARGE


def test_a_killed_server_leaves_no_half_commit(tmp_path: Path) -> None:
    """Kill it amid commits; what git and a lock left behind must not stop the next one."""
    root = tmp_path / "hub"
    command = [sys.executable, "-m", "publish.localhub", "--root", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        api = HfApi(endpoint=server.stdout.readline().strip(), token=local_token(root))
        repo = api.create_repo("killed").repo_id
        landed = 0
        # Not through the client, which tries for half a minute to reach a server that is gone.
        with suppress(httpx2.HTTPError):
            while landed < 10_000:
                assert _raw_commit(api, repo, _file(f"{landed}.a"), _file(f"{landed}.b")) == 200
                landed += 1
                if landed == 5:
                    threading.Timer(0.05, server.kill).start()
        assert server.wait() == -signal.SIGKILL
    folder = root / "models/notus/killed.git"
    (folder / "refs/heads/main.lock").touch()  # as left by a server that was killed amid a ref's move
    (folder / "hub.busy").touch()
    with running(root) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        commits = len(api.list_repo_commits(repo)) - 1
        assert commits - landed in (0, 1)  # one can have landed whose answer was lost
        assert len(api.list_repo_files(repo)) == 1 + 2 * commits
        _commit(api, repo, {"after": b"\n"})
        assert "error" not in _git(hub, repo, "fsck", "--strict")


def test_it_stops_with_who_started_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from publish.localhub import running\n"
        "with running(Path(sys.argv[1])) as hub: print(hub.endpoint, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        host, port = starter.stdout.readline().strip().removeprefix("http://").split(":")
        os.kill(starter.pid, signal.SIGKILL)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))):
                return
        threading.Event().wait(0.1)
    pytest.fail("the server outlived who started it")


def test_a_taken_port_is_the_users_to_mend(hub: LocalHub, tmp_path: Path) -> None:
    port = int(hub.endpoint.rpartition(":")[2])
    with (
        pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"),
        running(tmp_path, port),
    ):
        pass


def test_a_folder_that_cannot_be_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot use the folder"), running(tmp_path / "file" / "hub"):
        pass


def test_only_this_machine_by_its_own_name(hub: LocalHub) -> None:
    assert hub.endpoint.startswith("http://127.0.0.1:")
    answer = httpx2.get(f"{hub.endpoint}/api/models", headers={"Host": "evil.example"})
    assert answer.status_code == 400
