"""What can go wrong between here and a Hub, as one line for the user."""

from collections.abc import Iterator
from contextlib import contextmanager

from recipe.errors import UserError


@contextmanager
def hub_errors(doing: str) -> Iterator[None]:
    """Turn the Hub client's errors that a user can mend into a `UserError`; the rest pass.

    Args:
        doing: What was being done and to what, for the message: `reading org/name at main`.
    """
    import httpx2
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"{doing}: the repository is gated; ask for access at {endpoint}, then set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{doing}: no such repository at {endpoint}, or HF_TOKEN may not see it; check the name and the token"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{doing}: no such revision; check it, or pin the recipe anew") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise UserError(
            f"{doing}: not cached here, and the Hub at {endpoint} can't be reached; connect, or name a local path"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in {401, 403}:
            raise UserError(
                f"{doing}: {endpoint} refuses the token ({status}); set HF_TOKEN to one that may write there"
            ) from error
        raise
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise UserError(
            f"{doing}: the Hub at {endpoint} can't be reached; check HF_ENDPOINT and the network"
        ) from error
