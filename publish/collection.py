"""The collection under which the Hub groups a release's repositories: made once, then kept as it should be."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from publish.contents import Repo
from publish.data import DATA
from recipe.errors import UserError
from recipe.progress import Reporter
from recipe.schema import Recipe

if TYPE_CHECKING:
    from huggingface_hub import Collection, HfApi

WHAT = {
    "base": "the base",
    DATA: "the preference pairs",
    "adapter": "the LoRA adapter",
    "merged": "merged weights",
}


def group(api: "HfApi", recipe: Recipe, repos: Iterable[Repo], reporter: Reporter) -> str | None:
    """Put every repository of a release into the recipe's collection, each once, with its tag in the note.

    What a Hub does not do of it is warned of: the release itself is whole without, and the next call makes it good.

    Args:
        api: The Hub, as who publishes.
        recipe: Its `collection` is the title, in the namespace of the adapter; without one there is nothing to do.
        repos: The release's repositories.
        reporter: Says what became of it.

    Returns:
        The collection's address, or None.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    title = recipe.release.collection
    if title is None:
        return None
    try:
        found = _named(api, recipe, title)
        there = {(item.item_type, item.item_id.lower()): item for item in found.items}
        for repo in repos:
            note, item = (
                f"{WHAT[repo.kind]}, {recipe.release.version}",
                there.get((repo.type, repo.repo_id.lower())),
            )
            if item is None:
                api.add_collection_item(found.slug, repo.repo_id, repo.type, note=note, exists_ok=True)  # type: ignore[arg-type]
            elif item.note != note:
                api.update_collection_item(found.slug, item.item_object_id, note=note)
    except (HfHubHTTPError, UserError, httpx2.TransportError, ValueError, LookupError) as error:
        # A publisher's sessions tell of faults by a UserError; the last two are of an answer that is no collection.
        reporter.warn(
            f"the collection {title!r} is not as it should be ({_said(error)}); the release is whole without it"
        )
        return None
    reporter.say(f"  in the collection {found.title!r}: {found.url}")
    return found.url


def _named(api: "HfApi", recipe: Recipe, title: str) -> "Collection":
    """Return the oldest collection of that title that there is, with all its items, or a new one.

    The Hub itself would make another one of the same title.
    """
    owner, _, _ = recipe.release.hub_model_id.rpartition("/")
    owner = owner or str(api.whoami()["name"])
    # A list shows a few items of each only. An id begins with the time when it was made.
    slugs = [one.slug for one in api.list_collections(owner=owner) if one.title == title]
    if slugs:
        return api.get_collection(min(slugs, key=lambda slug: slug.rpartition("-")[2]))
    return api.create_collection(title, namespace=owner, private=recipe.release.private)


def _said(error: Exception) -> str:
    """Return a line of what went wrong; the Hub's own messages lie beside its error."""
    response = getattr(error, "response", None)
    words = [str(response.status_code)] if response is not None else []
    words += str(getattr(error, "server_message", None) or error).split()
    return " ".join(words) or type(error).__name__
