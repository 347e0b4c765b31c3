"""A command of Notus, done in the image: in containers that have a network only where they need one.

`fetch` and `publish` get the network and the token, and so does an evaluation whose data or judge are elsewhere.
Everything between them gets the GPUs, and neither. The key that signs is in the container that publishes only, that of
a judge in the one that evaluates.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from container import engine
from container.mounts import (
    compiled_cache,
    container_user,
    made,
    not_left_empty,
    readable,
    secret_file,
    token_file,
)
from container.room import hub_cache
from publish.keys import password
from recipe.code import TAGGED, commit_of_tag
from recipe.errors import UserError
from recipe.evaluate.judge_key import KEY_PATH, judge_key
from recipe.evaluate.stage import evaluations_of
from recipe.evaluate.suite import SUITES
from recipe.load import build_recipe, dump_resolved
from recipe.nodes import ALONE, Nodes
from recipe.progress import Reporter
from recipe.schema import BUILTIN, Recipe, whole_path

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

TOKEN, JUDGE_KEY = "/run/secrets/hf_token", "/run/secrets/judge_key"
SIGNING_KEY, SIGNING_PASSWORD = "/run/secrets/signing_key", "/run/secrets/signing_password"
WHERE_SECRETS_LIE = {  # the variables that lead to them
    TOKEN: "HF_TOKEN_PATH",
    JUDGE_KEY: KEY_PATH,
    SIGNING_KEY: "NOTUS_SIGNING_KEY",
    SIGNING_PASSWORD: "NOTUS_SIGNING_PASSWORD_PATH",
}
RECIPES = "/run/notus"
OFFLINE = {"HF_HUB_OFFLINE": "1"}
ONLINE = (
    "HF_ENDPOINT",
    "HF_HUB_DISABLE_XET",
    "NOTUS_RETRY_SECONDS",
    "OPENAI_BASE_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
FOR_GPUS = ("CUDA_VISIBLE_DEVICES", "GLOO_", "NCCL_", "PET_RDZV_CONF")
STAGES = ("fetch", "curate", "train", "merge", "card", "provenance")
BRINGS = {"card": "provenance"}  # commands that do a stage more than the one that they are called by
SOURCES = ("model_name_or_path", "tokenizer", "dataset")


@dataclass(frozen=True)
class Order:
    """What the user asked for.

    Attributes:
        command: Of Notus.
        recipe: Resolved.
        run: The run folder.
        hub: `local` or `remote`.
        hub_root: Where the embedded Hub lies.
        nodes: The node that this is, where several train together.
        data: Whether the pairs are part of the release, or of what is made for it.
        dry_run: Only look at what publishing would do.
        force: Publish over what is of another base.
        key: The private key that signs the release.
        suites: That are to be measured.
        options: Of the command that does.
        quiet: Say nothing but warnings.
        as_json: Answer with one JSON object.
    """

    command: str
    recipe: Recipe
    run: Path
    hub: str
    hub_root: Path
    nodes: Nodes = ALONE
    data: bool = False
    dry_run: bool = False
    force: bool = False
    key: Path | None = None
    suites: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    quiet: bool = False
    as_json: bool = False


@dataclass(frozen=True)
class Phase:
    """One container: a command, and what it may have."""

    arguments: tuple[str, ...]
    network: str = "none"
    gpus: bool = False

    @property
    def online(self) -> bool:
        """Whether it reaches the Hub, and so has the token."""
        return self.network != "none" and self.arguments[0] in {
            "evaluate",
            "fetch",
            "publish",
            "release",
            "run",
            "verify",
        }

    @property
    def judges(self) -> bool:
        """Whether benchmarks' data or a judge are asked for elsewhere."""
        return self.online and self.arguments[0] == "evaluate"

    @property
    def signs(self) -> bool:
        """Whether it makes the release, and so has the key."""
        return self.arguments[0] in {"publish", "release", "run"}


