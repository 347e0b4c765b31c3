"""What a command in the image may have: a network and the token to fetch and to publish, GPUs in between."""

import os
import stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from container import engine, mounts, stages
from container.stages import Order, Phase, phases, with_whole_paths
from recipe.errors import UserError
from recipe.load import load_recipe
from recipe.nodes import Nodes
from tests.support import Cli

if TYPE_CHECKING:
    from docker.models.images import Image

FULL = ["model_revision=" + "a" * 40, "dataset_revision=" + "b" * 40]
NOWHERE = "tcp://127.0.0.1:9"


def order(
    command: str, recipe: str = "notus-7b-v1-lora", hub: str = "remote", nodes: Nodes | None = None
) -> Order:
    overrides = FULL if recipe.startswith("notus") else ()
    loaded = load_recipe(recipe, overrides)
    return Order(command, loaded, Path("run"), hub, Path("hub"), nodes or Nodes())


def brief(found: list[Phase]) -> list[tuple[str, str, bool, bool]]:
    return [(phase.arguments[0], phase.network, phase.online, phase.gpus) for phase in found]


def test_a_full_size_release() -> None:
    assert brief(phases(order("publish"), gpus=True)) == [
        ("doctor", "none", False, True),
        ("fetch", "bridge", True, False),
        ("card", "none", False, True),
        ("publish", "bridge", True, False),
    ]


def test_what_would_stop_a_release_stops_it_first() -> None:
    found = phases(order("run"), gpus=True)
    assert found[1].arguments == ("fetch", "--check-release")
    assert phases(order("train"), gpus=True)[1].arguments == ("fetch",)


def test_the_pairs_go_along_into_the_containers_that_know_them() -> None:
    def arguments(command: str) -> list[tuple[str, ...]]:
        found = phases(replace(order(command, nodes=Nodes(2, 0, "a:1")), data=True), gpus=True)
        return [phase.arguments for phase in found]

    _, fetch, train, card, publish = arguments("publish")
    assert fetch == ("fetch", "--check-release", "--data")
    assert "--data" not in train
    assert card == ("card", "--data")
    assert publish[:4] == ("publish", "--data", "--hub", "remote")
    assert arguments("run")[-1][:2] == ("run", "--data")
    assert arguments("curate")[-1] == ("curate", "--data")
    assert "--data" not in arguments("verify")[-1]


def test_force_and_a_dry_run_go_along_into_the_container_that_publishes() -> None:
    *before, publish = [phase.arguments for phase in phases(replace(order("publish"), force=True), gpus=True)]
    assert publish[:2] == ("publish", "--force")
    assert not any("--force" in arguments for arguments in before)
    [look] = phases(replace(order("publish"), dry_run=True, data=True), gpus=True)
    assert look.arguments[:3] == ("publish", "--data", "--dry-run")
    assert look.online


@pytest.mark.parametrize("command", ["curate", "train", "merge", "card"])
def test_nothing_between_has_a_network(command: str) -> None:
    *before, last = brief(phases(order(command), gpus=True))
    assert [name for name, *_ in before] == ["doctor", "fetch"]
    assert last == (command, "none", False, True)


@pytest.mark.parametrize(("command", "names"), [("train", ["train"]), ("publish", ["card", "publish"])])
def test_the_embedded_default_has_none_at_all(command: str, names: list[str]) -> None:
    found = phases(order(command, "smoke", hub="local"), gpus=False)
    assert [phase.arguments[0] for phase in found] == names
    assert {phase.network for phase in found} == {"none"}


@pytest.mark.parametrize(
    ("suites", "network"), [(("preference", "smoke"), "none"), (("smoke", "chat"), "bridge")]
)
def test_an_evaluation_has_a_network_only_for_data_and_judges_elsewhere(
    suites: tuple[str, ...], network: str
) -> None:
    options = tuple(part for name in suites for part in ("--suite", name))
    found = phases(replace(order("evaluate"), suites=suites, options=options), gpus=True)
    train = [("train", "none", False, True)] if network == "bridge" else []  # without the network of the next
    assert brief(found) == [
        ("doctor", "none", False, True),
        ("fetch", "bridge", True, False),
        *train,
        ("evaluate", network, network == "bridge", True),
    ]
    assert found[-1].arguments == ("evaluate", *options)


