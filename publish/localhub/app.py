"""The Hub as an ASGI application: which path is which function's.

The protocol is as huggingface_hub 2.4.0 speaks it. Xet is not spoken at all: uploads need a client without
hf_xet or with HF_HUB_DISABLE_XET=1; downloads need nothing, as no answer holds an X-Xet-Hash and the client
then takes plain HTTP. Neither git's own protocol nor gated access nor discussions are here; a pull request is
a ref.
"""

from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Route

from publish.localhub import collections, files, repos, revisions
from publish.localhub.errors import HubError, RepoNotFoundError
from publish.localhub.store import KINDS
from publish.localhub.web import Call, Frame, Hub, refuse, route

# By these names only is the Hub called: a web page in the user's browser cannot reach it under its own.
HOSTS = ["127.0.0.1", "localhost"]


class _Kind(StringConvertor):
    """A repository's kind in a path."""

    regex = "|".join(KINDS)


register_url_convertor("kind", _Kind())


def _unknown(_: Call) -> Response:
    """Answer any other path. An id of one part (gpt2) comes here, and is a repository that is not here."""
    raise RepoNotFoundError("Repository not found")


def make_app(root: Path, hosts: Sequence[str] = HOSTS) -> Starlette:
    """Return the application that serves the Hub in a folder, which is made where it is missing.

    Args:
        root: the folder.
        hosts: the names that it answers to; `*` is any.
    """
    repo = "/api/{kind:kind}/{namespace}/{name}"
    collection = "/api/collections/{namespace}/{slug}"
    routes = [
        Route("/api/whoami-v2", route(repos.whoami)),
        Route("/api/validate-yaml", route(repos.validate_yaml), methods=["POST"]),
        Route("/api/repos/create", route(repos.create_repo), methods=["POST"]),
        Route("/api/repos/delete", route(repos.delete_repo), methods=["DELETE"]),
        Route("/api/{kind:kind}", route(repos.list_repos)),
        Route(repo, route(repos.info)),
        Route(f"{repo}/revision/{{revision}}", route(repos.info)),
        Route(f"{repo}/settings", route(repos.settings), methods=["PUT"]),
        Route(f"{repo}/refs", route(revisions.refs)),
        Route(f"{repo}/commits/{{revision}}", route(revisions.commits)),
        Route(f"{repo}/tree/{{revision}}", route(revisions.tree)),
        Route(f"{repo}/tree/{{revision}}/{{path:path}}", route(revisions.tree)),
        Route(f"{repo}/paths-info/{{revision}}", route(revisions.paths_info), methods=["POST"]),
        Route(f"{repo}/preupload/{{revision}}", route(revisions.preupload), methods=["POST"]),
        Route(f"{repo}/commit/{{revision}}", revisions.commit, methods=["POST"]),
        Route(f"{repo}/tag/{{revision}}", route(revisions.create_tag), methods=["POST"]),
        Route(f"{repo}/tag/{{revision}}", route(revisions.delete_tag), methods=["DELETE"]),
        Route(f"{repo}/branch/{{branch}}", route(revisions.create_branch), methods=["POST"]),
        Route(f"{repo}/branch/{{branch}}", route(revisions.delete_branch), methods=["DELETE"]),
        Route(f"{repo}/xet-{{use}}-token/{{revision}}", route(revisions.no_xet)),
        Route("/api/collections", route(collections.list_collections)),
        Route("/api/collections", route(collections.create), methods=["POST"]),
        Route(collection, route(collections.get)),
        Route(collection, route(collections.update), methods=["PATCH"]),
        Route(collection, route(collections.delete), methods=["DELETE"]),
        Route(f"{collection}/items", route(collections.add_item), methods=["POST"]),
        Route(f"{collection}/items/{{item}}", route(collections.update_item), methods=["PATCH"]),
        Route(f"{collection}/items/{{item}}", route(collections.delete_item), methods=["DELETE"]),
        Route("/lfs-files/{oid}", route(files.download)),
        Route("/lfs-files/{oid}", files.upload, methods=["PUT"]),
    ]
    for prefix in ("/{kind:kind}", ""):
        at = prefix + "/{namespace}/{name}"
        routes += [
            Route(f"{at}/resolve/{{revision}}/{{path:path}}", route(files.resolve)),
            Route(f"{at}.git/info/lfs/objects/batch", route(files.batch), methods=["POST"]),
            Route(f"{at}.git/info/lfs/objects/verify", route(files.verify), methods=["POST"]),
        ]
    methods = ["GET", "POST", "PUT", "DELETE", "PATCH"]
    app = Starlette(
        routes=[*routes, Route("/{any:path}", route(_unknown), methods=methods)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(Frame)],
        exception_handlers={HubError: refuse},
    )
    app.state.hub = Hub(root)
    return app
