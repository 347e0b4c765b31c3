"""Fixtures that huggingface_hub's own tests ask for; its source distribution holds the tests without them.

`test_client_suite.py` copies this beside the unpacked tests, as their conftest.py, and sets HF_ENDPOINT to an
embedded Hub. It has another name here, as pytest would load a conftest.py for our own tests too. Written from
how the tests use these fixtures, not from the client's repository.

hf_xet is made to look not installed: its distribution is hidden from `importlib.metadata`, where the client
looks for it, and it cannot be imported. Otherwise every large file would go over Xet, which the embedded Hub
does not speak.
"""

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

_distribution = importlib.metadata.distribution


def _without_xet(distribution_name: str) -> importlib.metadata.Distribution:
    if distribution_name.replace("-", "_").lower() == "hf_xet":
        raise importlib.metadata.PackageNotFoundError(distribution_name)
    return _distribution(distribution_name)


importlib.metadata.distribution = _without_xet
sys.modules["hf_xet"] = None  # type: ignore[assignment]  # the import system's own way to say "cannot be imported"

ENDPOINT = os.environ["HF_ENDPOINT"]

testing_constants: Any = importlib.import_module(f"{__package__}.testing_constants")
testing_utils: Any = importlib.import_module(f"{__package__}.testing_utils")
testing_constants.ENDPOINT_STAGING = ENDPOINT  # before the tests import it by name

from huggingface_hub import HfApi, RepoUrl, constants  # noqa: E402
from huggingface_hub.utils._runtime import is_xet_available  # noqa: E402

assert constants.ENDPOINT == ENDPOINT
assert not is_xet_available()


class RepoFactory(Protocol):
    """Makes repositories that go when the test ends."""

    def __call__(self, repo_type: str = "model", repo_id: str | None = None, **kwargs: Any) -> RepoUrl: ...


@pytest.fixture(scope="session")
def _shared_api() -> HfApi:
    return HfApi(endpoint=ENDPOINT, token=testing_constants.TOKEN)


@pytest.fixture(scope="class")
def api(_shared_api: HfApi) -> HfApi:
    """Give the client as the user of the tests; of a class's scope, as its shared repositories ask for it."""
    return _shared_api


@pytest.fixture
def new_repo_id(api: HfApi) -> Iterator[str]:
    """Give an id that no repository has; one that the test makes goes with the test."""
    repo_id = f"{testing_constants.USER}/{testing_utils.repo_name()}"
    yield repo_id
    api.delete_repo(repo_id, missing_ok=True)


@pytest.fixture
def repo_factory(api: HfApi) -> Iterator[RepoFactory]:
    """Make repositories with `create_repo`'s arguments, delete them after the test."""
    made: list[Callable[[], None]] = []

    def make(repo_type: str = "model", repo_id: str | None = None, **kwargs: Any) -> RepoUrl:
        if repo_type == "space":
            kwargs.setdefault("space_sdk", "static")
        url = api.create_repo(repo_id or testing_utils.repo_name(), repo_type=repo_type, **kwargs)
        token = kwargs.get("token")
        made.append(lambda: api.delete_repo(url.repo_id, repo_type=repo_type, token=token, missing_ok=True))
        return url

    yield make
    for delete in made:
        delete()


@pytest.fixture(autouse=True)
def patch_constants(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache and a token file of its own."""
    home: Path = tmp_path_factory.mktemp("hf-home")
    for name, path in (
        ("HF_HOME", home),
        ("HF_HUB_CACHE", home / "hub"),
        ("HF_XET_CACHE", home / "xet"),
        ("HF_ASSETS_CACHE", home / "assets"),
        ("HF_TOKEN_PATH", home / "token"),
        ("HF_STORED_TOKENS_PATH", home / "stored_tokens"),
    ):
        monkeypatch.setattr(constants, name, str(path))


@pytest.fixture(autouse=True)
def xet_mode(request: pytest.FixtureRequest) -> None:
    """Skip what needs hf_xet; what must run without it runs, see above."""
    if request.node.get_closest_marker("xet"):
        pytest.skip("needs hf_xet and Xet storage")
