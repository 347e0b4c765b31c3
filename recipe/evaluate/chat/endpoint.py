"""Where the judge is asked, and the key to it: from the recipe and the environment."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from recipe.errors import UserError
from recipe.evaluate.judge_key import KEY, KEY_PATH, judge_key
from recipe.evaluation import Evaluation

URL = "OPENAI_BASE_URL"


@dataclass(frozen=True)
class Endpoint:
    """A model at an endpoint of OpenAI's protocol.

    Attributes:
        model: Its name there.
        url: Up to `/v1`, as it was given.
        key: Goes into the header of each request, and nowhere else.
    """

    model: str
    url: str
    key: str = field(repr=False)

    @property
    def host(self) -> str:
        """The host, and the port if it has one: what may be told of the address."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    @property
    def identity(self) -> dict[str, str]:
        """What its answers are answers of: the model and the address without names and passwords in it."""
        parts = urlsplit(self.url)
        return {
            "model": self.model,
            "endpoint": urlunsplit((parts.scheme, self.host, parts.path.rstrip("/"), "", "")),
        }

    def without_key(self, text: str) -> str:
        """Return a text of the endpoint's in one line, with the key taken out if it repeats it."""
        return " ".join(text.replace(self.key, "***").split())


def endpoint_of(evaluation: Evaluation) -> Endpoint:
    """Return the judge of a recipe.

    Raises:
        UserError: It names none, there is no address or no key, or the address is none.
    """
    if evaluation.judge is None:
        raise UserError(
            "chat: nobody judges; name a model with `judge`, as with `--set judge=gpt-4-0613`, and its endpoint with "
            f"`judge_url` or {URL}"
        )
    where = "judge_url" if evaluation.judge_url else URL
    url = evaluation.judge_url or os.environ.get(URL, "").strip()
    if not url:
        raise UserError(
            f"chat: the judge {evaluation.judge} has no endpoint; set `judge_url` in the recipe, or {URL}, to its "
            "address up to /v1"
        )
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or True)
    except ValueError:  # a port that is no number
        sound = False
    if not sound:
        raise UserError(
            f"chat: {where} is no http:// or https:// address"
        )  # not repeated: it may hold a password
    return Endpoint(evaluation.judge, url, _key())


def _key() -> str:
    """Return the judge's key.

    Raises:
        UserError: There is none, or none that will do.
    """
    if key := judge_key():
        return key
    raise UserError(
        f"chat: no key for the judge; set {KEY}, or {KEY_PATH} to a file that holds it (any word, if the endpoint asks "
        "for none)"
    )
