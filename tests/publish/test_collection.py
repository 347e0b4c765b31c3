"""A release's repositories in one collection, on the embedded Hub: made once, each in it once, never in the way."""

from collections.abc import Iterator

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from publish.collection import group
from publish.contents import Repo
from publish.localhub import LocalHub, add_user, running
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.schema import Recipe

QUIET = Reporter(quiet=True)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with running(tmp_path_factory.mktemp("hub")) as served:
        yield served


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


@pytest.fixture
def repos(api: HfApi) -> list[Repo]:
    """Five repositories, one more than a list of collections shows of each."""
    kinds = {"Base": "base", "pairs": "data", "lora": "adapter", "whole": "merged", "other": "merged"}
    made = [Repo(kind, f"notus/{name}", {}, {}) for name, kind in kinds.items()]
    for repo in made:
        api.create_repo(repo.repo_id, repo_type=repo.type, exist_ok=True)
    return made


def recipe(title: str, version: str = "v1", **keys: object) -> Recipe:
    given = {"collection": title, "version": version, **keys}
    return load_recipe("smoke", [f"{key}={value}" for key, value in given.items()])


def found(api: HfApi, title: str) -> list[tuple[str, str, str | None]]:
    [slug] = [one.slug for one in api.list_collections(owner="notus") if one.title == title]
    return [(item.item_type, item.item_id, item.note) for item in api.get_collection(slug).items]


def test_every_repository_is_in_it_once_with_the_tag(api: HfApi, repos: list[Repo]) -> None:
    url = group(api, recipe("The whole release"), repos, QUIET)
    assert url is not None
    assert url.startswith(f"{api.endpoint}/collections/notus/the-whole-release-")
    assert found(api, "The whole release") == [
        ("model", "notus/Base", "the base, v1"),
        ("dataset", "notus/pairs", "the preference pairs, v1"),
        ("model", "notus/lora", "the LoRA adapter, v1"),
        ("model", "notus/whole", "merged weights, v1"),
        ("model", "notus/other", "merged weights, v1"),
    ]


def test_it_is_made_once_and_left_alone_when_it_is_right(api: HfApi, repos: list[Repo]) -> None:
    first = group(api, recipe("Made once"), repos, QUIET)
    [before] = [one for one in api.list_collections(owner="notus") if one.title == "Made once"]
    assert group(api, recipe("Made once"), repos, QUIET) == first
    [after] = [one for one in api.list_collections(owner="notus") if one.title == "Made once"]
    assert (after.slug, after.last_updated) == (before.slug, before.last_updated)


def test_the_next_release_is_noted_and_what_people_added_stays(api: HfApi, repos: list[Repo]) -> None:
    group(api, recipe("Two releases"), repos[2:4], QUIET)
    [slug] = [one.slug for one in api.list_collections(owner="notus") if one.title == "Two releases"]
    api.add_collection_item(slug, "notus/Base", "model", note="by hand")
    group(api, recipe("Two releases", "v2"), repos[2:4], QUIET)
    assert found(api, "Two releases") == [
        ("model", "notus/lora", "the LoRA adapter, v2"),
        ("model", "notus/whole", "merged weights, v2"),
        ("model", "notus/Base", "by hand"),
    ]


def test_it_is_private_if_the_release_is(hub: LocalHub, api: HfApi, repos: list[Repo]) -> None:
    group(api, recipe("Secret", private="true"), repos[:1], QUIET)
    group(api, recipe("Public"), repos[:1], QUIET)
    shown = {one.title: one.private for one in api.list_collections(owner="notus")}
    assert (shown["Secret"], shown["Public"]) == (True, False)
    add_user(hub.root, "stranger", token="hf_stranger")
    assert "Secret" not in {one.title for one in api.list_collections(token="hf_stranger")}


def test_without_a_title_there_is_none(api: HfApi, repos: list[Repo]) -> None:
    before = [one.slug for one in api.list_collections()]
    assert group(api, load_recipe("smoke"), repos, QUIET) is None
    assert [one.slug for one in api.list_collections()] == before


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_hub_that_refuses_is_a_warning(
    api: HfApi,
    repos: list[Repo],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = api.create_collection

    def refused(*arguments: object, **keys: object) -> object:
        import httpx2

        answer = httpx2.Response(status, request=httpx2.Request("POST", f"{api.endpoint}/api/collections"))
        raise HfHubHTTPError(f"{status} for a collection", response=answer)

    monkeypatch.setattr(api, "create_collection", refused)
    assert group(api, recipe(f"Refused {status}"), repos, Reporter(quiet=True)) is None
    line = " ".join(capsys.readouterr().err.split())
    assert line.startswith(f"warning: the collection 'Refused {status}' is not as it should be")
    assert line.endswith("the release is whole without it")
    monkeypatch.setattr(api, "create_collection", real)
    assert group(api, recipe(f"Refused {status}"), repos, QUIET) is not None


def test_another_namespace_is_refused_and_warned_of(
    hub: LocalHub, api: HfApi, repos: list[Repo], capsys: pytest.CaptureFixture[str]
) -> None:
    add_user(hub.root, "stranger", token="hf_stranger")
    stranger = HfApi(endpoint=hub.endpoint, token="hf_stranger")
    assert group(stranger, recipe("Not mine"), repos, QUIET) is None
    assert "403" in capsys.readouterr().err


def test_a_hub_that_is_away_is_a_warning(
    repos: list[Repo], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # the client tries again
    assert group(HfApi(endpoint="http://127.0.0.1:9", token="hf_any"), recipe("Away"), repos, QUIET) is None
    assert "warning: the collection 'Away'" in capsys.readouterr().err


def test_a_half_made_one_is_completed(api: HfApi, repos: list[Repo]) -> None:
    slug = api.create_collection("Half made", namespace="notus").slug
    api.add_collection_item(slug, "notus/lora", "model", note="the LoRA adapter, v1")
    group(api, recipe("Half made"), repos[2:4], QUIET)
    assert len(found(api, "Half made")) == 2
