"""The routes of /api/collections: a title over repositories and other collections.

A slug ends with the collection's id, by which it is found; its words follow the title.
Source: `huggingface_hub.hf_api` (2.4.0), `list_collections` to `delete_collection_item`, and its tests.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import time

from starlette.responses import JSONResponse, Response

from publish.localhub.errors import CollectionNotFoundError, ConflictError, HubError, InvalidError
from publish.localhub.shelf import Fields
from publish.localhub.store import KINDS
from publish.localhub.web import Call, date

THEMES = ("orange", "blue", "green", "purple", "pink", "indigo")
# Characters of a note and of a description, as the client's documentation has them; items in a list of collections.
MAX_NOTE, MAX_DESCRIPTION, LISTED = 500, 150, 4

_ID = re.compile(r"[0-9a-f]{24}")


def list_collections(call: Call) -> Response:
    """GET those that the caller may see; owner, item (models/a/b), limit. Of each its first items only."""
    query = call.request.query_params
    owners = {name.lower() for name in query.getlist("owner")}
    items = query.getlist("item")
    answers = []
    for held in call.hub.collections.all():
        if not _sees(call, held) or (owners and held["namespace"].lower() not in owners):
            continue
        shown = _shown(call, held)
        if items and not {f"{item['type']}s/{item['id']}" for item in shown["items"]} & set(items):
            continue
        answers.append({key: value for key, value in shown.items() if key != "position"})
    return JSONResponse(
        [{**shown, "items": shown["items"][:LISTED]} for shown in answers[: call.number("limit", 100)]]
    )


def create(call: Call) -> Response:
    """POST title, namespace, description, private."""
    asked = call.json()
    namespace = str(asked.get("namespace") or call.signed_in().name)
    user = call.may_write(namespace)
    held = {
        "id": secrets.token_hex(12),
        "namespace": namespace,
        "title": _title(asked),
        "description": _text(asked, "description", MAX_DESCRIPTION),
        "private": asked.get("private") is True or namespace in user.private_orgs,
        "theme": THEMES[0],
        "position": 0,
        "items": [],
        "updated": time(),
    }
    call.hub.collections.create(held)
    return JSONResponse(_shown(call, held))


def get(call: Call) -> Response:
    """GET one, with all its items that the caller may see."""
    return JSONResponse(_shown(call, _named(call)))


def update(call: Call) -> Response:
    """PATCH title, description, private, theme, position."""
    asked = call.json()
    with call.hub.collections.changing(_named(call, write=True)["id"]) as held:
        if "title" in asked:
            held["title"] = _title(asked)
        if "description" in asked:
            held["description"] = _text(asked, "description", MAX_DESCRIPTION)
        if "private" in asked:
            held["private"] = asked["private"] is True
        if "theme" in asked:
            if asked["theme"] not in THEMES:
                raise InvalidError(f'"theme" must be one of [{", ".join(THEMES)}]')
            held["theme"] = asked["theme"]
        held["position"] = _position(asked, held["position"])
    return JSONResponse({"success": True, "data": _shown(call, held)})


def delete(call: Call) -> Response:
    """DELETE one."""
    call.hub.collections.delete(_named(call, write=True)["id"])
    return Response()


def add_item(call: Call) -> Response:
    """POST item {id, type} and a note. What is not here, or not the caller's to see, is not found."""
    asked = call.json()
    item = asked.get("item")
    if not isinstance(item, dict):
        raise InvalidError('"item" is required')
    new = {"_id": secrets.token_hex(12), "type": str(item.get("type")), "id": str(item.get("id"))}
    new |= {"note": _text(asked, "note", MAX_NOTE)}
    new["id"] = _known(call, new)["id"]
    with call.hub.collections.changing(_named(call, write=True)["id"]) as held:
        if any((there["type"], there["id"]) == (new["type"], new["id"]) for there in held["items"]):
            raise ConflictError("The item is in the collection already")
        held["items"].append(new)
    return JSONResponse(_shown(call, held))


