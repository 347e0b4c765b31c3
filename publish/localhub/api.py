"""The routes below /api: who am I, repositories, revisions, listings."""

import base64
import binascii
import json
from datetime import UTC, datetime
from itertools import islice
from time import time
from typing import Any
from urllib.parse import urlencode

from dulwich.objects import Commit, ObjectID
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from publish.localhub.card_check import check_card
from publish.localhub.commits import MAX_LINE, Incoming
from publish.localhub.errors import (
    ConflictError,
    EntryNotFoundError,
    ForbiddenError,
    HubError,
    InvalidError,
)
from publish.localhub.lfs import Pointer
from publish.localhub.rules import UploadRules, check_path
from publish.localhub.store import KINDS, Entry, Meta, Repository
from publish.localhub.web import Call, author, lines, name_of


def _date(seconds: float) -> str:
    when = datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _title(commit: Commit) -> tuple[str, str]:
    title, _, message = commit.message.decode(errors="replace").strip().partition("\n")
    return title, message.strip()


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


def move_repo(call: Call) -> Response:
    """POST repos/move."""
    asked = call.json()
    meta = call.meta(write=True, kind=f"{asked.get('type', 'model')}s", repo_id=str(asked.get("fromRepo")))
    moved = call.hub.store.move(meta, str(asked.get("toRepo")), call.signed_in().owns)
    return JSONResponse({"url": call.endpoint + moved.url})


def settings(call: Call) -> Response:
    """PUT settings: private or visibility, gated."""
    asked = call.json()
    changes: dict[str, Any] = {}
    if "private" in asked or "visibility" in asked:
        changes["private"] = asked.get("private") is True or asked.get("visibility") == "private"
    if "gated" in asked:
        if asked["gated"] not in ("auto", "manual", False):
            raise InvalidError('"gated" must be one of [auto, manual, false]')
        changes["gated"] = asked["gated"]
    call.hub.store.change(call.meta(write=True), **changes)
    return JSONResponse(changes)


def auth_check(call: Call) -> Response:
    """GET auth-check: an answer at all says that the caller may read."""
    call.meta()
    return Response()


def _lfs(pointer: Pointer, key: str) -> dict[str, Any]:
    return {key: pointer.oid, "size": pointer.size, "pointerSize": len(pointer.encode())}


