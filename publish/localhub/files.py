"""The routes that move bytes: downloads (`resolve`), and uploads of large files by git-lfs's batch protocol.

LFS: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
"""

from typing import Any
from urllib.parse import quote

from dulwich.objects import ObjectID
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from publish.localhub.errors import EntryNotFoundError, HubError, InvalidError
from publish.localhub.web import Call


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return first and last byte of a `Range: bytes=a-b` header; None where there is none, or one not known.

    Raises:
        ValueError: it lies outside the content.
    """
    unit, _, span = (header or "").partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or not (first + last).isdecimal():
        return None
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last), size - 1) if first and last else size - 1
    if start > stop:
        raise ValueError(header)
    return start, stop


def _content(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    headers = {**headers, "Accept-Ranges": "bytes"}
    kind = "text/plain; charset=utf-8"
    try:
        span = _range(request.headers.get("range"), len(content))
    except ValueError:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(content)}"})
    if span is None:
        return Response(content, headers=headers, media_type=kind)
    headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{len(content)}"
    return Response(content[span[0] : span[1] + 1], 206, headers, kind)


def resolve(call: Call) -> Response:
    """GET, HEAD a file at a revision. A large one is a redirect to a signed address, like the Hub's CDN."""
    path = call.params["path"]
    with call.reading() as repository:
        commit = repository.resolve(call.params["revision"])
        entry = repository.entry(commit, path)
        if entry.folder:
            raise EntryNotFoundError(
                f'Entry "{path}" is a folder', headers={"X-Repo-Commit": commit.decode()}
            )
        headers = {"X-Repo-Commit": commit.decode(), "ETag": f'"{entry.oid}"'}
        if entry.lfs is None:
            content = repository.read(ObjectID(entry.oid.encode()))
            return _content(call.request, content, headers)
    headers |= {"X-Linked-Etag": f'"{entry.lfs.oid}"', "X-Linked-Size": str(entry.lfs.size)}
    signed = call.hub.users.sign("download", entry.lfs.oid, commit.decode())
    target = f"/lfs-files/{entry.lfs.oid}?commit={commit.decode()}&{signed}"
    return Response(status_code=302, headers={**headers, "Location": call.endpoint + target})


def download(call: Call) -> Response:
    """GET, HEAD what `resolve` redirects to; the client's HEAD follows, so its headers are here again."""
    oid, query = call.params["oid"], call.request.query_params
    commit = query.get("commit", "")
    _check(call, "download", oid, commit)
    size = call.hub.large.size(oid)
    if size is None:
        raise HubError(f"LFS object {oid} is gone from the store")
    headers = {"X-Repo-Commit": commit, "ETag": f'"{oid}"'}
    headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(size)}
    return FileResponse(call.hub.large.path(oid), headers=headers, media_type="application/octet-stream")


def _check(call: Call, *parts: str) -> None:
    query = call.request.query_params
    call.hub.users.check(*parts, expires=query.get("expires", "0"), signature=query.get("signature", ""))


def batch(call: Call) -> Response:
    """POST objects/batch: where to PUT each object that is not here yet, or whose bytes have rotted."""
    call.meta()
    call.writer()  # not only the owner: a pull request by another has large files too
    try:
        asked = [(str(item["oid"]), int(item["size"])) for item in call.json()["objects"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError(f"Malformed objects: {error!r}") from error
    objects = []
    for oid, size in asked:
        answer: dict[str, Any] = {"oid": oid, "size": size}
        if not call.hub.large.holds(oid, size):
            signed = call.hub.users.sign("upload", oid, str(size))
            verify = call.request.scope["path"].removesuffix("/batch") + "/verify"
            href = f"{call.endpoint}/lfs-files/{quote(oid)}?size={size}&{signed}"
            answer["actions"] = {"upload": {"href": href}, "verify": {"href": call.endpoint + verify}}
        objects.append(answer)
    return JSONResponse({"transfer": "basic", "objects": objects})


async def upload(request: Request) -> Response:
    """PUT an object to the address that `batch` signed."""
    call = Call.of(request)
    oid, size = call.params["oid"], request.query_params.get("size", "")
    _check(call, "upload", oid, size)
    await call.hub.large.receive(oid, int(size), request.stream())
    return Response()


def verify(call: Call) -> Response:
    """POST objects/verify: whether an object is here, whole."""
    call.meta()
    asked = call.json()
    size = asked.get("size")
    pointer = call.hub.large.pointer(str(asked.get("oid")), size if isinstance(size, int) else -1)
    return JSONResponse({"oid": pointer.oid, "size": pointer.size})
