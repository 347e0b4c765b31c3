"""The embedded Hub's collections, by the unmodified client; beside what its own tests say of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from publish.localhub import LocalHub, add_user, running


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with running(tmp_path_factory.mktemp("hub")) as served:
        add_user(served.root, "other", token="hf_other")
        add_user(served.root, "reader", token="hf_reader", orgs=("notus",), role="read")
        yield served


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


@pytest.fixture
def other(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_other")


def refused(status: int, call: Callable[[], object]) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        call()
    assert error.value.response.status_code == status


def items(api: HfApi, slug: str) -> list[str]:
    return [item.item_id for item in api.get_collection(slug).items]


def test_a_list_shows_the_first_items_of_each_only(api: HfApi) -> None:
    slug = api.create_collection("Many").slug
    names = [api.create_repo(f"notus/many-{place}").repo_id for place in range(6)]
    for name in names:
        api.add_collection_item(slug, name, "model")
    assert items(api, slug) == names
    [listed] = [one for one in api.list_collections(owner="notus") if one.slug == slug]
    assert [item.item_id for item in listed.items] == names[:4]


def test_a_list_is_of_owners_and_of_items(api: HfApi, other: HfApi) -> None:
    mine, theirs = api.create_collection("Mine").slug, other.create_collection("Theirs").slug
    name = api.create_repo("notus/wanted").repo_id
    other.add_collection_item(theirs, name, "model")
    assert {one.slug for one in api.list_collections(owner="other")} == {theirs}
    assert {mine, theirs} <= {one.slug for one in api.list_collections(owner=["NOTUS", "other"])}
    assert [one.slug for one in api.list_collections(item=f"models/{name}")] == [theirs]
    assert len(list(api.list_collections(limit=1))) == 1


def test_two_may_have_the_same_title(api: HfApi) -> None:
    first, second = (api.create_collection("Twice", exists_ok=True) for _ in range(2))
    assert first.title == second.title
    assert first.slug != second.slug


def test_who_may_change_one(hub: LocalHub, api: HfApi, other: HfApi) -> None:
    slug = api.create_collection("Ours").slug
    reader = HfApi(endpoint=hub.endpoint, token="hf_reader")
    nobody = HfApi(endpoint=hub.endpoint, token=False)
    for who, status in ((other, 403), (reader, 403), (nobody, 401)):
        refused(status, lambda who=who: who.create_collection("No", namespace="notus"))  # type: ignore[misc]
        refused(status, lambda who=who: who.update_collection_metadata(slug, title="No"))  # type: ignore[misc]
        refused(status, lambda who=who: who.delete_collection(slug))  # type: ignore[misc]
    assert nobody.get_collection(slug).title == "Ours"


def test_what_may_not_be_seen_is_not_found(hub: LocalHub, api: HfApi, other: HfApi) -> None:
    public = api.create_collection("Public").slug
    secret = api.create_collection("Secret", private=True).slug
    hidden = api.create_repo("notus/hidden", private=True).repo_id
    api.add_collection_item(public, hidden, "model")
    api.add_collection_item(public, secret, "collection")
    assert items(api, public) == [hidden, secret]
    assert items(other, public) == []
    refused(404, lambda: other.get_collection(secret))
    mine = other.create_collection("Other's").slug
    refused(404, lambda: other.add_collection_item(mine, hidden, "model"))
    assert secret not in {one.slug for one in other.list_collections()}


def test_what_is_deleted_is_gone_from_it(api: HfApi) -> None:
    slug = api.create_collection("Shrinks").slug
    name = api.create_repo("notus/goes").repo_id
    api.add_collection_item(slug, name, "model")
    api.delete_repo(name)
    assert items(api, slug) == []


def test_what_is_malformed_is_refused(api: HfApi) -> None:
    slug = api.create_collection("Sound").slug
    name = api.create_repo("notus/sound").repo_id
    refused(400, lambda: api.create_collection("  "))
    refused(400, lambda: api.create_collection("Long", description="x" * 151))
    refused(400, lambda: api.add_collection_item(slug, name, "model", note="x" * 501))
    refused(400, lambda: api.update_collection_metadata(slug, theme="mauve"))
    refused(404, lambda: api.add_collection_item(slug, "2311.12983", "paper"))
    for unknown in ("notus/sound", f"other/{slug.partition('/')[2]}", f"notus/sound-{'0' * 24}"):
        refused(404, lambda unknown=unknown: api.get_collection(unknown))  # type: ignore[misc]
    assert items(api, slug) == []


def test_it_is_still_there_after_a_restart(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    slugs: list[str] = []
    for _ in range(2):
        with running(root) as served:
            api = HfApi(endpoint=served.endpoint, token=served.token)
            if not slugs:
                slugs.append(api.create_collection("Stays", description="What it is").slug)
            assert api.get_collection(slugs[0]).description == "What it is"
