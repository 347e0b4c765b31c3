"""The routes of /api about revisions of a repository: commits, tags, branches, listings of files."""

import base64
import binascii
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from dulwich.objects import Commit, ObjectID
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from publish.localhub.commits import MAX_LINE, Incoming
from publish.localhub.errors import EntryNotFoundError, ForbiddenError, HubError, InvalidError
from publish.localhub.repository import Entry, Repository
from publish.localhub.rules import UploadRules, check_path
from publish.localhub.web import Call, author, date, lfs_fields, lines, name_of


def preupload(call: Call) -> Response:
    """POST preupload: how each file is to be uploaded, and what the repository holds of it."""
    asked = call.json()
    call.writer()
    meta = call.meta(write=not call.flag("create_pr"))
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
    user = call.writer()
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


def _title(commit: Commit) -> tuple[str, str]:
    title, _, message = commit.message.decode(errors="replace").strip().partition("\n")
    return title, message.strip()


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
            when = {"date": date(item.commit_time), "authors": [{"user": name_of(item.author)}]}
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
            answer["lfs"] = lfs_fields(entry.lfs, "oid")
        if at := last.get(entry.path):
            answer["lastCommit"] = {
                "id": at.id.decode(),
                "title": _title(at)[0],
                "date": date(at.commit_time),
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