def test_a_judges_key_is_a_file_of_the_container_that_asks_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://judge.example/v1")
    (tmp_path / "rows.json").write_text("[]")
    keys = [f"benchmark_data={{alpaca_eval: {tmp_path}/rows.json}}"]
    recipe = with_whole_paths(load_recipe("smoke", keys))
    of = Order("evaluate", recipe, tmp_path / "run", "local", tmp_path / "hub", suites=("chat",))
    job, content, modes = job_of(of, Phase(("evaluate",), network="bridge"), tmp_path)
    assert content["/run/secrets/judge_key"] == b"sk-secret"
    assert modes == {0o400}
    assert job.environment["NOTUS_JUDGE_KEY_PATH"] == "/run/secrets/judge_key"
    assert job.environment["OPENAI_BASE_URL"] == "https://judge.example/v1"
    assert "sk-secret" not in f"{job.environment} {job.command}"
    assert str(tmp_path / "rows.json") in job.inside
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / "key").write_text("sk-of-a-file")
    monkeypatch.setenv("NOTUS_JUDGE_KEY_PATH", str(tmp_path / "key"))
    _, content, _ = job_of(of, Phase(("evaluate",), network="bridge"), tmp_path)
    assert content["/run/secrets/judge_key"] == b"sk-of-a-file"
    others = (Phase(("evaluate",)), Phase(("fetch",), network="bridge"), Phase(("card",)))
    assert all("/run/secrets/judge_key" not in job_of(of, phase, tmp_path)[1] for phase in others)


def test_nodes_reach_each_other() -> None:
    first, other = Nodes(2, 0, "a:1"), Nodes(2, 1, "a:1")
    assert [name for name, *_ in brief(phases(order("run", nodes=first), gpus=True))] == [
        "doctor", "fetch", "train", "card", "run",
    ]  # fmt: skip
    found = phases(order("run", nodes=other), gpus=True)
    assert brief(found)[-1] == ("train", "host", False, True)  # a network, and yet no token
    assert [name for name, *_ in brief(phases(order("train", nodes=first), gpus=True))] == [
        "doctor",
        "fetch",
        "train",
    ]
    assert found[-1].arguments == ("train", "--nnodes", "2", "--node-rank", "1", "--rdzv-endpoint", "a:1")


def test_the_token_is_a_file_of_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with mounts.token_file((10001, 10001)) as file:
        assert file is not None
        assert file.read_text() == "hf_secret"
        assert stat.S_IMODE(file.stat().st_mode) == 0o400
        assert file.stat().st_uid == (10001 if os.getuid() == 0 else os.getuid())
    assert not file.exists()


def job_of(of: Order, phase: Phase, tmp_path: Path) -> tuple[engine.Job, dict[str, bytes], set[int]]:
    """What a container is given, what is in the secret files among it, and these files' modes."""
    image = cast("Image", SimpleNamespace(id="sha256:1", attrs={}))
    user = (os.getuid(), os.getgid())
    with stages._secrets(of, phase, user) as secrets:
        job = stages._job(of, phase, image, tmp_path / "recipe.yaml", user, secrets, ())
        content = {path: job.inside[path].read_bytes() for path in secrets}
        modes = {stat.S_IMODE(file.stat().st_mode) for file in secrets.values()}
    assert not any(file.exists() for file in secrets.values())
    return job, content, modes