def _info(call: Call, repository: Repository, revision: str) -> dict[str, Any]:
    meta, head = repository.meta, repository.resolve(revision)
    if call.flag("blobs"):
        files = [entry for entry in repository.entries(head, recursive=True) if not entry.folder]
        siblings: list[dict[str, Any]] = [
            {"rfilename": file.path, "size": file.size, "blobId": file.oid}
            | ({"lfs": _lfs(file.lfs, "sha256")} if file.lfs else {})
            for file in files
        ]
    else:
        siblings = [{"rfilename": path} for path in repository.files(head)]
    card = check_card(repository.text(head, "README.md").decode(errors="replace")).metadata
    tags = card.get("tags")
    info = {
        "author": meta.namespace,
        "sha": head.decode(),
        "lastModified": _date(repository.commit(head).commit_time),
        "createdAt": _date(meta.created),
        "private": meta.private,
        "gated": meta.gated,
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


def preupload(call: Call) -> Response:
    """POST preupload: how each file is to be uploaded, and what the repository holds of it."""
    asked = call.json()
    meta = call.meta(write=not call.flag("create_pr"))
    call.signed_in()
    answers = []
    with call.hub.store.open(meta) as repository:
        head = repository.resolve(call.params["revision"])
        ignore = asked.get("gitIgnore")
        given = repository.text(head, ".gitignore") if ignore is None else str(ignore).encode()
        rules = UploadRules(repository.text(head, ".gitattributes"), given)
        for path, size, sample in _asked_files(asked):
            try:
                held: Entry | None = repository.entry(head, path)
            except EntryNotFoundError:
                held = None
            oid = None if held is None else held.lfs.oid if held.lfs else held.oid
            how = {"uploadMode": rules.mode(path, size, sample), "shouldIgnore": rules.ignored(path)}
            answers.append({"path": path, **how, **({"oid": oid} if oid else {})})
    return JSONResponse({"files": answers, "commitOid": head.decode()})


def _asked_files(asked: dict[str, Any]) -> list[tuple[str, int, bytes]]:
    try:
        return [
            (check_path(str(file["path"])), int(file["size"]), base64.b64decode(str(file.get("sample", ""))))
            for file in asked.get("files", [])
        ]
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise InvalidError(f"Malformed files: {error!r}") from error


async def commit(request: Request) -> Response:
    """POST commit: lines as in `commits`."""
    call = await run_in_threadpool(Call.of, request)
    as_pr = call.flag("create_pr")
    user = call.signed_in()
    meta = await run_in_threadpool(lambda: call.meta(write=not as_pr))
    with Incoming(call.hub.large, call.hub.store.root / "aside") as incoming:
        async for line in lines(request.stream(), MAX_LINE):
            await run_in_threadpool(incoming.add, line)

        def land() -> dict[str, Any]:
            with call.hub.store.locked(meta) as repository:
                oid, number = incoming.land(repository, call.params["revision"], author(user), as_pr=as_pr)
            url = call.endpoint + meta.url
            request_url = {"pullRequestUrl": f"{url}/discussions/{number}"} if number else {}
            commit_url = f"{url}/commit/{oid.decode()}"
            return {"success": True, "commitOid": oid.decode(), "commitUrl": commit_url, **request_url}

        return JSONResponse(await run_in_threadpool(land))


def create_tag(call: Call) -> Response:
    """POST tag at a revision."""
    asked = call.json()
    with call.writing() as repository:
        target = repository.resolve(call.params["revision"])
        tag, message = str(asked.get("tag", "")), str(asked.get("message") or "")
        repository.tag(tag, target, message, author(call.signed_in()))
    return Response()


def delete_tag(call: Call) -> Response:
    """DELETE tag of that name."""
    with call.writing() as repository:
        repository.remove(f"refs/tags/{call.params['revision']}")
    return Response()


def create_branch(call: Call) -> Response:
    """POST branch, at `startingPoint` or main."""
    asked = call.json()
    with call.writing() as repository:
        if call.params["branch"].startswith("refs/"):
            raise InvalidError("Invalid reference for a branch")
        start = repository.resolve(str(asked.get("startingPoint") or "main"))
        repository.point(f"refs/heads/{call.params['branch']}", start, None)
    return Response()


def delete_branch(call: Call) -> Response:
    """DELETE branch; main stays."""
    with call.writing() as repository:
        if call.params["branch"] == "main":
            raise ForbiddenError("Cannot delete refs/heads/main")
        repository.remove(f"refs/heads/{call.params['branch']}")
    return Response()


def refs(call: Call) -> Response:
    """GET refs."""
    found: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
    groups = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
    with call.reading() as repository:
        for ref, oid in repository.refs().items():
            for prefix, group in groups.items():
                if ref.startswith(prefix):
                    found[group].append({"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid})
    return JSONResponse(found)


def _next(call: Call, **query: Any) -> dict[str, str]:
    kept = {key: value for key, value in call.request.query_params.multi_items() if key not in query}
    # The path as it was sent, not decoded: a revision may hold %2F.
    url = f"{call.endpoint}{call.request.scope['path']}?{urlencode({**kept, **query})}"
    return {"Link": f'<{url}>; rel="next"'}


def commits(call: Call) -> Response:
    """GET the commits of a revision, a page at a time."""
    page, limit = call.number("p", 0), max(call.number("limit", 50), 1)
    formatted = "formatted" in call.request.query_params.getlist("expand[]")
    answers = []
    with call.reading() as repository:
        head = repository.resolve(call.params["revision"])
        found = list(islice(repository.history(head), page * limit, (page + 1) * limit + 1))
        for item in found[:limit]:
            title, message = _title(item)
            said = {"title": title, "message": message}
            when = {"date": _date(item.commit_time), "authors": [{"user": name_of(item.author)}]}
            shown = {"formatted": said} if formatted else {}
            answers.append({"id": item.id.decode(), **said, **when, **shown})
    return JSONResponse(answers, headers=_next(call, p=page + 1) if len(found) > limit else {})


def _listed(
    repository: Repository, commit: ObjectID, found: list[Entry], expand: bool
) -> list[dict[str, Any]]:
    last = repository.last_commits(commit, {entry.path for entry in found}) if expand else {}
    answers = []
    for entry in found:
        kind = "directory" if entry.folder else "file"
        answer: dict[str, Any] = {"type": kind, "oid": entry.oid, "size": entry.size, "path": entry.path}
        if entry.lfs:
            answer["lfs"] = _lfs(entry.lfs, "oid")
        if at := last.get(entry.path):
            answer["lastCommit"] = {
                "id": at.id.decode(),
                "title": _title(at)[0],
                "date": _date(at.commit_time),
            }
        answers.append(answer)
    return answers


def tree(call: Call) -> Response:
    """GET a folder, a page at a time; the cursor names the commit, so that all pages are of one."""
    expand = call.flag("expand")
    limit = max(call.number("limit", 50 if expand else 1000), 1)
    revision, _, after = call.request.query_params.get("cursor", f"{call.params['revision']}:0").rpartition(
        ":"
    )
    if not after.isdecimal():
        raise InvalidError("Invalid cursor")
    with call.reading() as repository:
        head, start = repository.resolve(revision), int(after)
        inside = repository.entries(head, call.params.get("path", ""), recursive=call.flag("recursive"))
        found = list(islice(inside, start, start + limit + 1))
        answers = _listed(repository, head, found[:limit], expand)
    more = _next(call, cursor=f"{head.decode()}:{start + limit}") if len(found) > limit else {}
    return JSONResponse(answers, headers=more)


def paths_info(call: Call) -> Response:
    """POST paths-info: those of the paths that exist."""
    form = call.form()
    found = []
    with call.reading() as repository:
        head = repository.resolve(call.params["revision"])
        for path in form.get("paths", []):
            try:
                found.append(repository.entry(head, path.strip("/")))
            except EntryNotFoundError:
                continue
        expand = form.get("expand", [""])[0].lower() in ("1", "true")
        return JSONResponse(_listed(repository, head, found, expand))


def no_xet(call: Call) -> Response:
    """GET xet-write-token, xet-read-token: this Hub has no Xet storage."""
    call.meta()
    raise HubError("This Hub has no Xet storage: set HF_HUB_DISABLE_XET=1 to upload to it")
