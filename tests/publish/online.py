"""Publishing in the tests' own process, to an embedded Hub whose answers can be disturbed."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi, constants

from publish.loading import Answer, Question
from publish.release import publish
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run

Fault = Callable[[httpx2.Request, Callable[[], httpx2.Response]], httpx2.Response | None]
"""Gets a request and what sends it; returns what is answered instead, or None for the Hub's own answer."""

ADAPTER, MERGED, BASE = "notus/tiny-adapter", "notus/tiny", "notus/tiny-base"


def loads(_: Question) -> Answer:
    """Say that everything has the run's logits."""
    return {"differences": {"PeftModel": 0.0}, "scale": 1.0, "rows": {}}


def lost(_: httpx2.Request, send: Callable[[], httpx2.Response]) -> httpx2.Response:
    """Let the Hub do it, and lose its answer."""
    send()
    raise httpx2.ReadError("reset")


def answered(status: int, **headers: str) -> Fault:
    """Let the Hub answer so, having done nothing."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def fault(request: httpx2.Request, _: Callable[[], httpx2.Response]) -> httpx2.Response:
        return httpx2.Response(status, headers=named, request=request, json={"error": "so it is"})

    return fault


@dataclass
class Online:
    """An embedded Hub of its own for a test, and a copy of the trained run."""

    api: HfApi
    root: Path
    folder: Path
    recipe: Path
    plans: list[tuple[str, re.Pattern[str], Fault]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def disturb(self, method: str, path: str, *faults: Fault) -> None:
        """Disturb the next requests to a path (a regular expression), one after the other."""
        self.plans += [(method, re.compile(path), fault) for fault in faults]

    def run(self, tag: str = "v0.1.0", folder: Path | None = None, **overrides: Any) -> Run:
        """Return the run, opened for a release under a tag."""
        changes = [f"{key}={value}" for key, value in overrides.items()]
        return Run(folder or self.folder, load_recipe(str(self.recipe), changes, tag))

    def publish(self, run: Run | None = None, **options: Any) -> dict[str, Any]:
        """Publish, without loading any model."""
        given: dict[str, Any] = {"load": loads, "hub": "local"} | options
        return publish(run or self.run(), Reporter(), **given)

    def another(self, name: str) -> Path:
        """Return another copy of the run."""
        return Path(shutil.copytree(self.folder, self.folder.with_name(name)))

    def commits(self, repo: str) -> list[str]:
        """Return a repository's commits but for the Hub's own first one, the youngest first."""
        return [commit.commit_id for commit in self.api.list_repo_commits(repo)][:-1]

    def tags(self, repo: str) -> dict[str, str]:
        """Return a repository's tags that are named after versions."""
        if not self.api.repo_exists(repo):
            return {}
        found = self.api.list_repo_refs(repo).tags
        return {ref.name: ref.target_commit for ref in found if ref.name.startswith("v")}

    def all_tags(self) -> list[str]:
        """Return the repositories that have any tag of a version."""
        return [repo for repo in (BASE, ADAPTER, MERGED) if self.tags(repo)]

    def requests(self, method: str, path: str) -> int:
        """Return how many requests there were."""
        return sum(one.startswith(f"{method} ") and bool(re.search(path, one)) for one in self.seen)


def disturbed(online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the test's faults between the client and the Hub."""
    sends = httpx2.Client.send

    def send(client: httpx2.Client, request: httpx2.Request, **options: Any) -> httpx2.Response:
        path = request.url.raw_path.decode()
        online.seen.append(f"{request.method} {path}")
        for place, (method, pattern, fault) in enumerate(online.plans):
            if request.method == method and pattern.search(path):
                del online.plans[place]
                answer = fault(request, lambda: sends(client, request, **options))
                if answer is not None:
                    return answer
        return sends(client, request, **options)

    monkeypatch.setattr(httpx2.Client, "send", send)


def at_hub(endpoint: str, token: str, monkeypatch: pytest.MonkeyPatch, *, patience: float = 3) -> HfApi:
    """Point the client in this process at a Hub, and wait little."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("NOTUS_RETRY_SECONDS", str(patience))
    return HfApi(endpoint=endpoint, token=token)