@pytest.mark.parametrize("hub", ["local", "remote"])
@pytest.mark.parametrize("command", ["publish", "run"])
@pytest.mark.parametrize("given_by", ["NOTUS_SIGNING_PASSWORD", "NOTUS_SIGNING_PASSWORD_PATH"])
def test_the_signing_key_is_in_the_container_that_publishes_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hub: str, command: str, given_by: str
) -> None:
    (tmp_path / "password").write_text("sesame")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv(given_by, str(tmp_path / "password") if given_by.endswith("_PATH") else "sesame")
    monkeypatch.setenv("NOTUS_SIGNING_KEY", str(tmp_path / "key.pem"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    (tmp_path / "key.pem").write_text("a key")
    recipe = "notus-7b-v1-lora" if hub == "remote" else "smoke"
    of = replace(
        order(command, recipe, hub),
        run=tmp_path / "run",
        hub_root=tmp_path / "hub",
        key=tmp_path / "key.pem",
    )
    *before, last = phases(of, gpus=True)
    given = {"/run/secrets/signing_key": b"a key", "/run/secrets/signing_password": b"sesame"}
    job, content, modes = job_of(of, last, tmp_path)
    token = {"/run/secrets/hf_token": b"hf_secret"} if hub == "remote" else {}
    assert content == given | token
    assert modes == {0o400}
    assert job.environment["NOTUS_SIGNING_KEY"] == "/run/secrets/signing_key"
    assert job.environment["NOTUS_SIGNING_PASSWORD_PATH"] == "/run/secrets/signing_password"
    assert tmp_path / "key.pem" not in {*job.mounts, *job.inside.values()}  # its copy is, read only
    visible = [*job.command, *job.environment.values()]  # by whoever may ask the engine
    assert not any(secret in text for secret in ("a key", "sesame", "hf_secret") for text in visible)
    assert before
    for phase in before:
        job, content, _ = job_of(of, phase, tmp_path)
        assert set(content) <= {"/run/secrets/hf_token"}
        assert not any("SIGNING" in name or "key.pem" in value for name, value in job.environment.items())
    job, content, _ = job_of(replace(of, key=None), last, tmp_path)
    assert set(content) == set(token)
    assert "NOTUS_SIGNING_KEY" not in job.environment


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_release_is_one_container_that_is_told_where_git_has_the_tag(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dry_run: bool
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(stages, "commit_of_tag", {"v3.0.0": "c" * 40}.get)
    (tmp_path / "key.pem").write_text("a key")
    recipe = load_recipe("notus-7b-v1-lora", FULL, "v3.0.0")
    of = replace(
        order("release"),
        recipe=recipe,
        run=tmp_path / "run",
        key=tmp_path / "key.pem",
        data=True,
        dry_run=dry_run,
    )
    [phase] = phases(of, gpus=True)
    assert brief([phase]) == [("release", "bridge", True, False)]
    more = ("--dry-run",) if dry_run else ()
    assert phase.arguments[:6] == ("release", "--tag", "v3.0.0", "--data", *more, "--hub", "remote")[:6]
    job, content, _ = job_of(of, phase, tmp_path)
    assert set(content) == {"/run/secrets/hf_token", "/run/secrets/signing_key"}
    assert job.environment["NOTUS_TAGGED"] == "c" * 40
    assert "NOTUS_TAGGED" not in job_of(replace(of, command="publish"), phase, tmp_path)[0].environment


def test_no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    with mounts.token_file((1, 1)) as file:
        assert file is None


def test_the_token_that_the_client_keeps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("hf_kept\n")
    with mounts.token_file((1, 1)) as file:
        assert file is not None
        assert file.read_text() == "hf_kept"


def test_no_engine(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    line = cli("train", "--runtime", "docker", "--run", tmp_path / "run").mistake
    assert "no Docker engine answers at tcp://127.0.0.1:9 (Connection refused); start it" in line
    assert "--runtime venv" in line
    assert not (tmp_path / "run").exists()


def test_full_size_recipes_go_to_the_image_by_themselves(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    for recipe in ("notus-7b-v1-lora", "zephyr-7b-beta-lora"):
        assert "no Docker engine answers" in cli("train", recipe, "--run", tmp_path / "run").mistake


def test_in_the_image_they_are_there_already(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    monkeypatch.setenv("NOTUS_REVISION", "unknown")
    line = cli("train", "notus-7b-v1-lora", "--run", tmp_path / "run").mistake
    assert "this recipe needs an NVIDIA GPU" in line


def test_a_runtime_that_is_none(cli: Cli) -> None:
    assert "--runtime podman: must be venv or docker" in cli("train", "--runtime", "podman").mistake
    assert "leave one of them out" in cli("train", "--runtime", "venv", "--image", "notus:cpu").mistake


def test_what_links_lead_to_is_mounted_too(tmp_path: Path) -> None:
    """As in a snapshot of the Hub's cache."""
    blob, snapshot = tmp_path / "blobs" / "0a", tmp_path / "snapshots" / "1"
    for folder in (blob.parent, snapshot):
        folder.mkdir(parents=True)
    blob.write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/0a")
    assert mounts.readable(snapshot, (0, 0)) == {str(snapshot): snapshot, str(blob): blob}
    file = snapshot / "config.json"
    assert mounts.readable(file, (0, 0)) == {str(file): blob}  # under the name that it was given by
    blob.unlink()
    with pytest.raises(UserError, match=r"config\.json: a link that leads nowhere"):
        mounts.readable(snapshot, (0, 0))


def test_a_folder_that_the_container_may_not_write(tmp_path: Path) -> None:
    if os.getuid():
        assert mounts.made(tmp_path / "new", (os.getuid(), os.getgid()), "--run").is_dir()
        return
    assert mounts.made(tmp_path / "up" / ".." / "new", (10001, 10001), "--run") == tmp_path / "new"
    assert (tmp_path / "new").stat().st_uid == 10001
    (tmp_path / "old").mkdir()
    with pytest.raises(
        UserError, match=r"may not write here; `chown -R 10001:10001 .*old`, or name another with --run"
    ):
        mounts.made(tmp_path / "old", (10001, 10001), "--run")


def test_an_unpinned_recipe_is_not_even_begun(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    for command in ("publish", "run"):
        line = cli(command, "notus-7b-v1-lora", "--run", tmp_path / "run").mistake
        assert "model_revision and dataset_revision not pinned" in line


def test_a_banner_is_named_by_a_path_that_a_container_finds_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = load_recipe("smoke", ["banner=art/mine.png", "banner_alt=A cat."])
    assert with_whole_paths(mine).release.banner == str(tmp_path / "art" / "mine.png")
    assert with_whole_paths(load_recipe("smoke")).release.banner == "builtin:notus"
