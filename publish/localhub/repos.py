"""The routes of /api about users, cards and whole repositories."""

import json
from time import time
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from publish.localhub.card_check import check_card
from publish.localhub.errors import ConflictError, InvalidError
from publish.localhub.repository import Meta, Repository
from publish.localhub.store import KINDS
from publish.localhub.web import Call, author, date, lfs_fields


def whoami(call: Call) -> Response:
    """GET whoami-v2."""
    user = call.signed_in()
    orgs = [{"type": "org", "id": name, "name": name, "fullname": name} for name in user.namespaces[1:]]
    token = {"displayName": "localhub", "role": user.role}
    auth = {"type": "access_token", "accessToken": token}
    known = {"type": "user", "id": user.name, "name": user.name, "fullname": user.fullname}
    return JSONResponse({**known, "isPro": False, "orgs": orgs, "auth": auth})


def validate_yaml(call: Call) -> Response:
    """POST validate-yaml. `RepoCard.validate` asks for text and shows it as it is."""
    found = check_card(str(call.json().get("content", "")))
    status = 400 if found.errors else 200
    if "text/plain" in call.request.headers.get("accept", ""):
        return PlainTextResponse("\n".join(f"- Error: {error}" for error in found.errors), status)
    listed = {key: [{"message": m} for m in getattr(found, key)] for key in ("errors", "warnings")}
    return JSONResponse(listed, status)


def _named(call: Call) -> tuple[str, str, str]:
    asked = call.json()
    kind = f"{asked.get('type') or 'model'}s"
    if kind not in KINDS:
        raise InvalidError(f"Invalid repo type: {kind[:-1]}")
    return kind, str(asked.get("organization") or call.signed_in().name), str(asked.get("name") or "")


def create_repo(call: Call) -> Response:
    """POST repos/create."""
    kind, namespace, name = _named(call)
    user = call.may_write(namespace)
    asked = call.json()
    default = "private" if namespace in user.private_orgs else "public"
    private = asked["private"] if "private" in asked else asked.get("visibility", default) == "private"
    wanted = Meta(kind, namespace, name, private=bool(private), created=time())
    # A Space is born with a card, which names its sdk.
    card = f"---\ntitle: {name}\nsdk: {json.dumps(asked.get('sdk'))}\n---\n"
    extra = {"README.md": card.encode()} if kind == "spaces" else {}
    try:
        meta = call.hub.store.create(wanted, author(user), extra)
    except ConflictError as error:
        meta = call.meta(kind=kind, repo_id=f"{namespace}/{name}")
        raise ConflictError(error.message, url=call.endpoint + meta.url, id=meta.id) from error
    return JSONResponse({"url": call.endpoint + meta.url, "name": meta.id, "id": meta.id})


def delete_repo(call: Call) -> Response:
    """DELETE repos/delete."""
    kind, namespace, name = _named(call)
    call.hub.store.delete(call.meta(write=True, kind=kind, repo_id=f"{namespace}/{name}"))
    return Response()


def settings(call: Call) -> Response:
    """PUT settings: private, or visibility.

    Raises:
        InvalidError: `gated`. To say yes and let all download would be worse.
    """
    asked = call.json()
    if asked.get("gated"):
        raise InvalidError("This Hub has no gated repositories")
    private = asked.get("private") is True or asked.get("visibility") == "private"
    meta = call.meta(write=True)
    if {"private", "visibility"} & asked.keys():
        call.hub.store.set_private(meta, private)
    return Response()


def _info(call: Call, repository: Repository, revision: str) -> dict[str, Any]:
    meta, head = repository.meta, repository.resolve(revision)
    if call.flag("blobs"):
        files = [entry for entry in repository.entries(head, recursive=True) if not entry.folder]
        siblings: list[dict[str, Any]] = [
            {"rfilename": file.path, "size": file.size, "blobId": file.oid}
            | ({"lfs": lfs_fields(file.lfs, "sha256")} if file.lfs else {})
            for file in files
        ]
    else:
        siblings = [{"rfilename": path} for path in repository.files(head)]
    found = check_card(repository.text(head, "README.md").decode(errors="replace")).metadata
    # YAML has dates and NaN, which JSON has not.
    card = json.loads(json.dumps(found, default=str, skipkeys=True), parse_constant=str)
    tags = card.get("tags")
    info = {
        "author": meta.namespace,
        "sha": head.decode(),
        "lastModified": date(repository.commit(head).commit_time),
        "createdAt": date(meta.created),
        "private": meta.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags if isinstance(tags, list) else [],
        "siblings": siblings,
        "cardData": card or None,
    } | {key: card[key] for key in ("library_name", "pipeline_tag", "model-index") if key in card}
    if expand := call.request.query_params.getlist("expand"):
        info = {key: value for key, value in info.items() if key in expand}
    return {"_id": meta.id, "id": meta.id, **info}


def info(call: Call) -> Response:
    """GET the repository, at a revision or at main, as JSON."""
    with call.reading() as repository:
        return JSONResponse(_info(call, repository, call.params.get("revision", "main")))


def list_repos(call: Call) -> Response:
    """GET the repositories that the caller may see; search, author, limit."""
    query = call.request.query_params
    found = []
    for meta in call.hub.store.all(call.params["kind"]):
        seen = not meta.private or (call.user is not None and call.user.owns(meta.namespace))
        named = query.get("search", "").lower() in meta.id.lower()
        if seen and named and query.get("author", meta.namespace).lower() == meta.namespace.lower():
            with call.hub.store.open(meta) as repository:
                found.append(_info(call, repository, "main"))
    return JSONResponse(found[: call.number("limit", 1000)])
