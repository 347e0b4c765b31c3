"""What a Hub refuses, each with the status and the `X-Error-Code` that huggingface_hub's client acts on.

Source: `huggingface_hub.utils._http.hf_raise_for_status` (2.4.0) picks its exception by these two.
"""

from typing import Any


class HubError(Exception):
    """A request that is refused: `status`, the client's `code` or "", a line for the user."""

    status = 400
    code = ""

    def __init__(self, message: str, *, headers: dict[str, str] | None = None, **body: Any) -> None:
        super().__init__(message)
        self.message = message
        self.headers = headers or {}
        self.body = body


class InvalidError(HubError):
    """A malformed request."""


class InvalidPathError(HubError):
    """A path that may not be in a repository."""

    status = 422


class CorruptUploadError(HubError):
    """Bytes whose size or sha256 is not the announced one, or that never came."""

    status = 422


class UnauthorizedError(HubError):
    """No token where one is needed, or one that nobody has."""

    status = 401


class ForbiddenError(HubError):
    """A known user who may not do this."""

    status = 403


class RepoNotFoundError(HubError):
    """No such repository, or none that this user may know of."""

    status = 404
    code = "RepoNotFound"


class CollectionNotFoundError(HubError):
    """No such collection, or none that this user may know of; nor such an item in it."""

    status = 404


class RevisionNotFoundError(HubError):
    """No such branch, tag or commit."""

    status = 404
    code = "RevisionNotFound"


class EntryNotFoundError(HubError):
    """No such file or folder at this revision."""

    status = 404
    code = "EntryNotFound"


class ConflictError(HubError):
    """It exists already."""

    status = 409


class StaleError(HubError):
    """The branch is not at the commit that the caller thinks it is at."""

    status = 412