def update_item(call: Call) -> Response:
    """PATCH note and position."""
    asked = call.json()
    with _item(call) as (items, item):
        if "note" in asked:
            item["note"] = _text(asked, "note", MAX_NOTE)
        items.insert(_position(asked, items.index(item)), items.pop(items.index(item)))
    return JSONResponse({"success": True})


def delete_item(call: Call) -> Response:
    """DELETE an item from its collection."""
    with _item(call) as (items, item):
        items.remove(item)
    return Response()


@contextmanager
def _item(call: Call) -> Iterator[tuple[list[Fields], Fields]]:
    with call.hub.collections.changing(_named(call, write=True)["id"]) as held:
        for item in held["items"]:
            if item["_id"] == call.params["item"]:
                yield held["items"], item
                return
        raise CollectionNotFoundError("Item not found")


def _named(call: Call, *, write: bool = False) -> Fields:
    """Return the collection that the path names."""
    held = _find(call, f"{call.params['namespace']}/{call.params['slug']}")
    if write:
        call.may_write(held["namespace"])
    return held


def _find(call: Call, slug: str) -> Fields:
    """Return a collection by a slug that it has or had; to who may not see it there is none."""
    namespace, _, words = slug.partition("/")
    id_ = words.rpartition("-")[2]
    if not _ID.fullmatch(id_):
        raise CollectionNotFoundError("Collection not found")
    held = call.hub.collections.get(id_)
    if held["namespace"].lower() != namespace.lower() or not _sees(call, held):
        raise CollectionNotFoundError("Collection not found")
    return held


def _sees(call: Call, held: Fields) -> bool:
    return not held["private"] or (call.user is not None and call.user.owns(held["namespace"]))


def _slug(held: Fields) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", held["title"].lower()).strip("-")
    return f"{held['namespace']}/{words}-{held['id']}"


def _known(call: Call, item: Fields) -> Fields:
    """Return what an item is, by the name that it has now; a collection's own is kept by its id.

    Raises:
        HubError: it is not here, or not the caller's to see.
    """
    if item["type"] == "collection":
        nested = _find(call, item["id"])
        return {"id": _slug(nested), "slug": _slug(nested)}
    kind = f"{item['type']}s"
    if kind not in KINDS:
        raise CollectionNotFoundError(f"No {item['type']} of that name")
    return {"id": call.meta(kind=kind, repo_id=item["id"]).id}


def _shown(call: Call, held: Fields) -> Fields:
    """Return a collection as the Hub answers it: what is gone, or another's secret, is left out."""
    items: list[Fields] = []
    for item in held["items"]:
        with suppress(HubError):
            note = {"note": {"text": item["note"], "html": item["note"]}} if item["note"] else {}
            known = _known(call, item)
            items.append({"_id": item["_id"], "type": item["type"], **known, "position": len(items), **note})
    return {
        "slug": _slug(held),
        "title": held["title"],
        "owner": held["namespace"],
        "items": items,
        "lastUpdated": date(held["updated"]),
        "position": held["position"],
        "private": held["private"],
        "theme": held["theme"],
        "upvotes": 0,
    } | ({"description": held["description"]} if held["description"] else {})


def _title(asked: Fields) -> str:
    title = _text(asked, "title", MAX_NOTE)
    if not title.strip():
        raise InvalidError('"title" is required')
    return title


def _text(asked: Fields, key: str, longest: int) -> str:
    value = asked.get(key, "")
    if not isinstance(value, str) or len(value) > longest:
        raise InvalidError(f'"{key}" must be a string of {longest} characters at most')
    return value


def _position(asked: Fields, default: int) -> int:
    value = asked.get("position", default)
    if not isinstance(value, int) or value < 0:
        raise InvalidError('"position" must be a number, 0 or more')
    return value
