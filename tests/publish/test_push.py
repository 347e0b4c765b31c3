"""A release under faults, each at the request where it hurts: whole or not tagged, and the next call goes on."""

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi

from publish.loading import Answer, LoadError, Question
from publish.localhub import running
from publish.release import plan_release, preflight, show_plan
from recipe.errors import UserError
from recipe.load import load_recipe
from recipe.progress import Reporter
from tests.publish.online import ADAPTER, BASE, MERGED, Online, answered, at_hub, disturbed, loads, lost

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # the client's own, for uploads
]


@pytest.fixture
def online(trained: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Online]:
    """A Hub of its own, and a copy of the trained run."""
    with running(tmp_path / "hub") as hub:
        api = at_hub(hub.endpoint, hub.token, monkeypatch)
        folder = Path(shutil.copytree(trained, tmp_path / "run"))
        found = Online(api, tmp_path / "hub", folder, tiny / "tiny.yaml")
        disturbed(found, monkeypatch)
        yield found


def add(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def cannot(_: Question) -> Answer:
    raise LoadError("no", "no, because")


def test_a_lost_answer_to_the_commit_is_no_second_commit(online: Online) -> None:
    online.disturb("POST", "/commit/", lost, lost, lost)
    released = online.publish()
    for kind, repo in (("base", BASE), ("adapter", ADAPTER), ("merged", MERGED)):
        commit = released["repositories"][kind]["commit"]
        assert online.commits(repo) == [commit]
        assert online.tags(repo) == {"v0.1.0": commit}
    assert online.requests("POST", "/commit/") == 3  # looked for before anything is sent again


def test_a_lost_answer_to_a_tag_is_recognised(online: Online) -> None:
    online.disturb("POST", "/tag/", lost, lost, lost, lost)
    online.publish()
    assert online.all_tags() == [BASE, ADAPTER, MERGED]
    assert online.requests("POST", "/tag/") == 4


@pytest.mark.parametrize("mine", [True, False])
def test_a_tag_that_another_one_makes_at_that_moment(online: Online, mine: bool) -> None:
    def makes(request: httpx2.Request, _: object) -> None:
        first = online.api.list_repo_commits(ADAPTER)[-1].commit_id
        commit = request.url.path.rpartition("/")[2] if mine else first
        online.api.create_tag(ADAPTER, tag="v0.1.0", revision=commit)

    online.disturb("POST", f"{ADAPTER}/tag/", makes)
    if mine:
        online.publish()
        assert online.all_tags() == [BASE, ADAPTER, MERGED]
    else:
        with pytest.raises(
            UserError, match=f"{ADAPTER}: somebody else has put the tag v0.1.0 on other content"
        ):
            online.publish()
        assert online.all_tags() == [ADAPTER]


def test_a_commit_that_lands_while_it_is_sent_again(
    online: Online, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer was 504, the head not there yet when we looked, and the second try finds its parent stale."""
    online.publish()
    before = online.api.list_repo_refs(ADAPTER)
    old = {"name": "main", "ref": "refs/heads/main", "targetCommit": before.branches[0].target_commit}
    add(online.folder / "card/adapter/README.md", "\nMore.\n")

    def landing(request: httpx2.Request, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        online.disturb("GET", f"{ADAPTER}/refs", not_yet)
        send()
        return httpx2.Response(504, request=request)

    def not_yet(request: httpx2.Request, _: object) -> httpx2.Response:
        refs = {"branches": [old], "tags": [], "converts": []}
        return httpx2.Response(200, json=refs, request=request)

    online.disturb("POST", f"{ADAPTER}/commit/", landing)
    released = online.publish(online.run("v0.2.0"))
    assert online.plans == []
    assert online.requests("POST", f"{ADAPTER}/commit/") == 3
    assert "has moved" not in capsys.readouterr().out
    assert online.commits(ADAPTER) == [released["repositories"]["adapter"]["commit"], old["targetCommit"]]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_waited_for(
    online: Online, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Retry_After": "1"} if status == 429 else {}
    monkeypatch.setenv("NOTUS_RETRY_SECONDS", "20")
    for method, path in (("GET", "whoami"), ("POST", "validate-yaml"), ("POST", "/commit/"), ("POST", "/tag/"),
                         ("GET", "/resolve/"), ("HEAD", "/resolve/"), ("PUT", "/lfs-files/"), ("POST", "/preupload/"),
                         ("POST", "objects/batch"), ("POST", "objects/verify"), ("GET", "/tree/"), ("GET", "/refs"),
                         ("POST", "repos/create")):  # fmt: skip
        online.disturb(method, path, answered(status, **headers))
    online.publish()
    assert online.plans == []
    assert online.all_tags() == [BASE, ADAPTER, MERGED]
    assert f"answers {status}; again in " in capsys.readouterr().out


def test_a_hub_that_stays_ill_ends_in_a_line_that_says_what_is_there(online: Online) -> None:
    online.disturb("POST", f"{MERGED}/commit/", *[answered(503)] * 50)
    with pytest.raises(UserError) as ended:
        online.publish()
    [commit] = online.commits(ADAPTER)
    said = str(ended.value)
    assert "\n" not in said
    assert f"publishing {MERGED}: " in said
    assert re.search(r"answers 503 \(\d+ tries in \d+ s\)", said)
    assert f"{ADAPTER} at {commit[:12]}" in said
    assert "nothing was tagged; the same command goes on from there" in said
    assert online.all_tags() == []
    assert not (online.folder / "release.json").exists()
    online.plans.clear()
    released = online.publish()
    assert released["repositories"]["adapter"]["commit"] == commit
    assert online.commits(ADAPTER) == [commit]
    assert online.all_tags() == [BASE, ADAPTER, MERGED]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", f"{MERGED}/commit/"), ("PUT", "/lfs-files/"), ("POST", "/tag/"), ("GET", "/lfs-files/"),
     ("POST", "objects/batch"), ("POST", "repos/create"), ("HEAD", f"{MERGED}/resolve"), ("POST", "validate-yaml")],
)  # fmt: skip
@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_revoked_midway(online: Online, method: str, path: str, status: int) -> None:
    online.disturb(method, path, answered(status))
    with pytest.raises(UserError, match=rf"refuses the token \({status}\)") as ended:
        online.publish()
    assert "\n" not in str(ended.value)
    if online.commits(BASE) if online.api.repo_exists(BASE) else []:
        assert "nothing was tagged; the same command goes on from there" in str(ended.value)
    assert online.all_tags() == []
    online.publish()
    assert online.all_tags() == [BASE, ADAPTER, MERGED]


def test_a_moved_head_is_planned_for_anew_once(online: Online) -> None:
    def moves(*_: object) -> None:
        online.api.upload_file(
            path_or_fileobj=os.urandom(8), path_in_repo="theirs.txt", repo_id=ADAPTER, token=online.api.token
        )

    online.disturb("POST", f"{ADAPTER}/commit/", moves)
    released = online.publish()
    commit = released["repositories"]["adapter"]["commit"]
    assert "theirs.txt" not in online.api.list_repo_files(ADAPTER, revision=commit)
    assert len(online.commits(ADAPTER)) == 2

    add(online.folder / "card/adapter/README.md", "\nMore.\n")

    def again(*_: object) -> None:
        moves()
        online.disturb("POST", f"{ADAPTER}/commit/", again)

    online.disturb("POST", f"{ADAPTER}/commit/", again)
    before = online.requests("POST", f"{ADAPTER}/commit/main")
    with pytest.raises(UserError, match=f"{ADAPTER}: somebody else pushes to it"):
        online.publish(online.run("v0.2.0"))
    # Twice ours, and once before each theirs.
    assert online.requests("POST", f"{ADAPTER}/commit/main") - before == 4
    assert online.tags(ADAPTER) == {"v0.1.0": commit}
    assert online.tags(MERGED).keys() == {"v0.1.0"}


def test_stored_bytes_that_rot_are_pushed_again(online: Online) -> None:
    with pytest.raises(UserError, match="can't be loaded"):
        online.publish(load=cannot)
    stored = rot(online, "adapter/adapter_model.safetensors")
    released = online.publish()
    assert online.tags(ADAPTER) == {"v0.1.0": released["repositories"]["adapter"]["commit"]}
    assert stored.read_bytes() == (online.folder / "adapter/adapter_model.safetensors").read_bytes()
    assert len(online.commits(ADAPTER)) == 1


def test_stored_bytes_that_rot_again_are_not_tagged(online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="can't be loaded"):
        online.publish(load=cannot)
    rot(online, "adapter/adapter_model.safetensors")
    monkeypatch.setattr("publish.release.upload", lambda *_: None)
    with pytest.raises(
        UserError, match=r"adapter_model.safetensors comes back with other bytes; on the Hub now"
    ):
        online.publish()
    assert online.all_tags() == []


def rot(online: Online, name: str) -> Path:
    from recipe.disk import file_sha256

    sha256 = file_sha256(online.folder / name)
    stored = online.root / "lfs" / sha256[:2] / sha256[2:4] / sha256
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(content)
    return stored


def test_a_download_that_breaks_is_gone_on_with(online: Online, capsys: pytest.CaptureFixture[str]) -> None:
    class Torn(httpx2.SyncByteStream):
        def __init__(self, whole: bytes) -> None:
            self.whole = whole

        def __iter__(self) -> Iterator[bytes]:
            yield self.whole[: len(self.whole) // 2]
            raise httpx2.RemoteProtocolError("peer closed connection")

    def torn(request: httpx2.Request, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        answer = send()
        whole = answer.read()
        return httpx2.Response(200, headers=answer.headers, stream=Torn(whole), request=request)

    online.disturb("GET", "/lfs-files/", torn)
    online.publish()
    assert online.plans == []
    assert "back: the connection to " in capsys.readouterr().out  # waited for as for all else
    assert online.all_tags() == [BASE, ADAPTER, MERGED]


def test_a_full_disk_leaves_nothing(online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: Callable[..., str] = HfApi.hf_hub_download
    room = [5]

    def full(*arguments: object, **options: object) -> str:
        room[0] -= 1
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return downloads(*arguments, **options)

    monkeypatch.setattr(HfApi, "hf_hub_download", full)
    with pytest.raises(UserError, match=r"the disk is full while .* nothing was tagged"):
        online.publish()
    assert online.all_tags() == []
    assert list(online.folder.glob(".readback*")) == []


def test_a_disk_that_fills_up_at_the_end_is_said(online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = os.fsync

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        UserError, match=r"the disk is full while release.json is written.*the same command goes on"
    ):
        online.publish()
    assert not list(online.folder.glob("*release.json*"))
    monkeypatch.setattr(os, "fsync", syncs)
    assert online.publish()["published"] is False
    assert (online.folder / "release.json").is_file()


def test_what_a_killed_one_left_goes_and_what_another_one_reads_stays(online: Online) -> None:
    from filelock import FileLock

    for name in ("dead", "busy"):
        (online.folder / f".readback-{name}" / "hub").mkdir(parents=True)
        (online.folder / f".readback-{name}.lock").touch()
    with FileLock(online.folder / ".readback-busy.lock"):
        online.publish()
        assert (online.folder / ".readback-busy" / "hub").is_dir()
    assert not (online.folder / ".readback-dead").exists()


def test_of_two_publishers_the_first_tag_decides(online: Online) -> None:
    """Both have pushed and read back before either tags."""
    other = online.another("other")
    add(other / "card/merged/README.md", "\nOther words.\n")
    inner: list[str] = []

    def meanwhile(_: Question) -> Answer:
        released = online.publish(online.run(folder=other))
        inner.append(released["repositories"]["merged"]["commit"])
        return loads(_)

    add(online.folder / "card/adapter/README.md", "\nMy words.\n")
    with pytest.raises(
        UserError, match=f"{ADAPTER}: somebody else has put the tag v0.1.0 on other content"
    ) as ended:
        online.publish(load=meanwhile)
    assert "the same command goes on" not in str(ended.value)
    assert online.tags(MERGED) == {"v0.1.0": inner[0]}
    assert not (online.folder / "release.json").exists()


def test_the_same_content_is_the_same_release(online: Online) -> None:
    other = online.another("other")

    def meanwhile(_: Question) -> Answer:
        online.publish(online.run(folder=other))
        return loads(_)

    released = online.publish(load=meanwhile)
    assert released["repositories"] == json.loads((other / "release.json").read_text())["repositories"]
    assert len(online.commits(ADAPTER)) == 1


def test_a_kill_between_two_tags_is_gone_on_with(online: Online) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    online.disturb("POST", f"{MERGED}/tag/", killed)
    with pytest.raises(KeyboardInterrupt):
        online.publish()
    assert online.all_tags() == [ADAPTER]
    before = online.requests("POST", "/commit/")
    released = online.publish()
    assert released["published"] is True
    assert online.all_tags() == [BASE, ADAPTER, MERGED]
    assert online.requests("POST", "/commit/") == before


def test_another_base_is_not_replaced_without_force(online: Online) -> None:
    card = b"---\nbase_model: somebody/other-7b\n---\n"
    online.api.create_repo(MERGED)
    online.api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=MERGED)
    with pytest.raises(
        UserError, match=f"{MERGED}: what lies there is of the base somebody/other-7b, .*--force"
    ):
        online.publish()
    assert not online.api.repo_exists(ADAPTER)
    online.publish(force=True)
    assert online.all_tags() == [BASE, ADAPTER, MERGED]
    config = json.dumps({"base_model_name_or_path": "somebody/other-7b"}).encode()
    online.api.upload_file(path_or_fileobj=config, path_in_repo="adapter_config.json", repo_id=ADAPTER)
    online.api.delete_file("README.md", repo_id=ADAPTER)
    with pytest.raises(UserError, match=f"{ADAPTER}: what lies there is of the base somebody/other-7b"):
        online.publish(online.run("v0.2.0"))


def test_what_is_no_release_is_not_replaced_without_force(online: Online) -> None:
    online.api.create_repo(MERGED)
    theirs = {"README.md": b"---\nlicense: mit\n---\n", "model-00001-of-00002.safetensors": b"somebody's"}
    for name, content in theirs.items():
        online.api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=MERGED)
    with pytest.raises(UserError, match=f"{MERGED}: what lies there is no release of Notus .*--force"):
        online.publish()
    assert not online.api.repo_exists(ADAPTER)
    online.publish(force=True)
    assert online.all_tags() == [BASE, ADAPTER, MERGED]


def test_a_card_that_the_hub_refuses_is_found_before_anything_is_pushed(online: Online) -> None:
    card = online.folder / "card/merged/README.md"
    card.write_text(card.read_text().replace("license: apache-2.0", "license: freeware"))
    with pytest.raises(UserError, match=f'{MERGED}: the Hub refuses its README.md: "license"'):
        online.publish()
    assert not online.api.repo_exists(BASE)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("card/adapter/README.md", "{run}/adapter", "a path of this machine"),
        (
            "adapter/adapter_config.json",
            '{{"base_model_name_or_path": "{home}/models/x"}}',
            "a path of this machine",
        ),
        ("adapter/tokenizer.json", "\x80", "a pickle"),
    ],
)
def test_what_must_not_be_published(
    online: Online, name: str, content: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    path = online.folder / name
    if content == "\x80":
        path.write_bytes(b"\x80\x04\x95")
    else:
        path.write_text(content.format(run=online.folder.resolve(), home="/home/somebody"))
    with pytest.raises(UserError, match=f"{ADAPTER}: {path.name} .*{said}"):
        online.publish()
    assert online.seen == ["GET /api/whoami-v2"]


def test_a_name_of_somebody_else_is_found_before_anything_is_made(online: Online) -> None:
    recipe = load_recipe(online.recipe, ["hub_merged_model_id=somebody/tiny"])
    with pytest.raises(UserError, match="hub_merged_model_id: notus may not write to somebody/tiny"):
        preflight(recipe)
    assert online.seen == ["GET /api/whoami-v2"]


def test_a_weights_header_with_a_path_is_not_published(online: Online) -> None:
    from safetensors.torch import load_file, save_file

    path = online.folder / "adapter/adapter_model.safetensors"
    save_file(load_file(path), path, metadata={"from": str(online.folder)})
    with pytest.raises(UserError, match=r"adapter_model.safetensors names .*/run, a path of this machine"):
        online.publish()


def test_what_lies_on_the_hub_are_plain_files(online: Online) -> None:
    (online.folder / "card/adapter/README.md").chmod(0o755)
    online.publish()
    listed = subprocess.run(
        ["git", "-C", online.root / "models/notus/tiny-adapter.git", "ls-tree", "-r", "v0.1.0"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert {line.split()[0] for line in listed.stdout.splitlines()} == {"100644"}


def test_the_plan_says_what_would_be_done_and_does_nothing(
    online: Online, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    plan = show_plan(plan_release(online.run()), "v0.1.0", Reporter())
    assert {kind: one["does"] for kind, one in plan["repositories"].items()} == dict.fromkeys(
        ("base", "adapter", "merged"), "create, commit, tag"
    )
    assert {one.partition(" ")[0] for one in online.seen} == {"GET"}
    monkeypatch.setenv("HF_TOKEN", str(online.api.token))
    first = online.publish()
    add(online.folder / "card/adapter/README.md", "\nMore.\n")
    online.api.upload_file(path_or_fileobj=b"x", path_in_repo="old.bin", repo_id=ADAPTER)
    online.seen.clear()
    capsys.readouterr()
    plan = show_plan(plan_release(online.run("v0.2.0")), "v0.2.0", Reporter())
    adapter = plan["repositories"]["adapter"]
    assert adapter["does"] == "commit, tag"
    assert {name: one["state"] for name, one in adapter["files"].items() if one["state"] != "same"} == {
        "README.md": "changed", "old.bin": "stale",
    }  # fmt: skip
    size = (online.folder / "card/adapter/README.md").stat().st_size
    assert plan["upload_bytes"] == adapter["upload_bytes"] == size
    assert plan["repositories"]["merged"]["does"] == "tag"
    assert plan["repositories"]["merged"]["head"] == first["repositories"]["merged"]["commit"]
    assert {one.partition(" ")[0] for one in online.seen} == {"GET"}
    out = capsys.readouterr().out
    assert all(len(line) <= 100 for line in out.splitlines())
    assert "stale" in out
    with pytest.raises(UserError, match=r"the tag v0.1.0 exists on other content"):
        plan_release(online.run())