def phases(order: Order, *, gpus: bool) -> list[Phase]:
    """Return the containers that an order takes, one after the other.

    Args:
        order: What was asked for.
        gpus: Whether to give what computes the GPUs.
    """
    science, needs_gpu = order.recipe.science, order.recipe.execution.accelerator == "cuda"
    from_hub = "hub" in {science.base_source, science.tokenizer_source, science.dataset_source}
    to_hub = order.command in {"publish", "release", "run", "verify"} and order.hub == "remote"
    data = ("--data",) if order.data else ()
    found = []
    if order.dry_run or order.command == "release":  # which makes no model: one container does it all
        tag = ("--tag", order.recipe.release.version) if order.command == "release" else ()
        dry_run = ("--dry-run",) if order.dry_run else ()
        return [_publishing(order, (*tag, *data, *dry_run), to_hub=to_hub)]
    if needs_gpu and order.command not in {"fetch", "verify"}:
        found.append(Phase(("doctor", "--gpu", "--quiet"), gpus=True))  # before hours of downloads
    if order.command == "fetch" or (order.command != "verify" and (from_hub or to_hub)):
        release = ("--check-release", *data) if to_hub else ()  # what would stop a release stops it now
        found.append(Phase(("fetch", *release), network="bridge" if from_hub or to_hub else "none"))
    if order.nodes.count > 1 and order.command in {"train", "publish", "run"}:
        # Nodes reach each other through the network of their machines.
        found.append(Phase(("train", *_nodes(order.nodes)), network="host", gpus=gpus))
        if not order.nodes.first or order.command == "train":
            return found
    if order.command == "evaluate":
        # Benchmarks' data and judges are elsewhere.
        outside = any(not SUITES[name].alone for name in order.suites)
        if outside:  # what makes the model has no network
            found.append(Phase(("merge" if "merged" in order.options else "train",), gpus=gpus))
        found.append(Phase(("evaluate", *order.options), network="bridge" if outside else "none", gpus=gpus))
    elif order.command not in {"fetch", "verify"}:
        upto = "card" if order.command in {"publish", "run"} else order.command
        found.append(Phase((upto, *(data if upto in {"curate", "card"} else ())), gpus=gpus))
    if order.command in {"publish", "run", "verify"}:
        more = () if order.command == "verify" else data
        force = ("--force",) if order.force else ()
        found.append(_publishing(order, (*more, *force), to_hub=to_hub))
    return found


def _publishing(order: Order, options: tuple[str, ...], *, to_hub: bool) -> Phase:
    hub = ("--hub", order.hub, "--hub-root", str(whole_path(order.hub_root)))
    return Phase((order.command, *options, *hub), network="bridge" if to_hub else "none")


def do(order: Order, image_name: str | None, reporter: Reporter) -> dict[str, Any]:
    """Do in the image what was asked for; return what each stage answered.

    Raises:
        UserError: No engine, no image, or nothing that the engine can start.
        SystemExit: A container ended with that code; it has said why.
    """
    order = replace(order, recipe=with_whole_paths(order.recipe))
    answers: dict[str, Any] = {}
    reported: tuple[str, ...] = ()
    with engine.connected() as client:
        image = _find(client, image_name, order.recipe)
        revision = image.labels.get("org.opencontainers.image.revision", "unknown")
        reporter.head(f"in the image {image.tags[0] if image.tags else image.id}, of commit {revision[:12]}")
        cuda_build = image.labels.get("notus.lock") == "requirements.lock"
        gpus = order.recipe.execution.accelerator == "cuda" or (
            cuda_build and "nvidia" in client.info().get("Runtimes", {})
        )
        user = container_user(client)
        with _recipe_file(order.recipe) as recipe_file, not_left_empty(whole_path(order.run)):
            for phase in phases(order, gpus=gpus):
                doctor = phase.arguments[0] == "doctor"  # its line is for people, and no JSON
                with _secrets(order, phase, user) as secrets:
                    job = _job(order, phase, image, recipe_file, user, secrets, reported)
                    code, out = engine.run(client, job, capture=order.as_json or doctor)
                if code:
                    (sys.stderr if doctor else sys.stdout).write(out.decode())
                    raise SystemExit(code)
                if doctor:
                    reporter.say(f"  {out.decode().strip()}")
                elif order.as_json:  # what an earlier container did is done for this one
                    ran = {name: said for name, said in answers.items() if said.get("ran")}
                    answers = {**json.loads(out), **ran}
                if phase.arguments[0] in STAGES:
                    last = BRINGS.get(phase.arguments[0], phase.arguments[0])
                    reported = STAGES[: STAGES.index(last) + 1]
                    if "card" in reported:
                        reported += tuple(stage.name for stage in evaluations_of(order.recipe))
    return answers


def _job(
    order: Order,
    phase: Phase,
    image: "Image",
    recipe_file: Path,
    user: tuple[int, int],
    secrets: Mapping[str, Path],
    reported: tuple[str, ...],
) -> engine.Job:
    run, command = whole_path(order.run), [*phase.arguments]
    inside: dict[str, Path] = {}
    mounts: dict[Path, bool] = {}
    environment = {"NOTUS_IMAGE": name_of(image), "NOTUS_REPORTED": ",".join(reported)}
    if order.command == "release":  # the image has no git; where it is started may have the tag
        environment[TAGGED] = commit_of_tag(order.recipe.release.version) or ""
    if phase.arguments[0] != "doctor":
        inside[f"{RECIPES}/{order.recipe.name}.yaml"] = recipe_file
        command[1:1] = [f"{RECIPES}/{order.recipe.name}.yaml", "--run", str(run)]
        command += ["--quiet"] * order.quiet + ["--json"] * order.as_json
        mounts = _mounts(order, phase, user)
        for key, source in zip(SOURCES, _sources(order.recipe), strict=True):
            if source == "local":
                inside |= readable(whole_path(getattr(order.recipe.science, key)), user)
        local = order.recipe.evaluation.benchmark_data.values() if phase.arguments[0] == "evaluate" else ()
        for file in (*order.recipe.science.files, *_banner(order.recipe), *local):
            inside |= readable(whole_path(file), user)
    if phase.online:
        environment |= {key: os.environ[key] for key in ONLINE if key in os.environ}
    else:
        environment |= OFFLINE
    inside |= secrets
    environment |= {WHERE_SECRETS_LIE[path]: path for path in secrets}
    if phase.judges or "hub" in _sources(order.recipe):
        environment["HF_HUB_CACHE"] = str(whole_path(hub_cache()))
    if order.nodes.restarts:
        environment["PET_MAX_RESTARTS"] = str(order.nodes.restarts)
    if phase.gpus:
        environment |= {key: value for key, value in os.environ.items() if key.startswith(FOR_GPUS)}
        environment |= {
            f"{name}_CACHE_DIR": str(compiled_cache() / name.lower()) for name in ("TRITON", "TORCHINDUCTOR")
        }
    return engine.Job(
        image=image,
        command=command,
        mounts=mounts,
        inside=inside,
        environment=environment,
        network=phase.network,
        gpus=phase.gpus,
        user=f"{user[0]}:{user[1]}",
    )


@contextmanager
def _secrets(order: Order, phase: Phase, user: tuple[int, int]) -> Iterator[dict[str, Path]]:
    """Yield the files with the secrets that a container needs, by their path in it."""
    found = {}
    with ExitStack() as stack:
        if phase.online and (token := stack.enter_context(token_file(user))):
            found[TOKEN] = token
        if phase.judges and (key := judge_key()):
            found[JUDGE_KEY] = stack.enter_context(secret_file(key.encode(), user))
        if phase.signs and order.key:
            found[SIGNING_KEY] = stack.enter_context(secret_file(order.key.read_bytes(), user))
            if secret := password():
                found[SIGNING_PASSWORD] = stack.enter_context(secret_file(secret, user))
        yield found


def _mounts(order: Order, phase: Phase, user: tuple[int, int]) -> dict[Path, bool]:
    """Return the folders of this machine that a container works in, and whether it may write there."""
    mounts = {made(order.run, user, "--run"): True}
    if "--hub-root" in phase.arguments and order.hub == "local":
        mounts[made(order.hub_root, user, "--hub-root")] = True
    if phase.judges or "hub" in _sources(order.recipe):
        mounts[made(hub_cache(), user, "HF_HUB_CACHE")] = phase.online
    if phase.gpus:
        mounts[made(compiled_cache(), user, "XDG_CACHE_HOME")] = True
    return mounts


def name_of(image: "Image") -> str:
    """Return what names an image for good: its digest in a registry if it came from one, else its id."""
    digests: list[str] = image.attrs.get("RepoDigests") or []
    # Some engines give a digest to what was built here, too; without a registry nobody could pull it.
    return next((digest for digest in digests if "/" in digest), str(image.id))


def _find(client: "DockerClient", name: str | None, recipe: Recipe) -> "Image":
    target = "cuda" if recipe.execution.accelerator == "cuda" else "cpu"
    image = engine.find_image(client, name or f"notus:{target}")
    if image is None:
        build = "nox -s image" + (" -- --target cpu" if target == "cpu" else "")
        raise UserError(
            f"{name or f'notus:{target}'}: Docker has no such image; build it with `{build}`, pull it, or name another "
            "with --image"
        )
    if not any(setting.startswith("NOTUS_REVISION=") for setting in image.attrs["Config"]["Env"] or ()):
        raise UserError(f"{name}: not an image of Notus; name one that `nox -s image` built")
    return image


def _sources(recipe: Recipe) -> tuple[str, str, str]:
    science = recipe.science
    tokenizer = science.tokenizer_source if science.tokenizer else "builtin"
    return science.base_source, tokenizer, science.dataset_source


def with_whole_paths(recipe: Recipe) -> Recipe:
    """Return a recipe whose local base and data are named by the paths under which a container finds them, too."""
    local = {
        key: str(whole_path(getattr(recipe.science, key)))
        for key, source in zip(SOURCES, _sources(recipe), strict=True)
        if source == "local"
    }
    files = recipe.science.with_files(lambda name: str(whole_path(name)))
    for name in _banner(recipe):
        local["banner"] = str(whole_path(name))
    benchmarks = {task: str(whole_path(name)) for task, name in recipe.evaluation.benchmark_data.items()}
    whole = {**local, **files, "benchmark_data": benchmarks}
    return build_recipe(recipe.name, {**recipe.flat(), **whole}, where=recipe.name)


def _banner(recipe: Recipe) -> tuple[str, ...]:
    """Return the file that the cards' banner is, if it is one."""
    name = recipe.release.banner
    return () if name is None or name.startswith(BUILTIN) else (name,)


def _nodes(nodes: Nodes) -> tuple[str, ...]:
    return (
        "--nnodes",
        str(nodes.count),
        "--node-rank",
        str(nodes.rank),
        "--rdzv-endpoint",
        nodes.endpoint,
    )


@contextmanager
def _recipe_file(recipe: Recipe) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="notus-") as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(dump_resolved(recipe), encoding="utf-8")
        file.chmod(0o644)
        yield file
